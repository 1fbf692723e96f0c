//! See `nodeset::fuzzing::answer`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| nodeset::fuzzing::answer(bytes));
