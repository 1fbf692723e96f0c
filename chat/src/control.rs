//! The control socket of a running chat: `chat send`, `tail`, `who` and `rooms` of the same profile talk to it instead of
//! joining themselves, and so can any program of the same user.
//!
//! Both ways go JSON lines of schema v1. A connection is greeted with `hello`, and hears nothing more before it asked for
//! something: `{"do":"listen"}` is for those who only want to hear. Answers go to whoever asked, and to nobody else; what
//! happens goes to everyone. Whoever does not read is cut off, so that nobody waits for anybody.

pub mod client;
pub mod hub;
pub mod server;

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::app::line::{Body, Ref};

/// Connections at once: a person's scripts and status lines; further ones are told so.
pub const CONNECTIONS_MAX: usize = 16;
/// Lines that wait for one connection: a burst of a busy room. They are shared by all connections.
pub const WAITING_MAX: usize = 1024;

/// A connection, by the order in which they came.
pub type Id = u64;

/// What a `ref` begins with while a connection's request is under way. Nobody types it.
const MARK: &str = "\u{1}control:";

/// Where the chat of that profile listens. The directory is made if `create` is set.
///
/// # Errors
/// What is wrong with the directory, in words.
pub fn path(profile: &str, create: bool) -> Result<PathBuf, String> {
    let own = rustix::process::geteuid().as_raw();
    let given = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let directory = match given.filter(|path| path.is_absolute()) {
        Some(base) => base.join("nodeset"),
        None => std::env::temp_dir().join(format!("nodeset-{own}")),
    };
    let trouble = |error: io::Error| format!("{}: {error}", directory.display());
    if create {
        match DirBuilder::new().mode(0o700).create(&directory) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(trouble(error)),
            _ => {}
        }
    }
    check(&directory, own).map_err(trouble)?;
    Ok(directory.join(format!("{profile}.sock")))
}

/// Where others can write, others can listen in our place.
fn check(directory: &Path, own: u32) -> io::Result<()> {
    let found = std::fs::symlink_metadata(directory)?;
    if found.is_dir() && found.uid() == own && found.mode() & 0o077 == 0 {
        return Ok(());
    }
    let words = "is not a directory that only this user can enter; remove it, or set XDG_RUNTIME_DIR";
    Err(io::Error::other(words))
}

/// A request, with the connection put into its `ref`, so that whatever answers it finds the way back. Lines that are no
/// request stay as they are.
pub fn marked(id: Id, line: &str) -> String {
    let Ok(Value::Object(mut request)) = serde_json::from_str(line) else {
        return line.to_owned();
    };
    let given = request.remove("ref").unwrap_or(Value::Null);
    if given.is_object() || given.is_array() || given.is_boolean() {
        return line.to_owned();
    }
    request.insert("ref".to_owned(), Value::String(format!("{MARK}{id} {given}")));
    Value::Object(request).to_string()
}

/// Takes the connection out of a line's `ref` again; the line has none then. Returns whom it answers, and the `ref` that
/// was given.
fn unmark(body: &mut Body) -> Option<(Id, Option<Ref>)> {
    let reference = body.reference_mut()?;
    let (id, given) = reference.as_ref()?.as_str()?.strip_prefix(MARK)?.split_once(' ')?;
    let id = id.parse().ok()?;
    let given = serde_json::from_str(given)
        .ok()
        .filter(|given: &Value| !given.is_null());
    *reference = None;
    Some((id, given))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::line::Error;

    fn through(line: &str) -> Option<(Id, Option<Ref>)> {
        let request: Value = serde_json::from_str(&marked(7, line)).unwrap();
        let mut body = Body::Error(Error {
            code: "x",
            reference: request.get("ref").cloned(),
            text: String::new(),
            screen: None,
        });
        let found = unmark(&mut body);
        assert!(found.is_none() || body.reference_mut().unwrap().is_none());
        found
    }

    #[test]
    fn an_answer_finds_who_asked() {
        assert_eq!(through(r#"{"do":"who"}"#), Some((7, None)));
        assert_eq!(through(r#"{"do":"who","ref":"a b"}"#), Some((7, Some("a b".into()))));
        assert_eq!(through(r#"{"do":"who","ref":5}"#), Some((7, Some(5.into()))));
        assert_eq!(
            through(r#"{"do":"who","ref":[1]}"#),
            None,
            "refused by whoever reads it"
        );
        assert_eq!(marked(7, "{nonsense"), "{nonsense");
    }

    #[test]
    fn a_directory_of_others_is_not_used() {
        let own = rustix::process::geteuid().as_raw();
        let base = std::env::temp_dir().join(format!("control-test-{}", std::process::id()));
        DirBuilder::new().mode(0o700).create(&base).unwrap();
        assert!(check(&base, own).is_ok());
        assert!(check(&base, own + 1).is_err());
        DirBuilder::new().mode(0o755).create(base.join("open")).unwrap();
        assert!(check(&base.join("open"), own).is_err());
        std::os::unix::fs::symlink(&base, base.join("link")).unwrap();
        assert!(check(&base.join("link"), own).is_err());
        std::fs::remove_dir_all(base).unwrap();
    }
}
