//! Lines that answer a question: one line of the command's name. The schema documents the fields.

use multicast::MemberId;
use serde::{Deserialize, Serialize};

use super::{MessageId, Person, Ref, Vector, Where};
use crate::app::text::Stamp;

/// Answer to `/who`.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Who {
    #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
    pub reference: Option<Ref>,
    #[serde(flatten)]
    pub place: Where,
    pub members: Vec<MemberLine>,
    /// How many only listen: a `chat tail` that has no chat to listen to, and programs at this chat.
    pub listeners: u64,
}

/// One member in an answer to `/who`.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct MemberLine {
    pub id: String,
    pub nick: String,
    #[serde(rename = "self")]
    pub own: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub addr: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub joined: Option<u64>,
    pub silent: bool,
    pub lagging: bool,
    #[serde(skip)]
    pub member: MemberId,
}

/// Answer to `/clock`.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct ClockNow {
    #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
    pub reference: Option<Ref>,
    #[serde(flatten)]
    pub place: Where,
    pub lamport: u64,
    pub clock: Vector,
    pub stable: Vector,
}

/// Answer to `/held`.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Waiting {
    #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
    pub reference: Option<Ref>,
    #[serde(flatten)]
    pub place: Where,
    pub held: u64,
    pub messages: Vec<WaitingMessage>,
}

/// One message in an answer to `/held`.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct WaitingMessage {
    pub id: MessageId,
    pub needs: Vec<MessageId>,
    pub held_ms: u64,
}

/// Answer to `/why ID`.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Why {
    #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
    pub reference: Option<Ref>,
    #[serde(flatten)]
    pub place: Where,
    pub id: MessageId,
    pub state: WhyState,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lamport: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub written_after: Option<Vector>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delivered: Option<Vector>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<Missing>,
}

/// What a held message waits for.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Missing {
    pub origin: String,
    pub from: u64,
    pub to: u64,
    pub held: u64,
    pub asked: Vec<String>,
    pub holders: Vec<String>,
    #[serde(skip)]
    pub member: MemberId,
    #[serde(skip)]
    pub asked_members: Vec<MemberId>,
    #[serde(skip)]
    pub holding_members: Vec<MemberId>,
}

/// Answer to `/info ID`.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Info {
    #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
    pub reference: Option<Ref>,
    #[serde(flatten)]
    pub place: Where,
    pub id: MessageId,
    pub from: Person,
    pub lamport: u64,
    pub clock: Vector,
    pub sent_at: String,
    /// Of one that was delivered lately.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

/// Answer to `/peers`.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Peers {
    #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
    pub reference: Option<Ref>,
    pub peers: Vec<PeerLine>,
}

/// One address that this instance dials.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct PeerLine {
    pub addr: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
    pub up: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
}

/// Answer to `/status`.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Status {
    #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
    pub reference: Option<Ref>,
    pub version: String,
    #[serde(rename = "self")]
    pub own: Person,
    pub addr: String,
    /// The room that the numbers are of; none, if this chat is in none.
    #[serde(flatten)]
    pub place: Option<Where>,
    pub registries: Vec<RegistryLine>,
    pub members: u64,
    pub delivered: u64,
    pub held: u64,
    pub held_bytes: u64,
    pub logged: u64,
    pub log_bytes: u64,
    pub lamport: u64,
    pub unconfirmed: u64,
}

/// One registry in an answer to `/status`.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct RegistryLine {
    pub registry: String,
    pub state: String,
}

/// Answer to `/history` and `/search`.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct History {
    #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
    pub reference: Option<Ref>,
    #[serde(flatten)]
    pub place: Where,
    pub messages: Vec<super::Message>,
}

/// Answer to `/rooms`.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Rooms {
    #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
    pub reference: Option<Ref>,
    pub rooms: Vec<RoomLine>,
    /// Those that this instance is not in, and could join.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<Elsewhere>,
}

/// A room that this instance is not in.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Elsewhere {
    pub room: String,
    /// How many are there, as far as registries know.
    pub members: u64,
    /// What it was created with, by whom, if somebody created it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub topic: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// One room in an answer to `/rooms`.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct RoomLine {
    pub room: String,
    /// Whether what is typed goes there.
    pub current: bool,
    /// Who is there, this member included.
    pub members: u64,
    /// What was said there since people last looked at it.
    pub unread: u64,
}

/// Answer to `/stamp`.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct StampMode {
    #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
    pub reference: Option<Ref>,
    pub mode: Stamp,
}

/// Answer to `/help`.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Help {
    #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
    pub reference: Option<Ref>,
    pub commands: Vec<HelpLine>,
}

/// One command in an answer to `/help`.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct HelpLine {
    pub command: &'static str,
    pub does: &'static str,
}

/// What is known of a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WhyState {
    /// It was shown.
    Delivered,
    /// It was shown, or was before this member's join; it is not kept.
    Past,
    /// It is here and waits for its causes.
    Held,
    /// Another member has it.
    Awaited,
    /// Nobody here knows of it.
    Unknown,
}

/// What a room is about.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Topic {
    #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
    pub reference: Option<Ref>,
    #[serde(flatten)]
    pub place: Where,
    /// Empty: nothing.
    pub topic: String,
    /// Who set it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    #[serde(skip)]
    pub member: Option<MemberId>,
}

/// How long a peer takes to answer.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Ping {
    #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
    pub reference: Option<Ref>,
    #[serde(flatten)]
    pub place: Where,
    pub peer: String,
    /// None: it did not, while that was waited for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub round_trip_us: Option<u64>,
    #[serde(skip)]
    pub member: MemberId,
}

/// Whose words are not shown here.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Ignored {
    #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
    pub reference: Option<Ref>,
    pub ignored: Vec<String>,
}

/// A fault on purpose that is there now.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Chaos {
    #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
    pub reference: Option<Ref>,
    #[serde(flatten)]
    pub place: Where,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
    /// At least and at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delay_ms: Option<[u64; 2]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub percent: Option<u8>,
    /// Who is cut off from this chat.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cut: Option<Vec<String>>,
    /// Of the command.
    #[serde(skip)]
    pub name: &'static str,
    #[serde(skip)]
    pub members: Vec<MemberId>,
}

impl Chaos {
    /// None.
    pub fn new(place: Where, reference: Option<Ref>) -> Self {
        Self {
            reference,
            place,
            peer: None,
            delay_ms: None,
            percent: None,
            cut: None,
            name: "heal",
            members: Vec::new(),
        }
    }
}

/// What is kept of a room was written into a file.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Export {
    #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
    pub reference: Option<Ref>,
    #[serde(flatten)]
    pub place: Where,
    pub file: String,
    pub messages: u64,
}
