//! Stored messages as the lines that the chat prints: the same model makes them.

use std::io::{self, BufWriter, Write};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use multicast::store::Stored;
use multicast::{Clock, Event, GroupId, Kind, Member, MemberId, Stamp};

use super::Record;
use crate::app::line::{At, Body, Bye, Line};
use crate::app::place::Place;
use crate::app::{App, Input, Inside, Output, Said, Setup, Told};
use crate::post::Post;
use crate::session::{now, uses_color};
use crate::settings::{Format, Settings};
use crate::word::Word;

/// Writes lines to stdout, or into a file.
pub(super) struct Printer {
    app: App,
    place: Place,
    format: Format,
    color: bool,
    /// With each message all that is needed to have it again.
    exports: bool,
    n: u64,
    /// What was printed is seen at once, and is not written line by line if it is much.
    out: BufWriter<Box<dyn Write>>,
}

impl Printer {
    pub(super) fn new(settings: &Settings, exports: bool) -> Self {
        Self::to(settings, exports, Box::new(io::stdout().lock()))
    }

    pub(super) fn to(settings: &Settings, exports: bool, out: Box<dyn Write>) -> Self {
        // Nobody takes part, so that it looks the same whoever asks.
        let nobody = Member {
            id: MemberId([0; 16]),
            name: settings.nick.as_str().into(),
        };
        let setup = Setup {
            me: nobody.clone(),
            room: settings.room.clone(),
            addr: String::new(),
            registry: None,
            stamp: settings.stamp,
            by_id: true,
            chaos: false,
            no_commands: true,
        };
        let place = Place::room(&settings.room);
        let mut app = App::new(setup, 0);
        let opened = Inside::Opened {
            me: Member {
                name: "".into(),
                ..nobody
            },
            present: Vec::new(),
            reference: None,
        };
        app.update(Input::In(place.clone(), opened), At::default());
        Self {
            app,
            place,
            format: settings.output,
            color: uses_color(settings),
            exports,
            n: 0,
            out: BufWriter::new(out),
        }
    }

    pub(super) fn hello(&mut self) -> io::Result<()> {
        if self.format == Format::Json {
            let lines = self.app.update(Input::Started, now());
            self.tell(lines, None)?;
        }
        Ok(())
    }

    pub(super) fn bye(&mut self) -> io::Result<()> {
        if self.format == Format::Json {
            let body = Body::Bye(Bye {
                reason: "leave",
                unconfirmed: Vec::new(),
            });
            let line = Output::Tell(Box::new(Line { at: now(), body }));
            self.tell(vec![line], None)?;
        }
        self.out.flush()
    }

    /// How many lines were written.
    pub(super) fn lines(&self) -> u64 {
        self.n
    }

    pub(super) fn strangers(&self, clock: &Clock) -> Vec<MemberId> {
        self.app.strangers(&self.place, clock)
    }

    pub(super) fn named(&mut self, members: Vec<Member>) {
        let named = Input::In(self.place.clone(), Inside::Named(members));
        self.app.update(named, At::default());
    }

    pub(super) fn print(&mut self, group: GroupId, stored: &Stored, from: Member) -> io::Result<()> {
        let lines = self
            .app
            .update(Input::In(self.place.clone(), inside(stored, from)), at(stored.sent_at));
        let record = self.exports.then(|| Record::of(group, stored).encode());
        self.tell(lines, record)?;
        // The first line at once, whatever follows.
        if self.n == 1 {
            self.out.flush()?;
        }
        Ok(())
    }

    fn tell(&mut self, outputs: Vec<Output>, mut record: Option<String>) -> io::Result<()> {
        for output in outputs {
            let Output::Tell(line) = output else { continue };
            if self.format == Format::Text {
                if let Some(text) = self.app.text(&line, self.color) {
                    self.n += 1;
                    writeln!(self.out, "{text}")?;
                }
                continue;
            }
            self.n += 1;
            let json = line.to_json(self.n);
            match record.take() {
                Some(record) => writeln!(
                    self.out,
                    "{},\"stored\":\"{record}\"}}",
                    json.strip_suffix('}').unwrap_or(&json)
                )?,
                None => writeln!(self.out, "{json}")?,
            }
        }
        Ok(())
    }
}

/// What the model is told of it.
fn inside(stored: &Stored, member: Member) -> Inside {
    let stamp = Stamp {
        dot: stored.dot,
        clock: stored.clock.clone(),
        lamport: stored.lamport,
        sent_at: stored.sent_at,
    };
    let word = Word::decode(&stored.payload).filter(|_| stored.kind == Kind::App);
    if let Some(word) = word {
        return Inside::Told(Told {
            from: member,
            stamp,
            word,
        });
    }
    match stored.kind {
        Kind::App => Inside::Said(Said {
            from: member,
            stamp,
            held_ms: 0,
            post: Post::decode(&stored.payload),
        }),
        Kind::Join => Inside::Heard(Event::Joined { member, stamp }),
        Kind::Leave => Inside::Heard(Event::Left {
            member,
            reason: String::from_utf8_lossy(&stored.payload).into_owned(),
            stamp,
        }),
        Kind::Retire | Kind::Call | Kind::List => Inside::Heard(Event::Control { member, stamp }),
    }
}

/// When it was sent, as its sender's clock said, in local time.
fn at(micros: u64) -> At {
    let moment = i64::try_from(micros)
        .ok()
        .and_then(|micros| Timestamp::from_microsecond(micros).ok());
    let moment = moment.unwrap_or_default();
    At {
        unix_ms: moment.as_millisecond(),
        offset_s: moment.to_zoned(TimeZone::system()).offset().seconds(),
    }
}
