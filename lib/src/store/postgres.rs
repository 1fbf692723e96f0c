//! A store in a server that speaks PostgreSQL's protocol.
//!
//! Plain tables, whose names begin with `multicast_`, in the schema that the connection finds first: one store a schema.
//! Every batch of changes is one serializable transaction, and is made again where the server asks for that or is away for
//! a moment; made twice it is as made once. What is searched is an array of words with an inverted index: it finds exactly
//! what the other stores find, which the servers' own ideas of a word would not.

mod read;
mod session;
mod trouble;
mod write;

use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Runtime};
use tokio_postgres::Config;
use tokio_postgres::config::Host;

use crate::id::{Dot, GroupId};
use crate::store::{Canonical, Change, Page, Saved, Size, Store, StoreError, Stored, Words};
use session::Session;
use trouble::Trouble;

/// How long a change is tried again while the server is away: longer than it takes to start anew.
const RETRY_FOR: Duration = Duration::from_secs(30);
/// Between two tries, at first and at most.
const PAUSE: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));
/// How long one try may take before the connection counts as dead.
const TRY: Duration = Duration::from_secs(30);
/// How long the server may take to let one in, unless the address says otherwise.
const CONNECT: Duration = Duration::from_secs(5);
/// How long the goodbye to the server may take; without one, it notices by itself.
const GOODBYE: Duration = Duration::from_secs(1);

/// A store in an SQL server. See [`crate::store`].
pub struct PostgresStore {
    /// None while it is dropped.
    inside: Option<(Runtime, Inside)>,
}

/// All but the runtime, which runs it.
struct Inside {
    place: String,
    config: Config,
    words: Words,
    /// Who writes: whoever opened it last. None where it is only read.
    owner: Option<[u8; 16]>,
    session: Option<Session>,
}

impl PostgresStore {
    /// Opens the store in that database, or creates its tables where there are none: `postgres://user@host/database`, with
    /// all that libpq takes there; `?options=-csearch_path%3Dana` names a schema. Connections are not encrypted: across a
    /// network use one that is. Blocks, and must not be called from a task of a runtime.
    ///
    /// # Errors
    /// [`StoreError::Locked`]: another one writes it. [`StoreError::Damaged`]: some of the tables are there.
    /// [`StoreError::OtherVersion`], [`StoreError::Full`], [`StoreError::Io`]: the address makes no sense, or the server
    /// cannot be reached or refuses. What was there is unchanged.
    pub fn open(address: &str, words: Words) -> Result<Self, StoreError> {
        let mut owner = [0; 16];
        getrandom::fill(&mut owner).map_err(|error| StoreError::Io {
            place: "the system's randomness".to_owned(),
            what: error.to_string(),
        })?;
        Self::start(address, words, Some(owner))
    }

    /// Opens the store in that database to read it, also while another process writes it. [`Store::apply`] is refused.
    /// As [`PostgresStore::open`] otherwise.
    ///
    /// # Errors
    /// As [`PostgresStore::open`]; where there are no tables it is [`StoreError::Io`].
    pub fn open_to_read(address: &str, words: Words) -> Result<Self, StoreError> {
        Self::start(address, words, None)
    }

