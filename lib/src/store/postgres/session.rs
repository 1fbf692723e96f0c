//! One connection to the server: the tables, who may write them, and numbers that are known.

use std::collections::BTreeMap;

use tokio_postgres::{Client, Config, GenericClient, IsolationLevel, NoTls, Transaction};

use super::trouble::Trouble;
use crate::id::{GroupId, MemberId};
use crate::store::columns::Numbers;

/// The tables below. Another number is another format.
const FORMAT: i64 = 1;
/// How many there are.
const COUNT: i64 = 5;

const TABLES: &str = "
    CREATE TABLE multicast_store (one INT8 PRIMARY KEY, format INT8 NOT NULL, owner BYTEA NOT NULL);
    CREATE TABLE multicast_groups (
        id INT8 PRIMARY KEY, name BYTEA NOT NULL UNIQUE, last_place INT8 NOT NULL, acknowledged INT8 NOT NULL);
    CREATE TABLE multicast_notes (
        grp INT8 NOT NULL, key TEXT NOT NULL, value BYTEA NOT NULL, sum INT8 NOT NULL, PRIMARY KEY (grp, key));
    CREATE TABLE multicast_members (id INT8 PRIMARY KEY, member BYTEA NOT NULL UNIQUE);
    CREATE TABLE multicast_messages (
        grp INT8 NOT NULL, place INT8 NOT NULL, origin BYTEA NOT NULL, seq INT8 NOT NULL, lamport INT8 NOT NULL,
        sent_at INT8 NOT NULL, kind INT2 NOT NULL, own BOOL NOT NULL, clock BYTEA NOT NULL, payload BYTEA NOT NULL,
        proof BYTEA NOT NULL, cost INT8 NOT NULL, sum INT8 NOT NULL, words TEXT[], PRIMARY KEY (grp, origin, seq));
    CREATE UNIQUE INDEX multicast_places ON multicast_messages (grp, place) WHERE place > 0;
    CREATE INDEX multicast_canonical ON multicast_messages (grp, lamport, origin, seq);
    CREATE INDEX multicast_told ON multicast_messages (grp, lamport, origin, seq) WHERE place = 0;
    CREATE INDEX multicast_words ON multicast_messages USING GIN (words);
";

/// A connection that may write (or only reads).
pub(super) struct Session {
    client: Client,
    owner: Option<[u8; 16]>,
    pub(super) numbers: Numbers,
    groups: BTreeMap<GroupId, i64>,
}

impl Session {
    /// Connects. The first time somebody else's lock is final; later it may be one's own of a connection that broke.
    pub(super) async fn open(config: &Config, owner: Option<[u8; 16]>, first: bool) -> Result<Self, Trouble> {
        let (client, connection) = config.connect(NoTls).await?;
        // It ends with the client. What it has to say, the client says as well.
        tokio::spawn(async move {
            let _ = connection.await;
        });
        let mut session = Self {
            client,
            owner,
            numbers: Numbers::default(),
            groups: BTreeMap::new(),
        };
        if owner.is_some() {
            session.own(first).await?;
        }
        session.check().await?;
        Ok(session)
    }

    pub(super) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// After something that was not done: numbers of it may be given to others.
    pub(super) fn forget(&mut self) {
        self.numbers.forget();
        self.groups.clear();
    }

    /// Gives the lock back.
    pub(super) async fn close(self) {
        if self.owner.is_some() {
            let _ = self.client.batch_execute("SELECT pg_advisory_unlock_all()").await;
        }
    }

    /// A transaction, together with what is known of numbers.
    pub(super) async fn begin(&mut self) -> Result<(Transaction<'_>, Names<'_>), Trouble> {
        let builder = self
            .client
            .build_transaction()
            .isolation_level(IsolationLevel::Serializable);
        let names = Names {
            numbers: &mut self.numbers,
            groups: &mut self.groups,
        };
        Ok((builder.read_only(self.owner.is_none()).start().await?, names))
    }

    /// Begins a transaction that changes something, if this is still the one that writes.
    pub(super) async fn begin_to_write(&mut self) -> Result<(Transaction<'_>, Names<'_>), Trouble> {
        let Some(owner) = self.owner else {
            return Err(Trouble::Wrong("it was opened to be read"));
        };
        let (transaction, names) = self.begin().await?;
        let found: Vec<u8> = transaction
            .query_one("SELECT owner FROM multicast_store", &[])
            .await?
            .try_get(0)?;
        // Where a server has no locks of this kind, the later one wins, and this one does no harm.
        if found != owner {
            return Err(Trouble::Locked);
        }
        Ok((transaction, names))
    }

