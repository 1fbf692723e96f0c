//! What a connection says, against who it is with: a certificate outweighs whatever is said.

use crate::circle::Circle;
use crate::engine::{Frame, Record};
use crate::id::{GroupId, MemberId, NodeId};
use crate::identity::Profile;
use crate::message::{Intro, Kind, NAME_BYTES};
use crate::net::rpc::{Hello, MAX_GROUPS, PROTOCOL, Path, Presence, Refusal};
use crate::net::tls::Peer;

/// Hashes that one frame may cost to find out which join of its node a member is: as many as take 10 ms. A join's number
/// is not told with an introduction, and few are higher than 1.
const GUESSES: u64 = 65_536;
/// Highest number of a join that is looked for: no member lives to see more origins of its group.
const MAX_JOINS: u64 = 4096;

const LONG_NAME: &str = "it tells of a name that is too long";

/// Who a connection is with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Whom {
    pub(crate) node: NodeId,
    /// What people call it; all its members have this name.
    pub(crate) name: String,
    /// Who is behind it, if it was shown and holds.
    pub(crate) profile: Option<Profile>,
}

/// Who said this greeting; `peer` is who it must be, if the connection has proved that.
pub(crate) fn greeting(peer: Option<&Peer>, hello: &Hello) -> Result<Whom, Refusal> {
    if hello.protocol != PROTOCOL {
        return Err(Refusal::Version(PROTOCOL));
    }
    if hello.groups.len() > MAX_GROUPS {
        return Err(Refusal::TooMany);
    }
    if hello.name.len() > NAME_BYTES {
        return Err(Refusal::NotYou);
    }
    let mut profile = None;
    if let Some(peer) = peer {
        if hello.node != peer.node {
            return Err(Refusal::OtherNode);
        }
        if hello.name != peer.name {
            return Err(Refusal::OtherName(peer.name.clone()));
        }
        if let Some(endorsement) = &hello.endorsement {
            profile = Some(endorsement.verify(&peer.key).ok_or(Refusal::Endorsement)?);
        }
    }
    if !are_its_own(hello.node, &hello.groups) {
        return Err(Refusal::NotYou);
    }
    Ok(Whom {
        node: hello.node,
        name: hello.name.clone(),
        profile,
    })
}

/// Whether these can be that node's members: one a group, with the id that follows from node, group and join.
pub(crate) fn are_its_own(node: NodeId, groups: &[Presence]) -> bool {
    let mut seen = std::collections::BTreeSet::new();
    groups.len() <= MAX_GROUPS
        && groups.iter().all(|presence| {
            let listed = |circle: &Circle| circle.is_well_formed() && circle.group() == presence.group;
            seen.insert(presence.group)
                && presence.member == MemberId::of_join(node, presence.group, presence.nth)
                && presence.circle.as_ref().is_none_or(listed)
        })
}

/// Whether whoever sends this frame may say so. What it cannot know better than others is not believed, and taken out.
pub(crate) fn frame(whom: &Whom, path: Path, frame: &mut Frame) -> Result<(), &'static str> {
    match frame {
        Frame::Push(run) if run.origin() != path.from => Err("it pushes another member's messages"),
        Frame::Push(run) => match run.first() == 1 && !run.is_empty() && run.kind(0) == Kind::Join {
            true if run.payload(0) != whom.name.as_bytes() => Err("it joins under a name that is not its own"),
            _ => Ok(()),
        },
        Frame::JoinAsk { intro, .. } | Frame::Greet { intro, .. } => own(whom, intro),
        Frame::View(view) => records(whom, path, &mut view.records),
        Frame::Sponsor(sponsor) => {
            if sponsor.names.iter().any(|named| named.name.len() > NAME_BYTES) {
                return Err(LONG_NAME);
            }
            records(whom, path, &mut sponsor.view.records)
        }
        _ => Ok(()),
    }
}

fn own(whom: &Whom, intro: &Intro) -> Result<(), &'static str> {
    if intro.node != whom.node {
        return Err("it introduces itself as another node");
    }
    if intro.name != whom.name {
        return Err("it introduces itself under a name that is not its own");
    }
    Ok(())
}

