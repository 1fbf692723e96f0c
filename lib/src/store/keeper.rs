//! The thread that a node's store lives on: it saves what groups hand to it, many at a time, and answers questions.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use futures::executor::block_on;
use tokio::sync::{mpsc, oneshot};

use crate::id::{Dot, GroupId};
use crate::store::{Canonical, Change, Page, Saved, Size, Store, StoreError, Stored};

/// Batches that wait: a group has one at a time, and a node so many groups; one more each for those that end.
pub(crate) const SAVES: usize = 2048;
/// Questions that wait; whoever asks waits with them.
pub(crate) const QUESTIONS: usize = 64;
/// Changes that go into one transaction: some megabytes at the most, so that the first of them does not wait long.
const CHANGES_AT_ONCE: usize = 8192;

type Question = Box<dyn FnOnce(&mut dyn Store) + Send>;

/// A batch of one group, and who waits for it.
struct Save {
    changes: Vec<Change>,
    done: oneshot::Sender<Result<(), StoreError>>,
}

/// A handle on the thread; clones share it. The thread ends when it is told to, or the last one is gone.
#[derive(Clone, Debug)]
pub(crate) struct Keeper {
    saves: mpsc::Sender<Save>,
    questions: mpsc::Sender<Question>,
    cursors: Arc<Mutex<BTreeMap<GroupId, u64>>>,
    stop: mpsc::Sender<oneshot::Sender<()>>,
}

/// What the thread waits for.
struct Desk {
    saves: mpsc::Receiver<Save>,
    questions: mpsc::Receiver<Question>,
    cursors: Arc<Mutex<BTreeMap<GroupId, u64>>>,
    stop: mpsc::Receiver<oneshot::Sender<()>>,
}

impl Keeper {
    /// Starts the thread.
    pub(crate) fn start(store: Box<dyn Store>) -> std::io::Result<Self> {
        let (saves, saved) = mpsc::channel(SAVES);
        let (questions, asked) = mpsc::channel(QUESTIONS);
        let (stop, stopped) = mpsc::channel(1);
        let cursors = Arc::<Mutex<BTreeMap<GroupId, u64>>>::default();
        let desk = Desk {
            saves: saved,
            questions: asked,
            cursors: cursors.clone(),
            stop: stopped,
        };
        std::thread::Builder::new()
            .name("multicast-store".into())
            .spawn(move || desk.run(store))?;
        Ok(Self {
            saves,
            questions,
            cursors,
            stop,
        })
    }

    /// Hands a batch over, without waiting; what comes of it is told.
    pub(crate) fn save(&self, changes: Vec<Change>) -> oneshot::Receiver<Result<(), StoreError>> {
        let (done, saved) = oneshot::channel();
        // A store that was closed, or has no room for a question more than it can have: the receiver learns of it.
        let _ = self.saves.try_send(Save { changes, done });
        saved
    }

    /// Everything up to that place was taken in by the application. Saved a little later.
    pub(crate) fn acknowledge(&self, group: GroupId, place: u64) {
        let mut cursors = self.cursors.lock().expect("never held over a panic");
        let cursor = cursors.entry(group).or_default();
        *cursor = place.max(*cursor);
        drop(cursors);
        // It looks at cursors whenever it is woken; where the queue is full it will be.
        let _ = self.questions.try_send(Box::new(|_| {}));
    }

    pub(crate) async fn load(&self, group: GroupId, budget: u64) -> Result<Option<Saved>, StoreError> {
        self.ask(move |store| store.load(group, budget)).await
    }

    pub(crate) async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&mut dyn Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        let question = Box::new(move |store: &mut dyn Store| drop(reply.send(question(store))));
        self.questions.send(question).await.map_err(|_| closed())?;
        answer.await.map_err(|_| closed())?
    }

    /// Ends the thread, and waits until the store is closed.
    pub(crate) async fn close(&self) {
        let (reply, over) = oneshot::channel();
        if self.stop.send(reply).await.is_ok() {
            let _ = over.await;
        }
    }

    /// Ends the thread soon.
    pub(crate) fn abandon(&self) {
        let (reply, _) = oneshot::channel();
        let _ = self.stop.try_send(reply);
    }
}

pub(crate) fn closed() -> StoreError {
    StoreError::Io {
        place: "the store".into(),
        what: "it was closed".into(),
    }
}

