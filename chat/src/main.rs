//! A terminal chat without a server: a reply is never shown before what it answers.

#![forbid(unsafe_code)]
#![allow(
    unreachable_pub,
    reason = "a binary exports nothing: `pub` says that other modules use it"
)]

mod app;
mod cli;
mod console;
mod control;
mod credentials;
mod doctor;
mod exit;
mod history;
mod input;
#[cfg(test)]
mod limits;
mod log;
mod names;
mod post;
mod profile;
mod registries;
#[cfg(test)]
mod schema;
mod session;
mod settings;
mod who;
mod word;

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::CommandFactory;
use tokio::sync::mpsc;

use app::clean;
use app::line::{Body, Bye, Line};
use cli::{Cli, Command, Parsed};
use console::Item;
use console::screen::Screen;
use control::client;
use exit::Exit;
use input::Typed;
use session::{Cause, Ended, Job};
use settings::{Format, Registries, Settings};

/// How long the reader of stdout may take for the last lines when a signal ended the chat.
const HASTY: Duration = Duration::from_secs(2);
/// How long it may take otherwise: it is waited for, though not for ever.
const PATIENT: Duration = Duration::from_secs(3600);

fn main() -> ExitCode {
    let exit = match cli::parse(std::env::args_os()) {
        Parsed::Told(text) => tell(&text),
        Parsed::Refused(text) => {
            eprintln!("{text}");
            return ExitCode::from(2);
        }
        Parsed::Run(cli, matches) => dispatch(*cli, &matches),
    };
    if let Some(words) = exit.words() {
        eprintln!("{words}");
    }
    // Threads that wait for stdin or stdout must not keep the process.
    std::process::exit(i32::from(exit.code()))
}

fn dispatch(cli: Cli, matches: &clap::ArgMatches) -> Exit {
    let job = match cli.command.clone().unwrap_or(Command::Join) {
        Command::Completions { shell } => {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "chat", &mut text);
            return tell(&String::from_utf8_lossy(&text));
        }
        Command::Man => return man(),
        Command::Join => Some(Job::Join),
        Command::Send(send) => Some(Job::Send(send)),
        Command::Tail(tail) => Some(Job::Tail(tail)),
        Command::Who | Command::Rooms | Command::Doctor | Command::Config => None,
        Command::History(_) | Command::Export(_) => None,
    };
    let settings = match settings::settle(cli.flags, matches) {
        Ok(settings) => settings,
        Err(exit) => return exit,
    };
    match (job, cli.command) {
        (Some(job), _) => run(settings, job),
        (None, Some(Command::Who)) if settings.registries == Registries::None => run(settings, Job::Who),
        (None, Some(Command::Who)) => with_runtime(|| who::run(&settings, "who")).unwrap_or_else(|exit| exit),
        (None, Some(Command::Rooms)) => with_runtime(|| who::run(&settings, "rooms")).unwrap_or_else(|exit| exit),
        (None, Some(Command::Doctor)) => with_runtime(|| doctor::run(&settings)).unwrap_or_else(|exit| exit),
        (None, Some(Command::History(wanted))) => history::run(&settings, &wanted),
        (None, Some(Command::Export(wanted))) => history::export(&settings, &wanted),
        (None, _) => config(&settings),
    }
}

fn run(mut settings: Settings, job: Job) -> Exit {
    let text = match words(&mut settings, &job) {
        Ok(text) => text,
        Err(exit) => return exit,
    };
    if job != Job::Join {
        match with_runtime(|| ask_running(&settings, &job, &text)) {
            Ok(None) => {}
            Ok(Some(exit)) | Err(exit) => return exit,
        }
    }
    let lines = prepare(&mut settings, &job, &text);
    let prompts = job == Job::Join
        && settings.input == Format::Text
        && settings.output == Format::Text
        && io::stdin().is_terminal()
        && io::stdout().is_terminal()
        && std::env::var_os("TERM").is_some_and(|term| term != "dumb");
    let screen = match prompts.then(Screen::open).transpose() {
        Ok(screen) => screen.map(Arc::new),
        Err(error) => return Exit::Unexpected(format!("cannot use the terminal: {error}; try with TERM=dumb")),
    };
    give_back_on_panic(screen.clone());
    if let Err(exit) = log::start(&settings, screen.clone()) {
        return exit;
    }
    let exit = with_runtime(|| converse(settings, job, lines, screen.clone())).unwrap_or_else(|exit| exit);
    if let Some(screen) = screen {
        screen.close();
    }
    exit
}

