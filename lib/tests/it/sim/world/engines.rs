//! Feeding engines: one input, all outputs, and the judge's look at what it left behind.

use bytes::Bytes;
use multicast::engine::{Batch, Frame, Input, Notice, Output};
use multicast::{Kind, Message, Run, Span};

use super::{Happening, Link, World, asked};
use crate::judge::{Verdict, Violation, Who};
use crate::script::{Seat, What};
use crate::sim::net::{Fate, what};
use crate::sim::witness::Asked;

impl World<'_> {
    /// Gives an engine one input, carries out what it wants, and judges both.
    pub(super) fn feed(&mut self, who: Who, input: Input) -> Verdict {
        self.feed_send(who, input, None).map(drop)
    }

    /// The same; `asked` are the bytes that the application sends with this input. Whether they were taken.
    pub(super) fn feed_send(&mut self, who: Who, input: Input, asked: Option<&Bytes>) -> Result<bool, Violation> {
        if self.nodes[who].phase.is_over() {
            return Ok(true);
        }
        self.counts.steps += 1;
        // Most inputs cannot change what is held or delivered; looking at every 16th of them is enough.
        let plain = matches!(
            &input,
            Input::Tick
                | Input::Frame {
                    frame: Frame::PushAck(_) | Frame::Beat(_),
                    ..
                }
        );
        let dies_after = match input {
            Input::Send { .. } => self.nodes[who].dies_after.take(),
            _ => None,
        };
        let clock = self.clock_of(who);
        self.nodes[who].latest = clock.max(self.nodes[who].latest);
        let outputs = self.nodes[who].engine.handle(input, clock);
        let quiet = plain && outputs.is_empty();
        let mut answer = None;
        for (nth, output) in outputs.into_iter().enumerate() {
            if let Some((_, half_open)) = dies_after.filter(|dies| nth >= dies.0) {
                self.counts.crashed_in_send += 1;
                self.crash(who, half_open);
                return Ok(true);
            }
            match output {
                Output::Sent { .. } => answer = Some(true),
                Output::Refused { .. } => answer = Some(false),
                _ => {}
            }
            self.take(who, output, asked)?;
        }
        if asked.is_some() && answer.is_none() {
            let what = "neither took nor refused a send".to_owned();
            return Err(Violation { rule: "P3", who, what });
        }
        if !self.nodes[who].phase.is_over() {
            self.rest(who, quiet)?;
        }
        Ok(answer.unwrap_or(true))
    }

    /// Gives an engine several sends in one turn, carries out what it wants, and judges both. How many of them, from the
    /// first on, were taken.
    pub(super) fn feed_burst(&mut self, who: Who, sends: Vec<(u64, Bytes, u64)>) -> Result<u32, Violation> {
        self.counts.steps += 1;
        self.counts.bursts += 1;
        let clock = self.clock_of(who);
        self.nodes[who].latest = clock.max(self.nodes[who].latest);
        let inputs = sends.iter().map(|(ticket, payload, sent_at)| Input::Send {
            ticket: *ticket,
            kind: Kind::App,
            payload: payload.clone(),
            sent_at: *sent_at,
        });
        let (mut outputs, mut taken) = (Vec::new(), 0);
        self.nodes[who].engine.handle_all(inputs, clock, &mut outputs);
        let bytes_of = |ticket: u64| sends.iter().find(|send| send.0 == ticket).map(|send| &send.1);
        for output in outputs {
            let asked = match output {
                Output::Sent { ticket, .. } => {
                    taken += 1;
                    bytes_of(ticket)
                }
                _ => None,
            };
            self.take(who, output, asked)?;
        }
        if !self.nodes[who].phase.is_over() {
            self.rest(who, false)?;
        }
        Ok(taken)
    }

    fn rest(&mut self, who: Who, quiet: bool) -> Verdict {
        self.keep(who);
        self.plan_wake(who);
        if !quiet || self.counts.steps.is_multiple_of(16) {
            self.witness.rests(who, &self.nodes[who].engine)?;
        }
        if self.counts.steps.is_multiple_of(64) {
            self.inspect(who)?;
        }
        Ok(())
    }

    /// What is too dear for every step.
    pub(super) fn inspect(&mut self, who: Who) -> Verdict {
        let clock = self.clock_of(who);
        let all: Vec<Asked<'_>> = asked(&self.nodes);
        self.witness
            .inspects(who, &self.nodes[who].engine, &all, self.nodes[who].latest)?;
        let due = self.nodes[who].engine.deadline().is_some_and(|at| at <= clock);
        if due || self.nodes[who].stopped_until > self.now {
            return Ok(());
        }
        self.counts.spurious_ticks += 1;
        let deadline = self.nodes[who].engine.deadline();
        let outputs = self.nodes[who].engine.handle(Input::Tick, clock);
        if !outputs.is_empty() || self.nodes[who].engine.deadline() != deadline {
            let what = format!("a tick before its deadline did something: {outputs:?}");
            return Err(Violation {
                rule: "tick",
                who,
                what,
            });
        }
        Ok(())
    }

    fn take(&mut self, who: Who, output: Output, asked: Option<&Bytes>) -> Verdict {
        self.trace_output(who, &output);
        self.witness.now = self.clock_of(who);
        self.witness.sees(who, &self.nodes[who].engine, &output, asked)?;
        self.count(who, &output);
        match output {
            Output::Deliver { piece, .. } => piece.messages().for_each(|message| {
                self.note_kept(who, &message);
                self.heard(who, &message);
            }),
            Output::Sent { dot, .. } => self.accept(who, dot.seq),
            Output::Send { to, frame } => match self.witness.who(to) {
                Some(to) => self.post(who, to, frame),
                None => {
                    let what = format!("speaks to {to:?}, who never was");
                    return Err(Violation { rule: "S1", who, what });
                }
            },
            Output::Push { to, batch } => {
                let run = self.encode(who, batch)?;
                if let Some(to) = self.witness.who(to) {
                    self.post(who, to, Frame::Push(run));
                }
            }
            Output::ViewChanged => self.dial_members(who),
            Output::Left => self.left(who)?,
            Output::Notice(Notice::Gap(spans)) => {
                if let Some(disk) = &mut self.nodes[who].disk {
                    disk.note_change();
                }
                self.gap(who, &spans)?;
            }
            _ => {}
        }
        Ok(())
    }

    /// A gap is told: does somebody still have what it names?
    fn gap(&mut self, who: Who, spans: &[Span]) -> Verdict {
        self.counts.gaps += 1;
        self.counts.gap_dots += spans.iter().map(|span| span.to - span.from + 1).sum::<u64>();
        let others: Vec<Asked<'_>> = asked(&self.nodes).into_iter().filter(|other| other.0 != who).collect();
        self.counts.gap_dots_kept += self.witness.kept_by(&others, spans);
        Ok(())
    }

    /// Own messages travel as bytes, so that the codec is under test as well.
    fn encode(&mut self, who: Who, batch: Batch) -> Result<Run, Violation> {
        let engine = &self.nodes[who].engine;
        let run = decode(who, &engine.encode_own(batch).concat().into())?;
        if self.counts.pushes.is_multiple_of(8) && run != engine.own_run(batch) {
            let what = format!("{batch:?} is another run as bytes");
            return Err(Violation {
                rule: "codec",
                who,
                what,
            });
        }
        self.counts.pushes += 1;
        self.counts.pushed += run.len() as u64;
        self.counts.clock_entries += run.clock_entries() as u64;
        Ok(run)
    }

    pub(super) fn transmit(&mut self, from: Who, to: Who, frame: Frame) {
        let (from_seat, to_seat) = (
            self.nodes[from].seat,
            self.nodes.get(to).map_or(Seat::MAX, |node| node.seat),
        );
        if to_seat == Seat::MAX || self.nodes[from].links[to_seat] != Link::Up(to) {
            self.counts.unlinked += 1;
            return;
        }
        self.counts.frames += 1;
        match self.net.carry(from_seat, to_seat, what(&frame)) {
            Fate::Lost => self.counts.lost += 1,
            Fate::Cut => self.counts.cut += 1,
            Fate::Arrives { number, after, again } => {
                let frame = recoded(frame, number);
                if let Some(again) = again {
                    self.counts.twice += 1;
                    let frame = frame.clone();
                    let copy = Happening::Frame {
                        from,
                        to,
                        number,
                        frame,
                    };
                    self.queue.push(self.now + again, copy);
                }
                self.queue.push(
                    self.now + after,
                    Happening::Frame {
                        from,
                        to,
                        number,
                        frame,
                    },
                );
            }
        }
    }

    fn count(&mut self, who: Who, output: &Output) {
        if let Output::Notice(Notice::Closed { origin, .. }) = output {
            let lives = |other: Who| !self.nodes[other].phase.is_over();
            self.counts.closed_alive += u64::from(self.witness.who(*origin).is_some_and(lives));
        }
        let counts = &mut self.counts;
        match output {
            Output::Deliver { piece, held_for } => {
                counts.deliveries += piece.len() as u64;
                let retires = |message: Message| message.kind == Kind::Retire;
                let mine = self.witness.id(who) == piece.origin();
                counts.retirements += u64::from(mine && piece.messages().any(retires));
                counts.held += if *held_for > 0 { piece.len() as u64 } else { 0 };
            }
            Output::Send { frame, .. } => {
                if let Frame::PushAck(ack) = frame {
                    counts.restarts += u64::from(ack.restart);
                }
                if let Frame::Pulled(pulled) = frame {
                    counts.gone += pulled.gone.len() as u64;
                    counts.never += pulled.never.len() as u64;
                }
                match what(frame) {
                    What::Pull => counts.pulls += 1,
                    What::Pulled => counts.pulled += 1,
                    What::Beat => counts.beats += 1,
                    What::View => counts.views += 1,
                    What::Ask => counts.asks += 1,
                    What::Sponsor => counts.sponsors += 1,
                    What::Greet => counts.greets += 1,
                    What::Push | What::Ack | What::Greeted => {}
                }
            }
            Output::Sent { .. } => counts.sends += 1,
            Output::Acked { .. } => counts.acks += 1,
            Output::Notice(Notice::Silent(_)) => counts.silent += 1,
            Output::Notice(Notice::Resumed(_)) => counts.resumed += 1,
            Output::Notice(Notice::Lagging { .. }) => counts.lagging += 1,
            Output::Notice(Notice::Closed { discarded, .. }) => {
                counts.closed += 1;
                counts.purged_orphans += discarded;
            }
            Output::Notice(Notice::Reopened(_)) => counts.reopened += 1,
            _ => {}
        }
    }
}

fn decode(who: Who, bytes: &Bytes) -> Result<Run, Violation> {
    Run::decode(bytes).map_err(|malformed| Violation {
        rule: "codec",
        who,
        what: malformed.to_string(),
    })
}

/// Some pulled runs travel as bytes too; a run that does not survive it arrives as nonsense and is noticed.
fn recoded(mut frame: Frame, number: u64) -> Frame {
    if let Frame::Pulled(pulled) = &mut frame
        && number.is_multiple_of(4)
    {
        for run in &mut pulled.runs {
            *run = Run::decode(&run.encode()).expect("a run survives its own codec");
        }
    }
    frame
}
