//! Where sends wait for the group's task, and learn what came of them.
//!
//! One lock instead of a channel, a reply channel for each send, and their allocations: the task takes and answers many
//! sends at a time, and the lock is held only for that. Whoever is woken is woken after the lock was given back.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;

use crate::group::{SEND_QUEUE, SendError};
use crate::id::Dot;
use crate::message::Kind;

/// Names a send towards the mailbox.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ticket(usize);

/// A message on its way into the group's task.
#[derive(Debug)]
pub(super) struct Outgoing {
    /// None: nobody waits for what comes of it.
    pub(super) ticket: Option<Ticket>,
    pub(super) kind: Kind,
    pub(super) payload: Bytes,
}

/// What came of a send.
pub(super) type Outcome = Result<Sent, SendError>;

/// Where a message stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Sent {
    /// In the mailbox; nobody waits for more.
    HandedOver,
    /// It is stamped: its dot, and how many changes of acknowledgements there had been.
    Stamped(Dot, u64),
}

/// The senders' half; clones share it.
#[derive(Clone, Debug)]
pub(super) struct Mailbox(Arc<Mutex<Mail>>);

/// The task's half: dropped, it refuses what is there and what comes.
#[derive(Debug)]
pub(super) struct Inbox {
    mail: Arc<Mutex<Mail>>,
    /// Empty between calls.
    wakers: Vec<Waker>,
}

pub(super) fn mailbox() -> (Mailbox, Inbox) {
    let mail = Arc::<Mutex<Mail>>::default();
    let inbox = Inbox {
        mail: mail.clone(),
        wakers: Vec::new(),
    };
    (Mailbox(mail), inbox)
}

impl Mailbox {
    /// Waits for room, then for what comes of it. Nothing happens before the first poll; dropped before it is ready, it
    /// leaves open whether the message is sent.
    pub(super) fn post(&self, kind: Kind, payload: Bytes) -> Posting<'_> {
        Posting {
            mail: &self.0,
            message: Some((kind, payload)),
            slot: None,
            is_awaited: true,
        }
    }

    /// The same, ready as soon as there is room.
    pub(super) fn hand_over(&self, kind: Kind, payload: Bytes) -> Posting<'_> {
        let mut posting = self.post(kind, payload);
        posting.is_awaited = false;
        posting
    }
}

impl Inbox {
    /// Returns when something can be taken.
    pub(super) async fn ready(&self) {
        poll_fn(|cx| {
            let mut mail = lock(&self.mail);
            if !mail.queue.is_empty() {
                return Poll::Ready(());
            }
            let known = mail.task.as_ref().is_some_and(|task| task.will_wake(cx.waker()));
            let before = (!known).then(|| mail.task.replace(cx.waker().clone()));
            drop(mail);
            drop(before);
            Poll::Pending
        })
        .await;
    }

    /// Takes everything, at most `SEND_QUEUE` messages.
    pub(super) fn take(&mut self, into: &mut VecDeque<Outgoing>) {
        let mut mail = lock(&self.mail);
        match into.is_empty() {
            true => std::mem::swap(&mut mail.queue, into),
            false => into.append(&mut mail.queue),
        }
        mail.grant(&mut self.wakers);
        drop(mail);
        self.wakers.drain(..).for_each(Waker::wake);
    }

    /// Lets nothing in any more: takes what is there, and refuses everybody outside.
    pub(super) fn close(&mut self, into: &mut VecDeque<Outgoing>) {
        let mut mail = lock(&self.mail);
        into.append(&mut mail.queue);
        mail.refuse(&mut self.wakers, false);
        drop(mail);
        self.wakers.drain(..).for_each(Waker::wake);
    }

    /// While events are not read, nothing is let in.
    pub(super) fn set_behind(&self, behind: bool) {
        lock(&self.mail).behind = behind;
    }

