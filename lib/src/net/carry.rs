//! What travels over an outbound link: calls of groups, in the order in which they come, and the node's own.

#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use crate::engine::Frame;
use crate::identity::Profile;
use crate::net::dial::{News, Phone};
use crate::net::line::Line;
use crate::net::rpc::{Call, Hello, Path, Presence, Reply};
use crate::net::vouch::{self, Whom};
use crate::net::{Knock, LINK_QUEUE, POLL_AFTER, STALL_TIMEOUT};

/// Carries calls until the connection ends; calls are written in the order in which they come. When nobody has a use
/// for the link any more it ends as soon as what was begun is answered.
pub(super) async fn carry(
    phone: &Phone,
    (addr, line): (SocketAddr, &mut Line),
    (whom, theirs): (&Whom, &mut Hello),
    mut mine: Mine,
    (mut calls, mut visited): (mpsc::Receiver<Call>, watch::Receiver<bool>),
) -> &'static str {
    let mut stall = pin!(sleep_until(Instant::now() + STALL_TIMEOUT));
    // A node that is not dialled back within a while asks for what the other has to say.
    let (mut polling, poll_from) = (false, Instant::now() + POLL_AFTER);
    let mut needed = true;
    loop {
        if !needed && let Some(call) = mine.news() {
            line.begin(call);
        }
        // What happens rarely is waited for as one, so that a busy link need not enlist for each with every call.
        let mut rare = pin!(rare_call(&mut mine, &mut visited, (!polling).then_some(poll_from)));
        // Until that changes:
        loop {
            // A poll is answered when there is something to say: nobody would hear it.
            if !needed && line.under_way() <= usize::from(polling) {
                return "no group needs it";
            }
            tokio::select! {
                // First what was begun: those that were begun together share a write.
                biased;
                answered = line.next() => match answered {
                    Some((path, Ok(reply))) => {
                        let answers_poll = matches!(reply, Reply::Said(_));
                        if let Err(why) = take_reply(phone, (addr, path), (whom, theirs), reply).await {
                            return why;
                        }
                        if answers_poll {
                            polling = false;
                            break;
                        }
                    }
                    Some((_, Err(error))) => {
                        tracing::debug!(%addr, error, "a call failed");
                        return "a call failed";
                    }
                    None => return "the connection was closed",
                },
                call = calls.recv(), if needed && line.has_room() => match call {
                    Some(call) => {
                        line.begin(call);
                        while line.has_room() && let Ok(call) = calls.try_recv() {
                            line.begin(call);
                        }
                    }
                    // A group that is over has let go of it, which the other side is still to know.
                    None => {
                        needed = false;
                        break;
                    }
                },
                call = &mut rare, if needed => {
                    let Some(call) = call else { return "the node is shutting down" };
                    begin_last(line, &mut calls, call, &mut polling);
                    break;
                }
                () = &mut stall => {
                    let now = Instant::now();
                    let due = line.oldest().unwrap_or(now) + STALL_TIMEOUT;
                    if due <= now {
                        return "no answer in time";
                    }
                    stall.as_mut().reset(due);
                }
            }
        }
    }
}

/// What the other side of a link is told of this node's groups.
pub(super) struct Mine {
    pub(super) hello: watch::Receiver<Arc<Hello>>,
    /// What it was told last.
    pub(super) told: Vec<Presence>,
    /// The profile of the other side.
    pub(super) whom: Option<Profile>,
}

impl Mine {
    /// What it is to be told now, if that differs from what it was told: whoever may know of nothing that changed does
    /// not even notice that something did.
    fn news(&mut self) -> Option<Call> {
        let hello = self.hello.borrow_and_update();
        let groups = hello.groups_for(self.whom.as_ref());
        if groups == self.told {
            return None;
        }
        self.told.clone_from(&groups);
        Some(Call::Groups(hello.revision, groups))
    }
}

