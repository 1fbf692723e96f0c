//! `chat history` and `chat export`: what a store has, also while a chat runs on it; and reading an export back.

mod export;
mod names;
mod print;
mod query;
pub mod store;

use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use multicast::GroupId;
use multicast::store::{Canonical, Page, Store, StoreError, Stored};

use crate::app::clean;
use crate::cli;
use crate::exit::Exit;
use crate::settings::{Format, Settings};
#[cfg(test)]
pub use export::LINE_MAX;
use export::Record;
use names::Names;
use print::Printer;
use query::Query;

/// Messages that are read at once: a second's work at most, and a few MiB.
const PAGE: usize = 500;
/// Most messages that are looked up by words, or kept until it is known which are the last: what fits into memory.
pub const FOUND_MAX: usize = 100_000;

/// Why nothing more is printed.
enum Stop {
    Store(StoreError),
    Stdout(io::Error),
}

/// Prints what is asked for; or reads an export back.
pub fn run(settings: &Settings, wanted: &cli::History) -> Exit {
    if let Some(file) = &wanted.restore {
        return export::restore(settings, file);
    }
    let query = match Query::new(wanted) {
        Ok(query) => query,
        Err(why) => return Exit::Usage(why),
    };
    let mut store = match store::to_read(settings) {
        Ok(Some(store)) => store,
        Ok(None) => {
            eprintln!("chat: profile {} has no history yet", clean::line(&settings.profile));
            return Exit::Clean;
        }
        Err(exit) => return exit,
    };
    let mut printer = Printer::new(settings, false);
    told(tell(&mut *store, &settings.room, &query, &mut printer))
}

/// Prints all of it, in a form that other programs read.
pub fn export(settings: &Settings, wanted: &cli::Export) -> Exit {
    let mut store = match store::to_read(settings) {
        Ok(Some(store)) => store,
        Ok(None) => return Exit::Usage(format!("profile {} has no history yet", clean::line(&settings.profile))),
        Err(exit) => return exit,
    };
    let mut settings = settings.clone();
    settings.output = if wanted.format == "text" {
        Format::Text
    } else {
        Format::Json
    };
    let mut printer = Printer::new(&settings, wanted.format == "jsonl");
    told(tell(&mut *store, &settings.room, &Query::everything(), &mut printer))
}

/// Writes all that is kept of a group, which shows as the room of the settings, into a new file, as `chat export` does;
/// returns how many messages that are.
///
/// # Errors
/// In words. A file that was begun stays as it is.
pub fn save(settings: &Settings, group: &str, file: &Path) -> Result<u64, String> {
    let name = clean::line(&file.display().to_string());
    let mut store = match store::to_read(settings) {
        Ok(Some(store)) => store,
        Ok(None) => return Err("this chat keeps nothing, so there is nothing to export".to_owned()),
        Err(exit) => return Err(exit.words().unwrap_or_default()),
    };
    let opened = File::options().write(true).create_new(true).mode(0o600).open(file);
    let file = opened.map_err(|error| format!("cannot write {name}: {error}"))?;
    let settings = Settings {
        output: Format::Json,
        ..settings.clone()
    };
    let mut printer = Printer::to(&settings, true, Box::new(file));
    match tell(&mut *store, group, &Query::everything(), &mut printer) {
        // A first and a last line are no messages.
        Ok(()) => Ok(printer.lines().saturating_sub(2)),
        Err(Stop::Store(error)) => Err(error.to_string()),
        Err(Stop::Stdout(error)) => Err(format!("cannot write {name}: {error}")),
    }
}

fn told(done: Result<(), Stop>) -> Exit {
    match done {
        Ok(()) => Exit::Clean,
        Err(Stop::Store(error)) => store::exit(&error),
        // Whoever read it has enough.
        Err(Stop::Stdout(error)) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Clean,
        Err(Stop::Stdout(error)) => Exit::Unexpected(format!("cannot write to stdout: {error}")),
    }
}

fn tell(store: &mut dyn Store, group: &str, query: &Query, printer: &mut Printer) -> Result<(), Stop> {
    let group = GroupId::named(group);
    let mut reader = Reader {
        group,
        names: Names::of_group(store, group)?,
        store,
    };
    printer.hello()?;
    match (query.is_search(), query.limit) {
        (false, None) => reader.forwards(query, printer)?,
        _ => {
            for stored in reader.last(query)? {
                reader.print(&stored, printer)?;
            }
        }
    }
    printer.bye()?;
    Ok(())
}

/// One room's history.
struct Reader<'s> {
    store: &'s mut dyn Store,
    group: GroupId,
    names: Names,
}

impl Reader<'_> {
    /// All of it, as it is read.
    fn forwards(&mut self, query: &Query, printer: &mut Printer) -> Result<(), Stop> {
        let mut page = if query.delivery {
            Page::Delivered { after: 0 }
        } else {
            Page::After(None)
        };
        loop {
            let read = self.store.read(self.group, page, PAGE)?;
            let Some(last) = read.last() else { return Ok(()) };
            page = match page {
                Page::Delivered { .. } => Page::Delivered { after: last.place },
                _ => Page::After(Some(last.canonical())),
            };
            for stored in &read {
                if self.wants(query, stored)? {
                    self.print(stored, printer)?;
                }
            }
        }
    }

    /// The last ones that are wanted, the earliest first.
    fn last(&mut self, query: &Query) -> Result<Vec<Stored>, Stop> {
        let limit = query.limit.unwrap_or(FOUND_MAX).min(FOUND_MAX);
        let (mut found, mut before): (Vec<Stored>, Option<Canonical>) = (Vec::new(), None);
        while found.len() < limit {
            let read = match &query.words {
                Some(words) => self.store.search(self.group, words, before, PAGE)?,
                None => self.store.read(self.group, Page::Before(before), PAGE)?,
            };
            let Some(first) = read.first() else { break };
            before = Some(first.canonical());
            for stored in read.into_iter().rev() {
                if found.len() < limit && self.wants(query, &stored)? {
                    found.push(stored);
                }
            }
        }
        found.reverse();
        if query.delivery {
            found.sort_by_key(|stored| stored.place);
        }
        Ok(found)
    }

    fn wants(&mut self, query: &Query, stored: &Stored) -> Result<bool, Stop> {
        if !query.is_in_time(stored) {
            return Ok(false);
        }
        let Some(peer) = &query.from else { return Ok(true) };
        let from = self.names.of(self.store, self.group, stored.dot.origin)?;
        Ok(query::is_meant(peer, &from))
    }

    fn print(&mut self, stored: &Stored, printer: &mut Printer) -> Result<(), Stop> {
        let mut mentioned = Vec::new();
        for stranger in printer.strangers(&stored.clock) {
            mentioned.push(self.names.of(self.store, self.group, stranger)?);
        }
        printer.named(mentioned);
        let from = self.names.of(self.store, self.group, stored.dot.origin)?;
        Ok(printer.print(self.group, stored, from)?)
    }
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Stdout(error)
    }
}
