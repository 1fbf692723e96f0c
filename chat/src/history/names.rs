//! Who said it: the first message of a member has its name.

use std::collections::BTreeMap;

use multicast::store::{Store, StoreError};
use multicast::{Dot, GroupId, Kind, Member, MemberId};

/// Most names that are remembered; beyond, they are read again.
const REMEMBERED: usize = crate::app::people::PEOPLE_MAX;

/// Names by member.
pub(super) struct Names(BTreeMap<MemberId, Member>);

impl Names {
    /// Those whom the library wrote down: people who came before this member did are among them.
    pub(super) fn of_group(store: &mut dyn Store, group: GroupId) -> Result<Self, StoreError> {
        let known = match store.load(group, 0)? {
            Some(saved) => saved.names()?,
            None => BTreeMap::new(),
        };
        let member = |(id, name): (MemberId, String)| (id, Member { id, name: name.into() });
        Ok(Self(known.into_iter().take(REMEMBERED).map(member).collect()))
    }

    /// The member with its name; empty, where the store does not have its first message.
    pub(super) fn of(&mut self, store: &mut dyn Store, group: GroupId, id: MemberId) -> Result<Member, StoreError> {
        if let Some(member) = self.0.get(&id) {
            return Ok(member.clone());
        }
        let first = store
            .get(group, Dot { origin: id, seq: 1 })?
            .filter(|stored| stored.kind == Kind::Join);
        let name = first.map(|stored| String::from_utf8_lossy(&stored.payload).into_owned());
        let member = Member {
            id,
            name: name.unwrap_or_default().into(),
        };
        if self.0.len() >= REMEMBERED {
            self.0.clear();
        }
        self.0.insert(id, member.clone());
        Ok(member)
    }
}
