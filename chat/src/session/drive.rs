//! The loop: what happens goes into the model, what it wants is done.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use multicast::store::Stored;
use multicast::{Clock, Delivery, Event, Member, Node, Receipt, SendError};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::asked;
use super::council::{Council, News, Proposed};
use super::ending::Leaving;
use super::kept::{self, Cursor};
use super::rooms::{self, Rooms};
use super::show::Show;
use super::signals::{Signal, Signals};
use super::start::Started;
use super::{Cause, Ended, Job, SIGNAL_LINGER};
use crate::app::line::Ref;
use crate::app::place::Place;
use crate::app::{Input, Inside, Output, Said, command};
use crate::control::server::{Heard, Server};
use crate::exit::Exit;
use crate::history;
use crate::input::Typed;
use crate::post::Post;
use crate::registries::Registries;
use crate::settings::{Format, Settings};

/// How often at most acknowledgements are looked at: under load one look covers many.
const ROSTER_EVERY: Duration = Duration::from_millis(20);
/// How often to look who is still there while they are waited for.
const LEAVING_ROSTER_EVERY: Duration = Duration::from_millis(200);
/// How long the group's task may take to answer a question. It answers at once, unless something is wrong with it;
/// that must not keep a signal or a leave from ending the chat.
const ANSWER: Duration = Duration::from_secs(2);
/// How long to read events before sending again what was refused because they were not read.
const CATCH_UP: Duration = Duration::from_millis(10);

pub(super) type Pending<T> = Pin<Box<dyn Future<Output = T> + std::marker::Send>>;
type Attempt = (Place, Result<Receipt, SendError>, Bytes, Option<Ref>);

/// A member of some rooms with its console, its input and its signals.
pub struct Session {
    pub(super) settings: Settings,
    pub(super) job: Job,
    pub(super) show: Show,
    pub(super) node: Arc<Node>,
    pub(super) rooms: Rooms,
    pub(super) registries: Registries,
    /// None: it is full, or has ended.
    pub(super) council: Option<Council>,
    /// A proposal in it; the next line is read when it is decided.
    pub(super) proposing: Option<Pending<Proposed>>,
    /// Why something that was proposed was not done, for the shell.
    pub(super) aborted: Option<String>,
    /// Names of rooms may have changed.
    pub(super) renames_due: bool,
    notices: mpsc::Receiver<String>,
    pub(super) signals: Signals,
    typed: mpsc::Receiver<Typed>,
    input_open: bool,
    /// A message on its way into the group; the next line is read when it is there.
    pub(super) sending: Option<Pending<Attempt>>,
    /// A room that is being joined; the next line is read when this member is in.
    pub(super) joining: Option<Pending<rooms::Attempt>>,
    /// Of the last message in each room: they tell when to look at the rosters.
    pub(super) receipts: BTreeMap<Place, Receipt>,
    pub(super) roster_at: Option<Instant>,
    /// What was shown, for the store.
    pub(super) cursor: Cursor,
    output_closed: Option<Pending<()>>,
    pub(super) leaving: Option<Leaving>,
    pub(super) control: Option<Server>,
    /// Why nothing more can be kept.
    pub(super) store_failed: Option<Exit>,
}

enum Step {
    Told {
        open: bool,
    },
    OutputClosed,
    Signal(Signal),
    Event(Place, Option<Event>),
    Typed(Typed),
    Control(Heard),
    Sent(Attempt),
    Joined(rooms::Attempt),
    Council(News),
    Proposed(Proposed),
    Progress,
    /// Something that was waited for has been written to stdout.
    Shown,
    LookAtRoster,
    Notice(String),
    Explain,
    Left(Vec<Member>),
}

