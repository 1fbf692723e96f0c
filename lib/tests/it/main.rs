//! The integration tests of `multicast`: engines on virtual time, and a judge that shares no code with them.

mod codec;
mod commit;
mod far;
mod judge;
mod lies;
mod limits;
mod lives;
mod malice;
mod model;
mod mutants;
#[cfg(feature = "ordered")]
mod ordered;
mod regressions;
mod scenarios;
mod script;
#[cfg(not(feature = "turmoil"))]
mod secure;
mod seeds;
mod shrink;
mod sim;
mod stamps;
mod store;
mod together;
// Real sockets, which that feature takes away.
#[cfg(not(feature = "turmoil"))]
mod wire;