    /// Tells senders what came of their sends.
    pub(super) fn answer(&mut self, outcomes: &mut Vec<(Ticket, Outcome)>) {
        if outcomes.is_empty() {
            return;
        }
        let mut mail = lock(&self.mail);
        for (Ticket(slot), outcome) in outcomes.drain(..) {
            match std::mem::replace(&mut mail.slots[slot], Slot::Done(outcome)) {
                Slot::Posted(waker) => self.wakers.push(waker),
                _ => mail.vacate(slot),
            }
        }
        drop(mail);
        self.wakers.drain(..).for_each(Waker::wake);
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        let mut mail = lock(&self.mail);
        // Payloads are dropped when the lock is given back: they may be anyone's.
        let _unsent = std::mem::take(&mut mail.queue);
        mail.refuse(&mut self.wakers, true);
        drop(mail);
        self.wakers.drain(..).for_each(Waker::wake);
    }
}

fn lock(mail: &Mutex<Mail>) -> MutexGuard<'_, Mail> {
    mail.lock().expect("never held over a panic")
}

#[derive(Debug, Default)]
struct Mail {
    /// With those that were granted a place, at most `SEND_QUEUE`.
    queue: VecDeque<Outgoing>,
    /// One for every `send` that is awaited, or posted and not answered.
    slots: Vec<Slot>,
    free: Vec<usize>,
    /// Those that found the queue full, in order. How many is up to the callers, for each is a future that somebody
    /// keeps, but for those of which nothing is left.
    outside: VecDeque<usize>,
    /// How many of those outside are not there any more; at most about half.
    gone: usize,
    /// How many of those may come in.
    granted: usize,
    task: Option<Waker>,
    behind: bool,
    closed: bool,
}

/// How far a send is.
#[derive(Debug)]
enum Slot {
    Free,
    Outside(Waker),
    /// Dropped outside, where its turn has not come yet.
    Gone,
    Granted,
    Posted(Waker),
    /// Posted, and nobody waits for what comes of it.
    Dropped,
    Done(Outcome),
}

impl Mail {
    /// A place for a send: in the queue, or outside.
    fn enter(&mut self, waker: &Waker) -> usize {
        let room = self.has_room();
        let state = if room {
            Slot::Granted
        } else {
            Slot::Outside(waker.clone())
        };
        let slot = self.free.pop().unwrap_or(self.slots.len());
        match self.slots.get_mut(slot) {
            Some(free) => *free = state,
            None => self.slots.push(state),
        }
        match room {
            true => self.granted += 1,
            false => self.outside.push_back(slot),
        }
        slot
    }

    /// Lets those outside in, as far as there is room. Whose turn it is now is to be woken.
    fn grant(&mut self, wakers: &mut Vec<Waker>) {
        while self.queue.len() + self.granted < SEND_QUEUE {
            let Some(slot) = self.outside.pop_front() else { return };
            match std::mem::replace(&mut self.slots[slot], Slot::Granted) {
                Slot::Outside(waker) => {
                    wakers.push(waker);
                    self.granted += 1;
                }
                _ => {
                    self.gone -= 1;
                    self.vacate(slot);
                }
            }
        }
    }

    /// Whether a message may go in at once: there is room, and nobody waits for it.
    fn has_room(&self) -> bool {
        self.outside.is_empty() && self.queue.len() + self.granted < SEND_QUEUE
    }

    /// One that waited outside does not any more. The others are gone through only when half of them are gone: else many
    /// that go at a time would each go through all.
    fn go(&mut self, slot: usize) {
        self.slots[slot] = Slot::Gone;
        self.gone += 1;
        if self.gone * 2 > self.outside.len() {
            let outside = std::mem::take(&mut self.outside);
            for slot in outside {
                match self.slots[slot] {
                    Slot::Gone => self.vacate(slot),
                    _ => self.outside.push_back(slot),
                }
            }
            self.gone = 0;
        }
    }

    /// Lets nobody in any more; with `all`, those that are in and not answered are refused as well.
    fn refuse(&mut self, wakers: &mut Vec<Waker>, all: bool) {
        self.closed = true;
        self.outside.clear();
        (self.granted, self.gone) = (0, 0);
        for slot in 0..self.slots.len() {
            match &self.slots[slot] {
                Slot::Gone => self.vacate(slot),
                Slot::Dropped if all => self.vacate(slot),
                Slot::Outside(_) | Slot::Granted => wakers.extend(self.refuse_one(slot)),
                Slot::Posted(_) if all => wakers.extend(self.refuse_one(slot)),
                Slot::Posted(_) | Slot::Dropped | Slot::Done(_) | Slot::Free => {}
            }
        }
    }

