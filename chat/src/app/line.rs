//! What the chat tells, as data: the JSON lines of schema v1 (`chat/schema/v1.json`).
//!
//! A text screen and a full screen are drawn from the same values. Version 1 only grows.

mod answers;
mod told;

use jiff::Timestamp;
use multicast::{Clock, Dot, MemberId};
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use serde_json::Value;

pub use answers::*;
pub use told::*;

use super::clean;
use super::place::Place;

/// The version of the schema.
pub const VERSION: u32 = 1;

/// A moment of this machine's wall clock, with the distance of local time from UTC at that moment.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct At {
    /// Milliseconds since 1970, UTC.
    pub unix_ms: i64,
    /// Seconds that local time is ahead of UTC.
    pub offset_s: i32,
}

/// One line: something happened.
#[derive(Clone, PartialEq, Debug)]
pub struct Line {
    /// When, here.
    pub at: At,
    /// What.
    pub body: Body,
}

/// Everything that a line can tell. `name` is the line's `type`.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(untagged)]
pub enum Body {
    Hello(Hello),
    Join(Join),
    Message(Message),
    Leave(Leave),
    Control(Control),
    Ack(Ack),
    Held(Held),
    Peer(Peer),
    Closed(Closed),
    Gap(Gap),
    Txn(Txn),
    Made(Made),
    Notice(Notice),
    Error(Error),
    Bye(Bye),
    Who(Who),
    Clock(ClockNow),
    Waiting(Waiting),
    Why(Why),
    Info(Info),
    Peers(Peers),
    Status(Status),
    Rooms(Rooms),
    Topic(Topic),
    Ping(Ping),
    Export(Export),
    Ignored(Ignored),
    Chaos(Chaos),
    History(History),
    Stamp(StampMode),
    Help(Help),
}

impl Line {
    /// The line as JSON, without a line break; `n` is its place in its stream.
    pub fn to_json(&self, n: u64) -> String {
        let numbered = Numbered {
            r#type: self.body.name(),
            n,
            at: self.at.utc(),
            body: &self.body,
        };
        let json = serde_json::to_string(&numbered).expect("a line has only string keys");
        clean::json(&json)
    }
}

#[derive(Serialize)]
struct Numbered<'a> {
    r#type: &'static str,
    n: u64,
    at: String,
    #[serde(flatten)]
    body: &'a Body,
}

impl Body {
    /// Where it belongs, if anywhere.
    pub fn place(&self) -> Option<Place> {
        let place = match self {
            Self::Join(Join { place, .. })
            | Self::Message(Message { place, .. })
            | Self::Leave(Leave { place, .. })
            | Self::Control(Control { place, .. })
            | Self::Held(Held { place, .. })
            | Self::Peer(Peer { place, .. })
            | Self::Closed(Closed { place, .. })
            | Self::Gap(Gap { place, .. })
            | Self::Made(Made { place, .. })
            | Self::Who(Who { place, .. })
            | Self::Clock(ClockNow { place, .. })
            | Self::History(History { place, .. })
            | Self::Topic(Topic { place, .. })
            | Self::Ping(Ping { place, .. })
            | Self::Export(Export { place, .. })
            | Self::Chaos(Chaos { place, .. })
            | Self::Waiting(Waiting { place, .. })
            | Self::Why(Why { place, .. })
            | Self::Info(Info { place, .. }) => place,
            Self::Status(status) => status.place.as_ref()?,
            _ => return None,
        };
        Some(place.place())
    }

    /// The `ref` that it carries, where it can carry one.
    pub fn reference_mut(&mut self) -> Option<&mut Option<Ref>> {
        Some(match self {
            Self::Join(Join { reference, .. })
            | Self::Leave(Leave { reference, .. })
            | Self::Txn(Txn { reference, .. })
            | Self::Made(Made { reference, .. })
            | Self::Ack(Ack { reference, .. })
            | Self::Error(Error { reference, .. })
            | Self::Who(Who { reference, .. })
            | Self::Clock(ClockNow { reference, .. })
            | Self::Waiting(Waiting { reference, .. })
            | Self::Why(Why { reference, .. })
            | Self::Info(Info { reference, .. })
            | Self::Peers(Peers { reference, .. })
            | Self::Status(Status { reference, .. })
            | Self::Rooms(Rooms { reference, .. })
            | Self::Topic(Topic { reference, .. })
            | Self::Ping(Ping { reference, .. })
            | Self::Export(Export { reference, .. })
            | Self::Ignored(Ignored { reference, .. })
            | Self::Chaos(Chaos { reference, .. })
            | Self::Stamp(StampMode { reference, .. })
            | Self::History(History { reference, .. })
            | Self::Help(Help { reference, .. }) => reference,
            _ => return None,
        })
    }

