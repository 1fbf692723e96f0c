//! One line of input, edited: pure. Keys go in; what to show in how many columns comes out.

use std::collections::VecDeque;

use crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use unicode_width::UnicodeWidthChar;

use crate::app::clean;

/// Longest input in bytes: the longest message that can be sent.
pub const INPUT_MAX: usize = multicast::MAX_PAYLOAD;
/// Inputs that the arrow keys bring back.
pub const HISTORY_MAX: usize = 100;
/// What stands before the input.
const PROMPT: &str = "> ";

/// The input line.
#[derive(Clone, Default, Debug)]
pub struct Editor {
    text: String,
    /// Byte index, on a character.
    cursor: usize,
    history: VecDeque<String>,
    /// Which of the history is shown, counted from the newest; none while something new is written.
    recalled: Option<usize>,
    draft: String,
}

/// What a key leads to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Show the line again.
    Redraw,
    /// A line was entered.
    Line(String),
    /// Ctrl-C.
    Interrupt,
    /// Ctrl-D on an empty line.
    End,
    /// Ctrl-L.
    Clear,
    /// Ctrl-Z.
    Suspend,
}

impl Editor {
    /// Takes one event of the terminal.
    pub fn take(&mut self, event: Event) -> Outcome {
        match event {
            Event::Key(key) if key.kind != KeyEventKind::Release => self.key(key),
            Event::Paste(text) => {
                self.insert(&text.replace("\r\n", "\n").replace('\r', "\n"));
                Outcome::Redraw
            }
            _ => Outcome::Redraw,
        }
    }

    /// The part that fits into so many columns, prompt included, and the cursor's column.
    pub fn view(&self, columns: usize) -> (String, usize) {
        // One column stays free, so that the cursor behind the last character does not wrap.
        let room = columns.saturating_sub(PROMPT.len() + 1).max(1);
        let mut start = self.cursor;
        let mut before = 0;
        for (at, c) in self.text[..self.cursor].char_indices().rev() {
            let width = width(c);
            if before + width > room {
                break;
            }
            before += width;
            start = at;
        }
        let mut shown = PROMPT.to_owned();
        let mut used = 0;
        for c in self.text[start..].chars() {
            used += width(c);
            if used > room {
                break;
            }
            shown.push(visible(c));
        }
        (shown, PROMPT.len() + before)
    }

    fn key(&mut self, key: KeyEvent) -> Outcome {
        if key.modifiers.intersects(KeyModifiers::CONTROL | KeyModifiers::ALT) {
            return self.chord(key);
        }
        match key.code {
            KeyCode::Char(c) => self.insert(c.encode_utf8(&mut [0; 4])),
            KeyCode::Tab => self.insert("\t"),
            KeyCode::Enter => return self.enter(),
            KeyCode::Backspace => self.remove(self.left(), self.cursor),
            KeyCode::Delete => self.remove(self.cursor, self.right()),
            KeyCode::Left => self.cursor = self.left(),
            KeyCode::Right => self.cursor = self.right(),
            KeyCode::Home => self.cursor = 0,
            KeyCode::End => self.cursor = self.text.len(),
            KeyCode::Up => self.recall(1),
            KeyCode::Down => self.recall(-1),
            _ => {}
        }
        Outcome::Redraw
    }

    fn chord(&mut self, key: KeyEvent) -> Outcome {
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            KeyCode::Char('c') if control => return Outcome::Interrupt,
            KeyCode::Char('d') if control && self.text.is_empty() => return Outcome::End,
            KeyCode::Char('l') if control => return Outcome::Clear,
            KeyCode::Char('z') if control => return Outcome::Suspend,
            KeyCode::Char('j' | 'm') if control => return self.enter(),
            KeyCode::Char('d') if control => self.remove(self.cursor, self.right()),
            KeyCode::Char('h') if control => self.remove(self.left(), self.cursor),
            KeyCode::Char('a') if control => self.cursor = 0,
            KeyCode::Char('e') if control => self.cursor = self.text.len(),
            KeyCode::Char('b') if control => self.cursor = self.left(),
            KeyCode::Char('f') if control => self.cursor = self.right(),
            KeyCode::Char('k') if control => self.remove(self.cursor, self.text.len()),
            KeyCode::Char('u') if control => self.remove(0, self.cursor),
            KeyCode::Char('p') if control => self.recall(1),
            KeyCode::Char('n') if control => self.recall(-1),
            KeyCode::Char('w') if control => self.remove(self.word_left(), self.cursor),
            KeyCode::Backspace => self.remove(self.word_left(), self.cursor),
            KeyCode::Char('b') | KeyCode::Left => self.cursor = self.word_left(),
            KeyCode::Char('f') | KeyCode::Right => self.cursor = self.word_right(),
            KeyCode::Enter => self.insert("\n"),
            _ => {}
        }
        Outcome::Redraw
    }

    fn enter(&mut self) -> Outcome {
        let text = std::mem::take(&mut self.text);
        self.cursor = 0;
        self.recalled = None;
        if !text.trim().is_empty() && self.history.front() != Some(&text) {
            self.history.push_front(text.clone());
            self.history.truncate(HISTORY_MAX);
        }
        Outcome::Line(text)
    }

    /// What does not fit is left out, and so seen to be missing.
    fn insert(&mut self, text: &str) {
        let mut end = text.len().min(INPUT_MAX.saturating_sub(self.text.len()));
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        self.text.insert_str(self.cursor, &text[..end]);
        self.cursor += end;
    }

    fn remove(&mut self, from: usize, to: usize) {
        self.text.replace_range(from..to, "");
        self.cursor = from;
    }

    fn recall(&mut self, step: i32) {
        let at = self.recalled.map_or(-1, |at| at as i32) + step;
        if at < -1 || at >= self.history.len() as i32 {
            return;
        }
        if self.recalled.is_none() {
            self.draft = std::mem::take(&mut self.text);
        }
        self.recalled = usize::try_from(at).ok();
        self.text = match self.recalled {
            Some(at) => self.history[at].clone(),
            None => std::mem::take(&mut self.draft),
        };
        self.cursor = self.text.len();
    }

    /// The character before the cursor, with the marks that belong to it.
    fn left(&self) -> usize {
        let before = self.text[..self.cursor].char_indices().rev();
        before.into_iter().find(|(_, c)| width(*c) > 0).map_or(0, |(at, _)| at)
    }

    fn right(&self) -> usize {
        let mut after = self.text[self.cursor..].char_indices().skip(1);
        after
            .find(|(_, c)| width(*c) > 0)
            .map_or(self.text.len(), |(at, _)| self.cursor + at)
    }

    fn word_left(&self) -> usize {
        let before = &self.text[..self.cursor];
        let word_end = before.trim_end().len();
        before[..word_end]
            .char_indices()
            .rev()
            .find(|(_, c)| c.is_whitespace())
            .map_or(0, |(at, c)| at + c.len_utf8())
    }

    fn word_right(&self) -> usize {
        let after = &self.text[self.cursor..];
        let gap = after.len() - after.trim_start().len();
        let word = after[gap..].find(char::is_whitespace);
        word.map_or(self.text.len(), |length| self.cursor + gap + length)
    }
}

