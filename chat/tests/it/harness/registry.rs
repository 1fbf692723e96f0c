//! A registry in the test's own process, that can be killed and started again at the same address.

use std::net::TcpListener;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use nodeset::Authority;
use nodeset::server::{Options, Server};
use tokio::runtime::{Builder, Runtime};

use super::{Operator, Place};

/// Short leases, so that tests of their end are quick.
const LEASE: Duration = Duration::from_secs(2);
/// How long the address may stay taken after a kill.
const REBIND: Duration = Duration::from_secs(10);

/// Ports for `free_addr`.
const PORTS: Range<u16> = 20_000..30_000;

/// Where registries of all tests publish the local proof; their chats look there.
pub fn state_home() -> PathBuf {
    std::env::temp_dir().join(format!("chat-test-state-{}", std::process::id()))
}

pub struct Registry {
    pub addr: String,
    /// Where the local proof is published.
    publications: PathBuf,
    authority: Authority,
    runtime: Option<Runtime>,
}

impl Registry {
    pub fn start() -> Self {
        Self::publishing_in(state_home().join("nodeset/local"))
    }

    /// Of the user of that place.
    pub fn of(place: &Place) -> Self {
        Self::publishing_in(place.publications())
    }

    fn publishing_in(publications: PathBuf) -> Self {
        let mut registry = Self {
            addr: "127.0.0.1:0".to_owned(),
            publications,
            authority: Authority::ephemeral().expect("randomness"),
            runtime: None,
        };
        registry.serve();
        registry
    }

    /// The name of its cluster.
    pub fn cluster(&self) -> String {
        self.authority.cluster()
    }

    /// Its user, at a command line.
    pub fn operator(&self) -> Operator {
        Operator::new(&self.addr, &self.publications)
    }

    /// Ends without a word to anyone, as kill -9 would.
    pub fn kill(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(Duration::from_secs(5));
        }
    }

    /// Starts, empty, at the same address, with another authority.
    pub fn restart(&mut self) {
        self.authority = Authority::ephemeral().expect("randomness");
        self.serve();
    }

    /// Starts with the same authority, and knows of no invite.
    pub fn forget(&mut self) {
        self.serve();
    }

    fn serve(&mut self) {
        let deadline = Instant::now() + REBIND;
        let listener = loop {
            match TcpListener::bind(&self.addr) {
                Ok(listener) => break listener,
                Err(error) => assert!(Instant::now() < deadline, "{}: {error}", self.addr),
            }
        };
        self.addr = listener.local_addr().expect("bound").to_string();
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let options = Options {
            lease: LEASE,
            publications: Some(self.publications.clone()),
            authority: Some(self.authority.clone()),
            ..Options::default()
        };
        let server = Server::new(options).expect("good options");
        let _in_it = runtime.enter();
        runtime.spawn(server.run(vec![listener], std::future::pending()));
        drop(_in_it);
        self.runtime = Some(runtime);
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.kill();
    }
}

/// An address that is free, and that the system gives to nobody who asks for any port: below the range from which it
/// chooses, and apart for the processes that run tests at the same time.
pub fn free_addr() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let own = std::process::id().wrapping_mul(97);
    loop {
        let nth = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = PORTS.start + (own.wrapping_add(nth) % PORTS.len() as u32) as u16;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return format!("127.0.0.1:{port}");
        }
    }
}
