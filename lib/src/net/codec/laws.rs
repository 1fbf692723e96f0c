//! What holds of any bytes: they are read without a panic, and what was understood is understood the same when it is
//! said again. For tests and the fuzzer.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes, BytesMut};
use tarpc::{ClientMessage, Response, context};

use super::{Callee, Caller};
use crate::engine::Frame;
use crate::net::rpc::{Call, Reply, Request};
use crate::net::transport::{Codec, Outbox};

/// Reads bytes as a called node does, as far as they can be read. Returns how many messages there were.
pub(crate) fn requests(bytes: &[u8]) -> usize {
    every(Callee(Arc::default()), bytes, |message| {
        // A cancellation is a number.
        let ClientMessage::Request(tarpc::Request { id, message, .. }) = message else {
            return;
        };
        let again = first_request(&bytes_of_call(id, call(&message)));
        assert_eq!(
            again,
            Some((id, message)),
            "a request that was read is read the same again"
        );
    })
}

/// Reads bytes as a calling node does, as far as they can be read. Returns how many messages there were.
pub(crate) fn replies(bytes: &[u8]) -> usize {
    every(Caller(Arc::default()), bytes, |response| {
        let Ok(reply) = response.message else { return };
        let again = first_reply(&bytes_of_reply(response.request_id, reply.clone()));
        assert_eq!(
            again,
            Some((response.request_id, reply)),
            "a reply that was read is read the same again"
        );
    })
}

/// What a called node understands first, if that is all and a request.
pub(super) fn first_request(bytes: &[u8]) -> Option<(u64, Request)> {
    match only(Callee(Arc::default()), bytes) {
        Ok(Some(ClientMessage::Request(request))) => Some((request.id, request.message)),
        _ => None,
    }
}

/// What a calling node understands first, if that is all.
pub(super) fn first_reply(bytes: &[u8]) -> Option<(u64, Reply)> {
    let response = only(Caller(Arc::default()), bytes).ok()??;
    Some((response.request_id, response.message.ok()?))
}

/// The frame of a call.
pub(super) fn bytes_of_call(id: u64, message: Call) -> Bytes {
    let mut context = context::current();
    context.deadline = Instant::now() + Duration::from_secs(5);
    let message = Box::new(message);
    let request = tarpc::Request { context, id, message };
    said(Caller(Arc::default()), ClientMessage::Request(request))
}

/// The frame of a reply.
pub(super) fn bytes_of_reply(request_id: u64, reply: Reply) -> Bytes {
    let message = Ok(reply);
    said(Callee(Arc::default()), Response { request_id, message })
}

/// The request as its caller had it.
pub(super) fn call(request: &Request) -> Call {
    match request {
        Request::Hello(hello) => Call::Hello(hello.clone()),
        Request::Groups(revision, groups) => Call::Groups(*revision, groups.clone()),
        Request::Poll => Call::Poll,
        Request::Frame { path, frame } => match &**frame {
            Frame::Push(run) => Call::Push {
                path: *path,
                run: Arc::from([run.encode()]),
            },
            frame => Call::Frame {
                path: *path,
                frame: Box::new(frame.clone()),
            },
        },
    }
}

fn said<C: Codec>(mut codec: C, message: C::Out) -> Bytes {
    let mut out = Outbox::default();
    codec.encode(message, &mut out).expect("what was read can be said");
    out.copy_to_bytes(out.remaining())
}

fn only<C: Codec>(mut codec: C, bytes: &[u8]) -> io::Result<Option<C::In>> {
    let mut bytes = BytesMut::from(bytes);
    let message = codec.decode(&mut bytes)?;
    Ok(message.filter(|_| bytes.is_empty()))
}

fn every<C: Codec>(mut codec: C, bytes: &[u8], mut check: impl FnMut(C::In)) -> usize {
    let mut bytes = BytesMut::from(bytes);
    let mut messages = 0;
    while let Ok(Some(message)) = codec.decode(&mut bytes) {
        check(message);
        messages += 1;
    }
    messages
}
