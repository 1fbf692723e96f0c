//! The oracle: it knows what really happened, and shares no code with the engine.
//!
//! Ground truth is kept as counters of its own. A member delivers each origin's messages one after the other
//! (S3, checked here), so what it has delivered is one counter an origin, and the past of a message is what its
//! sender's counters were when it sent. Stamps are never asked what precedes what: they are on trial here too.

mod lives;
#[cfg(test)]
mod tests;
mod words;

use bytes::Bytes;

use lives::Lives;
pub(crate) use words::{Dot, Heard, Sort, Verdict, Violation, Who};

/// The judge of one run.
pub(crate) struct Judge {
    members: usize,
    minds: Vec<Mind>,
    /// Everything that was ever sent: `sent[origin][seq - 1]`.
    sent: Vec<Vec<Sent>>,
    /// The pasts of all messages, end to end: `members` counters each, the message itself included.
    pasts: Vec<u32>,
    /// Retirements: the message, of whom, up to which seq.
    retired: Vec<(Dot, Who, u32)>,
    lives: Lives,
}

/// What one member really has.
#[derive(Clone, Default)]
struct Mind {
    /// Where it began; unknown until it delivers something.
    cut: Option<Vec<u32>>,
    /// Delivered, cut included.
    has: Vec<u32>,
    /// The greatest Lamport time among what it has.
    lamport: u64,
    /// Cuts that sponsors handed to it.
    granted: Vec<Vec<u32>>,
    /// Own application messages whose `Sent` has not come yet.
    unclaimed: u32,
    /// Its last message is a leave.
    left: bool,
}

struct Sent {
    bytes: Bytes,
    sort: Sort,
    lamport: u64,
    /// Where its past begins in `pasts`.
    past: usize,
}

impl Judge {
    /// A judge for at most so many process starts.
    pub(crate) fn new(members: usize) -> Self {
        let mind = Mind {
            has: vec![0; members],
            ..Mind::default()
        };
        Self {
            members,
            minds: vec![mind; members],
            sent: (0..members).map(|_| Vec::new()).collect(),
            pasts: Vec::new(),
            retired: Vec::new(),
            lives: Lives::new(members),
        }
    }

    /// S6: a sponsor hands a cut to a joiner.
    pub(crate) fn grants(&mut self, sponsor: Who, joiner: Who, cut: &[u32]) -> Verdict {
        self.closed(sponsor, cut)?;
        if let Some(origin) = exceeds(cut, &self.minds[sponsor].has) {
            let (seq, has) = (cut[origin], self.minds[sponsor].has[origin]);
            return no("S6", sponsor, format!("grants m{origin}:{seq}, has only {has} itself"));
        }
        self.minds[joiner].granted.push(cut.to_vec());
        Ok(())
    }

    /// A member's first delivery is about to come: this is where it says it began.
    pub(crate) fn opens(&mut self, who: Who, cut: &[u32]) -> Verdict {
        let nothing = vec![0; self.members];
        let granted = &self.minds[who].granted;
        let fits = |granted: &Vec<u32>| self.lives.with_kept(who, granted) == cut;
        if !granted.iter().chain([&nothing]).any(fits) {
            return no("S6", who, format!("begins at {cut:?}, which nobody handed to it"));
        }
        self.closed(who, cut)?;
        let lamport = (0..self.members)
            .filter(|origin| cut[*origin] > 0)
            .map(|origin| self.sent[origin][cut[origin] as usize - 1].lamport)
            .max();
        let mind = &mut self.minds[who];
        mind.has.copy_from_slice(cut);
        mind.lamport = lamport.unwrap_or(0);
        mind.cut = Some(cut.to_vec());
        Ok(())
    }

    /// Whether the member's beginning is known.
    pub(crate) fn is_open(&self, who: Who) -> bool {
        self.minds[who].cut.is_some()
    }

