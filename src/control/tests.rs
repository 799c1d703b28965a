//! F12: a control block that was damaged, cut, or is written while it is attached to.
use std::sync::atomic::AtomicBool;

use super::*;

const BUILD: [u64; 2] = [0x1234_5678, 0x9abc_def0];

fn block(workers: usize) -> (Arc<Segment>, Layout) {
    let layout = Layout { workers };
    let segment = Segment::nameless("test", layout.bytes()).unwrap();
    Control::create(Arc::clone(&segment), layout, BUILD);
    (segment, layout)
}

/// The words of the header that never change, by name.
const FIXED: [(&str, usize); 6] = [
    ("magic", std::mem::offset_of!(Header, magic)),
    ("version", std::mem::offset_of!(Header, version)),
    ("build_id", std::mem::offset_of!(Header, build_id)),
    ("build_id", std::mem::offset_of!(Header, build_id) + 8),
    ("bytes", std::mem::offset_of!(Header, bytes)),
    ("workers", std::mem::offset_of!(Header, workers)),
];

fn word(segment: &Segment, offset: usize) -> &AtomicU64 {
    // SAFETY: inside the header, aligned, and only ever used as an atomic.
    unsafe { &*segment.base().wrapping_add(offset).cast::<AtomicU64>() }
}

#[test]
fn every_changed_bit_of_the_fixed_header_is_refused() {
    let (segment, _) = block(3);
    assert!(Control::attach(Arc::clone(&segment), BUILD).is_ok());
    for (name, offset) in FIXED {
        for bit in 0..64 {
            word(&segment, offset).fetch_xor(1 << bit, Ordering::Relaxed);
            let refused = Control::attach(Arc::clone(&segment), BUILD);
            // A number of workers that takes up the same pages is as good as the right one.
            let as_good = |c: &Control| name == "workers" && c.layout.bytes() == segment.len();
            assert!(refused.as_ref().map_or(true, as_good), "bit {bit} of {name}");
            word(&segment, offset).fetch_xor(1 << bit, Ordering::Relaxed);
        }
    }
    assert!(Control::attach(segment, BUILD).is_ok());
}

#[test]
fn a_block_that_is_too_short_is_refused() {
    let (whole, layout) = block(2);
    for len in [1, 8, size_of::<Header>() - 1, size_of::<Header>(), layout.bytes() - 4096] {
        let short = Segment::nameless("short", len).unwrap();
        let bytes = len.min(size_of::<Header>());
        // SAFETY: so many bytes lie in both, and nobody else uses them.
        unsafe { std::ptr::copy_nonoverlapping(whole.base(), short.base(), bytes) };
        assert!(Control::attach(short, BUILD).is_err(), "{len} bytes");
    }
}

#[test]
fn a_header_that_changes_during_the_look_is_taken_whole_or_refused() {
    let (segment, _) = block(2);
    let over = AtomicBool::new(false);
    let (mut taken, mut refused) = (0, 0);
    std::thread::scope(|s| {
        s.spawn(|| {
            let mut n = 1u64;
            while !over.load(Ordering::Relaxed) {
                n = n.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let (_, offset) = FIXED[(n >> 32) as usize % FIXED.len()];
                let good = word(&segment, offset).load(Ordering::Relaxed);
                word(&segment, offset).store(n, Ordering::Relaxed);
                word(&segment, offset).store(good, Ordering::Relaxed);
            }
        });
        for _ in 0..20_000 {
            match Control::attach(Arc::clone(&segment), BUILD) {
                Ok(control) => {
                    // What was accepted is what was checked, whatever stands there by now.
                    assert_eq!(control.workers(), 2);
                    control.worker(1).park.mail.load(Ordering::Relaxed);
                    taken += 1;
                }
                Err(error) => {
                    assert!(!error.to_string().is_empty());
                    refused += 1;
                }
            }
        }
        over.store(true, Ordering::Relaxed);
    });
    assert!(taken + refused == 20_000);
}
