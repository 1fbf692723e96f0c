//! What a test's nodes log as warnings. Each test has a thread of its own, and so its own lines.

use std::cell::RefCell;
use std::io::{self, Write};
use std::sync::Once;

use tokio::sync::Notify;

thread_local! {
    static LINES: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
    static MORE: std::rc::Rc<Notify> = std::rc::Rc::new(Notify::new());
}

struct Sink;

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let line = String::from_utf8_lossy(bytes).trim_end().to_owned();
        LINES.with_borrow_mut(|lines| lines.push(line));
        MORE.with(|more| more.notify_one());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Begins to listen. Only in tests whose runtime is their thread.
pub(crate) fn listen() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let subscriber = tracing_subscriber::fmt()
            .with_env_filter("multicast=warn")
            .with_ansi(false)
            .with_writer(|| Sink)
            .finish();
        // Another test may have one already; then the lines are not ours to read, and the test that waits fails.
        let _ = tracing_subscriber::util::SubscriberInitExt::try_init(subscriber);
    });
}

/// Waits for a line with these words, and takes it; lines without them stay.
pub(crate) async fn line(words: &str) -> String {
    let more = MORE.with(Clone::clone);
    crate::wire::soon(words, async {
        loop {
            let found = LINES.with_borrow_mut(|lines| {
                let at = lines.iter().position(|line| line.contains(words))?;
                Some(lines.remove(at))
            });
            if let Some(line) = found {
                return line;
            }
            more.notified().await;
        }
    })
    .await
}

/// All lines that nobody took.
pub(crate) fn rest() -> Vec<String> {
    LINES.take()
}
