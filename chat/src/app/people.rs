//! Who is who: names, identities, who is here, and how each is shown.

use std::collections::BTreeMap;

use multicast::{Clock, Dot, Member, MemberId};

use super::clean;
use super::line::{MessageId, Person, Vector};
use crate::names;

/// Most people remembered of a room. A group has at most 4,096 origins at a time; as many who left are kept for their names.
pub const PEOPLE_MAX: usize = 8192;

/// Everyone that this member has heard of in one room.
#[derive(Clone, Debug)]
pub struct People {
    me: MemberId,
    /// Everyone is shown by id.
    pub(super) by_id: bool,
    known: BTreeMap<MemberId, Known>,
    /// How many present people share a name: decides whether the name alone tells who is meant.
    present_names: BTreeMap<String, usize>,
}

#[derive(Clone, Debug)]
struct Known {
    name: String,
    /// What it is called now, if that is another name.
    nick: Option<String>,
    /// Lamport time of the join message.
    joined: Option<u64>,
    came: bool,
    present: bool,
}

/// Why a name names nobody, or not one.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Unresolved {
    /// Nobody of that name is known.
    #[error("nobody here is called {0}; /who lists the names")]
    Nobody(String),
    /// Several have that name.
    #[error("{name} could be {}; say which", .ids.join(" or "))]
    Several {
        /// The name.
        name: String,
        /// Everyone whom it could mean.
        ids: Vec<String>,
    },
    /// It is not of the form `name:number`.
    #[error("a message is named like bob:3 or bob#c0de44aa:3")]
    Shape,
}

impl People {
    /// Only this member.
    pub fn new(me: Member) -> Self {
        let mut people = Self {
            me: me.id,
            by_id: false,
            known: BTreeMap::new(),
            present_names: BTreeMap::new(),
        };
        people.arrived(&me, None);
        people
    }

    /// Learns a name, without presence.
    pub fn named(&mut self, member: &Member) {
        let known = self.entry(member);
        if !known.name.is_empty() || member.name.is_empty() {
            return;
        }
        let was_present = known.present;
        self.count_out(member.id);
        if let Some(known) = self.known.get_mut(&member.id) {
            known.name = member.name.to_string();
        }
        if was_present {
            self.count_in(member.id);
        }
    }

    /// Someone is called something else from now on; whether that is new.
    pub fn renamed(&mut self, member: MemberId, nick: &str) -> bool {
        let was_present = self.is_present(member);
        self.count_out(member);
        let mut is_new = false;
        if let Some(known) = self.known.get_mut(&member) {
            is_new = known.shown() != nick;
            known.nick = Some(nick.to_owned()).filter(|nick| *nick != known.name);
        }
        if was_present {
            self.count_in(member);
        }
        is_new
    }

    /// Someone is here; `joined` is the Lamport time of the join message, if it is known.
    pub fn arrived(&mut self, member: &Member, joined: Option<u64>) {
        self.named(member);
        let known = self.entry(member);
        known.joined = known.joined.or(joined);
        known.came = true;
        self.count_in(member.id);
    }

    /// Someone left or was closed.
    pub fn departed(&mut self, member: &Member) {
        self.named(member);
        self.count_out(member.id);
    }

    /// This member.
    pub fn me(&self) -> MemberId {
        self.me
    }

    /// Whether someone is here.
    pub fn is_present(&self, member: MemberId) -> bool {
        self.known.get(&member).is_some_and(|known| known.present)
    }

    /// Whether someone is here or was, since this member came.
    pub fn has_been_here(&self, member: MemberId) -> bool {
        self.known.get(&member).is_some_and(|known| known.came)
    }

    /// Everyone who is here, by id.
    pub fn present(&self) -> impl Iterator<Item = MemberId> {
        self.known.iter().filter(|(_, known)| known.present).map(|(id, _)| *id)
    }

    /// How many are here, those who only listen left out.
    pub fn count_present(&self) -> usize {
        self.present().filter(|id| !self.only_listens(*id)).count()
    }

    /// Whether someone came only to listen.
    pub fn only_listens(&self, member: MemberId) -> bool {
        self.known
            .get(&member)
            .is_some_and(|known| names::is_listener(&known.name))
    }

    /// Those in a clock whose names are not known yet.
    pub fn strangers(&self, clock: &Clock) -> Vec<MemberId> {
        clock
            .iter()
            .map(|(member, _)| member)
            .filter(|member| !self.is_named(*member))
            .collect()
    }

