//! Lines that tell what happened. The schema documents the fields.

use std::collections::BTreeMap;

use multicast::MemberId;
use serde::{Deserialize, Serialize};

use super::{MessageId, Person, Ref, Vector, Where};
use crate::post::Kind;

/// The first line.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Hello {
    pub v: u32,
    pub version: String,
    #[serde(rename = "self")]
    pub own: Person,
    pub addr: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub registry: Option<String>,
    pub rooms: Vec<String>,
}

/// Someone's first message; on entry also whoever is there, with `replay`.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Join {
    pub from: Person,
    pub id: MessageId,
    #[serde(flatten)]
    pub place: Where,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lamport: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clock: Option<Vector>,
    /// Of the `join` that asked for it.
    #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
    pub reference: Option<Ref>,
    #[serde(rename = "self")]
    pub own: bool,
    pub replay: bool,
}

/// Something was said.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Message {
    pub id: MessageId,
    #[serde(flatten)]
    pub place: Where,
    pub from: Person,
    pub kind: Kind,
    pub text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<MessageId>,
    pub lamport: u64,
    pub clock: Vector,
    pub sent_at: String,
    pub held_ms: u64,
    pub concurrent: Vec<MessageId>,
    #[serde(rename = "self")]
    pub own: bool,
    pub mention: bool,
    pub replay: bool,
}

/// Someone's last message.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Leave {
    pub from: Person,
    pub id: MessageId,
    #[serde(flatten)]
    pub place: Where,
    pub lamport: u64,
    pub clock: Vector,
    pub reason: String,
    /// Of the `part` that asked for it.
    #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
    pub reference: Option<Ref>,
    #[serde(rename = "self")]
    pub own: bool,
    pub replay: bool,
}

/// A message that no person has a use for, or that this version cannot show.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Control {
    pub from: Person,
    pub id: MessageId,
    #[serde(flatten)]
    pub place: Where,
    pub lamport: u64,
    pub clock: Vector,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unreadable: Option<String>,
    /// Somebody said it who is ignored here.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub ignored: bool,
    /// What its sender is called from now on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nick: Option<String>,
    /// What the room is about, as its sender says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// What is new in it, for screens.
    #[serde(skip)]
    pub news: Option<News>,
    pub replay: bool,
}

/// What a person did not know before.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum News {
    /// It showed as this before.
    Renamed { before: String },
    /// The topic that this member set, maybe said again by somebody else.
    Topic { by: MemberId, again: bool },
}

/// Who has a message that was sent here.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Ack {
    pub id: MessageId,
    #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
    pub reference: Option<Ref>,
    pub acked: Vec<String>,
    pub pending: Vec<String>,
    pub state: AckState,
}

/// A message waits for a cause.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Held {
    pub id: MessageId,
    #[serde(flatten)]
    pub place: Where,
    pub needs: Vec<MessageId>,
    pub held: u64,
}

/// How a peer stands.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Peer {
    pub peer: String,
    #[serde(flatten)]
    pub place: Where,
    pub state: PeerState,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub silent_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub behind: Option<u64>,
    #[serde(skip)]
    pub member: MemberId,
}

/// The group decided that an origin says no more.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Closed {
    pub origin: String,
    #[serde(flatten)]
    pub place: Where,
    pub last_seq: u64,
    pub discarded: u64,
    #[serde(skip)]
    pub member: MemberId,
    /// It had said goodbye, so that people know already.
    #[serde(skip)]
    pub expected: bool,
}

/// Exactly these messages are lost to this member.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Gap {
    #[serde(flatten)]
    pub place: Where,
    pub dots: Vec<Dots>,
}

/// Consecutive messages of one origin.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Dots {
    pub origin: String,
    pub from: u64,
    pub to: u64,
    #[serde(skip)]
    pub member: MemberId,
}

/// How far something has come that is done by all chats together, or by none.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Txn {
    pub txn: String,
    pub op: Op,
    /// The name of the room that it is about.
    pub room: String,
    pub phase: Phase,
    /// Who proposed it.
    pub by: String,
    /// `yes` or `no`, as far as they are known here.
    pub votes: BTreeMap<String, &'static str>,
    /// Who was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asked: Option<u64>,
    /// What a room that is to be created is about.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub topic: String,
    /// Why it was aborted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub took_ms: Option<u64>,
    /// Of the command that it answers.
    #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
    pub reference: Option<Ref>,
    /// Whether this member proposed it.
    #[serde(rename = "self")]
    pub own: bool,
}

/// What is done by all together.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub enum Op {
    #[serde(rename = "room.create")]
    Create,
    #[serde(rename = "room.close")]
    Close,
}

/// How far it has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Everybody is asked.
    Prepare,
    /// It is done.
    Committed,
    /// Nothing is done.
    Aborted,
    /// This member said yes, and nobody who can be reached knows how it ended.
    InDoubt,
}

/// This member's first message in a room that it created, in place of its join.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Made {
    pub id: MessageId,
    #[serde(flatten)]
    pub place: Where,
    pub order: &'static str,
    pub by: String,
    pub lamport: u64,
    pub clock: Vector,
    /// Of the `create` that asked for it.
    #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
    pub reference: Option<Ref>,
    #[serde(skip)]
    pub member: MemberId,
}

/// Something that a person should know.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Notice {
    pub text: String,
}

/// Something was not done. `text` says what to do.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Error {
    pub code: &'static str,
    #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
    pub reference: Option<Ref>,
    pub text: String,
    /// What a screen says instead, where it says more.
    #[serde(skip)]
    pub screen: Option<String>,
}

/// The last line.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Bye {
    pub reason: &'static str,
    pub unconfirmed: Vec<String>,
}

/// What became of a message that was sent here.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AckState {
    /// It is delivered here and on its way.
    Queued,
    /// Some have it.
    Partial,
    /// Everyone who counts has it.
    All,
    /// This process ends before it was confirmed.
    Failed,
}

/// How a peer stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PeerState {
    Up,
    Silent,
    Lagging,
    Closed,
}
