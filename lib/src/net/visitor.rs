//! A connection of another node: what it asks is done, and answered in order.

use std::io;

use bytes::Bytes;
use futures::stream::FuturesUnordered;
use futures::{SinkExt, StreamExt};
use tarpc::Response;
use tarpc::server::TrackedRequest;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout};

use crate::engine::Frame;
use crate::net::rpc::{Call, Hello, Path, Refusal, Reply, Request};
use crate::net::serve::{Channel, Desk, Visit, down, forged, odd};
use crate::net::vouch::{self, Whom};
use crate::net::{Door, Knock, LINK_QUEUE, POLL_TIME, POLLED, REQUESTS_IN_FLIGHT, STALL_TIMEOUT};
use crate::run::Run;

/// A request that waits for its group.
type Waiting = (u64, oneshot::Receiver<Vec<Frame>>);

/// A connection that said who it is.
pub(super) struct Visitor {
    channel: Channel,
    desk: Desk,
    theirs: Hello,
    whom: Whom,
    /// The poll that waits for something to say, and until when.
    poll: Option<(u64, Instant)>,
    /// What this node has to say to one that it cannot dial.
    reverse: Option<mpsc::Receiver<Call>>,
    /// What did not fit into the last answer to a poll.
    postponed: Option<Call>,
}

impl Visitor {
    pub(super) fn new(channel: Channel, desk: Desk, theirs: Hello, whom: Whom) -> Self {
        Self {
            channel,
            desk,
            theirs,
            whom,
            poll: None,
            reverse: None,
            postponed: None,
        }
    }

    /// Until the other side ends it, says what cannot be, or has a newer connection.
    pub(super) async fn serve(mut self, mut replaced: oneshot::Receiver<()>) -> io::Result<()> {
        let mut waiting = FuturesUnordered::new();
        loop {
            let polled = self.poll;
            tokio::select! {
                Some((id, reply)) = waiting.next() => answer(&mut self.channel, id, reply).await?,
                request = self.channel.next(), if waiting.len() < REQUESTS_IN_FLIGHT => {
                    let Some(request) = request else { return Ok(()) };
                    let TrackedRequest { request, .. } = request.map_err(io::Error::other)?;
                    waiting.extend(self.on_request(request.id, request.message).await?.map(reply_of));
                }
                call = next_call(&mut self.postponed, &mut self.reverse), if polled.is_some() => self.say(call).await?,
                () = over(polled), if polled.is_some() => {
                    self.answer_poll(Vec::new()).await?;
                }
                _ = &mut replaced => return Ok(()),
            }
        }
    }

    /// Answers at once, or says what to wait for.
    async fn on_request(&mut self, id: u64, request: Request) -> io::Result<Option<Waiting>> {
        match request {
            Request::Frame { path, mut frame } => match admit((&self.theirs, &self.whom), &self.desk, path) {
                Ok(door) => {
                    vouch::frame(&self.whom, path, &mut frame).map_err(forged)?;
                    let (answer, answered) = oneshot::channel();
                    let knock = Knock::Frame {
                        from: path.from,
                        frame: *frame,
                        answer: Some(answer),
                    };
                    // A group that is gone lets go of the knock, and of the answer in it.
                    let _ = door.knock.send(knock).await;
                    return Ok(Some((id, answered)));
                }
                Err(refusal) => answer(&mut self.channel, id, Reply::Refused(refusal)).await?,
            },
            Request::Groups(revision, groups) if vouch::are_its_own(self.whom.node, &groups) => {
                self.theirs.groups = groups.clone();
                self.tell(Visit::Groups {
                    node: self.whom.node,
                    revision,
                    groups,
                })
                .await?;
                let mine = self.desk.mine(self.whom.profile.as_ref());
                answer(&mut self.channel, id, Reply::Hello(mine)).await?;
            }
            Request::Poll => {
                // A second poll takes the place of the first.
                self.answer_poll(Vec::new()).await?;
                self.poll = Some((id, Instant::now() + POLL_TIME));
                if self.reverse.is_none() {
                    let (link, calls) = mpsc::channel(LINK_QUEUE);
                    self.reverse = Some(calls);
                    self.tell(Visit::Polls {
                        node: self.whom.node,
                        link,
                    })
                    .await?;
                }
            }
            Request::Groups(..) => return Err(forged("it names members that are not its own")),
            Request::Hello(_) => return Err(odd("it greets twice")),
        }
        Ok(None)
    }

