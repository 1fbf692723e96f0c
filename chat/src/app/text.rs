//! Lines as people read them. Everything that came from outside is neutralised here, always.

mod answers;
mod coordinated;

use std::str::FromStr;

use multicast::{Clock, Dot, MemberId};
use serde::Serialize;

use super::clean;
use super::line::{Body, Closed, Control, Gap, Join, Leave, Line, Message, News, Peer, PeerState};
use super::people::People;
use crate::post::Kind;

/// Most lines of one message that a screen shows: a message of 64 KiB could be 65,536 lines.
pub const LINES_MAX: usize = 200;
/// Where the lines of a message go on.
const CONTINUED: &str = "         | ";

/// What stands behind each message.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Stamp {
    /// `[ana:2 bob:1]`: the vector clock, zero entries left out.
    #[default]
    Vector,
    /// `@9`: the Lamport time.
    Lamport,
    /// `[2,1,1]`: the vector clock in join order.
    Dense,
    /// Nothing.
    None,
}

impl FromStr for Stamp {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "vector" => Ok(Self::Vector),
            "lamport" => Ok(Self::Lamport),
            "dense" => Ok(Self::Dense),
            "none" => Ok(Self::None),
            _ => Err(()),
        }
    }
}

impl Stamp {
    /// As it is chosen on a command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Vector => "vector",
            Self::Lamport => "lamport",
            Self::Dense => "dense",
            Self::None => "none",
        }
    }
}

/// How lines are written.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Style {
    /// What stands behind each message.
    pub stamp: Stamp,
    /// Whether colours are used.
    pub color: bool,
}

/// One or several lines for a screen, without the last line break; nothing if people have no use for it.
pub fn render(line: &Line, people: &People, style: Style) -> Option<String> {
    let page = Page { people, style };
    let event = |text: String| Some(format!("{} {text}", page.dim(&line.at.time_of_day())));
    match &line.body {
        Body::Hello(_) | Body::Ack(_) | Body::Held(_) | Body::Bye(_) => None,
        Body::Message(message) => event(page.message(message)),
        Body::Join(join) => event(page.join(join)),
        Body::Leave(leave) => event(page.leave(leave)),
        Body::Control(control) => page.control(control).and_then(event),
        Body::Made(made) => {
            let (name, room) = (page.name(made.member), made.place.place());
            let time = made.lamport;
            event(page.star(&format!("Participant {name} joined {room} at logical time {time}.")))
        }
        Body::Txn(txn) => coordinated::words(txn).map(|words| page.star(&words)),
        // Whoever only listens is not missed.
        Body::Peer(peer) if people.only_listens(peer.member) => None,
        Body::Peer(peer) => event(page.peer(peer)),
        Body::Closed(closed) if closed.expected && closed.discarded == 0 => None,
        Body::Closed(closed) => event(page.closed(closed)),
        Body::Gap(gap) => event(page.gap(gap)),
        Body::Notice(notice) => Some(page.star(&clean::line(&notice.text))),
        Body::Error(error) => Some(page.star(&clean::line(error.screen.as_ref().unwrap_or(&error.text)))),
        answer => Some(page.answer(answer)),
    }
}

/// `1 message`, `2 messages`.
pub fn count(n: u64, thing: &str) -> String {
    format!("{n} {thing}{}", if n == 1 { "" } else { "s" })
}

struct Page<'a> {
    people: &'a People,
    style: Style,
}

