//! The transport of the calls: length-prefixed frames around postcard.
//!
//! ```text
//! frame    := length(4, big-endian) body
//! request  := 0 id(8) deadline_ms(4) kind(1) rest      | 1 id(8)           (cancel)
//! response := id(8) postcard(Reply)
//! ```
//!
//! Deadlines travel as at most 2^32 ms and are clamped to an hour: a deadline of years would panic the
//! dispatcher that reads it.

#[cfg(test)]
mod cases;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod laws;

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use tarpc::{ClientMessage, Response, ServerError, context, trace};

use crate::bound;
use crate::engine::Frame;
use crate::id::{GroupId, MemberId};
use crate::net::rpc::{Call, Path, Presence, Reply, Request};
use crate::net::transport::{Codec, Outbox};
use crate::net::{MAX_FRAME, Meter};
use crate::run::Run;

/// Longest deadline that is believed.
pub(crate) const MAX_DEADLINE: Duration = Duration::from_secs(3600);

/// Frames from this length on take their part of the read buffer with them, if it is most of the buffer: messages stay
/// in the log for long, and would keep the rest of it too.
const SPLIT_FROM: usize = 16 << 10;

const REQUEST: u8 = 0;
const CANCEL: u8 = 1;

const HELLO: u8 = 0;
const GROUPS: u8 = 1;
const PUSH: u8 = 2;
const FRAME: u8 = 3;
const POLL: u8 = 4;

/// The calling side: writes calls, reads replies.
#[derive(Debug)]
pub(crate) struct Caller(pub(crate) Arc<Meter>);

/// The called side: reads requests, writes replies.
#[derive(Debug)]
pub(crate) struct Callee(pub(crate) Arc<Meter>);

impl Codec for Caller {
    type Out = ClientMessage<Box<Call>>;
    type In = Response<Reply>;

    fn encode(&mut self, message: ClientMessage<Box<Call>>, out: &mut Outbox) -> io::Result<()> {
        let run = match &message {
            ClientMessage::Request(request) => match &*request.message {
                Call::Push { run, .. } => Some(run.clone()),
                _ => None,
            },
            _ => None,
        };
        let slices = run.as_deref().unwrap_or_default();
        let sent = out.frame(MAX_FRAME, slices, |out| match message {
            ClientMessage::Request(request) => {
                out.put_u8(REQUEST);
                out.put_u64(request.id);
                let left = request.context.deadline.saturating_duration_since(Instant::now());
                out.put_u32(left.min(MAX_DEADLINE).as_millis() as u32);
                match *request.message {
                    Call::Hello(hello) => put(out, HELLO, &hello),
                    Call::Groups(revision, groups) => put(out, GROUPS, &(revision, groups)),
                    Call::Push { path, .. } => {
                        out.put_u8(PUSH);
                        put_path(out, path);
                        Ok(())
                    }
                    Call::Poll => {
                        out.put_u8(POLL);
                        Ok(())
                    }
                    Call::Frame { path, frame } => {
                        out.put_u8(FRAME);
                        put_path(out, path);
                        put_postcard(out, &frame)
                    }
                }
            }
            ClientMessage::Cancel { request_id, .. } => {
                out.put_u8(CANCEL);
                out.put_u64(request_id);
                Ok(())
            }
            _ => Err(odd("a message that this version does not know")),
        })?;
        self.0.sent(sent);
        Ok(())
    }

    fn decode(&mut self, bytes: &mut BytesMut) -> io::Result<Option<Self::In>> {
        let Some(mut body) = next_frame(&self.0, bytes)? else {
            return Ok(None);
        };
        let request_id = take_u64(&mut body)?;
        let message: Result<Reply, ServerError> = Ok(from_postcard(&body)?);
        Ok(Some(Response { request_id, message }))
    }
}

impl Codec for Callee {
    type Out = Response<Reply>;
    type In = ClientMessage<Request>;

    fn encode(&mut self, response: Response<Reply>, out: &mut Outbox) -> io::Result<()> {
        let sent = out.frame(MAX_FRAME, &[], |out| {
            out.put_u64(response.request_id);
            let reply = response.message.map_err(|error| odd(&error.to_string()))?;
            put_postcard(out, &reply)
        })?;
        self.0.sent(sent);
        Ok(())
    }

    fn decode(&mut self, bytes: &mut BytesMut) -> io::Result<Option<Self::In>> {
        let Some(mut body) = next_frame(&self.0, bytes)? else {
            return Ok(None);
        };
        let tag = take_u8(&mut body)?;
        let id = take_u64(&mut body)?;
        match tag {
            REQUEST => {
                let left = Duration::from_millis(u64::from(take_u32(&mut body)?)).min(MAX_DEADLINE);
                let mut context = context::current();
                context.deadline = Instant::now() + left;
                context.trace_context = trace::Context::default();
                let message = request(body)?;
                Ok(Some(ClientMessage::Request(tarpc::Request { context, id, message })))
            }
            CANCEL => Ok(Some(ClientMessage::Cancel {
                trace_context: trace::Context::default(),
                request_id: id,
            })),
            _ => Err(odd("unknown message")),
        }
    }
}

/// The groups of a caller.
#[derive(Deserialize)]
struct Told {
    revision: u64,
    #[serde(deserialize_with = "bound::list")]
    groups: Vec<Presence>,
}

