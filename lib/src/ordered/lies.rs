//! Words that no correct member says, for tests.

use bytes::Bytes;

use super::word::{At, Entry, GREATEST, Record, Said, Snapshot, Voters, Word};
use crate::id::{MemberId, Span};

/// Words of a member that was elected by nobody: records of what does not exist, terms near the end of all terms, spans
/// that go on for ever, wishes that are not its own.
#[doc(hidden)]
pub fn lies(creator: MemberId, liar: MemberId, term: u64) -> Vec<Bytes> {
    let at = At { term, index: 5 };
    let spans = vec![Span {
        origin: liar,
        from: 100,
        to: 100,
    }];
    let endless = vec![Span {
        origin: liar,
        from: 1,
        to: u64::MAX,
    }];
    let append = |term, prev, spans| Word::Append {
        term,
        commit: GREATEST,
        floor: GREATEST,
        prev,
        entries: vec![Entry::Record(Record { by: liar, spans })],
    };
    let alone = Voters {
        old: vec![liar],
        ..Voters::default()
    };
    let install = |term, at| Word::Install {
        term,
        snapshot: Snapshot {
            at,
            voters: alone.clone(),
            reach: vec![(creator, u64::MAX)],
            count: 7,
        },
    };
    let far = At {
        term: GREATEST,
        index: GREATEST,
    };
    let words = [
        append(term, at, spans.clone()),
        append(term + 1, at, spans.clone()),
        append(term + 1, At::default(), spans.clone()),
        append(GREATEST, far, spans.clone()),
        append(u64::MAX, far, spans),
        append(term, at, endless),
        install(term, at),
        install(term + 1, far),
        install(GREATEST, far),
        Word::VoteAsk {
            term: GREATEST,
            last: far,
        },
        Word::VoteAsk {
            term: term + 1,
            last: far,
        },
        Word::Vote {
            term: GREATEST,
            granted: true,
        },
        Word::Appended {
            term: GREATEST,
            last: far,
        },
        Word::Appended { term, last: far },
        Word::HandOver { term, to: liar },
        Word::Follows {
            term: GREATEST,
            leader: Some(liar),
        },
    ];
    let said = |word| {
        Said {
            creator: Some(creator),
            word,
        }
        .encode()
    };
    words
        .into_iter()
        .map(said)
        .chain([Bytes::new(), Bytes::from_static(&[255; 40])])
        .collect()
}
