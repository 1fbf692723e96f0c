//! The groups that this instance is in, and joining and leaving them one by one.

use std::collections::{BTreeMap, BTreeSet};
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures::StreamExt;
use futures::future::{join_all, select_all};
use multicast::store::Stored;
use multicast::{Dot, Event, Events, JoinError, Member, MemberId, MemberState, Node, Receipt, Sender, Stamp};
use tokio::time::timeout;

use super::drive::Session;
use super::kept;
use crate::app::charter::Key;
use crate::app::line::Ref;
use crate::app::place::Place;
use crate::app::{Input, Inside, Output, command};

/// A group that was just joined.
pub(super) struct Entered {
    pub(super) sender: Sender,
    events: Events,
    /// What was kept before, the earliest first, and not what is among the first events.
    backlog: Vec<Stored>,
    /// What was delivered up to this member's own join.
    first: Vec<Event>,
    present: Vec<MemberState>,
    roster: Vec<MemberState>,
}

/// A join that ended, and what it answers.
pub(super) struct Attempt {
    place: Place,
    /// What it was created as, and whether this chat just did that.
    key: Option<Key>,
    made: bool,
    reference: Option<Ref>,
    result: Result<Entered, JoinError>,
}

/// Joins a group: of a room that was created, or the one of that name. Dropping the future gives the join up.
pub(super) async fn enter(node: &Node, place: &Place, key: Option<Key>, backlog: usize) -> Result<Entered, JoinError> {
    let group = group_name(place, key);
    let mut backlog = kept::backlog(node, &group, backlog).await;
    let (sender, mut events) = node.join(&group).await?.split();
    let (first, own) = up_to_own_join(&mut events, sender.me().id).await;
    let roster = sender.roster().await;
    let again: BTreeSet<_> = first.iter().filter_map(replayed).collect();
    backlog.retain(|stored| !again.contains(&stored.dot));
    Ok(Entered {
        backlog,
        present: present(&roster, &first, own.as_ref()),
        sender,
        events,
        first,
        roster,
    })
}

/// The name of a place's group.
pub(super) fn group_name(place: &Place, key: Option<Key>) -> String {
    let Place::Room(name) = place;
    key.map_or_else(|| name.clone(), Key::group)
}

/// A group that this instance is in.
pub(super) struct Room {
    pub(super) place: Place,
    /// What it was created as; none: it is the group of its name.
    pub(super) key: Option<Key>,
    pub(super) sender: Sender,
    /// None: everything was told.
    events: Option<Events>,
    /// The numbers of the last message that was sent, and of the last own one that was shown.
    own_sent: u64,
    own_shown: u64,
    /// Up to there everything was handed to the model, in the store's count.
    pub(super) taken: u64,
    /// Who was there when that was last looked at.
    pub(super) roster: Vec<MemberState>,
    /// This member said goodbye to this room alone.
    parting: bool,
}

/// All of them. There are at most as many as the model lets be joined, so that there is no queue of any length between
/// groups and the model: each waits with its events until it is its turn.
#[derive(Default)]
pub(super) struct Rooms {
    rooms: Vec<Room>,
    /// Whose turn it is to be heard.
    turn: usize,
}

impl Rooms {
    pub(super) fn get(&self, place: &Place) -> Option<&Room> {
        self.rooms.iter().find(|room| room.place == *place)
    }

    pub(super) fn get_mut(&mut self, place: &Place) -> Option<&mut Room> {
        self.rooms.iter_mut().find(|room| room.place == *place)
    }

    /// The names of rooms that nobody created.
    pub(super) fn nameless(&self) -> BTreeSet<String> {
        let rooms = self.rooms.iter().filter(|room| room.key.is_none());
        rooms
            .map(|room| room.place.to_string().trim_start_matches('#').to_owned())
            .collect()
    }

    /// Where a created room is, if this chat is in it and has not said goodbye.
    pub(super) fn place_of(&self, key: Key) -> Option<Place> {
        let mut rooms = self.rooms.iter();
        let room = rooms.find(|room| room.key == Some(key) && !room.parting)?;
        Some(room.place.clone())
    }

    /// Gives created rooms the names that they are to have; returns those that changed. A name that a room has which nobody
    /// created is not taken from it.
    pub(super) fn rename(&mut self, shown: impl Fn(Key) -> Option<String>) -> BTreeMap<Place, Place> {
        let taken = self.nameless();
        let mut names = BTreeMap::new();
        for room in &mut self.rooms {
            let name = room.key.and_then(&shown).filter(|name| !taken.contains(name));
            let Some(place) = name.map(|name| Place::room(&name)).filter(|place| *place != room.place) else {
                continue;
            };
            let old = std::mem::replace(&mut room.place, place.clone());
            names.insert(old, place);
        }
        names
    }

