//! The claim protocol alone, `src/protocol.rs` with its unit tests: for `.ci/aarch64`, where the
//! whole library would need a cross-compiled copy of every dependency.
#![allow(dead_code, unused_imports)] // what only the pool uses

#[path = "../src/protocol.rs"]
mod protocol;
#[path = "../src/sync.rs"]
mod sync;

/// Every word that two workers and a recovery can make of one chunk, step by step, as on x86-64:
/// the digest is of the words, so that it is the same on every machine.
#[test]
fn claims_publishes_and_recoveries_give_the_same_words_everywhere() {
    use protocol::{Owner, State, claim, give_back, is_claim_of, publish, reclaim};
    use sync::{AtomicU64, Ordering};

    let word = AtomicU64::new(0);
    let mut digest = 0xcbf2_9ce4_8422_2325u64;
    let mut note = |word: &AtomicU64, what: bool| {
        let bits = word.load(Ordering::SeqCst) ^ u64::from(what) << 63;
        digest = (digest ^ bits).wrapping_mul(0x0100_0000_01b3).rotate_left(23);
    };
    for epoch in 1..400u64 {
        for step in 0..40u32 {
            let owner = Owner { worker: step * 7 % 5, incarnation: step / 5 };
            let other = Owner { worker: step * 3 % 5, incarnation: step / 7 };
            if let Some(before) = claim(&word, owner, epoch) {
                note(&word, true);
                match step % 5 {
                    0 => give_back(&word, owner, epoch, before),
                    1 => publish(&word, owner, epoch, State::Done),
                    2 => publish(&word, owner, epoch, State::Free),
                    _ => {}
                }
            }
            note(&word, is_claim_of(&word, other, epoch));
            note(&word, reclaim(&word, other, epoch, State::Free));
        }
    }
    assert_eq!(digest, DIGEST, "{digest:#018x}");
}

const DIGEST: u64 = 0x06b7_4f84_c261_91f9;