impl Page<'_> {
    fn message(&self, message: &Message) -> String {
        let from = self.name(message.from.member);
        let room = message.place.place();
        let answering = match &message.reply_to {
            Some(id) => format!("re {}: ", self.dot(id.dot)),
            None => String::new(),
        };
        let opening = match message.kind {
            Kind::Text => format!("{room} <{from}> {answering}"),
            Kind::Action => format!("{room} * {from} {answering}"),
        };
        let trimmed = message.text.trim_end_matches(['\n', '\r']);
        let mut lines = trimmed.split('\n').map(|line| clean::line(line.trim_end_matches('\r')));
        let mut text = opening + &lines.next().unwrap_or_default();
        for line in lines.by_ref().take(LINES_MAX - 1) {
            text.push('\n');
            text += CONTINUED;
            text += &line;
        }
        let cut = lines.count();
        if cut > 0 {
            text += &format!("\n{CONTINUED}({})", count(cut as u64, "more line"));
        }
        match self.stamp(&message.clock.clock, message.lamport) {
            Some(stamp) => format!("{text}  {}", self.dim(&stamp)),
            None => text,
        }
    }

    fn join(&self, join: &Join) -> String {
        let (name, room) = (self.name(join.from.member), join.place.place());
        match join.lamport {
            Some(time) => self.star(&format!("Participant {name} joined {room} at logical time {time}.")),
            None => self.star(&format!("Participant {name} is in {room}.")),
        }
    }

    fn leave(&self, leave: &Leave) -> String {
        let (name, room) = (self.name(leave.from.member), leave.place.place());
        let reason = match leave.reason.as_str() {
            "" => String::new(),
            reason => format!(" ({})", clean::line(reason)),
        };
        self.star(&format!(
            "Participant {name} left {room} at logical time {}.{reason}",
            leave.lamport
        ))
    }

    fn control(&self, control: &Control) -> Option<String> {
        if let Some(news) = &control.news {
            return Some(self.news(control, news));
        }
        let why = control.unreadable.as_ref()?;
        let name = self.name(control.from.member);
        Some(self.star(&format!(
            "{name} sent something that cannot be shown: {}",
            clean::line(why)
        )))
    }

    fn news(&self, control: &Control, news: &News) -> String {
        let room = control.place.place();
        let topic = clean::line(control.topic.as_deref().unwrap_or_default());
        self.star(&match news {
            News::Renamed { before } => format!("{before} is called {} from now on.", self.name(control.from.member)),
            News::Topic { by, .. } if topic.is_empty() => format!("{} took the topic of {room} away.", self.name(*by)),
            News::Topic { by, again: false } => format!("{} set the topic of {room}: {topic}", self.name(*by)),
            News::Topic { by, again: true } => format!("The topic of {room}: {topic} (set by {})", self.name(*by)),
        })
    }

    fn peer(&self, peer: &Peer) -> String {
        let name = self.name(peer.member);
        let text = match peer.state {
            PeerState::Up => format!("{name} is answering again."),
            PeerState::Silent => match peer.silent_ms {
                Some(ms) => format!(
                    "{name} is not answering ({}.{} s); its messages so far are safe.",
                    ms / 1000,
                    ms % 1000 / 100
                ),
                None => format!("{name} is not answering; its messages so far are safe."),
            },
            PeerState::Lagging => format!(
                "{name} is slow, {} behind; it catches up by itself.",
                count(peer.behind.unwrap_or(0), "message")
            ),
            PeerState::Closed => format!("{name} is gone."),
        };
        self.star(&text)
    }

    fn closed(&self, closed: &Closed) -> String {
        let name = self.name(closed.member);
        let last = closed.last_seq;
        let lost = match closed.discarded {
            0 => String::new(),
            n => format!("; {} that waited for more of it cannot be shown", count(n, "message")),
        };
        self.star(&format!("{name} is gone; {name}:{last} was its last message{lost}."))
    }

    fn gap(&self, gap: &Gap) -> String {
        let total: u64 = gap.dots.iter().map(|dots| dots.to - dots.from + 1).sum();
        let spans: Vec<_> = gap
            .dots
            .iter()
            .map(|dots| self.span(dots.member, dots.from, dots.to))
            .collect();
        self.star(&format!(
            "{} lost to you, because nobody keeps them any more: {}",
            count(total, "message"),
            spans.join(" ")
        ))
    }

    fn stamp(&self, clock: &Clock, lamport: u64) -> Option<String> {
        match self.style.stamp {
            Stamp::Vector => Some(self.vector(clock)),
            Stamp::Lamport => Some(format!("@{lamport}")),
            Stamp::Dense => {
                let order = self.people.in_join_order();
                let speak = order.iter().filter(|id| !self.people.only_listens(**id));
                let seqs: Vec<_> = speak.map(|id| clock.get(*id).to_string()).collect();
                Some(format!("[{}]", seqs.join(",")))
            }
            Stamp::None => None,
        }
    }

    /// `[ana:2 bob:1]`, by name, so that every screen shows it alike. Whoever only listens has no entry: it says nothing.
    fn vector(&self, clock: &Clock) -> String {
        let speak = clock.iter().filter(|(id, _)| !self.people.only_listens(*id));
        let mut entries: Vec<_> = speak.map(|(id, seq)| (self.people.shown(id), seq)).collect();
        entries.sort();
        let entries: Vec<_> = entries.iter().map(|(name, seq)| format!("{name}:{seq}")).collect();
        format!("[{}]", entries.join(" "))
    }

    fn dot(&self, dot: Dot) -> String {
        format!("{}:{}", self.people.shown(dot.origin), dot.seq)
    }

    /// `bob:4`, or `bob:4-7`.
    fn span(&self, member: MemberId, from: u64, to: u64) -> String {
        let name = self.people.shown(member);
        if from == to {
            format!("{name}:{from}")
        } else {
            format!("{name}:{from}-{to}")
        }
    }

    fn star(&self, text: &str) -> String {
        format!("*** {text}")
    }

    fn name(&self, member: MemberId) -> String {
        const COLORS: [u8; 6] = [31, 32, 33, 34, 35, 36];
        let name = self.people.shown(member);
        if !self.style.color {
            return name;
        }
        let color = COLORS[usize::from(member.0[0]) % COLORS.len()];
        format!("\u{1b}[{color}m{name}\u{1b}[0m")
    }

    fn dim(&self, text: &str) -> String {
        if self.style.color {
            format!("\u{1b}[2m{text}\u{1b}[0m")
        } else {
            text.to_owned()
        }
    }
}
