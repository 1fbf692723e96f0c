//! The command line. Every flag can also be given as an environment variable.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::FalseyValueParser;
use clap::{Args, Parser, Subcommand, ValueEnum};
use nodeset::registry::{LEASE_MAX, LEASE_MIN, PEERS_MAX};
use nodeset::{INVITE_LIFE_MAX, INVITE_USES_MAX};

/// A small registry of live peers: who is there and where. No message ever passes through it.
#[derive(Debug, Parser)]
#[command(name = "nodesetd", version, args_conflicts_with_subcommands = true)]
#[command(
    after_help = "Exit codes: 0 done, also after SIGTERM or SIGINT; 1 failed (port in use); \
                        2 usage; 3 no answer; 4 refused (no proof, a bad invite), or nobody to evict."
)]
pub(crate) struct Flags {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) serve: ServeFlags,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the registry (what happens without a subcommand, too).
    Serve(ServeFlags),
    /// Print who is there.
    List(ListFlags),
    /// Ask a registry how it is.
    Health(HealthFlags),
    /// Throw a peer out: its lease ends now, its process key and its profile are refused, and every
    /// member is told, so that links to it are cut within one lease.
    ///
    /// Its profile is refused until `evict --undo`. Only for the user who runs the registry.
    Evict(EvictFlags),
    /// Print a string by which somebody else can join: another user, or another machine.
    ///
    /// It is a secret until it is used up; it is printed alone on standard output. Only for the
    /// user who runs the registry.
    Invite(InviteFlags),
    /// Print a completion script for a shell.
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
    /// Print the manual page.
    Man,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct ServeFlags {
    /// Address to listen on; may be repeated. Off loopback others can come, if they have an invite.
    #[arg(short, long, value_name = "ADDR", env = "NODESETD_LISTEN")]
    #[arg(value_delimiter = ',', default_value = "127.0.0.1:7420", value_parser = address)]
    pub(crate) listen: Vec<SocketAddr>,
    /// How long a lease lasts without renewal.
    #[arg(long, value_name = "DUR", env = "NODESETD_LEASE", default_value = "6s")]
    #[arg(value_parser = lease)]
    pub(crate) lease: Duration,
    /// Most live peers.
    #[arg(long, value_name = "N", env = "NODESETD_MAX_PEERS", default_value = "256")]
    #[arg(value_parser = max_peers)]
    pub(crate) max_peers: usize,
    /// How long the certificates of members live. They are renewed at half of it.
    #[arg(long, value_name = "DUR", env = "NODESETD_CERTIFICATE_LIFE", default_value = "24h")]
    #[arg(value_parser = humantime::parse_duration)]
    pub(crate) certificate_life: Duration,
    /// Keep everything in this directory: the certificate authority, invites and evictions, and the
    /// leases, so that a restarted registry knows everyone at once. Without it leases are kept
    /// nowhere (a restarted registry is complete again within one lease), and the rest in
    /// `$XDG_STATE_HOME/nodeset/authority`.
    #[arg(long, value_name = "DIR", env = "NODESETD_STATE_DIR")]
    pub(crate) state_dir: Option<PathBuf>,
    /// Keep nothing, even if a state directory is named. After a restart whoever came by an invite
    /// needs another one.
    #[arg(long, env = "NODESETD_EPHEMERAL", value_parser = FalseyValueParser::new())]
    pub(crate) ephemeral: bool,
    /// Serve /healthz and /metrics (Prometheus) on this address.
    #[arg(long, value_name = "ADDR", env = "NODESETD_HTTP", value_parser = address)]
    pub(crate) http: Option<SocketAddr>,
    /// Log more; twice: still more.
    #[arg(short, long, action = clap::ArgAction::Count, env = "NODESETD_VERBOSE")]
    pub(crate) verbose: u8,
    /// Log warnings only; twice: errors only.
    #[arg(short, long, action = clap::ArgAction::Count, env = "NODESETD_QUIET")]
    pub(crate) quiet: u8,
    /// What a line of the log looks like.
    #[arg(long, value_name = "FORMAT", env = "NODESETD_LOG_FORMAT", default_value = "text")]
    pub(crate) log_format: LogFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people: the bare line.
    Text,
    /// One JSON object a line, with time and level.
    Json,
}

