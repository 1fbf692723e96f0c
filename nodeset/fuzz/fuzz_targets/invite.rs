//! See `nodeset::fuzzing::invite`.

#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| nodeset::fuzzing::invite(text));
