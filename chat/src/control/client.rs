//! Talking to the chat that runs with the same profile.

use std::io;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::{Instant, timeout, timeout_at};

use super::path;
use crate::app::clean;
use crate::app::line::{Body, Bye, Line};
use crate::cli::{Send, Tail};
use crate::console::{Console, Item};
use crate::exit::Exit;
use crate::session::{now, uses_color};
use crate::settings::{Format, Settings};

/// How long the running chat may take to say who it is. It may be busy, but is on this machine.
const GREETING: Duration = Duration::from_secs(2);
/// How long it may take to answer.
const ANSWER: Duration = Duration::from_secs(5);
/// Longest line: a message of the greatest length, each byte of it escaped, with the longest clock.
const LINE_MAX: u64 = 4 << 20;

/// A connection to it.
pub struct Running {
    read: BufReader<OwnedReadHalf>,
    write: OwnedWriteHalf,
    greeting: (String, Value),
    /// Lines read.
    n: u64,
}

/// The chat that runs with the profile of these settings, if there is one that is in their room and uses the registries
/// that were named.
pub async fn find(settings: &Settings) -> Option<Running> {
    let running = anyone(settings).await?;
    let mut rooms = running.greeting.1["rooms"].as_array()?.iter();
    rooms.any(|room| room == &settings.room).then_some(running)
}

/// The same, whatever room it is in.
pub async fn anyone(settings: &Settings) -> Option<Running> {
    if settings.ephemeral {
        return None;
    }
    let path = path(&settings.profile, false).ok()?;
    let stream = timeout(GREETING, UnixStream::connect(path)).await.ok()?.ok()?;
    let own = rustix::process::geteuid().as_raw();
    if stream.peer_cred().ok()?.uid() != own {
        return None;
    }
    let (read, write) = stream.into_split();
    let mut running = Running {
        read: BufReader::new(read),
        write,
        greeting: (String::new(), Value::Null),
        n: 0,
    };
    let line = timeout(GREETING, running.next()).await.ok()?.ok()??;
    let hello: Value = serde_json::from_str(&line).ok()?;
    if hello["type"] != "hello" || hello["v"] != crate::app::line::VERSION {
        return None;
    }
    let registry = hello["registry"].as_str().map(str::to_owned);
    let elsewhere = settings.names_registries() && registry != settings.registries.label();
    running.greeting = (line, hello);
    (!elsewhere).then_some(running)
}

impl Running {
    /// The next line; none at the end.
    async fn next(&mut self) -> io::Result<Option<String>> {
        let mut line = String::new();
        (&mut self.read).take(LINE_MAX).read_line(&mut line).await?;
        let whole = line.ends_with('\n');
        line.truncate(line.trim_end().len());
        self.n += 1;
        Ok(whole.then_some(line))
    }

    async fn ask(&mut self, request: &Value) -> io::Result<()> {
        self.write.write_all(format!("{request}\n").as_bytes()).await
    }

    /// Asks, and reads until the answer that `fits`; `told` gets every line on the way. Nothing, if it does not come in
    /// time.
    async fn answer(
        &mut self,
        request: &Value,
        until: Instant,
        told: &mut Vec<String>,
        fits: impl Fn(&Value) -> bool,
    ) -> Option<Value> {
        self.ask(request).await.ok()?;
        loop {
            let line = timeout_at(until, self.next()).await.ok()?.ok()??;
            let value: Value = serde_json::from_str(&line).ok()?;
            told.push(line);
            if value["ref"] == request["ref"] && (value["type"] == "error" || fits(&value)) {
                return Some(value);
            }
        }
    }

    fn bye(&self, reason: &'static str) -> String {
        let unconfirmed = Vec::new();
        let body = Body::Bye(Bye { reason, unconfirmed });
        Line { at: now(), body }.to_json(self.n + 1)
    }

    /// What a program reads of a request and its answer.
    async fn print(&self, settings: &Settings, console: &Console, told: Vec<String>) {
        if settings.output == Format::Text {
            return;
        }
        let lines = std::iter::once(self.greeting.0.clone()).chain(told);
        for line in lines.chain([self.bye("leave")]) {
            put(console, line).await;
        }
    }
}