    /// Whether someone's name is known, and so the identity that is the same on every screen.
    pub fn is_named(&self, member: MemberId) -> bool {
        self.known.get(&member).is_some_and(|known| !known.name.is_empty())
    }

    /// The identity that everyone sees alike, as raw data.
    pub fn person(&self, member: MemberId) -> Person {
        let nick = self.nick(member).to_owned();
        Person {
            id: self.id(member),
            nick,
            member,
        }
    }

    /// `ana#7f3a01c2`, as raw data.
    pub fn id(&self, member: MemberId) -> String {
        format!("{}#{}", self.name(member), member.short())
    }

    /// `ana#7f3a01c2:12`, as raw data.
    pub fn message_id(&self, dot: Dot) -> MessageId {
        MessageId {
            text: format!("{}:{}", self.id(dot.origin), dot.seq),
            dot,
        }
    }

    /// A clock with its identities.
    pub fn vector(&self, clock: &Clock) -> Vector {
        Vector {
            named: clock.iter().map(|(member, seq)| (self.id(member), seq)).collect(),
            clock: clock.clone(),
        }
    }

    /// What stands on a screen: the plain nick where that tells who is meant, else with the 8 digits.
    pub fn shown(&self, member: MemberId) -> String {
        let Some(known) = self.known.get(&member) else {
            return format!("?#{}", member.short());
        };
        if self.by_id {
            return format!("{}#{}", clean::name(&known.name), member.short());
        }
        let namesakes = self.present_names.get(known.shown()).copied().unwrap_or(0);
        let others = namesakes - usize::from(known.present && namesakes > 0);
        let name = clean::name(known.shown());
        if others > 0 || known.shown().is_empty() {
            format!("{name}#{}", member.short())
        } else {
            name
        }
    }

    /// Everyone in join order, which is the same on every screen that saw the same joins.
    pub fn in_join_order(&self) -> Vec<MemberId> {
        let mut order: Vec<_> = self.known.iter().map(|(id, known)| (known.joined, *id)).collect();
        order.sort();
        order.into_iter().map(|(_, id)| id).collect()
    }

    /// The member that `name` or `name#7f3a01c2` means: what it is called goes before the name that it came with, and
    /// someone who is here before someone who is not.
    pub fn resolve(&self, name: &str) -> Result<MemberId, Unresolved> {
        match self.resolve_by(Known::shown, name) {
            Err(Unresolved::Nobody(_)) => self.resolve_by(|known| &known.name, name),
            found => found,
        }
    }

    fn resolve_by(&self, called: impl Fn(&Known) -> &str, name: &str) -> Result<MemberId, Unresolved> {
        let (nick, short) = match name.split_once('#') {
            Some((nick, short)) => (nick, Some(short)),
            None => (name, None),
        };
        let fits = |(id, known): &(&MemberId, &Known)| {
            called(known) == nick && short.is_none_or(|short| id.short() == short.to_ascii_lowercase())
        };
        let all: Vec<_> = self.known.iter().filter(fits).collect();
        let here: Vec<_> = all.iter().filter(|(_, known)| known.present).collect();
        match (here.as_slice(), all.as_slice()) {
            ([(id, _)], _) | ([], [(id, _)]) => Ok(**id),
            ([], []) => Err(Unresolved::Nobody(clean::line(name))),
            _ => Err(Unresolved::Several {
                name: clean::line(name),
                ids: all.iter().map(|(id, _)| clean::line(&self.id(**id))).collect(),
            }),
        }
    }

    /// The message that `bob:3` or `bob#c0de44aa:3` means.
    pub fn resolve_message(&self, id: &str) -> Result<Dot, Unresolved> {
        let (name, seq) = id.trim().rsplit_once(':').ok_or(Unresolved::Shape)?;
        let seq = seq.parse().map_err(|_| Unresolved::Shape)?;
        if seq == 0 {
            return Err(Unresolved::Shape);
        }
        Ok(Dot {
            origin: self.resolve(name)?,
            seq,
        })
    }

    /// What it is called now, as raw data; `?` if that is not known.
    pub fn nick(&self, member: MemberId) -> &str {
        match self.known.get(&member) {
            Some(known) if !known.shown().is_empty() => known.shown(),
            _ => "?",
        }
    }

