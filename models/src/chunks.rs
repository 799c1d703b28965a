//! Claim, publish, stop, reclaim, reuse: a chunk is applied exactly once, and nobody touches data
//! after the caller has it back.

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;

use crate::protocol::{self, Owner, State, Word};
use crate::sync::{AtomicU64, Ordering};

const A: Owner = Owner { worker: 0, incarnation: 0 };
const B: Owner = Owner { worker: 1, incarnation: 0 };
const EPOCH: u64 = 6;

/// A job of some chunks: words, data, and the words that end it.
struct Job {
    words: Vec<AtomicU64>,
    data: Vec<UnsafeCell<u64>>,
    stop: AtomicU64,
    live: AtomicU64,
}

fn job(chunks: usize) -> Arc<Job> {
    Arc::new(Job {
        words: (0..chunks).map(|_| AtomicU64::new(0)).collect(),
        data: (0..chunks).map(|_| UnsafeCell::new(0)).collect(),
        stop: AtomicU64::new(0),
        live: AtomicU64::new(EPOCH),
    })
}

/// The wrong variants.
#[derive(Clone, Copy, PartialEq)]
enum Wrong {
    No,
    /// The claimer does not look at `stop` after its claim, but before.
    StopBeforeClaim,
    /// The claimer takes a stop for its own only if it names its own job.
    StopOfThisJobAlone,
    /// The commit is Relaxed.
    PublishRelaxed,
    /// The commit comes before the data.
    PublishFirst,
    /// Recovery frees the word before it puts the old bytes back.
    FreeFirst,
    /// Recovery frees whatever is claimed, by whomever.
    FreeAnybodys,
    /// Recovery comes before the death is reaped.
    RecoverTheLiving,
    /// A late claim is given back by a store, without a look at who has the word by now.
    GiveBackAnyway,
}

/// Where a worker dies.
#[derive(Clone, Copy, PartialEq)]
enum Death {
    Never,
    AfterClaim,
    HalfWay,
    AfterCommit,
}

/// W1 to W6 as `worker.rs` does them; the journal is the old value.
fn attempt(job: &Job, chunk: usize, owner: Owner, journal: &AtomicU64, wrong: Wrong, death: Death) {
    let word = &job.words[chunk];
    let stopped = || {
        job.live.load(Ordering::SeqCst) != EPOCH
            || match job.stop.load(Ordering::SeqCst) {
                stop if wrong == Wrong::StopOfThisJobAlone => stop == EPOCH,
                stop => stop >= EPOCH,
            }
    };
    if wrong == Wrong::StopBeforeClaim && stopped() {
        return;
    }
    let Some(previous) = protocol::claim(word, owner, EPOCH) else { return };
    if wrong != Wrong::StopBeforeClaim && stopped() {
        protocol::give_back(word, owner, EPOCH, previous);
        return;
    }
    if death == Death::AfterClaim {
        return;
    }
    let old = read(&job.data[chunk]);
    journal.store(old << 1 | 1, Ordering::Release);
    if wrong == Wrong::PublishFirst {
        protocol::publish(word, owner, EPOCH, State::Done);
    }
    write(&job.data[chunk], 100);
    if death == Death::HalfWay {
        return;
    }
    write(&job.data[chunk], old + 1);
    if wrong == Wrong::PublishRelaxed {
        word.store(Word::new(State::Done, owner, EPOCH).0, Ordering::Relaxed);
    } else {
        protocol::publish(word, owner, EPOCH, State::Done);
    }
    if death == Death::AfterCommit {
        return;
    }
    journal.store(0, Ordering::Release);
}