    /// Whoever waits for it is to be woken.
    fn refuse_one(&mut self, slot: usize) -> Option<Waker> {
        let refused = Slot::Done(Err(SendError::Left));
        match std::mem::replace(&mut self.slots[slot], refused) {
            Slot::Outside(waker) | Slot::Posted(waker) => Some(waker),
            _ => None,
        }
    }

    fn vacate(&mut self, slot: usize) {
        self.slots[slot] = Slot::Free;
        self.free.push(slot);
    }
}

/// A send that is awaited.
pub(super) struct Posting<'a> {
    mail: &'a Mutex<Mail>,
    /// Until it is in the queue.
    message: Option<(Kind, Bytes)>,
    slot: Option<usize>,
    /// Ready when it is stamped, else when it is in the queue.
    is_awaited: bool,
}

impl Future for Posting<'_> {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        let this = &mut *self;
        let mut mail = lock(this.mail);
        if this.slot.is_none() && (mail.closed || mail.behind) {
            let closed = mail.closed;
            return Poll::Ready(Err(if closed { SendError::Left } else { SendError::Behind }));
        }
        let granted = this.slot.is_some_and(|slot| matches!(mail.slots[slot], Slot::Granted));
        if !this.is_awaited && (granted || this.slot.is_none() && mail.has_room()) {
            return this.put(mail);
        }
        let slot = *this.slot.get_or_insert_with(|| mail.enter(cx.waker()));
        let state = &mut mail.slots[slot];
        // Wakers are woken and dropped when the lock is given back: they may do anything.
        let (mut woken, mut before) = (None, None);
        match state {
            Slot::Done(_) => {
                let Slot::Done(outcome) = std::mem::replace(state, Slot::Free) else {
                    unreachable!("it was looked at")
                };
                mail.vacate(slot);
                this.slot = None;
                return Poll::Ready(outcome);
            }
            Slot::Granted => {
                *state = Slot::Posted(cx.waker().clone());
                mail.granted -= 1;
                if let Some((kind, payload)) = this.message.take() {
                    let ticket = Some(Ticket(slot));
                    mail.queue.push_back(Outgoing { ticket, kind, payload });
                }
                woken = mail.task.take();
            }
            Slot::Outside(waker) | Slot::Posted(waker) if !waker.will_wake(cx.waker()) => {
                before = Some(std::mem::replace(waker, cx.waker().clone()));
            }
            Slot::Outside(_) | Slot::Gone | Slot::Posted(_) | Slot::Dropped | Slot::Free => {}
        }
        drop(mail);
        drop(before);
        if let Some(task) = woken {
            task.wake();
        }
        Poll::Pending
    }
}

impl Posting<'_> {
    /// Into the queue, where there is room: nobody waits for what comes of it.
    fn put(&mut self, mut mail: MutexGuard<'_, Mail>) -> Poll<Outcome> {
        if let Some(slot) = self.slot.take() {
            mail.granted -= 1;
            mail.vacate(slot);
        }
        if mail.behind {
            let mut wakers = Vec::new();
            mail.grant(&mut wakers);
            drop(mail);
            wakers.into_iter().for_each(Waker::wake);
            return Poll::Ready(Err(SendError::Behind));
        }
        if let Some((kind, payload)) = self.message.take() {
            let ticket = None;
            mail.queue.push_back(Outgoing { ticket, kind, payload });
        }
        let task = mail.task.take();
        drop(mail);
        if let Some(task) = task {
            task.wake();
        }
        Poll::Ready(Ok(Sent::HandedOver))
    }
}

impl Drop for Posting<'_> {
    fn drop(&mut self) {
        let Some(slot) = self.slot else { return };
        let mut wakers = Vec::new();
        let mut mail = lock(self.mail);
        let state = std::mem::replace(&mut mail.slots[slot], Slot::Dropped);
        match &state {
            Slot::Posted(_) => {}
            Slot::Outside(_) => mail.go(slot),
            Slot::Granted => {
                mail.granted -= 1;
                mail.vacate(slot);
                mail.grant(&mut wakers);
            }
            Slot::Done(_) | Slot::Gone | Slot::Dropped | Slot::Free => mail.vacate(slot),
        }
        drop(mail);
        wakers.into_iter().for_each(Waker::wake);
    }
}

#[cfg(test)]
mod tests;
