//! Load on one process: as much as it takes, from a thread of its own.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use serde_json::{Value, json};

use super::Chat;

/// Something that writes to a chat until it is told to stop or has written enough.
pub struct Load {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<(std::process::ChildStdin, u64)>,
}

impl Chat {
    /// Says `name 0`, `name 1`, … each followed by `filler`, as fast as the chat reads, at most `count` times.
    pub fn flood(&mut self, name: &str, filler: &str, count: u64) -> Load {
        let (name, filler) = (name.to_owned(), filler.to_owned());
        let mut stdin = self.stdin.take().expect("stdin is open");
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            let mut said = 0;
            while said < count && !stopped.load(Ordering::Relaxed) {
                let line = json!({"do": "send", "text": format!("{name} {said}{filler}")});
                // Whoever was killed reads no more.
                if writeln!(stdin, "{line}").is_err() {
                    break;
                }
                said += 1;
            }
            (stdin, said)
        });
        Load { stop, thread }
    }

    /// Ends a load, and gives the chat its stdin back. Returns how much was said.
    pub fn calm(&mut self, load: Load) -> u64 {
        load.stop.store(true, Ordering::Relaxed);
        let (stdin, said) = load.thread.join().expect("the load ends");
        self.stdin = Some(stdin);
        said
    }

    /// Leaves, and gives what it printed without holding each line against the schema: there are too many.
    pub fn leave_unchecked(mut self) -> (Vec<Value>, super::Exit) {
        self.ask(json!({"do": "leave"}));
        let exit = self.wait();
        let parsed = |line: &String| serde_json::from_str(line).expect("JSON");
        (self.lines().iter().map(parsed).collect(), exit)
    }

    /// Open file descriptors.
    pub fn descriptors(&self) -> usize {
        let open = std::fs::read_dir(format!("/proc/{}/fd", self.child.id()));
        open.expect("it runs").count()
    }

    /// Resident memory in bytes.
    pub fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.expect("resident memory").trim().trim_end_matches(" kB");
        kib.parse::<u64>().expect("a number") * 1024
    }
}