/// R1 to R4.
fn recover(job: &Job, dead: Owner, journal: &AtomicU64, wrong: Wrong) {
    let armed = journal.load(Ordering::Acquire);
    for (chunk, word) in job.words.iter().enumerate() {
        let mine = protocol::is_claim_of(word, dead, EPOCH);
        if mine && wrong == Wrong::FreeFirst {
            protocol::reclaim(word, dead, EPOCH, State::Free);
        }
        if mine && armed != 0 {
            write(&job.data[chunk], armed >> 1);
        }
    }
    journal.store(0, Ordering::Release);
    for word in &job.words {
        if wrong == Wrong::FreeAnybodys {
            let seen = Word(word.load(Ordering::SeqCst));
            if seen.is_claimed_in(EPOCH) {
                word.store(Word::new(State::Free, dead, EPOCH).0, Ordering::SeqCst);
            }
        }
        protocol::reclaim(word, dead, EPOCH, State::Free);
    }
}

fn read(cell: &UnsafeCell<u64>) -> u64 {
    // SAFETY: loom hands out a valid pointer, and reports it where the access is a race.
    cell.with(|p| unsafe { *p })
}

fn write(cell: &UnsafeCell<u64>, value: u64) {
    // SAFETY: as in `read`.
    cell.with_mut(|p| unsafe { *p = value });
}

/// Two workers and a caller who looks until both chunks are done.
fn run_to_the_end(wrong: Wrong) {
    loom::model(move || {
        let job = job(2);
        let other = {
            let job = Arc::clone(&job);
            thread::spawn(move || {
                let journal = AtomicU64::new(0);
                attempt(&job, 1, B, &journal, wrong, Death::Never);
                attempt(&job, 0, B, &journal, wrong, Death::Never);
            })
        };
        let journal = AtomicU64::new(0);
        attempt(&job, 0, A, &journal, wrong, Death::Never);
        for (word, data) in job.words.iter().zip(&job.data) {
            if Word(word.load(Ordering::Acquire)).is_over_in(EPOCH) {
                assert_eq!(read(data), 1, "applied once");
            }
        }
        other.join().unwrap();
    });
}

/// A caller stops the job and has the data back as soon as nothing is claimed.
fn stop_and_take(wrong: Wrong) {
    loom::model(move || {
        let job = job(1);
        let worker = {
            let job = Arc::clone(&job);
            thread::spawn(move || {
                attempt(&job, 0, A, &AtomicU64::new(0), wrong, Death::Never);
            })
        };
        job.stop.fetch_max(EPOCH, Ordering::SeqCst);
        if !Word(job.words[0].load(Ordering::SeqCst)).is_claimed_in(EPOCH) {
            // The caller's own again: a worker's access here is a race, which loom reports.
            write(&job.data[0], 50);
        }
        worker.join().unwrap();
    });
}

/// A caller stops a job, harvests it, and publishes and stops the slot's next one, while a worker of
/// the first is about to claim: between its looks at `live` and `stop` all of that may happen.
fn stop_two_jobs(wrong: Wrong) {
    loom::model(move || {
        let job = job(1);
        let worker = {
            let job = Arc::clone(&job);
            thread::spawn(move || {
                attempt(&job, 0, A, &AtomicU64::new(0), wrong, Death::Never);
            })
        };
        job.stop.fetch_max(EPOCH, Ordering::SeqCst);
        if !Word(job.words[0].load(Ordering::SeqCst)).is_claimed_in(EPOCH) {
            job.live.store(0, Ordering::Release);
            write(&job.data[0], 50);
            job.live.store(EPOCH + 1, Ordering::Release);
            job.stop.fetch_max(EPOCH + 1, Ordering::SeqCst);
            // Its own once more: whoever is in the chunk by now is there beside it.
            write(&job.data[0], 60);
        }
        worker.join().unwrap();
    });
}

