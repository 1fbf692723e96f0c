//! What the floors share: connections, batches, and the loop that makes them.
//!
//! A floor is the least that somebody would write who needs no order and no repair. The application hands over one
//! message at a time; what waits while the last batch is on its way becomes the next one, encoded once for all links;
//! the slowest link holds the sender back. (An application that makes whole batches itself, and hands those over,
//! gets several times as much: most of a floor's time is the handing over.)

use std::io;

use bytes::{BufMut, Bytes, BytesMut};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::board::Source;
use crate::road::Road;

/// Batches that wait for a link besides those on their way: enough that it never runs dry.
pub(crate) const LINK_QUEUE: usize = 2;
/// Messages that wait to become a batch: two batches, so that one fills while the other is on its way.
const OUTBOX: usize = 2 * BATCH_MESSAGES;
/// Most messages in a batch: beyond, larger ones were measured not to be faster.
const BATCH_MESSAGES: usize = 512;
/// Most payload bytes in a batch: as ours.
const BATCH_BYTES: usize = 256 << 10;
/// Longest message that is believed.
const MAX_MESSAGE: usize = 64 << 10;
/// Bytes of a length.
const LENGTH: usize = 4;

pub(crate) async fn listeners(count: usize) -> io::Result<Vec<TcpListener>> {
    let mut listeners = Vec::new();
    for _ in 0..count {
        listeners.push(TcpListener::bind("127.0.0.1:0").await?);
    }
    Ok(listeners)
}

/// A new connection: the dialling end and the accepting end.
pub(crate) async fn connect(
    listener: &TcpListener,
    road: Road,
    tasks: &mut JoinSet<()>,
) -> io::Result<(TcpStream, TcpStream)> {
    let dialled = road.dial(listener.local_addr()?, tasks);
    let (ours, accepted) = tokio::try_join!(dialled, listener.accept())?;
    ours.set_nodelay(true)?;
    accepted.0.set_nodelay(true)?;
    Ok((ours, accepted.0))
}

/// One member's way to send, and how it ends: as with any library, the application hands over one message at a time.
pub(crate) type Outbox = mpsc::Sender<Bytes>;

/// Starts what sends one member's messages over all its links.
pub(crate) fn outbox<B: Clone + Send + 'static>(
    links: Vec<mpsc::Sender<B>>,
    payload: usize,
    batch: fn(&[Bytes]) -> B,
    tasks: &mut JoinSet<()>,
) -> Outbox {
    let (outbox, mut messages) = mpsc::channel(OUTBOX);
    let most = BATCH_MESSAGES.min(BATCH_BYTES / payload).max(1);
    tasks.spawn(async move {
        let mut waiting = Vec::with_capacity(most);
        while messages.recv_many(&mut waiting, most).await > 0 {
            let batch = batch(&waiting);
            waiting.clear();
            for link in &links {
                if link.send(batch.clone()).await.is_err() {
                    return;
                }
            }
        }
    });
    outbox
}

/// Hands over what the source has, message by message.
pub(crate) async fn say(outbox: Outbox, mut source: Source) {
    loop {
        let count = source.due(BATCH_MESSAGES).await;
        if count == 0 {
            return;
        }
        for message in source.payloads(count) {
            if outbox.send(message).await.is_err() {
                return;
            }
        }
    }
}

/// Messages one after the other, each behind its length.
pub(crate) fn blob(messages: &[Bytes]) -> Bytes {
    let bytes = messages.iter().map(|message| LENGTH + message.len()).sum();
    let mut out = BytesMut::with_capacity(bytes);
    for message in messages {
        out.put_u32_le(message.len() as u32);
        out.put_slice(message);
    }
    out.freeze()
}

/// Looks at every whole message; returns how many bytes they take, or nothing if these are no messages.
pub(crate) fn each_message(bytes: &[u8], mut look: impl FnMut(&[u8])) -> Option<usize> {
    let mut at = 0;
    while let Some(length) = bytes.get(at..at + LENGTH) {
        let length = u32::from_le_bytes(length.try_into().expect("4 bytes")) as usize;
        if length > MAX_MESSAGE {
            return None;
        }
        let Some(message) = bytes.get(at + LENGTH..at + LENGTH + length) else {
            break;
        };
        look(message);
        at += LENGTH + length;
    }
    Some(at)
}
