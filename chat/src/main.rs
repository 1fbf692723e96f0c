//! The chat.
#![allow(
    unreachable_pub,
    reason = "a binary exports nothing: `pub` says that other modules use it"
)]

mod app;
mod names;
mod post;
#[cfg(test)]
mod schema;
fn main() {}
