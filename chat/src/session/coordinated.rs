//! Creating and closing rooms, which all chats decide together.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal};

use multicast::Member;
use multicast::commit::ProposeError;

use super::council::{News, Proposed};
use super::drive::Session;
use crate::app::charter::{Key, Operation};
use crate::app::line::{Error, Op, Phase, Ref, Txn};
use crate::app::place::Place;
use crate::app::{Input, Inside, command};

impl Session {
    pub(super) async fn create(&mut self, name: String, topic: String, reference: Option<Ref>) {
        let Some(council) = &mut self.council else {
            return self.not_done(
                "no_council",
                "rooms cannot be created: there are too many chats",
                reference,
            );
        };
        let charter = council.charter(name, topic).await;
        self.propose(Operation::Create(charter), reference);
    }

    /// A room was joined that was created: with what.
    pub(super) fn tell_charter(&mut self, place: &Place, key: Option<Key>) {
        let council = self.council.as_ref();
        let charter = council.and_then(|council| council.charters.charter(key?)).cloned();
        if let Some(charter) = charter.filter(|charter| !charter.topic.is_empty()) {
            let by = Member {
                id: charter.by,
                name: charter.nick.into(),
            };
            let topic = charter.topic;
            self.inside(place, Inside::CreatedWith { topic, by });
        }
    }

    pub(super) fn close(&mut self, place: &Place, reference: Option<Ref>) {
        match self.rooms.get(place).and_then(|room| room.key) {
            Some(key) => self.propose(Operation::Close(key), reference),
            None => {
                let text = format!("{place} was not created by anybody, so nobody can close it; /part leaves it");
                self.not_done("not_created", &text, reference);
            }
        }
    }

    /// Puts it to the vote; the next line is read when that is decided.
    fn propose(&mut self, operation: Operation, reference: Option<Ref>) {
        let in_use = self.rooms.nameless();
        let Some(council) = &mut self.council else {
            return self.not_done(
                "no_council",
                "rooms cannot be closed: there are too many chats",
                reference,
            );
        };
        // What is known here needs nobody else's no.
        if let Err(why) = council.charters.vote(&operation, |name| in_use.contains(name)) {
            let done = match operation {
                Operation::Create(_) => "created",
                Operation::Close(_) => "closed",
            };
            let text = format!("not {done}: {why}; nothing changed anywhere");
            self.note_aborted(&text);
            return self.not_done("aborted", &text, reference);
        }
        self.proposing = Some(council.propose(operation, reference));
    }

    pub(super) fn on_proposed(&mut self, proposed: Proposed) {
        self.proposing = None;
        let Some(council) = &mut self.council else { return };
        let verdict = match proposed {
            Ok(verdict) => verdict,
            Err(refusal) => {
                let reference = council.forget();
                let text = match refusal {
                    ProposeError::Ephemeral => {
                        "a chat without a profile creates and closes no rooms: its word would end \
                                                with it; start without --ephemeral, and with a --nick of its own"
                            .to_owned()
                    }
                    other => other.to_string(),
                };
                return self.not_done("not_proposed", &text, reference);
            }
        };
        let Some((operation, prepare, line)) = council.on_verdict(verdict) else {
            return;
        };
        let reference = line.reference.clone();
        if let (Phase::Aborted, Some(why)) = (line.phase, &line.reason) {
            let done = if line.op == Op::Create { "created" } else { "closed" };
            let text = format!("#{} was not {done}: {why}", line.room);
            self.note_aborted(&text);
        }
        let committed = line.phase == Phase::Committed;
        prepare.into_iter().for_each(|line| self.coordinated(line));
        self.coordinated(line);
        self.renames_due = true;
        match operation {
            Operation::Create(charter) if committed => {
                let key = charter.key();
                let shown = self.council.as_ref().and_then(|council| council.charters.shown(key));
                let place = Place::room(&shown.unwrap_or(charter.name));
                self.join_created(place, key, reference);
            }
            Operation::Close(key) if committed => self.part_closed(key),
            _ => {}
        }
    }

    pub(super) fn on_council(&mut self, news: News) {
        let in_use = self.rooms.nameless();
        let Some(council) = &mut self.council else { return };
        let over = matches!(news, News::Affair(None));
        let effects = council.on_news(news, |name| in_use.contains(name));
        if over {
            self.council = None;
        }
        effects.told.into_iter().for_each(|line| self.coordinated(line));
        effects.closed.into_iter().for_each(|key| self.part_closed(key));
        if let Some(trouble) = effects.trouble {
            let text = format!("no rooms can be created or closed any more: {trouble}");
            self.not_done("journal", &text, None);
        }
        self.renames_due = true;
    }

    /// Rooms show under the names that they have by what is known now.
    pub(super) fn rename(&mut self) {
        // What is under way is told under the name that it began with.
        if !self.renames_due || self.sending.is_some() || self.joining.is_some() {
            return;
        }
        self.renames_due = false;
        let Some(council) = &self.council else { return };
        let names: BTreeMap<Place, Place> = self.rooms.rename(|key| council.charters.shown(key));
        if names.is_empty() {
            return;
        }
        let receipts = std::mem::take(&mut self.receipts).into_iter();
        self.receipts = receipts
            .map(|(place, receipt)| (names.get(&place).cloned().unwrap_or(place), receipt))
            .collect();
        for (old, new) in &names {
            self.show.notice(format!(
                "{old} is {new} now: another room of that name was created before"
            ));
        }
        self.show.take(Input::Renamed(names));
        self.registries.tell_rooms(self.show.app().room_names());
    }

    fn part_closed(&mut self, key: Key) {
        if let Some(place) = self.rooms.place_of(key) {
            self.part(&place, "closed".to_owned());
        }
    }

    fn coordinated(&mut self, line: Txn) {
        self.show.take(Input::Coordinated(line));
    }

    fn not_done(&mut self, code: &'static str, text: &str, reference: Option<Ref>) {
        let error = command::error(code, text);
        self.show.take(Input::NotDone(Error { reference, ..error }));
    }

    /// Whoever types has read it; a script has the exit code.
    fn note_aborted(&mut self, text: &str) {
        if !io::stdin().is_terminal() {
            self.aborted.get_or_insert_with(|| text.to_owned());
        }
    }
}
