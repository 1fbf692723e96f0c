//! A journal that is written from a thread where waiting is allowed.

use super::{Journal, JournalError, Party, Record};
use crate::id::{JournalId, MemberId};

/// Bytes that may be appended to a journal before it is begun anew with what still counts; and as many as it has then.
const SLACK: u64 = 1 << 20;

/// None: what would be written is forgotten with the process.
pub(super) struct Keeper {
    journal: Option<Box<dyn Journal>>,
    opened: Record,
    begin_anew_at: u64,
    ephemeral: bool,
}

pub(super) struct Opened {
    pub(super) party: Party,
    pub(super) keeper: Keeper,
}

impl Keeper {
    /// Opens the journal for one more life, and begins it anew with what counts.
    pub(super) async fn open(me: MemberId, journal: Option<Box<dyn Journal>>) -> Result<Opened, JournalError> {
        let ephemeral = journal.is_none();
        let mut keeper = Self {
            journal,
            opened: Record::Opened {
                journal: JournalId(random()),
                life: 1,
            },
            begin_anew_at: 0,
            ephemeral,
        };
        let records = keeper.with(|journal| journal.load()).await?.unwrap_or_default();
        let last = records.iter().rev().find_map(|record| match record {
            Record::Opened { journal, life } => Some((*journal, *life)),
            _ => None,
        });
        if let Some((journal, life)) = last {
            let life = life + 1;
            keeper.opened = Record::Opened { journal, life };
        }
        let Record::Opened { journal, life } = keeper.opened else {
            unreachable!("it was just made");
        };
        let party = Party::new(me, journal, life, &records);
        keeper.begin_anew(&party).await?;
        Ok(Opened { party, keeper })
    }

    pub(super) fn is_ephemeral(&self) -> bool {
        self.ephemeral
    }

    /// `party`, which knows what the record says, is what a journal that has grown long is begun anew from.
    pub(super) async fn append(&mut self, record: Record, party: &Party) -> Result<(), JournalError> {
        let size = self
            .with(move |journal| {
                journal.append(&record)?;
                Ok(journal.size())
            })
            .await?;
        if size.is_some_and(|size| size > self.begin_anew_at) {
            self.begin_anew(party).await?;
        }
        Ok(())
    }

    async fn begin_anew(&mut self, party: &Party) -> Result<(), JournalError> {
        let mut records = vec![self.opened.clone()];
        records.extend(party.records());
        let size = self
            .with(move |journal| {
                journal.replace(&records)?;
                Ok(journal.size())
            })
            .await?;
        self.begin_anew_at = size.unwrap_or(0) * 2 + SLACK;
        Ok(())
    }

    /// Nothing, where there is no journal.
    async fn with<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut dyn Journal) -> Result<T, JournalError> + Send + 'static,
    ) -> Result<Option<T>, JournalError> {
        let Some(mut journal) = self.journal.take() else {
            return Ok(None);
        };
        let (journal, result) = tokio::task::spawn_blocking(move || {
            let result = work(&mut *journal);
            (journal, result)
        })
        .await
        .expect("a journal does not panic");
        self.journal = Some(journal);
        result.map(Some)
    }
}

fn random() -> [u8; 16] {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("the system gives random bytes");
    bytes
}