fn request(mut body: Bytes) -> io::Result<Request> {
    match take_u8(&mut body)? {
        HELLO => Ok(Request::Hello(from_postcard(&body)?)),
        GROUPS => {
            let Told { revision, groups } = from_postcard(&body)?;
            Ok(Request::Groups(revision, groups))
        }
        PUSH => {
            let path = take_path(&mut body)?;
            let run = Run::decode(&body).map_err(|error| odd(error.0))?;
            Ok(Request::Frame {
                path,
                frame: Box::new(Frame::Push(run)),
            })
        }
        POLL if body.is_empty() => Ok(Request::Poll),
        FRAME => {
            let path = take_path(&mut body)?;
            Ok(Request::Frame {
                path,
                frame: Box::new(from_postcard(&body)?),
            })
        }
        _ => Err(odd("unknown request")),
    }
}

fn next_frame(meter: &Meter, bytes: &mut BytesMut) -> io::Result<Option<Bytes>> {
    let Some(head) = bytes.get(..4) else { return Ok(None) };
    let length = u32::from_be_bytes(head.try_into().expect("4 bytes")) as usize;
    if length > MAX_FRAME {
        return Err(odd("a frame over the limit"));
    }
    if bytes.len() < 4 + length {
        // What is there is kept; the rest is made room for at once, so that a large frame is not copied often.
        bytes.reserve(4 + length - bytes.len());
        return Ok(None);
    }
    meter.received(4 + length);
    if length >= SPLIT_FROM && length * 2 >= bytes.capacity() {
        bytes.advance(4);
        return Ok(Some(bytes.split_to(length).freeze()));
    }
    // Copied once, exactly: payloads are slices of this frame and stay in the log for long. A slice of the read buffer
    // would keep all of that.
    let frame = Bytes::copy_from_slice(&bytes[4..4 + length]);
    bytes.advance(4 + length);
    Ok(Some(frame))
}

fn put(out: &mut BytesMut, kind: u8, value: &impl Serialize) -> io::Result<()> {
    out.put_u8(kind);
    put_postcard(out, value)
}

fn put_postcard(out: &mut BytesMut, value: &impl Serialize) -> io::Result<()> {
    postcard::to_io(value, out.writer())
        .map(drop)
        .map_err(|error| odd(&error.to_string()))
}

fn from_postcard<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> io::Result<T> {
    match bound::frame(|| postcard::take_from_bytes(bytes)) {
        Ok((value, [])) => Ok(value),
        Ok(_) => Err(odd("bytes left over")),
        Err(error) => Err(odd(&error.to_string())),
    }
}

fn put_path(out: &mut BytesMut, path: Path) {
    out.put_slice(&path.group.0);
    out.put_slice(&path.from.0);
    out.put_slice(&path.to.0);
}

fn take_path(body: &mut Bytes) -> io::Result<Path> {
    let mut id = || -> io::Result<[u8; 16]> {
        let mut id = [0; 16];
        body.try_copy_to_slice(&mut id).map_err(|_| odd("too short"))?;
        Ok(id)
    };
    Ok(Path {
        group: GroupId(id()?),
        from: MemberId(id()?),
        to: MemberId(id()?),
    })
}

fn take_u8(body: &mut Bytes) -> io::Result<u8> {
    body.try_get_u8().map_err(|_| odd("too short"))
}

fn take_u32(body: &mut Bytes) -> io::Result<u32> {
    body.try_get_u32().map_err(|_| odd("too short"))
}

fn take_u64(body: &mut Bytes) -> io::Result<u64> {
    body.try_get_u64().map_err(|_| odd("too short"))
}

fn odd(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use crate::engine::{Record, Standing, View};
    use crate::id::NodeId;
    use crate::message::Intro;

    /// Short on the wire, long in memory.
    fn view(records: usize) -> Frame {
        let record = |nth: usize| Record {
            member: MemberId::from(nth as u128),
            generation: 0,
            standing: Standing::Joining,
            goodbye: false,
            intro: None,
        };
        Frame::View(View {
            records: (0..records).map(record).collect(),
            proofs: Vec::new(),
        })
    }

    fn said(frames: Vec<Frame>) -> io::Result<Reply> {
        let path = Path {
            group: GroupId([0; 16]),
            from: MemberId([0; 16]),
            to: MemberId([0; 16]),
        };
        let said = Reply::Said(frames.into_iter().map(|frame| (path, frame)).collect());
        let bytes = postcard::to_stdvec(&said).expect("it has a form");
        assert!(bytes.len() <= MAX_FRAME);
        let read = from_postcard::<Reply>(&bytes);
        assert!(read.as_ref().is_ok_and(|read| *read == said) || read.is_err());
        read
    }

    #[test]
    fn what_a_frame_becomes_in_memory_is_bounded() {
        assert!(said(vec![view(4096)]).is_ok(), "as many as a group may have");
        assert!(said(vec![view(10_000)]).is_err());
        assert!(said(vec![view(2000); 10]).is_err(), "however it is divided");
        let tiny = Frame::Full { attempt: 0, limit: 0 };
        assert!(said(vec![tiny.clone(); 512]).is_ok());
        assert!(said(vec![tiny; 20_000]).is_err());
        // One frame costs the next nothing.
        assert!((0..20).all(|_| said(vec![view(4096)]).is_ok()));
    }

    #[test]
    fn the_longest_honest_view_fits() {
        let intro = |nth: usize| Intro {
            node: NodeId::from(nth as u128),
            name: "a name of thirty-two characters.".to_owned(),
            addr: SocketAddr::from(([0xff; 16], 65_535)),
        };
        let Frame::View(mut view) = view(4096) else {
            unreachable!()
        };
        for (nth, record) in view.records.iter_mut().enumerate() {
            record.intro = Some(intro(nth));
        }
        assert!(said(vec![Frame::View(view)]).is_ok());
    }
}
