//! Worlds and events in words, for the way to a violation.

use std::fmt;

use multicast::Past;
use multicast::engine::Frame;

use super::group::{Event, Group, World, sent};
use super::heal;
use super::lab::{Flight, Lab};

impl Group {
    /// What is wrong with a world, as far as one member, or how it ends, shows it.
    pub(crate) fn trouble(&self, world: &World) -> String {
        let flaw = world.seats.iter().find_map(|rest| rest.flaw.clone());
        let healed = heal::heals(self, world).err();
        format!(
            "complaint: {:?}, flaw: {flaw:?}, not healed: {healed:?}",
            world.complaint
        )
    }

    /// One event in words.
    pub(crate) fn words(&self, world: &World, event: &Event) -> String {
        let frame = |nth: &usize| words_of(&world.flights[*nth], &self.lab);
        match event {
            Event::Send { seat, lost } => format!("m{seat} sends m{seat}:{}{}", sent(world, *seat) + 1, without(*lost)),
            Event::Deliver { nth, lost } => format!("arrives: {}{}", frame(nth), without(*lost)),
            Event::DeliverCopy(nth) => format!("arrives for the first of two times: {}", frame(nth)),
            Event::Crash { told } => {
                let doomed = world.fate.doomed.unwrap_or(0);
                format!(
                    "m{doomed} crashes, and links {}",
                    if *told { "go down" } else { "stay" }
                )
            }
            Event::LinkDown(seat) => format!("m{seat} loses its link to the dead member"),
            Event::Pull(seat) => format!("m{seat} asks for what it misses"),
        }
    }
}

fn words_of(flight: &Flight, lab: &Lab) -> String {
    let Flight { from, to, frame, .. } = flight;
    let what = match frame {
        Frame::Push(run) => {
            let full = run.entries().any(|entry| matches!(entry.past, Past::Full(_)));
            let clock = if full { "a full clock" } else { "changes" };
            format!(
                "push of m{}:{}..{} with {clock}",
                lab.seat(run.origin()),
                run.first(),
                run.last()
            )
        }
        Frame::PushAck(ack) => format!("restart after {}", ack.received),
        Frame::Pull(pull) => format!("pull of {:?}", pull.wants),
        other => format!("{other:?}"),
    };
    format!("m{from} to m{to}, {what}")
}

fn without(lost: u8) -> String {
    match lost {
        0 => String::new(),
        _ => format!(", and of what is said then is lost: {lost:#b}"),
    }
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (seat, rest) in self.seats.iter().enumerate() {
            let log: Vec<String> = rest
                .log
                .iter()
                .map(|heard| format!("m{}:{}", heard.origin, heard.seq))
                .collect();
            write!(f, "m{seat} [{}]  ", log.join(" "))?;
        }
        write!(f, "{} under way", self.flights.len())
    }
}
