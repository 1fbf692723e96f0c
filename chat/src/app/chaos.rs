//! Faults on purpose: what a person asks for, and what that means for this chat.

use std::collections::BTreeSet;
use std::time::Duration;

use multicast::{MAX_DELAY, MemberId};

use super::command;
use super::line::{self, Body, Chaos, Ref};
use super::question::Context;
use super::room::Room;

/// A fault as it is asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Wish {
    /// What a peer says is late by so many milliseconds, at least and at most.
    Delay { peer: String, range: (u64, u64) },
    /// So many of a hundred frames with what a peer says are lost.
    Drop { peer: String, percent: u8 },
    /// Those of one group do not hear those of another.
    Partition { groups: Vec<Vec<String>> },
    /// No faults any more.
    Heal,
}

/// The same with whom it means, for this chat alone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fault {
    Delay(MemberId, (u64, u64)),
    Drop(MemberId, u8),
    /// These are cut off from this member, and nobody else.
    Cut(BTreeSet<MemberId>),
    Heal,
}

/// `1500ms`, `0-1500ms`, `1s-2s`: a bare number has the unit of the other one.
pub fn range(text: &str) -> Result<(u64, u64), line::Error> {
    let refusal = || {
        let most = MAX_DELAY.as_secs();
        let text = format!("a delay is a range like 0-1500ms or 2s, at most {most}s; 0s for none");
        command::error("bad_argument", text)
    };
    let (from, to) = text.split_once('-').unwrap_or((text, text));
    let unit = to.trim_start_matches(|c: char| c.is_ascii_digit());
    let from = match from.ends_with(|c: char| c.is_ascii_digit()) {
        true => format!("{from}{unit}"),
        false => from.to_owned(),
    };
    let ms = |text: &str| {
        let duration = text.parse::<jiff::SignedDuration>().ok();
        let duration = duration.and_then(|duration| Duration::try_from(duration).ok());
        duration.filter(|by| *by <= MAX_DELAY).map(|by| by.as_millis() as u64)
    };
    match (ms(&from), ms(to)) {
        (Some(from), Some(to)) if from <= to => Ok((from, to)),
        _ => Err(refusal()),
    }
}

/// `30` or `30%`.
pub fn percent(text: &str) -> Result<u8, line::Error> {
    let number = text.strip_suffix('%').unwrap_or(text).parse();
    let refusal = || command::error("bad_argument", "what is lost is 0 to 100 percent");
    number.ok().filter(|percent| *percent <= 100).ok_or_else(refusal)
}

impl Room {
    /// What a wish means for this member.
    pub(super) fn fault(&self, wish: Wish) -> Result<Fault, line::Error> {
        Ok(match wish {
            Wish::Delay { peer, range } => Fault::Delay(self.other(&peer)?, range),
            Wish::Drop { peer, percent } => Fault::Drop(self.other(&peer)?, percent),
            Wish::Partition { groups } => self.partition(&groups)?,
            Wish::Heal => Fault::Heal,
        })
    }

    /// Somebody else.
    pub(super) fn other(&self, peer: &str) -> Result<MemberId, line::Error> {
        let refused = |why: String| command::error("bad_argument", why);
        let member = self
            .people
            .resolve(peer)
            .map_err(|refusal| refused(refusal.to_string()))?;
        match member == self.people.me() {
            true => Err(refused("that is you; name somebody else".to_owned())),
            false => Ok(member),
        }
    }

    /// One group is cut off from everybody else; of several each is cut off from the other ones. Who is in none hears all.
    fn partition(&self, groups: &[Vec<String>]) -> Result<Fault, line::Error> {
        let resolve = |peer: &String| {
            let member = self.people.resolve(peer);
            member.map_err(|refusal| command::error("bad_argument", refusal.to_string()))
        };
        let mut sides = Vec::new();
        for group in groups {
            sides.push(group.iter().map(resolve).collect::<Result<BTreeSet<_>, _>>()?);
        }
        if let [one] = sides.as_slice() {
            let rest = self.people.present().filter(|id| !one.contains(id)).collect();
            sides.push(rest);
        }
        let mut seen = BTreeSet::new();
        if sides.iter().flatten().any(|member| !seen.insert(*member)) {
            let text = "somebody is in two groups; name everyone once";
            return Err(command::error("bad_argument", text));
        }
        let me = self.people.me();
        let own = sides.iter().position(|side| side.contains(&me));
        let others = sides
            .iter()
            .enumerate()
            .filter(|(nth, _)| own.is_some_and(|own| own != *nth));
        Ok(Fault::Cut(others.flat_map(|(_, side)| side).copied().collect()))
    }
}

impl Context<'_> {
    /// The fault that is there now, as a line.
    pub(super) fn chaos(&self, fault: Fault, reference: Option<Ref>) -> Body {
        let (mut line, peer) = (Chaos::new(self.at.clone(), reference), |id| self.people.id(id));
        match fault {
            Fault::Delay(member, (from, to)) => {
                line.name = "delay";
                line.peer = Some(peer(member));
                line.delay_ms = Some([from, to]);
                line.members = vec![member];
            }
            Fault::Drop(member, percent) => {
                line.name = "drop";
                line.peer = Some(peer(member));
                line.percent = Some(percent);
                line.members = vec![member];
            }
            Fault::Cut(members) => {
                line.name = "partition";
                line.cut = Some(members.iter().map(|member| peer(*member)).collect());
                line.members = members.into_iter().collect();
            }
            Fault::Heal => line.name = "heal",
        }
        Body::Chaos(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_has_a_unit() {
        for (text, expected) in [
            ("1500ms", (1500, 1500)),
            ("0-1500ms", (0, 1500)),
            ("1s-2s", (1000, 2000)),
            ("250ms-1s", (250, 1000)),
            ("0s", (0, 0)),
            ("4s", (4000, 4000)),
        ] {
            assert_eq!(range(text).unwrap(), expected, "{text}");
        }
        for odd in ["", "5", "soon", "2s-1s", "5s", "-1s", "1s-", "\u{1b}s"] {
            let refusal = range(odd).unwrap_err().text;
            assert!(refusal.starts_with("a delay is a range"), "{odd:?}: {refusal}");
        }
        assert_eq!(percent("30").unwrap(), 30);
        assert_eq!(percent("100%").unwrap(), 100);
        assert!(percent("101").is_err() && percent("-1").is_err() && percent("").is_err());
    }
}
