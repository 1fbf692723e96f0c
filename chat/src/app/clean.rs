//! What must not reach a terminal, wherever it came from.

/// Stands for a character that was taken out.
const REPLACEMENT: char = '\u{FFFD}';

/// One line of text, with everything replaced that could steer a terminal, break the line or disguise its order.
pub fn line(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\t' => ' ',
            c if is_harmless(c) => c,
            _ => REPLACEMENT,
        })
        .collect()
}

/// A name as it may stand inside `<…>`: whatever the rules for names do not allow is replaced.
pub fn name(name: &str) -> String {
    if name.is_empty() {
        return "?".to_owned();
    }
    name.chars()
        .take(crate::names::NICK_MAX)
        .map(|c| if crate::names::nick_allows(c) { c } else { REPLACEMENT })
        .collect()
}

/// JSON as it may stand in a terminal: what could steer it is escaped, and so kept.
///
/// Outside of strings JSON has only ASCII, and `serde_json` escapes what is below a space by itself.
pub fn json(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    for c in line.chars() {
        match c {
            c if is_harmless(c) => out.push(c),
            c => c
                .encode_utf16(&mut [0; 2])
                .iter()
                .for_each(|unit| out.push_str(&format!("\\u{unit:04x}"))),
        }
    }
    out
}

/// Whether a character shows as itself and changes nothing around it.
pub fn is_harmless(c: char) -> bool {
    let steers = c.is_control();
    let breaks = matches!(c, '\u{2028}' | '\u{2029}');
    let disguises = matches!(c,
        '\u{061C}' | '\u{200E}' | '\u{200F}'        // direction marks
        | '\u{202A}'..='\u{202E}'                    // embeddings and overrides
        | '\u{2066}'..='\u{2069}'                    // isolates
        | '\u{FEFF}' | '\u{FFF9}'..='\u{FFFB}'      // invisible, annotations
        | '\u{E0000}'..='\u{E007F}'); // tags
    !(steers || breaks || disguises)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_a_terminal_is_replaced() {
        assert_eq!(
            line("a\u{1b}[2Jb\tc\rd\u{9b}e\u{7f}"),
            "a\u{FFFD}[2Jb c\u{FFFD}d\u{FFFD}e\u{FFFD}"
        );
        assert_eq!(line("evil\u{202E}cod.exe\u{2028}"), "evil\u{FFFD}cod.exe\u{FFFD}");
        assert_eq!(line("Zoë 中 👩\u{200D}👧"), "Zoë 中 👩\u{200D}👧");
    }

    #[test]
    fn a_name_cannot_end_its_brackets() {
        assert_eq!(name("ana> \u{1b}"), "ana\u{FFFD}\u{FFFD}\u{FFFD}");
        assert_eq!(name(""), "?");
    }

    #[test]
    fn json_keeps_what_it_escapes() {
        let hostile = "\u{1b}[31m\u{202E}\u{9b}\u{7f}\u{E0001}é";
        let text = json(&serde_json::to_string(hostile).unwrap());
        assert!(text.chars().all(is_harmless));
        assert_eq!(serde_json::from_str::<String>(&text).unwrap(), hostile);
    }
}