/// `chat send`. Nothing, if that chat cannot say it, and it has to be said without it.
pub async fn send(
    running: &mut Running,
    settings: &Settings,
    send: &Send,
    text: &str,
    console: &Console,
) -> Option<Exit> {
    let mut told = Vec::new();
    let who = json!({"do": "who", "room": settings.room, "ref": "who"});
    let members = running
        .answer(&who, Instant::now() + ANSWER, &mut told, |line| line["type"] == "who")
        .await?;
    // As without it: nobody would have the message.
    let others = members["members"]
        .as_array()?
        .iter()
        .filter(|member| member["self"] != true);
    if others.count() == 0 {
        let text = format!(
            "nobody is in #{}, so nobody got the message",
            clean::line(&settings.room)
        );
        return Some(Exit::Alone(text));
    }
    let request = json!({
        "do": "send", "room": settings.room, "text": text, "reply_to": send.reply_to, "ref": "send",
    });
    let until = Instant::now() + settings.linger;
    let has_all = |line: &Value| line["type"] == "ack" && ["all", "failed"].iter().any(|state| line["state"] == *state);
    let answer = running.answer(&request, until, &mut told, has_all).await;
    let exit = match &answer {
        Some(answer) if answer["type"] == "error" => Exit::Usage(words(&answer["text"])),
        Some(answer) if answer["state"] == "all" => Exit::Clean,
        _ => Exit::Unconfirmed(pending(&told)),
    };
    running.print(settings, console, told).await;
    Some(exit)
}

/// Who had not confirmed when the last acknowledgement came.
fn pending(told: &[String]) -> Vec<String> {
    let lines = told
        .iter()
        .rev()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut acks = lines.filter(|line| line["type"] == "ack" && line["ref"] == "send");
    let names = |ack: Value| Some(ack["pending"].as_array()?.iter().map(nick).collect());
    acks.next().and_then(names).unwrap_or_default()
}

/// `ana` of `ana#7f3a01c2`.
fn nick(id: &Value) -> String {
    let id = words(id);
    id.split('#').next().unwrap_or_default().to_owned()
}

fn words(value: &Value) -> String {
    clean::line(value.as_str().unwrap_or_default())
}

/// `chat tail`, until what it listens to ends, or a signal ends it.
pub async fn tail(mut running: Running, settings: &Settings, tail: &Tail, console: &Console) -> Exit {
    let text = settings.output == Format::Text;
    let request = json!({
        "do": "listen",
        "events": tail.events,
        "room": settings.room,
        "count": tail.count,
        "text": text.then(|| settings.stamp.name()),
        "color": uses_color(settings),
    });
    if tail.count == Some(0) || running.ask(&request).await.is_err() {
        return Exit::Clean;
    }
    if !text {
        put(console, running.greeting.0.clone()).await;
    }
    let signals = async {
        use tokio::signal::unix::{SignalKind, signal};
        match (signal(SignalKind::interrupt()), signal(SignalKind::terminate())) {
            (Ok(mut interrupt), Ok(mut terminate)) => tokio::select! {
                _ = interrupt.recv() => ("interrupted", Exit::Interrupted),
                _ = terminate.recv() => ("terminated", Exit::Clean),
            },
            _ => std::future::pending().await,
        }
    };
    let (mut signals, mut closed) = (std::pin::pin!(signals), std::pin::pin!(console.clone().closed()));
    let mut open = true;
    let (reason, exit) = loop {
        let line = tokio::select! {
            line = running.next() => line,
            () = &mut closed => return Exit::Clean,
            ended = &mut signals => break ended,
        };
        let Ok(Some(line)) = line else {
            // Without a last word it was killed.
            if !open || text {
                return Exit::Clean;
            }
            break ("output_closed", Exit::Clean);
        };
        open &= !line.starts_with("{\"type\":\"bye\"");
        put(console, line).await;
    };
    if !text && open {
        put(console, running.bye(reason)).await;
    }
    exit
}

/// `chat who` and `chat rooms`. Nothing, if there is no answer.
pub async fn ask(running: &mut Running, settings: &Settings, what: &'static str, console: &Console) -> Option<Exit> {
    let mut told = Vec::new();
    let request = match what {
        "who" => json!({"do": what, "room": settings.room, "ref": what}),
        _ => json!({"do": what, "ref": what}),
    };
    let answer = running
        .answer(&request, Instant::now() + ANSWER, &mut told, |line| {
            line["type"] == what
        })
        .await
        .filter(|answer| answer["type"] == what)?;
    if settings.output == Format::Text {
        for row in rows(&answer) {
            put(console, row).await;
        }
    }
    running.print(settings, console, told).await;
    Some(Exit::Clean)
}

fn rows(answer: &Value) -> Vec<String> {
    let members = answer["members"].as_array().into_iter().flatten();
    let members = members.map(|member| format!("{}\t{}", words(&member["id"]), words(&member["addr"])));
    let lists = ["rooms", "others"].map(|list| answer[list].as_array());
    let rooms = lists.into_iter().flatten().flatten();
    let rooms = rooms.map(|room| {
        let (members, unread) = (room["members"].as_u64(), room["unread"].as_u64());
        format!(
            "{}\t{}\t{}",
            words(&room["room"]),
            members.unwrap_or(0),
            unread.unwrap_or(0)
        )
    });
    members.chain(rooms).collect()
}

async fn put(console: &Console, line: String) {
    if let Some(room) = console.room().await {
        room.send(Item::Text(line));
    }
}
