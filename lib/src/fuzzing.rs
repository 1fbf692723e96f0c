//! The decoders, for the fuzzer in `fuzz/` and for nobody else: not part of the library's interface.
//!
//! Each takes any bytes, and panics where a law of the codec is broken: what is understood must be understood the same
//! when it is said again.

use bytes::Bytes;

use crate::net::codec::laws;
use crate::run::Run;

/// A stream of bytes, read as a called node and as a calling one reads it: lengths and all.
pub fn stream(bytes: &[u8]) {
    laws::requests(bytes);
    laws::replies(bytes);
}

/// One request behind a length that is true.
pub fn request(body: &[u8]) {
    laws::requests(&framed(body));
}

/// One reply behind a length that is true.
pub fn reply(body: &[u8]) {
    laws::replies(&framed(body));
}

/// One run.
pub fn run(bytes: &[u8]) {
    if let Ok(run) = Run::decode(&Bytes::copy_from_slice(bytes)) {
        assert_eq!(Run::decode(&run.encode()).as_ref(), Ok(&run));
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
    assert!(each("reply", reply) > 0);
    assert!(each("run", run) > 0);
}
