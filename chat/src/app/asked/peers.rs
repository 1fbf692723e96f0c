//! Commands about one peer: how far it is, and whether it is heard.

use crate::app::chaos::Wish;
use crate::app::command;
use crate::app::line::{self, Body, Ignored, Ref};
use crate::app::place::Place;
use crate::app::question::Question;
use crate::app::{App, IGNORED_MAX, Outputs};

impl App {
    /// Shows no more of what somebody says, or shows it again; `ignored`: which of the two, else the other one than now.
    pub(super) fn ignore(
        &mut self,
        peer: Option<String>,
        ignored: Option<bool>,
        place: Option<&Place>,
        reference: Option<Ref>,
        out: &mut Outputs,
    ) -> Result<(), line::Error> {
        if let Some(peer) = peer {
            let member = self.room(place)?.other(&peer)?;
            if !ignored.unwrap_or(!self.ignored.contains(&member)) {
                self.ignored.remove(&member);
            } else if self.ignored.len() < IGNORED_MAX {
                self.ignored.insert(member);
            } else {
                let text = format!("{IGNORED_MAX} peers are ignored; /ignore one of them again to hear it");
                return Err(command::error("too_many", text));
            }
        }
        let ids = self.ignored.iter().map(|member| self.id(*member));
        out.tell(Body::Ignored(Ignored {
            reference,
            ignored: ids.collect(),
        }));
        Ok(())
    }

    /// Faults are for those who asked for them at the start.
    pub(super) fn fault(&self, wish: Wish, place: Option<&Place>) -> Result<Question, line::Error> {
        if !self.setup.chaos {
            let text = "faults on purpose are for chats that were started with --chaos";
            return Err(command::error("no_chaos", text));
        }
        Ok(Question::Fault(self.room(place)?.fault(wish)?))
    }
}
