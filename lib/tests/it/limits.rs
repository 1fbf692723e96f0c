//! Limits that a whole group shares, asked of engines alone.

use std::net::{Ipv4Addr, SocketAddr};

use multicast::engine::{Config, Engine, Frame, Input, Output};
use multicast::{Intro, MemberId, Micros, NodeId};

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
