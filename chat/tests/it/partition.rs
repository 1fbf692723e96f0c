//! Four people on two sides of a broken switch. Both sides go on talking; when the switch is whole again everyone has
//! everything, and nobody starts anew. Needs network namespaces, so the right to make them.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::{Chat, Log, Net, Place, Watch, held, is_long, judge, latest, now, watch_until};

const NAMES: [&str; 4] = ["ana", "bob", "cyd", "dan"];
/// Where they listen, each on its host.
const PORT: u16 = 7000;
/// Between two rounds of talk.
const PACE: Duration = Duration::from_millis(50);
/// Later than this nobody would believe in it.
const LATEST_S: f64 = 40.0;

struct Town {
    // Chats end before their hosts do.
    chats: Vec<Chat>,
    ids: Vec<String>,
    watches: Vec<Watch>,
    said: usize,
    _place: Place,
    net: Net,
}

impl Town {
    /// None where it is not permitted, which is said.
    fn new(args: &str) -> Option<Self> {
        let net = match Net::new(NAMES.len()) {
            Ok(net) => net,
            Err(reason) => {
                println!("skipped: no network namespaces here ({reason})");
                return None;
            }
        };
        let place = Place::new();
        let mut chats = Vec::<Chat>::new();
        for (k, name) in NAMES.iter().enumerate() {
            let peers: String = (0..k).map(|k| format!(" -p {}:{PORT}", Net::addr(k))).collect();
            let listen = format!("-n {name} -l {}:{PORT}{peers} {args}", Net::addr(k));
            let command = place.command(&format!("--json --input json {listen}"));
            chats.push(Chat::start(net.on(k, &command)));
            // The first must listen before others dial it: they know of nobody else.
            chats[k].joined();
        }
        let ids: Vec<_> = chats.iter().map(Chat::joined).collect();
        chats.iter().for_each(|chat| chat.meets(&ids));
        Some(Self {
            watches: chats.iter().map(Watch::new).collect(),
            chats,
            ids,
            said: 0,
            _place: place,
            net,
        })
    }

    /// Everyone says something.
    fn talk(&mut self) {
        for (name, chat) in NAMES.iter().zip(&mut self.chats) {
            chat.say(&format!("{name} {}", self.said));
        }
        self.said += 1;
    }

    /// Everyone has what everyone said until now.
    fn wait_for_all(&mut self, what: &str) {
        let last = self.said - 1;
        watch_until(what, &mut self.watches, |watches| {
            let whole = |watch: &Watch| NAMES.iter().all(|name| watch.texts.contains(&format!("{name} {last}")));
            watches.iter().all(|watch| whole(watch) && watch.has == watches[0].has)
        });
    }

    /// Talk goes on, on both sides, for so long and until it fits.
    fn talk_for(&mut self, length: Duration, fits: impl Fn(&[Watch]) -> bool) {
        let deadline = Instant::now() + length;
        let latest = deadline + Duration::from_secs(60);
        while Instant::now() < deadline || !fits(&self.watches) {
            assert!(Instant::now() < latest, "talked long enough");
            self.talk();
            // It is the pace of the talk; nothing is waited for.
            std::thread::sleep(PACE);
            self.watches.iter_mut().for_each(Watch::read_on);
        }
    }

    /// Each side has its own last words, and nothing new of the other.
    fn check_parted(&mut self, before: usize) {
        let last = self.said - 1;
        watch_until("talk within the sides", &mut self.watches, |watches| {
            (0..4).all(|k| watches[k].texts.contains(&format!("{} {last}", NAMES[k ^ 1])))
        });
        for (k, watch) in self.watches.iter().enumerate() {
            for other in far(k) {
                let crossed = (before..=last).find(|n| watch.texts.contains(&format!("{} {n}", NAMES[other])));
                assert_eq!(crossed, None, "{} heard {}", NAMES[k], NAMES[other]);
            }
        }
    }

    /// Nothing is held, everyone leaves, and the logs are right.
    fn end(self) -> Vec<Log> {
        let logs = self.chats.into_iter().map(|mut chat| {
            assert_eq!(held(&mut chat), 0);
            let (lines, exit) = chat.leave();
            assert_eq!(exit.code, Some(0), "{}", exit.stderr);
            Log { lines, ended: true }
        });
        let logs: Vec<_> = logs.collect();
        judge(&logs);
        for log in &logs {
            // Whoever starts anew joins anew.
            let joins = log.lines.iter().filter(|line| line["type"] == "join");
            assert_eq!(joins.count(), NAMES.len());
            assert!(!log.lines.iter().any(|line| line["type"] == "gap"));
        }
        logs
    }
}

/// Those on the other side.
fn far(k: usize) -> std::ops::Range<usize> {
    if k < 2 { 2..4 } else { 0..2 }
}

fn is_said(line: &Value) -> bool {
    line["type"] == "message"
}

#[test]
fn both_sides_have_everything_soon_after_healing() {
    let Some(mut town) = Town::new("") else { return };
    let length = Duration::from_secs(if is_long() { 50 } else { 8 });
    town.talk();
    town.wait_for_all("talk before the partition");
    town.net.part(&[2, 3]);
    let before = town.said;
    town.talk_for(length, |_| true);
    town.check_parted(before);
    let healed_at = now();
    town.net.heal();
    town.wait_for_all("equal histories");
    let said = town.said * NAMES.len();
    let logs = town.end();
    let took = latest(&logs, healed_at, is_said);
    println!("partition of {length:?}, {said} messages: equal {took:.2} s after healing");
    assert!(took < LATEST_S);
    assert!(
        !logs
            .iter()
            .flat_map(|log| &log.lines)
            .any(|line| line["type"] == "peer" && line["state"] == "closed")
    );
}

#[test]
fn sides_that_gave_each_other_up_come_together_again() {
    let grace = if is_long() { "5s" } else { "1s" };
    let Some(mut town) = Town::new(&format!("--grace {grace}")) else {
        return;
    };
    let length = Duration::from_secs(if is_long() { 50 } else { 8 });
    town.talk();
    town.wait_for_all("talk before the partition");
    let parted_at = now();
    town.net.part(&[2, 3]);
    let before = town.said;
    let ids = town.ids.clone();
    let closed = |watch: &Watch, k: usize| far(k).all(|k| watch.closed.contains_key(&ids[k]));
    town.talk_for(length, |watches| (0..4).all(|k| closed(&watches[k], k)));
    town.check_parted(before);
    let healed_at = now();
    town.net.heal();
    town.wait_for_all("equal histories");
    watch_until("reopening", &mut town.watches, |watches| {
        watches.iter().all(|watch| watch.closed.is_empty())
    });
    let reopened: Vec<_> = town.watches.iter().map(|watch| watch.reopened.len()).collect();
    assert_eq!(reopened, [2; 4]);
    // They are one group again, in both directions.
    town.talk();
    town.wait_for_all("talk after healing");
    let (said, last) = (town.said * NAMES.len(), format!(" {}", town.said - 1));
    let logs = town.end();
    let took = latest(&logs, healed_at, |line| {
        is_said(line) && !line["text"].as_str().unwrap().ends_with(&last)
    });
    let up = latest(&logs, healed_at, |line| line["type"] == "peer" && line["state"] == "up");
    let closed = latest(&logs, parted_at, |line| {
        line["type"] == "closed" && line["at"].as_str() < Some(&healed_at.to_string())
    });
    println!(
        "partition of {length:?} with --grace {grace}, {said} messages: closed by all after {closed:.2} s; after healing \
         equal in {took:.2} s, reopened by all in {up:.2} s"
    );
    assert!(took < LATEST_S);
}
