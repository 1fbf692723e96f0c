//! What holds of any bytes: they are read without a panic, and what was understood is understood
//! the same when it is said again. For tests and the fuzzer.

use std::fmt::Debug;

use bytes::BytesMut;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio_util::codec::Decoder;

use super::{ANSWER_MAX_BYTES, Answered, Asked, ClientCodec, Frames, REQUEST_MAX_BYTES, RegistryCodec};

/// Reads bytes as a registry does, as far as they can be read. Returns how many messages there were.
pub(crate) fn requests(bytes: &[u8]) -> usize {
    let frames = every::<Asked>(bytes, REQUEST_MAX_BYTES);
    assert_eq!(frames, as_connection(RegistryCodec::new(), bytes));
    frames
}

/// Reads bytes as a client does, as far as they can be read. Returns how many messages there were.
pub(crate) fn answers(bytes: &[u8]) -> usize {
    let frames = every::<Answered>(bytes, ANSWER_MAX_BYTES);
    assert_eq!(frames, as_connection(ClientCodec::new(), bytes));
    frames
}

/// The frame of a message.
pub(super) fn said<T: Serialize>(message: &T, most: usize) -> BytesMut {
    let mut bytes = BytesMut::new();
    Frames::new(0, most)
        .encode(message, &mut bytes)
        .expect("what was read can be said");
    bytes
}

/// What is understood first, if that is all.
pub(super) fn only<T: DeserializeOwned>(bytes: &[u8], most: usize) -> Option<T> {
    let mut bytes = BytesMut::from(bytes);
    let message = Frames::new(most, 0).decode(&mut bytes).ok()?;
    message.filter(|_| bytes.is_empty())
}

fn every<T: Serialize + DeserializeOwned + PartialEq + Debug>(bytes: &[u8], most: usize) -> usize {
    let mut left = BytesMut::from(bytes);
    let mut frames = Frames::new(most, 0);
    let mut messages = 0;
    while let Ok(Some(message)) = frames.decode::<T>(&mut left) {
        let again = only::<T>(&said(&message, most), most);
        assert_eq!(again, Some(message), "what was read is read the same again");
        messages += 1;
    }
    messages
}

fn as_connection<D: Decoder>(mut codec: D, bytes: &[u8]) -> usize {
    let mut left = BytesMut::from(bytes);
    let mut messages = 0;
    while let Ok(Some(_)) = codec.decode(&mut left) {
        messages += 1;
    }
    messages
}
