//! What lies between two nodes: nothing, or a long way, simulated by a proxy that hands bytes on late.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

/// One way over a long road.
const DELAY: Duration = Duration::from_millis(50);
/// A round trip over it.
pub(crate) const ROUND_TRIP: Duration = Duration::from_millis(100);
/// What a long road carries each way, in bytes a second; more waits before it.
pub(crate) const BANDWIDTH: usize = 100_000_000;
/// Bytes on the road, each way of a connection: what it carries in the time that they take.
const ON_THE_ROAD: usize = BANDWIDTH / 20;
/// Most bytes that travel as one piece.
const PIECE: usize = 64 << 10;
/// Pieces on the road, were they all this small; bytes are what bounds it.
const PIECES: usize = 4096;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Road {
    /// Loopback as it is.
    Short,
    /// With `DELAY` each way.
    Long,
}

impl Road {
    /// Dials over this road.
    pub(crate) async fn dial(self, to: SocketAddr, tasks: &mut JoinSet<()>) -> io::Result<TcpStream> {
        if self == Self::Short {
            return TcpStream::connect(to).await;
        }
        let proxy = TcpListener::bind("127.0.0.1:0").await?;
        let addr = proxy.local_addr()?;
        tasks.spawn(lead(proxy, to));
        TcpStream::connect(addr).await
    }
}

/// Accepts connections and leads each of them to `to`, over a long road. Ends with its task.
pub(crate) async fn lead(proxy: TcpListener, to: SocketAddr) {
    let mut connections = JoinSet::new();
    while let Ok((caller, _)) = proxy.accept().await {
        connections.spawn(async move {
            let Ok(callee) = TcpStream::connect(to).await else {
                return;
            };
            if caller.set_nodelay(true).and(callee.set_nodelay(true)).is_err() {
                return;
            }
            let (caller, callee) = (caller.into_split(), callee.into_split());
            // What ends one way ends the other: both halves are dropped.
            tokio::select! {
                () = carry(caller.0, callee.1) => {}
                () = carry(callee.0, caller.1) => {}
            }
        });
    }
}

/// One way. When as much is on it as it carries in that time, nothing is read.
async fn carry(mut from: tokio::net::tcp::OwnedReadHalf, mut to: tokio::net::tcp::OwnedWriteHalf) {
    let room = Arc::new(Semaphore::new(ON_THE_ROAD));
    let (depart, mut arrive) = mpsc::channel::<(Instant, Bytes, OwnedSemaphorePermit)>(PIECES);
    let reading = async move {
        let mut buffer = vec![0; PIECE];
        while let Ok(bytes @ 1..) = from.read(&mut buffer).await {
            let arrives_at = Instant::now() + DELAY;
            let Ok(permit) = room.clone().acquire_many_owned(bytes as u32).await else {
                return;
            };
            let piece = Bytes::copy_from_slice(&buffer[..bytes]);
            if depart.send((arrives_at, piece, permit)).await.is_err() {
                return;
            }
        }
    };
    let writing = async move {
        while let Some((at, piece, _room)) = arrive.recv().await {
            sleep_until(at).await;
            if to.write_all(&piece).await.is_err() {
                return;
            }
        }
    };
    tokio::join!(reading, writing);
}
