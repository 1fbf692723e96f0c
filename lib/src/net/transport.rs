//! A connection as a stream of messages and a sink for them.
//!
//! Long slices, which are most of what is written, go from where they lie into the socket: a sink that collects
//! everything in one buffer first would copy every message once more for every peer.

use std::collections::VecDeque;
use std::io;
use std::io::IoSlice;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures::{Sink, Stream};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::io::{poll_read_buf, poll_write_buf};

/// Bytes that wait to be written before more are taken: several batches of small messages.
const FULL: usize = 64 << 10;
/// Room to read into, at least: most calls and answers are shorter. What is longer says so, and gets its room.
const READ_ROOM: usize = 8 << 10;
/// Slices from this length on are not copied: beside a shorter one, its place in the list costs as much.
const NO_COPY_FROM: usize = 2 << 10;

/// What the messages look like as bytes.
pub(crate) trait Codec: Unpin {
    /// What is written.
    type Out;
    /// What is read.
    type In;

    /// Writes one message; after an error nothing of it is written.
    fn encode(&mut self, message: Self::Out, out: &mut Outbox) -> io::Result<()>;

    /// Takes one message; nothing, if it is not there as a whole: then there is room for the rest of it.
    fn decode(&mut self, bytes: &mut BytesMut) -> io::Result<Option<Self::In>>;
}

/// A connection.
#[derive(Debug)]
pub(crate) struct Transport<S, C> {
    socket: S,
    codec: C,
    read: BytesMut,
    out: Outbox,
    /// The other side said all that it will say, or what it said cannot be read on.
    ended: bool,
}

impl<S, C> Transport<S, C> {
    pub(crate) fn new(socket: S, codec: C) -> Self {
        Self {
            socket,
            codec,
            read: BytesMut::new(),
            out: Outbox::default(),
            ended: false,
        }
    }
}

impl<S: AsyncRead + Unpin, C: Codec> Stream for Transport<S, C> {
    type Item = io::Result<C::In>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        while !this.ended {
            match this.codec.decode(&mut this.read) {
                Ok(Some(message)) => return Poll::Ready(Some(Ok(message))),
                Ok(None) => {}
                Err(error) => {
                    this.ended = true;
                    return Poll::Ready(Some(Err(error)));
                }
            }
            if this.read.capacity() == this.read.len() {
                this.read.reserve(READ_ROOM);
            }
            match ready!(poll_read_buf(Pin::new(&mut this.socket), cx, &mut this.read)) {
                Ok(0) => {
                    this.ended = true;
                    if !this.read.is_empty() {
                        let cut = io::Error::new(io::ErrorKind::UnexpectedEof, "the connection ended within a frame");
                        return Poll::Ready(Some(Err(cut)));
                    }
                }
                Ok(_) => {}
                Err(error) => {
                    this.ended = true;
                    return Poll::Ready(Some(Err(error)));
                }
            }
        }
        Poll::Ready(None)
    }
}

impl<S: AsyncWrite + Unpin, C: Codec> Sink<C::Out> for Transport<S, C> {
    type Error = io::Error;

    fn poll_ready(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.out.remaining() < FULL {
            true => Poll::Ready(Ok(())),
            false => self.poll_flush(cx),
        }
    }

    fn start_send(mut self: Pin<&mut Self>, message: C::Out) -> io::Result<()> {
        let this = &mut *self;
        this.codec.encode(message, &mut this.out)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        while this.out.has_remaining() {
            if ready!(poll_write_buf(Pin::new(&mut this.socket), cx, &mut this.out))? == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
        }
        Pin::new(&mut this.socket).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.as_mut().poll_flush(cx))?;
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

/// Bytes that wait to be written.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    /// None of them is empty.
    slices: VecDeque<Bytes>,
    /// What comes after them.
    tail: BytesMut,
    /// All bytes.
    length: usize,
}

impl Outbox {
    /// Writes one frame: its length, what `head` writes, and the slices after that. After an error nothing of it is
    /// there. Returns how many bytes it has.
    pub(crate) fn frame(
        &mut self,
        most: usize,
        slices: &[Bytes],
        head: impl FnOnce(&mut BytesMut) -> io::Result<()>,
    ) -> io::Result<usize> {
        let start = self.tail.len();
        self.tail.put_u32(0);
        let written = head(&mut self.tail);
        let length = self.tail.len() - start - 4 + slices.iter().map(Bytes::len).sum::<usize>();
        let written = written.and_then(|()| match length <= most {
            true => Ok(()),
            false => Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "a frame over the limit was to be sent",
            )),
        });
        if let Err(error) = written {
            self.tail.truncate(start);
            return Err(error);
        }
        self.tail[start..start + 4].copy_from_slice(&(length as u32).to_be_bytes());
        for slice in slices {
            if slice.len() < NO_COPY_FROM {
                self.tail.put_slice(slice);
            } else {
                if !self.tail.is_empty() {
                    self.slices.push_back(self.tail.split().freeze());
                }
                self.slices.push_back(slice.clone());
            }
        }
        self.length += 4 + length;
        Ok(4 + length)
    }
}

