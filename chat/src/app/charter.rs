//! Rooms that were created: who has which name, and how everybody comes to see it alike.
//!
//! A charter is what a room was created with; its key, a hash of all of it, is the room's identity, and names its group.
//! Charters are only added, and keys of closed rooms, both in any order and any number of times: whoever has heard the same
//! of them shows the same names. That also holds of what a liar says. Where two have one name the one of the smaller
//! (Lamport time, creator) keeps it, and another shows as `ops~bob`.

use std::collections::{BTreeMap, BTreeSet};

use multicast::commit::TxnId;
use multicast::{GroupId, MemberId};
use serde::{Deserialize, Serialize};

use super::clean;
use crate::names;

/// Most created rooms that are known. Beyond, those with the greatest (Lamport time, creator) are not known to anybody.
pub const CHARTERS_MAX: usize = 512;
/// Keys of closed rooms that are remembered, so that nobody who was away opens them again; beyond, the least are kept.
pub const CLOSED_MAX: usize = 1024;
/// Longest topic, in characters: it stands in one line.
pub const TOPIC_MAX: usize = 120;
/// The room that nobody has to create.
pub const LOBBY: &str = "lobby";
/// Between a name and the nick of its creator, where two rooms have the name; so in no name that is created.
const TILDE: char = '~';

/// What a room was created with.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Charter {
    pub name: String,
    /// The creator, and its nick then.
    pub by: MemberId,
    pub nick: String,
    /// A Lamport time of the creator's, from before it asked the others.
    pub lamport: u64,
    /// Drawn at random: the same name created twice gives two rooms.
    pub nonce: u64,
    pub topic: String,
}

/// A created room's identity.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Key(pub GroupId);

/// What is decided by all.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Operation {
    /// The room gets its name.
    Create(Charter),
    /// The room ends for everybody.
    Close(Key),
}

/// One page of what somebody knows.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Page {
    pub open: Vec<Charter>,
    pub closed: Vec<Key>,
}

/// Where a charter stands among all.
type Rank = (u64, MemberId, Key);

/// Everything that is known of created rooms.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Charters {
    open: BTreeMap<Rank, Charter>,
    closed: BTreeSet<Key>,
    /// What is being decided, and what is in doubt.
    pending: BTreeMap<TxnId, Operation>,
}

impl Charter {
    /// Its identity.
    pub fn key(&self) -> Key {
        let all = postcard::to_stdvec(self).expect("a vector takes any number of bytes");
        let hex: String = all.iter().map(|byte| format!("{byte:02x}")).collect();
        Key(GroupId::named(&format!("charter {hex}")))
    }

    fn rank(&self) -> Rank {
        (self.lamport, self.by, self.key())
    }

    /// Whether a chat could have made it.
    fn is_sound(&self) -> bool {
        check_name(&self.name).is_ok()
            && names::check_nick(&self.nick).is_ok()
            && check_topic(&self.topic).is_ok()
            && self.lamport < 1 << 53
    }
}

impl Key {
    /// The name of its group, which nobody can type as a room's: it has a space.
    pub fn group(self) -> String {
        format!("room {}", self.0)
    }
}

impl Operation {
    /// As bytes, for a committee.
    pub fn encode(&self) -> Vec<u8> {
        postcard::to_stdvec(self).expect("a vector takes any number of bytes")
    }

    /// Whatever somebody proposed; nothing, if no chat would.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let operation = postcard::from_bytes(bytes).ok()?;
        match &operation {
            Self::Create(charter) if !charter.is_sound() => None,
            _ => Some(operation),
        }
    }
}

/// Whether a room of that name can be created, or why not.
pub fn check_name(name: &str) -> Result<(), String> {
    names::check_room(name).map_err(|refusal| refusal.to_string())?;
    match name {
        LOBBY => Err("the lobby is always there".into()),
        _ if name.contains(TILDE) => Err("a room is created with a name without ~".into()),
        _ => Ok(()),
    }
}

/// Whether a topic fits, or why not.
pub fn check_topic(topic: &str) -> Result<(), String> {
    match topic.chars().count() {
        count if count > TOPIC_MAX => Err(format!(
            "a topic has at most {TOPIC_MAX} characters, this one has {count}"
        )),
        _ if clean::line(topic) != topic => Err("a topic has nothing invisible in it".into()),
        _ => Ok(()),
    }
}

