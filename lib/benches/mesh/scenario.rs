//! What is measured.

use std::time::Duration;

use crate::contestant::Kind;
use crate::report::Flags;
use crate::road::Road;

/// One table.
#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    pub(crate) members: usize,
    pub(crate) payload: usize,
    pub(crate) sending: Sending,
    pub(crate) road: Road,
    pub(crate) kinds: &'static [Kind],
    /// Of one round of one contestant.
    pub(crate) length: Duration,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Sending {
    All,
    One,
    OneAtATime,
    HalfLoad,
}

impl Scenario {
    /// For example `all-8x64`.
    pub(crate) fn name(&self) -> String {
        let sending = match self.sending {
            _ if self.road == Road::Long => "far",
            _ if self.kinds == Kind::SECURITY => "secure",
            Sending::All => "all",
            Sending::One => "one",
            Sending::OneAtATime => "idle",
            Sending::HalfLoad => "half",
        };
        format!("{sending}-{}x{}", self.members, self.payload)
    }

    pub(crate) fn title(&self) -> String {
        let sending = match self.sending {
            Sending::All => "all sending",
            Sending::One => "one sending",
            Sending::OneAtATime => "one message at a time",
            Sending::HalfLoad => "all sending, half of what the slowest can take",
        };
        let far = if self.road == Road::Long {
            ", 100 ms round trip"
        } else {
            ""
        };
        let secure = if self.kinds == Kind::SECURITY {
            ", plaintext and TLS"
        } else {
            ""
        };
        format!("{} members, {} B, {sending}{far}{secure}", self.members, self.payload)
    }

    pub(crate) fn senders(&self) -> usize {
        if self.sending == Sending::One { 1 } else { self.members }
    }
}

/// All that the flags ask for.
pub(crate) fn all(flags: &Flags) -> Vec<Scenario> {
    use Sending::{All, HalfLoad, One, OneAtATime};
    let length = Duration::from_millis(match (flags.is_smoke(), flags.quick) {
        (true, _) => 20,
        (_, true) => 300,
        _ => 500,
    });
    let scenario = |sending, members, payload| Scenario {
        members,
        payload,
        sending,
        road: Road::Short,
        kinds: Kind::FLOORS,
        length,
    };
    let secure = |members, payload| Scenario {
        kinds: Kind::SECURITY,
        ..scenario(All, members, payload)
    };
    // A stream of the largest messages between two, long enough that its beginning and its end are a small part.
    let far = Scenario {
        members: 2,
        payload: 64 << 10,
        sending: Sending::One,
        road: Road::Long,
        kinds: Kind::FLOORS,
        length: length * 10,
    };
    let mut all = Vec::new();
    if flags.is_smoke() {
        all.extend([All, OneAtATime].map(|sending| scenario(sending, 3, 64)));
        all.push(secure(3, 64));
    } else if flags.quick {
        all.extend([64, 1024].map(|payload| scenario(All, 8, payload)));
        all.extend([One, OneAtATime, HalfLoad].map(|sending| scenario(sending, 8, 64)));
        all.extend([64, 1024].map(|payload| secure(8, payload)));
        all.push(far);
    } else {
        for members in [3, 8, 16, 32] {
            all.extend([64, 1024, 16 << 10].map(|payload| scenario(All, members, payload)));
        }
        all.extend([64, 1024].map(|payload| scenario(One, 8, payload)));
        all.extend([OneAtATime, HalfLoad].map(|sending| scenario(sending, 8, 64)));
        all.extend([64, 1024].map(|payload| secure(8, payload)));
        all.push(far);
    }
    all.retain(|scenario| flags.wants(&scenario.name()));
    all
}
