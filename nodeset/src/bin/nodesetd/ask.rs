//! `nodesetd list`, `health` and `evict`.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, SystemTime};

use nodeset::client::{self, AskError, Proofs, Watch};
use nodeset::protocol::{Change, Entry, News, Refusal, Why};
use nodeset::{Credential, Invite, NICK_MAX_CHARS, Peer, PeerId, ProfileKey, local, printable};
use serde_json::json;

use crate::Failure;
use crate::flags::{EvictFlags, HealthFlags, ListFlags, RegistryFlags};

/// How long one long poll waits. The registry's own limit is a little above.
const WATCH_WAIT: Duration = Duration::from_secs(20);
/// How long to wait before a lost registry is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// The registry that is asked unless another is named.
const DEFAULT: &str = "127.0.0.1:7420";

/// Whom to ask, and by what right.
pub(crate) struct At {
    pub(crate) registry: String,
    pub(crate) proofs: Proofs,
    pub(crate) limit: Duration,
}

impl At {
    /// With an invite: uses it, and keeps what it gives for the next time.
    pub(crate) async fn new(flags: &RegistryFlags) -> Result<Self, Failure> {
        let usage = |error: String| Failure::Refused(error);
        let invite = flags.invite.as_deref().map(str::parse::<Invite>).transpose();
        let invite = invite.map_err(|error| usage(error.to_string()))?;
        let named = flags.registry.clone();
        let registry = named.or_else(|| Some(invite.as_ref()?.addr().to_owned()));
        let mut at = Self {
            registry: registry.unwrap_or_else(|| DEFAULT.to_owned()),
            proofs: Proofs::local(),
            limit: flags.timeout,
        };
        let failed = |error: &dyn std::fmt::Display| Failure::Failed(error.to_string());
        let Some(home) = local::state_home() else { return Ok(at) };
        let dir = home.join("credentials");
        let kept = Credential::load_all(&dir).map_err(|error| failed(&error))?;
        if kept.is_empty() && invite.is_none() {
            return Ok(at);
        }
        let profile = ProfileKey::open(&home.join("profile.key")).map_err(|error| failed(&error))?;
        at.proofs = at.proofs.with_profile(profile.into()).with_credentials(kept);
        if let Some(invite) = invite {
            at.proofs = at.proofs.with_invite(invite).map_err(|error| failed(&error))?;
            let name = std::env::var("USER").unwrap_or_default();
            let letters = name.chars().filter(|c| c.is_alphanumeric() || "_-.".contains(*c));
            let mut name: String = letters.take(NICK_MAX_CHARS).collect();
            if name.is_empty() {
                name.push_str("nodesetd");
            }
            let credential = client::introduce(&at.registry, &name, &at.proofs, at.limit).await?;
            credential.store(&dir).map_err(|error| failed(&error))?;
        }
        Ok(at)
    }
}

pub(crate) async fn list(flags: ListFlags) -> Result<(), Failure> {
    let at = At::new(&flags.at).await?;
    let entries = client::list(&at.registry, &at.proofs, at.limit).await?;
    let rows: Vec<_> = entries.iter().map(Row::new).collect();
    let mut out = io::stdout().lock();
    if flags.json {
        for row in &rows {
            writeln!(out, "{}", row.json())?;
        }
    } else if out.is_terminal() {
        out.write_all(table(&rows).as_bytes())?;
    } else {
        for row in &rows {
            writeln!(out, "{}", row.cells().join("\t"))?;
        }
    }
    Ok(out.flush()?)
}

