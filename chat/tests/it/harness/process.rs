//! One process: started, written to, waited for. Every wait has an end, and says at it what was printed.

mod follow;
mod load;

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use serde_json::Value;

use super::schema;
pub use follow::{Watch, held, watch_until};

/// After this long what a test waits for does not happen any more. Machines that build are slow.
const PATIENCE: Duration = Duration::from_secs(60);

/// Directories and an environment of a test's own, so that tests do not meet each other or the user.
pub struct Place {
    home: PathBuf,
    /// Where registries publish the local proof, and where the authority of this place's user is.
    state: PathBuf,
    pub default_registry: String,
}

impl Place {
    pub fn new() -> Self {
        let mut place = Self::alone();
        place.state = super::registry::state_home();
        place
    }

    /// Of a user of its own: nothing of any other place is known here, and nothing of it elsewhere.
    pub fn alone() -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let nth = COUNT.fetch_add(1, Ordering::Relaxed);
        let home = std::env::temp_dir().join(format!("chat-test-{}-{nth}", std::process::id()));
        std::fs::create_dir_all(home.join("run")).expect("a directory for the test");
        Self {
            state: home.join("state"),
            home,
            default_registry: super::free_addr(),
        }
    }

    /// Of another user of the same machine.
    pub fn beside(&self) -> Self {
        let mut place = Self::alone();
        place.default_registry.clone_from(&self.default_registry);
        place
    }

    /// Where the registries of this place's user publish the local proof.
    pub fn publications(&self) -> PathBuf {
        self.state.join("nodeset/local")
    }

    pub fn home(&self) -> &Path {
        &self.home
    }

    /// The binary with these arguments, separated by spaces.
    pub fn command(&self, args: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_chat"));
        let inherited = std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("CHAT_"));
        inherited.for_each(|(name, _)| {
            command.env_remove(name);
        });
        command
            .args(args.split_whitespace())
            .env("HOME", &self.home)
            .env("XDG_STATE_HOME", &self.state)
            .env("XDG_RUNTIME_DIR", self.home.join("run"))
            .env("USER", "ursula")
            .env("TERM", "xterm")
            .env("CHAT_DEFAULT_REGISTRY", &self.default_registry)
            .env_remove("XDG_DATA_HOME")
            .env_remove("XDG_CONFIG_HOME")
            .env_remove("NO_COLOR");
        command
    }

    /// A chat that speaks JSON in both directions.
    pub fn chat(&self, args: &str) -> Chat {
        Chat::start(self.command(&format!("--json --input json {args}")))
    }

    /// Runs to the end with this input.
    pub fn run(&self, args: &str, stdin: impl AsRef<[u8]>) -> Run {
        Run::fed(self.command(args), stdin.as_ref())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.home);
    }
}

/// What a process that ended left.
#[derive(Debug)]
pub struct Run {
    pub exit: Exit,
    pub stdout: String,
}

impl Run {
    /// Of that command, without input.
    pub fn of(command: Command) -> Self {
        Self::fed(command, &[])
    }

    fn fed(command: Command, stdin: &[u8]) -> Self {
        let mut chat = Chat::start(command);
        chat.write(stdin);
        chat.close_stdin();
        let exit = chat.wait();
        let stdout = chat.lines().join("\n");
        Self { exit, stdout }
    }
}

/// How a process ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Exit {
    /// None if a signal ended it.
    pub code: Option<i32>,
    pub stderr: String,
}

/// A running chat.
pub struct Chat {
    child: Child,
    stdin: Option<ChildStdin>,
    printed: Arc<Printed>,
    stderr: Arc<Mutex<String>>,
    readers: Vec<std::thread::JoinHandle<()>>,
    stdout: Option<std::process::ChildStdout>,
}

#[derive(Default)]
struct Printed {
    state: Mutex<(Vec<String>, bool)>,
    changed: Condvar,
}

impl Chat {
    pub fn start(command: Command) -> Self {
        let mut chat = Self::start_unread(command);
        chat.read_stdout();
        chat
    }

    /// Without reading its stdout yet.
    pub fn start_unread(mut command: Command) -> Self {
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary starts");
        let stderr = Arc::new(Mutex::new(String::new()));
        let (mut pipe, kept) = (child.stderr.take().expect("piped"), stderr.clone());
        let reader = std::thread::spawn(move || {
            let mut chunk = [0; 4096];
            while let Ok(length @ 1..) = pipe.read(&mut chunk) {
                *kept.lock().unwrap() += &String::from_utf8_lossy(&chunk[..length]);
            }
        });
        Self {
            stdin: child.stdin.take(),
            stdout: child.stdout.take(),
            child,
            printed: Arc::default(),
            stderr,
            readers: vec![reader],
        }
    }