impl Session {
    pub fn new(
        settings: Settings,
        job: Job,
        node: Arc<Node>,
        show: Show,
        started: Started,
        signals: Signals,
        typed: mpsc::Receiver<Typed>,
    ) -> Self {
        let console = show.console().clone();
        let mut session = Self {
            settings,
            job,
            show,
            node,
            rooms: Rooms::default(),
            registries: started.registries,
            council: started.council,
            proposing: None,
            aborted: None,
            renames_due: false,
            notices: started.notices,
            signals,
            typed,
            input_open: true,
            sending: None,
            joining: None,
            receipts: BTreeMap::new(),
            roster_at: None,
            cursor: Cursor::new(&console),
            output_closed: Some(Box::pin(console.closed())),
            leaving: None,
            control: None,
            store_failed: None,
        };
        session.on_entered((started.place, started.key), started.entered, None, false);
        session
    }

    pub async fn run(mut self) -> Ended {
        loop {
            let step = self.step().await;
            self.acknowledge();
            match step {
                Step::Left(unconfirmed) => return self.on_left(unconfirmed).await,
                Step::Event(place, None) if !self.on_silence(&place) => {
                    return self.end(Cause::Broken, Vec::new(), Vec::new()).await;
                }
                step => self.on_step(step).await,
            }
        }
    }

    /// Waits for the next thing. Nothing is taken from anywhere unless it is returned.
    async fn step(&mut self) -> Step {
        let idle = self.show.is_idle();
        // What was said is shown before the next line is read, so that an answer to that line stands below it.
        let said = self.sending.is_none() && self.joining.is_none() && self.rooms.are_settled();
        // So is what was proposed; and which rooms there are, is known before one is joined by its name.
        let decided = self.proposing.is_none() && self.council.as_ref().is_none_or(Council::has_learned);
        let reads = idle && self.input_open && said && decided;
        let waits = self.show.app().is_waiting_for_confirmation();
        let (done, explain_at) = match &mut self.leaving {
            Some(leaving) => (Some(&mut leaving.done), leaving.explain_at),
            None => (None, None),
        };
        tokio::select! {
            signal = self.signals.next() => Step::Signal(signal),
            () = maybe(self.output_closed.as_mut()) => Step::OutputClosed,
            open = self.show.advance(), if !idle => Step::Told { open },
            (place, event) = self.rooms.next(), if idle => Step::Event(place, event),
            attempt = maybe(self.sending.as_mut()) => Step::Sent(attempt),
            attempt = maybe(self.joining.as_mut()), if idle => Step::Joined(attempt),
            news = news(self.council.as_mut()), if idle => Step::Council(news),
            proposed = maybe(self.proposing.as_mut()), if idle => Step::Proposed(proposed),
            heard = asked::next(self.control.as_mut()), if idle && said && decided => Step::Control(heard),
            typed = self.typed.recv(), if reads => Step::Typed(typed.unwrap_or(Typed::End)),
            () = rooms::progress(&mut self.receipts), if waits && self.roster_at.is_none() => Step::Progress,
            () = at(self.roster_at), if idle => Step::LookAtRoster,
            () = self.cursor.written() => Step::Shown,
            Some(notice) = self.notices.recv(), if idle => Step::Notice(notice),
            () = at(explain_at), if idle => Step::Explain,
            unconfirmed = maybe(done) => Step::Left(unconfirmed),
        }
    }

    async fn on_step(&mut self, step: Step) {
        match step {
            Step::Told { open: true } => {}
            Step::Told { open: false } | Step::OutputClosed => self.on_output_closed(),
            Step::Signal(signal) => self.on_signal(signal),
            Step::Event(place, Some(event)) => self.on_event(&place, event),
            Step::Event(_, None) | Step::Shown => {}
            Step::Typed(typed) => self.on_typed(typed).await,
            Step::Control(heard) => self.on_control(heard).await,
            Step::Sent(attempt) => self.on_sent(attempt),
            Step::Joined(attempt) => self.on_joined(attempt),
            Step::Council(news) => self.on_council(news),
            Step::Proposed(proposed) => self.on_proposed(proposed),
            Step::Progress => self.roster_at = Some(Instant::now() + ROSTER_EVERY),
            Step::LookAtRoster => self.look_at_roster().await,
            Step::Notice(text) => self.show.notice(text),
            Step::Explain => self.explain(),
            Step::Left(_) => unreachable!("ends the loop"),
        }
        self.rename();
    }

