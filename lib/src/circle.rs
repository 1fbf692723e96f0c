//! Who may be in a private group: a list of profiles that every member keeps, and that grows and shrinks by what
//! members say in the group.
//!
//! What is said of a profile is kept as *words*, of which the greatest counts, whatever the order in which they came: so
//! all who have delivered the same have the same list. PROTOCOL.md (private groups) has the rules with their reasons.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::id::{GroupId, MemberId, NodeId, digest128};
use crate::identity::{Endorsement, Identity, Profile};

/// Most profiles of which a private group keeps whether they may be in it: several times as many as it has members.
pub(crate) const MAX_LISTED: usize = 512;
/// Longest name of a private group in characters, as of any.
const MAX_NAME: usize = crate::node::MAX_GROUP_NAME;

/// Who may be in a private group.
///
/// Of two profiles, for ever; or of those whom its members have let in: then it has a founder, whose profile may
/// throw out, too.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Circle {
    kind: Kind,
    /// Ascending by profile, one each.
    #[serde(deserialize_with = "crate::bound::list")]
    words: Vec<Word>,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
enum Kind {
    /// Ascending.
    Pair(Profile, Profile),
    Founded {
        founder: Profile,
        name: String,
    },
}

/// What counts of all that was said of one profile.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
struct Word {
    about: Profile,
    weight: Weight,
    admits: bool,
}

/// Which of two words counts: the founder's, then the later one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
struct Weight {
    by_founder: bool,
    lamport: u64,
    by: MemberId,
}

/// What a member says of a profile, as the payload of a message.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Act {
    pub(crate) about: Profile,
    pub(crate) admits: bool,
    /// That whoever says it is a process of this profile; only the founder shows it.
    stands: Option<Standing>,
}

/// A process of a profile, and which of its joins a member is: with it everyone can tell whose member it is, also of one
/// to whom there is no link.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Standing {
    key: [u8; 32],
    nth: u64,
    endorsement: Endorsement,
}

impl Circle {
    /// Of exactly these two, whoever is named first. There is one such group of two profiles.
    pub fn of_two(one: Profile, other: Profile) -> Self {
        Self {
            kind: Kind::Pair(one.min(other), one.max(other)),
            words: Vec::new(),
        }
    }

    /// Of this founder, and of whom its members let in later. Founders and names tell such groups apart; of which the name is only
    /// for people.
    pub fn founded_by(founder: Profile, name: &str) -> Self {
        let name = name.to_owned();
        Self {
            kind: Kind::Founded { founder, name },
            words: Vec::new(),
        }
    }

    /// The id of its group.
    pub fn group(&self) -> GroupId {
        GroupId(match &self.kind {
            Kind::Pair(one, other) => digest128(&[b"multicast pair", &one.key(), &other.key()]),
            Kind::Founded { founder, name } => digest128(&[b"multicast private", &founder.key(), name.as_bytes()]),
        })
    }

    /// Whether this profile may be in the group.
    pub fn admits(&self, profile: &Profile) -> bool {
        match &self.kind {
            Kind::Pair(one, other) => profile == one || profile == other,
            Kind::Founded { founder, .. } => profile == founder || self.word(profile).is_some_and(|word| word.admits),
        }
    }

