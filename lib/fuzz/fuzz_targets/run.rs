//! See `multicast::fuzzing::run`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| multicast::fuzzing::run(bytes));
