//! What people and programs ask for.

mod coordinated;
mod peers;
mod told;

use multicast::Dot;

use super::command::{self, Asked, Command};
use super::line::{self, Body, Elsewhere, Ref};
use super::place::Place;
use super::question::{self, Question};
use super::room::{ROOMS_MAX, Room};
use super::{App, Output, Outputs};
use crate::names;
use crate::post::{Kind, Post};

impl App {
    pub(super) fn on_text(&mut self, line: &str, out: &mut Outputs) {
        let asked = if self.setup.no_commands && !line.trim().is_empty() {
            Ok(Some(command::plain(line)))
        } else {
            command::of_text(line)
        };
        match asked {
            Ok(Some(asked)) => self.on_asked(asked, self.current.clone(), out),
            Ok(None) => {}
            Err(error) => out.tell(Body::Error(error)),
        }
    }

    pub(super) fn on_json(&mut self, line: &str, out: &mut Outputs) {
        match command::of_json(line) {
            Ok(Some(asked)) => self.on_asked(asked, Some(Place::room(&self.setup.room)), out),
            Ok(None) => {}
            Err(error) => out.tell(Body::Error(error)),
        }
    }

    /// What was asked; where, if it does not say that, is `standard`.
    fn on_asked(&mut self, asked: Asked, standard: Option<Place>, out: &mut Outputs) {
        let Asked {
            command,
            reference,
            room,
        } = asked;
        let place = room.map(|room| Place::room(&room)).or(standard);
        if let Err(error) = self.carry_out(command, place, reference.clone(), out) {
            out.tell(Body::Error(line::Error { reference, ..error }));
        }
    }

    fn carry_out(
        &mut self,
        command: Command,
        place: Option<Place>,
        reference: Option<Ref>,
        out: &mut Outputs,
    ) -> Result<(), line::Error> {
        let question = match command {
            Command::Send { kind, text, reply_to } => {
                let room = self.room(place.as_ref())?;
                let reply_to = reply_to.map(|id| message(room, &id)).transpose()?;
                let post = Post { kind, text, reply_to };
                return self.send(room, &post, reference, out);
            }
            Command::Reply { id, text } => {
                let room = self.room(place.as_ref())?;
                return self.send(room, &reply(room, id.as_deref(), text)?, reference, out);
            }
            Command::Leave { .. } if self.leaving => {
                out.list.push(Output::LeaveNow);
                return Ok(());
            }
            Command::Leave { reason } => {
                self.leaving = true;
                out.list.push(Output::Leave { reason });
                return Ok(());
            }
            Command::Join { room } => return self.join(&room, reference, out),
            Command::Create(create) => return self.create(create, reference, out),
            Command::Close { room } => {
                let place = room.map(|room| Place::room(&room)).or(place);
                return self.close(place.as_ref(), reference, out);
            }
            Command::Part { room, reason } => {
                let place = room.map(|room| Place::room(&room)).or(place);
                return self.part(place.as_ref(), reason, reference, out);
            }
            Command::Nick { nick } => return self.nick(nick, reference, out),
            Command::Topic { text } => return self.topic(text, place.as_ref(), reference, out),
            Command::Ignore { peer, ignored } => return self.ignore(peer, ignored, place.as_ref(), reference, out),
            Command::Fault(wish) => self.fault(wish, place.as_ref())?,
            Command::Help => {
                out.tell(question::help(reference));
                return Ok(());
            }
            Command::Stamp { mode } => {
                self.stamp = mode.unwrap_or(self.stamp);
                out.tell(question::stamp(self.stamp, reference));
                return Ok(());
            }
            about => self.question(about, place.as_ref())?,
        };
        let place = place.filter(|place| self.rooms.contains_key(place));
        out.list.push(Output::Ask {
            place,
            question,
            reference,
        });
        Ok(())
    }

    /// Questions that somebody else answers.
    fn question(&self, command: Command, place: Option<&Place>) -> Result<Question, line::Error> {
        // These are about the whole instance.
        match command {
            Command::Peers => return Ok(Question::Peers),
            Command::Status => return Ok(Question::Status),
            Command::Rooms => return Ok(Question::Rooms),
            _ => {}
        }
        let room = self.room(place)?;
        let message = |id: String| message(room, &id);
        Ok(match command {
            Command::History { limit, text } => Question::History { limit, text },
            Command::Ping { peer } => Question::Ping(room.other(&peer)?),
            Command::Export { file } => Question::Export(file.unwrap_or_else(|| export_name(room))),
            Command::Clock => Question::Clock,
            Command::Held => Question::Held,
            Command::Why { id } => Question::Why(message(id)?),
            Command::Info { id: Some(id) } => Question::Info(message(id)?),
            Command::Info { id: None } => match room.recent.back() {
                Some((last, _)) => Question::Info(*last),
                None => return Err(command::error("nothing_yet", "no message was delivered here yet")),
            },
            _ => Question::Who,
        })
    }

