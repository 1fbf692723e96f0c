//! Listening: connections of the same user, each with a task of its own.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::hub::{End, Out, Wire};
use super::{CONNECTIONS_MAX, Id};
use crate::app::command;
use crate::app::line::{Body, Bye, Line};
use crate::input::{Splitter, Typed};
use crate::session::now;

/// Things that connections wait to say: they are read no further than the chat can follow.
const HEARD: usize = 16;
/// How long a connection may take to accept a line: a script that is stopped for a moment is told why it was cut off.
const STALLED: Duration = Duration::from_secs(30);
/// How long answers are waited for when a connection has nothing more to ask, as with stdin.
const AFTER_INPUT: Duration = Duration::from_secs(5);
/// How long to wait when the system has no more sockets to give.
const PAUSE: Duration = Duration::from_millis(200);
/// How much is read at once.
const CHUNK: usize = 16 * 1024;

/// What connections do.
pub enum Heard {
    /// One came; it waits for its end of the hub.
    Came(Id, oneshot::Sender<Wire>),
    /// It wrote a line.
    Line(Id, Typed),
    /// It is gone.
    Gone(Id),
}

/// A socket that is listened on. Dropped, it is removed.
#[derive(Debug)]
pub struct Server {
    path: PathBuf,
    heard: mpsc::Receiver<Heard>,
    accepting: JoinHandle<()>,
    /// One permit for each connection that is left.
    places: Arc<Semaphore>,
}

impl Server {
    /// Listens. A socket that nobody listens on is what a dead process left, and is replaced.
    ///
    /// # Errors
    /// What is in the way, in words.
    pub fn start(path: PathBuf) -> Result<Self, String> {
        let trouble = |error: io::Error| format!("{}: {error}", path.display());
        if path.symlink_metadata().is_ok() {
            if std::os::unix::net::UnixStream::connect(&path).is_ok() {
                return Err(format!("another chat listens on {}", path.display()));
            }
            std::fs::remove_file(&path).map_err(trouble)?;
        }
        let listener = UnixListener::bind(&path).map_err(trouble)?;
        // The directory lets nobody else in anyway.
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).map_err(trouble)?;
        let (tell, heard) = mpsc::channel(HEARD);
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let accepting = tokio::spawn(accept(listener, tell, places.clone()));
        Ok(Self {
            path,
            heard,
            accepting,
            places,
        })
    }

    /// The next thing that a connection does. Can be given up at any time.
    pub async fn next(&mut self) -> Heard {
        match self.heard.recv().await {
            Some(heard) => heard,
            None => std::future::pending().await,
        }
    }

    /// Takes no more connections, and waits until those that there are have been told everything, though not for long.
    pub async fn finish(mut self, patience: Duration) {
        self.accepting.abort();
        self.heard.close();
        // All places are free: all connections have ended.
        let _ = timeout(patience, self.places.acquire_many(CONNECTIONS_MAX as u32)).await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
        // A socket that stays is cleared by whoever comes next.
        let _ = std::fs::remove_file(&self.path);
    }
}

async fn accept(listener: UnixListener, tell: mpsc::Sender<Heard>, places: Arc<Semaphore>) {
    let own = rustix::process::geteuid().as_raw();
    let mut last: Id = 0;
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(_) => {
                sleep(PAUSE).await;
                continue;
            }
        };
        if stream.peer_cred().map(|who| who.uid()).ok() != Some(own) {
            tracing::warn!("a connection of another user to the control socket was refused");
            continue;
        }
        let Ok(place) = places.clone().try_acquire_owned() else {
            // Without a task of its own, so it gets what its socket takes at once.
            let mut full = Numbered::default();
            let text = format!("{CONNECTIONS_MAX} programs are connected to this chat already; end one of them");
            let line = full.line(Body::Error(command::error("busy", text)));
            let _ = stream.try_write(format!("{line}\n").as_bytes());
            continue;
        };
        last += 1;
        let (id, tell) = (last, tell.clone());
        tokio::spawn(async move {
            attend(id, stream, &tell).await;
            // Given back only when the hub knows that the connection is gone.
            let _ = tell.send(Heard::Gone(id)).await;
            drop(place);
        });
    }
}

async fn attend(id: Id, stream: UnixStream, tell: &mpsc::Sender<Heard>) {
    let (reply, wire) = oneshot::channel();
    if tell.send(Heard::Came(id, reply)).await.is_err() {
        return;
    }
    let Ok(wire) = wire.await else { return };
    let (read, write) = stream.into_split();
    let input = async {
        take_lines(id, read, tell).await;
        sleep(AFTER_INPUT).await;
    };
    // Whoever does not take a line in time is gone, or stopped.
    let _ = write_lines(wire, write, input).await;
}

/// Reads until the connection says no more.
async fn take_lines(id: Id, mut read: OwnedReadHalf, tell: &mpsc::Sender<Heard>) {
    let (mut splitter, mut chunk) = (Splitter::default(), vec![0; CHUNK]);
    loop {
        let length = read.read(&mut chunk).await.unwrap_or(0);
        let mut lines = Vec::new();
        match length {
            0 => splitter.end(&mut |line| lines.push(line)),
            _ => splitter.push(&chunk[..length], &mut |line| lines.push(line)),
        }
        for line in lines {
            if tell.send(Heard::Line(id, line)).await.is_err() {
                return;
            }
        }
        if length == 0 {
            return;
        }
    }
}

/// Writes until there is nothing more to tell, or the input is long over.
async fn write_lines(mut wire: Wire, mut write: OwnedWriteHalf, input: impl Future<Output = ()>) -> io::Result<()> {
    let (mut numbered, mut as_text) = (Numbered::default(), false);
    let mut input = pin!(input);
    let last = loop {
        let out = tokio::select! {
            out = wire.lines.recv() => out,
            () = &mut input => break Some("end_of_input"),
        };
        let Some(out) = out else { break None };
        let text = match out {
            Out::Line(line) => numbered.json(&line),
            Out::Text(text) => {
                as_text = true;
                text
            }
        };
        put(&mut write, text).await?;
    };
    let end = wire.end.try_recv().ok();
    if end == Some(End::TooSlow) {
        let text = "too slow: what was said since is not told here; connect again";
        let line = match as_text {
            true => format!("*** {text}"),
            false => numbered.line(Body::Error(command::error("too_slow", text))),
        };
        put(&mut write, line).await?;
    }
    let reason = match end {
        Some(End::TooSlow) => Some("too_slow"),
        Some(End::Counted) => Some("counted"),
        // Where the chat ends it has said `bye` itself.
        None => last,
    };
    if let Some(reason) = reason.filter(|_| !as_text) {
        let bye = Body::Bye(Bye {
            reason,
            unconfirmed: Vec::new(),
        });
        put(&mut write, numbered.line(bye)).await?;
    }
    Ok(())
}

async fn put(write: &mut OwnedWriteHalf, mut text: String) -> io::Result<()> {
    text.push('\n');
    timeout(STALLED, write.write_all(text.as_bytes())).await?
}

/// Lines of one stream.
#[derive(Default)]
struct Numbered(u64);

impl Numbered {
    fn json(&mut self, line: &Line) -> String {
        self.0 += 1;
        line.to_json(self.0)
    }

    fn line(&mut self, body: Body) -> String {
        self.json(&Line { at: now(), body })
    }
}
