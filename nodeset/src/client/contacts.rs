//! The union of what all registries say, told as differences to what was told before.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt};
use tokio::sync::watch;

use super::Contact;
use super::link::LinkState;
use super::proofs::Enrolment;
use crate::peer::{Peer, PeerId};

/// Who is there, as a stream that ends when the [`super::Client`] is gone.
///
/// It holds no queue: what is read late is told in its latest state, so a slow reader costs no
/// memory, and a peer that came and went between two reads is not mentioned.
pub struct Contacts(BoxStream<'static, Contact>);

impl Contacts {
    pub(super) fn new(me: PeerId, mut links: watch::Receiver<Vec<LinkState>>) -> Self {
        links.mark_changed();
        let told = Told {
            me,
            peers: BTreeMap::new(),
            evicted: BTreeSet::new(),
            unknown: false,
        };
        Self(stream::unfold((told, links), next).boxed())
    }
}

async fn next(
    (mut told, mut links): (Told, watch::Receiver<Vec<LinkState>>),
) -> Option<(Contact, (Told, watch::Receiver<Vec<LinkState>>))> {
    loop {
        let contact = told.next(&links.borrow_and_update());
        if let Some(contact) = contact {
            return Some((contact, (told, links)));
        }
        links.changed().await.ok()?;
    }
}

impl Stream for Contacts {
    type Item = Contact;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Contact>> {
        self.0.poll_next_unpin(cx)
    }
}

impl fmt::Debug for Contacts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Contacts")
    }
}

/// The certificates of a process, as a stream that ends when the [`super::Client`] is gone.
pub struct Enrolments(BoxStream<'static, Enrolment>);

impl Enrolments {
    pub(super) fn new(mut links: watch::Receiver<Vec<LinkState>>) -> Self {
        links.mark_changed();
        let told: Vec<Option<Arc<Enrolment>>> = Vec::new();
        let unfold = stream::unfold((told, links), async |(mut told, mut links)| {
            loop {
                let news = news_of(&mut told, &links.borrow_and_update());
                if let Some(news) = news {
                    return Some(((*news).clone(), (told, links)));
                }
                links.changed().await.ok()?;
            }
        });
        Self(unfold.boxed())
    }
}

/// One certificate that was not told yet, which then counts as told.
fn news_of(told: &mut Vec<Option<Arc<Enrolment>>>, links: &[LinkState]) -> Option<Arc<Enrolment>> {
    told.resize(links.len(), None);
    for (told, link) in told.iter_mut().zip(links) {
        if let Some(news) = &link.enrolment
            && told.as_ref() != Some(news)
        {
            *told = Some(Arc::clone(news));
            return Some(Arc::clone(news));
        }
    }
    None
}

impl Stream for Enrolments {
    type Item = Enrolment;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Enrolment>> {
        self.0.poll_next_unpin(cx)
    }
}

impl fmt::Debug for Enrolments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Enrolments")
    }
}

/// What the reader was told so far.
struct Told {
    me: PeerId,
    /// `None`: told once, but must be said again.
    peers: BTreeMap<PeerId, Option<Peer>>,
    /// Evictions that were told and are still in force.
    evicted: BTreeSet<PeerId>,
    /// That nothing is known was the last word.
    unknown: bool,
}

impl Told {
    /// One difference between what is and what was told, which then counts as told.
    fn next(&mut self, links: &[LinkState]) -> Option<Contact> {
        if let Some(node) = self.next_evicted(links) {
            return Some(Contact::Evicted { id: node });
        }
        if !links.iter().any(|link| link.heard) {
            let all_failed = links.iter().all(|link| link.tried);
            let news = all_failed && !self.unknown;
            self.unknown |= all_failed;
            return news.then_some(Contact::Unknown);
        }
        if std::mem::take(&mut self.unknown) {
            self.peers.values_mut().for_each(|peer| *peer = None);
        }
        let mut union = BTreeMap::new();
        for link in links.iter().filter(|link| link.counts) {
            for (id, peer) in link.peers.iter().filter(|(id, _)| **id != self.me) {
                union.entry(*id).or_insert(peer);
            }
        }
        if let Some(id) = self.peers.keys().find(|id| !union.contains_key(id)).copied() {
            self.peers.remove(&id);
            return Some(Contact::Gone { id });
        }
        let is_told = |id: &PeerId, peer: &Peer| match self.peers.get(id) {
            Some(Some(told)) => told == peer,
            _ => false,
        };
        let (id, peer) = union.into_iter().find(|(id, peer)| !is_told(id, peer))?;
        self.peers.insert(id, Some(peer.clone()));
        Some(Contact::Live {
            id,
            addrs: peer.addrs().to_vec(),
            nick: peer.nick().to_owned(),
            rooms: peer.rooms().to_vec(),
        })
    }
}

