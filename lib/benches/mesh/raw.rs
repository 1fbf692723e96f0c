//! Floor: a mesh of TCP connections on which batches are written. No acknowledgement, no order across senders.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::board::{Board, Ledger, Source};
use crate::floor::{self, LINK_QUEUE, Outbox};
use crate::road::Road;

/// What a receiver reads at once.
const READ_BUFFER: usize = 256 << 10;

pub(crate) struct Raw {
    /// By member.
    outboxes: Vec<Outbox>,
    written: Arc<AtomicU64>,
    _tasks: JoinSet<()>,
}

impl Raw {
    pub(crate) async fn open(board: &Arc<Board>, road: Road) -> io::Result<Self> {
        let mut tasks = JoinSet::new();
        let written = Arc::new(AtomicU64::new(0));
        let listeners = floor::listeners(board.members()).await?;
        let mut outboxes = Vec::new();
        for from in 0..board.members() {
            let mut links = Vec::new();
            for (to, listener) in listeners.iter().enumerate().filter(|(to, _)| *to != from) {
                let (ours, theirs) = floor::connect(listener, road, &mut tasks).await?;
                let (queue, batches) = mpsc::channel(LINK_QUEUE);
                tasks.spawn(write(ours, batches, written.clone()));
                tasks.spawn(read(theirs, Ledger::new(board, to), board.clone()));
                links.push(queue);
            }
            outboxes.push(floor::outbox(links, board.payload, floor::blob, &mut tasks));
        }
        Ok(Self {
            outboxes,
            written,
            _tasks: tasks,
        })
    }

    pub(crate) fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    pub(crate) fn say(&self, me: usize, source: Source) -> impl Future<Output = ()> + Send + use<> {
        floor::say(self.outboxes[me].clone(), source)
    }
}

async fn write(mut socket: TcpStream, mut batches: mpsc::Receiver<Bytes>, written: Arc<AtomicU64>) {
    while let Some(batch) = batches.recv().await {
        if socket.write_all(&batch).await.is_err() {
            return;
        }
        written.fetch_add(batch.len() as u64, Ordering::Relaxed);
    }
}

async fn read(mut socket: TcpStream, mut ledger: Ledger, board: Arc<Board>) {
    let mut buffer = BytesMut::with_capacity(READ_BUFFER);
    while let Ok(1..) = socket.read_buf(&mut buffer).await {
        let whole = match floor::each_message(&buffer, |message| ledger.take(message)) {
            Some(whole) => whole,
            None => return board.fault("a length that cannot be".into()),
        };
        buffer.advance(whole);
        ledger.flush();
        buffer.reserve(READ_BUFFER / 2);
    }
}
