//! The wire: tarpc over TCP, driven by hand.

mod carry;
pub(crate) mod codec;
pub(crate) mod dial;
mod greet;
mod line;
pub(crate) mod rpc;
mod seats;
pub(crate) mod serve;
pub(crate) mod socket;
pub(crate) mod tls;
pub(crate) mod transport;
pub(crate) mod visitor;
pub(crate) mod vouch;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use crate::engine::Frame;
use crate::group::Listing;
use crate::id::{MemberId, NodeId};
use crate::identity::Profile;
use rpc::Call;

/// Longest frame in bytes: 16 batches of the usual size or one of the largest, and what a hostile peer can make us
/// buffer a connection.
pub(crate) const MAX_FRAME: usize = 1 << 20;
/// Time to open a TCP connection: far beyond a round trip in any place where a mesh makes sense.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Time for a new connection to say, and prove, who it is: several round trips of any place where a mesh makes sense.
pub(crate) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// A call without an answer, or a write without progress, for so long ends the connection: TCP may need many
/// minutes to notice that nobody is there.
pub(crate) const STALL_TIMEOUT: Duration = Duration::from_secs(5);
/// First and longest pause before an address is dialled again; the pause doubles, with jitter.
pub(crate) const RECONNECT_PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));
/// An address that fails for so long is dialled less often, but still, for a partition must heal by itself.
pub(crate) const PROBE_AFTER: Duration = Duration::from_secs(600);
/// Longest pause before such an address is dialled again.
pub(crate) const PROBE_PAUSE: Duration = Duration::from_secs(30);
/// Calls of one link that may be on their way at once: two groups with as many batches as go to a far peer, and control
/// frames. What is more waits.
pub(crate) const CALLS_IN_FLIGHT: usize = 128;
/// Calls waiting for a link. When it is full, control frames are dropped: the protocol repeats them.
pub(crate) const LINK_QUEUE: usize = 256;
/// A node that was linked for so long and that the other side does not dial is behind something: it polls.
pub(crate) const POLL_AFTER: Duration = Duration::from_secs(1);
/// How long a poll waits for something to say: well below the stall timeout.
pub(crate) const POLL_TIME: Duration = Duration::from_secs(2);
/// Most calls in one answer to a poll, and bytes of pushes in it: the answer must fit a frame.
pub(crate) const POLLED: (usize, usize) = (32, MAX_FRAME / 2);
/// Requests of one inbound connection that may wait for their groups at once.
pub(crate) const REQUESTS_IN_FLIGHT: usize = 32;
/// Frames, and news of links, that wait for a group's task; then connections wait.
pub(crate) const GROUP_QUEUE: usize = 256;
/// Inbound connections in all: several a node for a full mesh of 128.
pub(crate) const MAX_CONNECTIONS: usize = 512;
/// Inbound connections from one address: two a node for a full mesh on one machine, or behind one router.
pub(crate) const MAX_PER_ADDRESS: usize = 256;
/// Inbound connections of one node: a new one replaces the one before, which may need a moment to end.
pub(crate) const MAX_PER_NODE: usize = 4;
/// Inbound connections that have not said who they are yet; then the oldest gives way. A full mesh that starts at once.
pub(crate) const MAX_STRANGERS: usize = 128;
/// The same from one address: half, so that one machine alone crowds nobody out.
pub(crate) const MAX_STRANGERS_PER_ADDRESS: usize = 64;
/// Inbound connections that are taken up at once: a full mesh that starts at one moment, each side dialling.
pub(crate) const ACCEPTED_AT_ONCE: usize = 256;
/// Inbound connections taken up in a second after that. Each costs a handshake, so that a flood takes no more than a small
/// part of a processor from those who talk; meanwhile the others wait in the backlog of the listener.
pub(crate) const ACCEPTED_IN_A_SECOND: usize = 500;
/// Connections that the system keeps until they are taken up: they wait 2 s for that at most, well within the time for a
/// handshake. With fewer, whoever comes during a flood has to try again.
pub(crate) const BACKLOG: u32 = 1024;
/// How long a connection that was refused is listened to, so that it hears why.
pub(crate) const FAREWELL: Duration = Duration::from_secs(1);

/// Bytes of frames that a node has sent and received. Relaxed: they are read for statistics only.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    sent: AtomicU64,
    received: AtomicU64,
}

impl Meter {
    fn sent(&self, bytes: usize) {
        self.sent.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    fn received(&self, bytes: usize) {
        self.received.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Sent and received since the start.
    pub(crate) fn read(&self) -> (u64, u64) {
        (self.sent.load(Ordering::Relaxed), self.received.load(Ordering::Relaxed))
    }
}

/// What reaches a group's task from the net.
#[derive(Debug)]
pub(crate) enum Knock {
    /// A member of a linked node says something; what the engine has to say to that member at once is the answer.
    Frame {
        from: MemberId,
        frame: Frame,
        answer: Option<oneshot::Sender<Vec<Frame>>>,
    },
    /// Calls can be sent to the node of this member.
    LinkUp { member: MemberId, link: mpsc::Sender<Call> },
    /// They cannot any more.
    LinkDown { member: MemberId },
    /// The member's address refuses connections, or another process has it now.
    Refused { member: MemberId },
    /// Whether a registry vouches for a node.
    Lease { node: NodeId, live: bool },
    /// This node was evicted: the group ends.
    Evicted,
}

/// The way into a group's task, for the net.
#[derive(Clone, Debug)]
pub(crate) struct Door {
    pub(crate) member: MemberId,
    pub(crate) knock: mpsc::Sender<Knock>,
    /// Who may be in the group, if it is private.
    pub(crate) listing: Option<Listing>,
}

impl Door {
    /// Whether somebody of that profile, or of none, may talk to the group.
    pub(crate) fn lets_in(&self, profile: Option<&Profile>) -> bool {
        self.listing.as_ref().is_none_or(|listing| listing.admits(profile))
    }
}