impl Buf for Outbox {
    fn remaining(&self) -> usize {
        self.length
    }

    fn chunk(&self) -> &[u8] {
        self.slices.front().map_or(&self.tail, |slice| slice)
    }

    fn chunks_vectored<'a>(&'a self, to: &mut [IoSlice<'a>]) -> usize {
        let tail = Some(&self.tail[..]).filter(|tail| !tail.is_empty());
        let chunks = self.slices.iter().map(|slice| &slice[..]).chain(tail);
        let mut filled = 0;
        for (slot, chunk) in to.iter_mut().zip(chunks) {
            *slot = IoSlice::new(chunk);
            filled += 1;
        }
        filled
    }

    fn advance(&mut self, mut count: usize) {
        self.length -= count;
        while let Some(slice) = self.slices.front_mut() {
            if count < slice.len() {
                return slice.advance(count);
            }
            count -= slice.len();
            self.slices.pop_front();
        }
        self.tail.advance(count);
    }
}

#[cfg(test)]
mod tests {
    use futures::{SinkExt, StreamExt};

    use super::*;

    /// Messages of bytes, which are written as two slices.
    struct Bare;

    impl Codec for Bare {
        type Out = Bytes;
        type In = Bytes;

        fn encode(&mut self, message: Bytes, out: &mut Outbox) -> io::Result<()> {
            let (head, rest) = message.split_at(message.len() / 3);
            let rest = message.slice_ref(rest);
            out.frame(1 << 20, &[rest], |out| {
                out.put_slice(head);
                Ok(())
            })?;
            Ok(())
        }

        fn decode(&mut self, bytes: &mut BytesMut) -> io::Result<Option<Bytes>> {
            let Some(head) = bytes.get(..4) else { return Ok(None) };
            let length = u32::from_be_bytes(head.try_into().expect("4 bytes")) as usize;
            if bytes.len() < 4 + length {
                return Ok(None);
            }
            bytes.advance(4);
            Ok(Some(bytes.split_to(length).freeze()))
        }
    }

    #[tokio::test]
    async fn what_is_written_is_read_whatever_its_length_and_the_socket_s() {
        for room in [1, 7, 100, 5000, 1 << 20] {
            let (ours, theirs) = tokio::io::duplex(room);
            let lengths = [0, 1, 2, 3, 100, 3071, 3072, 3073, 10_000, 0, 70_000, 5];
            let message = |length: usize| Bytes::from_iter((0..length).map(|nth| nth as u8));
            let writing = async move {
                let mut ours = Transport::new(ours, Bare);
                for length in lengths {
                    ours.feed(message(length)).await.expect("it is open");
                    assert!(ours.out.remaining() < FULL + 70_004);
                }
                ours.close().await.expect("it is open");
            };
            let theirs = Transport::new(theirs, Bare).map(|read| read.expect("well formed"));
            let (read, ()) = tokio::join!(theirs.collect::<Vec<_>>(), writing);
            assert_eq!(read, lengths.map(message));
        }
    }

    #[test]
    fn a_frame_that_is_too_long_leaves_nothing() {
        let mut out = Outbox::default();
        let slice = Bytes::from_static(&[7; 3000]);
        assert_eq!(
            out.frame(3000, std::slice::from_ref(&slice), |_| Ok(())).ok(),
            Some(3004)
        );
        assert!(out.frame(2999, &[slice], |_| Ok(())).is_err());
        assert!(out.frame(10, &[], |_| Err(io::ErrorKind::Other.into())).is_err());
        assert_eq!(out.remaining(), 3004);
        out.advance(3004);
        assert!(out.chunk().is_empty());
    }

    #[tokio::test]
    async fn a_connection_that_ends_within_a_frame_is_an_error() {
        let (ours, theirs) = tokio::io::duplex(64);
        let mut theirs = Transport::new(theirs, Bare);
        let mut ours = ours;
        tokio::io::AsyncWriteExt::write_all(&mut ours, &[0, 0, 0, 9, 1])
            .await
            .expect("it is open");
        drop(ours);
        assert!(theirs.next().await.is_some_and(|read| read.is_err()));
        assert!(theirs.next().await.is_none());
    }
}