    /// Whether it is only for whoever asked: everything that can carry a `ref`, but for what happened.
    pub fn is_answer(&mut self) -> bool {
        !matches!(self, Self::Join(_) | Self::Leave(_) | Self::Txn(_) | Self::Made(_)) && self.reference_mut().is_some()
    }

    /// The line's `type`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Hello(_) => "hello",
            Self::Join(_) => "join",
            Self::Message(_) => "message",
            Self::Leave(_) => "leave",
            Self::Control(_) => "control",
            Self::Ack(_) => "ack",
            Self::Held(_) | Self::Waiting(_) => "held",
            Self::Peer(_) => "peer",
            Self::Closed(_) => "closed",
            Self::Gap(_) => "gap",
            Self::Txn(_) => "txn",
            Self::Made(_) => "room",
            Self::Notice(_) => "notice",
            Self::Error(_) => "error",
            Self::Bye(_) => "bye",
            Self::Who(_) => "who",
            Self::Clock(_) => "clock",
            Self::Why(_) => "why",
            Self::Info(_) => "info",
            Self::Peers(_) => "peers",
            Self::Status(_) => "status",
            Self::Rooms(_) => "rooms",
            Self::Topic(_) => "topic",
            Self::Ping(_) => "ping",
            Self::Export(_) => "export",
            Self::Ignored(_) => "ignore",
            Self::Chaos(chaos) => chaos.name,
            Self::History(_) => "history",
            Self::Stamp(_) => "stamp",
            Self::Help(_) => "help",
        }
    }
}

impl At {
    /// `2026-11-21T10:02:09.001Z`
    pub fn utc(self) -> String {
        format!("{:.3}", self.timestamp())
    }

    /// `10:02:09`, local.
    pub fn time_of_day(self) -> String {
        let offset = jiff::tz::Offset::from_seconds(self.offset_s).unwrap_or(jiff::tz::Offset::UTC);
        let local = offset.to_datetime(self.timestamp());
        format!("{:02}:{:02}:{:02}", local.hour(), local.minute(), local.second())
    }

    fn timestamp(self) -> Timestamp {
        // A clock outside of the years that jiff knows is wrong anyway; it must not end the chat.
        Timestamp::from_millisecond(self.unix_ms).unwrap_or(Timestamp::UNIX_EPOCH)
    }
}

/// Where a line belongs: `"room":"lobby"`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Where {
    /// The name of a room.
    Room(String),
}

impl Where {
    /// The place that the model knows.
    pub fn place(&self) -> Place {
        match self {
            Self::Room(name) => Place::Room(name.clone()),
        }
    }
}

impl Serialize for Where {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1))?;
        match self {
            Self::Room(name) => map.serialize_entry("room", name)?,
        }
        map.end()
    }
}

/// Someone: `{"id":"ana#7f3a01c2","nick":"ana"}`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Person {
    /// The identity, fixed at the join.
    pub id: String,
    /// The name that people see.
    pub nick: String,
    /// For screens.
    #[serde(skip)]
    pub member: MemberId,
}

/// A message's name: `"ana#7f3a01c2:12"`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MessageId {
    /// As it is written.
    pub text: String,
    /// For screens.
    pub dot: Dot,
}

impl Serialize for MessageId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

/// A full vector clock: `{"ana#7f3a01c2":2,"bob#c0de44aa":1}`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Vector {
    /// Identities and seqs.
    pub named: Vec<(String, u64)>,
    /// For screens.
    pub clock: Clock,
}

impl Serialize for Vector {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.named.len()))?;
        self.named
            .iter()
            .try_for_each(|(id, seq)| map.serialize_entry(id, seq))?;
        map.end()
    }
}

/// What an input brought along as `ref`: a string or a number.
pub type Ref = Value;
