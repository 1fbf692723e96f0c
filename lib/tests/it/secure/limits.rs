//! Connections that cost time and memory and say nothing.
