//! How long it takes to connect: TCP, a full TLS handshake with certificates of both sides, and the greeting.

use std::time::{Instant, SystemTime};

use multicast::{Identity, Node, Options};
use rcgen::KeyPair;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::authority::Authority;
use crate::report::{Flags, Spread};
use stranger::{Hello, Shown, connect};

#[path = "../../tests/it/secure/stranger.rs"]
#[allow(dead_code, reason = "tests say more")]
mod stranger;

/// Connections that are made, one after the other.
const CONNECTIONS: usize = 300;

/// Both sides are in this process, as in all of this benchmark: what both compute is counted. In microseconds.
pub(crate) async fn measure(flags: &Flags) -> Result<Spread, String> {
    let authority = Authority::new();
    let options = Options::new("ana").with_identity(authority.identity("ana"));
    let node = Node::bind(options).await.map_err(|error| error.to_string())?;
    let key = KeyPair::generate_for(&rcgen::PKCS_ED25519).map_err(|error| error.to_string())?;
    let identity = Identity::new(&key.serialize_der()).map_err(|error| error.to_string())?;
    let credential = authority.issue(&identity, "bob", SystemTime::now());
    let hello = Hello::of(identity.node_id(), "bob").request();
    let mut took = Vec::new();
    for _ in 0..if flags.is_smoke() { 3 } else { CONNECTIONS } {
        let shown = Shown::new(key.serialize_der(), credential.clone());
        let begun = Instant::now();
        let mut stream = connect(node.addr(), &authority.cluster, Some(shown)).await;
        let said = async {
            stream.write_all(&hello).await?;
            stream.flush().await?;
            stream.read_exact(&mut [0; 13]).await
        };
        said.await.map_err(|error| error.to_string())?;
        took.push(begun.elapsed().as_secs_f64() * 1e6);
    }
    took.sort_unstable_by(f64::total_cmp);
    let most = took[took.len() * 99 / 100];
    let spread = Spread::of(&took);
    println!(
        "\na link's full handshake and greeting takes {} us, 99 of 100 at most {most:.0}",
        spread.show(1.0, 0)
    );
    Ok(spread)
}

async fn soon<T>(_: &str, future: impl Future<Output = T>) -> T {
    future.await
}
