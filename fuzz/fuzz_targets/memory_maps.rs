//! Any text is an account of a mapping, in which a part is not larger than the whole.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| pinpool::fuzzing::memory_maps(text));