impl Charters {
    /// Whether this may be done, as far as is known here; else why not. `in_use`: whether this chat is in a room of that
    /// name which nobody created.
    pub fn vote(&self, operation: &Operation, in_use: impl Fn(&str) -> bool) -> Result<(), String> {
        let pending = |name: &str| {
            let mut all = self.pending.values();
            all.any(|other| matches!(other, Operation::Create(charter) if charter.name == name))
        };
        match operation {
            Operation::Create(charter) => {
                let name = charter.name.as_str();
                let taken = in_use(name) || self.open.values().any(|other| other.name == name);
                match () {
                    () if taken => Err("name taken".into()),
                    () if pending(name) => Err("name undecided".into()),
                    () if self.open.len() >= CHARTERS_MAX => Err("too many rooms".into()),
                    () => Ok(()),
                }
            }
            Operation::Close(key) if self.pending.values().any(|other| other == operation) => {
                Err(format!("{} is being closed", self.said(*key)))
            }
            Operation::Close(key) if self.shown(*key).is_none() => Err("no such room".into()),
            Operation::Close(_) => Ok(()),
        }
    }

    /// It is being decided.
    pub fn begin(&mut self, txn: TxnId, operation: Operation) {
        self.pending.insert(txn, operation);
    }

    /// It is not, any more. False: nothing was known of it.
    pub fn end(&mut self, txn: TxnId) -> bool {
        self.pending.remove(&txn).is_some()
    }

    /// It was decided, or somebody says so.
    pub fn apply(&mut self, operation: &Operation) {
        match operation {
            Operation::Create(charter) => self.open(charter.clone()),
            Operation::Close(key) => self.close(*key),
        }
    }

    /// What somebody else knows.
    pub fn merge(&mut self, page: Page) {
        page.closed.into_iter().for_each(|key| self.close(key));
        page.open
            .into_iter()
            .filter(Charter::is_sound)
            .for_each(|charter| self.open(charter));
    }

    /// The `nth` page of what is known here, and whether it is the last. A page fits a message.
    pub fn page(&self, nth: usize) -> (Page, bool) {
        const OPEN: usize = 64;
        const CLOSED: usize = 512;
        let open = self.open.values().skip(nth * OPEN).take(OPEN);
        let closed = self.closed.iter().skip(nth * CLOSED).take(CLOSED);
        let page = Page {
            open: open.cloned().collect(),
            closed: closed.copied().collect(),
        };
        let last = self.open.len() <= (nth + 1) * OPEN && self.closed.len() <= (nth + 1) * CLOSED;
        (page, last)
    }

    /// The room that shows under that name.
    pub fn find(&self, shown: &str) -> Option<Key> {
        let name = shown.split(TILDE).next()?;
        let mut named = self.open.iter().filter(|(_, charter)| charter.name == name);
        let (rank, _) = named.find(|(rank, _)| self.shown(rank.2).as_deref() == Some(shown))?;
        Some(rank.2)
    }

    /// Under which name a room shows; nothing, if it is not known or closed.
    pub fn shown(&self, key: Key) -> Option<String> {
        let (rank, charter) = self.open.iter().find(|(rank, _)| rank.2 == key)?;
        let before = self.open.range(..rank).map(|(_, other)| other);
        let before: Vec<_> = before.filter(|other| other.name == charter.name).collect();
        if before.is_empty() {
            return Some(charter.name.clone());
        }
        // The first of all has the plain name, whosever it is.
        let same = before[1..].iter().filter(|other| other.nick == charter.nick).count();
        let shown = format!("{}{TILDE}{}", charter.name, charter.nick);
        Some(match same {
            0 => shown,
            n => format!("{shown}{TILDE}{}", n + 1),
        })
    }

    /// What a room was created with.
    pub fn charter(&self, key: Key) -> Option<&Charter> {
        let mut all = self.open.iter();
        all.find(|(rank, _)| rank.2 == key).map(|(_, charter)| charter)
    }

    /// All rooms that are open, each with the name under which it shows.
    pub fn all(&self) -> impl Iterator<Item = (String, &Charter)> {
        let open = self.open.iter();
        open.filter_map(|(rank, charter)| Some((self.shown(rank.2)?, charter)))
    }

    /// What an operation is about, as people read it.
    pub fn name(&self, operation: &Operation) -> String {
        match operation {
            Operation::Create(charter) => charter.name.clone(),
            Operation::Close(key) => self.said(*key),
        }
    }

