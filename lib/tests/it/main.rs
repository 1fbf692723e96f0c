//! The integration tests of `multicast`: engines on virtual time, and a judge that shares no code with them.

mod judge;
mod mutants;
mod scenarios;
mod script;
mod seeds;
mod shrink;
mod sim;
mod stamps;
mod wire;
