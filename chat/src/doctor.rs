//! `chat doctor`: what a chat with these settings would need, whether it is there, and what to do where it is not.

use std::fs::{File, TryLockError};
use std::io::{self, IsTerminal};
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use nodeset::client::{self, AskError};
use tokio::net::{TcpListener, TcpStream, lookup_host};
use tokio::time::timeout;

use crate::app::clean;
use crate::app::command;
use crate::app::line::{Body, Notice};
use crate::control;
use crate::credentials::Credentials;
use crate::exit::Exit;
use crate::settings::{Format, Registries, Settings};
use crate::who;

/// How long a registry may take to answer, and a peer to take a connection.
const ANSWER: Duration = Duration::from_secs(3);
/// Most peers that are tried: as many as a group has members.
const PEERS_MAX: usize = 128;

/// What was found, in the order of looking.
#[derive(Default)]
struct Findings {
    lines: Vec<(Verdict, String)>,
    /// How the first thing that is not fine would end a chat.
    exit: Option<fn(String) -> Exit>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Fine,
    Bad,
}

impl Findings {
    fn fine(&mut self, text: impl Into<String>) {
        self.lines.push((Verdict::Fine, clean::line(&text.into())));
    }

    fn bad(&mut self, text: impl Into<String>, exit: fn(String) -> Exit) {
        self.lines.push((Verdict::Bad, clean::line(&text.into())));
        self.exit.get_or_insert(exit);
    }
}

/// Looks at everything and prints it.
pub async fn run(settings: &Settings) -> Exit {
    let mut findings = Findings::default();
    terminal(&mut findings);
    profile(settings, &mut findings);
    running(settings, &mut findings).await;
    addresses(settings, &mut findings).await;
    registries(settings, &mut findings).await;
    named_peers(settings, &mut findings).await;
    let bad = findings
        .lines
        .iter()
        .filter(|(verdict, _)| *verdict == Verdict::Bad)
        .count();
    print(settings, &findings.lines);
    match findings.exit {
        None => Exit::Clean,
        Some(exit) => exit(format!(
            "{bad} of {} checks found something to do",
            findings.lines.len()
        )),
    }
}

fn print(settings: &Settings, lines: &[(Verdict, String)]) {
    if settings.output == Format::Text {
        for (verdict, text) in lines {
            match verdict {
                Verdict::Fine => println!("fine  {text}"),
                Verdict::Bad => println!("BAD   {text}"),
            }
        }
        return;
    }
    let bodies = lines.iter().map(|(verdict, text)| match verdict {
        Verdict::Fine => Body::Notice(Notice { text: text.clone() }),
        Verdict::Bad => Body::Error(command::error("doctor", text.clone())),
    });
    who::print_json(settings, bodies.collect());
}

fn terminal(findings: &mut Findings) {
    if !(io::stdin().is_terminal() && io::stdout().is_terminal()) {
        return findings.fine("terminal: stdin or stdout is none, so a chat here reads and writes lines");
    }
    match std::env::var("TERM").as_deref() {
        Ok("dumb") | Err(_) => findings.fine("terminal: TERM is dumb or not set, so there is no prompt"),
        Ok(term) => findings.fine(format!("terminal: {term}")),
    }
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"]
        .iter()
        .find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
        .unwrap_or_default();
    let upper = locale.to_uppercase();
    if upper.contains("UTF-8") || upper.contains("UTF8") {
        findings.fine(format!("locale: {locale}"));
    } else {
        findings.fine(format!(
            "locale: {locale:?} does not say UTF-8; if names and texts look odd, set LANG=C.UTF-8"
        ));
    }
}

fn profile(settings: &Settings, findings: &mut Findings) {
    let name = &settings.profile;
    let Some(keys) = &settings.keys else {
        return findings.fine("profile: none (--ephemeral, or no home), so this chat is a stranger at every start");
    };
    let directory = keys.parent().unwrap_or(keys);
    let shown = directory.display();
    match std::fs::metadata(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return findings.fine(format!("profile {name}: {shown} is made at the first start"));
        }
        Err(error) => {
            let text = format!("profile {name}: {shown}: {error}; let yourself read it, or choose another --profile");
            return findings.bad(text, Exit::ProfileInUse);
        }
        Ok(found) if found.uid() != rustix::process::geteuid().as_raw() => {
            let text = format!(
                "profile {name}: {shown} belongs to another user; give it back with chown, or choose another --profile"
            );
            return findings.bad(text, Exit::ProfileInUse);
        }
        Ok(_) => {}
    }
    if std::fs::metadata(keys).is_ok_and(|found| found.mode() & 0o077 != 0) {
        let text = format!("profile {name}: others can read {}; chmod 700 it", keys.display());
        findings.bad(text, Exit::ProfileInUse);
    }
    match in_use(directory) {
        true => findings.fine(format!("profile {name}: {shown}, in use by a running chat")),
        false => findings.fine(format!("profile {name}: {shown}, free")),
    }
}