    pub(super) fn on_event(&mut self, place: &Place, event: Event) {
        self.introduce(place, &event);
        if let Some(room) = self.rooms.get_mut(place) {
            room.shown(&event);
        }
        let event = match event {
            Event::Replayed(event) => return self.on_replayed(place, *event),
            event => event,
        };
        let over = match &event {
            Event::StoreFailed { error } => {
                self.store_failed = Some(history::store::exit(error));
                Some(Cause::StoreFailed)
            }
            Event::Broken { .. } => Some(Cause::Broken),
            Event::Evicted => Some(Cause::Evicted),
            _ => None,
        };
        let inside = match event {
            Event::Delivered(delivery) => said(delivery),
            other => Inside::Heard(other),
        };
        self.inside(place, inside);
        if let Some(cause) = over {
            self.leave(cause, String::new(), Duration::ZERO);
        }
        if let Job::Tail(tail) = &self.job
            && tail.count.is_some_and(|count| self.show.messages() >= count)
        {
            self.leave(Cause::Counted, String::new(), SIGNAL_LINGER);
        }
    }

    /// What was kept before this member joined.
    pub(super) fn on_kept(&mut self, place: &Place, stored: Stored) {
        self.name_all(place, &stored.clock);
        let named = |id| self.rooms.get(place)?.sender.name_of(id);
        let from = Member {
            id: stored.dot.origin,
            name: named(stored.dot.origin).unwrap_or_else(|| "".into()),
        };
        self.inside(place, Inside::Said(kept::said(stored, from)));
    }

    /// What was delivered in an earlier life, and not shown for certain: it is told again, before all else. Who came and
    /// went then is of no use now.
    fn on_replayed(&mut self, place: &Place, event: Event) {
        match event {
            Event::Delivered(delivery) => {
                self.name_all(place, delivery.clock());
                self.inside(place, said(delivery));
            }
            Event::Joined { member, .. } | Event::Left { member, .. } => {
                self.inside(place, Inside::Named(vec![member]))
            }
            _ => {}
        }
    }

    /// Tells the model the names of those whom it has never heard of, and whom the event mentions.
    fn introduce(&mut self, place: &Place, event: &Event) {
        let mentioned;
        let clock = match event {
            Event::Delivered(delivery) => delivery.clock(),
            Event::Joined { stamp, .. } | Event::Left { stamp, .. } | Event::Control { stamp, .. } => &stamp.clock,
            Event::Held { dot, needs, .. } => {
                mentioned = [*dot, *needs].map(|dot| (dot.origin, dot.seq)).into_iter().collect();
                &mentioned
            }
            _ => return,
        };
        self.name_all(place, clock);
    }

    fn name_all(&mut self, place: &Place, clock: &Clock) {
        let strangers = self.show.app().strangers(place, clock);
        let Some(room) = self.rooms.get(place).filter(|_| !strangers.is_empty()) else {
            return;
        };
        let named = |id| {
            Some(Member {
                id,
                name: room.sender.name_of(id)?,
            })
        };
        let members = strangers.into_iter().filter_map(named).collect();
        self.inside(place, Inside::Named(members));
    }

    async fn on_typed(&mut self, typed: Typed) {
        let input = match typed {
            Typed::Line(line) if self.settings.input == Format::Json || self.job != Job::Join => Input::JsonLine(line),
            Typed::Line(line) => Input::TextLine(line),
            Typed::Bad(error) => Input::BadLine(error),
            Typed::Interrupt => return self.on_signal(Signal::Interrupt),
            Typed::End => {
                self.input_open = false;
                if !self.settings.stay {
                    self.leave(Cause::EndOfInput, String::new(), self.settings.linger);
                }
                return;
            }
        };
        self.take(input).await;
    }

    /// Feeds the model and does what it wants.
    pub(super) async fn take(&mut self, input: Input) {
        for output in self.show.take(input) {
            self.carry_out(output).await;
        }
    }

