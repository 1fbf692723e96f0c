//! The chat's model, pure: one input and the time go in, everything that follows comes out.
//!
//! Line mode, JSON mode and the screens to come differ only in how they draw the lines that come out.

pub mod clean;
pub mod command;
mod heard;
pub mod line;
pub mod outbox;
pub mod people;
pub mod question;
pub mod text;

use std::collections::VecDeque;

use bytes::Bytes;
use multicast::{Clock, Dot, Event, Member, MemberId, MemberState, Stamp};

use crate::post::{Post, Unreadable};
use command::{Asked, Command};
use heard::RECENT;
use line::{At, Body, Bye, Hello, Line, Notice, Ref};
use outbox::Outbox;
use people::People;
use question::{Answer, Question};

/// What this instance is. Fixed for its life.
#[derive(Clone, PartialEq, Debug)]
pub struct Setup {
    /// This member.
    pub me: Member,
    /// The room, without `#`.
    pub room: String,
    /// Where this instance listens.
    pub addr: String,
    /// The registries, if any.
    pub registry: Option<String>,
    /// What stands behind each message, at first.
    pub stamp: text::Stamp,
    /// Lines that begin with a slash are only text.
    pub no_commands: bool,
}

/// Something that happened.
#[derive(Clone, PartialEq, Debug)]
pub enum Input {
    /// The instance is up; nothing was joined yet.
    Started,
    /// Who was in the room when this member came, apart from those whose join is still to be told.
    Present(Vec<MemberState>),
    /// Names of origins that the next input mentions.
    Named(Vec<Member>),
    /// A message was delivered.
    Said {
        from: Member,
        stamp: Stamp,
        held_ms: u64,
        post: Result<Post, Unreadable>,
    },
    /// Anything else that the group told.
    Heard(Event),
    /// A person typed a line.
    TextLine(String),
    /// A script wrote a line of JSON.
    JsonLine(String),
    /// A line could not be read.
    BadLine(line::Error),
    /// A message was sent: it is delivered here.
    Sent { dot: Dot, reference: Option<Ref> },
    /// A message was not sent.
    NotSent { error: line::Error },
    /// The members and what they have, after something about that may have changed.
    Roster(Vec<MemberState>),
    /// The answer to a question.
    Answered { answer: Answer, reference: Option<Ref> },
    /// This member says goodbye: nothing more can be sent.
    Leaving,
    /// The goodbye takes so long that a person wants to know why.
    StillLeaving,
    /// Something that people should know.
    Noticed(String),
    /// The end; nothing follows.
    Ended {
        reason: &'static str,
        unconfirmed: Vec<Member>,
    },
}

/// What is to be done.
#[derive(Clone, PartialEq, Debug)]
pub enum Output {
    /// Show this.
    Tell(Box<Line>),
    /// Send this; answer with `Sent` or `NotSent`.
    Send { payload: Bytes, reference: Option<Ref> },
    /// Find this out; answer with `Answered`.
    Ask { question: Question, reference: Option<Ref> },
    /// Say goodbye, wait for the others for a while, end.
    Leave { reason: String },
    /// Wait no longer.
    LeaveNow,
}

/// One member's chat in one room.
#[derive(Clone, Debug)]
pub struct App {
    setup: Setup,
    people: People,
    stamp: text::Stamp,
    /// Whether this member's own join was delivered.
    entered: bool,
    leaving: bool,
    linger_s: u64,
    recent: VecDeque<Dot>,
    outbox: Outbox,
}

impl App {
    /// An instance that has joined nothing yet. `linger_s` is only told, never measured.
    pub fn new(setup: Setup, linger_s: u64) -> Self {
        Self {
            people: People::new(setup.me.clone()),
            stamp: setup.stamp,
            setup,
            entered: false,
            leaving: false,
            linger_s,
            recent: VecDeque::with_capacity(RECENT),
            outbox: Outbox::default(),
        }
    }

    /// Takes one input; returns everything that follows, in order.
    pub fn update(&mut self, input: Input, at: At) -> Vec<Output> {
        let mut out = Outputs { at, list: Vec::new() };
        match input {
            Input::Started => out.tell(Body::Hello(self.hello())),
            Input::Present(members) => self.on_present(members, &mut out),
            Input::Named(members) => members.iter().for_each(|member| self.people.named(member)),
            Input::Said {
                from,
                stamp,
                held_ms,
                post,
            } => self.on_said(from, stamp, held_ms, post, &mut out),
            Input::Heard(event) => self.on_heard(event, &mut out),
            Input::TextLine(line) => self.on_text(&line, &mut out),
            Input::JsonLine(line) => match command::of_json(&line) {
                Ok(asked) => asked.into_iter().for_each(|asked| self.on_asked(asked, &mut out)),
                Err(error) => out.tell(Body::Error(error)),
            },
            Input::BadLine(error) | Input::NotSent { error } => out.tell(Body::Error(error)),
            Input::Sent { dot, reference } => self.outbox.sent(dot, reference, &self.people, &mut out),
            Input::Roster(roster) => self.outbox.roster(&roster, &self.people, &mut out),
            Input::Answered { answer, reference } => self.on_answered(answer, reference, &mut out),
            Input::Leaving => self.leaving = true,
            Input::StillLeaving => self.on_still_leaving(&mut out),
            Input::Noticed(text) => out.tell(Body::Notice(Notice { text })),
            Input::Ended { reason, unconfirmed } => self.on_ended(reason, &unconfirmed, &mut out),
        }
        out.list
    }

