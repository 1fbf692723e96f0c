//! The command line, as clap reads it. What the values mean is decided in `settings`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::PossibleValuesParser;
use clap::{ArgAction, Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::app::clean;

/// A terminal chat without a server: a reply is never shown before what it answers.
#[derive(Parser, Debug)]
#[command(name = "chat", version, about, max_term_width = 100)]
#[command(args_conflicts_with_subcommands = false, disable_help_subcommand = true)]
#[command(
    after_help = "Without a command: join. Without --registry and --peer: the registry on 127.0.0.1:7420, \
which this instance serves itself if nobody does.\n\
Exit codes: 0 left cleanly, 1 unexpected, 2 usage, 3 nobody can be reached, 4 refused, 5 not confirmed by everyone in time, \
6 a room was not created or closed, 7 profile in use or store damaged, 130 interrupted."
)]
pub struct Cli {
    /// What to do; to join is the default.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// What holds for every command.
    #[command(flatten)]
    pub flags: Flags,
}

/// What to do.
#[derive(Subcommand, Clone, PartialEq, Eq, Debug)]
pub enum Command {
    /// Join a room: lines that are typed are sent, /help lists commands (the default)
    Join,
    /// Send one message, and end when every live peer has it
    Send(Send),
    /// Print what is said in a room, and send nothing
    Tail(Tail),
    /// Print who is in a room
    Who,
    /// Print the rooms that the chat of this profile is in, with members and unread messages; else all rooms and how many are in each
    Rooms,
    /// Look whether everything is there that a chat needs, and say what to do where it is not
    Doctor,
    /// Print what was said in a room, from the profile's history; a chat may run meanwhile
    History(History),
    /// Print all that was said in a room, in a form for other programs
    Export(Export),
    /// Print every setting and where it comes from
    Config,
    /// Print shell completions
    Completions {
        /// For which shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page
    Man,
}

/// `chat send`
#[derive(Args, Clone, PartialEq, Eq, Debug)]
pub struct Send {
    /// The message that this one answers, as in bob#c0de44aa:3
    #[arg(long, value_name = "ID")]
    pub reply_to: Option<String>,
    /// How long to wait for everyone to confirm [default: 5s]
    #[arg(long, value_name = "DUR")]
    pub timeout: Option<String>,
    /// What to say; - reads it from stdin
    #[arg(required = true, value_name = "TEXT")]
    pub text: Vec<String>,
}

/// `chat tail`
#[derive(Args, Clone, PartialEq, Eq, Debug)]
pub struct Tail {
    /// Print joins, leaves and everything else, too
    #[arg(long)]
    pub events: bool,
    /// End after so many messages
    #[arg(long, value_name = "N")]
    pub count: Option<u64>,
}

/// `chat history`
#[derive(Args, Clone, PartialEq, Eq, Debug)]
pub struct History {
    /// Only messages that have all of these words
    #[arg(short, long, value_name = "TEXT")]
    pub grep: Option<String>,
    /// Only what this peer said: a nick, or an id like bob#c0de44aa
    #[arg(long, value_name = "PEER")]
    pub from: Option<String>,
    /// Only what was sent since then: 2026-11-21, 2026-11-21T10:02, or how long ago: 2h
    #[arg(long, value_name = "WHEN")]
    pub since: Option<String>,
    /// Only the last so many messages
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
    /// The order that is the same for everybody, or the one in which messages were delivered here [default: canonical]
    #[arg(long, value_name = "ORDER", value_parser = PossibleValuesParser::new(["canonical", "delivery"]))]
    pub order: Option<String>,
    /// Put what `chat export -f jsonl` wrote into that file back into the history
    #[arg(long, value_name = "FILE", conflicts_with_all = ["grep", "from", "since", "limit", "order"])]
    pub restore: Option<PathBuf>,
}

/// `chat export`
#[derive(Args, Clone, PartialEq, Eq, Debug)]
pub struct Export {
    /// Lines of JSON, which `chat history --restore` reads back, or of text
    #[arg(short, long, value_name = "FORMAT", default_value = "jsonl", value_parser = PossibleValuesParser::new(["jsonl", "text"]))]
    pub format: String,
}

/// Values as they were given, before anything is checked.
#[derive(Args, Clone, Default, Debug)]
pub struct Flags {
    /// Registry to find others with, HOST:PORT; may be repeated [default: 127.0.0.1:7420]
    #[arg(
        short,
        long,
        global = true,
        env = "CHAT_REGISTRY",
        value_name = "ADDR",
        value_delimiter = ','
    )]
    pub registry: Vec<String>,
    /// Peer to connect to, HOST:PORT; may be repeated. Without --registry no registry is used then
    #[arg(
        short,
        long,
        global = true,
        env = "CHAT_PEER",
        value_name = "ADDR",
        value_delimiter = ','
    )]
    pub peer: Vec<String>,
    /// Name that others see: 1 to 32 letters, digits, _ - . [default: $USER]
    #[arg(
        short,
        long,
        global = true,
        env = "CHAT_NICK",
        visible_alias = "id",
        value_name = "NICK"
    )]
    pub nick: Option<String>,
    /// Room to join [default: lobby]
    #[arg(long, global = true, env = "CHAT_ROOM", value_name = "ROOM")]
    pub room: Option<String>,
    /// Address to listen on [default: 127.0.0.1:0, any free port]
    #[arg(short, long, global = true, env = "CHAT_LISTEN", value_name = "ADDR")]
    pub listen: Option<String>,
    /// Address that others are told to dial [default: the one listened on]
    #[arg(long, global = true, env = "CHAT_ADVERTISE", value_name = "ADDR")]
    pub advertise: Option<String>,
    /// Invite from `nodesetd invite`, to be let in by somebody else's registry; needed once
    #[arg(
        long,
        global = true,
        env = "CHAT_INVITE",
        hide_env_values = true,
        value_name = "INVITE"
    )]
    pub invite: Option<String>,
    /// Profile whose data is used; one process at a time [default: the nick]
    #[arg(long, global = true, env = "CHAT_PROFILE", value_name = "NAME")]
    pub profile: Option<String>,
    /// Where messages are kept: a file, or postgres://USER@HOST/DATABASE [default: history.db of the profile]
    #[arg(
        long,
        global = true,
        env = "CHAT_STORE",
        hide_env_values = true,
        value_name = "PLACE"
    )]
    pub store: Option<String>,
    /// How much of each room is kept, as in 64MiB or 2GiB; the oldest messages go first [default: 1GiB]
    #[arg(long, global = true, env = "CHAT_HISTORY_SIZE", value_name = "SIZE")]
    pub history_size: Option<String>,
    /// How old messages may become, as in 30d; the oldest go first [default: as old as they like]
    #[arg(long, global = true, env = "CHAT_HISTORY_AGE", value_name = "DUR")]
    pub history_age: Option<String>,
    /// Use no profile, and keep nothing
    #[arg(long, global = true)]
    pub ephemeral: bool,
    /// Configuration file [default: nodeset/chat.toml in the XDG configuration directory]
    #[arg(short, long, global = true, env = "CHAT_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// What stdout carries [default: text]
    #[arg(short, long, global = true, env = "CHAT_OUTPUT", value_name = "FORMAT", value_parser = formats())]
    pub output: Option<String>,
    /// The same as --output json
    #[arg(long, global = true)]
    pub json: bool,
    /// What stdin carries [default: text]
    #[arg(long, global = true, env = "CHAT_INPUT", value_name = "FORMAT", value_parser = formats())]
    pub input: Option<String>,
    /// What stands behind each message [default: vector]
    #[arg(long, global = true, env = "CHAT_STAMP", value_name = "MODE", value_parser = stamps())]
    pub stamp: Option<String>,
    /// Whether to use colours [default: auto]
    #[arg(long, global = true, env = "CHAT_COLOR", value_name = "WHEN", value_parser = whens())]
    pub color: Option<String>,
    /// What a terminal shows [default: auto]
    #[arg(long, global = true, env = "CHAT_UI", value_name = "UI", value_parser = uis())]
    pub ui: Option<String>,
    /// Stay when stdin ends
    #[arg(long, global = true)]
    pub stay: bool,
    /// How long a leave waits for every live peer to confirm [default: 5s]
    #[arg(long, global = true, env = "CHAT_LINGER", value_name = "DUR")]
    pub linger: Option<String>,
    /// How long a silent member counts before it may be given up [default: 60s]
    #[arg(long, global = true, env = "CHAT_GRACE", value_name = "DUR")]
    pub grace: Option<String>,
    /// Most messages of the profile's history to show at a join [default: 20]
    #[arg(long, global = true, env = "CHAT_BACKLOG", value_name = "N")]
    pub backlog: Option<u64>,
    /// Allow faults on purpose: /delay, /drop, /partition, /heal
    #[arg(long, global = true)]
    pub chaos: bool,
    /// Send lines that begin with a slash as they are
    #[arg(long, global = true)]
    pub no_commands: bool,
    /// Log more; -vv and -vvv even more
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub verbose: u8,
    /// Log errors only
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Write the log there instead of to stderr
    #[arg(long, global = true, env = "CHAT_LOG_FILE", value_name = "FILE")]
    pub log_file: Option<PathBuf>,
}

