//! Answers about peers: how far they are, whether they are heard, what is done to them on purpose.

use super::Page;
use crate::app::clean;
use crate::app::line::{Chaos, Ignored, Ping};

impl Page<'_> {
    pub(super) fn ping(&self, ping: &Ping) -> String {
        let name = self.name(ping.member);
        self.star(&match ping.round_trip_us {
            Some(us) => format!("{name} answers in {}.{} ms", us / 1000, us % 1000 / 100),
            None => format!("{name} does not answer"),
        })
    }

    pub(super) fn ignored(&self, ignored: &Ignored) -> String {
        let names: Vec<_> = ignored.ignored.iter().map(|id| clean::line(id)).collect();
        self.star(&match names.as_slice() {
            [] => "nobody is ignored".to_owned(),
            names => format!("ignored: {}; /ignore again to hear", names.join(", ")),
        })
    }

    pub(super) fn chaos(&self, chaos: &Chaos) -> String {
        let names: Vec<_> = chaos.members.iter().map(|member| self.name(*member)).collect();
        let names = names.join(", ");
        self.star(&match (chaos.delay_ms, chaos.percent, &chaos.cut) {
            (Some([_, 0]), ..) => format!("what {names} says is not late any more"),
            (Some([from, to]), ..) if from == to => format!("what {names} says is late by {from} ms here"),
            (Some([from, to]), ..) => format!("what {names} says is late by {from} to {to} ms here"),
            (_, Some(percent), _) => format!("of what {names} says {percent} % are lost here"),
            (.., Some(cut)) if cut.is_empty() => "nobody is cut off from this chat".to_owned(),
            (.., Some(_)) => format!("cut off from this chat: {names}; /heal ends it"),
            _ => "no faults on purpose any more".to_owned(),
        })
    }
}
