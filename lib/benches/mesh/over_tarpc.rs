//! Floors: a mesh of tarpc connections, one call a batch, two calls under way on a link.
//!
//! The batch is one blob, encoded once, or a list of byte buffers that serde and postcard write and read. The codec
//! is as little as tarpc needs, `length(4) id(8) body`, and does not copy what it reads.

use std::io;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures::stream::FuturesUnordered;
use futures::{SinkExt, StreamExt};
use tarpc::client::{self, NewClient};
use tarpc::server::{BaseChannel, TrackedRequest};
use tarpc::{ClientMessage, Request, RequestName, Response, context};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::{JoinSet, unconstrained};
use tokio_util::codec::{Decoder, Encoder, Framed};

use crate::board::{Board, Ledger, Source};
use crate::floor::{self, LINK_QUEUE, Outbox};
use crate::road::Road;

/// Calls under way on a link: one on the wire while the answer to the other travels back. As ours.
const CALLS_IN_FLIGHT: usize = 2;
/// What a connection reads and writes at once: several batches of small messages.
const BUFFER: usize = 128 << 10;
/// Longest frame.
const MAX_FRAME: usize = 1 << 20;
/// Longer than any round.
const DEADLINE: Duration = Duration::from_secs(600);
/// Bytes of a frame's length and of its id.
const HEAD: usize = 12;

/// A batch, and how it travels.
pub(crate) trait Batch: Clone + Send + Sync + Unpin + RequestName + 'static {
    fn of(messages: &[Bytes]) -> Self;
    fn put(&self, out: &mut BytesMut) -> io::Result<()>;
    fn take(body: Bytes) -> io::Result<Self>;
    /// False if these are no messages.
    fn look(&self, ledger: &mut Ledger) -> bool;
}

/// One blob.
#[derive(Clone, Debug)]
pub(crate) struct Blob(Bytes);

/// Byte buffers, one a message.
#[derive(Clone, Debug)]
pub(crate) struct Buffers(Arc<Vec<Bytes>>);

impl Batch for Blob {
    fn of(messages: &[Bytes]) -> Self {
        Self(floor::blob(messages))
    }

    fn put(&self, out: &mut BytesMut) -> io::Result<()> {
        out.put_slice(&self.0);
        Ok(())
    }

    fn take(body: Bytes) -> io::Result<Self> {
        Ok(Self(body))
    }

    fn look(&self, ledger: &mut Ledger) -> bool {
        floor::each_message(&self.0, |message| ledger.take(message)) == Some(self.0.len())
    }
}

impl Batch for Buffers {
    fn of(messages: &[Bytes]) -> Self {
        Self(Arc::new(messages.to_vec()))
    }

    fn put(&self, out: &mut BytesMut) -> io::Result<()> {
        postcard::to_io(&*self.0, out.writer()).map_err(io::Error::other)?;
        Ok(())
    }

    fn take(body: Bytes) -> io::Result<Self> {
        let messages: Vec<Bytes> = postcard::from_bytes(&body).map_err(io::Error::other)?;
        Ok(Self(Arc::new(messages)))
    }

    fn look(&self, ledger: &mut Ledger) -> bool {
        self.0.iter().for_each(|message| ledger.take(message));
        true
    }
}

impl RequestName for Blob {
    fn name(&self) -> &str {
        "blob"
    }
}

impl RequestName for Buffers {
    fn name(&self) -> &str {
        "buffers"
    }
}

pub(crate) struct OverTarpc<B> {
    /// By member.
    outboxes: Vec<Outbox>,
    written: Arc<AtomicU64>,
    _tasks: JoinSet<()>,
    batch: PhantomData<B>,
}

impl<B: Batch> OverTarpc<B> {
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
                let ours = Framed::with_capacity(ours, Caller::<B>(Wire::new(&written)), BUFFER);
                let theirs = Framed::with_capacity(theirs, Callee::<B>(Wire::new(&written)), BUFFER);
                let NewClient { client, dispatch } = client::new(client::Config::default(), ours);
                tasks.spawn(async move { drop(dispatch.await) });
                tasks.spawn(call(client, batches));
                let channel = BaseChannel::with_defaults(theirs);
                tasks.spawn(answer(channel, Ledger::new(board, to), board.clone()));
                links.push(queue);
            }
            outboxes.push(floor::outbox(links, board.payload, B::of, &mut tasks));
        }
        Ok(Self {
            outboxes,
            written,
            _tasks: tasks,
            batch: PhantomData,
        })
    }

    pub(crate) fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    pub(crate) fn say(&self, me: usize, source: Source) -> impl Future<Output = ()> + Send + use<B> {
        floor::say(self.outboxes[me].clone(), source)
    }
}

