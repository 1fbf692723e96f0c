//! Limits and times of an engine, each with its reason.

use crate::message::Micros;

const MS: Micros = 1_000;

/// Limits and times. The defaults are right for people and for services in one machine room; the simulator
/// makes them tiny, because small limits find most bugs.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Config {
    /// Longest payload in bytes that `send` takes. 64 KiB: a frame of 1 MiB then always holds several.
    pub payload_limit: usize,
    /// Bytes of messages that stay in the log for repair once they are stable. 64 MiB a group.
    pub retention: usize,
    /// The log may grow to `retention` times this for messages that are not stable; beyond, the oldest are
    /// let go and whoever lacks them is told in a gap. 1: with small messages 64 MiB of log take 90 MiB of memory,
    /// and one stopped peer under load must not cost the others more than 128 MiB.
    pub retention_factor: usize,
    /// Most messages held for one origin: a burst that overtook its cause fits, a flood does not.
    pub held_per_origin: usize,
    /// Most bytes held for one origin.
    pub held_bytes_per_origin: usize,
    /// Most bytes held in all.
    pub held_bytes: usize,
    /// Most bytes in one pushed batch: a quarter of a frame, so that control frames are not stuck behind it.
    pub batch_bytes: usize,
    /// Most messages in one pushed batch.
    pub batch_messages: usize,
    /// Batches under way to one peer. 2: one on the wire while the answer to the other travels back.
    pub batches_in_flight: usize,
    /// The same to a far peer, one whose shortest answer took longer than `beside_after`. As many go as its link needs
    /// to be busy, at most so many: 48 of the usual size are more than `far_window_bytes`.
    pub far_batches: usize,
    /// A small batch goes beside one that is under way only when that was sent so long ago. 5 ms: longer than a round
    /// trip in one machine room, shorter than people notice; a batch is then what came together during a round trip.
    pub beside_after: Micros,
    /// Most bytes in one answer to a pull.
    pub pull_bytes: usize,
    /// Bytes of answers to pulls that one peer gets at once: all that a log holds, for whoever comes back after a long time.
    pub pull_burst: usize,
    /// Bytes of them in a second after that. 32 MiB: more than a member delivers, and a small part of what a processor
    /// encodes; whoever pulls the same things over and over gets no more of it. Beyond, pulls are not answered.
    pub pull_rate: usize,
    /// How far the slowest counted member may lag before `send` waits, in messages.
    pub window_messages: u64,
    /// The same in bytes. For a far member this is where it begins.
    pub window_bytes: u64,
    /// The window in bytes grows with what a far member's link carries in a round trip, and shrinks with it, up to this;
    /// not beyond `window_bytes` means never. 8 MiB: 80 MB/s at 100 ms, half of what a receiver holds of one origin. In
    /// messages it does not grow, for a receiver holds no more than 4,096 of one origin.
    pub far_window_bytes: u64,
    /// A full window without progress for so long and two turns of the member (2 s at most) makes it lagging, which
    /// holds nobody back. A turn is how long it takes to answer a batch: no time in one machine room.
    pub lagging_after: Micros,
    /// Most origins that one member admits to its group in its life, those included that left: their last seq is
    /// kept, so that late copies are known.
    pub max_origins: usize,
    /// Most members of a group, joiners included: each has a connection to every other one, and every clock an entry
    /// for each. Members that joined apart, or at one instant, may be a few more.
    pub max_members: usize,
    /// How long a joiner looks for a member before it founds the group itself. 500 ms: several times a dial.
    pub found_after: Micros,
    /// How long a joiner waits for a sponsor's or a greeted member's next answer.
    pub join_patience: Micros,
    /// How long a missing message is awaited before it is asked for: about two round trips.
    pub pull_after: Micros,
    /// Longest pause between two tries to pull the same message.
    pub pull_backoff: Micros,
    /// A link on which nothing was sent for so long gets a heartbeat. 2 s: three fit into `silent_after`.
    pub heartbeat: Micros,
    /// Shortest time between digest exchanges with a random peer; the longest is twice it.
    pub exchange: Micros,
    /// After so long without a sign a member is silent.
    pub silent_after: Micros,
    /// How long a silent member counts before it may be closed.
    pub grace: Micros,
    /// An address that refuses connections for so long, seen from every member that is there, has no process.
    pub gone_after: Micros,
    /// The last seq that a closed or left origin is said to have is an upper bound: after so long without reaching
    /// it, those who are there may agree on less.
    pub bound_patience: Micros,
    /// A closed origin that is stable for so long leaves the clocks of later messages.
    pub retire_after: Micros,
    /// How late an acknowledgement may be when no answer carries it.
    pub ack_delay: Micros,
    /// Bytes delivered after which every peer gets a fresh digest although nobody is idle, so that messages
    /// become stable, and leave the log, under load too.
    pub digest_every: usize,
    /// What was pushed is sent anew when nothing of it was answered for so long.
    pub push_patience: Micros,
    /// Rules that a test may switch off to prove that its judge notices. All on in every other place.
    pub rules: Rules,
}