    /// S1 to S5, S10, P12 and the exactness of stamps, at one delivery.
    pub(crate) fn delivers(&mut self, who: Who, heard: &Heard<'_>) -> Verdict {
        let Dot { origin, seq } = heard.dot;
        let mind = &self.minds[who];
        let Some(cut) = &mind.cut else {
            return no("S6", who, format!("delivers {} before it has a cut", heard.dot));
        };
        let has = mind.has[origin];
        match seq {
            _ if seq <= cut[origin] => return no("S2", who, format!("delivers {}, which is in its cut", heard.dot)),
            _ if seq <= has => return no("S2", who, format!("delivers {} again", heard.dot)),
            _ if seq > has + 1 && origin == who => {
                return no("S5", who, format!("delivers its own {seq} after its own {has}"));
            }
            _ if seq > has + 1 => return no("S3", who, format!("delivers {} after m{origin}:{has}", heard.dot)),
            _ => {}
        }
        if origin == who && seq as usize > self.sent[who].len() {
            self.speaks(who, heard)?;
        } else {
            self.repeats(who, heard)?;
        }
        if origin != who && !self.lives.may_be_known(origin, seq) {
            return no(
                "S16",
                who,
                format!("delivers {}, which is not on its sender's disk", heard.dot),
            );
        }
        let past = self.past(heard.dot);
        let have = |other: Who| self.minds[who].has[other] + u32::from(other == origin);
        if let Some(other) = (0..self.members).find(|other| past[*other] > have(*other)) {
            let (needs, has) = (past[other], have(other));
            let what = format!(
                "delivers {}, whose sender had m{other}:{needs}; it has {has}",
                heard.dot
            );
            return no("S4", who, what);
        }
        let mind = &mut self.minds[who];
        mind.has[origin] = seq;
        mind.lamport = mind.lamport.max(heard.lamport);
        Ok(())
    }

    /// P3 and S1: the member was told that this send is done, and these were its bytes.
    pub(crate) fn claims(&mut self, who: Who, dot: Dot, bytes: &Bytes) -> Verdict {
        let Some(sent) = self.sent[who].get(dot.seq as usize - 1).filter(|_| dot.origin == who) else {
            return no("P3", who, format!("sent {dot} without delivering it"));
        };
        if self.minds[who].has[who] < dot.seq || self.minds[who].unclaimed == 0 {
            return no(
                "P3",
                who,
                format!("says that it sent {dot}, and did not deliver it in this step"),
            );
        }
        if sent.bytes != *bytes || sent.sort != Sort::App {
            return no("S1", who, format!("{dot} is not what was to be sent"));
        }
        self.minds[who].unclaimed -= 1;
        Ok(())
    }

    /// S13 and S1 after a step: what the member says of itself is what it really has.
    pub(crate) fn rests(&self, who: Who, delivered: &[u32]) -> Verdict {
        let mind = &self.minds[who];
        if mind.unclaimed > 0 {
            return no(
                "S1",
                who,
                format!("sent {} messages that nobody asked for", mind.unclaimed),
            );
        }
        if mind.cut.is_some() && mind.has != delivered {
            return no("S13", who, format!("says it has {delivered:?}, has {:?}", mind.has));
        }
        Ok(())
    }

    /// S13 for one held message and the cause that it is said to wait for.
    pub(crate) fn holds(&self, who: Who, dot: Dot, needs: Dot) -> Verdict {
        let mind = &self.minds[who];
        if dot.seq <= mind.has[dot.origin] {
            return no("S13", who, format!("holds {dot}, which it has"));
        }
        if dot.seq as usize > self.sent[dot.origin].len() {
            return no("S1", who, format!("holds {dot}, which was never sent"));
        }
        let past = self.past(dot);
        let missing = |origin: Who| past[origin] - u32::from(origin == dot.origin) > mind.has[origin];
        if !(0..self.members).any(missing) {
            return no("S13", who, format!("holds {dot}, which could be delivered"));
        }
        if needs.seq <= mind.has[needs.origin] || needs.seq > past[needs.origin] || needs == dot {
            return no(
                "S13",
                who,
                format!("{dot} waits for {needs}, which is not a missing cause"),
            );
        }
        Ok(())
    }

