//! What holds for this run: every value with where it comes from. Flag goes before environment, environment before
//! file, file before default.

pub mod file;
mod named;
mod table;
mod words;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::ArgMatches;

use crate::app::text::Stamp;
use crate::cli::Flags;
use crate::exit::Exit;
use crate::history::store;
use crate::names;
use file::File;
use table::{Source, Table};
pub use words::duration;
use words::{address, check_color, check_ui, default_registry, format, one_of, registries, socket};

/// How long a leave waits: long enough for a retransmission or two, short enough for someone who waits for a shell.
pub const LINGER: Duration = Duration::from_secs(5);
/// How long a silent member counts: longer than a restart or a lid that is closed for a moment.
pub const GRACE: Duration = Duration::from_secs(60);

/// Messages of the history that are told at a join: a screenful.
const BACKLOG: &str = "20";

/// Text or JSON.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

/// Which registries are used.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Registries {
    /// These were named.
    Named(Vec<String>),
    /// None was named: this one, which any instance may serve.
    Default(String),
    /// Only peers were named.
    None,
}

/// What holds for this run.
#[derive(Clone, PartialEq, Debug)]
pub struct Settings {
    pub registries: Registries,
    pub peers: Vec<String>,
    pub nick: String,
    /// Whether the nick or the profile was chosen, not derived: then nobody is renamed.
    pub chosen: bool,
    pub profile: String,
    pub ephemeral: bool,
    /// Where the profile keeps its keys; none without a profile.
    pub keys: Option<PathBuf>,
    /// Where messages are kept; none: nowhere.
    pub store: Option<store::Place>,
    /// How much of each room is kept, and for how long.
    pub keep: store::Keep,
    /// Messages of the history that are told at a join, at most.
    pub backlog: usize,
    /// How to be let in by a registry of somebody else, once.
    pub invite: Option<String>,
    pub room: String,
    pub listen: SocketAddr,
    pub advertise: Option<SocketAddr>,
    pub output: Format,
    pub input: Format,
    pub stamp: Stamp,
    pub color: String,
    pub stay: bool,
    pub linger: Duration,
    pub grace: Duration,
    /// Faults on purpose can be asked for.
    pub chaos: bool,
    pub no_commands: bool,
    pub verbose: u8,
    pub quiet: bool,
    pub log_file: Option<PathBuf>,
    /// For `chat config`: name, value, source.
    pub rows: Vec<(&'static str, String, Source)>,
}

/// Decides everything; refuses with what to do.
pub fn settle(flags: Flags, matches: &ArgMatches) -> Result<Settings, Exit> {
    let (file, path) = match &flags.config {
        Some(path) => (File::read(path)?, path.clone()),
        None => match file::standard_path().filter(|path| path.exists()) {
            Some(path) => (File::read(&path)?, path),
            None => (File::default(), PathBuf::new()),
        },
    };
    let mut table = Table {
        matches: innermost(matches),
        path,
        rows: Vec::new(),
    };
    table.settle(flags, file).map_err(Exit::Usage)
}

/// Values of global flags stand in the matches of the subcommand, if there is one.
fn innermost(matches: &ArgMatches) -> &ArgMatches {
    matches.subcommand().map_or(matches, |(_, inner)| innermost(inner))
}

/// Size, age, and messages that are told.
type Bounds = (Option<String>, Option<String>, Option<u64>);

impl Table<'_> {
    fn settle(&mut self, flags: Flags, file: File) -> Result<Settings, String> {
        let peers = self.list("peer", flags.peer, file.peer, "");
        let standard = peers.is_empty().then(default_registry).unwrap_or_default();
        let registry = self.list("registry", flags.registry, file.registry, &standard);
        let registries = registries(registry, &peers)?;
        let peers: Vec<_> = peers.iter().map(|peer| address(peer, None)).collect::<Result<_, _>>()?;

        let user = names::nick_of_user(std::env::var("USER").ok().as_deref());
        let nick = self.text("nick", flags.nick, file.nick, &user);
        names::check_nick(&nick).map_err(|refusal| refusal.to_string())?;
        let profile = self.text("profile", flags.profile, file.profile, &nick);
        names::check_nick(&profile).map_err(|refusal| format!("as a profile: {refusal}"))?;
        let chosen = [0, 1]
            .iter()
            .any(|back| self.rows[self.rows.len() - 1 - back].2 != Source::Default);
        let ephemeral = self.switch("ephemeral", flags.ephemeral, file.ephemeral);
        let data = xdg("XDG_DATA_HOME", ".local/share").filter(|_| !ephemeral && !names::is_dots(&profile));
        let data = data.map(|data| data.join(&profile));
        let keys = data.as_ref().map(|data| data.join("keys"));
        let store = self.store(flags.store, file.store, data.filter(|_| !ephemeral), ephemeral);
        let history = (flags.history_size, flags.history_age, flags.backlog);
        let (keep, backlog) = self.history(history, (file.history_size, file.history_age, file.backlog))?;
        let invite = self.invite(flags.invite);

        let room = self.text("room", flags.room, file.room, "lobby");
        let room = room.strip_prefix('#').unwrap_or(&room).to_owned();
        names::check_room(&room).map_err(|refusal| refusal.to_string())?;
        let listen = self.text("listen", flags.listen, file.listen, "127.0.0.1:0");
        let listen = socket("listen", &listen)?;
        let advertise = self.text("advertise", flags.advertise, file.advertise, "");
        let advertise = match advertise.as_str() {
            "" => None,
            given => Some(socket("advertise", given)?),
        };

        let output = if flags.json {
            self.rows.push(("output", "json".to_owned(), Source::Flag));
            "json".to_owned()
        } else {
            self.text("output", flags.output, file.output, "text")
        };
        let input = self.text("input", flags.input, file.input, "text");
        let stamp = self.text("stamp", flags.stamp, file.stamp, "vector");
        let color = self.text("color", flags.color, file.color, "auto");
        check_color(&color)?;
        let ui = self.text("ui", flags.ui, file.ui, "auto");
        check_ui(&ui)?;

        Ok(Settings {
            registries,
            peers,
            nick,
            chosen,
            profile,
            ephemeral,
            keys,
            store,
            keep,
            backlog,
            invite,
            room,
            listen,
            advertise,
            output: format("output", &output)?,
            input: format("input", &input)?,
            stamp: stamp
                .parse()
                .map_err(|()| one_of("stamp", "vector, lamport, dense or none"))?,
            color,
            stay: self.switch("stay", flags.stay, file.stay),
            linger: self.duration("linger", flags.linger, file.linger, LINGER)?,
            grace: self.duration("grace", flags.grace, file.grace, GRACE)?,
            chaos: self.switch("chaos", flags.chaos, file.chaos),
            no_commands: self.switch("no_commands", flags.no_commands, file.no_commands),
            verbose: flags.verbose,
            quiet: flags.quiet,
            log_file: flags.log_file.or(file.log_file),
            rows: std::mem::take(&mut self.rows),
        })
    }