#[derive(Debug, Args)]
pub(crate) struct RegistryFlags {
    /// The registry to ask [default: the invite's, or 127.0.0.1:7420].
    #[arg(short, long, value_name = "ADDR", env = "NODESETD_REGISTRY")]
    pub(crate) registry: Option<String>,
    /// How to get in where the registry is another user's. Needed once: what it gives is kept.
    #[arg(long, value_name = "INVITE", env = "NODESETD_INVITE", hide_env_values = true)]
    pub(crate) invite: Option<String>,
    /// How long to wait for its answer.
    #[arg(long, value_name = "DUR", env = "NODESETD_TIMEOUT", default_value = "5s")]
    #[arg(value_parser = humantime::parse_duration)]
    pub(crate) timeout: Duration,
}

#[derive(Debug, Args)]
pub(crate) struct ListFlags {
    #[command(flatten)]
    pub(crate) at: RegistryFlags,
    /// One JSON object a line.
    #[arg(long, env = "NODESETD_JSON", value_parser = FalseyValueParser::new())]
    pub(crate) json: bool,
    /// Go on and print every change, with one more column (JSON: `change`) that says what it is:
    /// join, update, leave, expire, evict, or gone where the registry does not say why.
    #[arg(long, env = "NODESETD_WATCH", value_parser = FalseyValueParser::new())]
    pub(crate) watch: bool,
}

#[derive(Debug, Args)]
pub(crate) struct HealthFlags {
    #[command(flatten)]
    pub(crate) at: RegistryFlags,
    /// One JSON object.
    #[arg(long, env = "NODESETD_JSON", value_parser = FalseyValueParser::new())]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct EvictFlags {
    /// Whom: nick#8hex as `list` prints it, a nick that only one live peer has, or the fingerprint
    /// of a profile.
    pub(crate) peer: String,
    /// Let an evicted profile ask again, named by its fingerprint or by the name that it had.
    #[arg(long)]
    pub(crate) undo: bool,
    #[command(flatten)]
    pub(crate) at: RegistryFlags,
}

#[derive(Debug, Args)]
pub(crate) struct InviteFlags {
    /// How many may come by it.
    #[arg(long, value_name = "N", default_value = "1")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=i64::from(INVITE_USES_MAX)))]
    pub(crate) uses: u32,
    /// For how long it is good; at most 30 days.
    #[arg(long = "for", value_name = "DUR", default_value = "15m", value_parser = invite_life)]
    pub(crate) life: Duration,
    /// The address in the invite, as HOST:PORT, where others reach the registry [default: where it
    /// listens].
    #[arg(long, value_name = "ADDR", env = "NODESETD_ADVERTISE")]
    pub(crate) advertise: Option<String>,
    /// Print every invite instead: id, used and possible uses, until when or why it is over, who
    /// came by it. Tab-separated.
    #[arg(long, conflicts_with_all = ["uses", "life", "advertise", "revoke"])]
    pub(crate) list: bool,
    /// Revoke the invite of this id, or all, and evict who came by it.
    #[arg(long, value_name = "ID|all", conflicts_with_all = ["uses", "life", "advertise"])]
    pub(crate) revoke: Option<String>,
    #[command(flatten)]
    pub(crate) at: RegistryFlags,
}

fn invite_life(text: &str) -> Result<Duration, String> {
    let life = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    let allowed = (Duration::from_secs(1)..=INVITE_LIFE_MAX).contains(&life);
    allowed.then_some(life).ok_or_else(|| "from 1s to 30 days".into())
}

fn address(text: &str) -> Result<SocketAddr, String> {
    let mut found = text.to_socket_addrs().map_err(|error| format!("{error} (HOST:PORT)"))?;
    found.next().ok_or_else(|| "the name has no address".into())
}

fn lease(text: &str) -> Result<Duration, String> {
    let lease = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    let allowed = (LEASE_MIN..=LEASE_MAX).contains(&lease);
    allowed
        .then_some(lease)
        .ok_or_else(|| format!("from {LEASE_MIN:?} to {LEASE_MAX:?}"))
}

fn max_peers(text: &str) -> Result<usize, String> {
    let allowed = 1..=PEERS_MAX;
    let peers = text.parse().ok().filter(|peers| allowed.contains(peers));
    peers.ok_or_else(|| format!("from 1 to {PEERS_MAX}"))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Flags::command().debug_assert();
    }
}