/// Prints the list and then every change, for as long as somebody reads it. Only a registry that
/// never answered is an error; one that is lost is waited for.
pub(crate) async fn watch(flags: ListFlags) -> Result<(), Failure> {
    let at = At::new(&flags.at).await?;
    let mut watch = Watch::new(&at.registry, at.proofs);
    let first = tokio::time::timeout(at.limit, watch.next(WATCH_WAIT)).await;
    let late = |_| AskError::NoAnswer {
        registry: at.registry.clone(),
        waited: at.limit,
    };
    let mut news = Some(first.map_err(late).and_then(|news| news)?);
    let mut known = Known {
        rows: BTreeMap::new(),
        json: flags.json,
    };
    let mut lost = false;
    loop {
        if let Some(news) = news {
            lost = false;
            known.hear(news)?;
        }
        news = match watch.next(WATCH_WAIT).await {
            Ok(news) => Some(news),
            Err(error) => {
                if !std::mem::replace(&mut lost, true) {
                    drop(writeln!(io::stderr(), "nodesetd: {error}; trying again"));
                }
                tokio::time::sleep(RETRY).await;
                None
            }
        };
    }
}

pub(crate) async fn health(flags: HealthFlags) -> Result<(), Failure> {
    let at = At::new(&flags.at).await?;
    let Some(health) = client::health(&at.registry, &at.proofs, at.limit).await? else {
        // It knows us not, and tells no more.
        let line = if flags.json { "{}" } else { "ok" };
        return Ok(writeln!(io::stdout(), "{line}")?);
    };
    let lease = Duration::from_millis(health.lease_ms.into());
    let up = Duration::from_millis(health.up_ms);
    let line = if flags.json {
        json!({
            "live": health.live,
            "max_peers": health.max_peers,
            "lease_seconds": lease.as_secs_f64(),
            "up_seconds": up.as_secs_f64(),
            "revision": health.at.revision,
        })
        .to_string()
    } else {
        let (lease, up) = (humantime::format_duration(lease), whole_seconds(up));
        let (live, most) = (health.live, health.max_peers);
        format!("ok: {live} of at most {most} peers live, lease {lease}, up {up}")
    };
    Ok(writeln!(io::stdout(), "{line}")?)
}

pub(crate) async fn evict(flags: EvictFlags) -> Result<(), Failure> {
    let at = At::new(&flags.at).await?;
    let nobody = |error| match error {
        AskError::Refused(refusal @ (Refusal::Nobody | Refusal::Ambiguous { .. })) => {
            Failure::Refused(format!("{}: {refusal}", printable(&flags.peer)))
        }
        other => other.into(),
    };
    if flags.undo {
        let pardoned = client::pardon(&at.registry, &at.proofs, &flags.peer, at.limit).await;
        let profiles = pardoned.map_err(nobody)?.join(" ");
        return Ok(writeln!(io::stdout(), "profile {profiles} may ask again")?);
    }
    let evicted = client::evict(&at.registry, &at.proofs, &flags.peer, at.limit).await;
    let evicted = evicted.map_err(nobody)?;
    let labels: Vec<_> = evicted.peers.iter().map(|peer| printable(&peer.label())).collect();
    let who = match labels.is_empty() {
        true => printable(&flags.peer),
        false => labels.join(" "),
    };
    let profiles = evicted.profiles.join(" ");
    let profiles = match evicted.profiles.is_empty() {
        true => "it has no profile".to_owned(),
        false => format!("its profile {profiles} is refused until `nodesetd evict --undo {profiles}`"),
    };
    Ok(writeln!(io::stdout(), "evicted {who}; {profiles}")?)
}

/// One peer as it is printed.
#[derive(Clone, Debug)]
struct Row {
    peer: Peer,
    since: SystemTime,
    left: Duration,
}

impl Row {
    fn new(entry: &Entry) -> Self {
        let now = SystemTime::now();
        let since = now.checked_sub(Duration::from_millis(entry.age_ms)).unwrap_or(now);
        let left = Duration::from_millis(entry.left_ms.into());
        Self {
            peer: entry.peer.clone(),
            since,
            left,
        }
    }

    fn since(&self) -> String {
        humantime::format_rfc3339_millis(self.since).to_string()
    }