    /// The name that it came with, which stands in its identity, as raw data; `?` if it is not known.
    pub fn name(&self, member: MemberId) -> &str {
        match self.known.get(&member) {
            Some(known) if !known.name.is_empty() => &known.name,
            _ => "?",
        }
    }

    fn count_in(&mut self, id: MemberId) {
        if let Some(known) = self.known.get_mut(&id).filter(|known| !known.present) {
            known.present = true;
            *self.present_names.entry(known.shown().to_owned()).or_default() += 1;
        }
    }

    fn count_out(&mut self, id: MemberId) {
        let Some(known) = self.known.get_mut(&id).filter(|known| known.present) else {
            return;
        };
        known.present = false;
        if let Some(count) = self.present_names.get_mut(known.shown()) {
            *count -= 1;
            if *count == 0 {
                self.present_names.remove(known.shown());
            }
        }
    }

    fn entry(&mut self, member: &Member) -> &mut Known {
        if self.known.len() >= PEOPLE_MAX && !self.known.contains_key(&member.id) {
            self.forget_one();
        }
        self.known.entry(member.id).or_insert_with(|| Known {
            name: member.name.to_string(),
            nick: None,
            joined: None,
            came: false,
            present: false,
        })
    }

    /// Forgets the name of whoever joined first among those who are gone.
    fn forget_one(&mut self) {
        let oldest = self
            .known
            .iter()
            .filter(|(_, known)| !known.present)
            .min_by_key(|(id, known)| (known.joined, **id));
        if let Some((&id, _)) = oldest {
            self.known.remove(&id);
        }
    }
}

impl Known {
    /// What it is called now.
    fn shown(&self) -> &str {
        self.nick.as_deref().unwrap_or(&self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(n: u128, name: &str) -> Member {
        Member {
            id: MemberId::from(n << 96),
            name: name.into(),
        }
    }

    #[test]
    fn a_nick_stands_alone_until_two_who_are_here_share_it() {
        let (ana, bob, other_bob) = (member(1, "ana"), member(2, "bob"), member(3, "bob"));
        let mut people = People::new(ana);
        people.arrived(&bob, Some(2));
        assert_eq!(people.shown(bob.id), "bob");
        people.arrived(&other_bob, Some(3));
        assert_eq!(people.shown(bob.id), "bob#00000002");
        assert_eq!(people.shown(other_bob.id), "bob#00000003");
        people.departed(&bob);
        assert_eq!(people.shown(other_bob.id), "bob");
        assert_eq!(people.shown(bob.id), "bob#00000002");
        people.departed(&other_bob);
        assert_eq!(people.shown(bob.id), "bob");
        assert_eq!(people.present_names.len(), 1);
    }

    #[test]
    fn names_resolve_to_those_who_are_here_first() {
        let (ana, bob, other_bob) = (member(1, "ana"), member(2, "bob"), member(3, "bob"));
        let mut people = People::new(ana);
        people.arrived(&bob, Some(2));
        people.departed(&bob);
        assert_eq!(people.resolve("bob"), Ok(bob.id));
        people.arrived(&other_bob, Some(3));
        assert_eq!(people.resolve("bob"), Ok(other_bob.id));
        assert_eq!(people.resolve("bob#00000002"), Ok(bob.id));
        people.arrived(&bob, None);
        let refusal = people.resolve("bob").unwrap_err().to_string();
        assert_eq!(refusal, "bob could be bob#00000002 or bob#00000003; say which");
        assert!(people.resolve("eve").is_err());
    }

    #[test]
    fn messages_resolve() {
        let people = People::new(member(1, "ana"));
        let dot = people.resolve_message("ana:12").unwrap();
        assert_eq!(people.message_id(dot).text, "ana#00000001:12");
        assert_eq!(people.resolve_message("ana#00000001:12"), Ok(dot));
        for odd in ["ana", "ana:", "ana:0", "ana:x", ":3", ""] {
            assert!(people.resolve_message(odd).is_err(), "{odd}");
        }
    }

    #[test]
    fn memory_of_who_left_is_bounded() {
        let mut people = People::new(member(1, "ana"));
        for n in 2..PEOPLE_MAX as u128 + 100 {
            let guest = member(n, "guest");
            people.arrived(&guest, Some(n as u64));
            people.departed(&guest);
        }
        assert_eq!(people.known.len(), PEOPLE_MAX);
        assert!(people.known[&people.me].present);
    }
}
