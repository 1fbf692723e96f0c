//! What people read of what is done by all together.

use super::count;
use crate::app::clean;
use crate::app::line::{Op, Phase, Txn};

/// A line; nothing, where people have no use for it.
pub(super) fn words(txn: &Txn) -> Option<String> {
    let room = clean::line(&txn.room);
    let (doing, done) = match txn.op {
        Op::Create => ("creating", "created"),
        Op::Close => ("closing", "closed"),
    };
    let name = txn.txn.as_str();
    let by = clean::line(txn.by.split('#').next().unwrap_or_default());
    match txn.phase {
        Phase::Prepare if txn.own && txn.votes.is_empty() => Some(format!(
            "{doing} #{room}: asked {}",
            count(txn.asked.unwrap_or(0), "peer")
        )),
        Phase::Prepare => None,
        Phase::Committed if txn.own => {
            let took = txn.took_ms.unwrap_or(0);
            Some(format!("{done} #{room} (transaction {name}, {took} ms)"))
        }
        Phase::Committed => {
            let topic = match txn.topic.as_str() {
                "" => String::new(),
                topic => format!(", about {}", clean::line(topic)),
            };
            Some(format!("{by} {done} #{room}{topic} (transaction {name})"))
        }
        Phase::Aborted if txn.own => {
            let why = clean::line(txn.reason.as_deref().unwrap_or("it was aborted"));
            Some(format!("not {done}: {why}; nothing changed anywhere"))
        }
        Phase::Aborted => {
            let why = txn.reason.as_deref()?;
            Some(format!(
                "#{room} was not {done} by {by}, after all: {} (transaction {name})",
                clean::line(why)
            ))
        }
        Phase::InDoubt => Some(format!(
            "undecided whether {by} {done} #{room} (transaction {name}): whoever may know is asked again and again"
        )),
    }
}
