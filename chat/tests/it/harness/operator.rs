//! Whoever runs a registry, and what `nodesetd invite` and `nodesetd evict` do for them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use nodeset::client::{self, Proofs};
use nodeset::{Invite, InviteId};
use tokio::runtime::Builder;

/// How long a registry may take to answer.
const ANSWER: Duration = Duration::from_secs(30);
/// How long invites are good that a test does not wait for.
const LIFE: Duration = Duration::from_secs(3600);

pub struct Operator {
    registry: String,
    publications: PathBuf,
}

impl Operator {
    pub fn new(registry: &str, publications: &Path) -> Self {
        Self {
            registry: registry.to_owned(),
            publications: publications.to_owned(),
        }
    }

    /// An invite that this many may come by.
    pub fn invite(&self, uses: u32) -> Invite {
        self.invite_for(uses, LIFE)
    }

    pub fn invite_for(&self, uses: u32, life: Duration) -> Invite {
        self.make(&self.registry, uses, life)
    }

    /// An invite that leads elsewhere.
    pub fn invite_to(&self, addr: &str) -> Invite {
        self.make(addr, 1, LIFE)
    }

    fn make(&self, addr: &str, uses: u32, life: Duration) -> Invite {
        let proofs = self.proofs();
        wait_for(client::invite(&self.registry, &proofs, addr, uses, life, ANSWER)).expect("an invite")
    }

    /// Waits until nobody can come by that invite any more.
    pub fn wait_until_over(&self, invite: InviteId) {
        let is_over = || {
            let invites = wait_for(client::invites(&self.registry, &self.proofs(), ANSWER)).expect("a list");
            invites.iter().any(|one| one.id == invite && one.over.is_some())
        };
        while !is_over() {
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Throws a peer out.
    pub fn evict(&self, target: &str) {
        let evicted = wait_for(client::evict(&self.registry, &self.proofs(), target, ANSWER));
        assert_eq!(evicted.expect("evicted").nodes.len(), 1);
    }

    /// Takes an invite back, and throws out who came by it. Returns how many processes these are.
    pub fn revoke(&self, invite: InviteId) -> usize {
        let revoked = wait_for(client::revoke(&self.registry, &self.proofs(), Some(invite), ANSWER));
        revoked.expect("revoked").1.nodes.len()
    }

    fn proofs(&self) -> Proofs {
        Proofs::none().with_publications(Some(self.publications.clone()))
    }
}

fn wait_for<T>(work: impl Future<Output = T>) -> T {
    let runtime = Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(work)
}
