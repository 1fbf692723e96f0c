//! What became of a message that one sent.

use crate::id::Dot;
use crate::message::Member;

/// What became of a message that one sent: who has it.
///
/// "Everyone" are the members that count: those who joined and did not leave. Members that are silent count, so
/// that nobody is forgotten; bound the wait with a timeout where that matters.
#[derive(Clone, Debug)]
pub struct Receipt {}

impl Receipt {
    /// The message's id.
    pub fn dot(&self) -> Dot {
        todo!()
    }

    /// How many members have delivered it, and of how many that count, the sender included in both.
    pub fn progress(&self) -> (usize, usize) {
        todo!()
    }

    /// Members that have delivered it, and members that count and have not, as far as known here.
    pub fn who(&self) -> (Vec<Member>, Vec<Member>) {
        todo!()
    }

    /// Like `who`, but of those that have not only the ones that are not silent.
    pub fn pending_live(&self) -> Vec<Member> {
        todo!()
    }

    /// Returns when `k` members have it, the sender included.
    pub async fn on(&self, _k: usize) {
        todo!()
    }

    /// Returns when every member that counts has it.
    pub async fn everyone(&self) {
        todo!()
    }

    /// Returns at the next change of `progress` or `who`.
    pub async fn changed(&mut self) {
        todo!()
    }
}
