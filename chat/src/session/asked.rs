//! What connections to the control socket ask for.

use super::drive::Session;
use crate::app::Input;
use crate::control::server::{Heard, Server};
use crate::control::{Id, marked, path};
use crate::input::Typed;

impl Session {
    /// Listens, for a chat that has a profile.
    pub(super) fn listen_for_requests(&mut self) {
        match path(&self.settings.profile, true).and_then(Server::start) {
            Ok(server) => self.control = Some(server),
            Err(why) => self.show.notice(format!("no control socket: {why}")),
        }
    }

    pub(super) async fn on_control(&mut self, heard: Heard) {
        match heard {
            Heard::Came(id, reply) => {
                if reply.send(self.show.greet(id)).is_err() {
                    self.show.hub().gone(id);
                }
            }
            Heard::Gone(id) => self.show.hub().gone(id),
            Heard::Line(id, typed) => {
                // What is refused at once has no `ref` of its own to find the way back by.
                self.show.hub().asker = Some(id);
                self.on_request(id, typed).await;
                self.show.hub().asker = None;
            }
        }
    }

    async fn on_request(&mut self, id: Id, typed: Typed) {
        let input = match typed {
            Typed::Line(line) => match self.show.hub().takes(id, &line) {
                None => Input::JsonLine(marked(id, &line)),
                Some(Ok(())) => return,
                Some(Err(error)) => Input::BadLine(error),
            },
            Typed::Bad(error) => Input::BadLine(error),
            Typed::Interrupt | Typed::End => return,
        };
        self.take(input).await;
    }
}

/// The next thing that a connection does; never, where nothing is listened on.
pub(super) async fn next(control: Option<&mut Server>) -> Heard {
    match control {
        Some(control) => control.next().await,
        None => std::future::pending().await,
    }
}