    /// Takes the lock, makes the tables, and writes down who writes from now on.
    async fn own(&mut self, first: bool) -> Result<(), Trouble> {
        let row = self
            .client
            .query_one("SELECT current_schema(), current_setting('synchronous_commit')", &[])
            .await?;
        let schema: Option<String> = row.try_get(0)?;
        let schema = schema.ok_or(Trouble::Wrong("there is no schema to keep tables in; see search_path"))?;
        if row.try_get::<_, &str>(1)? == "off" {
            self.client.batch_execute("SET synchronous_commit = on").await?;
        }
        let hash = blake3::hash(format!("multicast store {schema}").as_bytes());
        let key = i64::from_be_bytes(*hash.as_bytes().first_chunk().expect("32 bytes"));
        let locked = self
            .client
            .query_one("SELECT pg_try_advisory_lock($1)", &[&key])
            .await?;
        if !locked.try_get::<_, bool>(0)? {
            return Err(if first {
                Trouble::Locked
            } else {
                Trouble::passing("it is in use")
            });
        }
        let owner = self.owner.unwrap_or_default();
        let transaction = self
            .client
            .build_transaction()
            .isolation_level(IsolationLevel::Serializable)
            .start()
            .await?;
        if tables(&transaction).await? == 0 {
            transaction.batch_execute(TABLES).await?;
            let begin = "INSERT INTO multicast_store (one, format, owner) VALUES (1, $1, $2)";
            transaction.execute(begin, &[&FORMAT, &&owner[..]]).await?;
        } else if first {
            // Before the format is looked at: the lock is ours, and of another format this row is the same.
            let update = "UPDATE multicast_store SET owner = $2 WHERE format = $1";
            transaction.execute(update, &[&FORMAT, &&owner[..]]).await?;
        }
        Ok(transaction.commit().await?)
    }

    async fn check(&mut self) -> Result<(), Trouble> {
        match tables(&self.client).await? {
            COUNT => {}
            0 => return Err(Trouble::Wrong("there is no store in it")),
            some => return Err(Trouble::damaged(format!("{some} of its {COUNT} tables are there"))),
        }
        let row = self.client.query_opt("SELECT format FROM multicast_store", &[]).await?;
        let row = row.ok_or_else(|| Trouble::damaged("its first table is empty"))?;
        let format: i64 = row.try_get(0)?;
        if format != FORMAT {
            let (found, expected) = (format.to_string(), FORMAT.to_string());
            return Err(Trouble::OtherVersion { found, expected });
        }
        Ok(())
    }
}

async fn tables(client: &impl GenericClient) -> Result<i64, Trouble> {
    let names = "('multicast_store', 'multicast_groups', 'multicast_notes', 'multicast_members', 'multicast_messages')";
    let select = format!(
        "SELECT count(*) FROM information_schema.tables WHERE table_schema = current_schema() AND table_name IN {names}"
    );
    Ok(client.query_one(&select, &[]).await?.try_get(0)?)
}

/// Numbers of groups and members, as far as they are known.
pub(super) struct Names<'s> {
    numbers: &'s mut Numbers,
    groups: &'s mut BTreeMap<GroupId, i64>,
}

impl Names<'_> {
    pub(super) async fn group(
        &mut self,
        transaction: &Transaction<'_>,
        group: GroupId,
    ) -> Result<Option<i64>, Trouble> {
        if let Some(id) = self.groups.get(&group) {
            return Ok(Some(*id));
        }
        let select = "SELECT id FROM multicast_groups WHERE name = $1";
        let found = transaction.query_opt(select, &[&&group.0[..]]).await?;
        let Some(row) = found else { return Ok(None) };
        let id = row.try_get(0)?;
        self.groups.insert(group, id);
        Ok(Some(id))
    }

    /// The group's number, if it has to be a new one.
    pub(super) async fn group_or_new(&mut self, transaction: &Transaction<'_>, group: GroupId) -> Result<i64, Trouble> {
        if let Some(id) = self.group(transaction, group).await? {
            return Ok(id);
        }
        let id = next(transaction, "multicast_groups").await?;
        let insert = "INSERT INTO multicast_groups (id, name, last_place, acknowledged) VALUES ($1, $2, 0, 0)";
        transaction.execute(insert, &[&id, &&group.0[..]]).await?;
        self.groups.insert(group, id);
        Ok(id)
    }

    /// The number of a member, if it has to be a new one.
    pub(super) async fn number(&mut self, transaction: &Transaction<'_>, member: MemberId) -> Result<i64, Trouble> {
        if let Some(number) = self.numbers.number(member) {
            return Ok(number);
        }
        let select = "SELECT id FROM multicast_members WHERE member = $1";
        let number = match transaction.query_opt(select, &[&&member.0[..]]).await? {
            Some(row) => row.try_get(0)?,
            None => {
                let number = next(transaction, "multicast_members").await?;
                let insert = "INSERT INTO multicast_members (id, member) VALUES ($1, $2)";
                transaction.execute(insert, &[&number, &&member.0[..]]).await?;
                number
            }
        };
        self.numbers.learn(member, number);
        Ok(number)
    }

    pub(super) async fn member(&mut self, transaction: &Transaction<'_>, number: i64) -> Result<MemberId, Trouble> {
        if let Some(member) = self.numbers.member(number) {
            return Ok(member);
        }
        let select = "SELECT member FROM multicast_members WHERE id = $1";
        let found = transaction.query_opt(select, &[&number]).await?;
        let found = found.ok_or_else(|| Trouble::damaged("a member has no name"))?;
        let bytes: &[u8] = found.try_get(0)?;
        let bytes = bytes
            .try_into()
            .map_err(|_| Trouble::damaged("a member's name is no id"))?;
        self.numbers.learn(MemberId(bytes), number);
        Ok(MemberId(bytes))
    }
}

/// One more than the greatest: there is one that writes.
async fn next(transaction: &Transaction<'_>, table: &str) -> Result<i64, Trouble> {
    let select = format!("SELECT COALESCE(max(id), 0) + 1 FROM {table}");
    Ok(transaction.query_one(&select, &[]).await?.try_get(0)?)
}
