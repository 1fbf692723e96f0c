//! Posts and drops in every order that matters, without a runtime.

use futures::FutureExt;

use super::*;

fn post(mailbox: &Mailbox) -> Pin<Box<Posting<'_>>> {
    Box::pin(mailbox.post(Kind::App, Bytes::new()))
}

fn pends(posting: &mut Pin<Box<Posting<'_>>>) -> bool {
    posting.as_mut().now_or_never().is_none()
}

fn take(inbox: &mut Inbox) -> Vec<usize> {
    let mut taken = VecDeque::new();
    inbox.take(&mut taken);
    let tickets = taken.into_iter().filter_map(|outgoing| outgoing.ticket);
    tickets.map(|ticket| ticket.0).collect()
}

fn answer(inbox: &mut Inbox, slots: &[usize]) {
    let outcome = |slot: &usize| (Ticket(*slot), Err(SendError::Behind));
    inbox.answer(&mut slots.iter().map(outcome).collect());
}

#[test]
fn a_full_mailbox_lets_in_who_waits_in_order() {
    let (mailbox, mut inbox) = mailbox();
    let mut postings: Vec<_> = (0..SEND_QUEUE + 3).map(|_| post(&mailbox)).collect();
    assert!(postings.iter_mut().all(pends));
    assert_eq!(take(&mut inbox).len(), SEND_QUEUE);
    // One that was let in and goes makes room, and nobody waits for its message.
    drop(postings.remove(SEND_QUEUE));
    assert!(postings.iter_mut().all(pends));
    let second = take(&mut inbox);
    assert_eq!(second, [SEND_QUEUE + 1, SEND_QUEUE + 2]);
    answer(&mut inbox, &second);
    let outcomes = postings[SEND_QUEUE..].iter_mut().map(|posting| posting.now_or_never());
    assert!(outcomes.eq([Some(Err(SendError::Behind)), Some(Err(SendError::Behind))]));
}

#[test]
fn places_of_dropped_sends_are_used_again() {
    let (mailbox, mut inbox) = mailbox();
    for _ in 0..3 {
        let mut outside: Vec<_> = (0..SEND_QUEUE + 2).map(|_| post(&mailbox)).collect();
        assert!(outside.iter_mut().all(pends));
        drop(outside);
        let posted = take(&mut inbox);
        assert_eq!(posted.len(), SEND_QUEUE);
        answer(&mut inbox, &posted);
    }
    let mail = lock(&mailbox.0);
    assert_eq!((mail.slots.len(), mail.free.len()), (SEND_QUEUE + 2, SEND_QUEUE + 2));
    assert_eq!((mail.granted, mail.outside.len()), (0, 0));
}

#[test]
fn what_is_handed_over_waits_for_room_only() {
    let (mailbox, mut inbox) = mailbox();
    let hand_over = || Box::pin(mailbox.hand_over(Kind::App, Bytes::new()));
    for _ in 0..SEND_QUEUE {
        assert_eq!(hand_over().now_or_never(), Some(Ok(Sent::HandedOver)));
    }
    let mut outside = [hand_over(), hand_over(), hand_over()];
    assert!(outside.iter_mut().all(pends));
    let mut taken = VecDeque::new();
    inbox.take(&mut taken);
    assert_eq!(taken.len(), SEND_QUEUE);
    assert_eq!(outside[0].as_mut().now_or_never(), Some(Ok(Sent::HandedOver)));
    inbox.set_behind(true);
    assert_eq!(outside[1].as_mut().now_or_never(), Some(Err(SendError::Behind)));
    assert_eq!(hand_over().now_or_never(), Some(Err(SendError::Behind)));
    inbox.set_behind(false);
    assert_eq!(outside[2].as_mut().now_or_never(), Some(Ok(Sent::HandedOver)));
    inbox.take(&mut taken);
    assert_eq!(taken.len(), SEND_QUEUE + 2);
    let mail = lock(&mailbox.0);
    assert_eq!((mail.granted, mail.slots.len()), (0, mail.free.len()));
}

#[test]
fn a_closed_mailbox_gives_out_what_it_took_and_takes_no_more() {
    let (mailbox, mut inbox) = mailbox();
    let hand_over = || Box::pin(mailbox.hand_over(Kind::App, Bytes::new()));
    let handed = (0..SEND_QUEUE).map(|_| hand_over().now_or_never());
    assert!(handed.into_iter().all(|sent| sent == Some(Ok(Sent::HandedOver))));
    let mut outside = [hand_over(), hand_over(), hand_over()];
    assert!(outside.iter_mut().all(pends));
    let mut taken = VecDeque::new();
    inbox.take(&mut taken);
    // One that was granted a place and takes it, one that has not yet, and one that comes too late.
    assert_eq!(outside[0].as_mut().now_or_never(), Some(Ok(Sent::HandedOver)));
    inbox.close(&mut taken);
    assert_eq!(taken.len(), SEND_QUEUE + 1);
    assert_eq!(outside[1].as_mut().now_or_never(), Some(Err(SendError::Left)));
    assert_eq!(hand_over().now_or_never(), Some(Err(SendError::Left)));
    drop(outside);
    let mail = lock(&mailbox.0);
    assert_eq!(
        (mail.granted, mail.queue.len(), mail.slots.len()),
        (0, 0, mail.free.len())
    );
}

#[test]
fn a_task_that_ends_refuses_everything() {
    let (mailbox, mut inbox) = mailbox();
    let mut taken = post(&mailbox);
    assert!(pends(&mut taken));
    assert_eq!(take(&mut inbox), [0]);
    let mut postings: Vec<_> = (0..SEND_QUEUE + 2).map(|_| post(&mailbox)).collect();
    assert!(postings.iter_mut().all(pends));
    drop(inbox);
    for mut posting in postings.into_iter().chain([taken, post(&mailbox)]) {
        assert_eq!(posting.as_mut().now_or_never(), Some(Err(SendError::Left)));
    }
}