    pub fn read_stdout(&mut self) {
        let Some(stdout) = self.stdout.take() else { return };
        let printed = self.printed.clone();
        self.readers.push(std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines() {
                let Ok(line) = line else { break };
                printed.state.lock().unwrap().0.push(line);
                printed.changed.notify_all();
            }
            printed.state.lock().unwrap().1 = true;
            printed.changed.notify_all();
        }));
    }

    /// Closes our end of its stdout.
    pub fn drop_stdout(&mut self) {
        self.stdout = None;
    }

    pub fn write(&mut self, bytes: &[u8]) {
        let stdin = self.stdin.as_mut().expect("stdin is open");
        // A process that has ended takes no input; the wait that follows says why it ended.
        let _ = stdin.write_all(bytes).and_then(|()| stdin.flush());
    }

    pub fn say(&mut self, text: &str) {
        self.ask(serde_json::json!({"do": "send", "text": text}));
    }

    pub fn ask(&mut self, line: Value) {
        self.write(format!("{line}\n").as_bytes());
    }

    pub fn close_stdin(&mut self) {
        self.stdin = None;
    }

    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).expect("the process is there");
    }

    /// Stops it, and returns when it stands still: the threads of a process do not stop at once.
    pub fn stop(&self) {
        self.signal(Signal::STOP);
        let pid = Pid::from_child(&self.child);
        let stopped = waitpid(Some(pid), WaitOptions::UNTRACED).expect("it is our child");
        assert!(stopped.is_some_and(|(_, status)| status.stopped()), "it ended");
    }

    /// Everything printed so far.
    pub fn lines(&self) -> Vec<String> {
        self.printed.state.lock().unwrap().0.clone()
    }

    /// Everything printed so far, as JSON that the schema allows.
    pub fn json(&self) -> Vec<Value> {
        self.lines().iter().map(|line| parsed(line)).collect()
    }

    /// The first line for which `fits` has something.
    pub fn wait_line<T>(&self, what: &str, fits: impl Fn(&str) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        let mut state = self.printed.state.lock().unwrap();
        let mut looked_at = 0;
        loop {
            while looked_at < state.0.len() {
                if let Some(found) = fits(&state.0[looked_at]) {
                    return found;
                }
                looked_at += 1;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if state.1 || left.is_zero() {
                let lines = state.0.join("\n");
                drop(state);
                panic!("no {what} in:\n{lines}\nstderr:\n{}", self.stderr.lock().unwrap());
            }
            state = self.printed.changed.wait_timeout(state, left).unwrap().0;
        }
    }

    /// The first JSON line that fits.
    pub fn wait_for(&self, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
        self.wait_line(what, |line| Some(parsed(line)).filter(&fits))
    }

    pub fn wait_text(&self, text: &str) -> Value {
        self.wait_for(&format!("message {text:?}"), |line| {
            line["type"] == "message" && line["text"] == text
        })
    }

    /// Its own identity, once it has joined.
    pub fn joined(&self) -> String {
        let join = self.wait_for("own join", |line| line["type"] == "join" && line["self"] == true);
        join["from"]["id"].as_str().expect("an id").to_owned()
    }

    /// Waits until it has told the joins of all these members.
    pub fn meets(&self, ids: &[String]) {
        for id in ids {
            self.wait_for(&format!("join of {id}"), |line| {
                line["type"] == "join" && line["from"]["id"] == **id
            });
        }
    }

    /// What it has said on stderr so far.
    pub fn stderr(&self) -> String {
        self.stderr.lock().unwrap().clone()
    }

    /// Waits until `fits` has something in what it says on stderr.
    pub fn wait_stderr<T>(&self, what: &str, fits: impl Fn(&str) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let said = self.stderr();
            if let Some(found) = fits(&said) {
                return found;
            }
            assert!(Instant::now() < deadline, "no {what} in:\n{said}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> Exit {
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            // There is no wait with an end in the standard library.
            if let Some(status) = self.child.try_wait().expect("it is our child") {
                break status;
            }
            let lines = || self.lines().join("\n");
            assert!(Instant::now() < deadline, "does not end; it printed:\n{}", lines());
            std::thread::sleep(Duration::from_millis(5));
        };
        self.readers
            .drain(..)
            .for_each(|reader| reader.join().unwrap_or_default());
        Exit {
            code: status.code(),
            stderr: self.stderr.lock().unwrap().clone(),
        }
    }

    pub fn leave(mut self) -> (Vec<Value>, Exit) {
        self.ask(serde_json::json!({"do": "leave"}));
        let exit = self.wait();
        (self.json(), exit)
    }
}

impl Drop for Chat {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn parsed(line: &str) -> Value {
    let value = serde_json::from_str(line).unwrap_or_else(|trouble| panic!("{trouble} in {line}"));
    if let Some(complaint) = schema::complaint(&value) {
        panic!("{complaint}");
    }
    value
}
