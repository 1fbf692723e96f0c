//! Hosts in network namespaces, on a switch that can be cut in two. Nothing of it touches the machine's own network, and
//! nothing of it stays.

use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// Several hosts, 10.77.0.1 and so on, and a switch, which is a namespace with two bridges.
pub struct Net {
    name: String,
    hosts: usize,
}

impl Net {
    /// Or why that is not permitted here.
    pub fn new(hosts: usize) -> Result<Self, String> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let nth = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("chat-test-{}-{nth}", std::process::id());
        // From here on the end of `net` removes whatever there is.
        let net = Self { name, hosts };
        net.build()?;
        Ok(net)
    }

    fn build(&self) -> Result<(), String> {
        let switch = self.switch();
        ip(&format!("netns add {switch}"))?;
        for bridge in ["whole", "apart"] {
            ip(&format!("-n {switch} link add {bridge} type bridge"))?;
            ip(&format!("-n {switch} link set {bridge} up"))?;
        }
        for k in 0..self.hosts {
            let (host, addr) = (self.host(k), Self::addr(k));
            ip(&format!("netns add {host}"))?;
            ip(&format!(
                "-n {switch} link add port{k} type veth peer name eth0 netns {host}"
            ))?;
            ip(&format!("-n {host} addr add {addr}/24 dev eth0"))?;
            ip(&format!("-n {host} link set lo up"))?;
            ip(&format!("-n {host} link set eth0 up"))?;
            ip(&format!("-n {switch} link set port{k} master whole"))?;
            ip(&format!("-n {switch} link set port{k} up"))?;
        }
        Ok(())
    }

    pub fn addr(k: usize) -> String {
        format!("10.77.0.{}", k + 1)
    }

    /// From now on these reach only each other. Nobody is told: what is sent across is not heard of again.
    pub fn part(&self, hosts: &[usize]) {
        self.plug(hosts, "apart");
    }

    /// Everyone reaches everyone again.
    pub fn heal(&self) {
        let all: Vec<_> = (0..self.hosts).collect();
        self.plug(&all, "whole");
    }

    fn plug(&self, hosts: &[usize], bridge: &str) {
        for k in hosts {
            ip(&format!("-n {} link set port{k} master {bridge}", self.switch())).expect("the switch is ours");
        }
    }

    /// The same command, run on a host.
    pub fn on(&self, k: usize, command: &Command) -> Command {
        let mut there = Command::new("ip");
        there.args(["netns", "exec", &self.host(k)]);
        there.arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => there.env(name, value),
                None => there.env_remove(name),
            };
        }
        there
    }

    fn host(&self, k: usize) -> String {
        format!("{}-{k}", self.name)
    }

    fn switch(&self) -> String {
        format!("{}-switch", self.name)
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        // What was not built cannot be removed. Links go with their namespaces.
        for k in 0..self.hosts {
            let _ = ip(&format!("netns del {}", self.host(k)));
        }
        let _ = ip(&format!("netns del {}", self.switch()));
    }
}

fn ip(args: &str) -> Result<(), String> {
    let ran = Command::new("ip").args(args.split_whitespace()).output();
    let ran = ran.map_err(|error| format!("ip: {error}"))?;
    match ran.status.success() {
        true => Ok(()),
        false => Err(format!("ip {args}: {}", String::from_utf8_lossy(&ran.stderr).trim())),
    }
}
