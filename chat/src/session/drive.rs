//! The loop: what happens goes into the model, what it wants is done.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use multicast::{Event, Faults, Member, Node, Receipt};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::asked;
use super::council::{Council, News, Proposed};
use super::ending::Leaving;
use super::kept::Cursor;
use super::rooms::{self, Rooms};
use super::sending::{Attempt, ToSend};
use super::show::Show;
use super::signals::{Signal, Signals};
use super::start::Started;
use super::{Cause, Ended, Job, SIGNAL_LINGER};
use crate::app::Input;
use crate::app::place::Place;
use crate::control::server::{Heard, Server};
use crate::exit::Exit;
use crate::input::Typed;
use crate::registries::Registries;
use crate::settings::{Format, Settings};

/// How often at most acknowledgements are looked at: under load one look covers many.
pub(super) const ROSTER_EVERY: Duration = Duration::from_millis(20);
/// How often to look who is still there while they are waited for.
const LEAVING_ROSTER_EVERY: Duration = Duration::from_millis(200);
/// How long the group's task may take to answer a question. It answers at once, unless something is wrong with it;
/// that must not keep a signal or a leave from ending the chat.
pub(super) const ANSWER: Duration = Duration::from_secs(2);

pub(super) type Pending<T> = Pin<Box<dyn Future<Output = T> + std::marker::Send>>;

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
    /// What is to be sent after it.
    pub(super) to_send: ToSend,
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
    /// A question whose answer takes long; the next line is read when it is there.
    pub(super) asking: Option<Pending<Input>>,
    /// With `--chaos`.
    pub(super) faults: Option<Faults>,
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
    Answered(Input),
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
            to_send: ToSend::default(),
            joining: None,
            receipts: BTreeMap::new(),
            roster_at: None,
            cursor: Cursor::new(&console),
            output_closed: Some(Box::pin(console.closed())),
            leaving: None,
            control: None,
            asking: None,
            faults: None,
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
        let said =
            self.sending.is_none() && self.joining.is_none() && self.asking.is_none() && self.rooms.are_settled();
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
            answer = maybe(self.asking.as_mut()), if idle => Step::Answered(answer),
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
            Step::Answered(answer) => {
                self.asking = None;
                self.take(answer).await;
            }
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