    fn cells(&self) -> [String; 6] {
        [
            printable(&self.peer.label()),
            printable(self.peer.nick()),
            self.peer.addr().to_string(),
            printable(&self.peer.rooms().join(",")),
            self.since(),
            format!("{:.3}", self.left.as_secs_f64()),
        ]
    }

    fn json(&self) -> serde_json::Value {
        json!({
            "id": printable(&self.peer.label()),
            "nick": printable(self.peer.nick()),
            "addr": self.peer.addr().to_string(),
            "rooms": self.peer.rooms().iter().map(|room| printable(room)).collect::<Vec<_>>(),
            "since": self.since(),
            "seconds_left": self.left.as_secs_f64(),
        })
    }
}

/// For a terminal: a heading, columns as wide as they need to be.
fn table(rows: &[Row]) -> String {
    let heading = ["PEER", "ADDRESS", "ROOMS", "SINCE", "LEFT"].map(String::from);
    let lines = rows.iter().map(|row| {
        let [peer, _, addr, rooms, since, _] = row.cells();
        [peer, addr, rooms, since, format!("{:.1}s", row.left.as_secs_f64())]
    });
    let lines: Vec<_> = std::iter::once(heading).chain(lines).collect();
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max();
    let widths: Vec<_> = (0..5).map(|column| width(column).unwrap_or(0)).collect();
    let mut table = String::new();
    for line in &lines {
        let cells = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        let line = cells.collect::<Vec<_>>().join("  ");
        table.push_str(line.trim_end());
        table.push('\n');
    }
    table
}

/// Who was printed as live, to tell a join from an update and to say who is gone.
struct Known {
    rows: BTreeMap<PeerId, Row>,
    json: bool,
}

impl Known {
    fn hear(&mut self, news: News) -> Result<(), Failure> {
        match news {
            News::Resync { entries, .. } => {
                let listed: BTreeMap<_, _> = entries.iter().map(|e| (e.peer.id(), e)).collect();
                let gone = self.rows.keys().filter(|id| !listed.contains_key(id));
                for id in gone.copied().collect::<Vec<_>>() {
                    self.gone(id, "gone")?;
                }
                for entry in listed.into_values() {
                    let same = |row: &Row| row.peer == entry.peer;
                    if !self.rows.get(&entry.peer.id()).is_some_and(same) {
                        self.live(entry)?;
                    }
                }
            }
            News::Changes { changes, .. } => {
                for change in changes {
                    match change {
                        Change::Live(entry) => self.live(&entry)?,
                        Change::Gone { peer, why: Why::Left } => self.gone(peer.id(), "leave")?,
                        Change::Gone {
                            peer,
                            why: Why::Expired,
                        } => self.gone(peer.id(), "expire")?,
                        Change::Gone {
                            peer,
                            why: Why::Evicted,
                        } => self.gone(peer.id(), "evict")?,
                        Change::Evicted { .. } => {} // of a live one its end was printed
                    }
                }
            }
        }
        Ok(())
    }

    fn live(&mut self, entry: &Entry) -> Result<(), Failure> {
        let row = Row::new(entry);
        let before = self.rows.insert(entry.peer.id(), row.clone());
        self.print(if before.is_none() { "join" } else { "update" }, &row)
    }

    fn gone(&mut self, id: PeerId, why: &str) -> Result<(), Failure> {
        match self.rows.remove(&id) {
            Some(row) => self.print(
                why,
                &Row {
                    left: Duration::ZERO,
                    ..row
                },
            ),
            None => Ok(()),
        }
    }

    fn print(&self, change: &str, row: &Row) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        if self.json {
            let mut object = row.json();
            object["change"] = change.into();
            writeln!(out, "{object}")?;
        } else {
            writeln!(out, "{change}\t{}", row.cells().join("\t"))?;
        }
        Ok(out.flush()?)
    }
}

fn whole_seconds(duration: Duration) -> humantime::FormattedDuration {
    humantime::format_duration(Duration::from_secs(duration.as_secs()))
}
