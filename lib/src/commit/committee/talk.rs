//! Requests as calls of the group.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::sleep;

use super::VOTES;
use crate::commit::{Answer, Request, TxnId};
use crate::group::{self, CallError, Collect, Replies, SendError, Sender};
use crate::message::Member;

/// How long those who are asked may take to say what they know.
const INQUIRY: Duration = Duration::from_secs(2);
/// Before something is said again that was refused because this committee had not read its group's events.
const CATCH_UP: Duration = Duration::from_millis(10);
/// Marks requests of a committee among the calls of its group: "2pc1".
const MARK: u32 = 0x3270_6331;

/// On the wire.
#[derive(Serialize, Deserialize)]
struct Marked {
    mark: u32,
    request: Request,
}

/// What came of a request that was made of everybody.
pub(super) enum Talk {
    Voted { txn: TxnId, answers: Vec<(Member, Answer)> },
    Told { txn: TxnId },
    Known { txn: TxnId, answers: Vec<(Member, Answer)> },
}

/// What a committee's request says; nothing, if it is somebody else's.
pub(super) fn read(request: &group::Request) -> Option<Request> {
    let marked: Marked = request.read().ok()?;
    (marked.mark == MARK).then_some(marked.request)
}

/// Asks everybody.
pub(super) async fn ask(sender: Sender, request: Request) -> Talk {
    match request {
        Request::Prepare {
            txn, ref participants, ..
        } => {
            let all = Collect::First(participants.len());
            let answers = call(&sender, request, all, VOTES).await;
            Talk::Voted { txn, answers }
        }
        Request::Decision { txn, .. } => {
            call(&sender, request, Collect::First(0), Duration::ZERO).await;
            Talk::Told { txn }
        }
        Request::Inquire { txn } => {
            let answers = call(&sender, request, Collect::All, INQUIRY).await;
            Talk::Known { txn, answers }
        }
    }
}

/// Nothing comes once this member has left.
async fn call(sender: &Sender, request: Request, collect: Collect, deadline: Duration) -> Vec<(Member, Answer)> {
    let marked = Marked { mark: MARK, request };
    loop {
        match sender.call(&marked, collect, deadline).await {
            Ok(Replies { replies, .. }) => return replies,
            Err(CallError::Send(SendError::Behind) | CallError::TooMany) => sleep(CATCH_UP).await,
            Err(_) => return Vec::new(),
        }
    }
}
