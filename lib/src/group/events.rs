//! The receiving half: what was not acknowledged in an earlier life first, then what happens now.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::{Stream, StreamExt};
use tokio::sync::mpsc;

use crate::event::Event;
use crate::group::backlog::Backlog;
use crate::group::keep::Names;
use crate::group::{Ask, show};
use crate::id::GroupId;
use crate::message::{Kind, Member};
use crate::store::keeper::Keeper;
use crate::store::{Page, Stored, rows};

/// Messages that are read back at a time.
const READ_BACK: usize = 256;

/// The receiving half of a group.
#[derive(Debug)]
pub struct Events {
    replay: Option<Replay>,
    batches: mpsc::Receiver<Backlog>,
    batch: Backlog,
    /// Gives batches that were read back, to be filled again.
    read: mpsc::Sender<Backlog>,
    place: u64,
    /// Keeps the membership alive while events are read although all senders are gone.
    _asks: mpsc::Sender<Ask>,
}

/// What is handed out again.
pub(super) struct Replay(Pin<Box<dyn Stream<Item = (Event, u64)> + Send + Sync>>);

impl Events {
    pub(super) fn new(
        batches: mpsc::Receiver<Backlog>,
        read: mpsc::Sender<Backlog>,
        asks: mpsc::Sender<Ask>,
        replay: Option<Replay>,
    ) -> Self {
        Self {
            replay,
            batches,
            batch: Backlog::default(),
            read,
            place: 0,
            _asks: asks,
        }
    }

    /// With a store: the place of the last message among the events that were handed out, to be acknowledged with
    /// [`Sender::acknowledge`](crate::Sender::acknowledge) when the application has taken it in. 0 without a store, and
    /// before the first.
    pub fn place(&self) -> u64 {
        self.place
    }
}

impl Stream for Events {
    type Item = Event;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        if let Some(replay) = &mut self.replay {
            match std::task::ready!(replay.0.poll_next_unpin(cx)) {
                Some((event, place)) => {
                    self.place = place;
                    return Poll::Ready(Some(event));
                }
                None => self.replay = None,
            }
        }
        loop {
            if let Some((event, place)) = self.batch.next() {
                self.place = place.max(self.place);
                return Poll::Ready(Some(event));
            }
            match std::task::ready!(self.batches.poll_recv(cx)) {
                Some(batch) => {
                    let read = std::mem::replace(&mut self.batch, batch);
                    // One too many is freed.
                    let _ = self.read.try_send(read);
                }
                None => return Poll::Ready(None),
            }
        }
    }
}

impl Replay {
    /// What stands behind one place, up to another, in that order.
    pub(super) fn new(keeper: Keeper, group: GroupId, (after, upto): (u64, u64), names: Names) -> Self {
        let names = std::sync::Arc::new(names);
        let pages = futures::stream::unfold(Some(after), move |after| {
            let (keeper, names) = (keeper.clone(), names.clone());
            async move {
                let after = after.filter(|after| *after < upto)?;
                let page = Page::Delivered { after };
                match keeper.ask(move |store| store.read(group, page, READ_BACK)).await {
                    Ok(page) => {
                        let next = page.last().map(|last| last.place);
                        let due = page.into_iter().take_while(move |stored| stored.place <= upto);
                        let events = due.map(|stored| event(stored, &names)).collect::<Vec<_>>();
                        Some((events, next))
                    }
                    Err(error) => Some((vec![(Event::StoreFailed { error }, after)], None)),
                }
            }
        });
        Self(Box::pin(SyncStream(std::sync::Mutex::new(Box::pin(
            pages.flat_map(futures::stream::iter),
        )))))
    }
}

/// A stream that is polled by one at a time, whoever holds it.
struct SyncStream<S>(std::sync::Mutex<Pin<Box<S>>>);

impl<S: Stream> Stream for SyncStream<S> {
    type Item = S::Item;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<S::Item>> {
        self.0
            .get_mut()
            .expect("never held over a panic")
            .as_mut()
            .poll_next(cx)
    }
}

impl fmt::Debug for Replay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Replay")
    }
}

fn event(stored: Stored, names: &Names) -> (Event, u64) {
    let (place, id) = (stored.place, stored.dot.origin);
    let message = rows::message(stored);
    let name = match message.kind {
        Kind::Join => message.joined_name(),
        _ => names.get(&id).cloned().unwrap_or_default(),
    };
    let from = Member { id, name: name.into() };
    let event = Box::new(show::delivered(message, from, 0));
    (Event::Replayed(event), place)
}
