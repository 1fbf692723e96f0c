/// What stands for a character that must not reach a terminal.
const REPLACEMENT: char = '\u{FFFD}';

/// `text` with everything replaced that could steer a terminal or disguise a name: control
/// characters (so also escape sequences and line breaks), bidirectional overrides and isolates,
/// invisible characters.
///
/// Names are checked when they are registered; this is the second lock on the same door, for
/// everything that is printed.
pub fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if is_printable(c) { c } else { REPLACEMENT })
        .collect()
}

/// Whether `c` shows as itself and changes nothing around it.
pub(crate) fn is_printable(c: char) -> bool {
    !(c.is_control()
        || matches!(c,
            '\u{00AD}' | '\u{061C}' | '\u{180E}' | '\u{FEFF}'
            | '\u{200B}'..='\u{200F}'       // zero width, left-to-right and right-to-left marks
            | '\u{2028}'..='\u{202E}'       // line and paragraph separators, bidi overrides
            | '\u{2060}'..='\u{206F}'       // invisible operators, bidi isolates
            | '\u{FFF9}'..='\u{FFFB}'       // annotations
            | '\u{E0000}'..='\u{E007F}')) // tags
}

#[cfg(test)]
mod tests {
    use super::printable;

    #[test]
    fn what_steers_a_terminal_is_replaced() {
        assert_eq!(printable("a\u{1b}[31mb\nc"), "a\u{FFFD}[31mb\u{FFFD}c");
        assert_eq!(printable("evil\u{202E}cod.exe"), "evil\u{FFFD}cod.exe");
        assert_eq!(printable("\u{9b}2J\u{7f}"), "\u{FFFD}2J\u{FFFD}");
        assert_eq!(printable("Zoë 中 ok"), "Zoë 中 ok");
    }
}
