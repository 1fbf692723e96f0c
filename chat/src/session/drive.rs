//! The loop: what happens goes into the model, what it wants is done.

use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use multicast::{Event, Events, Member, MemberState, Node, Receipt, SendError, Sender};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::ending::Leaving;
use super::show::Show;
use super::signals::{Signal, Signals};
use super::start::Started;
use super::{Cause, Ended, Job, SIGNAL_LINGER};
use crate::app::line::Ref;
use crate::app::{Input, Output, command};
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
type Attempt = (Result<Receipt, SendError>, Bytes, Option<Ref>);

/// A member with its console, its input and its signals.
pub struct Session {
    pub(super) settings: Settings,
    pub(super) job: Job,
    pub(super) show: Show,
    pub(super) node: Node,
    pub(super) sender: Sender,
    pub(super) registries: Registries,
    pub(super) events: Events,
    events_open: bool,
    notices: mpsc::Receiver<String>,
    pub(super) signals: Signals,
    typed: mpsc::Receiver<Typed>,
    input_open: bool,
    /// A message on its way into the group; the next line is read when it is there.
    sending: Option<Pending<Attempt>>,
    /// The numbers of the last message that was sent, and of the last own one that was shown.
    own_sent: u64,
    own_shown: u64,
    /// The last message, whose receipt tells when to look at the roster.
    receipt: Option<Receipt>,
    pub(super) roster_at: Option<Instant>,
    /// Who was there when that was last looked at.
    pub(super) roster: Vec<MemberState>,
    output_closed: Option<Pending<()>>,
    pub(super) leaving: Option<Leaving>,
}

enum Step {
    Told { open: bool },
    OutputClosed,
    Signal(Signal),
    Event(Option<Event>),
    Typed(Typed),
    Sent(Attempt),
    Progress,
    LookAtRoster,
    Notice(String),
    Explain,
    Left(Vec<Member>),
}

