//! What members say, on its way from the wire to the engine and to the layer above it.

use tokio::sync::oneshot;

use crate::engine::Frame;
use crate::group::faulty::Faulty;
use crate::group::ping;
use crate::group::task::Task;
use crate::id::MemberId;

impl Task {
    /// A frame from the net: heard now, later, or never.
    pub(super) fn on_frame(&mut self, from: MemberId, frame: Frame, answer: Option<oneshot::Sender<Vec<Frame>>>) {
        let heard = (from, frame, answer);
        let heard = match &mut self.state.faulty {
            Some(faulty) => faulty.pass(heard),
            None => Some(heard),
        };
        if let Some((from, frame, answer)) = heard {
            self.hear(from, frame, answer);
        }
    }

    /// Hears what was late and is due.
    pub(super) fn hear_late(&mut self) {
        while let Some((from, frame, answer)) = self.state.faulty.as_mut().and_then(Faulty::due) {
            self.hear(from, frame, answer);
        }
    }

    /// What a member says goes to the engine, or to the layer above it.
    fn hear(&mut self, from: MemberId, frame: Frame, answer: Option<oneshot::Sender<Vec<Frame>>>) {
        match frame {
            Frame::Answer { dot, reply } => {
                match ping::is_ping(dot) {
                    true => self.state.pings.on_answer(from),
                    false => self.state.calls.on_answer(from, dot, reply),
                }
                answer.map(|answer| answer.send(Vec::new()));
            }
            Frame::Asking { dot } => {
                let said = self.state.calls.said(dot).or_else(|| ping::answer(dot));
                let said: Vec<Frame> = said.into_iter().collect();
                match answer {
                    Some(answer) => drop(answer.send(said)),
                    None => said.into_iter().for_each(|frame| self.say(from, frame)),
                }
            }
            frame => {
                let is_data = matches!(frame, Frame::Push(_) | Frame::Pulled(_));
                // What is not taken now is sent again: a peer's cursor waits for the answer.
                if (self.state.behind || self.is_swamped()) && is_data {
                    answer.into_iter().for_each(|answer| drop(answer.send(Vec::new())));
                } else {
                    self.state.turn.hear(from, frame, answer);
                }
            }
        }
    }
}