/// What came of reading the command line.
pub enum Parsed {
    /// A command to carry out, and what clap knows about the origin of values.
    Run(Box<Cli>, clap::ArgMatches),
    /// Help or version, for stdout.
    Told(String),
    /// Wrong usage, for stderr. Neutralised: clap repeats what it was given.
    Refused(String),
}

/// Reads the command line.
pub fn parse(args: impl Iterator<Item = OsString>) -> Parsed {
    let matches = match Cli::command().try_get_matches_from(args) {
        Ok(matches) => matches,
        Err(error) => return told(&error),
    };
    match Cli::from_arg_matches(&matches) {
        Ok(cli) => Parsed::Run(Box::new(cli), matches),
        Err(error) => told(&error),
    }
}

fn told(error: &clap::Error) -> Parsed {
    let text = error.render().to_string();
    if error.use_stderr() {
        let lines = text.trim_end().lines().map(clean::line);
        Parsed::Refused(lines.collect::<Vec<_>>().join("\n"))
    } else {
        Parsed::Told(text)
    }
}

fn formats() -> PossibleValuesParser {
    PossibleValuesParser::new(["text", "json"])
}

fn stamps() -> PossibleValuesParser {
    PossibleValuesParser::new(["vector", "lamport", "dense", "none"])
}

