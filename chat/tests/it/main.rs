//! The real binary, driven by pipes, signals and a terminal, and judged by its JSON lines alone.
//!
//! `CHAT_TEST_ROUNDS` sets how often the tests of simultaneous starts and of crashes repeat (default 2),
//! `CHAT_TEST_SEED` what is drawn at random; it is printed. `CHAT_TEST_LONG=1` makes stops last 20 s and partitions 50 s,
//! `CHAT_TEST_FILLER` sets how long the messages are that are sent to a stopped peer. The figures that the tests of
//! crashes, stops and partitions print are seen with `--nocapture`.

#![allow(
    unreachable_pub,
    reason = "a test exports nothing: `pub` says that other modules use it"
)]

mod bot;
mod chaos;
mod commands;
mod control;
mod conversation;
mod council;
mod crash;
mod ends;
mod harness;
mod history;
mod input;
mod partition;
mod registries;
mod rooms;
mod secure;
mod slash;
mod start;
mod stopped;
mod terminal;
mod tour;
