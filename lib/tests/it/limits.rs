//! Limits that a whole group shares, asked of engines alone.

use std::net::{Ipv4Addr, SocketAddr};

use multicast::engine::{Config, Engine, Frame, Input, Output, Pull};
use multicast::{Intro, Kind, MemberId, Micros, NodeId, Span};

const MS: Micros = 1_000;

/// Hands frames over until nobody says anything more to the other one.
fn talk(a: &mut Engine, b: &mut Engine, mut said: Vec<Output>, now: Micros) -> Vec<Output> {
    let mut last = Vec::new();
    let mut by_a = true;
    while !said.is_empty() {
        let (from, listener) = if by_a { (a.me(), &mut *b) } else { (b.me(), &mut *a) };
        let mut answers = Vec::new();
        for output in &said {
            if let Output::Send { to, frame } = output
                && *to == listener.me()
            {
                let frame = frame.clone();
                answers.extend(listener.handle(Input::Frame { from, frame }, now));
            }
        }
        last = std::mem::replace(&mut said, answers);
        by_a = !by_a;
    }
    last
}

#[test]
fn a_full_group_refuses_one_more_in_words() {
    let limit = Config::default().max_members;
    let ids: Vec<MemberId> = (1..=limit as u128).map(MemberId::from).collect();
    let mut member = Engine::established(Config::default(), ids[0], &ids, 1, 0);
    let newcomer = MemberId::from(1_000);
    let intro = Intro {
        node: NodeId(newcomer.0),
        name: "one too many".into(),
        addr: SocketAddr::from((Ipv4Addr::LOCALHOST, 9)),
    };
    let mut joiner = Engine::new(Config::default(), newcomer, intro, 2, 0);
    drop(member.handle(Input::LinkUp { peer: newcomer }, MS));
    let asks = joiner.handle(Input::LinkUp { peer: ids[0] }, MS);
    assert!(matches!(
        asks.as_slice(),
        [Output::Send {
            frame: Frame::JoinAsk { .. },
            ..
        }]
    ));
    let last = talk(&mut joiner, &mut member, asks, 2 * MS);
    assert_eq!(last, [Output::Full { limit }]);
    assert_eq!(
        joiner.deadline(),
        None,
        "it gives up and does not found a group beside the full one"
    );
    let counted = member
        .records()
        .iter()
        .filter(|record| record.standing.counts())
        .count();
    assert_eq!(counted, limit, "the member does not count whom it refused");
}

/// Whoever pulls the same over and over gets as much as a log holds, and then no more than at a pace.
#[test]
fn pulls_are_answered_at_a_pace() {
    const SECOND: Micros = 1_000_000;
    let config = Config::default();
    let ids = [1, 2].map(MemberId::from);
    let mut member = Engine::established(config.clone(), ids[0], &ids, 1, 0);
    let mut now = MS;
    drop(member.handle(Input::LinkUp { peer: ids[1] }, now));
    for _ in 0..8 {
        let payload = vec![0; 60 << 10].into();
        let (ticket, kind, sent_at) = (0, Kind::App, 0);
        let said = Input::Send {
            ticket,
            kind,
            payload,
            sent_at,
        };
        drop(member.handle(said, now));
    }
    let mut pull = |now: Micros| -> usize {
        let (origin, from, to) = (ids[0], 1, 8);
        let wants = vec![Span { origin, from, to }];
        let frame = Frame::Pull(Pull { wants });
        let said = member.handle(Input::Frame { from: ids[1], frame }, now);
        let runs = said.into_iter().filter_map(|output| match output {
            Output::Send {
                frame: Frame::Pulled(pulled),
                ..
            } => Some(pulled.runs),
            _ => None,
        });
        let entries = runs.flatten().flat_map(|run| run.entries().collect::<Vec<_>>());
        entries.map(|entry| entry.payload.len()).sum()
    };
    let at_once: usize = (0..1_000).map(|_| pull(now)).sum();
    let answer = config.pull_bytes;
    assert!(
        (config.pull_burst - 2 * answer..config.pull_burst + answer).contains(&at_once),
        "{at_once} bytes"
    );
    assert_eq!(pull(now), 0);
    let start = now;
    let mut paced = 0;
    while now < start + 4 * SECOND {
        now += MS;
        paced += pull(now);
    }
    let least = 3 * config.pull_rate;
    assert!(
        (least..=4 * config.pull_rate + answer).contains(&paced),
        "{paced} bytes in 4 s"
    );
}
