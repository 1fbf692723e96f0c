//! One run of the chat: starting, the loop, ending.

mod answers;
mod asked;
mod coordinated;
mod council;
mod doing;
mod drive;
mod ending;
mod events;
mod kept;
mod peers;
mod rooms;
mod sending;
mod show;
mod signals;
mod start;

use std::sync::Arc;
use std::time::Duration;

use multicast::{Faults, Member};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::app::clean;
use crate::cli::{Send, Tail};
use crate::console::Console;
use crate::credentials::Credentials;
use crate::exit::Exit;
use crate::input::Typed;
use crate::profile;
use crate::settings::Settings;
use drive::Session;
use show::Show;
pub use show::{now, uses_color};
use signals::{Signal, Signals};

/// How long a goodbye waits when a signal asked for it: supervisors and people are impatient.
const SIGNAL_LINGER: Duration = Duration::from_secs(1);
/// How long stdout may take to accept the last lines when a signal ended the chat.
const LAST_LINES: Duration = Duration::from_secs(2);
/// Input lines that wait: none is read ahead while the chat is busy with another.
const TYPED: usize = 1;

/// What this run is for.
#[derive(Clone, PartialEq, Debug)]
pub enum Job {
    /// Take part.
    Join,
    /// Say one thing.
    Send(Send),
    /// Listen.
    Tail(Tail),
    /// See who is there, where no registry can be asked.
    Who,
}

/// Why a run ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cause {
    Leave,
    EndOfInput,
    Terminated,
    Interrupted,
    OutputClosed,
    Counted,
    NotReachable,
    Refused,
    Evicted,
    Broken,
    StoreFailed,
}

impl Cause {
    /// As `bye` names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Leave => "leave",
            Self::EndOfInput => "end_of_input",
            Self::Terminated => "terminated",
            Self::Interrupted => "interrupted",
            Self::OutputClosed => "output_closed",
            Self::Counted => "counted",
            Self::NotReachable => "not_reachable",
            Self::Refused => "refused",
            Self::Evicted => "evicted",
            Self::Broken => "broken",
            Self::StoreFailed => "store_failed",
        }
    }
}

impl From<Signal> for Cause {
    fn from(signal: Signal) -> Self {
        match signal {
            Signal::Terminate => Self::Terminated,
            Signal::Interrupt => Self::Interrupted,
        }
    }
}

/// How a run ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ended {
    /// For the shell.
    pub exit: Exit,
    /// Whether a signal asked for it: then the reader of stdout is not waited for at length.
    pub hasty: bool,
}

/// Runs until the end; everything that was told is on its way to the console then. `listen` starts to read input.
pub async fn run(settings: Settings, job: Job, console: Console, listen: impl FnOnce(mpsc::Sender<Typed>)) -> Ended {
    let prepared = async {
        let signals =
            Signals::new().map_err(|error| Exit::Unexpected(format!("cannot listen for signals: {error}")))?;
        let claim = profile::claim(&settings)?;
        let credentials = Arc::new(Credentials::open(&settings)?);
        let store = kept::open(&settings, claim.directory.is_some()).await?;
        let faults = settings.chaos.then(Faults::default);
        let node = start::bind(&settings, &claim.nick, (&credentials, faults.clone()), store).await?;
        Ok((signals, claim, (credentials, faults), node))
    };
    let (mut signals, claim, (credentials, faults), node) = match prepared.await {
        Ok(prepared) => prepared,
        Err(exit) => return Ended { exit, hasty: false },
    };
    kept::keep_in_bounds(&node, settings.keep);
    let mut show = Show::new(&settings, &job, &claim.nick, &node, console);
    show.hello();
    if let Some(notice) = &claim.notice {
        show.notice(notice.clone());
    }
    let starting = async {
        show.flush().await;
        let started = start::join(&settings, &job, (&claim, credentials), &node, &mut show).await?;
        if matches!(job, Job::Send(_)) {
            start::somebody(&started.entered.sender, &started.place).await?;
        }
        Ok(started)
    };
    let started = tokio::select! {
        started = starting => started,
        signal = signals.next() => Err(match signal {
            Signal::Terminate => (Cause::Terminated, Exit::Clean),
            Signal::Interrupt => (Cause::Interrupted, Exit::Interrupted),
        }),
    };
    match started {
        Ok(started) => {
            let (tell, typed) = mpsc::channel(TYPED);
            listen(tell);
            let takes_part = job == Job::Join;
            let mut session = Session::new(settings, job, node.into(), show, started, signals, typed);
            session.faults = faults;
            if takes_part && claim.directory.is_some() {
                session.listen_for_requests();
            }
            session.run().await
        }
        Err((cause, exit)) => {
            show.failure(&exit);
            show.bye(cause, Vec::new());
            let _ = timeout(LAST_LINES, show.flush()).await;
            Ended { exit, hasty: true }
        }
    }
}

/// What a run that ended for a reason of its own says to the shell.
fn verdict(cause: Cause, lacking: &[Member]) -> Exit {
    match cause {
        Cause::Terminated | Cause::OutputClosed => Exit::Clean,
        Cause::Interrupted => Exit::Interrupted,
        Cause::Evicted => {
            Exit::Refused("this chat was evicted: whoever runs the registry let it in no more".to_owned())
        }
        Cause::Broken => Exit::Unexpected("the group ended by itself; please report what stands above".to_owned()),
        _ if lacking.is_empty() => Exit::Clean,
        _ => Exit::Unconfirmed(lacking.iter().map(|member| clean::name(&member.name)).collect()),
    }
}