fn whens() -> PossibleValuesParser {
    PossibleValuesParser::new(["auto", "always", "never"])
}

fn uis() -> PossibleValuesParser {
    PossibleValuesParser::new(["auto", "tui", "line"])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cli(args: &[&str]) -> Cli {
        let args = std::iter::once("chat").chain(args.iter().copied()).map(OsString::from);
        match parse(args) {
            Parsed::Run(cli, _) => *cli,
            Parsed::Told(text) | Parsed::Refused(text) => panic!("{text}"),
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn flags_stand_before_or_after_the_command() {
        let after = cli(&["send", "-r", "a:1", "--id", "ana", "--timeout", "2s", "hi", "there"]);
        let before = cli(&["-r", "a:1", "-n", "ana", "send", "--timeout", "2s", "hi", "there"]);
        assert_eq!(after.command, before.command);
        assert_eq!(
            (after.flags.registry, after.flags.nick),
            (before.flags.registry, before.flags.nick)
        );
        assert_eq!(cli(&["-r", "a:1", "-r", "b:2"]).flags.registry, ["a:1", "b:2"]);
        assert!(cli(&[]).command.is_none());
    }

    #[test]
    fn refusals_do_not_repeat_what_steers_a_terminal() {
        let args = ["chat", "--stamp", "\u{1b}[31m"].map(OsString::from);
        match parse(args.into_iter()) {
            Parsed::Refused(text) => assert!(!text.contains('\u{1b}'), "{text:?}"),
            _ => panic!("not refused"),
        }
    }
}
