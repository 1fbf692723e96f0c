//! A key-value map that every member has a copy of, and that is the same everywhere once everybody has heard everything.
//!
//! Whoever sets a key knows every value that it has seen, so that a later value replaces an earlier one on all copies.
//! Of values that were set without knowing of each other the one with the greater (Lamport time, member) stays: everyone
//! decides alike, whatever the order in which they came. Nothing is asked of anybody, so that both sides of a cut go on.
//!
//! ```sh
//! cargo run -p multicast --example map
//! ```

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures::StreamExt;
use multicast::{Event, Events, MemberId, Node, Options, Sender};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

/// When a value was set, and by whom: comparable on every copy, and greater than that of every value that was known
/// then.
type Written = (u64, MemberId);

/// What a member says.
#[derive(Serialize, Deserialize)]
enum Said {
    /// From now on the key has that value; none removes it.
    Set(String, Option<String>),
    /// For who came later: what had been set before.
    Known(Vec<(String, Option<String>, Written)>),
}

/// One copy. Pure: what it is depends on what was said, not on the order in which that came.
#[derive(Clone, PartialEq, Default, Debug)]
struct Copy {
    /// A key that was removed stays with its time, or an older value could bring it back.
    entries: BTreeMap<String, (Written, Option<String>)>,
}

impl Copy {
    fn set(&mut self, key: String, value: Option<String>, written: Written) {
        let newer = self.entries.get(&key).is_none_or(|(before, _)| *before < written);
        if newer {
            self.entries.insert(key, (written, value));
        }
    }

    fn get(&self, key: &str) -> Option<&str> {
        self.entries.get(key)?.1.as_deref()
    }
}

/// A member's map.
struct Map {
    sender: Sender,
    copy: Arc<Mutex<Copy>>,
    changes: watch::Receiver<()>,
}

impl Map {
    async fn join(node: &Node, group: &str) -> Result<Self, Box<dyn Error>> {
        let (sender, events) = node.join(group).await?.split();
        let copy = Arc::new(Mutex::new(Copy::default()));
        let (tell, changes) = watch::channel(());
        tokio::spawn(follow(sender.clone(), events, copy.clone(), tell));
        Ok(Self { sender, copy, changes })
    }

    /// Sets a key, here and everywhere.
    async fn set(&self, key: &str, value: Option<&str>) -> Result<(), Box<dyn Error>> {
        let said = Said::Set(key.to_owned(), value.map(str::to_owned));
        self.sender.send(postcard::to_stdvec(&said)?).await?;
        Ok(())
    }

    /// Waits until the copy is like that.
    async fn becomes(&self, like: impl Fn(&Copy) -> bool) -> Result<Copy, Box<dyn Error>> {
        let mut changes = self.changes.clone();
        loop {
            changes.borrow_and_update();
            let copy = self.copy.lock().map_err(|_| "a copy was given up")?.clone();
            if like(&copy) {
                return Ok(copy);
            }
            changes.changed().await?;
        }
    }
}

/// Keeps a copy up to date with what is said, until the member leaves.
async fn follow(sender: Sender, mut events: Events, copy: Arc<Mutex<Copy>>, tell: watch::Sender<()>) {
    while let Some(event) = events.next().await {
        match event {
            Event::Delivered(m) => {
                let Ok(said) = postcard::from_bytes(&m.payload) else {
                    continue;
                };
                let Ok(mut copy) = copy.lock() else { return };
                match said {
                    Said::Set(key, value) => copy.set(key, value, (m.lamport, m.dot.origin)),
                    Said::Known(entries) => entries
                        .into_iter()
                        .for_each(|(key, value, written)| copy.set(key, value, written)),
                }
                drop(copy);
                tell.send_replace(());
            }
            // Everyone tells the newcomer everything: what is told twice changes nothing. Of a map that is longer than
            // one message (64 KiB) this would be several.
            Event::Joined { member, .. } if member.id != sender.me().id => {
                if let Some(known) = known(&copy) {
                    // Whoever has left tells nobody anything.
                    let _ = sender.hand_over(known).await;
                }
            }
            _ => {}
        }
    }
}

fn known(copy: &Mutex<Copy>) -> Option<Bytes> {
    let entries = copy.lock().ok()?.entries.clone();
    let told: Vec<_> = entries.into_iter().map(|(key, (at, value))| (key, value, at)).collect();
    let said = (!told.is_empty()).then_some(Said::Known(told))?;
    postcard::to_stdvec(&said).ok().map(Bytes::from)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let ana = Node::bind(Options::new("ana")).await?;
    let bob = Node::bind(Options::new("bob")).await?;
    bob.meet(ana.addr());
    let (anas, bobs) = (Map::join(&ana, "map").await?, Map::join(&bob, "map").await?);
    anas.sender.wait_for(2).await;
    bobs.sender.wait_for(2).await;

    // One after the other: whoever has seen a value replaces it.
    anas.set("colour", Some("red")).await?;
    bobs.becomes(|copy| copy.get("colour") == Some("red")).await?;
    bobs.set("colour", Some("green")).await?;
    anas.becomes(|copy| copy.get("colour") == Some("green")).await?;

    // At the same time: one of them stays, the same for both.
    let (one, other) = tokio::join!(anas.set("lunch", Some("soup")), bobs.set("lunch", Some("pizza")),);
    one.and(other)?;
    // What each says last comes after that on both copies; a removed key is one, too.
    anas.set("ana is done", None).await?;
    bobs.set("bob is done", Some("yes")).await?;
    let all = |copy: &Copy| copy.entries.len() == 4;
    let (anas_copy, bobs_copy) = tokio::try_join!(anas.becomes(all), bobs.becomes(all))?;
    assert_eq!(anas_copy, bobs_copy);

    // Who comes later is told.
    let cyd = Node::bind(Options::new("cyd")).await?;
    cyd.meet(ana.addr());
    let cyds = Map::join(&cyd, "map").await?;
    let cyds_copy = cyds.becomes(all).await?;
    for (key, (_, value)) in &cyds_copy.entries {
        println!("{key} = {}", value.as_deref().unwrap_or("(removed)"));
    }
    for (name, map) in [("ana", &anas), ("bob", &bobs)] {
        let copy = map.becomes(|copy| *copy == cyds_copy).await?;
        println!("{name} and cyd have the same {} entries", copy.entries.len());
    }
    Ok(())
}