impl Desk {
    fn run(mut self, mut store: Box<dyn Store>) {
        let mut failed: Option<StoreError> = None;
        loop {
            let woken = block_on(async {
                tokio::select! {
                    biased;
                    save = self.saves.recv() => save.map_or(Woken::Over(None), Woken::Save),
                    reply = self.stop.recv() => Woken::Over(reply),
                    question = self.questions.recv() => question.map_or(Woken::Over(None), Woken::Question),
                }
            });
            let (mut saves, mut over) = (Vec::new(), None);
            match woken {
                Woken::Save(save) => saves.push(save),
                Woken::Question(question) => question(&mut *store),
                Woken::Over(reply) => over = Some(reply),
            }
            let mut changes: usize = saves.iter().map(|save: &Save| save.changes.len()).sum();
            while changes < CHANGES_AT_ONCE
                && let Ok(save) = self.saves.try_recv()
            {
                changes += save.changes.len();
                saves.push(save);
            }
            self.commit(&mut *store, saves, &mut failed);
            if let Some(reply) = over {
                drop(store);
                reply.map(|reply| reply.send(()));
                return;
            }
        }
    }

    /// All of them in one transaction, with what was acknowledged.
    fn commit(&self, store: &mut dyn Store, mut saves: Vec<Save>, failed: &mut Option<StoreError>) {
        let mut changes: Vec<Change> = saves.iter_mut().flat_map(|save| save.changes.drain(..)).collect();
        let cursors = std::mem::take(&mut *self.cursors.lock().expect("never held over a panic"));
        let acknowledge = |(group, place)| Change::Acknowledge { group, place };
        changes.extend(cursors.into_iter().map(acknowledge));
        if changes.is_empty() && saves.is_empty() {
            return;
        }
        if failed.is_none() {
            *failed = store.apply(&changes).err();
        }
        for save in saves {
            let _ = save.done.send(failed.clone().map_or(Ok(()), Err));
        }
    }
}

enum Woken {
    Save(Save),
    Question(Question),
    Over(Option<oneshot::Sender<()>>),
}

/// What a node keeps, for whoever wants to read in it: see [`Node::archive`](crate::Node::archive). Clones share it.
#[derive(Clone, Debug)]
pub struct Archive(pub(crate) Keeper);

impl Archive {
    /// At most `limit` messages of a group, in the order that the page names.
    ///
    /// # Errors
    /// [`StoreError`]: nothing changed.
    pub async fn read(&self, group: GroupId, page: Page, limit: usize) -> Result<Vec<Stored>, StoreError> {
        self.0.ask(move |store| store.read(group, page, limit)).await
    }

    /// The last `limit` messages before that place in which all these words occur: [`Store::search`].
    ///
    /// # Errors
    /// [`StoreError`]: nothing changed.
    pub async fn search(
        &self,
        group: GroupId,
        words: &str,
        before: Option<Canonical>,
        limit: usize,
    ) -> Result<Vec<Stored>, StoreError> {
        let words = words.to_owned();
        self.0
            .ask(move |store| store.search(group, &words, before, limit))
            .await
    }

    /// The message of a group with that dot, if it is there.
    ///
    /// # Errors
    /// [`StoreError`]: nothing changed.
    pub async fn get(&self, group: GroupId, dot: Dot) -> Result<Option<Stored>, StoreError> {
        self.0.ask(move |store| store.get(group, dot)).await
    }

    /// How much there is of a group.
    ///
    /// # Errors
    /// [`StoreError`]: nothing changed.
    pub async fn size(&self, group: GroupId) -> Result<Size, StoreError> {
        self.0.ask(move |store| store.size(group)).await
    }

    /// Every group of which something is kept.
    ///
    /// # Errors
    /// [`StoreError`]: nothing changed.
    pub async fn groups(&self) -> Result<Vec<GroupId>, StoreError> {
        self.0.ask(|store| store.groups()).await
    }

    /// Adds messages that others told as history, from before this member's join: they get no place.
    ///
    /// # Errors
    /// [`StoreError`]: all were added, or none.
    pub async fn add_history(&self, group: GroupId, messages: Vec<Stored>) -> Result<(), StoreError> {
        let append = |message: Stored| Change::Append {
            group,
            message: Stored { place: 0, ..message },
        };
        self.save(messages.into_iter().map(append).collect()).await
    }

    /// Lets the oldest messages go that the application has acknowledged: those beyond so many bytes, and those sent before
    /// that, in microseconds since 1970. What it has not acknowledged stays.
    ///
    /// # Errors
    /// [`StoreError`]: all of it was done, or nothing.
    pub async fn prune(&self, group: GroupId, keep_bytes: u64, sent_before: u64) -> Result<(), StoreError> {
        let saved = self.0.load(group, 0).await?.unwrap_or_default();
        let below = saved.acknowledged + 1;
        let prune = Change::Prune {
            group,
            below,
            keep_bytes,
            sent_before,
        };
        self.save(vec![prune]).await
    }

    async fn save(&self, changes: Vec<Change>) -> Result<(), StoreError> {
        self.0.save(changes).await.map_err(|_| closed())?
    }
}
