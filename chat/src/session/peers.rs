//! Peers that were named, and do not let this chat in: told to the person, who would otherwise talk to nobody.

use std::net::SocketAddr;
use std::time::Duration;

use multicast::{Link, Node};
use tokio::time::{Instant, sleep};

use crate::app::clean;
use crate::exit::Exit;

/// How long peers may take to let this chat in or not: a handshake, or two on a slow machine.
const JUDGED: Duration = Duration::from_secs(5);
/// How often to look.
const POLL: Duration = Duration::from_millis(20);

/// What came of the named peers.
pub(super) struct Verdict {
    /// What to say of each that refuses.
    refusals: Vec<String>,
    /// Whether one of them answers and does not refuse.
    one_is_in: bool,
}

/// Waits until each peer has let this chat in, refused it, or does not answer.
pub(super) async fn judge(node: &Node, peers: &[SocketAddr]) -> Verdict {
    let deadline = Instant::now() + JUDGED;
    loop {
        let links = node.links();
        let links: Vec<_> = links.iter().filter(|link| peers.contains(&link.addr)).collect();
        if links.iter().all(|link| is_judged(link)) || Instant::now() >= deadline {
            return Verdict::new(&links);
        }
        sleep(POLL).await;
    }
}

fn is_judged(link: &Link) -> bool {
    link.up || link.node.is_some() || link.trouble.is_some()
}

impl Verdict {
    fn new(links: &[&Link]) -> Self {
        let refusals = links.iter().filter(|link| link.denied).map(|link| {
            let why = clean::line(link.trouble.as_deref().unwrap_or("without a reason"));
            format!("peer {}: {why}", link.addr)
        });
        Self {
            refusals: refusals.collect(),
            one_is_in: links
                .iter()
                .any(|link| link.up || (link.node.is_some() && !link.denied)),
        }
    }

    /// What to tell whoever goes on nevertheless.
    pub(super) fn notices(&self) -> impl Iterator<Item = String> {
        self.refusals
            .iter()
            .map(|refusal| format!("{refusal}; going on without it"))
    }

    /// Why there is nobody to go on with, if nobody else was found: to found a group of one's own would look like a
    /// conversation in which nobody answers.
    pub(super) fn nobody(&self) -> Option<Exit> {
        (!self.one_is_in && !self.refusals.is_empty()).then(|| {
            Exit::Refused(format!(
                "no peer lets this chat in: {}. Peers let in whom their registry vouches for: name that with --registry, \
                 or ask for an invite (`nodesetd invite`) and use --invite",
                self.refusals.join("; ")
            ))
        })
    }
}
