//! Running the daemon and its tools.

use std::net::SocketAddr;
use std::process::{ExitStatus, Stdio};

use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStderr, ChildStdout, Command};

use crate::{HOME, Home, soon};

pub(super) fn nodesetd(arguments: &[&str]) -> Command {
    nodesetd_of(&HOME, arguments)
}

/// As a process of this home's user.
pub(super) fn nodesetd_of(home: &Home, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nodesetd"));
    command.args(arguments).kill_on_drop(true).stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("NODESETD_") {
            command.env_remove(name);
        }
    }
    command.env("HOME", &home.0).env("XDG_STATE_HOME", home.state());
    command
}

/// A running daemon.
pub(super) struct Daemon {
    pub(super) child: Child,
    pub(super) addr: SocketAddr,
    pub(super) first: String,
    pub(super) log: Lines<BufReader<ChildStderr>>,
}

impl Daemon {
    pub(super) async fn start(arguments: &[&str]) -> Self {
        Self::spawn(nodesetd(&[&["--listen", "127.0.0.1:0"], arguments].concat())).await
    }

    pub(super) async fn start_of(home: &Home, arguments: &[&str]) -> Self {
        Self::spawn(nodesetd_of(home, &[&["--listen", "127.0.0.1:0"], arguments].concat())).await
    }

    pub(super) async fn spawn(mut command: Command) -> Self {
        let mut child = command.spawn().expect("spawned");
        let mut log = BufReader::new(child.stderr.take().expect("piped")).lines();
        let first = soon("the first line", log.next_line())
            .await
            .expect("text")
            .expect("a line");
        let (_, rest) = first.split_once("listening on ").expect("the address");
        let addr = rest.split_once(' ').expect("more").0.parse().expect("an address");
        Self {
            child,
            addr,
            first,
            log,
        }
    }

    pub(super) fn name(&self) -> String {
        self.addr.to_string()
    }

    /// The next line of its log that contains `part`.
    pub(super) async fn says(&mut self, part: &str) -> String {
        let said = async {
            loop {
                let line = self.log.next_line().await.expect("text").expect("a line");
                if line.contains(part) {
                    return line;
                }
            }
        };
        soon(part, said).await
    }

    pub(super) async fn signal(&self, signal: &str) {
        let pid = self.child.id().expect("running").to_string();
        let sent = Command::new("kill")
            .args([signal, &pid])
            .status()
            .await
            .expect("kill runs");
        assert!(sent.success());
    }

    /// Exit status, standard output and the rest of the log.
    pub(super) async fn ended(mut self) -> (ExitStatus, String, Vec<String>) {
        let mut log = Vec::new();
        while let Some(line) = soon("the log", self.log.next_line()).await.expect("text") {
            log.push(line);
        }
        let output = soon("the end", self.child.wait_with_output()).await.expect("ended");
        (output.status, String::from_utf8(output.stdout).expect("text"), log)
    }
}

/// Runs to the end: exit code, standard output, standard error.
pub(super) async fn ask(arguments: &[&str]) -> (i32, String, String) {
    ask_of(&HOME, arguments).await
}

/// The same, as a process of this home's user.
pub(super) async fn ask_of(home: &Home, arguments: &[&str]) -> (i32, String, String) {
    let output = soon("an answer", nodesetd_of(home, arguments).output())
        .await
        .expect("ran");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (
        output.status.code().expect("no signal"),
        text(output.stdout),
        text(output.stderr),
    )
}

pub(super) async fn lines_of(child: &mut Child) -> Lines<BufReader<ChildStdout>> {
    BufReader::new(child.stdout.take().expect("piped")).lines()
}