    /// Everyone who may be in the group, ascending.
    pub fn profiles(&self) -> Vec<Profile> {
        let always = match &self.kind {
            Kind::Pair(one, other) => [*one, *other],
            Kind::Founded { founder, .. } => [*founder; 2],
        };
        let listed = self.words.iter().filter(|word| word.admits).map(|word| word.about);
        let mut all: Vec<_> = listed.chain(always).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// Whoever may throw out; nobody in a group of two.
    pub fn founder(&self) -> Option<Profile> {
        match &self.kind {
            Kind::Pair(..) => None,
            Kind::Founded { founder, .. } => Some(*founder),
        }
    }

    /// The name that its founder gave it; none of a group of two.
    pub fn name(&self) -> Option<&str> {
        match &self.kind {
            Kind::Pair(..) => None,
            Kind::Founded { name, .. } => Some(name),
        }
    }

    /// The same with what another one knows. False, if that changes nothing, or if it is another group's.
    pub fn merge(&mut self, other: &Self) -> bool {
        if self.kind != other.kind {
            return false;
        }
        let changes: Vec<bool> = other.words.iter().map(|word| self.take(*word)).collect();
        changes.contains(&true)
    }

    /// Takes what a member said in the group, in its place. False, if that changes nothing.
    pub(crate) fn hear(&mut self, act: &Act, (by, lamport): (MemberId, u64)) -> bool {
        let Kind::Founded { founder, .. } = self.kind else {
            return false;
        };
        let by_founder = act.stands.as_ref().is_some_and(|standing| {
            standing.member(self.group()) == by && standing.endorsement.verify(&standing.key) == Some(founder)
        });
        if act.about == founder || !(act.admits || by_founder) {
            return false;
        }
        self.take(Word {
            about: act.about,
            weight: Weight {
                by_founder,
                lamport,
                by,
            },
            admits: act.admits,
        })
    }

    /// Whether one more profile can be spoken of.
    pub(crate) fn has_room(&self, profile: &Profile) -> bool {
        self.words.len() < MAX_LISTED || self.word(profile).is_some()
    }

    /// Whether it can be what its group says of itself. What a peer shows is looked at once, here.
    pub(crate) fn is_well_formed(&self) -> bool {
        let named = match &self.kind {
            Kind::Pair(one, other) => one <= other && self.words.is_empty(),
            Kind::Founded { name, .. } => is_name(name),
        };
        named && self.words.len() <= MAX_LISTED && self.words.is_sorted_by(|one, other| one.about < other.about)
    }

    fn word(&self, about: &Profile) -> Option<&Word> {
        let at = self.words.binary_search_by_key(about, |word| word.about).ok()?;
        Some(&self.words[at])
    }

    fn take(&mut self, word: Word) -> bool {
        match self.words.binary_search_by_key(&word.about, |known| known.about) {
            Ok(at) if self.words[at] < word => self.words[at] = word,
            Ok(_) => return false,
            Err(_) if self.words.len() >= MAX_LISTED => return false,
            Err(at) => self.words.insert(at, word),
        }
        true
    }
}

impl fmt::Debug for Circle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Circle")
            .field("founder", &self.founder())
            .field("profiles", &self.profiles())
            .finish()
    }
}

impl Act {
    /// What this process, as its `nth` join, says of a profile; as the founder, if it is of that profile.
    pub(crate) fn new((about, admits): (Profile, bool), identity: &Identity, nth: u64, circle: &Circle) -> Self {
        let founder = circle.founder();
        let shown = |endorsement: &Endorsement| endorsement.verify(&identity.public_key()) == founder;
        let endorsement = identity
            .endorsement()
            .filter(|endorsement| founder.is_some() && shown(endorsement));
        Self {
            about,
            admits,
            stands: endorsement.map(|endorsement| Standing {
                key: identity.public_key(),
                nth,
                endorsement,
            }),
        }
    }

    /// Whether the founder says it.
    pub(crate) fn is_the_founder_s(&self) -> bool {
        self.stands.is_some()
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        postcard::to_extend(self, Vec::new()).expect("a vector takes any number of bytes")
    }

    /// What a member said: nothing, if it is none of this.
    pub(crate) fn decode(payload: &[u8]) -> Option<Self> {
        postcard::from_bytes(payload).ok()
    }
}

impl Standing {
    fn member(&self, group: GroupId) -> MemberId {
        MemberId::of_join(NodeId::of_key(&self.key), group, self.nth)
    }
}

