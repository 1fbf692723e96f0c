//! The wire: tarpc over TLS with one kind of request and one kind of answer.
//!
//! A frame is a length (4 bytes, big endian) and a postcard body. tarpc's own serialisation is not
//! used: a deadline of years, which it would carry faithfully, panics its dispatcher.

#[cfg(test)]
mod cases;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod laws;

use std::fmt::Display;
use std::io;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tarpc::{ClientMessage, context};
use tokio_util::codec::{Decoder, Encoder, LengthDelimitedCodec};

use crate::protocol::{Answer, Request};

/// Longest request, in bytes. The largest well-formed one has under 3 KiB; the rest is room for an
/// oversized name to get a clear answer instead of a closed connection.
pub(crate) const REQUEST_MAX_BYTES: usize = 64 * 1024;
/// Longest answer, in bytes: a full list of the most and largest peers (tested below).
pub(crate) const ANSWER_MAX_BYTES: usize = 4 * 1024 * 1024;
/// What a caller may ask for as its deadline is clamped to this range. Below, tarpc would report
/// ordinary scheduling as an error; above, a request would outlive any use of its answer.
const DEADLINE_MIN: Duration = Duration::from_secs(1);
pub(crate) const DEADLINE_MAX: Duration = Duration::from_secs(60);

impl tarpc::RequestName for Request {
    fn name(&self) -> &str {
        match self {
            Request::Hello { .. } => "hello",
            Request::Prove { .. } => "prove",
            Request::Enrol { .. } => "enrol",
            Request::Register { .. } => "register",
            Request::Leave { .. } => "leave",
            Request::List => "list",
            Request::Watch { .. } => "watch",
            Request::Evict { .. } => "evict",
            Request::Pardon { .. } => "pardon",
            Request::Invite { .. } => "invite",
            Request::Invites => "invites",
            Request::Revoke { .. } => "revoke",
            Request::Health => "health",
        }
    }
}

/// Body of a frame to the registry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Asked {
    Call {
        id: u64,
        deadline_ms: u32,
        request: Request,
    },
    Cancel {
        id: u64,
    },
}

/// Body of a frame from the registry. Failures are in the [`Answer`]; tarpc's own error type does
/// not survive postcard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Answered {
    id: u64,
    answer: Answer,
}

/// The registry's end of a connection.
#[derive(Debug)]
pub(crate) struct RegistryCodec(Frames);

/// The client's end of a connection.
#[derive(Debug)]
pub(crate) struct ClientCodec(Frames);

impl RegistryCodec {
    pub(crate) fn new() -> Self {
        Self(Frames::new(REQUEST_MAX_BYTES, ANSWER_MAX_BYTES))
    }
}

impl ClientCodec {
    pub(crate) fn new() -> Self {
        Self(Frames::new(ANSWER_MAX_BYTES, REQUEST_MAX_BYTES))
    }
}

impl Decoder for RegistryCodec {
    type Item = ClientMessage<Request>;
    type Error = io::Error;

    fn decode(&mut self, bytes: &mut BytesMut) -> io::Result<Option<Self::Item>> {
        Ok(self.0.decode(bytes)?.map(|asked| match asked {
            Asked::Call {
                id,
                deadline_ms,
                request,
            } => {
                let allowed = Duration::from_millis(deadline_ms.into());
                let mut context = context::current();
                context.deadline = Instant::now() + allowed.clamp(DEADLINE_MIN, DEADLINE_MAX);
                ClientMessage::Request(tarpc::Request {
                    context,
                    id,
                    message: request,
                })
            }
            Asked::Cancel { id } => ClientMessage::Cancel {
                trace_context: Default::default(),
                request_id: id,
            },
        }))
    }

    /// The end is an error on this side: tarpc's server end would otherwise keep a connection
    /// that is gone until the deadlines of its waiting requests.
    fn decode_eof(&mut self, bytes: &mut BytesMut) -> io::Result<Option<Self::Item>> {
        match self.decode(bytes)? {
            None if bytes.is_empty() => Err(io::ErrorKind::ConnectionAborted.into()),
            None => Err(malformed("the connection ended inside a frame")),
            message => Ok(message),
        }
    }
}

impl Encoder<tarpc::Response<Answer>> for RegistryCodec {
    type Error = io::Error;

    fn encode(&mut self, response: tarpc::Response<Answer>, to: &mut BytesMut) -> io::Result<()> {
        let answer = response.message.map_err(|e| malformed(e.detail))?;
        self.0.encode(
            &Answered {
                id: response.request_id,
                answer,
            },
            to,
        )
    }
}

impl Decoder for ClientCodec {
    type Item = tarpc::Response<Answer>;
    type Error = io::Error;

    fn decode(&mut self, bytes: &mut BytesMut) -> io::Result<Option<Self::Item>> {
        let answered: Option<Answered> = self.0.decode(bytes)?;
        Ok(answered.map(|Answered { id, answer }| tarpc::Response {
            request_id: id,
            message: Ok(answer),
        }))
    }
}

impl Encoder<ClientMessage<Request>> for ClientCodec {
    type Error = io::Error;

