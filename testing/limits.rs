//! The tables of limits in README.md, held against the constants. Shared by the tests of all packages.

use std::time::Duration;

/// The first two cells of each row of the table below a heading must be these.
pub(crate) fn hold(heading: &str, code: &[(&str, String)]) {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md");
    let readme = std::fs::read_to_string(path).expect("README.md is beside the packages");
    let below = readme.lines().skip_while(|line| *line != heading);
    let rows = below.skip_while(|line| !line.starts_with('|'));
    // Without the head of the table, and the line under it.
    let rows = rows.take_while(|line| line.starts_with('|')).skip(2);
    let cells = |row: &str| {
        let mut cells = row.split('|').map(|cell| cell.trim().to_owned()).skip(1);
        (cells.next().unwrap_or_default(), cells.next().unwrap_or_default())
    };
    let told: Vec<_> = rows.map(cells).collect();
    for (nth, (name, value)) in code.iter().enumerate() {
        let row = told.get(nth).map(|(name, value)| (name.as_str(), value.as_str()));
        assert_eq!(
            row,
            Some((*name, value.as_str())),
            "row {nth} below \"{heading}\" in README.md"
        );
    }
    assert_eq!(
        told.len(),
        code.len(),
        "rows below \"{heading}\" in README.md that no constant stands for"
    );
}

/// `4,096`
pub(crate) fn number(number: usize) -> String {
    let digits = number.to_string();
    let grouped: Vec<_> = digits
        .as_bytes()
        .rchunks(3)
        .rev()
        .map(String::from_utf8_lossy)
        .collect();
    grouped.join(",")
}

/// `64 KiB`
pub(crate) fn bytes(bytes: usize) -> String {
    match bytes {
        0x10_0000.. if bytes.is_multiple_of(0x10_0000) => format!("{} MiB", bytes >> 20),
        0x400.. if bytes.is_multiple_of(0x400) => format!("{} KiB", bytes >> 10),
        _ => format!("{} bytes", number(bytes)),
    }
}

/// `250 ms`, `60 s`, `24 h`
pub(crate) fn time(time: Duration) -> String {
    match time.as_secs() {
        0 => format!("{} ms", time.as_millis()),
        _ if time.subsec_millis() > 0 => format!("{} s", time.as_secs_f32()),
        seconds @ 1..=600 => format!("{seconds} s"),
        seconds @ ..172_800 => format!("{} h", seconds / 3600),
        seconds => format!("{} days", seconds / 86_400),
    }
}
