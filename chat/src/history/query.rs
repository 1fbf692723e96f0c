//! Which messages are asked for.

use jiff::civil;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use multicast::Member;
use multicast::store::Stored;

use crate::cli;

/// Which messages.
pub(super) struct Query {
    pub(super) words: Option<String>,
    pub(super) from: Option<String>,
    since: Option<u64>,
    pub(super) limit: Option<usize>,
    /// In this member's delivery order instead of the one that is everybody's.
    pub(super) delivery: bool,
}

impl Query {
    pub(super) fn new(wanted: &cli::History) -> Result<Self, String> {
        Ok(Self {
            words: wanted.grep.clone(),
            from: wanted.from.clone(),
            since: wanted.since.as_deref().map(micros).transpose()?,
            limit: wanted.limit,
            delivery: wanted.order.as_deref() == Some("delivery"),
        })
    }

    pub(super) fn everything() -> Self {
        Self {
            words: None,
            from: None,
            since: None,
            limit: None,
            delivery: false,
        }
    }

    pub(super) fn is_search(&self) -> bool {
        self.words.is_some()
    }

    pub(super) fn is_in_time(&self, stored: &Stored) -> bool {
        self.since.is_none_or(|since| stored.sent_at >= since)
    }
}

/// Whether the peer is meant by that: by its nick, or by its id.
pub(super) fn is_meant(peer: &str, member: &Member) -> bool {
    match peer.split_once('#') {
        Some((nick, short)) => *nick == *member.name && !short.is_empty() && member.id.to_string().starts_with(short),
        None => *peer == *member.name,
    }
}

/// Microseconds since 1970 of a moment as people write it.
fn micros(text: &str) -> Result<u64, String> {
    let local = |time: civil::DateTime| time.to_zoned(TimeZone::system()).ok().map(|zoned| zoned.timestamp());
    let ago = |ago: SignedDuration| Timestamp::now().checked_sub(ago).ok();
    let moment = text.parse::<Timestamp>().ok();
    let moment = moment.or_else(|| text.parse::<civil::DateTime>().ok().and_then(local));
    let moment = moment.or_else(|| {
        text.parse::<civil::Date>()
            .ok()
            .and_then(|date| local(date.at(0, 0, 0, 0)))
    });
    let moment = moment.or_else(|| text.parse::<SignedDuration>().ok().and_then(ago));
    moment
        .map(|moment| moment.as_microsecond().max(0) as u64)
        .ok_or_else(|| {
            "--since is a day or a time like 2026-11-21 or 2026-11-21T10:02, or how long ago, like 2h".to_owned()
        })
}

#[cfg(test)]
mod tests {
    use multicast::MemberId;

    use super::*;

    #[test]
    fn moments_are_read() {
        assert_eq!(micros("1970-01-01T00:00:01Z"), Ok(1_000_000));
        assert!(micros("2026-11-21").is_ok() && micros("2026-11-21T10:02").is_ok());
        let hours = micros("2h").expect("two hours ago");
        assert!(hours < micros("1m").expect("a minute ago"));
        assert!(micros("yesterday-ish").is_err());
    }

    #[test]
    fn peers_are_meant_by_nick_or_id() {
        let ana = Member {
            id: MemberId::from(0x7f3a_01c2 << 96),
            name: "ana".into(),
        };
        assert!(is_meant("ana", &ana) && is_meant("ana#7f3a01c2", &ana));
        assert!(!is_meant("an", &ana) && !is_meant("ana#7f3b", &ana) && !is_meant("ana#", &ana));
    }
}
