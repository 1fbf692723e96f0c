//! Lines of stdin, in bounded memory.

use std::io::{self, BufRead, Read};

use tokio::sync::mpsc;

use crate::app::command;
use crate::app::line::Error;

/// Longest line in bytes. A text of 64 KiB in JSON may have each byte written as six (`\u00e9`), and keys around it.
pub const LINE_MAX: usize = 512 * 1024;

/// What was typed or piped.
#[derive(Clone, PartialEq, Debug)]
pub enum Typed {
    /// A line, without its end.
    Line(String),
    /// A line that cannot be taken.
    Bad(Error),
    /// Ctrl-C at the prompt.
    Interrupt,
    /// The end of the input.
    End,
}

/// Reads stdin until it ends or nobody takes its lines any more. For a thread of its own.
pub fn read_stdin(lines: &mpsc::Sender<Typed>) {
    let mut stdin = io::stdin().lock();
    let mut splitter = Splitter::default();
    loop {
        let chunk = match stdin.fill_buf() {
            Ok(chunk) => chunk,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            // A closed or broken stdin is one that has ended.
            Err(_) => &[],
        };
        let length = chunk.len();
        let mut open = true;
        let mut hand_over = |typed| open &= lines.blocking_send(typed).is_ok();
        if length == 0 {
            splitter.end(&mut hand_over);
            hand_over(Typed::End);
            return;
        }
        splitter.push(chunk, &mut hand_over);
        if !open {
            return;
        }
        stdin.consume(length);
    }
}

/// All of stdin as one message, without its last line break.
///
/// # Errors
/// What is wrong with it, in words.
pub fn whole_stdin() -> Result<String, String> {
    let mut bytes = Vec::new();
    let limit = multicast::MAX_PAYLOAD as u64 + 1;
    io::stdin()
        .lock()
        .take(limit)
        .read_to_end(&mut bytes)
        .map_err(|error| format!("cannot read stdin: {error}"))?;
    if bytes.len() as u64 == limit {
        return Err(format!("stdin has more than {} bytes; send it in parts", limit - 1));
    }
    let text = String::from_utf8(bytes).map_err(|_| "stdin is not UTF-8, so it was not sent".to_owned())?;
    Ok(text.strip_suffix('\n').unwrap_or(&text).to_owned())
}

/// Cuts what is read into lines, in bounded memory.
#[derive(Default)]
pub struct Splitter {
    line: Vec<u8>,
    /// The line is too long; its rest is read and dropped.
    skipping: bool,
}

impl Splitter {
    /// Takes what was read; hands over each line that is whole.
    pub fn push(&mut self, mut chunk: &[u8], hand_over: &mut impl FnMut(Typed)) {
        while let Some(end) = chunk.iter().position(|byte| *byte == b'\n') {
            self.extend(&chunk[..end]);
            hand_over(self.take());
            chunk = &chunk[end + 1..];
        }
        self.extend(chunk);
    }

    /// A last line may lack its line break.
    pub fn end(&mut self, hand_over: &mut impl FnMut(Typed)) {
        if self.skipping || !self.line.is_empty() {
            hand_over(self.take());
        }
    }

    fn extend(&mut self, part: &[u8]) {
        if self.skipping || self.line.len() + part.len() > LINE_MAX {
            self.skipping = true;
            self.line = Vec::new();
        } else {
            self.line.extend_from_slice(part);
        }
    }

    fn take(&mut self) -> Typed {
        let mut line = std::mem::take(&mut self.line);
        if std::mem::take(&mut self.skipping) {
            let text = format!("a line of more than {LINE_MAX} bytes was not sent; send it in parts");
            return Typed::Bad(command::error("too_long", text));
        }
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        match String::from_utf8(line) {
            Ok(line) => Typed::Line(line),
            Err(_) => Typed::Bad(command::error("bad_utf8", "a line is not UTF-8 and was not sent")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(chunks: &[&[u8]]) -> Vec<String> {
        let (mut splitter, mut found) = (Splitter::default(), Vec::new());
        let mut hand_over = |typed| {
            found.push(match typed {
                Typed::Line(line) => line,
                Typed::Bad(error) => error.code.to_owned(),
                _ => unreachable!("only lines are split"),
            });
        };
        for chunk in chunks {
            splitter.push(chunk, &mut hand_over);
            assert!(splitter.line.capacity() <= 2 * LINE_MAX);
        }
        splitter.end(&mut hand_over);
        found
    }

    #[test]
    fn lines_end_anywhere() {
        assert_eq!(split(&[b"a\r\nb", b"c\n\nd"]), ["a", "bc", "", "d"]);
        assert_eq!(
            split(&["é\n".as_bytes().split_at(1).0, "é\n".as_bytes().split_at(1).1]),
            ["é"]
        );
        assert!(split(&[]).is_empty());
    }

    #[test]
    fn bad_lines_do_not_spoil_the_next() {
        assert_eq!(split(&[b"\xff\xfe\nok\n"]), ["bad_utf8", "ok"]);
        let long = vec![b'x'; LINE_MAX];
        assert_eq!(split(&[&long, b"y", &long, b"\nok\n"]), ["too_long", "ok"]);
        assert_eq!(split(&[&long, b"y"]), ["too_long"]);
        assert_eq!(split(&[&long, b"\n"])[0].len(), LINE_MAX);
    }
}
