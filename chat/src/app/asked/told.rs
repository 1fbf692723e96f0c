//! Commands that say something of this chat, or of a room.

use crate::app::charter;
use crate::app::command;
use crate::app::line::{self, Ref};
use crate::app::place::Place;
use crate::app::{App, Output, Outputs};
use crate::names;
use crate::word::Word;

impl App {
    /// This chat shows under another nick, in every room that it is in or joins.
    pub(super) fn nick(&mut self, nick: String, reference: Option<Ref>, out: &mut Outputs) -> Result<(), line::Error> {
        names::check_nick(&nick).map_err(|refusal| command::error("bad_argument", refusal.to_string()))?;
        self.check_not_leaving()?;
        if nick == self.own().nick {
            return Err(command::error("unchanged", format!("you are {nick} already")));
        }
        // Whoever is in no room has nobody to tell it to.
        self.room(self.rooms.keys().next())?;
        for room in self.rooms.values_mut().filter(|room| room.is_open()) {
            room.nick = Some(nick.clone());
            out.list.push(Output::Send {
                place: room.place.clone(),
                payload: Word::Nick(nick.clone()).encode(),
                reply_to: None,
                reference: reference.clone(),
            });
        }
        self.nick = Some(nick);
        Ok(())
    }

    /// What a room is about, from now on or at present.
    pub(super) fn topic(
        &mut self,
        text: Option<String>,
        place: Option<&Place>,
        reference: Option<Ref>,
        out: &mut Outputs,
    ) -> Result<(), line::Error> {
        let room = self.room(place)?;
        let Some(text) = text else {
            out.tell(room.topic(reference));
            return Ok(());
        };
        charter::check_topic(&text).map_err(|why| command::error("bad_argument", why))?;
        self.check_not_leaving()?;
        out.list.push(Output::Send {
            place: room.place.clone(),
            payload: Word::Topic { text, set: None }.encode(),
            reply_to: None,
            reference,
        });
        Ok(())
    }
}
