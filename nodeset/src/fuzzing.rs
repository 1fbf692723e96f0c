//! The decoders, for the fuzzer in `fuzz/` and for nobody else: not part of the library's interface.
//!
//! Each takes any bytes, and panics where a law of the codec is broken: what is understood must be
//! understood the same when it is said again.

use crate::invite::Invite;
use crate::rpc::laws;

/// A stream of bytes, read as a registry and as a client read it: lengths and all.
pub fn stream(bytes: &[u8]) {
    laws::requests(bytes);
    laws::answers(bytes);
}

/// One request behind a length that is true.
pub fn request(body: &[u8]) {
    laws::requests(&framed(body));
}

/// One answer behind a length that is true.
pub fn answer(body: &[u8]) {
    laws::answers(&framed(body));
}

/// The string that lets somebody in.
pub fn invite(text: &str) {
    if let Ok(invite) = text.parse::<Invite>() {
        let again = invite.to_string().parse::<Invite>();
        assert_eq!(again.ok().map(|again| again.to_string()), Some(invite.to_string()));
    }
}

fn framed(body: &[u8]) -> Vec<u8> {
    let length = body.len() as u32;
    [&length.to_be_bytes(), body].concat()
}

/// What the fuzzer found worth keeping of one target.
#[cfg(test)]
fn each(target: &str, push: impl Fn(&[u8])) -> usize {
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(target);
    let files = std::fs::read_dir(dir)
        .expect("the corpus is there")
        .map(|file| file.expect("a file").path());
    files.map(|file| push(&std::fs::read(file).expect("readable"))).count()
}

#[test]
fn what_the_fuzzer_kept_breaks_no_law() {
    assert!(each("stream", stream) > 0);
    assert!(each("request", request) > 0);
    assert!(each("answer", answer) > 0);
    assert!(each("invite", |bytes| invite(&String::from_utf8_lossy(bytes))) > 0);
}
