//! What is done by all chats together, or not at all.

use crate::app::charter;
use crate::app::command::{self, Create};
use crate::app::line::{self, Ref};
use crate::app::place::Place;
use crate::app::{App, Output, Outputs};

impl App {
    pub(super) fn create(
        &mut self,
        create: Create,
        reference: Option<Ref>,
        out: &mut Outputs,
    ) -> Result<(), line::Error> {
        let Create {
            room,
            ordered,
            private,
            topic,
        } = create;
        let place = Place::room(&room);
        let name = place.to_string().trim_start_matches('#').to_owned();
        charter::check_name(&name).map_err(|why| command::error("bad_argument", why))?;
        charter::check_topic(&topic).map_err(|why| command::error("bad_argument", why))?;
        // Where rooms in which everybody sees one order, and rooms by invitation, are to be created.
        if ordered || private {
            let kind = if ordered { "ordered" } else { "private" };
            let text = format!("{kind} rooms cannot be created yet; /create {name} gives a room in causal order");
            return Err(command::error("not_built", text));
        }
        if self.leaving {
            return Err(command::error(
                "leaving",
                "you are leaving; nothing more can be created",
            ));
        }
        self.check_count()?;
        out.list.push(Output::Create { name, topic, reference });
        Ok(())
    }

    pub(super) fn close(
        &mut self,
        place: Option<&Place>,
        reference: Option<Ref>,
        out: &mut Outputs,
    ) -> Result<(), line::Error> {
        let place = self.room(place)?.place.clone();
        if self.leaving {
            return Err(command::error("leaving", "you are leaving; nothing more can be closed"));
        }
        out.list.push(Output::Close { place, reference });
        Ok(())
    }
}
