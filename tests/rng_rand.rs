//! The streams are generators for the crate `rand`.

use pinpool::rng::{ChunkRng, Streams, WorkerRng};
use rand::RngExt;

#[test]
fn a_chunks_stream_drives_the_crate_rand() {
    let streams = Streams::new(42);
    let mut rng = ChunkRng::new(&streams, 0, 0);
    let (die, unit): (u32, f64) = (rng.random_range(1..=6), rng.random());
    assert!((1..=6).contains(&die) && (0.0..1.0).contains(&unit));

    // `rand` takes the stream's own words.
    let (mut a, mut b) = (ChunkRng::new(&streams, 0, 1), ChunkRng::new(&streams, 0, 1));
    assert_eq!(a.random::<u64>(), b.next_u64());
    assert_eq!(a.random::<f64>(), b.next_f64());
}

#[test]
fn a_workers_stream_drives_the_crate_rand() {
    let mut rng = WorkerRng::new(&Streams::new(42), 0, 0);
    let word = rng.clone().next_u64();
    assert_eq!(rng.random::<u64>(), word);
}