/// Begins a call of the node itself behind those that wait, room or not: a group that is over has said its last words
/// before the node says that it is, and from a member that is not there any more nothing would be taken.
fn begin_last(line: &mut Line, calls: &mut mpsc::Receiver<Call>, last: Call, polling: &mut bool) {
    for _ in 0..LINK_QUEUE {
        let Ok(call) = calls.try_recv() else { break };
        line.begin(call);
    }
    *polling |= matches!(last, Call::Poll);
    line.begin(last);
}

/// A call that the node itself has to make, on which the dialling side waits seldom; nothing, if it is shutting down.
async fn rare_call(mine: &mut Mine, visited: &mut watch::Receiver<bool>, poll_from: Option<Instant>) -> Option<Call> {
    loop {
        if let Some(call) = mine.news() {
            return Some(call);
        }
        let lonely = poll_from.filter(|_| !*visited.borrow_and_update());
        let poll = async {
            match lonely {
                Some(from) => sleep_until(from).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = mine.hello.changed() => changed.ok()?,
            changed = visited.changed() => changed.ok()?,
            () = poll => return Some(Call::Poll),
        }
    }
}

/// Brings a reply where it belongs. Or why the connection is to be closed.
async fn take_reply(
    phone: &Phone,
    way: (SocketAddr, Path),
    (whom, theirs): (&Whom, &mut Hello),
    reply: Reply,
) -> Result<(), &'static str> {
    let Err(fault) = take_believed(phone, way, (whom, theirs), reply).await else {
        return Ok(());
    };
    if let Fault::Forged(why) = fault {
        tracing::warn!(addr = %way.0, node = %whom.node.short(), "link closed: {why}");
        // Who has not proved its id could make it another's fault.
        if phone.tls.is_some() {
            let _ = phone.news.send((way.0, News::Forged { node: whom.node })).await;
        }
    }
    let (Fault::Forged(why) | Fault::Over(why)) = fault;
    Err(why)
}

/// Why a reply ends a connection.
#[derive(Clone, Copy)]
enum Fault {
    /// It says what is not the other side's to say.
    Forged(&'static str),
    /// This node needs no replies any more.
    Over(&'static str),
}

async fn take_believed(
    phone: &Phone,
    (addr, path): (SocketAddr, Path),
    (whom, theirs): (&Whom, &mut Hello),
    reply: Reply,
) -> Result<(), Fault> {
    match reply {
        Reply::Frames(mut frames) => {
            let theirs = path.back();
            frames
                .iter_mut()
                .try_for_each(|frame| vouch::frame(whom, theirs, frame))
                .map_err(Fault::Forged)?;
            hand_in(phone, whom, theirs, frames).await;
        }
        Reply::Hello(hello) => {
            if hello.node != whom.node || !vouch::are_its_own(whom.node, &hello.groups) {
                return Err(Fault::Forged("it names members that are not its own"));
            }
            *theirs = hello.clone();
            let told = phone.news.send((addr, News::Groups { hello })).await;
            told.map_err(|_| Fault::Over("the node is shutting down"))?;
        }
        Reply::Said(said) => {
            for (path, mut frame) in said {
                // Of a member that has left in the meantime something may still come.
                if !theirs.takes_part(path.group, path.from) {
                    continue;
                }
                vouch::frame(whom, path, &mut frame).map_err(Fault::Forged)?;
                hand_in(phone, whom, path, vec![frame]).await;
            }
        }
        Reply::Refused(refusal) => tracing::debug!(%addr, "a call was refused: {refusal}"),
    }
    Ok(())
}

/// What a member of the other side says goes to the group that it is for.
async fn hand_in(phone: &Phone, whom: &Whom, path: Path, frames: Vec<Frame>) {
    let door = phone
        .doors
        .borrow()
        .get(&path.group)
        .filter(|door| door.member == path.to && door.lets_in(whom.profile.as_ref()))
        .cloned();
    let Some(door) = door else { return };
    for frame in frames {
        // A group that is gone needs no answers.
        let _ = door
            .knock
            .send(Knock::Frame {
                from: path.from,
                frame,
                answer: None,
            })
            .await;
    }
}
