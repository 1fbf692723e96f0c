//! SIGTERM, SIGINT and SIGHUP.

use std::io;

use tokio::signal::unix::{self, SignalKind};

/// A request to end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Signal {
    Terminate,
    Interrupt,
}

/// The signals, caught from here on.
#[derive(Debug)]
pub struct Signals(Option<Caught>);

#[derive(Debug)]
struct Caught {
    terminate: unix::Signal,
    interrupt: unix::Signal,
    hangup: unix::Signal,
}

impl Signals {
    pub fn new() -> io::Result<Self> {
        Ok(Self(Some(Caught {
            terminate: unix::signal(SignalKind::terminate())?,
            interrupt: unix::signal(SignalKind::interrupt())?,
            hangup: unix::signal(SignalKind::hangup())?,
        })))
    }

    /// Takes the signals out of their place.
    pub fn take(&mut self) -> Self {
        Self(self.0.take())
    }

    /// The next one. Can be given up at any time.
    pub async fn next(&mut self) -> Signal {
        let Some(caught) = &mut self.0 else {
            return std::future::pending().await;
        };
        tokio::select! {
            _ = caught.terminate.recv() => Signal::Terminate,
            _ = caught.interrupt.recv() => Signal::Interrupt,
            // The terminal is gone: nobody reads the goodbye here, but the others do.
            _ = caught.hangup.recv() => Signal::Terminate,
        }
    }
}