/// A worker of a job that is stopped and over claims late, in words that the next job uses.
fn late_claim(wrong: Wrong) {
    loom::model(move || {
        let job = job(1);
        job.stop.store(EPOCH, Ordering::SeqCst);
        let late = {
            let job = Arc::clone(&job);
            thread::spawn(move || {
                let word = &job.words[0];
                if let Some(previous) = protocol::claim(word, A, EPOCH) {
                    if wrong == Wrong::GiveBackAnyway {
                        word.store(previous.0, Ordering::SeqCst);
                    } else {
                        protocol::give_back(word, A, EPOCH, previous);
                    }
                }
            })
        };
        let next = {
            let job = Arc::clone(&job);
            thread::spawn(move || {
                let word = &job.words[0];
                // The next job's worker tries until the chunk is its own, as the cursor has it.
                while protocol::claim(word, B, EPOCH + 1).is_none() {
                    thread::yield_now();
                }
                protocol::publish(word, B, EPOCH + 1, State::Done);
            })
        };
        late.join().unwrap();
        next.join().unwrap();
        let end = Word(job.words[0].load(Ordering::SeqCst));
        assert!(end.is_over_in(EPOCH + 1), "the next job's chunk is lost: {end:?}");
    });
}

/// A worker dies at `death`; it is reaped, recovered, and another one goes on meanwhile.
fn die_and_recover(wrong: Wrong, death: Death) {
    loom::model(move || {
        let job = job(1);
        let journal = Arc::new(AtomicU64::new(0));
        let dying = {
            let (job, journal) = (Arc::clone(&job), Arc::clone(&journal));
            thread::spawn(move || attempt(&job, 0, A, &journal, wrong, death))
        };
        let other = {
            let job = Arc::clone(&job);
            thread::spawn(move || {
                let journal = AtomicU64::new(0);
                for _ in 0..2 {
                    attempt(&job, 0, B, &journal, wrong, Death::Never);
                }
            })
        };
        if wrong == Wrong::RecoverTheLiving {
            recover(&job, A, &journal, wrong);
            dying.join().unwrap();
        } else {
            dying.join().unwrap();
            recover(&job, A, &journal, wrong);
        }
        other.join().unwrap();
        // Whoever comes last does what is left.
        attempt(&job, 0, Owner { incarnation: 1, ..A }, &journal, Wrong::No, Death::Never);
        assert!(Word(job.words[0].load(Ordering::SeqCst)).is_over_in(EPOCH), "lost");
        assert_eq!(read(&job.data[0]), 1, "applied once");
    });
}

#[test]
fn each_chunk_is_applied_once_and_seen_whole() {
    run_to_the_end(Wrong::No);
}

#[test]
#[should_panic]
fn a_relaxed_commit_is_convicted() {
    run_to_the_end(Wrong::PublishRelaxed);
}

#[test]
#[should_panic]
fn a_commit_before_the_data_is_convicted() {
    run_to_the_end(Wrong::PublishFirst);
}

#[test]
fn a_stopped_job_is_touched_by_nobody() {
    stop_and_take(Wrong::No);
}

#[test]
#[should_panic]
fn a_look_at_the_stop_before_the_claim_is_convicted() {
    stop_and_take(Wrong::StopBeforeClaim);
}

#[test]
fn a_job_whose_slot_is_used_again_is_touched_by_nobody() {
    stop_two_jobs(Wrong::No);
}

#[test]
#[should_panic]
fn asking_for_the_own_jobs_stop_alone_is_convicted() {
    stop_two_jobs(Wrong::StopOfThisJobAlone);
}

#[test]
fn a_late_claim_costs_the_next_job_nothing() {
    late_claim(Wrong::No);
}

#[test]
#[should_panic]
fn giving_back_without_a_look_is_convicted() {
    late_claim(Wrong::GiveBackAnyway);
}

#[test]
fn a_death_anywhere_is_recovered() {
    for death in [Death::Never, Death::AfterClaim, Death::HalfWay, Death::AfterCommit] {
        die_and_recover(Wrong::No, death);
    }
}

#[test]
#[should_panic]
fn freeing_before_restoring_is_convicted() {
    die_and_recover(Wrong::FreeFirst, Death::HalfWay);
}

#[test]
#[should_panic]
fn freeing_what_others_claimed_is_convicted() {
    die_and_recover(Wrong::FreeAnybodys, Death::AfterClaim);
}

#[test]
#[should_panic]
fn recovering_a_living_worker_is_convicted() {
    die_and_recover(Wrong::RecoverTheLiving, Death::Never);
}
