//! A plan as Rust source, to be pasted into a test.

use super::Plan;

/// The plan as an expression. `Debug` says nearly that; lists and variants lack their paths.
pub(crate) fn paste(plan: &Plan) -> String {
    let words = format!("{plan:#?}");
    let words = words.replace(": [", ": vec![").replace("act: ", "act: Act::");
    let words = words
        .replace("limits: ", "limits: Limits::")
        .replace("disks: ", "disks: Disks::")
        .replace("Tight(\n", "Tight(");
    let words = words
        .replace("what: ", "what: What::")
        .replace("Limits::Tight(        Room", "Limits::Tight(Room");
    words.lines().map(str::trim).collect::<Vec<_>>().join(" ")
}
