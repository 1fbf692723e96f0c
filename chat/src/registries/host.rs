//! The registry that nobody named and somebody must serve.
//!
//! Whichever instance binds the default address serves it. The bind itself decides, so two can never do it at a time;
//! when its host ends, the others try again, each after another short while. All have the same certificate authority,
//! their user's own, so that a takeover changes nothing for anybody.

use std::io;
use std::net::TcpListener;
use std::time::Duration;

use multicast::NodeId;
use nodeset::server::{Options, Server};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::credentials::own_authority;

/// Before taking over a registry: long enough for one that is being restarted to have its address back, and apart
/// for every instance.
const TAKEOVER_MIN: Duration = Duration::from_millis(400);
/// How far apart instances try.
const TAKEOVER_SPREAD: Duration = Duration::from_millis(800);

/// An instance's part in that.
pub(super) struct Host {
    addr: String,
    seed: [u8; 16],
    attempts: u8,
    serving: Option<JoinHandle<io::Result<()>>>,
    /// Why it cannot be served, though nobody else does.
    pub(super) trouble: Option<String>,
}

impl Host {
    pub(super) fn new(addr: &str, node: NodeId) -> Self {
        Self {
            addr: addr.to_owned(),
            seed: node.0,
            attempts: 0,
            serving: None,
            trouble: None,
        }
    }

    /// Serves the registry if nobody else does; says so then.
    pub(super) fn try_to_serve(&mut self) -> Option<String> {
        self.attempts = self.attempts.wrapping_add(1);
        let addr = &self.addr;
        let listener = match TcpListener::bind(addr) {
            Ok(listener) => listener,
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => return None,
            Err(error) => {
                tracing::warn!("cannot serve a registry on {addr}: {error}");
                return None;
            }
        };
        let server = own_authority().and_then(|authority| {
            let authority = Some(authority);
            let options = Options {
                authority,
                ..Options::default()
            };
            Server::new(options).map_err(|error| error.to_string())
        });
        let server = match server {
            Ok(server) => server,
            Err(error) => {
                self.trouble = Some(error);
                return None;
            }
        };
        // It ends with the process: whoever takes over begins anew, within one lease.
        self.serving = Some(tokio::spawn(server.run(vec![listener], std::future::pending())));
        Some(format!("no registry answers on {addr}: this chat serves one there"))
    }

    /// When to try next, unless it is served here: different for every instance and attempt.
    pub(super) fn next_attempt(&self) -> Option<Instant> {
        if self.serving.as_ref().is_some_and(|serving| !serving.is_finished()) {
            return None;
        }
        let part = self.seed[usize::from(self.attempts) % self.seed.len()];
        Some(Instant::now() + TAKEOVER_MIN + TAKEOVER_SPREAD * u32::from(part) / 256)
    }
}
