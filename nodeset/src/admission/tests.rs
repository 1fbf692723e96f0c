use super::*;

const DAY: u64 = 24 * 3600;
const QUARTER: Duration = Duration::from_secs(900);

fn issued(by: Vouched, until: u64) -> Issued {
    let name = "bob".to_owned();
    Issued { name, by, until }
}

fn refused<T: std::fmt::Debug>(result: Result<T, Refusal>) -> Refusal {
    result.expect_err("refused")
}

#[test]
fn an_invite_says_why_it_is_over() {
    let mut book = Book::default();
    let id = book.invite([1; 32], 1, QUARTER, 1_000).expect("made");
    assert_eq!(book.kept_of(id), Some([1; 32]));
    let wrong = refused(book.admit(InviteId([0; 8]), None, "eve", 1_000));
    assert_eq!(wrong, InviteRefusal::Wrong.into());
    let late = refused(book.admit(id, Some([2; 32]), "bob", 1_900));
    assert_eq!(late, InviteRefusal::Expired { ago_s: 0 }.into());
    let by = book.admit(id, Some([2; 32]), "bob", 1_899).expect("in time");
    assert_eq!((by.profile, by.invite), (Some([2; 32]), Some(id)));
    let again = refused(book.admit(id, Some([3; 32]), "cyd", 1_899));
    assert_eq!(again, InviteRefusal::UsedUp { uses: 1 }.into());
    assert_eq!(
        book.admit(id, Some([2; 32]), "bob", 9_999),
        Ok(by),
        "known by its profile"
    );
    assert_eq!(book.recognise([2; 32]), Ok(by));
    assert_eq!(refused(book.recognise([3; 32])), Refusal::NotAdmitted);
    let listed = book.invites(1_899);
    assert_eq!((listed.len(), listed[0].used, listed[0].came.len()), (1, 1, 1));

    let other = book.invite([4; 32], 2, QUARTER, 1_000).expect("made");
    assert_eq!(book.revoke(Some(other), DAY, 1_000).expect("revoked").0, 1);
    let revoked = refused(book.admit(other, None, "eve", 1_000));
    assert_eq!(revoked, InviteRefusal::Revoked.into());
    assert_eq!(
        refused(book.revoke(Some(InviteId([0; 8])), DAY, 1_000)),
        InviteRefusal::Wrong.into()
    );
}

#[test]
fn revoking_evicts_whoever_came_by_it() {
    let mut book = Book::default();
    let (one, two) = (
        book.invite([1; 32], 9, QUARTER, 0).expect("made"),
        book.invite([2; 32], 9, QUARTER, 0).expect("made"),
    );
    let bob = book.admit(one, Some([7; 32]), "bob", 0).expect("in");
    let nobody = book.admit(one, None, "cyd", 0).expect("in");
    let dee = book.admit(two, Some([8; 32]), "dee", 0).expect("in");
    for (node, by) in [(1, bob), (2, nobody), (3, dee), (4, bob)] {
        book.issue(u128::into(node), issued(by, DAY), 0).expect("issued");
    }
    let (count, removed) = book.revoke(Some(one), DAY, 10).expect("revoked");
    let nodes: Vec<_> = removed.nodes.iter().map(|(node, left)| (*node, *left)).collect();
    let expected = [1, 2, 4].map(|node: u128| (node.into(), DAY - 10));
    assert_eq!((count, nodes), (1, expected.to_vec()));
    assert_eq!(removed.profiles, [([7; 32], "bob".to_owned())]);
    assert!(matches!(book.check_node(1.into(), 10), Err(Refusal::Evicted { .. })));
    assert_eq!(
        book.check_node(1.into(), DAY),
        Ok(()),
        "its certificate has ended by then"
    );
    assert_eq!(book.check_node(3.into(), 10), Ok(()));
    assert!(matches!(refused(book.recognise([7; 32])), Refusal::Banned { .. }));
    assert!(matches!(
        refused(book.admit(two, Some([7; 32]), "bob", 10)),
        Refusal::Banned { .. }
    ));
    assert!(matches!(
        refused(book.issue(9.into(), issued(bob, DAY), 10)),
        Refusal::Banned { .. }
    ));
    assert_eq!(refused(book.pardon("nobody")), Refusal::Nobody);
    assert_eq!(book.pardon("bob").expect("pardoned").len(), 1);
    assert_eq!(
        refused(book.recognise([7; 32])),
        Refusal::NotAdmitted,
        "needs another invite"
    );
    assert!(book.admit(two, Some([7; 32]), "bob", 10).is_ok());
}

#[test]
fn everything_has_an_end() {
    let mut book = Book::default();
    let mut kept = [0; 32];
    for n in 0..INVITES_MAX + 10 {
        kept[..8].copy_from_slice(&n.to_le_bytes());
        let id = book.invite(kept, 1, QUARTER, n as u64);
        if n < INVITES_MAX {
            id.expect("made");
        } else {
            assert_eq!(refused(id), Refusal::Limit(Limited::Invites), "none of them is over");
        }
    }
    book.invite([9; 32], u32::MAX, Duration::MAX, 2_000)
        .expect("the others are over");
    let longest = book.invites(2_000).pop().expect("invites");
    assert_eq!(
        (longest.uses, longest.until_unix),
        (INVITE_USES_MAX, 2_000 + INVITE_LIFE_MAX.as_secs())
    );
    let id = longest.id;
    for n in 0..=CERTIFICATES_OF_ONE_MAX {
        let by = Vouched {
            profile: None,
            invite: Some(id),
        };
        let done = book.issue((n as u128).into(), issued(by, DAY), 0);
        assert_eq!(done.is_ok(), n < CERTIFICATES_OF_ONE_MAX);
    }
    for n in 0..=ADMISSIONS_MAX {
        kept[..8].copy_from_slice(&n.to_le_bytes());
        let done = book.admit(id, Some(kept), "p", 2_000);
        assert_eq!(done.is_ok(), n < ADMISSIONS_MAX, "{n}");
    }
    let many: Vec<_> = (0..EVICTIONS_MAX as u128).map(PeerId::from).collect();
    assert!(book.evict(&many, Vec::new(), DAY, 0).is_ok());
    let more = refused(book.evict(&[u128::MAX.into()], Vec::new(), DAY, 0));
    assert_eq!(more, Refusal::Limit(Limited::Evictions));
    book.tidy(3 * DAY);
    assert!(book.evictions(3 * DAY).next().is_none() && book.issued.is_empty());
}
