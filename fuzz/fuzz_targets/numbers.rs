//! Any text is a number of the command line, exactly, or an error.
#![no_main]

#[path = "../../src/cli/numbers.rs"]
#[allow(dead_code)] // what only the program uses
mod numbers;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(n) = numbers::integer(text) {
        assert_eq!(numbers::integer(&n.to_string()), Ok(n));
        assert_eq!(numbers::positive(text).is_ok(), n > 0);
        assert_eq!(numbers::count(text).ok(), usize::try_from(n).ok().filter(|&n| n > 0));
        let grouped = numbers::Grouped(n).to_string();
        assert_eq!(grouped.replace(' ', "").parse(), Ok(n));
        assert!(!numbers::Bytes(n).to_string().is_empty());
        // A second opinion, as far as a float goes; it knows no suffixes.
        if let Ok(about) = text.replace('_', "").parse::<f64>() {
            let n = n as f64;
            assert!((about - n).abs() <= n * 1e-12, "{text}: {n}, about {about}");
        }
    }
    if let Ok(time) = numbers::seconds(text) {
        assert!(!time.is_zero());
    }
});