async fn call<B: Batch>(client: client::Channel<B, ()>, mut batches: mpsc::Receiver<B>) {
    let mut under_way = FuturesUnordered::new();
    loop {
        tokio::select! {
            batch = batches.recv(), if under_way.len() < CALLS_IN_FLIGHT => {
                let Some(batch) = batch else { return };
                let mut context = context::current();
                context.deadline = Instant::now() + DEADLINE;
                let client = client.clone();
                // Unconstrained, or the runtime's fairness may let a later call pass.
                under_way.push(unconstrained(async move { client.call(context, batch).await }));
            }
            Some(answered) = under_way.next() => if answered.is_err() {
                return;
            },
        }
    }
}

async fn answer<B: Batch>(
    mut channel: BaseChannel<B, (), Framed<TcpStream, Callee<B>>>,
    mut ledger: Ledger,
    board: Arc<Board>,
) {
    while let Some(Ok(TrackedRequest { request, .. })) = channel.next().await {
        if !request.message.look(&mut ledger) {
            board.fault("a batch that cannot be".into());
        }
        ledger.flush();
        let response = Response {
            request_id: request.id,
            message: Ok(()),
        };
        if channel.send(response).await.is_err() {
            return;
        }
    }
}

/// The transport of the calling side.
struct Caller<B>(Wire<B>);

/// The transport of the called side.
struct Callee<B>(Wire<B>);

struct Wire<B> {
    written: Arc<AtomicU64>,
    batch: PhantomData<B>,
}

impl<B> Wire<B> {
    fn new(written: &Arc<AtomicU64>) -> Self {
        Self {
            written: written.clone(),
            batch: PhantomData,
        }
    }

    fn frame(&self, id: u64, out: &mut BytesMut, body: impl FnOnce(&mut BytesMut) -> io::Result<()>) -> io::Result<()> {
        let start = out.len();
        out.put_u32_le(0);
        out.put_u64_le(id);
        body(out)?;
        let length = out.len() - start;
        out[start..start + 4].copy_from_slice(&(length as u32).to_le_bytes());
        self.written.fetch_add(length as u64, Ordering::Relaxed);
        Ok(())
    }
}

fn next_frame(bytes: &mut BytesMut) -> io::Result<Option<(u64, Bytes)>> {
    let Some(head) = bytes.get(..4) else { return Ok(None) };
    let length = u32::from_le_bytes(head.try_into().expect("4 bytes")) as usize;
    if !(HEAD..=MAX_FRAME).contains(&length) {
        return Err(io::Error::other("a frame that cannot be"));
    }
    if bytes.len() < length {
        bytes.reserve(length - bytes.len());
        return Ok(None);
    }
    let mut frame = bytes.split_to(length).freeze();
    frame.advance(4);
    Ok(Some((frame.get_u64_le(), frame)))
}

impl<B: Batch> Encoder<ClientMessage<B>> for Caller<B> {
    type Error = io::Error;

    fn encode(&mut self, message: ClientMessage<B>, out: &mut BytesMut) -> io::Result<()> {
        match message {
            ClientMessage::Request(request) => self.0.frame(request.id, out, |out| request.message.put(out)),
            // Nothing is ever cancelled here.
            _ => Ok(()),
        }
    }
}

impl<B: Batch> Decoder for Caller<B> {
    type Item = Response<()>;
    type Error = io::Error;

    fn decode(&mut self, bytes: &mut BytesMut) -> io::Result<Option<Self::Item>> {
        let response = |(request_id, _)| Response {
            request_id,
            message: Ok(()),
        };
        Ok(next_frame(bytes)?.map(response))
    }
}

impl<B: Batch> Encoder<Response<()>> for Callee<B> {
    type Error = io::Error;

    fn encode(&mut self, response: Response<()>, out: &mut BytesMut) -> io::Result<()> {
        self.0.frame(response.request_id, out, |_| Ok(()))
    }
}

impl<B: Batch> Decoder for Callee<B> {
    type Item = ClientMessage<B>;
    type Error = io::Error;

    fn decode(&mut self, bytes: &mut BytesMut) -> io::Result<Option<Self::Item>> {
        let Some((id, body)) = next_frame(bytes)? else {
            return Ok(None);
        };
        let mut context = context::current();
        context.deadline = Instant::now() + DEADLINE;
        let message = B::take(body)?;
        Ok(Some(ClientMessage::Request(Request { context, id, message })))
    }
}