/// Lets the chat that runs with this profile do the job; nothing, if there is none that can.
async fn ask_running(settings: &Settings, job: &Job, text: &str) -> Option<Exit> {
    let mut running = client::find(settings).await?;
    let (console, written) = console::start(None);
    let exit = match job {
        Job::Join => None,
        Job::Tail(tail) => Some(client::tail(running, settings, tail, &console).await),
        Job::Who => client::ask(&mut running, settings, "who", &console).await,
        Job::Send(send) => client::send(&mut running, settings, send, text, &console).await,
    };
    drop(console);
    written.wait(PATIENT).await;
    exit
}

/// What `chat send` is to say. Read once: what comes from stdin does not come again.
fn words(settings: &mut Settings, job: &Job) -> Result<String, Exit> {
    let Job::Send(send) = job else { return Ok(String::new()) };
    if let Some(timeout) = &send.timeout {
        settings.linger = settings::duration("timeout", timeout).map_err(Exit::Usage)?;
    }
    match send.text.as_slice() {
        [dash] if dash == "-" => input::whole_stdin().map_err(Exit::Usage),
        words => Ok(words.join(" ")),
    }
}

/// Adapts the settings to the job; returns the input lines of a job that has its own.
fn prepare(settings: &mut Settings, job: &Job, text: &str) -> Option<Vec<Typed>> {
    match job {
        Job::Join => None,
        Job::Tail(_) => {
            settings.ephemeral = true;
            settings.store = None;
            settings.stay = true;
            settings.nick = names::listener(&settings.nick);
            Some(Vec::new())
        }
        Job::Who => {
            settings.ephemeral = true;
            settings.store = None;
            settings.nick = names::listener(&settings.nick);
            Some(vec![Typed::Line(r#"{"do":"who"}"#.to_owned()), Typed::End])
        }
        Job::Send(send) => {
            settings.ephemeral = true;
            settings.store = None;
            let line = serde_json::json!({ "do": "send", "text": text, "reply_to": send.reply_to });
            Some(vec![Typed::Line(line.to_string()), Typed::End])
        }
    }
}

async fn converse(settings: Settings, job: Job, lines: Option<Vec<Typed>>, screen: Option<Arc<Screen>>) -> Exit {
    let (console, written) = console::start(screen.clone());
    let last_console = console.clone();
    let format = settings.output;
    let session = session::run(settings, job, console, move |typed| listen(typed, lines, screen));
    let Ended { exit, hasty } = match tokio::spawn(session).await {
        Ok(ended) => ended,
        Err(panic) => {
            if format == Format::Json {
                say_bye(&last_console).await;
            }
            let text = format!("a bug ended the chat, please report it: {panic}");
            Ended {
                exit: Exit::Unexpected(text),
                hasty: true,
            }
        }
    };
    drop(last_console);
    written.wait(if hasty { HASTY } else { PATIENT }).await;
    exit
}

/// Starts to read input, in a thread of its own because reading a terminal or a pipe blocks.
fn listen(typed: mpsc::Sender<Typed>, lines: Option<Vec<Typed>>, screen: Option<Arc<Screen>>) {
    std::thread::spawn(move || match (lines, screen) {
        (Some(lines), _) => {
            // Where nobody listens any more the rest is of no use.
            lines
                .into_iter()
                .try_for_each(|line| typed.blocking_send(line))
                .unwrap_or_default();
        }
        (None, Some(screen)) => screen.read(&typed),
        (None, None) => input::read_stdin(&typed),
    });
}

async fn say_bye(console: &console::Console) {
    let body = Body::Bye(Bye {
        reason: Cause::Broken.name(),
        unconfirmed: Vec::new(),
    });
    if let Some(room) = console.room().await {
        let at = session::now();
        room.send(Item::Json(Box::new(Line { at, body })));
    }
}

fn with_runtime<F: Future>(work: impl FnOnce() -> F) -> Result<F::Output, Exit> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Exit::Unexpected(format!("cannot start: {error}")))?;
    let done = runtime.block_on(work());
    runtime.shutdown_background();
    Ok(done)
}

/// A panic must not leave the terminal raw, and its text should stand on a line of its own.
fn give_back_on_panic(screen: Option<Arc<Screen>>) {
    let Some(screen) = screen else { return };
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        screen.close();
        before(panic);
    }));
}

fn config(settings: &Settings) -> Exit {
    let rows = settings.rows.iter().map(|(name, value, source)| {
        let value = clean::line(value);
        format!("{name} = {value:?}  ({source})\n")
    });
    tell(&rows.collect::<String>())
}

fn man() -> Exit {
    let mut page = Vec::new();
    match clap_mangen::Man::new(Cli::command()).render(&mut page) {
        Ok(()) => tell(&String::from_utf8_lossy(&page)),
        Err(error) => Exit::Unexpected(error.to_string()),
    }
}

/// Prints text that was asked for. A reader that has seen enough is no error.
fn tell(text: &str) -> Exit {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Exit::Unexpected(error.to_string()),
        _ => Exit::Clean,
    }
}
