//! Do the streams look independent of each other?
//!
//! A small battery over streams interleaved word by word and block by block: lanes of one chunk,
//! neighbouring chunks, jobs, workers and seeds. Seeds and bounds are fixed, so the verdict never
//! flickers. Larger batteries (BigCrush, PractRand) run elsewhere.

use pinpool::rng::{ChunkRng, Streams, WorkerRng};

const SEED: u64 = 20_261_121;
const WORDS: usize = 1 << 18;
/// How many streams are interleaved.
const STREAMS: usize = 8;

/// A statistic's name and its distance from the mean in standard deviations.
type Verdict = (String, f64);

/// No statistic may lie further out; a good stream's does with a chance below 1e-6.
const BOUND: f64 = 5.0;

fn battery(words: &[u64]) -> Vec<Verdict> {
    let mut verdicts = vec![
        ("equidistribution of the high byte".into(), equidistribution(words, 56)),
        ("equidistribution of the low byte".into(), equidistribution(words, 0)),
        ("birthday spacings of the high half".into(), birthday_spacings(words, 32)),
        ("birthday spacings of the low half".into(), birthday_spacings(words, 0)),
    ];
    for lag in [1, 2, 3, 7, 8, 9, 64, 512] {
        verdicts.push((format!("serial correlation at {lag}"), serial_correlation(words, lag)));
        verdicts.push((format!("Hamming weights at {lag}"), hamming_dependence(words, lag)));
    }
    verdicts
}

fn failures(words: &[u64]) -> Vec<Verdict> {
    battery(words).into_iter().filter(|(_, deviation)| deviation.abs() > BOUND).collect()
}

/// Chi-square of 256 bins, with 255 degrees of freedom.
fn equidistribution(words: &[u64], shift: u32) -> f64 {
    let mut bins = [0u32; 256];
    for word in words {
        bins[(word >> shift) as usize & 255] += 1;
    }
    let expected = words.len() as f64 / 256.0;
    let chi_square: f64 = bins.iter().map(|&n| (f64::from(n) - expected).powi(2) / expected).sum();
    (chi_square - 255.0) / (2.0f64 * 255.0).sqrt()
}

/// The correlation of each word with the one `lag` later; its standard deviation is 1/sqrt(n).
fn serial_correlation(words: &[u64], lag: usize) -> f64 {
    let centred = |word: u64| (word >> 11) as f64 / (1u64 << 53) as f64 - 0.5;
    let n = (words.len() - lag) as f64;
    let product: f64 =
        words.iter().zip(&words[lag..]).map(|(&a, &b)| centred(a) * centred(b)).sum();
    product * 12.0 / n.sqrt()
}

/// Chi-square of independence of three classes of bit counts (few, middling, many) of words `lag`
/// apart, with 4 degrees of freedom, made normal by Wilson and Hilferty's cube root.
fn hamming_dependence(words: &[u64], lag: usize) -> f64 {
    let class = |word: u64| match word.count_ones() {
        0..=30 => 0,
        31..=33 => 1,
        _ => 2,
    };
    let mut table = [[0.0f64; 3]; 3];
    for (&a, &b) in words.iter().zip(&words[lag..]) {
        table[class(a)][class(b)] += 1.0;
    }
    let n = (words.len() - lag) as f64;
    let mut chi_square = 0.0;
    for i in 0..3 {
        for j in 0..3 {
            let row: f64 = table[i].iter().sum();
            let column: f64 = table.iter().map(|row| row[j]).sum();
            let expected = row * column / n;
            chi_square += (table[i][j] - expected).powi(2) / expected;
        }
    }
    let ninth = 2.0 / (9.0 * 4.0);
    // Too good a fit is no dependence, so only the upper side counts.
    (((chi_square / 4.0).cbrt() - (1.0 - ninth)) / ninth.sqrt()).max(0.0)
}