/// Whether a group may have that name.
pub(crate) fn is_name(name: &str) -> bool {
    (1..=MAX_NAME).contains(&name.chars().count()) && !name.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::{Signer, SigningKey};

    use super::*;

    fn profile(n: u8) -> Profile {
        Profile::of_key([n; 32])
    }

    /// A process of that profile.
    fn process(n: u8) -> (Identity, Profile) {
        let identity = Identity::new(&[n; 32]).expect("a key");
        let secret = SigningKey::from_bytes(&[n ^ 0xff; 32]);
        let signature = secret.sign(&Profile::endorses(&identity.public_key())).to_bytes();
        let public = secret.verifying_key().to_bytes();
        identity.endorsed_by(public, signature).expect("it is over this key");
        (identity, Profile::of_key(public))
    }

    fn member(identity: &Identity, circle: &Circle) -> MemberId {
        MemberId::of_join(identity.node_id(), circle.group(), 0)
    }

    #[test]
    fn two_have_one_group_whoever_is_named_first() {
        let (one, other) = (
            Circle::of_two(profile(1), profile(2)),
            Circle::of_two(profile(2), profile(1)),
        );
        assert_eq!((one.group(), &one), (other.group(), &other));
        assert_eq!(one.profiles(), [profile(1), profile(2)]);
        assert!(one.admits(&profile(2)) && !one.admits(&profile(3)));
        assert_ne!(one.group(), Circle::of_two(profile(1), profile(3)).group());
    }

    #[test]
    fn founders_and_names_tell_groups_apart() {
        let ops = Circle::founded_by(profile(1), "ops");
        assert_ne!(ops.group(), Circle::founded_by(profile(2), "ops").group());
        assert_ne!(ops.group(), Circle::founded_by(profile(1), "dev").group());
        assert_ne!(ops.group(), GroupId::named("ops"));
        assert_eq!(ops.profiles(), [profile(1)]);
    }

    #[test]
    fn anybody_lets_in_and_the_founder_throws_out() {
        let ((ana, founder), (bob, bobs)) = (process(1), process(2));
        let mut circle = Circle::founded_by(founder, "ops");
        let says = |who: &Identity, about, admits, circle: &Circle| Act::new((about, admits), who, 0, circle);
        let at = |who: &Identity, lamport, circle: &Circle| (member(who, circle), lamport);

        let act = says(&ana, bobs, true, &circle);
        assert!(circle.hear(&act, at(&ana, 2, &circle.clone())));
        let act = says(&bob, profile(3), true, &circle);
        assert!(!act.is_the_founder_s());
        assert!(circle.hear(&act, at(&bob, 3, &circle.clone())));
        assert!(circle.admits(&profile(3)));
        // Bob throws nobody out, also not with the founder's words.
        let act = says(&bob, profile(3), false, &circle);
        assert!(!circle.hear(&act, at(&bob, 4, &circle.clone())));
        let act = says(&ana, profile(3), false, &circle);
        assert!(!circle.hear(&act, at(&bob, 4, &circle.clone())));
        assert!(circle.hear(&act, at(&ana, 4, &circle.clone())));
        assert!(!circle.admits(&profile(3)));
        // Whom the founder has thrown out only the founder lets in again.
        let act = says(&bob, profile(3), true, &circle);
        assert!(!circle.hear(&act, at(&bob, 9, &circle.clone())));
        let act = says(&ana, profile(3), true, &circle);
        assert!(circle.hear(&act, at(&ana, 10, &circle.clone())));
        assert!(circle.admits(&profile(3)));
        // The founder stays.
        let act = says(&ana, founder, false, &circle);
        assert!(!circle.hear(&act, at(&ana, 11, &circle.clone())));
        assert!(circle.admits(&founder));
    }

    /// Every order of the same acts, half of them by way of another's list.
    #[test]
    fn the_order_of_acts_does_not_matter() {
        let ((ana, founder), (bob, _)) = (process(1), process(2));
        let empty = Circle::founded_by(founder, "ops");
        let acts: Vec<_> = [(&ana, true, 3), (&ana, false, 5), (&bob, true, 7), (&bob, true, 2)]
            .map(|(who, admits, lamport)| {
                let act = Act::new((profile(9), admits), who, 0, &empty);
                (act, (member(who, &empty), lamport))
            })
            .into();
        let mut expected = None;
        for order in 0..24_usize {
            let mut left = acts.clone();
            let (mut circle, mut other) = (empty.clone(), empty.clone());
            for nth in (1..=4).rev() {
                let (act, at) = left.remove(order % (1..=nth).product::<usize>() % nth);
                let heard = if nth % 2 == 0 { &mut circle } else { &mut other };
                heard.hear(&act, at);
            }
            circle.merge(&other);
            assert!(circle.is_well_formed());
            assert_eq!(expected.get_or_insert(circle.clone()), &circle);
        }
        assert!(!expected.expect("24 orders").admits(&profile(9)));
    }

    #[test]
    fn the_list_has_an_end() {
        let bob = Identity::new(&[2; 32]).expect("a key");
        let mut circle = Circle::founded_by(profile(0), "ops");
        let by = member(&bob, &circle);
        for n in 0..=MAX_LISTED as u64 {
            let mut key = [0; 32];
            key[..8].copy_from_slice(&(n + 1).to_be_bytes());
            let act = Act::new((Profile::of_key(key), true), &bob, 0, &circle);
            assert_eq!(circle.hear(&act, (by, n + 2)), n < MAX_LISTED as u64);
        }
        assert!(!circle.has_room(&profile(7)));
        assert!(circle.is_well_formed());
    }

    #[test]
    fn an_act_comes_back_as_it_went() {
        let (ana, founder) = process(1);
        let circle = Circle::founded_by(founder, "ops");
        let act = Act::new((profile(2), true), &ana, 3, &circle);
        assert!(act.is_the_founder_s());
        assert_eq!(Act::decode(&act.encode()), Some(act));
        assert_eq!(Act::decode(b"x"), None);
    }
}
