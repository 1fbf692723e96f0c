//! See `multicast::fuzzing::stream`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| multicast::fuzzing::stream(bytes));
