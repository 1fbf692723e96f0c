//! Where sockets come from: tokio, or with the feature `turmoil`, which only tests switch on, a simulated network.

#[cfg(not(feature = "turmoil"))]
pub(crate) use tokio::net::{TcpListener, TcpStream};
#[cfg(feature = "turmoil")]
pub(crate) use turmoil::net::{TcpListener, TcpStream};
