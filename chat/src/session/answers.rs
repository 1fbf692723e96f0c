//! Answers to the model's questions, asked of the group's task, the node and the registries.

use multicast::{MemberState, Node, NodeId};

use super::drive::Session;
use crate::app::line::RegistryLine;
use crate::app::question::{Answer, Question};
use crate::registries;

impl Session {
    pub(super) async fn answer(&mut self, question: Question) -> Answer {
        match question {
            Question::Who => who(self.sender.roster().await, &self.node),
            Question::Clock => Answer::Clock {
                delivered: self.sender.clock(),
                stable: self.sender.stable(),
                lamport: self.sender.gauges().await.lamport,
            },
            Question::Held => Answer::Held {
                held: self.sender.gauges().await.held as u64,
                messages: self.sender.held().await,
            },
            Question::Why(dot) => Answer::Why(dot, self.sender.explain(dot).await),
            Question::Info(dot) => Answer::Info(dot, self.sender.explain(dot).await),
            Question::Peers => Answer::Peers(self.node.links()),
            Question::Status => Answer::Status {
                registries: self.registry_lines(),
                gauges: self.sender.gauges().await,
                members: self.sender.members().len() as u64,
            },
        }
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
