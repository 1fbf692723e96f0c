//! What happens, line by line, for a person who looks at one seed.

use multicast::engine::{Frame, Output};
use multicast::{Clock, Dot, MemberId, Message, Micros, Run, Span};

use super::World;
use crate::judge::Who;

impl World<'_> {
    /// One line about one member; the words are made only if somebody reads them.
    pub(super) fn note(&self, who: Who, words: impl FnOnce() -> String) {
        if self.trace {
            let (ms, us) = (self.now / 1000, self.now % 1000);
            println!("{ms:>6}.{us:03} m{who} {}", words());
        }
    }

    pub(super) fn trace_frame(&self, from: Who, to: Who, frame: &Frame) {
        self.note(to, || format!("<- m{from} {}", self.frame(frame)));
    }

    pub(super) fn trace_output(&self, who: Who, output: &Output) {
        if let Output::Deliver { piece, held_for } = output {
            piece
                .messages()
                .for_each(|message| self.note(who, || self.delivery(&message, *held_for)));
            return;
        }
        self.note(who, || match output {
            Output::Send { to, frame } => format!("   -> {} {}", self.name(*to), self.frame(frame)),
            Output::Push { to, batch } => format!("   -> {} {batch:?}", self.name(*to)),
            Output::Sent { dot, .. } => format!("   sent {}", self.dot(*dot)),
            Output::Acked { by, seq } => format!("   {} has {seq} of mine", self.name(*by)),
            other => format!("   {other:?}"),
        });
    }

    fn delivery(&self, message: &Message, held_for: Micros) -> String {
        let (dot, kind) = (self.dot(message.dot), message.kind);
        let (clock, lamport) = (self.clock(&message.clock()), message.lamport);
        format!("   delivers {dot} {kind:?} {clock} @{lamport} held {held_for} us")
    }

    fn frame(&self, frame: &Frame) -> String {
        match frame {
            Frame::Push(run) => format!("Push {}", self.run_words(run)),
            Frame::PushAck(ack) => {
                let restart = if ack.restart { ", restart" } else { "" };
                format!("Ack received {} delivered {}{restart}", ack.received, ack.delivered)
            }
            Frame::Beat(beat) => {
                let hears: Vec<_> = beat.hears.iter().map(|id| self.name(*id)).collect();
                let asks = if beat.wants_answer { ", answer" } else { "" };
                let stage = beat.stage;
                let (digest, view) = (self.clock(&beat.digest), beat.view as u16);
                let gone: Vec<_> = beat.gone.iter().map(|id| self.name(*id)).collect();
                let (hears, gone) = (hears.join(" "), gone.join(" "));
                format!("Beat {digest} view {view:04x} hears {hears} gone {gone}{asks} {stage:?}")
            }
            Frame::View(view) => format!("View {}", self.view(view)),
            Frame::Pull(pull) => format!("Pull {}", self.spans(&pull.wants)),
            Frame::Pulled(pulled) => {
                let runs: Vec<_> = pulled.runs.iter().map(|run| self.run_words(run)).collect();
                let (gone, never) = (self.spans(&pulled.gone), self.spans(&pulled.never));
                format!("Pulled {} gone {gone} never {never}", runs.join(" "))
            }
            Frame::JoinAsk { attempt, .. } => format!("JoinAsk {attempt}"),
            Frame::Sponsor(sponsor) => {
                let (cut, stable) = (self.clock(&sponsor.cut), self.clock(&sponsor.stable));
                let view = self.view(&sponsor.view);
                format!("Sponsor {} cut {cut} stable {stable} view {view}", sponsor.attempt)
            }
            Frame::Greet { attempt, cut, .. } => format!("Greet {attempt} cut {}", self.clock(cut)),
            Frame::Greeted { attempt, too_low } => format!("Greeted {attempt}, too low: {too_low}"),
            #[allow(unreachable_patterns, reason = "frames to come print as they are")]
            other => format!("{other:?}"),
        }
    }

    fn view(&self, view: &multicast::engine::View) -> String {
        let records = view.records.iter();
        let words = records.map(|record| {
            format!(
                "{} {:?}/{}",
                self.name(record.member),
                record.standing,
                record.generation
            )
        });
        words.collect::<Vec<_>>().join(", ")
    }

    fn run_words(&self, run: &Run) -> String {
        format!("{}:{}..={}", self.name(run.origin()), run.first(), run.last())
    }

    fn spans(&self, spans: &[Span]) -> String {
        let words = spans
            .iter()
            .map(|span| format!("{}:{}..={}", self.name(span.origin), span.from, span.to));
        format!("[{}]", words.collect::<Vec<_>>().join(" "))
    }

    fn clock(&self, clock: &Clock) -> String {
        let words = clock.iter().map(|(member, seq)| format!("{}:{seq}", self.name(member)));
        format!("[{}]", words.collect::<Vec<_>>().join(" "))
    }

    fn dot(&self, dot: Dot) -> String {
        format!("{}:{}", self.name(dot.origin), dot.seq)
    }

    fn name(&self, id: MemberId) -> String {
        match self.witness.who(id) {
            Some(who) => format!("m{who}"),
            None => format!("{id:?}"),
        }
    }
}