    /// P1, P7, S4: a member is told that it will never get these, and counts them as known from now on. The spans
    /// begin exactly where its knowledge ends, name nothing that was never sent, and leave it with a closed set.
    pub(crate) fn skips(&mut self, who: Who, spans: &[(Who, u32, u32)]) -> Verdict {
        if self.minds[who].cut.is_none() {
            return no("P7", who, "has a gap before it has anything".to_owned());
        }
        self.note_skipped(who, spans);
        for &(origin, from, to) in spans {
            let has = self.minds[who].has[origin];
            if from != has + 1 || to < from {
                return no("P7", who, format!("skips m{origin}:{from}..={to}, has m{origin}:{has}"));
            }
            if to as usize > self.sent[origin].len() {
                return no("S1", who, format!("skips m{origin}:{to}, which was never sent"));
            }
            let lamport = self.sent[origin][to as usize - 1].lamport;
            let mind = &mut self.minds[who];
            mind.has[origin] = to;
            mind.lamport = mind.lamport.max(lamport);
        }
        for &(origin, _, seq) in spans {
            let dot = Dot { origin, seq };
            if let Some(other) = exceeds(self.past(dot), &self.minds[who].has) {
                let needs = self.past(dot)[other];
                return no("S4", who, format!("skips {dot}, and not its cause m{other}:{needs}"));
            }
        }
        Ok(())
    }

    /// Somebody is believed to have delivered this: an acknowledgement, or a stable message (S15).
    pub(crate) fn believed(&self, rule: &'static str, at: Who, of: Who, dot: Dot) -> Verdict {
        let has = self.minds[of].has[dot.origin];
        // A joiner has shown nothing yet, and may start over: what it is believed to have is nobody's business.
        if self.is_open(of) && has < dot.seq {
            return no(rule, at, format!("believes that m{of} has {dot}; it has {has}"));
        }
        Ok(())
    }

    /// How many messages of `origin` the member has.
    pub(crate) fn has(&self, who: Who, origin: Who) -> u32 {
        self.minds[who].has[origin]
    }

    /// How many messages the member has sent.
    pub(crate) fn sent(&self, who: Who) -> u32 {
        self.sent[who].len() as u32
    }

    /// Whether the member has said goodbye.
    pub(crate) fn has_left(&self, who: Who) -> bool {
        self.minds[who].left
    }

    /// S7: those who stayed have the same set, with everything that any of them sent. Who left is owed no more
    /// than that all have equally much of it.
    pub(crate) fn agreed(&self, stayed: &[Who]) -> Verdict {
        for &who in stayed {
            for origin in 0..self.members {
                let most = stayed.iter().map(|other| self.has(*other, origin)).max().unwrap_or(0);
                let owed = if stayed.contains(&origin) {
                    self.sent(origin)
                } else {
                    most
                };
                if self.has(who, origin) < owed {
                    let what = format!("has m{origin}:{}, lacks up to {owed}", self.has(who, origin));
                    return no("S7", who, what);
                }
            }
        }
        self.kept(stayed)
    }

    /// P12 over the whole run: in the order of (Lamport time, rank of the member's id) every message comes after
    /// its past. All members have the same times for the same dots, so they sort what they share identically.
    pub(crate) fn canonical(&self, rank: &[usize]) -> Verdict {
        let mut all: Vec<(u64, usize, Dot)> = Vec::new();
        for (origin, sent) in self.sent.iter().enumerate() {
            let dots = sent
                .iter()
                .zip(1..)
                .map(|(sent, seq)| (sent.lamport, rank[origin], Dot { origin, seq }));
            all.extend(dots);
        }
        all.sort_by_key(|entry| (entry.0, entry.1));
        let mut seen = vec![0; self.members];
        for (_, _, dot) in all {
            seen[dot.origin] += 1;
            let past = self.past(dot);
            if seen[dot.origin] != dot.seq || exceeds(past, &seen).is_some() {
                return no("P12", dot.origin, format!("{dot} sorts before something in its past"));
            }
        }
        Ok(())
    }