    async fn tell(&self, visit: Visit) -> io::Result<()> {
        self.desk.visits.send(visit).await.map_err(|_| down())
    }

    /// Answers the poll with this call, and small ones that wait behind it. One that may be large goes alone, so
    /// that the answer fits a frame.
    async fn say(&mut self, first: Call) -> io::Result<()> {
        let (mut said, mut bytes) = (Vec::new(), weight(&first));
        said.extend(frame_of(first));
        while said.len() < POLLED.0 {
            let Some(call) = self.reverse.as_mut().and_then(|calls| calls.try_recv().ok()) else {
                break;
            };
            bytes += weight(&call);
            if bytes > POLLED.1 {
                self.postponed = Some(call);
                break;
            }
            said.extend(frame_of(call));
        }
        self.answer_poll(said).await
    }

    async fn answer_poll(&mut self, said: Vec<(Path, Frame)>) -> io::Result<()> {
        match self.poll.take() {
            Some((id, _)) => answer(&mut self.channel, id, Reply::Said(said)).await,
            None => Ok(()),
        }
    }
}

/// Returns when a group has answered, or is gone.
async fn reply_of((id, answered): Waiting) -> (u64, Reply) {
    let frames = answered.await.ok();
    (id, frames.map_or(Reply::Refused(Refusal::NotHere), Reply::Frames))
}

/// Returns when a poll has waited long enough.
async fn over(poll: Option<(u64, Instant)>) {
    if let Some((_, until)) = poll {
        sleep_until(until).await;
    }
}

/// The next call for a node that polls; never, if it does not, or if nobody has a use for it any more.
async fn next_call(postponed: &mut Option<Call>, calls: &mut Option<mpsc::Receiver<Call>>) -> Call {
    if let Some(call) = postponed.take() {
        return call;
    }
    if let Some(call) = match calls {
        Some(calls) => calls.recv().await,
        None => None,
    } {
        return call;
    }
    std::future::pending().await
}

/// What is counted for a call or frame without lists, in bytes; an introduction is the longest.
const SMALL: usize = 1024;

/// What a call may add to an answer, in bytes, roughly.
fn weight(call: &Call) -> usize {
    match call {
        Call::Push { run, .. } => run.iter().map(Bytes::len).sum(),
        Call::Frame { frame, .. } => weight_of(frame),
        Call::Hello(_) | Call::Groups(..) | Call::Poll => SMALL,
    }
}

/// The same of a frame: one that carries lists counts as all that an answer may have, so that it goes alone.
fn weight_of(frame: &Frame) -> usize {
    match frame {
        Frame::PushAck(_)
        | Frame::Greeted { .. }
        | Frame::Full { .. }
        | Frame::JoinAsk { .. }
        | Frame::Asking { .. } => SMALL,
        _ => POLLED.1,
    }
}

/// Whether one more frame fits an answer that has these.
pub(crate) fn has_room(said: &[Frame], more: &Frame) -> bool {
    said.iter().map(weight_of).sum::<usize>() + weight_of(more) <= POLLED.1
}

fn frame_of(call: Call) -> Option<(Path, Frame)> {
    match call {
        Call::Push { path, run } => Some((path, Frame::Push(Run::decode(&run.concat().into()).ok()?))),
        Call::Frame { path, frame } => Some((path, *frame)),
        Call::Hello(_) | Call::Groups(..) | Call::Poll => None,
    }
}

/// A frame goes in only from a member that lives in the calling node, to the member that lives here.
fn admit((theirs, whom): (&Hello, &Whom), desk: &Desk, path: Path) -> Result<Door, Refusal> {
    if !theirs.takes_part(path.group, path.from) {
        return Err(Refusal::NotYou);
    }
    let doors = desk.doors.borrow();
    let door = doors.get(&path.group).filter(|door| door.member == path.to);
    let door = door.filter(|door| door.lets_in(whom.profile.as_ref()));
    door.cloned().ok_or(Refusal::NotHere)
}

pub(super) async fn answer(channel: &mut Channel, request_id: u64, reply: Reply) -> io::Result<()> {
    let response = Response {
        request_id,
        message: Ok(reply),
    };
    match timeout(STALL_TIMEOUT, channel.send(response)).await {
        Ok(sent) => sent.map_err(io::Error::other),
        Err(_) => Err(odd("it does not read its answers")),
    }
}