impl Told {
    /// Evictions come first: whoever hears that a peer is gone knows already that it was thrown
    /// out.
    fn next_evicted(&mut self, links: &[LinkState]) -> Option<PeerId> {
        let any = |id: &PeerId| links.iter().any(|link| link.evicted.contains(id));
        self.evicted.retain(any);
        let all = links.iter().flat_map(|link| link.evicted.iter());
        let node = all.copied().find(|id| *id != self.me && !self.evicted.contains(id))?;
        self.evicted.insert(node);
        Some(node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peer::Registration;

    fn link(peers: &[u8], heard: bool, counts: bool) -> LinkState {
        let peer = |n: &u8| {
            let addr = std::net::SocketAddr::from(([127, 0, 0, 1], u16::from(*n)));
            let claim = Registration::new(u128::from(*n).into(), "p", addr);
            (claim.id, claim.check().expect("well formed"))
        };
        let peers = Arc::new(peers.iter().map(peer).collect());
        LinkState {
            peers,
            heard,
            counts,
            tried: true,
            ..LinkState::new()
        }
    }

    /// Everything there is to say, in short: `+1` live, `-1` gone, `?` unknown.
    fn say(told: &mut Told, links: &[LinkState]) -> String {
        let contacts = std::iter::from_fn(|| told.next(links));
        let short = |id: PeerId| u128::from_be_bytes(id.to_bytes());
        let words = contacts.map(|contact| match contact {
            Contact::Live { id, .. } => format!("+{}", short(id)),
            Contact::Gone { id } => format!("-{}", short(id)),
            Contact::Evicted { id } => format!("!{}", short(id)),
            Contact::Unknown => "?".into(),
        });
        words.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_union_is_told_as_differences() {
        let mut told = Told {
            me: 9.into(),
            peers: BTreeMap::new(),
            evicted: BTreeSet::new(),
            unknown: false,
        };
        assert_eq!(
            say(&mut told, &[LinkState::new(), LinkState::new()]),
            "",
            "not tried yet"
        );
        assert_eq!(say(&mut told, &[link(&[1, 9], true, true), LinkState::new()]), "+1");
        assert_eq!(
            say(&mut told, &[link(&[1], true, true), link(&[1, 2], true, true)]),
            "+2"
        );
        assert_eq!(say(&mut told, &[link(&[], true, true), link(&[1, 2], true, true)]), "");
        assert_eq!(say(&mut told, &[link(&[], true, true), link(&[2], true, true)]), "-1");
        let lost = link(&[2], false, true);
        assert_eq!(
            say(&mut told, &[link(&[3], true, true), lost.clone()]),
            "+3",
            "still counts"
        );
        assert_eq!(
            say(&mut told, &[link(&[3], true, true), link(&[2], false, false)]),
            "-2"
        );
        assert_eq!(say(&mut told, &[link(&[3], false, false), lost]), "?");
        assert_eq!(
            say(&mut told, &[link(&[4], true, true), link(&[], false, false)]),
            "-3 +4"
        );
    }

    #[test]
    fn evictions_are_told_once_and_before_all_else() {
        let mut told = Told {
            me: 9.into(),
            peers: BTreeMap::new(),
            evicted: BTreeSet::new(),
            unknown: false,
        };
        assert_eq!(say(&mut told, &[link(&[1, 2], true, true)]), "+1 +2");
        let mut without = link(&[2], true, true);
        without.evicted = Arc::new([1, 9].map(|n: u128| n.into()).into());
        assert_eq!(
            say(&mut told, std::slice::from_ref(&without)),
            "!1 -1",
            "never of oneself"
        );
        assert_eq!(say(&mut told, &[without.clone(), without]), "");
    }

    #[test]
    fn after_unknown_everyone_is_said_again() {
        let mut told = Told {
            me: 9.into(),
            peers: BTreeMap::new(),
            evicted: BTreeSet::new(),
            unknown: false,
        };
        assert_eq!(say(&mut told, &[link(&[], false, false)]), "?");
        assert_eq!(say(&mut told, &[link(&[1, 2], true, true)]), "+1 +2");
        assert_eq!(say(&mut told, &[link(&[1, 2], false, true)]), "?");
        assert_eq!(say(&mut told, &[link(&[1, 2], true, true)]), "+1 +2");
    }
}
