//! The book on disk. Every change reads it, changes it and writes it under a lock, so that several
//! registries of one authority can share it.

use std::sync::{Arc, PoisonError};

use super::{Desk, Office, Refused, unix_now};
use crate::admission::Book;
use crate::private::{self, PrivateError};
use crate::protocol::Refusal;

const MAGIC: &[u8; 8] = b"nsadmit1";
const FILE: &str = "admissions";
const LOCK: &str = "admissions.lock";

impl Office {
    pub(super) fn read_first(&self, desk: &mut Desk) -> Result<(), PrivateError> {
        let lock = self.0.dir.as_ref().map(|dir| private::lock(&dir.join(LOCK)));
        let _lock = lock.transpose()?;
        self.read(desk)?;
        self.publish(&desk.book);
        Ok(())
    }

    /// Changes the book, on disk before this returns. Nothing is changed if that fails, or if
    /// `change` refuses.
    pub(super) async fn transact<T: Send + 'static>(
        &self,
        change: impl FnOnce(&mut Desk, u64) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let office = self.clone();
        let done = tokio::task::spawn_blocking(move || office.transact_now(change)).await;
        done.unwrap_or(Err(Refusal::Storage))
    }

    fn transact_now<T>(&self, change: impl FnOnce(&mut Desk, u64) -> Result<T, Refusal>) -> Result<T, Refusal> {
        let failed = |error: PrivateError| {
            tracing::error!(target: "nodeset::server", "admissions: {error}");
            Refusal::Storage
        };
        let mut desk = self.0.desk.lock().unwrap_or_else(PoisonError::into_inner);
        let lock = self.0.dir.as_ref().map(|dir| private::lock(&dir.join(LOCK)));
        let _lock = lock.transpose().map_err(failed)?;
        self.read(&mut desk).map_err(failed)?;
        let before = desk.book.clone();
        let mut done = change(&mut desk, unix_now());
        if done.is_ok() && desk.book != before {
            done = self.write(&mut desk).map_err(failed).and(done);
        }
        if done.is_err() {
            desk.book = before;
        }
        self.publish(&desk.book);
        done
    }

    fn read(&self, desk: &mut Desk) -> Result<(), PrivateError> {
        let Some(dir) = &self.0.dir else { return Ok(()) };
        let path = dir.join(FILE);
        let bytes = private::read(&path)?.unwrap_or_default();
        if bytes == desk.bytes {
            return Ok(());
        }
        let body = private::unseal(MAGIC, &bytes);
        let book = body.and_then(|body| postcard::from_bytes(body).ok());
        // Not to be replaced by an empty one: it says who was evicted.
        desk.book = book.ok_or_else(|| private::damaged(&path, "it does not say who was let in and evicted"))?;
        desk.bytes = bytes;
        Ok(())
    }

    fn write(&self, desk: &mut Desk) -> Result<(), PrivateError> {
        let Some(dir) = &self.0.dir else { return Ok(()) };
        let body = postcard::to_stdvec(&desk.book).unwrap_or_default(); // plain data: cannot fail
        let bytes = private::seal(MAGIC, &body);
        private::replace(&dir.join(FILE), &bytes)?;
        desk.bytes = bytes;
        Ok(())
    }

    fn publish(&self, book: &Book) {
        let now = unix_now();
        let refused = Refused {
            nodes: book.evictions(now).map(|(node, left)| (node, now + left)).collect(),
            profiles: book.bans().collect(),
        };
        self.0.refused.send_if_modified(|told| {
            let news = **told != refused;
            if news {
                *told = Arc::new(refused);
            }
            news
        });
    }
}
