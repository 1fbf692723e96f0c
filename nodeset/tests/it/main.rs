//! The one integration test binary: the registry on virtual time, the wire on real sockets, and
//! the daemon as a process.

mod daemon;
mod hostile;
mod process;
mod registry;
mod wire;

use std::future::Future;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use nodeset::Registration;
use nodeset::server::{Options, Server, Stats};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// No test waits for a time to pass; this only turns a test that hangs into one that fails.
const HANG: Duration = Duration::from_secs(60);

/// Waits for something that is bound to happen.
async fn soon<T>(what: &str, event: impl Future<Output = T>) -> T {
    let late = |_| panic!("still waiting for {what}");
    tokio::time::timeout(HANG, event).await.unwrap_or_else(late)
}

/// A registry in this process.
struct Running {
    addr: SocketAddr,
    stats: Stats,
    stop: oneshot::Sender<()>,
    task: JoinHandle<std::io::Result<()>>,
}

impl Running {
    fn start(options: Options) -> Self {
        Self::start_on(SocketAddr::from(([127, 0, 0, 1], 0)), options)
    }

    fn start_on(addr: SocketAddr, options: Options) -> Self {
        let listener = TcpListener::bind(addr).expect("bind");
        let addr = listener.local_addr().expect("bound");
        let server = Server::new(options).expect("set up");
        let (stats, (stop, stopped)) = (server.stats(), oneshot::channel());
        let task = tokio::spawn(server.run(vec![listener], async { drop(stopped.await) }));
        Self {
            addr,
            stats,
            stop,
            task,
        }
    }

    fn name(&self) -> String {
        self.addr.to_string()
    }

    /// Returns the address, which is free again.
    async fn stop(self) -> SocketAddr {
        drop(self.stop);
        soon("the server to stop", self.task)
            .await
            .expect("no panic")
            .expect("served");
        self.addr
    }
}

fn lease(ms: u64) -> Options {
    Options {
        lease: Duration::from_millis(ms),
        ..Options::default()
    }
}

fn peer(n: u8, nick: &str) -> Registration {
    let addr = SocketAddr::from(([127, 0, 0, 1], 40_000 + u16::from(n)));
    Registration::new(u128::from(n).into(), nick, addr)
}
