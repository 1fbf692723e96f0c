//! README.md tells the limits that the code has.

use crate::app::{IGNORED_MAX, charter, command, outbox, people, room, text};
use crate::console::editor;
use crate::control;
use crate::settings::{self, file};
use crate::{history, input, names, profile};
use readme::{bytes, hold, number, time};

#[path = "../../testing/limits.rs"]
mod readme;

#[test]
fn the_readme_tells_the_limits_of_the_chat() {
    let two = |one: String, other: String| format!("{one}; {other}");
    let code = [
        (
            "nick, in characters; name of a room",
            two(number(names::NICK_MAX), bytes(names::ROOM_MAX)),
        ),
        (
            "line of input; typed at the prompt",
            two(bytes(input::LINE_MAX), bytes(editor::INPUT_MAX)),
        ),
        ("lines of one message on the screen", number(text::LINES_MAX)),
        ("reason of a leave, in characters", number(command::REASON_MAX)),
        ("inputs that the arrow keys bring back", number(editor::HISTORY_MAX)),
        ("rooms at once", number(room::ROOMS_MAX)),
        (
            "created rooms; closed ones remembered",
            two(number(charter::CHARTERS_MAX), number(charter::CLOSED_MAX)),
        ),
        ("topic, in characters", number(charter::TOPIC_MAX)),
        ("peers that are ignored", number(IGNORED_MAX)),
        ("people remembered of a room", number(people::PEOPLE_MAX)),
        ("messages followed until all confirm", number(outbox::FOLLOWED_MAX)),
        (
            "programs connected to a chat; lines that wait for one",
            two(number(control::CONNECTIONS_MAX), number(control::WAITING_MAX)),
        ),
        ("chats of one user at once", number(profile::NUMBERS_MAX)),
        ("leave", time(settings::LINGER)),
        ("grace", time(settings::GRACE)),
        ("configuration file", bytes(file::FILE_MAX as usize)),
        (
            "messages that `history` finds by words or counts from the end",
            number(history::FOUND_MAX),
        ),
        (
            "messages that `/history` tells; that are told at a join",
            two(number(command::HISTORY_MAX), number(history::store::BACKLOG_MAX)),
        ),
        ("line of an export", bytes(history::LINE_MAX as usize)),
    ];
    hold("### Of the chat", &code);
}