    fn said(&self, key: Key) -> String {
        self.shown(key).unwrap_or_else(|| "?".to_owned())
    }

    fn open(&mut self, charter: Charter) {
        if self.closed.contains(&charter.key()) {
            return;
        }
        self.open.insert(charter.rank(), charter);
        while self.open.len() > CHARTERS_MAX {
            self.open.pop_last();
        }
    }

    fn close(&mut self, key: Key) {
        self.open.retain(|rank, _| rank.2 != key);
        self.closed.insert(key);
        while self.closed.len() > CLOSED_MAX {
            self.closed.pop_last();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn charter(name: &str, by: u128, nick: &str, lamport: u64) -> Charter {
        Charter {
            name: name.into(),
            by: MemberId::from(by),
            nick: nick.into(),
            lamport,
            nonce: 1,
            topic: String::new(),
        }
    }

    fn create(charter: &Charter) -> Operation {
        Operation::Create(charter.clone())
    }

    #[test]
    fn the_smaller_keeps_the_name_in_whatever_order_they_are_heard() {
        let all = [
            charter("ops", 2, "bob", 7),
            charter("ops", 1, "ana", 7),
            charter("ops", 3, "bob", 9),
            charter("ops", 4, "bob", 8),
        ];
        for first in 0..all.len() {
            let mut charters = Charters::default();
            all.iter()
                .cycle()
                .skip(first)
                .take(5)
                .for_each(|one| charters.apply(&create(one)));
            let shown = all.iter().map(|one| charters.shown(one.key()).unwrap());
            assert_eq!(shown.collect::<Vec<_>>(), ["ops~bob", "ops", "ops~bob~3", "ops~bob~2"]);
            assert_eq!(charters.find("ops~bob~3"), Some(all[2].key()));
        }
    }

    #[test]
    fn a_name_is_given_once() {
        let (mut charters, ops) = (Charters::default(), charter("ops", 1, "ana", 1));
        let nobody = |_: &str| false;
        assert_eq!(charters.vote(&create(&ops), nobody), Ok(()));
        assert_eq!(
            charters.vote(&create(&ops), |name| name == "ops"),
            Err("name taken".into())
        );
        let txn = TxnId {
            journal: multicast::JournalId::from(1),
            life: 1,
            n: 1,
        };
        charters.begin(txn, create(&ops));
        assert_eq!(charters.vote(&create(&ops), nobody), Err("name undecided".into()));
        assert!(charters.end(txn));
        charters.apply(&create(&ops));
        assert_eq!(charters.vote(&create(&ops), nobody), Err("name taken".into()));
        let close = Operation::Close(ops.key());
        assert_eq!(charters.vote(&close, nobody), Ok(()));
        charters.apply(&close);
        assert_eq!(charters.vote(&close, nobody), Err("no such room".into()));
        charters.apply(&create(&ops));
        assert_eq!(charters.find("ops"), None, "whoever was away does not open it again");
    }

    #[test]
    fn what_a_liar_says_has_an_end_and_a_least_form() {
        let many: Vec<_> = (0..CHARTERS_MAX as u64 + 9)
            .map(|n| charter("ops", 9, "eve", n))
            .collect();
        let (mut up, mut down) = (Charters::default(), Charters::default());
        many.iter().for_each(|one| up.apply(&create(one)));
        many.iter().rev().for_each(|one| down.apply(&create(one)));
        for n in 0..CLOSED_MAX as u128 + 9 {
            up.close(Key(GroupId::from(n + 1)));
            down.close(Key(GroupId::from(CLOSED_MAX as u128 + 9 - n)));
        }
        assert_eq!(up, down);
        assert_eq!((up.open.len(), up.closed.len()), (CHARTERS_MAX, CLOSED_MAX));
        let mut told = Charters::default();
        for nth in 0.. {
            let (page, last) = up.page(nth);
            assert!(postcard::to_stdvec(&page).unwrap().len() < multicast::MAX_PAYLOAD);
            told.merge(page);
            if last {
                break;
            }
        }
        assert_eq!(told, up);
        for odd in [
            charter("a b", 1, "ana", 1),
            charter("ops~bob", 1, "ana", 1),
            charter("ops", 1, "\u{1b}", 1),
        ] {
            assert_eq!(Operation::decode(&create(&odd).encode()), None);
        }
        assert_eq!(Operation::decode(b"\x07"), None);
    }
}