    fn start(address: &str, words: Words, owner: Option<[u8; 16]>) -> Result<Self, StoreError> {
        let wrong = |what: String| StoreError::Io {
            place: "the store's address".to_owned(),
            what,
        };
        let mut config: Config = address.parse().map_err(|error| wrong(trouble::words(&error)))?;
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT);
        }
        config.application_name("multicast");
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| wrong(error.to_string()))?;
        let mut inside = Inside {
            place: place_of(&config),
            config,
            words,
            owner,
            session: None,
        };
        let opened = runtime.block_on(Session::open(&inside.config, owner, true));
        inside.session = Some(opened.map_err(|trouble| trouble.at(&inside.place))?);
        Ok(Self {
            inside: Some((runtime, inside)),
        })
    }

    /// Does it, and does it again where that may help.
    fn try_hard<T>(
        &mut self,
        mut work: impl AsyncFnMut(&mut Session, &Words) -> Result<T, Trouble>,
    ) -> Result<T, StoreError> {
        let (runtime, inside) = self.inside.as_mut().expect("there until it is dropped");
        let done = runtime.block_on(async {
            let until = Instant::now() + RETRY_FOR;
            let mut pause = PAUSE.0;
            loop {
                let once = async {
                    let session = match inside.session.take() {
                        Some(session) if !session.is_closed() => session,
                        _ => Session::open(&inside.config, inside.owner, false).await?,
                    };
                    let session = inside.session.insert(session);
                    let done = work(session, &inside.words).await;
                    if done.is_err() {
                        session.forget();
                    }
                    done
                };
                let done = match tokio::time::timeout(TRY, once).await {
                    Ok(done) => done,
                    Err(_) => {
                        inside.session = None;
                        Err(Trouble::passing("no answer"))
                    }
                };
                match done {
                    Err(trouble) if trouble.may_pass() && Instant::now() < until => {
                        tokio::time::sleep(pause).await;
                        pause = (pause * 2).min(PAUSE.1);
                    }
                    done => return done,
                }
            }
        });
        done.map_err(|trouble| trouble.at(&inside.place))
    }
}

impl Drop for PostgresStore {
    /// Lets go of the lock before it returns, if the server answers. On a thread of its own: this may be a task of a runtime,
    /// which must not run another one.
    fn drop(&mut self) {
        let Some((runtime, inside)) = self.inside.take() else {
            return;
        };
        let goodbye = move || {
            if let Some(session) = inside.session {
                let _ = runtime.block_on(async { tokio::time::timeout(GOODBYE, session.close()).await });
            }
            runtime.shutdown_background();
        };
        let _ = std::thread::spawn(goodbye).join();
    }
}

impl std::fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let place = self.inside.as_ref().map(|(_, inside)| &inside.place);
        f.debug_struct("PostgresStore")
            .field("place", &place)
            .finish_non_exhaustive()
    }
}

impl Store for PostgresStore {
    fn apply(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        self.try_hard(async |session, words| write::apply(session, words, changes).await)
    }

    fn load(&mut self, group: GroupId, budget: u64) -> Result<Option<Saved>, StoreError> {
        self.try_hard(async |session, _| read::saved(session, group, budget).await)
    }

    fn read(&mut self, group: GroupId, page: Page, limit: usize) -> Result<Vec<Stored>, StoreError> {
        self.try_hard(async |session, _| read::page(session, group, page, limit).await)
    }

    fn search(
        &mut self,
        group: GroupId,
        words: &str,
        before: Option<Canonical>,
        limit: usize,
    ) -> Result<Vec<Stored>, StoreError> {
        self.try_hard(async |session, _| read::search(session, group, words, before, limit).await)
    }

    fn get(&mut self, group: GroupId, dot: Dot) -> Result<Option<Stored>, StoreError> {
        self.try_hard(async |session, _| read::get(session, group, dot).await)
    }

    fn size(&mut self, group: GroupId) -> Result<Size, StoreError> {
        self.try_hard(async |session, _| read::size(session, group).await)
    }

    fn groups(&mut self) -> Result<Vec<GroupId>, StoreError> {
        self.try_hard(async |session, _| read::groups(session).await)
    }
}

/// The address without its password.
fn place_of(config: &Config) -> String {
    let host = match config.get_hosts().first() {
        Some(Host::Tcp(name)) => name.clone(),
        #[cfg(unix)]
        Some(Host::Unix(path)) => path.display().to_string(),
        None => "localhost".to_owned(),
    };
    let user = config.get_user().map(|user| format!("{user}@")).unwrap_or_default();
    let port = config
        .get_ports()
        .first()
        .map(|port| format!(":{port}"))
        .unwrap_or_default();
    format!(
        "postgres://{user}{host}{port}/{}",
        config.get_dbname().unwrap_or_default()
    )
}
