//! A shared to-do list on `call`: whoever changes it learns who has the change, and who comes later asks for the list.
//!
//! A request is delivered in causal order at every other member, so that nobody ticks off what it has not heard of. An
//! item is named by the dot of the request that added it, which is the same everywhere and nobody else's: two people may
//! write the same text.
//!
//! ```sh
//! cargo run -p multicast --example todo
//! ```

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt;
use multicast::{Collect, Dot, Event, Events, Node, Options, Replies, Sender};
use serde::{Deserialize, Serialize};

/// How long everyone may take to reply: an answer from somebody who is there takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a member asks of the others.
#[derive(Clone, Serialize, Deserialize)]
enum Request {
    Add(String),
    Tick(Dot),
    /// Everything that you have.
    Tell,
}

/// What they reply.
#[derive(Serialize, Deserialize)]
enum Reply {
    /// It is done here; so much is left to do.
    Done {
        left: u64,
    },
    Items(Vec<(Dot, Item)>),
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
struct Item {
    text: String,
    done: bool,
}

/// One copy of the list. An item that is done stays done, whatever comes when.
#[derive(Clone, PartialEq, Default, Debug)]
struct List(BTreeMap<Dot, Item>);

impl List {
    fn carry_out(&mut self, request: Request, dot: Dot) -> Reply {
        match request {
            Request::Add(text) => self.add(dot, Item { text, done: false }),
            Request::Tick(item) => {
                if let Some(item) = self.0.get_mut(&item) {
                    item.done = true;
                }
            }
            Request::Tell => return Reply::Items(self.0.clone().into_iter().collect()),
        }
        Reply::Done { left: self.left() }
    }

    fn add(&mut self, dot: Dot, item: Item) {
        let here = self.0.entry(dot).or_insert_with(|| item.clone());
        here.done |= item.done;
    }

    fn left(&self) -> u64 {
        self.0.values().filter(|item| !item.done).count() as u64
    }
}

/// A member with its copy.
struct Todo {
    sender: Sender,
    list: Arc<Mutex<List>>,
}

impl Todo {
    /// Joins, and asks whoever is there for the list.
    async fn join(node: &Node, group: &str) -> Result<Self, Box<dyn Error>> {
        let (sender, events) = node.join(group).await?.split();
        let list = Arc::new(Mutex::new(List::default()));
        // From here on nothing is missed; what was before comes with the answer.
        tokio::spawn(serve(events, list.clone()));
        let todo = Self { sender, list };
        if todo.sender.members().len() > 1 {
            let told: Replies<Reply> = todo.sender.call(&Request::Tell, Collect::All, PATIENCE).await?;
            for (_, reply) in told.replies {
                let (Reply::Items(items), mut list) = (reply, todo.lock()?) else {
                    continue;
                };
                items.into_iter().for_each(|(dot, item)| list.add(dot, item));
            }
        }
        Ok(todo)
    }

    /// Changes the list everywhere; returns the request's dot when everyone has it, and prints who did not say so.
    async fn ask(&self, request: Request) -> Result<Dot, Box<dyn Error>> {
        let replies: Replies<Reply> = self.sender.call(&request, Collect::All, PATIENCE).await?;
        // The one who asks is not asked, and carries its own request out.
        self.lock()?.carry_out(request, replies.dot);
        let me = self.sender.me().name;
        for (member, reply) in &replies.replies {
            if let Reply::Done { left } = reply {
                println!("{me}: {} has it, {left} left to do", member.name);
            }
        }
        for member in &replies.missing {
            println!("{me}: no word from {} yet", member.name);
        }
        Ok(replies.dot)
    }

    fn lock(&self) -> Result<std::sync::MutexGuard<'_, List>, Box<dyn Error>> {
        self.list.lock().map_err(|_| "a list was given up".into())
    }
}

/// Replies to what others ask, for as long as this member is in.
async fn serve(mut events: Events, list: Arc<Mutex<List>>) {
    while let Some(event) = events.next().await {
        let Event::Called(called) = event else { continue };
        let Ok(request) = called.read() else { continue };
        let Ok(reply) = list.lock().map(|mut list| list.carry_out(request, called.stamp.dot)) else {
            return;
        };
        if let Err(why) = called.reply(&reply).await {
            eprintln!("{} gets no reply: {why}", called.from.name);
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let ana = Node::bind(Options::new("ana")).await?;
    let bob = Node::bind(Options::new("bob")).await?;
    bob.meet(ana.addr());
    let (anas, bobs) = (Todo::join(&ana, "todo").await?, Todo::join(&bob, "todo").await?);
    anas.sender.wait_for(2).await;
    bobs.sender.wait_for(2).await;

    let milk = anas.ask(Request::Add("milk".to_owned())).await?;
    bobs.ask(Request::Add("bread".to_owned())).await?;
    bobs.ask(Request::Tick(milk)).await?;

    let cyd = Node::bind(Options::new("cyd")).await?;
    cyd.meet(ana.addr());
    let cyds = Todo::join(&cyd, "todo").await?;
    for item in cyds.lock()?.0.values() {
        println!("[{}] {}", if item.done { 'x' } else { ' ' }, item.text);
    }
    assert_eq!(*anas.lock()?, *bobs.lock()?);
    assert_eq!(*anas.lock()?, *cyds.lock()?);
    Ok(())
}
