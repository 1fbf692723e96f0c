//! Time goes by: mail arrives, timers ring, and what engines and sequencers want is done.

use multicast::engine::{Frame, Input, Notice, Output};
use multicast::ordered::{OrderInput, OrderOutput, peers};
use multicast::{Clock, Dot, Kind, MemberId, Micros};

use super::{MS, Verdict, World};

impl World {
    /// Lets time go by: mail arrives, and timers ring.
    pub(in crate::ordered) fn pass(&mut self, pause: Micros) -> Verdict {
        let until = self.now + pause;
        loop {
            let mail = self.mail.first_key_value().map(|entry| entry.0.0);
            let alarm = |who: &usize| {
                let process = &self.processes[*who];
                let wake = process
                    .engine
                    .deadline()
                    .into_iter()
                    .chain(process.sequencer.deadline())
                    .min();
                wake.map(|at| (at, *who))
            };
            let alarm = self.alive().iter().filter_map(alarm).min();
            let next = mail.into_iter().chain(alarm.map(|alarm| alarm.0)).min();
            let Some(next) = next.filter(|next| *next <= until) else {
                self.now = until;
                return Ok(());
            };
            self.now = next.max(self.now);
            if mail == Some(next) {
                let Some((_, (from, to, frame))) = self.mail.pop_first() else {
                    continue;
                };
                if self.processes[to].linked.contains(&from) && self.processes[to].alive {
                    self.hear(from, to, frame)?;
                }
            } else if let Some((_, who)) = alarm {
                self.feed(who, Input::Tick)?;
                self.order(who, OrderInput::Tick)?;
            }
        }
    }

    fn hear(&mut self, from: usize, to: usize, frame: Frame) -> Verdict {
        let from = Self::id(from);
        match frame {
            Frame::Order { word } => self.order(to, OrderInput::Said { from, bytes: word }),
            frame => self.feed(to, Input::Frame { from, frame }),
        }
    }

    fn post(&mut self, from: usize, to: MemberId, frame: Frame) {
        let Some(to) = (0..self.processes.len()).find(|who| Self::id(*who) == to) else {
            return;
        };
        if !self.processes[from].linked.contains(&to) || self.rng.percent(self.loss) {
            return;
        }
        let delay = self.rng.pick(&[MS, 3 * MS, 10 * MS, 60 * MS]);
        self.mailed += 1;
        self.mail.insert((self.now + delay, self.mailed), (from, to, frame));
    }

    pub(super) fn feed(&mut self, who: usize, input: Input) -> Verdict {
        let mut changed = matches!(
            input,
            Input::LinkUp { .. } | Input::LinkDown { .. } | Input::Refused { .. }
        );
        let outputs = self.processes[who].engine.handle(input, self.now);
        for output in outputs {
            match output {
                Output::Deliver { piece, .. } => {
                    for message in piece.messages() {
                        self.deliver(who, message.dot, message.kind, message.clock())?;
                    }
                }
                Output::Send { to, frame } => self.post(who, to, frame),
                Output::Push { to, batch } => {
                    let run = self.processes[who].engine.own_run(batch);
                    self.post(who, to, Frame::Push(run));
                }
                Output::Notice(Notice::Gap(spans)) => self.order(who, OrderInput::Gap(spans))?,
                Output::Notice(_) | Output::ViewChanged => changed = true,
                Output::Broken(why) => return Err(why),
                Output::Left => {
                    self.note(who, "is gone");
                    self.processes[who].alive = false;
                    return self.relink();
                }
                _ => {}
            }
        }
        if changed {
            let peers = peers(&self.processes[who].engine);
            self.order(who, OrderInput::Peers(peers))?;
        }
        Ok(())
    }

    fn deliver(&mut self, who: usize, dot: Dot, kind: Kind, clock: Clock) -> Verdict {
        let id = Self::id(who);
        if dot.origin == id && kind == Kind::Join {
            let cut = self.processes[who].engine.cut();
            let below = cut
                .iter()
                .flat_map(|(origin, last)| (1..=last).map(move |seq| Dot { origin, seq }));
            self.judge.joined(id, below.collect());
            self.order(who, OrderInput::Cut(cut))?;
        }
        self.judge.delivered(id, dot);
        self.order(who, OrderInput::Delivered { dot, clock })
    }

    pub(in crate::ordered) fn order(&mut self, who: usize, input: OrderInput) -> Verdict {
        let outputs = self.processes[who].sequencer.handle(input, self.now);
        let id = Self::id(who);
        for output in outputs {
            if self.trace && !matches!(output, OrderOutput::Say { .. }) {
                println!("{:>9} m{who} {output:?}", self.now);
            }
            match output {
                OrderOutput::Say { to, bytes } => self.post(who, to, Frame::Order { word: bytes }),
                OrderOutput::Show { dot, place } => {
                    self.counts.shown += 1;
                    let voters = self.processes[who].sequencer.voters();
                    self.judge
                        .shown(id, dot, place.pos, &voters)
                        .map_err(|why| format!("{} at m{who}: {why}", self.now))?;
                }
                OrderOutput::Unplaced(dot) => {
                    self.counts.unplaced += 1;
                    self.judge.unplaced(id, dot);
                }
                OrderOutput::Authority { .. } => self.counts.authorities += 1,
                OrderOutput::Waiting { .. } => {
                    self.counts.waits += 1;
                    self.processes[who].waiting = true;
                }
                OrderOutput::Resumed => self.processes[who].waiting = false,
                OrderOutput::NotHandedOver(_) => {}
                OrderOutput::Odd { what, .. } => {
                    self.counts.odd += 1;
                    if !self.has_liars {
                        return Err(format!("m{who} calls somebody a liar: {what}"));
                    }
                }
            }
        }
        if self.processes[who].sequencer.is_handing_over() {
            self.counts.handed += 1;
        }
        Ok(())
    }
}
