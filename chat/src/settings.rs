//! What holds for this run: every value with where it comes from. Flag goes before environment, environment before
//! file, file before default.

pub mod file;
mod named;

use std::net::{Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::ArgMatches;
use clap::parser::ValueSource;

use crate::app::clean;
use crate::app::text::Stamp;
use crate::cli::Flags;
use crate::exit::Exit;
use crate::history::store;
use crate::names;
use file::File;

/// Where a registry is looked for, and served if nobody does, when none is named. The port of INTERFACE.
const DEFAULT_REGISTRY: &str = "127.0.0.1:7420";
/// Moves the default registry, so that tests of a chat without arguments do not meet each other.
const DEFAULT_REGISTRY_ENV: &str = "CHAT_DEFAULT_REGISTRY";
/// The port of a registry that was named without one.
const REGISTRY_PORT: u16 = 7420;
/// How long a leave waits: long enough for a retransmission or two, short enough for someone who waits for a shell.
pub const LINGER: Duration = Duration::from_secs(5);
/// How long a silent member counts: longer than a restart or a lid that is closed for a moment.
pub const GRACE: Duration = Duration::from_secs(60);

/// Messages of the history that are told at a join: a screenful.
const BACKLOG: &str = "20";

/// Longest time that can be asked for: what is added to the clock must not overflow it.
const DURATION_MAX: Duration = Duration::from_secs(366 * 24 * 3600);

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
    pub no_commands: bool,
    pub verbose: u8,
    pub quiet: bool,
    pub log_file: Option<PathBuf>,
    /// For `chat config`: name, value, source.
    pub rows: Vec<(&'static str, String, Source)>,
}

/// Where a value comes from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Source {
    Flag,
    Environment,
    File(PathBuf),
    Default,
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Flag => f.write_str("flag"),
            Self::Environment => f.write_str("environment"),
            Self::File(path) => write!(f, "file {}", clean::line(&path.display().to_string())),
            Self::Default => f.write_str("default"),
        }
    }
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

struct Table<'a> {
    matches: &'a ArgMatches,
    path: PathBuf,
    rows: Vec<(&'static str, String, Source)>,
}

impl Table<'_> {
    fn settle(&mut self, flags: Flags, file: File) -> Result<Settings, String> {
        let peers = self.list("peer", flags.peer, file.peer, "");
        let standard = if peers.is_empty() {
            default_registry()
        } else {
            String::new()
        };
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
        let size = self.text("history_size", flags.history_size, file.history_size, store::KEEP);
        let age = self.text("history_age", flags.history_age, file.history_age, "");
        let keep = store::Keep::read(&size, &age)?;
        let backlog = (
            flags.backlog.map(|n| n.to_string()),
            file.backlog.map(|n| n.to_string()),
        );
        let backlog = self.text("backlog", backlog.0, backlog.1, BACKLOG).parse();
        let backlog = backlog.unwrap_or(usize::MAX).min(store::BACKLOG_MAX);
        let by_flag = self.source("invite", flags.invite.is_some(), false) == Source::Flag;
        let invite = flags.invite.filter(|invite| by_flag || !invite.is_empty());
        // The text itself is a secret.
        let shown = if invite.is_some() { "(given)" } else { "" };
        let source = self.source("invite", invite.is_some(), false);
        self.rows.push(("invite", shown.to_owned(), source));

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
        if !["auto", "always", "never"].contains(&color.as_str()) {
            return Err(one_of("color", "auto, always or never"));
        }
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
            no_commands: self.switch("no_commands", flags.no_commands, file.no_commands),
            verbose: flags.verbose,
            quiet: flags.quiet,
            log_file: flags.log_file.or(file.log_file),
            rows: std::mem::take(&mut self.rows),
        })
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

    fn text(&mut self, name: &'static str, flag: Option<String>, file: Option<String>, default: &str) -> String {
        let source = self.source(name, flag.is_some(), file.is_some());
        let value = flag.or(file).unwrap_or_else(|| default.to_owned());
        self.rows.push((name, value.clone(), source));
        value
    }

    /// The default is only shown: what it means is decided by whoever asks.
    fn list(&mut self, name: &'static str, flag: Vec<String>, file: Option<Vec<String>>, default: &str) -> Vec<String> {
        let source = self.source(name, !flag.is_empty(), file.is_some());
        let value = if flag.is_empty() {
            file.unwrap_or_default()
        } else {
            flag
        };
        let shown = if source == Source::Default {
            default.to_owned()
        } else {
            value.join(",")
        };
        self.rows.push((name, shown, source));
        value
    }

    fn switch(&mut self, name: &'static str, flag: bool, file: Option<bool>) -> bool {
        let source = self.source(name, flag, file.is_some());
        let value = flag || file.unwrap_or(false);
        self.rows.push((name, value.to_string(), source));
        value
    }

    fn duration(
        &mut self,
        name: &'static str,
        flag: Option<String>,
        file: Option<String>,
        default: Duration,
    ) -> Result<Duration, String> {
        let text = self.text(name, flag, file, &format!("{}s", default.as_secs()));
        duration(name, &text)
    }

    fn source(&self, name: &str, flag: bool, file: bool) -> Source {
        let from_environment = || matches!(self.matches.value_source(name), Some(ValueSource::EnvVariable));
        match (flag, file) {
            (true, _) if from_environment() => Source::Environment,
            (true, _) => Source::Flag,
            (false, true) => Source::File(self.path.clone()),
            (false, false) => Source::Default,
        }
    }
}

