//! A terminal of its own: the prompt, and lines above it.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

use crate::harness::Place;

/// After this long what a test waits for does not happen any more.
const PATIENCE: Duration = Duration::from_secs(60);

struct Terminal {
    keys: File,
    slave: File,
    child: Child,
    shown: Arc<(Mutex<String>, Condvar)>,
}

impl Terminal {
    fn start(place: &Place, args: &str, columns: u16) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let size = Winsize {
            ws_row: 10,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&master, size).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
        let slave = File::options().read(true).write(true).open(name).unwrap();
        let end = || Stdio::from(OwnedFd::from(slave.try_clone().unwrap()));
        let child = place
            .command(args)
            .stdin(end())
            .stdout(end())
            .stderr(end())
            .spawn()
            .unwrap();
        let keys = File::from(master);
        let shown = Arc::new((Mutex::new(String::new()), Condvar::new()));
        let (mut screen, kept) = (keys.try_clone().unwrap(), shown.clone());
        std::thread::spawn(move || {
            let mut chunk = [0; 4096];
            while let Ok(length @ 1..) = screen.read(&mut chunk) {
                *kept.0.lock().unwrap() += &String::from_utf8_lossy(&chunk[..length]);
                kept.1.notify_all();
            }
        });
        Self {
            keys,
            slave,
            child,
            shown,
        }
    }

    fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
    }

    fn wait_for(&self, text: &str) {
        let deadline = Instant::now() + PATIENCE;
        let mut shown = self.shown.0.lock().unwrap();
        while !shown.contains(text) {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "no {text:?} in {shown:?}");
            shown = self.shown.1.wait_timeout(shown, left).unwrap().0;
        }
    }

    fn is_raw(&self) -> bool {
        !tcgetattr(&self.slave).unwrap().local_modes.contains(LocalModes::ICANON)
    }

    fn wait(&mut self) -> Option<i32> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(
                Instant::now() < deadline,
                "does not end: {:?}",
                self.shown.0.lock().unwrap()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_prompt_with_lines_above_it() {
    let place = Place::new();
    let mut terminal = Terminal::start(&place, "-n ana --color never", 80);
    terminal.wait_for("Participant ana joined #lobby at logical time 1.\r\n> ");
    assert!(terminal.is_raw());
    terminal.press("helo\u{1b}[Dl\r");
    terminal.wait_for("#lobby <ana> hello  [ana:2]\r\n> ");
    let mut bob = place.chat("-n bob");
    bob.joined();
    terminal.press("half a li");
    terminal.wait_for("> half a li");
    bob.say("good morning");
    terminal.wait_for("#lobby <bob> good morning  [ana:2 bob:2]\r\n> half a li");
    terminal.press("ne\r");
    bob.wait_text("half a line");
    terminal.press("/who\r");
    terminal.wait_for("/who\r\n");
    terminal.wait_for("*** 2 members in #lobby\r\n");
    terminal.press("\u{3}");
    assert_eq!(terminal.wait(), Some(130));
    assert!(!terminal.is_raw());
    bob.wait_for("ana's leave", |line| line["type"] == "leave");
}

#[test]
fn a_narrow_terminal_and_the_end_of_input() {
    let place = Place::new();
    let mut terminal = Terminal::start(&place, "-n ana", 12);
    terminal.wait_for("logical time 1.\r\n> ");
    terminal.press("abcdefghijklmnop");
    terminal.wait_for("> hijklmnop");
    terminal.press("\r");
    terminal.wait_for("abcdefghijklmnop  ");
    terminal.press("\u{4}");
    assert_eq!(terminal.wait(), Some(0));
    assert!(!terminal.is_raw());
}

#[test]
fn a_signal_gives_the_terminal_back() {
    let place = Place::new();
    let mut terminal = Terminal::start(&place, "-n ana", 80);
    terminal.wait_for("logical time 1.");
    kill_process(Pid::from_child(&terminal.child), Signal::TERM).unwrap();
    assert_eq!(terminal.wait(), Some(0));
    assert!(!terminal.is_raw());
}