/// Every character is shown as something that does not steer the terminal.
fn visible(c: char) -> char {
    match c {
        '\n' => '⏎',
        c => clean::line(c.encode_utf8(&mut [0; 4])).chars().next().unwrap_or(' '),
    }
}

fn width(c: char) -> usize {
    visible(c).width().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn press(editor: &mut Editor, code: KeyCode) -> Outcome {
        editor.take(Event::Key(KeyEvent::new(code, KeyModifiers::NONE)))
    }

    fn control(editor: &mut Editor, c: char) -> Outcome {
        editor.take(Event::Key(KeyEvent::new(KeyCode::Char(c), KeyModifiers::CONTROL)))
    }

    fn typed(text: &str) -> Editor {
        let mut editor = Editor::default();
        for c in text.chars() {
            press(&mut editor, KeyCode::Char(c));
        }
        editor
    }

    #[test]
    fn a_line_is_written_corrected_and_entered() {
        let mut editor = typed("helo");
        press(&mut editor, KeyCode::Left);
        press(&mut editor, KeyCode::Char('l'));
        assert_eq!(press(&mut editor, KeyCode::Enter), Outcome::Line("hello".into()));
        assert_eq!(editor.view(80), ("> ".into(), 2));
        press(&mut editor, KeyCode::Up);
        assert_eq!(editor.view(80), ("> hello".into(), 7));
        press(&mut editor, KeyCode::Down);
        assert_eq!(editor.view(80), ("> ".into(), 2));
    }

    #[test]
    fn words_and_ends_are_cut() {
        let mut editor = typed("one two three");
        control(&mut editor, 'w');
        assert_eq!(editor.text, "one two ");
        control(&mut editor, 'w');
        control(&mut editor, 'a');
        control(&mut editor, 'k');
        assert_eq!(editor.text, "");
        assert_eq!(control(&mut editor, 'd'), Outcome::End);
        assert_eq!(control(&mut editor, 'c'), Outcome::Interrupt);
    }

    #[test]
    fn narrow_terminals_show_the_part_around_the_cursor() {
        let mut editor = typed("abcdefghij");
        assert_eq!(editor.view(8), ("> fghij".into(), 7));
        control(&mut editor, 'a');
        assert_eq!(editor.view(8), ("> abcde".into(), 2));
        for columns in 0..4 {
            let (shown, cursor) = editor.view(columns);
            assert!(shown.len() <= 4 && cursor <= 3, "{columns}");
        }
        let wide = typed("中文字");
        assert_eq!(wide.view(7), ("> 文字".into(), 6));
    }

    #[test]
    fn marks_belong_to_their_character() {
        let mut editor = typed("e\u{301}x");
        press(&mut editor, KeyCode::Backspace);
        press(&mut editor, KeyCode::Backspace);
        assert_eq!(editor.text, "");
    }

    #[test]
    fn a_paste_keeps_its_lines_and_its_escapes_harmless() {
        let mut editor = Editor::default();
        editor.take(Event::Paste("a\r\nb\u{1b}[2J".into()));
        assert_eq!(editor.view(80).0, "> a⏎b\u{FFFD}[2J");
        assert_eq!(
            press(&mut editor, KeyCode::Enter),
            Outcome::Line("a\nb\u{1b}[2J".into())
        );
        editor.take(Event::Paste("é".repeat(INPUT_MAX)));
        assert_eq!(editor.text.len(), INPUT_MAX);
    }
}
