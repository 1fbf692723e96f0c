//! See `nodeset::fuzzing::request`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| nodeset::fuzzing::request(bytes));
