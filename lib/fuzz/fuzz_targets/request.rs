//! See `multicast::fuzzing::request`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| multicast::fuzzing::request(bytes));
