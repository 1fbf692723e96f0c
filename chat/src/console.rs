//! Where lines go: one thread writes them, one by one, to a pipe, a file, or above the prompt of a terminal.
//!
//! The channel to it is short. Whoever cannot put a line into it reads no further input, so that a slow reader of
//! stdout slows the chat, and nothing is dropped or piled up.

pub mod editor;
pub mod screen;

use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use tokio::sync::{mpsc, oneshot, watch};

use crate::app::line::Line;
use screen::Screen;

/// Lines between the session and the writing thread: enough to keep the thread busy, few to lose if stdout closes.
const QUEUE: usize = 64;

/// One line to write.
#[derive(Clone, PartialEq, Debug)]
pub enum Item {
    /// Text, possibly of several lines, without the last line break.
    Text(String),
    /// A line of JSON, numbered when it is written.
    Json(Box<Line>),
}

/// The writing end.
#[derive(Clone, Debug)]
pub struct Console {
    items: mpsc::Sender<Item>,
    written: watch::Receiver<u64>,
}

/// Resolves when everything is written and every `Console` is gone.
#[derive(Debug)]
pub struct Written(oneshot::Receiver<()>);

/// Starts the writing thread.
pub fn start(screen: Option<Arc<Screen>>) -> (Console, Written) {
    let (items, mut queue) = mpsc::channel(QUEUE);
    let (tell_written, written) = oneshot::channel();
    let (count, counted) = watch::channel(0);
    std::thread::spawn(move || {
        let mut n = 0;
        while let Some(item) = queue.blocking_recv() {
            let text = match item {
                Item::Text(text) => text,
                Item::Json(line) => {
                    n += 1;
                    line.to_json(n)
                }
            };
            let result = match &screen {
                Some(screen) => screen.print(&text),
                None => print(text),
            };
            if result.is_err() {
                break; // closing the queue tells the session
            }
            count.send_modify(|count| *count += 1);
        }
        drop(queue);
        let _ = tell_written.send(());
    });
    let console = Console {
        items,
        written: counted,
    };
    (console, Written(written))
}

impl Console {
    /// Room for one line; nothing if stdout was closed.
    pub async fn room(&self) -> Option<mpsc::Permit<'_, Item>> {
        self.items.reserve().await.ok()
    }

    /// How many lines were written, as it grows.
    pub fn written(&self) -> watch::Receiver<u64> {
        self.written.clone()
    }

    /// Waits until stdout is closed: at a failed write, or at once if it is a pipe whose reader went away.
    pub async fn closed(self) {
        let pipe = (!io::stdout().is_terminal()).then(watch_reader);
        let reader_gone = async {
            match pipe {
                Some(gone) => drop(gone.await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.items.closed() => {}
            () = reader_gone => {}
        }
    }
}

impl Written {
    /// Waits until all is written, for as long as that is worth waiting for.
    pub async fn wait(self, patience: Duration) {
        let _ = tokio::time::timeout(patience, self.0).await;
    }
}

fn print(mut text: String) -> io::Result<()> {
    text.push('\n');
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

/// Waits in a thread of its own until a pipe has no reader any more, which it reports without being written to.
/// Files never do.
fn watch_reader() -> oneshot::Receiver<()> {
    let (tell, gone) = oneshot::channel();
    std::thread::spawn(move || {
        let stdout = io::stdout();
        let mut watched = [PollFd::new(&stdout, PollFlags::empty())];
        while poll(&mut watched, None) == Err(rustix::io::Errno::INTR) {}
        let _ = tell.send(());
    });
    gone
}