fn in_use(directory: &Path) -> bool {
    let lock = File::open(directory.join("lock"));
    lock.is_ok_and(|lock| matches!(lock.try_lock(), Err(TryLockError::WouldBlock)))
}

async fn running(settings: &Settings, findings: &mut Findings) {
    match control::path(&settings.profile, true) {
        Err(why) => findings.bad(format!("control socket: {why}"), Exit::Unexpected),
        Ok(path) => match control::client::anyone(settings).await {
            Some(_) => findings.fine(format!("control socket: a chat answers on {}", path.display())),
            None => findings.fine(format!(
                "control socket: {}, no chat of this profile and registry runs",
                path.display()
            )),
        },
    }
}

async fn addresses(settings: &Settings, findings: &mut Findings) {
    let listen = settings.listen;
    match TcpListener::bind(listen).await {
        Ok(_) => findings.fine(format!("listening: {listen} is free")),
        Err(error) => {
            let text =
                format!("listening: {listen}: {error}; choose another --listen, with port 0 for any that is free");
            findings.bad(text, Exit::Unexpected);
        }
    }
    match settings.advertise {
        None if listen.ip().is_unspecified() => findings.bad(
            format!(
                "listening: nobody can dial {}; name this machine's address with --advertise",
                listen.ip()
            ),
            Exit::Usage,
        ),
        None if listen.ip().is_loopback() => findings.fine("listening: on loopback, so for this machine only"),
        _ => {}
    }
}

async fn registries(settings: &Settings, findings: &mut Findings) {
    let credentials = match Credentials::open(settings) {
        Ok(credentials) => credentials,
        Err(exit) => {
            let why = exit.words().unwrap_or_default();
            return findings.bad(
                format!("credentials: {}", why.trim_start_matches("chat: ")),
                Exit::ProfileInUse,
            );
        }
    };
    let (names, is_default) = match credentials.registries(settings) {
        Registries::Named(names) => (names, false),
        Registries::Default(name) => (vec![name], true),
        Registries::None => return,
    };
    // Whether it is let in shows below.
    let _ = credentials.introduce(&settings.nick, ANSWER).await;
    let mut peers = Vec::new();
    for name in &names {
        match client::list(name, &credentials.proofs, ANSWER).await {
            Ok(entries) => {
                findings.fine(format!("registry {name}: {} registered", count(entries.len())));
                peers.extend(entries.iter().map(|entry| (entry.peer.label(), entry.peer.addr())));
            }
            Err(trouble) => unanswered(name, is_default, &trouble, findings),
        }
    }
    for (label, addr) in peers.into_iter().take(PEERS_MAX) {
        reach(&label, addr, findings).await;
    }
}

fn unanswered(name: &str, is_default: bool, trouble: &AskError, findings: &mut Findings) {
    if trouble.is_refusal() {
        let text = format!(
            "registry {name}: {trouble}. Ask whoever runs it for `nodesetd invite`, and start once with --invite"
        );
        findings.bad(text, Exit::Refused);
    } else if is_default {
        findings.fine(format!("registry {name}: nobody serves one; the next chat does"));
    } else {
        let text = format!("registry {name}: {trouble}. Start it with `nodesetd --listen {name}`, or name another");
        findings.bad(text, Exit::Alone);
    }
}

async fn named_peers(settings: &Settings, findings: &mut Findings) {
    for peer in &settings.peers {
        match lookup_host(peer.as_str()).await.map(|mut found| found.next()) {
            Ok(Some(addr)) => reach("", addr, findings).await,
            _ => findings.bad(format!("peer {peer} does not resolve; name it HOST:PORT"), Exit::Alone),
        }
    }
}

/// Only that somebody listens there: who it is shows at the join.
async fn reach(label: &str, addr: SocketAddr, findings: &mut Findings) {
    let shown = format!("peer {label} {addr}").replace("  ", " ");
    match timeout(ANSWER, TcpStream::connect(addr)).await {
        Ok(Ok(_)) => findings.fine(format!("{shown}: can be dialled")),
        _ => findings.bad(
            format!("{shown}: cannot be dialled; a firewall, or it ended a moment ago: look again in 10 s"),
            Exit::Alone,
        ),
    }
}

fn count(peers: usize) -> String {
    match peers {
        1 => "1 peer".to_owned(),
        n => format!("{n} peers"),
    }
}
