//! Two-phase commit in a model checker: real `Party`s, every order of events in small groups, to exhaustion.
//!
//! ```text
//! cargo test -p multicast --test it commit::model                                              the smaller scopes
//! MULTICAST_MODEL=full cargo test --release -p multicast --test it commit::model -- --nocapture   all of them
//! ```
//!
//! One member proposes, the others say yes or no. Letters arrive in any order, some get lost or arrive twice; a member
//! may end after any prefix of what one input makes it do, so before and after each write and each word, and come back
//! with its journal, under another id, or not. Votes come late, the deadline early, and doubters ask at any time.
//!
//! In every state: nobody was told `Committed` where somebody, or the same one in an earlier life, was told `Aborted`; and
//! what is in doubt resolves, tried from each state with a fair schedule without further faults: when all return, all of
//! it, and what one has done all have done; when nobody returns, all of it of which somebody who lives knows the outcome.

mod bounds;
#[cfg(not(feature = "turmoil"))]
mod committee;
mod model;
