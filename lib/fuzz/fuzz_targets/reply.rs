//! See `multicast::fuzzing::reply`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| multicast::fuzzing::reply(bytes));
