//! `nodesetd`: the registry as a daemon, and the tools to look at one.

#![forbid(unsafe_code)]

mod ask;
mod flags;
mod http;
mod invite;
mod log;
mod serve;

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use nodeset::client::AskError;

use self::flags::{Command, Flags};

/// What went wrong, and the exit code for it.
pub(crate) enum Failure {
    /// 1: the registry cannot run.
    Failed(String),
    /// 2: it was asked for something that does not exist.
    Usage(String),
    /// 3: the registry did not answer.
    NoAnswer(String),
    /// 4: the registry refuses, or there is nobody to evict.
    Refused(String),
    /// Whoever read our output has stopped; that is no error of ours.
    ClosedPipe,
}

impl From<AskError> for Failure {
    fn from(error: AskError) -> Self {
        match error.is_refusal() {
            true => Self::Refused(error.to_string()),
            false => Self::NoAnswer(error.to_string()),
        }
    }
}

impl From<io::Error> for Failure {
    /// For what is written to standard output.
    fn from(error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::BrokenPipe => Self::ClosedPipe,
            _ => Self::Failed(format!("the output cannot be written: {error}")),
        }
    }
}

fn main() -> ExitCode {
    let flags = Flags::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let done = match runtime {
        Ok(runtime) => runtime.block_on(run(flags)),
        Err(error) => Err(Failure::Failed(format!("no runtime: {error}"))),
    };
    match done {
        Ok(()) | Err(Failure::ClosedPipe) => ExitCode::SUCCESS,
        Err(Failure::Failed(why)) => fail(1, why),
        Err(Failure::Usage(why)) => fail(2, why),
        Err(Failure::NoAnswer(why)) => fail(3, why),
        Err(Failure::Refused(why)) => fail(4, why),
    }
}

async fn run(flags: Flags) -> Result<(), Failure> {
    match flags.command {
        None => serve::serve(flags.serve).await,
        Some(Command::Serve(flags)) => serve::serve(flags).await,
        Some(Command::List(flags)) if flags.watch => ask::watch(flags).await,
        Some(Command::List(flags)) => ask::list(flags).await,
        Some(Command::Health(flags)) => ask::health(flags).await,
        Some(Command::Evict(flags)) => ask::evict(flags).await,
        Some(Command::Invite(flags)) => invite::run(flags).await,
        Some(Command::Completions { shell }) => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Flags::command(), "nodesetd", &mut script);
            Ok(io::stdout().write_all(&script)?)
        }
        Some(Command::Man) => {
            let mut page = Vec::new();
            clap_mangen::Man::new(Flags::command()).render(&mut page)?;
            Ok(io::stdout().write_all(&page)?)
        }
    }
}

/// `eprintln!` would panic if standard error is closed.
fn fail(code: u8, why: impl Display) -> ExitCode {
    drop(writeln!(io::stderr(), "nodesetd: {why}"));
    ExitCode::from(code)
}
