//! From the model to the console: which lines, and in what form.

use std::collections::VecDeque;
use std::io::IsTerminal;

use multicast::{Member, MemberId, Node};

use super::{Cause, Job};
use crate::app::command;
use crate::app::line::{At, Body, Line};
use crate::app::place::Place;
use crate::app::{App, Input, Output, Setup};
use crate::console::{Console, Item};
use crate::control;
use crate::control::hub::{Hub, Wire};
use crate::exit::Exit;
use crate::settings::{Format, Settings};
use crate::who;

/// The model with its console.
#[derive(Debug)]
pub struct Show {
    app: App,
    console: Console,
    format: Format,
    color: bool,
    selection: Selection,
    /// What follows from the last input and is not on its way yet.
    queue: VecDeque<Item>,
    /// Lines that were put on their way.
    sent: u64,
    /// Messages told so far, and how many to tell.
    messages: u64,
    messages_max: u64,
    /// Who else is told.
    hub: Hub,
    /// The first error that was told: `chat send` ends with it.
    error: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Selection {
    Everything,
    Messages,
    /// Who is there.
    Who,
    Nothing,
}

impl Show {
    pub fn new(settings: &Settings, job: &Job, nick: &str, node: &Node, console: Console) -> Self {
        let setup = Setup {
            // A node's first membership of a group has the node's own id.
            me: Member {
                id: MemberId(node.id().0),
                name: nick.into(),
            },
            room: settings.room.clone(),
            addr: node.addr().to_string(),
            registry: settings.registries.label(),
            stamp: settings.stamp,
            by_id: false,
            chaos: settings.chaos,
            no_commands: settings.no_commands,
        };
        let selection = match (job, settings.output) {
            (Job::Tail(tail), _) if !tail.events => Selection::Messages,
            (Job::Who, _) => Selection::Who,
            (Job::Send(_), Format::Text) => Selection::Nothing,
            _ => Selection::Everything,
        };
        Self {
            app: App::new(setup, settings.linger.as_secs()),
            console,
            format: settings.output,
            color: uses_color(settings),
            selection,
            queue: VecDeque::new(),
            sent: 0,
            messages: 0,
            messages_max: match job {
                Job::Tail(tail) => tail.count.unwrap_or(u64::MAX),
                _ => u64::MAX,
            },
            hub: Hub::default(),
            error: None,
        }
    }

    pub fn hub(&mut self) -> &mut Hub {
        &mut self.hub
    }

    /// How many programs listen to that place through this chat.
    pub fn listening(&self, place: &Place) -> u64 {
        self.hub.listening(place)
    }

    /// Greets a connection to the control socket.
    pub fn greet(&mut self, id: control::Id) -> Wire {
        let wire = self.hub.came(id);
        let body = Body::Hello(self.app.hello());
        self.hub.answer(id, &Line { at: now(), body }, None);
        wire
    }

    /// Feeds the model; queues what it tells and returns what else is to be done.
    pub fn take(&mut self, input: Input) -> Vec<Output> {
        let mut to_do = Vec::new();
        for output in self.app.update(input, now()) {
            match output {
                Output::Tell(line) => self.tell(line),
                other => to_do.push(other),
            }
        }
        to_do
    }

    pub fn app(&self) -> &App {
        &self.app
    }

    pub fn console(&self) -> &Console {
        &self.console
    }

    /// How many messages were told so far.
    pub fn messages(&self) -> u64 {
        self.messages
    }

    pub fn take_error(&mut self) -> Option<String> {
        self.error.take()
    }

    /// Forgets what is not on its way: nobody reads stdout any more.
    pub fn give_up(&mut self) {
        self.queue.clear();
        self.selection = Selection::Nothing;
    }

    pub fn hello(&mut self) {
        self.take(Input::Started);
    }

    pub fn notice(&mut self, text: String) {
        if self.format == Format::Text && self.selection != Selection::Everything {
            eprintln!("chat: {}", crate::app::clean::line(&text));
        } else {
            self.take(Input::Noticed(text));
        }
    }

    /// A start that failed: programs read it on stdout; people will on stderr.
    pub fn failure(&mut self, exit: &Exit) {
        if let (Format::Json, Some(words)) = (self.format, exit.words()) {
            let code = match exit {
                Exit::Alone(_) => "not_reachable",
                Exit::Refused(_) => "refused",
                _ => "not_started",
            };
            let words = words.trim_start_matches("chat: ").to_owned();
            self.take(Input::NotDone(command::error(code, words)));
        }
    }

    pub fn bye(&mut self, cause: Cause, unconfirmed: Vec<Member>) {
        self.take(Input::Ended {
            reason: cause.name(),
            unconfirmed,
        });
    }

    /// How many lines were put on their way so far.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// Whether everything that was told is on its way.
    pub fn is_idle(&self) -> bool {
        self.queue.is_empty()
    }

    /// Puts one line on its way as soon as there is room. Can be given up at any time. False: stdout is closed.
    pub async fn advance(&mut self) -> bool {
        match self.console.room().await {
            Some(permit) => {
                if let Some(item) = self.queue.pop_front() {
                    self.sent += 1;
                    permit.send(item);
                }
                true
            }
            None => {
                self.queue.clear();
                false
            }
        }
    }

    pub async fn flush(&mut self) {
        while !self.is_idle() && self.advance().await {}
    }

    fn tell(&mut self, mut line: Box<Line>) {
        if !self.hub.tell(&mut line, &self.app) {
            return;
        }
        match &line.body {
            Body::Message(_) => self.messages += 1,
            Body::Error(error) => self.error = self.error.take().or_else(|| Some(error.text.clone())),
            _ => {}
        }
        let beyond = matches!(line.body, Body::Message(_)) && self.messages > self.messages_max;
        let item = if beyond { None } else { self.item(line) };
        self.queue.extend(item);
    }

    fn item(&self, line: Box<Line>) -> Option<Item> {
        let selected = match self.selection {
            Selection::Everything => true,
            Selection::Messages => matches!(
                line.body,
                Body::Hello(_) | Body::Message(_) | Body::Error(_) | Body::Bye(_)
            ),
            Selection::Who => matches!(line.body, Body::Hello(_) | Body::Who(_) | Body::Error(_) | Body::Bye(_)),
            Selection::Nothing => false,
        };
        if !selected {
            return None;
        }
        match (self.format, &line.body) {
            (Format::Text, Body::Who(who)) if self.selection == Selection::Who => {
                (!who.members.is_empty()).then(|| Item::Text(who::rows(who)))
            }
            (Format::Json, _) => Some(Item::Json(line)),
            (Format::Text, _) => self.app.text(&line, self.color).map(Item::Text),
        }
    }
}

/// Whether what is printed has colours.
pub fn uses_color(settings: &Settings) -> bool {
    match settings.color.as_str() {
        "always" => true,
        "never" => false,
        _ => {
            let forbidden = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
            let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
            std::io::stdout().is_terminal() && !forbidden && !dumb
        }
    }
}

/// This machine's wall clock.
pub fn now() -> At {
    let now = jiff::Zoned::now();
    At {
        unix_ms: now.timestamp().as_millisecond(),
        offset_s: now.offset().seconds(),
    }
}
