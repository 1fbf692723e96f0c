//! README.md tells the limits that the code has.

use std::time::Duration;

use crate::commit;
use crate::engine::{Config, receive, repair};
use crate::group::{self, backlog, call, faulty, keep, ping};
use crate::identity::{self, card};
use crate::net::{self, codec, rpc};
use crate::node::{self, gate, hub, outcasts, places};
use crate::store::keeper;
use crate::{bound, circle, faults, run};
use readme::{bytes, hold, number, time};

#[path = "../../testing/limits.rs"]
mod readme;

#[test]
fn the_readme_tells_the_limits_of_the_library() {
    let config = Config::default();
    let micros = |micros| time(Duration::from_micros(micros));
    let two = |(one, other): (String, String)| format!("{one}; {other}");
    let code = [
        ("frame", bytes(net::MAX_FRAME)),
        ("payload of a message", bytes(config.payload_limit)),
        ("lists and runs of a frame, in memory", bytes(bound::FRAME_BYTES)),
        ("one list in a frame: digest, view, spans", bytes(bound::LIST_BYTES)),
        ("messages in a run", number(run::MAX_RUN)),
        (
            "parents: entries of a clock; of all clocks in a run",
            two((number(run::MAX_CLOCK), number(run::MAX_RUN_CLOCKS))),
        ),
        ("members of a group", number(config.max_members)),
        ("members that a group has ever had", number(config.max_origins)),
        (
            "held of one origin",
            two((number(config.held_per_origin), bytes(config.held_bytes_per_origin))),
        ),
        ("held in all", bytes(config.held_bytes)),
        ("messages kept for repair", bytes(config.retention)),
        ("answer to a pull", bytes(config.pull_bytes)),
        (
            "answers to pulls of one member: at once; in a second after that",
            two((bytes(config.pull_burst), bytes(config.pull_rate))),
        ),
        (
            "spans in a pull; of one origin",
            two((number(repair::SPANS), number(repair::HOLES))),
        ),
        (
            "pause between two pulls of a message, first and longest",
            two((micros(config.pull_after), micros(config.pull_backoff))),
        ),
        (
            "requests of one connection that wait; calls under way on one",
            two((number(net::REQUESTS_IN_FLIGHT), number(net::CALLS_IN_FLIGHT))),
        ),
        (
            "window: ahead of the slowest member",
            two((
                number(config.window_messages as usize),
                bytes(config.window_bytes as usize),
            )),
        ),
        ("window where the way is long", bytes(config.far_window_bytes as usize)),
        ("a full window without progress", micros(config.lagging_after)),
        (
            "events that the application has not read",
            two((number(backlog::MOST_EVENTS), bytes(backlog::MOST_BYTES))),
        ),
        ("sends that wait", number(group::SEND_QUEUE)),
        (
            "that wait for the store",
            two((number(keep::MOST_MESSAGES), bytes(keep::MOST_BYTES))),
        ),
        ("calls that wait for the store", number(keep::MOST_HELD)),
        (
            "batches that wait for a node's store; questions",
            two((number(keeper::SAVES), number(keeper::QUESTIONS))),
        ),
        (
            "replies kept for callers that ask again",
            two((number(call::KEPT.0), bytes(call::KEPT.1))),
        ),
        ("pings of one member that wait", number(ping::MAX_PINGS)),
        (
            "members with faults on purpose; frames of a group that are late",
            two((number(faults::MAX_FAULTED), number(faulty::MAX_LATE))),
        ),
        ("a delay on purpose", time(faults::MAX_DELAY)),
        (
            "proposals of a committee that wait: one's own; of others",
            two((number(commit::MAX_OPEN), number(commit::MAX_PENDING))),
        ),
        ("operation that is proposed", bytes(commit::MAX_OPERATION)),
        ("outcomes that a committee remembers", number(commit::MAX_KNOWN)),
        (
            "votes; a doubt, until others are asked",
            two((time(commit::VOTES), time(commit::DOUBT))),
        ),
        ("TLS handshake and hello", time(net::HANDSHAKE_TIMEOUT)),
        (
            "connecting; a call or a write without progress",
            two((time(net::CONNECT_TIMEOUT), time(net::STALL_TIMEOUT))),
        ),
        ("deadline of a call", time(codec::MAX_DEADLINE)),
        ("inbound connections", number(net::MAX_CONNECTIONS)),
        ("that wait to be taken up", number(net::BACKLOG as usize)),
        (
            "taken up at once; in a second after that",
            two((number(net::ACCEPTED_AT_ONCE), number(net::ACCEPTED_IN_A_SECOND))),
        ),
        (
            "of one address; of one node",
            two((number(net::MAX_PER_ADDRESS), number(net::MAX_PER_NODE))),
        ),
        (
            "that have not said who they are; of one address",
            two((number(net::MAX_STRANGERS), number(net::MAX_STRANGERS_PER_ADDRESS))),
        ),
        ("groups of a node", number(rpc::MAX_GROUPS)),
        (
            "profiles that a private group's list speaks of",
            number(circle::MAX_LISTED),
        ),
        (
            "addresses dialled; nodes remembered",
            two((number(places::MAX_PLACES), number(hub::MAX_NODES))),
        ),
        ("evicted nodes remembered", number(gate::MAX_EVICTED)),
        ("banned nodes remembered", number(gate::MAX_BANNED)),
        ("hearing of one that signed two histories", time(outcasts::HEARING)),
        (
            "clusters of a node; certificates in a chain",
            two((number(identity::MAX_CLUSTERS), number(identity::MAX_CHAIN))),
        ),
        ("certificate", bytes(card::MAX_CERTIFICATE)),
        (
            "name of a node; of a group, in characters",
            two((number(node::MAX_NAME), number(node::MAX_GROUP_NAME))),
        ),
        ("name that is believed of others", bytes(crate::message::NAME_BYTES)),
        ("jump of a Lamport time", number(receive::LAMPORT_JUMP as usize)),
        ("silence", micros(config.silent_after)),
        ("grace", micros(config.grace)),
    ];
    hold("### Of the library", &code);
}

#[cfg(feature = "ordered")]
#[test]
fn the_readme_tells_the_limits_of_ordered_groups() {
    use crate::ordered::{IN_FLIGHT, KEPT, KEPT_AT_MOST, PENDING, RECORD_DOTS, WORD_BYTES};

    let code = [
        ("messages that wait for a place", number(PENDING)),
        ("messages in one record", number(RECORD_DOTS)),
        ("records that are not with a majority", number(IN_FLIGHT)),
        (
            "entries kept after everybody has them; at most",
            format!("{}; {}", number(KEPT), number(KEPT_AT_MOST)),
        ),
        ("word of a sequencer", bytes(WORD_BYTES)),
    ];
    hold("### Of ordered groups", &code);
}
