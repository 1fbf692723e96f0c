//! What chats say of themselves and of a room: nicks, topics. Whoever comes later is told again.

use multicast::{Member, MemberId, Stamp};

use super::line::{Body, Control, News, Ref, Topic};
use super::room::Room;
use super::{Output, Outputs, Told};
use crate::word::{Rank, Word};

/// What a room is about, and how that is known.
#[derive(Clone, Debug)]
pub(super) struct About {
    pub(super) text: String,
    rank: Rank,
    /// It was said in the room, not only when the room was created: then newcomers are told.
    said: bool,
}

impl Room {
    /// What it was created with.
    pub(super) fn on_created_with(&mut self, text: String, by: &Member) {
        self.people.named(by);
        let rank = Rank { lamport: 0, by: by.id };
        let said = false;
        self.about.get_or_insert(About { text, rank, said });
    }

    pub(super) fn on_told(&mut self, Told { from, stamp, word }: Told, out: &mut Outputs) {
        self.people.named(&from);
        let mut line = self.control(&from, &stamp);
        match word {
            Word::Nick(nick) => {
                let before = self.people.shown(from.id);
                let is_new = self.people.renamed(from.id, &nick);
                line.news = is_new.then_some(News::Renamed { before });
                // Its place among those who are here may be another now.
                line.from = self.people.person(from.id);
                line.nick = Some(nick);
            }
            Word::Topic { text, set } => {
                line.topic = Some(text.clone());
                line.news = self.on_topic(text, set, &from, &stamp);
            }
        }
        out.tell(Body::Control(line));
    }

    fn on_topic(&mut self, text: String, set: Option<Rank>, from: &Member, stamp: &Stamp) -> Option<News> {
        let own = Rank {
            lamport: stamp.lamport,
            by: from.id,
        };
        // What was set before, was set before this was said; a claim of anything else is not believed.
        let rank = set.filter(|set| set.lamport < own.lamport).unwrap_or(own);
        let before = self.about.take();
        let newer = before.as_ref().is_none_or(|about| about.rank < rank);
        let is_new = match &before {
            Some(about) => newer && about.text != text,
            None => !text.is_empty(),
        };
        let said = true;
        self.about = match before {
            Some(about) if !newer => Some(About {
                said: about.said || about.rank == rank,
                ..about
            }),
            _ => Some(About { text, rank, said }),
        };
        self.untold.retain(|newcomer| !stamp.clock.covers(*newcomer));
        is_new.then_some(News::Topic {
            by: rank.by,
            again: rank != own,
        })
    }

    /// Somebody came: it is told what was said before, each thing by one who is here.
    pub(super) fn on_newcomer(&mut self, stamp: &Stamp, out: &mut Outputs) {
        if !self.entered {
            return;
        }
        self.tell_nick(out);
        if self.about.as_ref().is_some_and(|about| about.said) {
            self.untold.retain(|newcomer| self.people.is_present(newcomer.origin));
            self.untold.push(stamp.dot);
            self.tell_topic(out);
        }
    }

    /// This member shows under another nick than the one that it came with.
    pub(super) fn tell_nick(&self, out: &mut Outputs) {
        let me = self.people.me();
        if self.people.only_listens(me) {
            return;
        }
        let nick = self.nick.as_deref().unwrap_or(self.people.nick(me));
        if nick != self.people.name(me) {
            self.tell_again(Word::Nick(nick.to_owned()), out);
        }
    }

    /// Tells newcomers the topic, if that is this member's turn: the one of who set it, else of the first who is here and
    /// answers. If that one goes before it told them, it is another's.
    pub(super) fn tell_topic(&self, out: &mut Outputs) {
        let Some(about) = self.about.as_ref().filter(|about| about.said) else {
            return;
        };
        if self.untold.is_empty() || self.teller(about.rank.by) != Some(self.people.me()) {
            return;
        }
        let word = Word::Topic {
            text: about.text.clone(),
            set: Some(about.rank),
        };
        self.tell_again(word, out);
    }

    fn teller(&self, first: MemberId) -> Option<MemberId> {
        let newcomer = |id: MemberId| self.untold.iter().any(|dot| dot.origin == id);
        let speaks = |id: MemberId| !self.outbox.is_silent(id) && !self.people.only_listens(id);
        let fits = |id: &MemberId| self.people.is_present(*id) && speaks(*id) && !newcomer(*id);
        Some(first)
            .filter(fits)
            .or_else(|| self.people.present().find(|id| fits(id)))
    }

    fn tell_again(&self, word: Word, out: &mut Outputs) {
        out.list.push(Output::TellAgain {
            place: self.place.clone(),
            word,
        });
    }

    /// What the room is about, for whoever asked or has just come.
    pub(super) fn topic(&self, reference: Option<Ref>) -> Body {
        let about = self.about.as_ref().filter(|about| !about.text.is_empty());
        Body::Topic(Topic {
            reference,
            place: self.at(),
            topic: about.map(|about| about.text.clone()).unwrap_or_default(),
            by: about.map(|about| self.people.id(about.rank.by)),
            member: about.map(|about| about.rank.by),
        })
    }

    pub(super) fn control(&self, from: &Member, stamp: &Stamp) -> Control {
        Control {
            from: self.people.person(from.id),
            id: self.people.message_id(stamp.dot),
            place: self.at(),
            lamport: stamp.lamport,
            clock: self.people.vector(&stamp.clock),
            unreadable: None,
            ignored: false,
            nick: None,
            topic: None,
            news: None,
            replay: !self.entered,
        }
    }
}
