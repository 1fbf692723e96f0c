//! The store in an SQL server: a real one, started for the test.

use std::sync::Arc;

use multicast::GroupId;
use multicast::store::{Page, PostgresStore, Store, StoreError, Words};

use super::{append, check_store, note, random, said};
use server::Server;

#[path = "../../../../testing/postgres.rs"]
mod server;

fn text() -> Words {
    Arc::new(|payload| std::str::from_utf8(payload).ok().map(str::to_owned))
}

/// One test, because one server is enough.
#[test]
fn a_store_in_an_sql_server() {
    let Some(mut server) = Server::start("store") else {
        return;
    };
    let fresh = |name: &str| {
        server.sql(&format!("CREATE SCHEMA {name}"));
        server.address(name)
    };
    let address = fresh("conformance");
    check_store(|| Ok(Box::new(PostgresStore::open(&address, text())?)));
    let mut store = PostgresStore::open(&fresh("random"), text()).expect("created");
    for seed in 0..5 {
        random::agrees_with_memory(&mut store, seed, 60);
    }
    drop(store);
    one_writes_and_others_read(&fresh("locked"));
    what_is_no_store_is_refused(&server, &fresh("damaged"));
    whoever_lost_the_store_writes_no_more(&server, &fresh("taken"));
    let address = fresh("crashed");
    a_server_that_starts_anew_loses_nothing(&mut server, &address);
}

fn one_writes_and_others_read(address: &str) {
    let group = GroupId::named("lobby");
    let none = PostgresStore::open_to_read(address, text()).expect_err("none there");
    assert!(matches!(none, StoreError::Io { .. }), "{none}");
    let mut store = PostgresStore::open(address, text()).expect("created");
    let refused = PostgresStore::open(address, text()).expect_err("in use");
    assert!(matches!(refused, StoreError::Locked { .. }), "{refused}");
    let mut reader = PostgresStore::open_to_read(address, text()).expect("readable meanwhile");
    store.apply(&[append(group, said(1, 1, 1))]).expect("written");
    assert_eq!(reader.read(group, Page::After(None), 9), Ok(vec![said(1, 1, 1)]));
    assert!(matches!(
        reader.apply(&[append(group, said(2, 1, 2))]),
        Err(StoreError::Io { .. })
    ));
    drop(store);
    PostgresStore::open(address, text()).expect("free again");
}

fn what_is_no_store_is_refused(server: &Server, address: &str) {
    let group = GroupId::named("lobby");
    let mut store = PostgresStore::open(address, text()).expect("created");
    let messages: Vec<_> = (1..=9).map(|n| append(group, said(n, 1, n))).collect();
    store.apply(&messages).expect("written");
    drop(store);
    let refusal = |sql: &str| {
        server.sql(&sql.replace("multicast_", "damaged.multicast_"));
        let mut store = PostgresStore::open(address, text())?;
        store.load(group, u64::MAX).map(drop)
    };
    let error = refusal("UPDATE multicast_messages SET payload = 'else' WHERE place = 4").expect_err("damaged");
    assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
    let error = refusal("DELETE FROM multicast_messages WHERE place = 4").expect_err("one is missing");
    assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
    let error = refusal("UPDATE multicast_store SET format = 7").expect_err("later");
    assert!(matches!(error, StoreError::OtherVersion { .. }), "{error}");
    let error = refusal("DROP TABLE multicast_messages").expect_err("half of it");
    assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
    let nowhere = PostgresStore::open("postgres://ana:secret@127.0.0.1:1/none", text()).expect_err("nobody there");
    assert!(matches!(nowhere, StoreError::Io { .. }));
    assert!(!nowhere.to_string().contains("secret"), "{nowhere}");
}

/// As on a server without locks that last as long as a connection: whoever comes later has it.
fn whoever_lost_the_store_writes_no_more(server: &Server, address: &str) {
    let group = GroupId::named("lobby");
    let mut store = PostgresStore::open(address, text()).expect("created");
    store.apply(&[note(group, "at", b"one")]).expect("written");
    server.sql("UPDATE taken.multicast_store SET owner = 'somebody else'");
    let error = store
        .apply(&[note(group, "at", b"two")])
        .expect_err("not ours any more");
    assert!(matches!(error, StoreError::Locked { .. }), "{error}");
    drop(store);
    let mut store = PostgresStore::open(address, text()).expect("free");
    let saved = store.load(group, 0).expect("readable").expect("something");
    assert_eq!(&saved.notes["at"][..], b"one");
}

fn a_server_that_starts_anew_loses_nothing(server: &mut Server, address: &str) {
    let group = GroupId::named("lobby");
    let mut store = PostgresStore::open(address, text()).expect("created");
    for n in 1..=20 {
        store
            .apply(&[append(group, said(n, 1, n))])
            .expect("written, sooner or later");
        if n % 7 == 0 {
            server.crash();
        }
    }
    let found = store.read(group, Page::Delivered { after: 0 }, 99).expect("readable");
    assert_eq!(found, (1..=20).map(|n| said(n, 1, n)).collect::<Vec<_>>());
}