impl Session {
    pub fn new(
        settings: Settings,
        job: Job,
        node: Node,
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
            sender: started.sender,
            registries: started.registries,
            events: started.events,
            events_open: true,
            notices: started.notices,
            signals,
            typed,
            input_open: true,
            sending: None,
            own_sent: 0,
            own_shown: 0,
            receipt: None,
            roster_at: None,
            roster: started.roster,
            output_closed: Some(Box::pin(console.closed())),
            leaving: None,
        };
        session.show.take(Input::Present(started.present));
        session.show.take(Input::Roster(session.roster.clone()));
        started.first.into_iter().for_each(|event| session.on_event(event));
        session
    }

    pub async fn run(mut self) -> Ended {
        loop {
            let step = self.step().await;
            match step {
                Step::Left(unconfirmed) => return self.on_left(unconfirmed).await,
                Step::Event(None) if self.leaving.is_none() => {
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
        let said = self.sending.is_none() && self.own_sent <= self.own_shown;
        let reads = idle && self.input_open && said;
        let waits = self.show.app().is_waiting_for_confirmation();
        let (done, explain_at) = match &mut self.leaving {
            Some(leaving) => (Some(&mut leaving.done), leaving.explain_at),
            None => (None, None),
        };
        tokio::select! {
            signal = self.signals.next() => Step::Signal(signal),
            () = maybe(self.output_closed.as_mut()) => Step::OutputClosed,
            open = self.show.advance(), if !idle => Step::Told { open },
            event = self.events.next(), if idle && self.events_open => Step::Event(event),
            attempt = maybe(self.sending.as_mut()) => Step::Sent(attempt),
            typed = self.typed.recv(), if reads => Step::Typed(typed.unwrap_or(Typed::End)),
            () = progress(&mut self.receipt), if waits && self.roster_at.is_none() => Step::Progress,
            () = at(self.roster_at), if idle => Step::LookAtRoster,
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
            Step::Event(Some(event)) => self.on_event(event),
            Step::Event(None) => self.events_open = false,
            Step::Typed(typed) => self.on_typed(typed).await,
            Step::Sent((result, payload, reference)) => self.on_sent(result, payload, reference),
            Step::Progress => self.roster_at = Some(Instant::now() + ROSTER_EVERY),
            Step::LookAtRoster => self.look_at_roster().await,
            Step::Notice(text) => self.show.notice(text),
            Step::Explain => self.explain(),
            Step::Left(_) => unreachable!("ends the loop"),
        }
    }

    pub(super) fn on_event(&mut self, event: Event) {
        self.introduce(&event);
        if let Event::Delivered(delivery) = &event
            && delivery.from.id == self.sender.me().id
        {
            self.own_shown = delivery.dot.seq;
        }
        let over = match event {
            Event::Broken { .. } => Some(Cause::Broken),
            Event::Evicted => Some(Cause::Evicted),
            _ => None,
        };
        self.show.take(match event {
            Event::Delivered(delivery) => Input::Said {
                stamp: delivery.stamp(),
                held_ms: delivery.held_for.as_millis() as u64,
                post: Post::decode(&delivery.payload),
                from: delivery.from,
            },
            other => Input::Heard(other),
        });
        if let Some(cause) = over {
            self.leave(cause, String::new(), Duration::ZERO);
        }
        if let Job::Tail(tail) = &self.job
            && tail.count.is_some_and(|count| self.show.messages() >= count)
        {
            self.leave(Cause::Counted, String::new(), SIGNAL_LINGER);
        }
    }

    /// Tells the model the names of those whom it has never heard of, and whom the event mentions.
    fn introduce(&mut self, event: &Event) {
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
        let strangers = self.show.app().strangers(clock);
        if strangers.is_empty() {
            return;
        }
        let named = |id| {
            Some(Member {
                id,
                name: self.sender.name_of(id)?,
            })
        };
        let members = strangers.into_iter().filter_map(named).collect();
        self.show.take(Input::Named(members));
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
        for output in self.show.take(input) {
            self.carry_out(output).await;
        }
    }

    async fn carry_out(&mut self, output: Output) {
        match output {
            Output::Tell(_) => unreachable!("`Show` keeps what is told"),
            Output::Send { payload, reference } => self.send(payload, reference, Duration::ZERO),
            Output::Ask { question, reference } => {
                let answer = timeout(ANSWER, self.answer(question)).await;
                self.show.take(match answer {
                    Ok(answer) => Input::Answered { answer, reference },
                    Err(_) => {
                        let error = command::error("no_answer", "this member's group does not answer; ask again");
                        let error = crate::app::line::Error { reference, ..error };
                        Input::NotSent { error }
                    }
                });
            }
            Output::Leave { reason } => self.leave(Cause::Leave, reason, self.settings.linger),
            Output::LeaveNow => self.hurry(),
        }
    }

    fn send(&mut self, payload: Bytes, reference: Option<Ref>, pause: Duration) {
        let sender = self.sender.clone();
        self.sending = Some(Box::pin(async move {
            // Even a pause of nothing would last until the next tick of the clock.
            if !pause.is_zero() {
                sleep(pause).await;
            }
            (sender.send(payload.clone()).await, payload, reference)
        }));
    }

    fn on_sent(&mut self, result: Result<Receipt, SendError>, payload: Bytes, reference: Option<Ref>) {
        self.sending = None;
        let error = match result {
            Ok(receipt) => {
                let dot = receipt.dot();
                self.own_sent = dot.seq;
                self.receipt = Some(receipt);
                self.roster_at = self.roster_at.or(Some(Instant::now() + ROSTER_EVERY));
                self.show.take(Input::Sent { dot, reference });
                return;
            }
            Err(SendError::Behind) => return self.send(payload, reference, CATCH_UP),
            Err(SendError::Left) => command::error("leaving", "you are leaving; nothing more can be sent"),
            Err(refusal) => command::error("not_sent", refusal.to_string()),
        };
        let error = crate::app::line::Error { reference, ..error };
        self.show.take(Input::NotSent { error });
    }

    async fn look_at_roster(&mut self) {
        self.roster_at = None;
        let roster = timeout(ANSWER, self.sender.roster()).await.unwrap_or_default();
        // Whoever has left has no roster; what was known before the goodbye is what counts then.
        if !roster.is_empty() {
            self.show.take(Input::Roster(roster.clone()));
            self.roster = roster;
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

async fn maybe<T>(pending: Option<&mut Pending<T>>) -> T {
    match pending {
        Some(pending) => pending.await,
        None => std::future::pending().await,
    }
}

async fn progress(receipt: &mut Option<Receipt>) {
    match receipt {
        Some(receipt) => receipt.changed().await,
        None => std::future::pending().await,
    }
}

async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
