//! Inputs that come together are taken as if they had come one after the other.

use bytes::Bytes;
use multicast::engine::{Config, Engine, Frame, Input, Output};
use multicast::{Dot, Kind, MemberId};

/// Two who talk with each other, and the frames for a third one that only listens.
struct Talk {
    engines: Vec<Engine>,
    members: Vec<MemberId>,
    /// What is on its way to the third.
    waiting: Vec<Input>,
}

const LISTENER: usize = 2;

impl Talk {
    fn new() -> Self {
        let members: Vec<MemberId> = (1..=3u128).map(MemberId::from).collect();
        let config = Config {
            batches_in_flight: 1000,
            beside_after: 0,
            ..Config::default()
        };
        let engine = |me: &MemberId| Engine::established(config.clone(), *me, &members, 1, 0);
        let mut talk = Self {
            engines: members.iter().map(engine).collect(),
            members,
            waiting: Vec::new(),
        };
        for (me, other) in [(0, 1), (1, 0), (0, 2), (2, 0), (1, 2), (2, 1)] {
            let peer = talk.members[other];
            talk.give(me, Input::LinkUp { peer });
            talk.hand_over();
        }
        talk
    }

    /// One input, and what follows from it between the two who talk.
    fn give(&mut self, to: usize, input: Input) {
        let outputs = self.engines[to].handle(input, 0);
        let from = self.members[to];
        let mut frames = Vec::new();
        for output in outputs {
            match output {
                Output::Send { to, frame } => frames.push((to, frame)),
                Output::Push { to: peer, batch } => frames.push((peer, Frame::Push(self.engines[to].own_run(batch)))),
                _ => {}
            }
        }
        for (to, frame) in frames {
            let seat = self.members.iter().position(|member| *member == to).expect("a member");
            let input = Input::Frame { from, frame };
            match seat {
                LISTENER => self.waiting.push(input),
                _ => self.give(seat, input),
            }
        }
    }

    fn hand_over(&mut self) {
        while !self.waiting.is_empty() {
            for input in std::mem::take(&mut self.waiting) {
                self.give(LISTENER, input);
            }
        }
    }

    fn say(&mut self, who: usize, text: usize) {
        let send = Input::Send {
            ticket: 0,
            kind: Kind::App,
            payload: Bytes::from(text.to_string()),
            sent_at: 0,
        };
        self.give(who, send);
    }
}

fn delivered(outputs: &[Output]) -> Vec<Dot> {
    let pieces = outputs.iter().filter_map(|output| match output {
        Output::Deliver { piece, .. } => Some(piece),
        _ => None,
    });
    pieces
        .flat_map(|piece| piece.messages().map(|message| message.dot))
        .collect()
}

#[test]
fn inputs_together_are_inputs_one_by_one() {
    const MESSAGES: usize = 200;
    let mut talk = Talk::new();
    for nth in 0..MESSAGES {
        talk.say(nth / 3 % 2, nth);
    }
    // All of the second one's before any of the first one's: most have to wait.
    let mut inputs = std::mem::take(&mut talk.waiting);
    inputs.sort_by_key(|input| match input {
        Input::Frame { from, .. } => std::cmp::Reverse(*from),
        _ => unreachable!("only frames are on their way"),
    });
    let (mut apart, mut together) = (talk.engines[LISTENER].clone(), talk.engines[LISTENER].clone());
    let (mut one_by_one, mut at_once) = (Vec::new(), Vec::new());
    for input in inputs.clone() {
        one_by_one.extend(apart.handle(input, 1));
        apart.check().expect("sound after every input");
    }
    together.handle_all(inputs, 1, &mut at_once);
    together.check().expect("sound at the end");
    assert_eq!(delivered(&at_once).len(), MESSAGES);
    assert_eq!(delivered(&at_once), delivered(&one_by_one));
    assert_eq!(together.delivered(), apart.delivered());
    assert_eq!(together.held_size(), (0, 0));
}
