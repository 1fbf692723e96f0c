//! A terminal with a prompt on its last line, and everything else above it.
//!
//! One lock covers the prompt and what is printed, so that lines appear in the order in which they were told,
//! whatever is being typed. The prompt never takes more than one row: a long input scrolls sideways.

use std::io::{self, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crossterm::event::{self, DisableBracketedPaste, EnableBracketedPaste};
use crossterm::{execute, terminal};
use rustix::process::{Signal, kill_current_process_group};
use tokio::sync::mpsc;

use super::editor::{Editor, Outcome};
use crate::input::Typed;

/// Columns to assume where the terminal does not say.
const COLUMNS: u16 = 80;
/// Back to the row's first column, and the row emptied.
const ERASE_ROW: &str = "\r\u{1b}[K";
/// Everything emptied, the cursor in the top left corner.
const ERASE_ALL: &str = "\u{1b}[2J\u{1b}[H";

/// The terminal.
#[derive(Debug)]
pub struct Screen {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    editor: Editor,
    open: bool,
}

impl Screen {
    /// Takes over the terminal.
    pub fn open() -> io::Result<Self> {
        let mut state = State {
            editor: Editor::default(),
            open: false,
        };
        state.take_over()?;
        Ok(Self {
            state: Mutex::new(state),
        })
    }

    /// Prints lines above the prompt.
    pub fn print(&self, text: &str) -> io::Result<()> {
        let state = self.lock();
        let lines = text.replace('\n', "\r\n") + "\r\n";
        state.draw(&lines)
    }

    /// Gives the terminal back, without the prompt. What is printed later goes where it is.
    pub fn close(&self) {
        self.lock().give_back();
    }

    /// Reads keys and hands over lines, until nobody takes them any more. For a thread of its own.
    pub fn read(&self, lines: &mpsc::Sender<Typed>) {
        loop {
            // The lock is not held while waiting for a key, nor while handing over a line.
            let Ok(event) = event::read() else {
                let _ = lines.blocking_send(Typed::End);
                return;
            };
            let typed = match self.on_event(event) {
                Ok(Some(typed)) => typed,
                Ok(None) => continue,
                Err(_) => Typed::End,
            };
            let ends = typed == Typed::End;
            if lines.blocking_send(typed).is_err() || ends {
                return;
            }
        }
    }

    fn on_event(&self, event: event::Event) -> io::Result<Option<Typed>> {
        let mut state = self.lock();
        if !state.open {
            return Ok(Some(Typed::End));
        }
        let outcome = state.editor.take(event);
        match &outcome {
            // What was said comes back as a line of the room; what was asked stays above its answer.
            Outcome::Line(line) if line.starts_with('/') && !line.starts_with("//") => {
                let shown = crate::app::clean::line(line);
                state.draw(&format!("{shown}\r\n"))?;
            }
            Outcome::Clear => state.draw(ERASE_ALL)?,
            Outcome::Suspend => state.suspend()?,
            _ => state.draw("")?,
        }
        Ok(match outcome {
            Outcome::Line(line) => Some(Typed::Line(line)),
            Outcome::Interrupt => Some(Typed::Interrupt),
            Outcome::End => Some(Typed::End),
            Outcome::Redraw | Outcome::Clear | Outcome::Suspend => None,
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic while drawing leaves at worst a spoilt row; the terminal must still be given back.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn take_over(&mut self) -> io::Result<()> {
        terminal::enable_raw_mode()?;
        self.open = true;
        execute!(io::stdout(), EnableBracketedPaste)?;
        self.draw("")
    }

    fn give_back(&mut self) {
        if std::mem::replace(&mut self.open, false) {
            let _ = write!(io::stdout(), "{ERASE_ROW}");
            let _ = execute!(io::stdout(), DisableBracketedPaste);
            let _ = terminal::disable_raw_mode();
        }
    }

    /// What Ctrl-Z does where the terminal is not raw: the whole process stands still until the shell continues it.
    fn suspend(&mut self) -> io::Result<()> {
        self.give_back();
        kill_current_process_group(Signal::TSTP)?;
        self.take_over()
    }

    /// Puts something in the prompt's place, and the prompt below it.
    fn draw(&self, above: &str) -> io::Result<()> {
        let mut stdout = io::stdout().lock();
        if self.open {
            let columns = terminal::size().map_or(COLUMNS, |(columns, _)| columns);
            let (prompt, cursor) = self.editor.view(usize::from(columns));
            write!(stdout, "{ERASE_ROW}{above}{prompt}\r\u{1b}[{cursor}C")?;
        } else {
            write!(stdout, "{}", above.replace("\r\n", "\n"))?;
        }
        stdout.flush()
    }
}
