//! What this instance keeps: opening its store, and telling it what was shown.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use multicast::store::{Archive, Page, Store, StoreError, Stored};
use multicast::{Dot, GroupId, Kind, Member, MemberId, Node, Sender, Stamp};
use tokio::sync::watch;

use super::drive::Session;
use crate::app::Said;
use crate::console::Console;
use crate::exit::Exit;
use crate::history::store;
use crate::post::Post;
use crate::settings::Settings;
use crate::word::Word;

/// Opens the store, if this instance keeps anything. It may block, so it has a thread.
pub(super) async fn open(settings: &Settings, kept: bool) -> Result<Option<Box<dyn Store>>, Exit> {
    if !kept {
        return Ok(None);
    }
    let settings = settings.clone();
    match tokio::task::spawn_blocking(move || store::to_write(&settings)).await {
        Ok(opened) => opened,
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
}

/// How far everything was not only told but written to stdout: that far the store is told that nothing need be told again.
pub(super) struct Cursor {
    written: watch::Receiver<u64>,
    /// When so many lines are written, these places of these groups were shown. One at a time: what comes in between is
    /// covered by the next.
    waiting: Option<(u64, Vec<(Sender, u64)>)>,
    /// The sum of the places of which it was last spoken, which only grows.
    spoken_of: u64,
}

impl Cursor {
    pub(super) fn new(console: &Console) -> Self {
        Self {
            written: console.written(),
            waiting: None,
            spoken_of: 0,
        }
    }

    /// Waits until something is written that is waited for.
    pub(super) async fn written(&mut self) {
        let Some((lines, _)) = &self.waiting else {
            return std::future::pending().await;
        };
        let lines = *lines;
        if self.written.wait_for(|written| *written >= lines).await.is_err() {
            // Nothing is written any more.
            self.waiting = None;
        }
    }

    fn settle(&mut self) {
        let written = *self.written.borrow();
        if let Some((_, places)) = self.waiting.take_if(|(lines, _)| *lines <= written) {
            places.iter().for_each(|(sender, place)| sender.acknowledge(*place));
        }
    }
}

impl Session {
    /// Waits until everything is written, and tells the store.
    pub(super) async fn acknowledge_all(&mut self) {
        self.acknowledge();
        while self.cursor.waiting.is_some() {
            self.cursor.written().await;
            self.acknowledge();
        }
    }

    /// Tells the store what was shown.
    pub(super) fn acknowledge(&mut self) {
        self.cursor.settle();
        if self.cursor.waiting.is_some() || !self.show.is_idle() {
            return;
        }
        let taken = self.rooms.taken();
        let sum = taken.iter().map(|(_, place)| place).sum();
        if sum != self.cursor.spoken_of {
            self.cursor.spoken_of = sum;
            self.cursor.waiting = Some((self.show.sent(), taken));
            self.cursor.settle();
        }
    }
}

/// Pages that are looked through for the last messages: a room in which more people came and went than said anything has
/// fewer to tell.
const PAGES: usize = 16;

/// The last messages that are kept of a room, or the last ones with these words, and names of all whom they mention.
pub(super) async fn history(
    node: &Node,
    group: &str,
    sender: &Sender,
    limit: usize,
    text: Option<String>,
) -> Result<(Vec<Said>, Vec<Member>), String> {
    let Some(archive) = node.archive() else {
        return Err(
            "this chat keeps nothing: it has no profile of its own, or was started with --ephemeral".to_owned(),
        );
    };
    let group = GroupId::named(group);
    let found = match &text {
        Some(words) => archive.search(group, words, None, limit).await,
        None => last(&archive, group, limit).await,
    };
    let found = found.map_err(|error| error.to_string())?;
    let mut names = std::collections::BTreeMap::new();
    for id in found
        .iter()
        .flat_map(|stored| stored.clock.iter().map(|(member, _)| member))
    {
        if let std::collections::btree_map::Entry::Vacant(entry) = names.entry(id) {
            entry.insert(
                named(&archive, group, sender, id)
                    .await
                    .map_err(|error| error.to_string())?,
            );
        }
    }
    let message = |stored: Stored| {
        let nameless = || Member {
            id: stored.dot.origin,
            name: "".into(),
        };
        let from = names.get(&stored.dot.origin).cloned().unwrap_or_else(nameless);
        said(stored, from)
    };
    let messages = found.into_iter().map(message).collect();
    Ok((messages, names.into_values().collect()))
}

/// A message as it is kept, for the model.
pub(super) fn said(stored: Stored, from: Member) -> Said {
    Said {
        from,
        post: Post::decode(&stored.payload),
        stamp: Stamp {
            dot: stored.dot,
            clock: stored.clock,
            lamport: stored.lamport,
            sent_at: stored.sent_at,
        },
        held_ms: 0,
    }
}

/// The last messages that are kept of a room. What cannot be read is told by the join that follows.
pub(super) async fn backlog(node: &Node, group: &str, limit: usize) -> Vec<Stored> {
    match node.archive() {
        Some(archive) if limit > 0 => last(&archive, GroupId::named(group), limit).await.unwrap_or_default(),
        _ => Vec::new(),
    }
}

/// How often old messages are let go.
const PRUNE_EVERY: Duration = Duration::from_secs(3600);

/// Lets the oldest messages of every room go, now and then, until the store is closed.
pub(super) fn keep_in_bounds(node: &Node, keep: store::Keep) {
    let Some(archive) = node.archive() else { return };
    tokio::spawn(async move {
        // A store that fails is told by the groups.
        while let Ok(groups) = archive.groups().await {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let before = keep.age.map_or(Duration::ZERO, |age| now.saturating_sub(age));
            let before = u64::try_from(before.as_micros()).unwrap_or(u64::MAX);
            for group in groups {
                if archive.prune(group, keep.bytes, before).await.is_err() {
                    return;
                }
            }
            tokio::time::sleep(PRUNE_EVERY).await;
        }
    });
}

async fn last(archive: &Archive, group: GroupId, limit: usize) -> Result<Vec<Stored>, StoreError> {
    let (mut found, mut before) = (Vec::new(), None);
    for _ in 0..PAGES {
        let page = archive.read(group, Page::Before(before), limit.max(64)).await?;
        let Some(first) = page.first() else { break };
        before = Some(first.canonical());
        let is_said = |stored: &Stored| stored.kind == Kind::App && Word::decode(&stored.payload).is_none();
        let texts = page.into_iter().rev().filter(is_said);
        found.extend(texts.take(limit - found.len()));
        if found.len() >= limit {
            break;
        }
    }
    found.reverse();
    Ok(found)
}

/// Who that is: as the group knows it, or as its first message said.
async fn named(archive: &Archive, group: GroupId, sender: &Sender, id: MemberId) -> Result<Member, StoreError> {
    if let Some(name) = sender.name_of(id) {
        return Ok(Member { id, name });
    }
    let first = archive.get(group, Dot { origin: id, seq: 1 }).await?;
    let name = first.filter(|stored| stored.kind == Kind::Join);
    let name = name.map(|stored| String::from_utf8_lossy(&stored.payload).into_owned());
    Ok(Member {
        id,
        name: name.unwrap_or_default().into(),
    })
}
