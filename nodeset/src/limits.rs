//! README.md tells the limits that the code has.

use crate::registry::*;
use crate::server::{self, connection, door};
use crate::*;
use crate::{authority, client, invite, local, rpc};
use readme::{bytes, hold, number, time};

#[path = "../../testing/limits.rs"]
mod readme;

#[test]
fn the_readme_tells_the_limits_of_the_registry() {
    let by_default = registry::Limits::default();
    let two = |one: String, other: String| format!("{one}; {other}");
    let connections = PEERS_DEFAULT * door::CONNECTIONS_PER_PEER + door::CONNECTIONS_SPARE;
    let code = [
        (
            "request; answer",
            two(bytes(rpc::REQUEST_MAX_BYTES), bytes(rpc::ANSWER_MAX_BYTES)),
        ),
        (
            "peers, by default; at most",
            two(number(PEERS_DEFAULT), number(PEERS_MAX)),
        ),
        ("lease", time(LEASE_DEFAULT)),
        ("lease, shortest; longest", two(time(LEASE_MIN), time(LEASE_MAX))),
        ("nick, in characters", number(NICK_MAX_CHARS)),
        ("addresses of a peer", number(ADDRS_MAX)),
        (
            "rooms of a peer; name of a room",
            two(number(ROOMS_MAX), bytes(ROOM_MAX_BYTES)),
        ),
        (
            "connections; of one address",
            two(number(connections), number(connections / door::SHARE_OF_ONE_ADDRESS)),
        ),
        ("that have not said who they are", number(door::STRANGERS_MAX)),
        (
            "TLS handshake and hello; proof",
            two(time(connection::HELLO_MAX), time(connection::INTRODUCTION_MAX)),
        ),
        (
            "connection that asks nothing; that takes no answer",
            two(time(connection::IDLE_MAX), time(connection::WRITE_MAX)),
        ),
        (
            "watches that wait, of one connection; in all",
            two(number(connection::WAITING_MAX), number(by_default.watchers())),
        ),
        ("a watch waits", time(WATCH_WAIT_MAX)),
        (
            "changes remembered; in one answer",
            two(number(HISTORY_MAX), number(CHANGES_MAX)),
        ),
        ("deadline of a request", time(rpc::DEADLINE_MAX)),
        ("invites", number(INVITES_MAX)),
        (
            "uses of an invite; life",
            two(number(INVITE_USES_MAX as usize), time(INVITE_LIFE_MAX)),
        ),
        ("address in an invite", bytes(invite::INVITE_ADDR_MAX_BYTES)),
        ("profiles admitted by invites", number(ADMISSIONS_MAX)),
        (
            "valid certificates of invited processes; of one profile",
            two(number(CERTIFICATES_MAX), number(CERTIFICATES_OF_ONE_MAX)),
        ),
        (
            "evicted process keys; profiles",
            two(number(EVICTIONS_MAX), number(BANS_MAX)),
        ),
        (
            "certificate of a process; at least",
            two(time(CERTIFICATE_LIFE), time(server::CERTIFICATE_LIFE_MIN)),
        ),
        ("certificate of the authority", time(authority::AUTHORITY_LIFE)),
        (
            "registries of a client; credentials of a profile",
            two(number(client::REGISTRIES_MAX), number(CREDENTIALS_MAX)),
        ),
        ("registries that one user runs", number(local::PUBLICATIONS_MAX)),
    ];
    hold("### Of the registry", &code);
}
