//! Answers to the model's questions, asked of the group's task, the node and the registries.

use multicast::{Gauges, MemberState, Node, NodeId};

use super::drive::Session;
use super::{kept, rooms};
use crate::app::line::RegistryLine;
use crate::app::place::Place;
use crate::app::question::{Answer, Question};
use crate::registries;

impl Session {
    /// The answer; nothing, if it would be about a room that this instance is not in.
    pub(super) async fn answer(&mut self, place: Option<&Place>, question: Question) -> Option<Answer> {
        let room = place.and_then(|place| self.rooms.get(place));
        match question {
            Question::Peers => return Some(Answer::Peers(self.node.links())),
            Question::Status => {
                let (gauges, members) = match room {
                    Some(room) => (room.sender.gauges().await, room.sender.members().len() as u64),
                    None => (Gauges::default(), 0),
                };
                return Some(Answer::Status {
                    registries: self.registry_lines(),
                    gauges,
                    members,
                });
            }
            _ => {}
        }
        let sender = &room?.sender;
        Some(match question {
            Question::Who | Question::Peers | Question::Status => who(sender.roster().await, &self.node),
            Question::History { limit, text } => {
                let group = rooms::group_name(place?, room?.key);
                match kept::history(&self.node, &group, sender, limit, text).await {
                    Ok((messages, names)) => Answer::History { messages, names },
                    Err(why) => Answer::NotKept(why),
                }
            }
            Question::Clock => Answer::Clock {
                delivered: sender.clock(),
                stable: sender.stable(),
                lamport: sender.gauges().await.lamport,
            },
            Question::Held => Answer::Held {
                held: sender.gauges().await.held as u64,
                messages: sender.held().await,
            },
            Question::Why(dot) => Answer::Why(dot, sender.explain(dot).await),
            Question::Info(dot) => Answer::Info(dot, sender.explain(dot).await),
        })
    }

    fn registry_lines(&self) -> Vec<RegistryLine> {
        let lines = self.registries.status().into_iter().map(|one| RegistryLine {
            state: registries::words(&one.standing),
            registry: one.registry,
        });
        lines.collect()
    }
}

fn who(roster: Vec<MemberState>, node: &Node) -> Answer {
    // A node's first membership has the node's own id, and a chat joins once.
    let profiles = roster.iter().filter_map(|state| {
        let id = state.member.id;
        Some((id, node.profile(NodeId(id.0))?.fingerprint()))
    });
    let profiles = profiles.collect();
    Answer::Who { roster, profiles }
}