/// The rules of the protocol that tests switch off one at a time, to show that the simulator's judge judges.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[doc(hidden)]
pub struct Rules {
    pub check_dependencies: bool,
    pub decode_only_next: bool,
    pub greet_whole_view: bool,
    pub digest_after_view: bool,
    pub fetch_unstable: bool,
    pub purge_orphans: bool,
    pub retain_for_silent: bool,
    pub tombstones: bool,
    pub agree_before_closing: bool,
    pub generations: bool,
    pub closed_is_upper_bound: bool,
    pub digests_name_retired: bool,
    pub gap_brings_lamport: bool,
    pub ask_next_first: bool,
    pub verify_relayed: bool,
    pub compare_chains: bool,
    pub compare_digests: bool,
    pub verify_proofs: bool,
    pub void_expelled: bool,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            check_dependencies: true,
            decode_only_next: true,
            greet_whole_view: true,
            digest_after_view: true,
            fetch_unstable: true,
            purge_orphans: true,
            retain_for_silent: true,
            tombstones: true,
            agree_before_closing: true,
            generations: true,
            closed_is_upper_bound: true,
            digests_name_retired: true,
            gap_brings_lamport: true,
            ask_next_first: true,
            verify_relayed: true,
            compare_chains: true,
            compare_digests: true,
            verify_proofs: true,
            void_expelled: true,
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            payload_limit: crate::run::MAX_PAYLOAD,
            retention: 64 << 20,
            retention_factor: 1,
            held_per_origin: 4096,
            held_bytes_per_origin: 16 << 20,
            held_bytes: 64 << 20,
            batch_bytes: 256 << 10,
            batch_messages: crate::run::MAX_RUN,
            batches_in_flight: 2,
            far_batches: 48,
            beside_after: 5 * MS,
            pull_bytes: 512 << 10,
            pull_burst: 64 << 20,
            pull_rate: 32 << 20,
            window_messages: 4096,
            window_bytes: 1 << 20,
            far_window_bytes: 8 << 20,
            lagging_after: 250 * MS,
            max_origins: crate::run::MAX_CLOCK,
            max_members: 128,
            found_after: 500 * MS,
            join_patience: 200 * MS,
            pull_after: 30 * MS,
            pull_backoff: 1_500 * MS,
            heartbeat: 2_000 * MS,
            exchange: 1_000 * MS,
            silent_after: 6_000 * MS,
            grace: 60_000 * MS,
            gone_after: 2_000 * MS,
            bound_patience: 5_000 * MS,
            retire_after: 600_000 * MS,
            ack_delay: 5 * MS,
            digest_every: 1 << 20,
            push_patience: 2_000 * MS,
            rules: Rules::default(),
        }
    }
}
