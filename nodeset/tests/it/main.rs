//! The one integration test binary: the registry on virtual time, the wire on real sockets, and
//! the daemon as a process.

mod daemon;
mod hostile;
mod members;
mod process;
mod raw;
mod registry;
mod wire;

use std::collections::BTreeMap;
use std::future::Future;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use nodeset::client::{self, Client, Contacts, Proofs};
use nodeset::server::{Options, Server, Stats};
use nodeset::{PeerId, ProcessKey, Registration};
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
        publications: Some(HOME.publications()),
        ..Options::default()
    }
}

/// The n-th peer: its id is that of the n-th key.
fn peer(n: u8, nick: &str) -> Registration {
    let addr = SocketAddr::from(([127, 0, 0, 1], 40_000 + u16::from(n)));
    Registration::new(key(n).node(), nick, addr)
}

/// The n-th process key: the same at every run.
fn key(n: u8) -> ProcessKey {
    let mut pkcs8 = vec![
        0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
    ];
    pkcs8.extend_from_slice(&[n; 32]);
    ProcessKey::from_pkcs8(&pkcs8).expect("a key")
}

static KEYS: LazyLock<BTreeMap<PeerId, u8>> = LazyLock::new(|| (1..=u8::MAX).map(|n| (key(n).node(), n)).collect());

/// Which peer this is.
fn number(id: PeerId) -> u8 {
    KEYS[&id]
}

/// How the n-th peer is printed.
fn label(n: u8, nick: &str) -> String {
    format!("{nick}#{}", key(n).node().short())
}

fn try_start(registries: &[String], me: Registration) -> Result<(Client, Contacts), client::StartError> {
    let key = key(KEYS.get(&me.id).copied().unwrap_or(1));
    Client::start(registries, me, Arc::new(key), proofs())
}

/// What a process of this home can show.
fn proofs() -> Proofs {
    HOME.proofs()
}

/// A user's home directory.
struct Home(PathBuf);

/// The one of all tests that do not need another.
static HOME: LazyLock<Home> = LazyLock::new(|| Home::new("home"));

impl Home {
    fn new(name: &str) -> Self {
        let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
        drop(std::fs::remove_dir_all(&dir)); // of an earlier process with this number
        std::fs::create_dir_all(&dir).expect("made");
        Self(dir)
    }

    /// What `XDG_STATE_HOME` is there.
    fn state(&self) -> PathBuf {
        self.0.join("state")
    }

    fn publications(&self) -> PathBuf {
        self.state().join("nodeset/local")
    }

    fn proofs(&self) -> Proofs {
        Proofs::none().with_publications(Some(self.publications()))
    }
}
