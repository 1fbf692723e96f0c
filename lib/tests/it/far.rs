//! Links with a long round trip, in virtual time: bytes take time by their number, and none overtakes another one.

mod lines;

use multicast::Micros;

use lines::{Line, Lines, MB};

const MS: Micros = 1_000;
const SECOND: Micros = 1_000 * MS;
const MIB: u64 = 1 << 20;
/// One way over the far links; a round trip is twice that.
const FAR: Micros = 50 * MS;
/// One way in one machine room.
const NEAR: Micros = MS / 10;
/// How long a stream takes to find its speed: some round trips, those of the beginning included.
const WARM: Micros = 3 * SECOND;
/// The window is 1 MiB to begin with, and at most 8 MiB.
const WINDOW: (u64, u64) = (MIB, 8 * MIB);

/// What the window, or the link, allows, in bytes a second: 80 % of it is asked for.
fn asked(bandwidth: u64) -> u64 {
    bandwidth.min(WINDOW.1 * SECOND / (2 * FAR)) * 8 / 10
}

#[test]
fn a_far_link_is_used() {
    for bandwidth in [MB, 10 * MB, 100 * MB] {
        let mut lines = Lines::new(2, Line::new(bandwidth, FAR));
        lines.stream_until(WARM);
        let before = lines.brought(1);
        lines.stream_until(WARM + 5 * SECOND);
        let rate = (lines.brought(1) - before) / 5;
        println!("{bandwidth} B/s: {rate} B/s, {} ahead", lines.ahead());
        assert!(
            rate >= asked(bandwidth),
            "{rate} of {bandwidth} B/s, {} ahead",
            lines.ahead()
        );
        lines.assert_calm();
    }
}

#[test]
fn the_window_follows_the_link() {
    let mut lines = Lines::new(2, Line::new(100 * MB, FAR));
    lines.stream_until(WARM);
    assert!(lines.ahead() > 4 * MIB, "{} ahead", lines.ahead());
    // Twice what the link carries in a round trip is now 1 MB.
    lines.narrow(5 * MB);
    lines.stream_until(WARM + 5 * SECOND);
    assert!(lines.ahead() <= WINDOW.0 + 64 * 1024, "{} ahead", lines.ahead());
    lines.narrow(100 * MB);
    lines.stream_until(WARM + 10 * SECOND);
    assert!(lines.ahead() > 4 * MIB, "{} ahead", lines.ahead());
    lines.assert_calm();
}

#[test]
fn a_near_link_keeps_the_small_window() {
    let mut lines = Lines::new(2, Line::new(1_000 * MB, NEAR));
    lines.stream_until(SECOND / 5);
    assert!(lines.ahead() <= WINDOW.0 + 64 * 1024, "{} ahead", lines.ahead());
    assert!(lines.most_under_way <= 2, "{} batches under way", lines.most_under_way);
}

#[test]
fn what_gets_lost_below_makes_nobody_lag() {
    for bandwidth in [MB, 10 * MB, 100 * MB] {
        let mut lines = Lines::new(2, Line::new(bandwidth, FAR));
        for nth in 1..10 {
            lines.stream_until(nth * SECOND);
            // A retransmission: the time-out of TCP, and the way once more.
            lines.hold_up(200 * MS + 2 * FAR);
        }
        lines.assert_calm();
    }
}

#[test]
fn the_near_do_not_wait_for_the_far() {
    let mut lines = Lines::new(3, Line::new(1_000 * MB, NEAR));
    for (from, to) in [(0, 2), (2, 0), (1, 2), (2, 1)] {
        lines.set(from, to, Line::new(10 * MB, FAR));
    }
    lines.chatter = Some(1);
    lines.stream_until(WARM);
    let before = [lines.brought(1), lines.brought(2)];
    lines.forget_delays();
    lines.stream_until(WARM + 5 * SECOND);
    for member in [1, 2] {
        let rate = (lines.brought(member) - before[member - 1]) / 5;
        assert!(rate >= asked(10 * MB), "member {member}: {rate} B/s");
    }
    // What is sent gets to the near one at once, and the near one's own words get back as soon, although the far one
    // has both 50 ms later: a window is full for everybody, but nothing that was sent waits.
    let (there, back) = (lines.longest_delay(0, 1), lines.longest_delay(1, 0));
    assert!(there < 10 * MS && back < 10 * MS, "{there} and {back} us");
    lines.assert_calm();
}
