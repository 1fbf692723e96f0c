//! Who is connected, and which line goes to whom.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Map, Value};
use tokio::sync::{mpsc, oneshot};

use super::{Id, WAITING_MAX, unmark};
use crate::app::line::{Body, Line, Ref};
use crate::app::place::Place;
use crate::app::{App, command, line, text};

/// One thing to write to a connection.
#[derive(Clone, PartialEq, Debug)]
pub enum Out {
    /// A line of JSON, numbered when it is written.
    Line(Arc<Line>),
    /// As people read it.
    Text(String),
}

/// Why a connection is ended from here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// It did not read what it was told.
    TooSlow,
    /// It has heard as many messages as it wanted.
    Counted,
}

/// The end of a connection that a task of its own reads and writes.
pub struct Wire {
    pub lines: mpsc::Receiver<Out>,
    pub end: oneshot::Receiver<End>,
}

/// What `{"do":"listen"}` asks for.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(default)]
pub struct Listening {
    /// Joins, leaves and everything else, too.
    pub events: bool,
    /// Of one room only.
    pub room: Option<String>,
    /// End after so many messages.
    pub count: Option<u64>,
    /// As text, with this stamp behind messages.
    pub text: Option<String>,
    pub color: bool,
}

/// Everything: what a connection hears that does not say what it wants.
impl Default for Listening {
    fn default() -> Self {
        Self {
            events: true,
            room: None,
            count: None,
            text: None,
            color: false,
        }
    }
}

#[derive(Debug)]
struct Connection {
    lines: mpsc::Sender<Out>,
    end: oneshot::Sender<End>,
    /// Nothing before it asked for something.
    hears: Option<Listening>,
    /// It asked to listen, and does nothing else.
    listens: bool,
    messages: u64,
}

/// All connections.
#[derive(Debug, Default)]
pub struct Hub {
    connections: BTreeMap<Id, Connection>,
    /// Whose request is being carried out.
    pub asker: Option<Id>,
}

impl Hub {
    /// Someone came.
    pub fn came(&mut self, id: Id) -> Wire {
        let (lines, queue) = mpsc::channel(WAITING_MAX);
        let (end, ended) = oneshot::channel();
        let connection = Connection {
            lines,
            end,
            hears: None,
            listens: false,
            messages: 0,
        };
        self.connections.insert(id, connection);
        Wire {
            lines: queue,
            end: ended,
        }
    }

    pub fn gone(&mut self, id: Id) {
        self.connections.remove(&id);
    }

    /// Lets go of all of them; they end when everything is written.
    pub fn close(&mut self) {
        self.connections.clear();
    }

    /// How many only listen, to that place or to all.
    pub fn listening(&self, place: &Place) -> u64 {
        let hears = |connection: &&Connection| {
            let room = connection.hears.as_ref().and_then(|wish| wish.room.as_ref());
            connection.listens && room.is_none_or(|room| Place::room(room) == *place)
        };
        self.connections.values().filter(hears).count() as u64
    }

    /// Takes a line that a connection wrote, if it is for the hub itself. Else the connection hears everything from now
    /// on, unless it has chosen.
    pub fn takes(&mut self, id: Id, line: &str) -> Option<Result<(), line::Error>> {
        let connection = self.connections.get_mut(&id)?;
        let request: Option<Map<String, Value>> = serde_json::from_str(line).ok();
        let does = request.as_ref().and_then(|request| request.get("do")?.as_str());
        if does == Some("listen") {
            let wish = Listening::deserialize(Value::Object(request.unwrap_or_default()));
            let wish = wish.map_err(|trouble| command::error("bad_argument", format!("listen: {trouble}")));
            return Some(wish.map(|wish| {
                connection.hears = Some(wish);
                connection.listens = true;
            }));
        }
        if connection.listens {
            let text = "this connection only listens; open another one to send";
            return Some(Err(command::error("listener", text)));
        }
        connection.hears.get_or_insert_default();
        None
    }

    /// Tells it to whom it concerns; whether that includes the console. A `ref` of a connection is only that connection's.
    pub fn tell(&mut self, line: &mut Line, app: &App) -> bool {
        let asked = unmark(&mut line.body);
        let answer = line.body.is_answer();
        let asker = asked.as_ref().map(|(id, _)| *id).or(self.asker.filter(|_| answer));
        if let Some(id) = asker {
            let reference = asked.and_then(|(_, reference)| reference);
            self.answer(id, line, reference);
        }
        if answer {
            return asker.is_none();
        }
        let shared = (!self.connections.is_empty()).then(|| Arc::new(line.clone()));
        if let Some(line) = shared {
            let mut over = Vec::new();
            for (id, connection) in self.connections.iter_mut().filter(|(id, _)| Some(**id) != asker) {
                over.extend(connection.hear(&line, app).err().map(|end| (*id, end)));
            }
            over.into_iter().for_each(|(id, end)| self.end(id, end));
        }
        true
    }

    /// Greets it, or answers it.
    pub fn answer(&mut self, id: Id, line: &Line, reference: Option<Ref>) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        let mut line = line.clone();
        if let Some(place) = line.body.reference_mut() {
            *place = reference;
        }
        if connection.lines.try_send(Out::Line(Arc::new(line))).is_err() {
            self.end(id, End::TooSlow);
        }
    }

    fn end(&mut self, id: Id, end: End) {
        if let Some(connection) = self.connections.remove(&id) {
            // Whoever is gone needs not be told.
            let _ = connection.end.send(end);
        }
    }
}

impl Connection {
    fn hear(&mut self, line: &Arc<Line>, app: &App) -> Result<(), End> {
        let wish = match &self.hears {
            Some(wish) => wish,
            // The end is told to everyone.
            None if matches!(line.body, Body::Bye(_)) => &Listening::default(),
            None => return Ok(()),
        };
        let place = line.body.place();
        let elsewhere = match (&wish.room, &place) {
            (Some(room), Some(place)) => Place::room(room) != *place,
            _ => false,
        };
        let said = matches!(line.body, Body::Message(_));
        let chosen = wish.events || said || matches!(line.body, Body::Bye(_));
        if elsewhere || !chosen {
            return Ok(());
        }
        let out = match &wish.text {
            None => Some(Out::Line(line.clone())),
            Some(stamp) => {
                let stamp = stamp.parse().unwrap_or_default();
                let style = text::Style {
                    stamp,
                    color: wish.color,
                };
                app.text_as(line, style).map(Out::Text)
            }
        };
        self.messages += u64::from(said);
        if let Some(out) = out {
            self.lines.try_send(out).map_err(|_| End::TooSlow)?;
        }
        match wish.count {
            Some(count) if said && self.messages >= count => Err(End::Counted),
            _ => Ok(()),
        }
    }
}