    /// A new message enters the world: its sender delivers it.
    fn speaks(&mut self, who: Who, heard: &Heard<'_>) -> Verdict {
        let dot = heard.dot;
        let mind = &mut self.minds[who];
        if mind.left {
            return no("S5", who, format!("says {dot} after its leave"));
        }
        if heard.lamport <= mind.lamport {
            let what = format!("{dot} has Lamport time {}, a cause has {}", heard.lamport, mind.lamport);
            return no("P12", who, what);
        }
        mind.left = heard.sort == Sort::Leave;
        mind.unclaimed += u32::from(heard.sort == Sort::App);
        if let Sort::Retire(of, upto) = heard.sort {
            self.retired.push((dot, of, upto));
        }
        let past = self.pasts.len();
        self.pasts.extend_from_slice(&mind.has);
        self.pasts[past + who] = dot.seq;
        self.sent[who].push(Sent {
            bytes: heard.bytes.clone(),
            sort: heard.sort,
            lamport: heard.lamport,
            past,
        });
        self.exact(who, heard)
    }

    /// A known message arrives somewhere: is it what was sent?
    fn repeats(&self, who: Who, heard: &Heard<'_>) -> Verdict {
        let dot = heard.dot;
        let Some(sent) = self.sent[dot.origin].get(dot.seq as usize - 1) else {
            return no("S1", who, format!("delivers {dot}, which was never sent"));
        };
        if sent.bytes != *heard.bytes || sent.sort != heard.sort {
            return no("S10", who, format!("delivers {dot} with other bytes than were sent"));
        }
        if sent.lamport != heard.lamport {
            let what = format!(
                "{dot} has Lamport time {}, was sent with {}",
                heard.lamport, sent.lamport
            );
            return no("P12", who, what);
        }
        self.exact(who, heard)
    }

    /// The stamp's full clock is exactly what the sender had.
    fn exact(&self, who: Who, heard: &Heard<'_>) -> Verdict {
        let past = self.past(heard.dot);
        let fits = |other: Who| {
            let (really, says) = (past[other], heard.clock[other]);
            really == says || (says == 0 && self.may_omit(heard.dot, other, really))
        };
        if !(0..self.members).all(fits) {
            let what = format!(
                "the clock of {} says {:?}, its sender had {past:?}",
                heard.dot, heard.clock
            );
            return no("clock", who, what);
        }
        Ok(())
    }

    /// A clock may leave an origin out if its retirement is in the message's past, and the origin said no more.
    fn may_omit(&self, dot: Dot, origin: Who, entry: u32) -> bool {
        let past = self.past(dot);
        let mut retired = self.retired.iter();
        retired.any(|(by, of, upto)| *of == origin && *by != dot && past[by.origin] >= by.seq && entry <= *upto)
    }

    /// Every message of the cut has its past in the cut. The last of each origin speaks for those before it.
    fn closed(&self, who: Who, cut: &[u32]) -> Verdict {
        for (origin, &seq) in cut.iter().enumerate().filter(|entry| *entry.1 > 0) {
            let dot = Dot { origin, seq };
            if seq as usize > self.sent[origin].len() {
                return no("S6", who, format!("the cut has {dot}, which was never sent"));
            }
            if let Some(other) = exceeds(self.past(dot), cut) {
                let needs = self.past(dot)[other];
                return no(
                    "S6",
                    who,
                    format!("the cut has {dot}, and not its cause m{other}:{needs}"),
                );
            }
        }
        Ok(())
    }

    fn past(&self, dot: Dot) -> &[u32] {
        let at = self.sent[dot.origin][dot.seq as usize - 1].past;
        &self.pasts[at..at + self.members]
    }
}

/// The first place where `left` is more than `right`.
fn exceeds(left: &[u32], right: &[u32]) -> Option<Who> {
    (0..left.len()).find(|&origin| left[origin] > right[origin])
}

fn no(rule: &'static str, who: Who, what: String) -> Verdict {
    Err(Violation { rule, who, what })
}