fn records(whom: &Whom, path: Path, records: &mut [Record]) -> Result<(), &'static str> {
    let mut guesses = GUESSES;
    for record in records {
        let Some(intro) = &record.intro else { continue };
        if intro.name.len() > NAME_BYTES {
            return Err(LONG_NAME);
        }
        if record.member == path.from {
            own(whom, intro)?;
            continue;
        }
        match is_of(record.member, intro.node, path.group, &mut guesses) {
            Some(true) => {}
            Some(false) => return Err("it introduces a member as another node's"),
            None => record.intro = None,
        }
    }
    Ok(())
}

/// Whether a member is that node's; nothing, if it would cost too much to find out.
fn is_of(member: MemberId, node: NodeId, group: GroupId, guesses: &mut u64) -> Option<bool> {
    if member.0 == node.0 {
        return Some(true);
    }
    for nth in 1..MAX_JOINS {
        *guesses = guesses.checked_sub(1)?;
        if member == MemberId::of_join(node, group, nth) {
            return Some(true);
        }
    }
    Some(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Standing, View};

    const GROUP: GroupId = GroupId([5; 16]);

    fn node(n: u8) -> NodeId {
        NodeId([n; 16])
    }

    fn intro(n: u8, name: &str) -> Intro {
        Intro {
            node: node(n),
            name: name.to_owned(),
            addr: "127.0.0.1:1".parse().expect("an address"),
        }
    }

    fn record(member: MemberId, intro: Intro) -> Record {
        Record {
            member,
            generation: 0,
            standing: Standing::Member,
            goodbye: false,
            intro: Some(intro),
        }
    }

    fn says(mut said: Frame) -> Result<Frame, &'static str> {
        let whom = Whom {
            node: node(1),
            name: "ana".to_owned(),
            profile: None,
        };
        let path = Path {
            group: GROUP,
            from: MemberId(node(1).0),
            to: MemberId(node(9).0),
        };
        frame(&whom, path, &mut said).map(|()| said)
    }

    fn view(records: Vec<Record>) -> Frame {
        Frame::View(View {
            records,
            proofs: Vec::new(),
        })
    }

    #[test]
    fn a_member_introduces_nobody_as_what_it_is_not() {
        let ask = |intro| Frame::JoinAsk { attempt: 1, intro };
        assert!(says(ask(intro(1, "ana"))).is_ok());
        assert!(says(ask(intro(2, "ana"))).is_err());
        assert!(says(ask(intro(1, "bob"))).is_err());
        let third = MemberId::of_join(node(2), GROUP, 3);
        assert!(says(view(vec![record(third, intro(2, "bob"))])).is_ok());
        assert!(says(view(vec![record(third, intro(3, "bob"))])).is_err());
        assert!(says(view(vec![record(MemberId(node(1).0), intro(1, "bob"))])).is_err());
        let long = intro(2, &"b".repeat(NAME_BYTES + 1));
        assert!(says(view(vec![record(third, long)])).is_err());
    }

    #[test]
    fn looking_for_joins_has_an_end() {
        let last = MemberId::of_join(node(2), GROUP, MAX_JOINS - 1);
        let records = vec![record(last, intro(2, "bob")); 20];
        let Ok(Frame::View(view)) = says(view(records)) else {
            panic!("nothing wrong with it")
        };
        let believed = view.records.iter().filter(|record| record.intro.is_some()).count();
        assert_eq!(believed as u64, GUESSES / (MAX_JOINS - 1));
    }

    #[test]
    fn a_node_names_its_own_members_once_each() {
        let presence = |group: u8, of: u8, nth: u64| Presence {
            group: GroupId([group; 16]),
            member: MemberId::of_join(node(of), GroupId([group; 16]), nth),
            nth,
            circle: None,
        };
        assert!(are_its_own(node(1), &[presence(5, 1, 0), presence(6, 1, 7)]));
        assert!(!are_its_own(node(1), &[presence(5, 2, 0)]));
        assert!(!are_its_own(node(1), &[presence(5, 1, 0), presence(5, 1, 1)]));
    }
}
