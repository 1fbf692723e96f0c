//! Memory a member: a fresh process opens a mesh of ours, and looks at how much it has grown.

use std::process::Command;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::contestant::{Contestant, Kind};
use crate::report::Flags;
use crate::road::Road;
use crate::round::{Load, round};

/// Payload of the load.
const PAYLOAD: usize = 64;
/// How long the load lasts: until logs are as full as they get.
const LOAD: Duration = Duration::from_secs(3);

/// What a member takes, links to all others included.
#[derive(Serialize, Deserialize, Clone, Copy, Debug)]
pub(crate) struct Memory {
    members: usize,
    /// Joined and quiet.
    idle_kib_per_member: f64,
    /// After a while of all sending small messages, logs full; absent if they did not all arrive.
    loaded_kib_per_member: Option<f64>,
}

/// One process for each number of members.
pub(crate) fn measure_all(flags: &Flags) -> (Vec<Memory>, Result<(), String>) {
    let sizes: &[usize] = match (flags.is_smoke(), flags.quick) {
        (true, _) => &[],
        (_, true) => &[8],
        _ => &[3, 8, 16, 32, 64],
    };
    let mut all = Vec::new();
    if !sizes.is_empty() {
        println!(
            "\nmemory a member, KiB       joined     after {} s of all sending {PAYLOAD} B",
            LOAD.as_secs()
        );
    }
    for members in sizes {
        let memory = match in_fresh_process(*members) {
            Ok(memory) => memory,
            Err(error) => return (all, Err(format!("{members} members: {error}"))),
        };
        println!(
            "{members:>3} members        {:>15.0} {:>10.0}",
            memory.idle_kib_per_member,
            memory.loaded_kib_per_member.unwrap_or(f64::NAN)
        );
        all.push(memory);
    }
    (all, Ok(()))
}

fn in_fresh_process(members: usize) -> Result<Memory, String> {
    let exe = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut command = Command::new(exe);
    let output = command.args(["--bench", "--memory-of", &members.to_string()]).output();
    let output = output.map_err(|error| error.to_string())?;
    serde_json::from_slice(&output.stdout).map_err(|_| String::from_utf8_lossy(&output.stderr).into_owned())
}

/// In this process, which has done nothing else; prints JSON.
pub(crate) async fn measure(members: usize) -> Result<(), String> {
    let before = resident_kib()?;
    let contestant = Contestant::open(Kind::Ours, members, PAYLOAD, Road::Short).await?;
    let grown = |now: f64| (now - before) / members as f64;
    let idle_kib_per_member = grown(resident_kib()?);
    let loaded = round(&contestant, Load::Full { senders: members }, LOAD).await;
    let resident = resident_kib()?;
    let memory = Memory {
        members,
        idle_kib_per_member,
        loaded_kib_per_member: loaded.is_ok().then(|| grown(resident)),
    };
    println!("{}", serde_json::to_string(&memory).expect("plain data"));
    Ok(())
}

fn resident_kib() -> Result<f64, String> {
    let status = std::fs::read_to_string("/proc/self/status").map_err(|error| error.to_string())?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    number.ok_or_else(|| "no VmRSS in /proc/self/status".to_owned())
}