    /// The room that is meant, if this instance is in it.
    fn room(&self, place: Option<&Place>) -> Result<&Room, line::Error> {
        let Some(place) = place else {
            let text = "you are in no room; /join ROOM";
            return Err(command::error("no_room", text));
        };
        self.rooms.get(place).ok_or_else(|| {
            let rooms: Vec<_> = self.rooms.keys().map(Place::to_string).collect();
            let text = match rooms.as_slice() {
                [] => format!("you are not in {place}; you are in no room"),
                rooms => format!("you are not in {place}; you are in {}", rooms.join(", ")),
            };
            command::error("no_room", text)
        })
    }

    /// Joins a room; people type there from then on.
    fn join(&mut self, room: &str, reference: Option<Ref>, out: &mut Outputs) -> Result<(), line::Error> {
        let place = Place::room(room);
        let Place::Room(name) = &place;
        names::check_room(name).map_err(|refusal| command::error("bad_argument", refusal.to_string()))?;
        if self.leaving {
            return Err(command::error("leaving", "you are leaving; nothing more can be joined"));
        }
        if self.rooms.contains_key(&place) {
            self.look_at(Some(place));
            out.tell(self.rooms(Vec::new(), reference));
            return Ok(());
        }
        self.check_count()?;
        out.list.push(Output::Join { place, reference });
        Ok(())
    }

    /// Whether one more room can be joined.
    fn check_count(&self) -> Result<(), line::Error> {
        if self.rooms.len() >= ROOMS_MAX {
            let text = format!("you are in {ROOMS_MAX} rooms, and can be in no more; /part from one first");
            return Err(command::error("too_many_rooms", text));
        }
        Ok(())
    }

    fn part(
        &mut self,
        place: Option<&Place>,
        reason: String,
        reference: Option<Ref>,
        out: &mut Outputs,
    ) -> Result<(), line::Error> {
        let place = self.room(place)?.place.clone();
        if let Some(room) = self.rooms.get_mut(&place) {
            room.reference = reference;
        }
        out.list.push(Output::Part { place, reason });
        Ok(())
    }

    pub(super) fn rooms(&self, others: Vec<Elsewhere>, reference: Option<Ref>) -> Body {
        let row = |room: &Room| room.row(self.current.as_ref() == Some(&room.place));
        Body::Rooms(line::Rooms {
            reference,
            rooms: self.rooms.values().map(row).collect(),
            others,
        })
    }

    fn check_not_leaving(&self) -> Result<(), line::Error> {
        match self.leaving {
            true => Err(command::error("leaving", "you are leaving; nothing more can be sent")),
            false => Ok(()),
        }
    }

    fn send(&self, room: &Room, post: &Post, reference: Option<Ref>, out: &mut Outputs) -> Result<(), line::Error> {
        self.check_not_leaving()?;
        let payload = post
            .encode()
            .map_err(|refusal| command::error("too_long", refusal.to_string()))?;
        out.list.push(Output::Send {
            place: room.place.clone(),
            payload,
            reply_to: post.reply_to,
            reference,
        });
        Ok(())
    }
}

/// An answer to that message, or to the newest of somebody else.
fn reply(room: &Room, id: Option<&str>, text: String) -> Result<Post, line::Error> {
    let nothing = || command::error("nothing_yet", "nobody else has said anything here yet");
    let answered = match id {
        Some(id) => message(room, id)?,
        None => room.newest.ok_or_else(nothing)?,
    };
    Ok(Post {
        kind: Kind::Text,
        text,
        reply_to: Some(answered),
    })
}

/// `chat-lobby.jsonl`; whatever could lead to another directory is left out.
fn export_name(room: &Room) -> String {
    let name: String = room
        .place
        .to_string()
        .chars()
        .filter(|c| names::nick_allows(*c))
        .collect();
    format!("chat-{name}.jsonl")
}

/// The message of a room that an id means.
fn message(room: &Room, id: &str) -> Result<Dot, line::Error> {
    room.people
        .resolve_message(id)
        .map_err(|refusal| command::error("bad_argument", refusal.to_string()))
}