    /// The next event of any group, each in its turn; nothing of a group, once, when it has told everything. Waits for
    /// ever where there is no group. Nothing is taken unless it is returned.
    pub(super) async fn next(&mut self) -> (Place, Option<Event>) {
        poll_fn(|context| {
            let count = self.rooms.len();
            for nth in 0..count {
                let at = (self.turn + nth) % count;
                let room = &mut self.rooms[at];
                let Some(events) = &mut room.events else { continue };
                if let Poll::Ready(event) = events.poll_next_unpin(context) {
                    self.turn = at + 1;
                    room.taken = room.taken.max(events.place());
                    if event.is_none() {
                        room.events = None;
                    }
                    return Poll::Ready((room.place.clone(), event));
                }
            }
            Poll::Pending
        })
        .await
    }

    /// Whether everything that was said here has been shown, and no room is being left.
    pub(super) fn are_settled(&self) -> bool {
        self.rooms
            .iter()
            .all(|room| room.own_sent <= room.own_shown && !room.parting)
    }

    /// How far each group's events were taken.
    pub(super) fn taken(&self) -> Vec<(Sender, u64)> {
        let rooms = self.rooms.iter().filter(|room| room.taken > 0);
        rooms.map(|room| (room.sender.clone(), room.taken)).collect()
    }

    /// Whether some group has not told everything.
    pub(super) fn have_more(&self) -> bool {
        self.rooms.iter().any(|room| room.events.is_some())
    }

    /// Says goodbye everywhere; returns when everyone who is there has it, or after `linger`: then whoever did not
    /// confirm.
    pub(super) fn leave(
        &self,
        reason: &str,
        linger: Duration,
        limit: Duration,
    ) -> impl Future<Output = Vec<Member>> + use<> {
        let goodbyes = self.rooms.iter().map(|room| {
            let (sender, reason) = (room.sender.clone(), reason.to_owned());
            async move {
                // The group's own limit is `linger`; this one holds whatever is wrong with the group.
                let goodbye = timeout(limit, sender.leave_with(&reason, linger));
                goodbye.await.unwrap_or_else(|_| sender.members())
            }
        });
        let goodbyes = join_all(goodbyes.collect::<Vec<_>>());
        async move {
            let mut seen = BTreeSet::new();
            let all = goodbyes.await.into_iter().flatten();
            all.filter(|member| seen.insert(member.id)).collect()
        }
    }

    pub(super) fn is_silent(&self, member: &Member) -> bool {
        let mut states = self.rooms.iter().flat_map(|room| &room.roster);
        states.any(|state| state.member.id == member.id && state.silent)
    }
}

impl Room {
    /// Notes that a message of this member was sent.
    pub(super) fn sent(&mut self, dot: Dot) {
        self.own_sent = dot.seq;
    }

    /// Notes that a message was shown.
    pub(super) fn shown(&mut self, event: &Event) {
        if let Event::Delivered(delivery) = event
            && delivery.from.id == self.sender.me().id
        {
            self.own_shown = delivery.dot.seq;
        }
    }
}

impl Session {
    /// A group was joined: tells the model, and whoever is to find this instance.
    pub(super) fn on_entered(
        &mut self,
        (place, key): (Place, Option<Key>),
        entered: Entered,
        reference: Option<Ref>,
        made: bool,
    ) {
        let Entered {
            sender,
            events,
            backlog,
            first,
            present,
            roster,
        } = entered;
        let me = sender.me();
        self.rooms.rooms.push(Room {
            place: place.clone(),
            key,
            taken: events.place(),
            sender,
            events: Some(events),
            own_sent: 0,
            own_shown: 0,
            roster: roster.clone(),
            parting: false,
        });
        self.inside(&place, Inside::Opened { me, present, reference });
        if made {
            self.inside(&place, Inside::Made);
        }
        self.tell_charter(&place, key);
        self.inside(&place, Inside::Roster(roster));
        backlog.into_iter().for_each(|stored| self.on_kept(&place, stored));
        first.into_iter().for_each(|event| self.on_event(&place, event));
        self.registries.tell_rooms(self.show.app().room_names());
    }

    /// Begins to join a room; the next line is read when that is done.
    pub(super) fn join(&mut self, place: Place, reference: Option<Ref>) {
        let Place::Room(name) = &place;
        let key = self.council.as_ref().and_then(|council| council.charters.find(name));
        self.begin_to_join((place, key), reference, false);
    }

    /// The same with a room that this chat has created.
    pub(super) fn join_created(&mut self, place: Place, key: Key, reference: Option<Ref>) {
        self.begin_to_join((place, Some(key)), reference, true);
    }

