//! The names that people choose: nicks and rooms.

/// Longest nick in characters: it fits the margin of a chat line.
pub const NICK_MAX: usize = 32;
/// Longest room name in bytes: what a registry takes and a group's name may have.
pub const ROOM_MAX: usize = 64;

/// Ends the name of whoever only listens, and no nick that a person may choose.
const LISTENER: &str = ".listener";

/// Why a name is refused. The text never repeats what could steer a terminal.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadName {
    /// A nick has no character, or too many.
    #[error("a nick has 1 to {NICK_MAX} characters, this one has {0}")]
    NickLength(usize),
    /// One character cannot stand in a nick.
    #[error("a nick has only letters, digits, _ - and .: {} cannot stand in it", shown(.0))]
    NickCharacter(char),
    /// It is the name of a `chat tail`.
    #[error("a nick that ends with {LISTENER} is for who only listens")]
    Listener,
    /// A room's name is empty or too long.
    #[error("a room's name has 1 to {ROOM_MAX} bytes, this one has {0}")]
    RoomLength(usize),
    /// One character cannot stand in a room's name.
    #[error("a room's name has no spaces and nothing invisible: {} cannot stand in it", shown(.0))]
    RoomCharacter(char),
}

/// Checks a nick: 1 to 32 letters, digits, `_ - .`
pub fn check_nick(nick: &str) -> Result<(), BadName> {
    let length = nick.chars().count();
    if !(1..=NICK_MAX).contains(&length) {
        return Err(BadName::NickLength(length));
    }
    match nick.chars().find(|c| !nick_allows(*c)) {
        Some(c) => Err(BadName::NickCharacter(c)),
        None if is_listener(nick) => Err(BadName::Listener),
        None => Ok(()),
    }
}

/// The name of who only listens, for somebody of that nick.
pub fn listener(nick: &str) -> String {
    let kept: String = nick.chars().take(NICK_MAX - LISTENER.len()).collect();
    kept + LISTENER
}

/// Whether that is the name of who only listens: it is counted, not shown among those who are there.
pub fn is_listener(name: &str) -> bool {
    name.ends_with(LISTENER)
}

/// Checks a room's name, which stands here without its `#`.
pub fn check_room(room: &str) -> Result<(), BadName> {
    if !(1..=ROOM_MAX).contains(&room.len()) {
        return Err(BadName::RoomLength(room.len()));
    }
    match room
        .chars()
        .find(|c| c.is_whitespace() || !crate::app::clean::is_harmless(*c))
    {
        Some(c) => Err(BadName::RoomCharacter(c)),
        None => Ok(()),
    }
}

/// Whether a nick may have this character.
pub fn nick_allows(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '-' | '.')
}

/// Whether it would be the name of no directory of its own.
pub fn is_dots(name: &str) -> bool {
    name.chars().all(|c| c == '.')
}

/// A nick from what the system calls the user: other characters are left out, and nobody is "me".
pub fn nick_of_user(user: Option<&str>) -> String {
    let nick: String = user
        .unwrap_or("")
        .chars()
        .filter(|c| nick_allows(*c))
        .take(NICK_MAX)
        .collect();
    if nick.is_empty() { "me".to_owned() } else { nick }
}

/// The nick of the `k`-th instance of one user, from 2 on: `ana-2`.
pub fn numbered(nick: &str, k: usize) -> String {
    let suffix = format!("-{k}");
    let kept: String = nick.chars().take(NICK_MAX - suffix.len()).collect();
    kept + &suffix
}

fn shown(c: &char) -> String {
    if c.is_ascii_graphic() {
        format!("`{c}`")
    } else {
        format!("the character U+{:04X}", u32::from(*c))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_only_listens_has_a_name_that_nobody_chooses() {
        for nick in ["ana", &"x".repeat(NICK_MAX)] {
            let name = listener(nick);
            assert!(is_listener(&name) && name.chars().count() <= NICK_MAX);
            assert_eq!(check_nick(&name), Err(BadName::Listener));
        }
    }

    #[test]
    fn refusals_say_what_is_wrong_without_repeating_it() {
        assert_eq!(check_nick("ana"), Ok(()));
        assert_eq!(check_nick("Zoë_1.x-y"), Ok(()));
        assert_eq!(check_nick(""), Err(BadName::NickLength(0)));
        assert_eq!(check_nick(&"x".repeat(33)), Err(BadName::NickLength(33)));
        for hostile in ["a\nb", "a\u{1b}[31m", "a\u{202E}b"] {
            for refusal in [check_nick(hostile), check_room(hostile)] {
                let text = refusal.unwrap_err().to_string();
                assert!(text.chars().all(|c| c.is_ascii() && !c.is_control()), "{text:?}");
            }
        }
    }

    #[test]
    fn rooms_may_have_any_visible_name() {
        assert_eq!(check_room("lobby"), Ok(()));
        assert_eq!(check_room("büro/2+3"), Ok(()));
        assert_eq!(check_room("a b"), Err(BadName::RoomCharacter(' ')));
        assert_eq!(check_room(""), Err(BadName::RoomLength(0)));
    }

    #[test]
    fn every_user_gets_a_nick() {
        assert_eq!(nick_of_user(Some("ana")), "ana");
        assert_eq!(nick_of_user(Some("corp\\ana smith")), "corpanasmith");
        assert_eq!(nick_of_user(Some("")), "me");
        assert_eq!(nick_of_user(None), "me");
        assert_eq!(numbered("ana", 2), "ana-2");
        assert_eq!(numbered(&"x".repeat(32), 10).chars().count(), 32);
    }
}