    fn encode(&mut self, message: ClientMessage<Request>, to: &mut BytesMut) -> io::Result<()> {
        let asked = match message {
            ClientMessage::Request(tarpc::Request { context, id, message }) => {
                let left = context.deadline.saturating_duration_since(Instant::now());
                let deadline_ms = crate::protocol::millis(left);
                Asked::Call {
                    id,
                    deadline_ms,
                    request: message,
                }
            }
            ClientMessage::Cancel { request_id, .. } => Asked::Cancel { id: request_id },
            _ => {
                return Err(malformed("tarpc sends a kind of message that is not known here"));
            }
        };
        self.0.encode(&asked, to)
    }
}

/// Length-delimited postcard with a limit for each direction.
#[derive(Debug)]
struct Frames {
    inward: LengthDelimitedCodec,
    outward: LengthDelimitedCodec,
    inward_max: usize,
}

impl Frames {
    fn new(inward_max: usize, outward_max: usize) -> Self {
        let limited = |max| LengthDelimitedCodec::builder().max_frame_length(max).new_codec();
        Self {
            inward: limited(inward_max),
            outward: limited(outward_max),
            inward_max,
        }
    }

    fn decode<T: DeserializeOwned>(&mut self, bytes: &mut BytesMut) -> io::Result<Option<T>> {
        let frame = self
            .inward
            .decode(bytes)
            .map_err(|_| malformed(format!("a frame of more than {} bytes was announced", self.inward_max)))?;
        let Some(frame) = frame else { return Ok(None) };
        match postcard::take_from_bytes(&frame) {
            Ok((body, [])) => Ok(Some(body)),
            Ok(_) => Err(malformed("a frame is longer than its content")),
            Err(_) => Err(malformed("a frame cannot be read")),
        }
    }

    fn encode<T: Serialize>(&mut self, body: &T, to: &mut BytesMut) -> io::Result<()> {
        let body = postcard::to_stdvec(body).map_err(malformed)?;
        self.outward.encode(Bytes::from(body), to)
    }
}

fn malformed(why: impl Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why.to_string())
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv6Addr, SocketAddr};

    use super::*;
    use crate::admission::EVICTIONS_MAX;
    use crate::peer::{ADDRS_MAX, NICK_MAX_CHARS, ROOM_MAX_BYTES, ROOMS_MAX, Registration};
    use crate::protocol::{Entry, Instance, News, Position};
    use crate::registry::PEERS_MAX;

    fn asked(call: &Asked) -> BytesMut {
        let mut bytes = BytesMut::new();
        Frames::new(0, usize::from(u16::MAX))
            .encode(call, &mut bytes)
            .expect("encode");
        bytes
    }

    #[test]
    fn a_hostile_deadline_is_clamped() {
        for deadline_ms in [0, 1, u32::MAX] {
            let call = Asked::Call {
                id: 1,
                deadline_ms,
                request: Request::List,
            };
            let decoded = RegistryCodec::new().decode(&mut asked(&call)).expect("well formed");
            let Some(ClientMessage::Request(request)) = decoded else {
                panic!("a request")
            };
            assert!(request.context.deadline <= Instant::now() + DEADLINE_MAX);
        }
    }

    #[test]
    fn what_cannot_be_read_is_an_error_and_never_a_panic() {
        let mut good = asked(&Asked::Call {
            id: 9,
            deadline_ms: 5,
            request: Request::Health,
        });
        let mut long = good.clone();
        long[3] += 1;
        long.extend_from_slice(&[0]);
        assert!(RegistryCodec::new().decode(&mut long).is_err(), "trailing byte");
        let mut cut = good.clone();
        cut.truncate(good.len() - 1);
        assert!(matches!(RegistryCodec::new().decode(&mut cut.clone()), Ok(None)));
        assert!(RegistryCodec::new().decode_eof(&mut cut).is_err());
        good[4] = 0xff;
        assert!(RegistryCodec::new().decode(&mut good).is_err(), "unknown variant");
        let mut http = BytesMut::from(&b"GET / HTTP/1.1\r\n\r\n"[..]);
        assert!(RegistryCodec::new().decode(&mut http).is_err(), "oversized");
    }

    #[test]
    fn the_largest_list_fits_a_frame() {
        let peer = Registration {
            id: u128::MAX.into(),
            nick: "\u{20000}".repeat(NICK_MAX_CHARS),
            addrs: vec![SocketAddr::from((Ipv6Addr::LOCALHOST, u16::MAX)); ADDRS_MAX],
            rooms: vec!["r".repeat(ROOM_MAX_BYTES); ROOMS_MAX],
        };
        let peer = peer.check().expect("the largest peer is well formed");
        let entry = Entry {
            peer,
            age_ms: u64::MAX,
            left_ms: u32::MAX,
        };
        let at = Position {
            instance: Instance(u64::MAX),
            revision: u64::MAX,
        };
        let news = News::Resync {
            at,
            entries: vec![entry; PEERS_MAX],
            evicted: vec![(u128::MAX.into(), u32::MAX); EVICTIONS_MAX],
        };
        let response = tarpc::Response {
            request_id: u64::MAX,
            message: Ok(Answer::News(news.clone())),
        };
        let mut bytes = BytesMut::new();
        RegistryCodec::new().encode(response, &mut bytes).expect("fits");
        let decoded = ClientCodec::new().decode(&mut bytes).expect("reads").expect("whole");
        assert_eq!(decoded.message, Ok(Answer::News(news)));
    }
}