    fn begin_to_join(&mut self, (place, key): (Place, Option<Key>), reference: Option<Ref>, made: bool) {
        let (node, backlog) = (Arc::clone(&self.node), self.settings.backlog);
        self.joining = Some(Box::pin(async move {
            Attempt {
                result: enter(&node, &place, key, backlog).await,
                place,
                key,
                made,
                reference,
            }
        }));
    }

    pub(super) fn on_joined(&mut self, attempt: Attempt) {
        self.joining = None;
        let Attempt {
            place,
            key,
            made,
            reference,
            result,
        } = attempt;
        match result {
            Ok(entered) => self.on_entered((place, key), entered, reference, made),
            Err(refusal) => {
                let error = command::error("not_joined", format!("cannot join {place}: {refusal}"));
                self.show
                    .take(Input::NotDone(crate::app::line::Error { reference, ..error }));
            }
        }
    }

    /// Says goodbye to one room; the next line is read when everyone who is there has it.
    pub(super) fn part(&mut self, place: &Place, reason: String) {
        let linger = self.settings.linger;
        let Some(room) = self.rooms.get_mut(place) else { return };
        room.parting = true;
        let sender = room.sender.clone();
        // What follows shows in the events: this member's leave, and then their end.
        tokio::spawn(async move { sender.leave_with(&reason, linger).await });
    }

    /// A group has told everything. False, if nobody asked for that.
    pub(super) fn on_silence(&mut self, place: &Place) -> bool {
        if self.leaving.is_some() {
            return true;
        }
        let parted = self.rooms.get(place).is_some_and(|room| room.parting);
        if parted {
            self.rooms.rooms.retain(|room| room.place != *place);
            self.receipts.remove(place);
            self.inside(place, Inside::Closed);
            self.registries.tell_rooms(self.show.app().room_names());
        }
        parted
    }

    pub(super) fn inside(&mut self, place: &Place, inside: Inside) {
        for output in self.show.take(Input::In(place.clone(), inside)) {
            // Nothing else follows from what happens in a room.
            if let Output::TellAgain { place, word } = output {
                self.tell_again(place, word);
            }
        }
    }

    /// Asks each room what its members have.
    pub(super) async fn look_at_rosters(&mut self, limit: Duration) -> bool {
        let asked = self.rooms.rooms.iter().map(|room| {
            let (place, sender) = (room.place.clone(), room.sender.clone());
            async move { (place, timeout(limit, sender.roster()).await.unwrap_or_default()) }
        });
        let mut any = false;
        for (place, roster) in join_all(asked.collect::<Vec<_>>()).await {
            // Whoever has left has no roster; what was known before the goodbye is what counts then.
            if roster.is_empty() {
                continue;
            }
            any = true;
            self.inside(&place, Inside::Roster(roster.clone()));
            if let Some(room) = self.rooms.get_mut(&place) {
                room.roster = roster;
            }
        }
        any
    }
}

/// Waits until some message was confirmed by one more member.
pub(super) async fn progress(receipts: &mut BTreeMap<Place, Receipt>) {
    if receipts.is_empty() {
        return std::future::pending().await;
    }
    select_all(receipts.values_mut().map(|receipt| Box::pin(receipt.changed()))).await;
}

/// A message that was told to an earlier life, and is told again.
fn replayed(event: &Event) -> Option<Dot> {
    match event {
        Event::Replayed(event) => match &**event {
            Event::Delivered(delivery) => Some(delivery.dot),
            _ => None,
        },
        _ => None,
    }
}

/// The own join has been delivered when `join` returns, so this does not wait.
async fn up_to_own_join(events: &mut Events, me: MemberId) -> (Vec<Event>, Option<Stamp>) {
    let mut first = Vec::new();
    while let Some(event) = events.next().await {
        let own = match &event {
            Event::Joined { member, stamp } if member.id == me => Some(stamp.clone()),
            _ => None,
        };
        first.push(event);
        if own.is_some() {
            return (first, own);
        }
    }
    (first, None)
}

/// Who was there when this member came. Those who join later, or whose join is among the first events, are told by
/// their own join.
fn present(roster: &[MemberState], first: &[Event], own: Option<&Stamp>) -> Vec<MemberState> {
    let told: BTreeSet<_> = first
        .iter()
        .filter_map(|event| match event {
            Event::Joined { member, .. } => Some(member.id),
            _ => None,
        })
        .collect();
    let was_there = |state: &MemberState| own.is_some_and(|own| own.clock.get(state.member.id) > 0);
    roster
        .iter()
        .filter(|state| was_there(state) && !told.contains(&state.member.id))
        .cloned()
        .collect()
}
