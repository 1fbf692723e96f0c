//! Answers to the model's questions, asked of the group's task, the node and the registries.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use multicast::{Gauges, MemberId, MemberState, Node, NodeId};

use super::drive::Session;
use super::{kept, rooms};
use crate::app::Input;
use crate::app::chaos::Fault;
use crate::app::charter;
use crate::app::line::{Elsewhere, Ref, RegistryLine};
use crate::app::place::Place;
use crate::app::question::{Answer, Question};
use crate::history;
use crate::registries;
use crate::settings::Settings;

/// How long a ping waits: longer than any delay on purpose.
const PING: Duration = Duration::from_secs(5);
/// Most rooms of others that `/rooms` tells: as many as can be created.
const ELSEWHERE_MAX: usize = charter::CHARTERS_MAX;

impl Session {
    /// The answer; nothing, if it would be about a room that this instance is not in.
    pub(super) async fn answer(&mut self, place: Option<&Place>, question: Question) -> Option<Answer> {
        let room = place.and_then(|place| self.rooms.get(place));
        match question {
            Question::Rooms => return Some(Answer::Rooms(self.elsewhere())),
            Question::Peers => return Some(Answer::Peers(self.node.links())),
            Question::Fault(fault) => return Some(Answer::Fault(self.set(fault))),
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
        let listening = place.map_or(0, |place| self.show.listening(place));
        let sender = &room?.sender;
        Some(match question {
            Question::Who
            | Question::Peers
            | Question::Rooms
            | Question::Status
            | Question::Ping(_)
            | Question::Export(_)
            | Question::Fault(_) => who((sender.roster().await, listening), &self.node),
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

    /// Rooms that this instance is not in: those that were created, and those in which registries know somebody.
    fn elsewhere(&self) -> Vec<Elsewhere> {
        let mut rooms = BTreeMap::new();
        for (room, members) in self.registries.rooms() {
            let (topic, by) = (String::new(), None);
            rooms.insert(
                room.clone(),
                Elsewhere {
                    room,
                    members,
                    topic,
                    by,
                },
            );
        }
        let charters = self.council.iter().flat_map(|council| council.charters.all());
        for (room, charter) in charters {
            let members = rooms.get(&room).map_or(0, |known| known.members);
            let known = Elsewhere {
                room: room.clone(),
                members,
                topic: charter.topic.clone(),
                by: Some(format!("{}#{}", charter.nick, charter.by.short())),
            };
            rooms.insert(room, known);
        }
        rooms.retain(|room, _| self.rooms.get(&Place::room(room)).is_none());
        rooms.into_values().take(ELSEWHERE_MAX).collect()
    }

    /// Asks somebody for an answer; the next line is read when it is there.
    pub(super) fn ping(&mut self, place: Place, member: MemberId, reference: Option<Ref>) {
        let Some(room) = self.rooms.get(&place) else { return };
        let sender = room.sender.clone();
        self.asking = Some(Box::pin(async move {
            let took = sender.ping(member, PING).await;
            Input::Answered {
                place: Some(place),
                answer: Answer::Ping(member, took),
                reference,
            }
        }));
    }

    /// Writes what is kept of a room into a file, on a thread of its own; the next line is read when that is done.
    pub(super) fn export(&mut self, place: Place, file: String, reference: Option<Ref>) {
        let Some(room) = self.rooms.get(&place) else { return };
        let group = rooms::group_name(&place, room.key);
        let settings = Settings {
            room: place.to_string().trim_start_matches('#').to_owned(),
            ..self.settings.clone()
        };
        self.asking = Some(Box::pin(async move {
            let path = PathBuf::from(&file);
            let work = tokio::task::spawn_blocking(move || history::save(&settings, &group, &path));
            let saved = work
                .await
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
            Input::Answered {
                place: Some(place),
                answer: Answer::Exported(saved.map(|messages| (file, messages))),
                reference,
            }
        }));
    }

    /// Sets a fault, if this chat may have any.
    fn set(&self, fault: Fault) -> Result<Fault, String> {
        let Some(faults) = &self.faults else {
            return Err("this chat was started without --chaos".to_owned());
        };
        let ms = Duration::from_millis;
        let set = match &fault {
            Fault::Delay(member, (from, to)) => faults.delay(*member, ms(*from)..=ms(*to)),
            Fault::Drop(member, percent) => faults.lose(*member, *percent),
            Fault::Cut(members) => faults.cut(members.iter().copied()),
            Fault::Heal => {
                faults.heal();
                Ok(())
            }
        };
        set.map(|()| fault).map_err(|refusal| refusal.to_string())
    }

    fn registry_lines(&self) -> Vec<RegistryLine> {
        let lines = self.registries.status().into_iter().map(|one| RegistryLine {
            state: registries::words(&one.standing),
            registry: one.registry,
        });
        lines.collect()
    }
}

fn who((roster, attached): (Vec<MemberState>, u64), node: &Node) -> Answer {
    // A node's first membership has the node's own id, and a chat joins once.
    let profiles = roster.iter().filter_map(|state| {
        let id = state.member.id;
        Some((id, node.profile(NodeId(id.0))?.fingerprint()))
    });
    let profiles = profiles.collect();
    Answer::Who {
        roster,
        attached,
        profiles,
    }
}
