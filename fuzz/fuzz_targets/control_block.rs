//! Any bytes as a control block and as a worker's marker.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| pinpool::fuzzing::control_block(bytes));
