//! What became of a message that one sent.

use std::sync::Arc;

use crate::group::Shared;
use crate::id::Dot;
use crate::message::Member;

/// What became of a message that one sent: who has it.
///
/// "Everyone" are the members that count: those who joined and did not leave. Members that are silent count, so
/// that nobody is forgotten; bound the wait with a timeout where that matters.
#[derive(Clone, Debug)]
pub struct Receipt {
    dot: Dot,
    shared: Arc<Shared>,
    /// The count of changes that was seen last.
    seen: u64,
}

impl Receipt {
    pub(crate) fn new(dot: Dot, shared: Arc<Shared>, seen: u64) -> Self {
        Self { dot, shared, seen }
    }

    /// The message's id.
    pub fn dot(&self) -> Dot {
        self.dot
    }

    /// How many members have delivered it, and of how many that count, the sender included in both.
    pub fn progress(&self) -> (usize, usize) {
        let rows = self.shared.rows();
        let have = rows.iter().filter(|row| self.has(row)).count();
        (have, rows.len())
    }

    /// Members that have delivered it, and members that count and have not, as far as known here; the sender is
    /// in neither.
    pub fn who(&self) -> (Vec<Member>, Vec<Member>) {
        let others = self
            .shared
            .rows()
            .into_iter()
            .filter(|row| row.member.id != self.dot.origin);
        let (have, lack): (Vec<_>, Vec<_>) = others.partition(|row| self.has(row));
        (
            have.into_iter().map(|row| row.member).collect(),
            lack.into_iter().map(|row| row.member).collect(),
        )
    }

    /// Members that have not delivered it although they are there: neither silent nor refusing connections.
    pub fn pending_live(&self) -> Vec<Member> {
        let lacks = |row: &crate::group::Row| row.there && !self.has(row);
        self.shared
            .rows()
            .into_iter()
            .filter(lacks)
            .map(|row| row.member)
            .collect()
    }

    /// Returns when `k` members have it, the sender included.
    pub async fn on(&self, k: usize) {
        let mut watch = self.clone();
        while watch.progress().0 < k {
            watch.changed().await;
        }
    }

    /// Returns when every member that counts has it.
    pub async fn everyone(&self) {
        let mut watch = self.clone();
        loop {
            let (have, of) = watch.progress();
            if have >= of {
                return;
            }
            watch.changed().await;
        }
    }

    /// Returns at the next change of `progress` or `who`; never, once this member has left.
    pub async fn changed(&mut self) {
        // The sender lives in `shared`, which this receipt keeps alive: there is no error to come.
        let mut changes = self.shared.changes.subscribe();
        if let Ok(count) = changes.wait_for(|count| *count != self.seen).await {
            self.seen = *count;
        }
    }

    fn has(&self, row: &crate::group::Row) -> bool {
        row.member.id == self.dot.origin || row.acked >= self.dot.seq
    }
}