    /// How much of a room is kept, and how much of it is told at a join.
    fn history(&mut self, flags: Bounds, file: Bounds) -> Result<(store::Keep, usize), String> {
        let size = self.text("history_size", flags.0, file.0, store::KEEP);
        let age = self.text("history_age", flags.1, file.1, "");
        let keep = store::Keep::read(&size, &age)?;
        let number = |n: Option<u64>| n.map(|n| n.to_string());
        let backlog = self.text("backlog", number(flags.2), number(file.2), BACKLOG).parse();
        let backlog = backlog.unwrap_or(usize::MAX).min(store::BACKLOG_MAX);
        Ok((keep, backlog))
    }

    fn invite(&mut self, flag: Option<String>) -> Option<String> {
        let by_flag = self.source("invite", flag.is_some(), false) == Source::Flag;
        let invite = flag.filter(|invite| by_flag || !invite.is_empty());
        // The text itself is a secret.
        let shown = if invite.is_some() { "(given)" } else { "" };
        let source = self.source("invite", invite.is_some(), false);
        self.rows.push(("invite", shown.to_owned(), source));
        invite
    }

    /// Where messages are kept: what was named, or the profile's own file.
    fn store(
        &mut self,
        flag: Option<String>,
        file: Option<String>,
        profile: Option<PathBuf>,
        ephemeral: bool,
    ) -> Option<store::Place> {
        let source = self.source("store", flag.is_some(), file.is_some());
        let named = flag
            .or(file)
            .filter(|text| !text.is_empty())
            .map(|text| store::Place::of(&text));
        let standard = profile.map(|data| store::Place::File(data.join("history.db")));
        let store = named.or(standard).filter(|_| !ephemeral);
        let shown = store.as_ref().map(store::Place::shown).unwrap_or_default();
        self.rows.push(("store", shown, source));
        store
    }
}

/// A directory of this program under one of the XDG base directories: from `variable`, else under `$HOME`.
pub fn xdg(variable: &str, under_home: &str) -> Option<PathBuf> {
    let given = std::env::var_os(variable)
        .map(PathBuf::from)
        .filter(|path| path.is_absolute());
    let base = given.or_else(|| Some(Path::new(&std::env::var_os("HOME")?).join(under_home)))?;
    Some(base.join("nodeset"))
}
