//! Nodes with identities, over real sockets: who is let in, and who is not.

mod authority;
mod evicted;
mod forged;
mod life;
mod limits;
mod log;
mod private;
mod refused;
mod relay;
mod stranger;
mod talk;

use multicast::{Group, Identity, Node, Options};

use crate::wire::soon;
use authority::Authority;

async fn bind(name: &str, identity: &Identity) -> Node {
    let options = Options::new(name).with_identity(identity.clone());
    Node::bind(options).await.expect("a free port on loopback")
}

/// Nodes of one cluster that know the first one's address.
async fn nodes(authority: &Authority, names: &[&str]) -> Vec<Node> {
    let mut nodes: Vec<Node> = Vec::new();
    for name in names {
        let node = bind(name, &authority.identity(name)).await;
        if let Some(first) = nodes.first() {
            node.meet(first.addr());
        }
        nodes.push(node);
    }
    nodes
}

/// What one says, all deliver.
async fn all_hear(groups: &[Group], text: &'static str) {
    for group in groups {
        let receipt = group.send(text).await.expect("sends");
        soon("everyone has it", receipt.on(groups.len())).await;
    }
}