    async fn carry_out(&mut self, output: Output) {
        match output {
            Output::Tell(_) => unreachable!("`Show` keeps what is told"),
            Output::Send {
                place,
                payload,
                reference,
            } => self.send(place, payload, reference, Duration::ZERO),
            Output::Ask {
                place,
                question,
                reference,
            } => {
                let answer = timeout(ANSWER, self.answer(place.as_ref(), question)).await;
                self.show.take(match answer {
                    Ok(Some(answer)) => Input::Answered {
                        place,
                        answer,
                        reference,
                    },
                    _ => {
                        let error = command::error("no_answer", "this member's group does not answer; ask again");
                        Input::NotDone(crate::app::line::Error { reference, ..error })
                    }
                });
            }
            Output::Join { place, reference } => self.join(place, reference),
            Output::Create { name, topic, reference } => self.create(name, topic, reference).await,
            Output::Close { place, reference } => self.close(&place, reference),
            Output::Part { place, reason } => self.part(&place, reason),
            Output::Leave { reason } => self.leave(Cause::Leave, reason, self.settings.linger),
            Output::LeaveNow => self.hurry(),
        }
    }

    fn send(&mut self, place: Place, payload: Bytes, reference: Option<Ref>, pause: Duration) {
        let Some(room) = self.rooms.get(&place) else { return };
        let sender = room.sender.clone();
        self.sending = Some(Box::pin(async move {
            // Even a pause of nothing would last until the next tick of the clock.
            if !pause.is_zero() {
                sleep(pause).await;
            }
            (place, sender.send(payload.clone()).await, payload, reference)
        }));
    }

    fn on_sent(&mut self, (place, result, payload, reference): Attempt) {
        self.sending = None;
        let error = match result {
            Ok(receipt) => {
                let dot = receipt.dot();
                if let Some(room) = self.rooms.get_mut(&place) {
                    room.sent(dot);
                }
                self.receipts.insert(place.clone(), receipt);
                self.roster_at = self.roster_at.or(Some(Instant::now() + ROSTER_EVERY));
                return self.inside(&place, Inside::Sent { dot, reference });
            }
            Err(SendError::Behind) => return self.send(place, payload, reference, CATCH_UP),
            Err(SendError::Left) => command::error("leaving", "you are leaving; nothing more can be sent"),
            Err(refusal) => command::error("not_sent", refusal.to_string()),
        };
        let error = crate::app::line::Error { reference, ..error };
        self.show.take(Input::NotDone(error));
    }

    async fn look_at_roster(&mut self) {
        self.roster_at = None;
        if self.look_at_rosters(ANSWER).await {
            // Who falls silent now is not waited for.
            self.roster_at = self.leaving.is_some().then(|| Instant::now() + LEAVING_ROSTER_EVERY);
        }
    }

    fn on_signal(&mut self, signal: Signal) {
        let cause = Cause::from(signal);
        match &mut self.leaving {
            Some(leaving) => {
                leaving.cause = cause;
                self.hurry();
            }
            None => self.leave(cause, String::new(), SIGNAL_LINGER),
        }
    }

    fn on_output_closed(&mut self) {
        self.output_closed = None;
        self.input_open = false;
        self.show.give_up();
        self.leave(Cause::OutputClosed, String::new(), SIGNAL_LINGER);
    }
}

fn said(delivery: Delivery) -> Inside {
    Inside::Said(Said {
        stamp: delivery.stamp(),
        held_ms: delivery.held_for.as_millis() as u64,
        post: Post::decode(&delivery.payload),
        from: delivery.from,
    })
}

async fn news(council: Option<&mut Council>) -> News {
    match council {
        Some(council) => council.next().await,
        None => std::future::pending().await,
    }
}

pub(super) async fn maybe<T>(pending: Option<&mut Pending<T>>) -> T {
    match pending {
        Some(pending) => pending.await,
        None => std::future::pending().await,
    }
}

async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
