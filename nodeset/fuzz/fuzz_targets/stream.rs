//! See `nodeset::fuzzing::stream`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| nodeset::fuzzing::stream(bytes));
