//! Causal multicast.