    /// The line as people read it, if they have a use for it. To be asked right after the `update` that told it.
    pub fn text(&self, line: &Line, color: bool) -> Option<String> {
        let style = text::Style {
            stamp: self.stamp,
            color,
        };
        text::render(line, &self.people, style)
    }

    /// Origins that a clock mentions and whose names were never told; to be told with `Named` before the clock.
    pub fn strangers(&self, clock: &Clock) -> Vec<MemberId> {
        self.people.strangers(clock)
    }

    /// Whether some message of this member is not confirmed by everyone who counts.
    pub fn is_waiting_for_confirmation(&self) -> bool {
        !self.outbox.is_empty()
    }

    fn hello(&self) -> Hello {
        Hello {
            v: line::VERSION,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            own: self.people.person(self.setup.me.id),
            addr: self.setup.addr.clone(),
            registry: self.setup.registry.clone(),
            rooms: vec![self.setup.room.clone()],
        }
    }

    fn on_text(&mut self, line: &str, out: &mut Outputs) {
        if self.setup.no_commands && !line.trim().is_empty() {
            return self.on_asked(command::plain(line), out);
        }
        match command::of_text(line) {
            Ok(asked) => asked.into_iter().for_each(|asked| self.on_asked(asked, out)),
            Err(error) => out.tell(Body::Error(error)),
        }
    }

    fn on_asked(&mut self, asked: Asked, out: &mut Outputs) {
        let reference = asked.reference.clone();
        if let Err(error) = self.carry_out(asked, out) {
            out.tell(Body::Error(line::Error { reference, ..error }));
        }
    }

    fn carry_out(&mut self, asked: Asked, out: &mut Outputs) -> Result<(), line::Error> {
        let Asked {
            command,
            reference,
            room,
        } = asked;
        if let Some(room) = room.filter(|room| *room != self.setup.room) {
            let text = format!("you are not in #{room}; you are in #{}", self.setup.room);
            return Err(command::error("no_room", text));
        }
        let question = match command {
            Command::Send { kind, text, reply_to } => {
                let payload = self.payload(kind, text, reply_to)?;
                out.list.push(Output::Send { payload, reference });
                return Ok(());
            }
            Command::Leave { .. } if self.leaving => {
                out.list.push(Output::LeaveNow);
                return Ok(());
            }
            Command::Leave { reason } => {
                self.leaving = true;
                out.list.push(Output::Leave { reason });
                return Ok(());
            }
            Command::Help => {
                out.tell(question::help(reference));
                return Ok(());
            }
            Command::Stamp { mode } => {
                self.stamp = mode.unwrap_or(self.stamp);
                out.tell(question::stamp(self.stamp, reference));
                return Ok(());
            }
            Command::Who => Question::Who,
            Command::Clock => Question::Clock,
            Command::Held => Question::Held,
            Command::Peers => Question::Peers,
            Command::Status => Question::Status,
            Command::Why { id } => Question::Why(self.message(&id)?),
            Command::Info { id: Some(id) } => Question::Info(self.message(&id)?),
            Command::Info { id: None } => match self.recent.back() {
                Some(last) => Question::Info(*last),
                None => return Err(command::error("nothing_yet", "no message was delivered here yet")),
            },
        };
        out.list.push(Output::Ask { question, reference });
        Ok(())
    }

    fn payload(&self, kind: crate::post::Kind, text: String, reply_to: Option<String>) -> Result<Bytes, line::Error> {
        if self.leaving {
            return Err(command::error("leaving", "you are leaving; nothing more can be sent"));
        }
        let reply_to = reply_to.map(|id| self.message(&id)).transpose()?;
        let post = Post { kind, text, reply_to };
        post.encode()
            .map_err(|refusal| command::error("too_long", refusal.to_string()))
    }

    fn message(&self, id: &str) -> Result<Dot, line::Error> {
        self.people
            .resolve_message(id)
            .map_err(|refusal| command::error("bad_argument", refusal.to_string()))
    }

    fn on_answered(&mut self, answer: Answer, reference: Option<Ref>, out: &mut Outputs) {
        let context = question::Context {
            people: &self.people,
            setup: &self.setup,
            unconfirmed: self.outbox.len() as u64,
        };
        out.tell(context.body(answer, reference));
    }

    fn on_still_leaving(&mut self, out: &mut Outputs) {
        let (messages, lacking) = self.outbox.unconfirmed_by_live();
        let names: Vec<_> = lacking.iter().map(|id| self.people.shown(*id)).collect();
        let what = match messages {
            0 => "goodbye".to_owned(),
            n => text::count(n, "message"),
        };
        if names.is_empty() {
            return;
        }
        let text = format!(
            "{what} not confirmed by {}. Waiting {} s; /leave again to go now.",
            names.join(", "),
            self.linger_s
        );
        out.tell(Body::Notice(Notice { text }));
    }

    fn on_ended(&mut self, reason: &'static str, unconfirmed: &[Member], out: &mut Outputs) {
        self.outbox.ended(&self.people, out);
        let ids = unconfirmed.iter().map(|member| {
            self.people.named(member);
            self.people.id(member.id)
        });
        let unconfirmed = ids.collect();
        out.tell(Body::Bye(Bye { reason, unconfirmed }));
    }
}

/// What follows from one input.
pub struct Outputs {
    at: At,
    list: Vec<Output>,
}

impl Outputs {
    fn tell(&mut self, body: Body) {
        self.list.push(Output::Tell(Box::new(Line { at: self.at, body })));
    }
}

#[cfg(test)]
mod tests;
