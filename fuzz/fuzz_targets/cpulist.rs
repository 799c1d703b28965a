//! Any bytes are a set of PUs or an error, and a set prints as a list that gives it again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pinpool::topology::{PU_LIMIT, PuSet, Topology};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(set) = PuSet::parse(bytes) {
        assert!(set.len() <= PU_LIMIT);
        assert!(set.as_slice().is_sorted_by(|a, b| a < b));
        assert_eq!(PuSet::parse(set.to_string().as_bytes()).as_ref(), Ok(&set));
    }
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(machine) = Topology::synthetic(text)
    {
        assert!(!machine.usable_cores().is_empty());
    }
});