/// Marsaglia's test: of 4096 birthdays in a year of 2^32 days, the spacings that come again are
/// Poisson of mean 4; summed over all groups.
fn birthday_spacings(words: &[u64], shift: u32) -> f64 {
    let (mut repeats, mut groups) = (0usize, 0usize);
    for group in words.chunks_exact(4096) {
        let mut days: Vec<u32> = group.iter().map(|word| (word >> shift) as u32).collect();
        days.sort_unstable();
        let mut spacings: Vec<u32> = days.windows(2).map(|pair| pair[1] - pair[0]).collect();
        spacings.sort_unstable();
        repeats += spacings.windows(2).filter(|pair| pair[0] == pair[1]).count();
        groups += 1;
    }
    let mean = 4.0 * groups as f64;
    (repeats as f64 - mean) / mean.sqrt()
}

/// Words of several streams in turn, `block` of each at a time.
fn interleave(mut streams: Vec<impl FnMut() -> u64>, block: usize) -> Vec<u64> {
    let mut words = Vec::with_capacity(WORDS);
    while words.len() < WORDS {
        for stream in &mut streams {
            words.extend((0..block).map(|_| stream()));
        }
    }
    words
}

fn of_chunks(numbers: impl IntoIterator<Item = (u64, u64)>) -> Vec<impl FnMut() -> u64> {
    let streams = Streams::new(SEED);
    numbers
        .into_iter()
        .map(|(job, chunk)| {
            let mut rng = ChunkRng::new(&streams, job, chunk);
            move || rng.next_u64()
        })
        .collect()
}

fn assert_clean(name: &str, words: &[u64]) {
    let failures = failures(words);
    assert!(failures.is_empty(), "{name}: {failures:?}");
}

#[test]
fn the_lanes_of_a_fill_are_independent() {
    let mut words = vec![0; WORDS];
    ChunkRng::new(&Streams::new(SEED), 0, 0).fill_u64(&mut words);
    assert_clean("lanes", &words);
}

#[test]
fn neighbouring_chunks_are_independent() {
    for block in [1, 64] {
        let words = interleave(of_chunks((0..STREAMS as u64).map(|c| (0, c))), block);
        assert_clean(&format!("chunks by {block}"), &words);
    }
}

#[test]
fn neighbouring_jobs_are_independent() {
    for block in [1, 64] {
        let words = interleave(of_chunks((0..STREAMS as u64).map(|j| (j, 0))), block);
        assert_clean(&format!("jobs by {block}"), &words);
    }
}

#[test]
fn neighbouring_workers_are_independent() {
    let streams = Streams::new(SEED);
    let workers = (0..STREAMS as u64)
        .map(|worker| {
            let mut rng = WorkerRng::new(&streams, worker, 0);
            move || rng.next_u64()
        })
        .collect();
    assert_clean("workers", &interleave(workers, 1));
}

#[test]
fn neighbouring_seeds_are_independent() {
    let seeds = (0..STREAMS as u64)
        .map(|seed| {
            let mut rng = ChunkRng::new(&Streams::new(seed), 0, 0);
            move || rng.next_u64()
        })
        .collect();
    assert_clean("seeds", &interleave(seeds, 1));
}

#[test]
fn the_battery_convicts_bad_streams() {
    let good = interleave(of_chunks([(0, 0)]), 1);
    let convicted = |name: &str, words: &[u64], statistic: &str| {
        let failures = failures(words);
        assert!(
            failures.iter().any(|(failed, _)| failed.starts_with(statistic)),
            "{name} passed {statistic}: {failures:?}"
        );
    };
    // One generator copied into every stream: the pitfall that the streams are there to cure.
    let frozen = interleave(of_chunks([(0, 0); STREAMS]), 1);
    convicted("the frozen generator", &frozen, "serial correlation at 1");
    convicted("the frozen generator", &frozen, "Hamming weights at 1");
    let biased: Vec<u64> = good.iter().map(|word| word & !((word << 1) & 0x40)).collect();
    convicted("a biased bit", &biased, "equidistribution of the low byte");
    let weyl: Vec<u64> = (0..WORDS as u64).map(|i| i.wrapping_mul(0x9e37_79b9_7f4a_7c15)).collect();
    convicted("equal steps", &weyl, "birthday spacings of the high half");
    let complement: Vec<u64> =
        good.iter().enumerate().map(|(i, &w)| if i % 2 == 0 { w } else { !good[i - 1] }).collect();
    convicted("complements", &complement, "Hamming weights at 1");
}