/// A length of time as people write it: `5s`, `250ms`, `1m 30s`.
pub fn duration(name: &str, text: &str) -> Result<Duration, String> {
    text.parse::<jiff::SignedDuration>()
        .ok()
        .and_then(|duration| Duration::try_from(duration).ok())
        .filter(|duration| *duration <= DURATION_MAX)
        .ok_or_else(|| format!("--{name} is a length of time like 5s, 250ms or 1m, a year at most"))
}

fn registries(named: Vec<String>, peers: &[String]) -> Result<Registries, String> {
    let named: Vec<_> = named.into_iter().filter(|registry| !registry.is_empty()).collect();
    if !named.is_empty() {
        let with_ports = named.iter().map(|registry| address(registry, Some(REGISTRY_PORT)));
        return Ok(Registries::Named(with_ports.collect::<Result<_, _>>()?));
    }
    if !peers.is_empty() {
        return Ok(Registries::None);
    }
    Ok(Registries::Default(default_registry()))
}

fn default_registry() -> String {
    std::env::var(DEFAULT_REGISTRY_ENV).unwrap_or_else(|_| DEFAULT_REGISTRY.to_owned())
}

/// `host:port` of something to dial. Whether the name resolves is found out when it is dialled.
fn address(text: &str, port: Option<u16>) -> Result<String, String> {
    let shown = clean::line(text);
    if text.is_empty() || text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(format!("an address is HOST:PORT, not {shown:?}"));
    }
    let bracketed = text.starts_with('[') && text.ends_with(']');
    match (text.rsplit_once(':'), port) {
        (Some((host, number)), _) if !bracketed && !host.is_empty() && number.parse::<u16>().is_ok() => {
            Ok(text.to_owned())
        }
        (None, Some(port)) => Ok(format!("{text}:{port}")),
        (Some(_), Some(port)) if bracketed => Ok(format!("{text}:{port}")),
        _ => Err(format!(
            "an address is HOST:PORT with a port up to 65535, not {shown:?}"
        )),
    }
}

/// An address of this machine, which must resolve now.
fn socket(name: &str, text: &str) -> Result<SocketAddr, String> {
    if let Ok(port) = text.trim_start_matches(':').parse::<u16>() {
        return Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    }
    let shown = clean::line(text);
    text.to_socket_addrs()
        .ok()
        .and_then(|mut addrs| addrs.next())
        .ok_or_else(|| format!("--{name} is IP:PORT like 127.0.0.1:0, not {shown:?}"))
}

fn format(name: &str, text: &str) -> Result<Format, String> {
    match text {
        "text" => Ok(Format::Text),
        "json" => Ok(Format::Json),
        _ => Err(one_of(name, "text or json")),
    }
}

fn check_ui(ui: &str) -> Result<(), String> {
    match ui {
        "auto" | "line" => Ok(()),
        "tui" => Err("this version has no full screen yet; use --ui line, which can do everything".to_owned()),
        _ => Err(one_of("ui", "auto or line")),
    }
}

fn one_of(name: &str, values: &str) -> String {
    format!("{name} is {values}")
}

/// A directory of this program under one of the XDG base directories: from `variable`, else under `$HOME`.
pub fn xdg(variable: &str, under_home: &str) -> Option<PathBuf> {
    let given = std::env::var_os(variable)
        .map(PathBuf::from)
        .filter(|path| path.is_absolute());
    let base = given.or_else(|| Some(Path::new(&std::env::var_os("HOME")?).join(under_home)))?;
    Some(base.join("nodeset"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_a_port() {
        assert_eq!(address("host:1", None).unwrap(), "host:1");
        assert_eq!(address("[::1]:1", None).unwrap(), "[::1]:1");
        assert_eq!(address("host", Some(7420)).unwrap(), "host:7420");
        assert_eq!(address("[::1]", Some(7420)).unwrap(), "[::1]:7420");
        for odd in ["", "host", "host:", "host:99999", ":1", "a b:1", "a\u{1b}:1"] {
            let refusal = address(odd, None).unwrap_err();
            assert!(refusal.chars().all(|c| !c.is_control()), "{refusal:?}");
        }
    }

    #[test]
    fn lengths_of_time_are_written_with_units() {
        assert_eq!(duration("linger", "250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("linger", "0s"), Ok(Duration::ZERO));
        assert_eq!(duration("linger", "1m30s"), Ok(Duration::from_secs(90)));
        for odd in ["5", "", "-5s", "soon", "9000000h"] {
            let refusal = duration("linger", odd).unwrap_err();
            assert_eq!(
                refusal,
                "--linger is a length of time like 5s, 250ms or 1m, a year at most"
            );
        }
    }

    #[test]
    fn peers_alone_need_no_registry() {
        assert_eq!(registries(vec![], &["a:1".into()]), Ok(Registries::None));
        assert_eq!(
            registries(vec!["a".into()], &["a:1".into()]),
            Ok(Registries::Named(vec!["a:7420".into()]))
        );
        assert!(matches!(registries(vec![], &[]), Ok(Registries::Default(_))));
    }
}
