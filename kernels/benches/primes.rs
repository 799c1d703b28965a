//! What does a number cost? Primality, factoring and counting beside the best crates, in one run,
//! every answer checked against a peer.
//!
//! `cargo bench -p pinpool-kernels --bench primes [-- FILTER]`. Medians and bests are of rounds in
//! which all contenders take turns, and are of the time that the thread had, so that a noisy machine
//! hits them alike; ratios are of bests. Sieving is by the clock, beside primesieve.

use std::hint::black_box;
use std::time::Instant;

use pinpool_kernels::isa::{self, Isa};
use pinpool_kernels::primes::{
    Factors, count_primes, factor_slice, is_prime_slice, next_prime, prime_pi,
};

const ROUNDS: usize = 9;

fn main() {
    let filter = std::env::args().skip(1).find(|a| !a.starts_with('-')).unwrap_or_default();
    let mut draw = Draw(0x9e37_79b9_7f4a_7c15);
    let million = 1_000_000;
    let rows: [(&str, Vec<u64>); 3] = [
        ("is_prime [1e14, 5e14)", draw.many(million, 100_000_000_000_000, 500_000_000_000_000)),
        ("is_prime u64", (0..million).map(|_| draw.next()).collect()),
        (
            "is_prime 64-bit primes",
            (0..20_000).filter_map(|_| next_prime(draw.next() | 1 << 63)).collect(),
        ),
    ];
    for (name, numbers) in &rows {
        if name.contains(&filter) {
            primality(name, numbers);
        }
    }
    let semiprimes = (0..10_000).map(|_| draw.semiprime()).collect();
    let rows: [(&str, Vec<u64>); 3] = [
        ("factor [1e10, 1e12)", draw.many(million, 10_000_000_000, 1_000_000_000_000)),
        (
            "factor [1e17, 1e19)",
            draw.many(40_000, 100_000_000_000_000_000, 10_000_000_000_000_000_000),
        ),
        ("factor p*q of 32 bits", semiprimes),
    ];
    for (name, numbers) in &rows {
        if name.contains(&filter) {
            factoring(name, numbers);
        }
    }
    if "count".contains(&filter) {
        counting();
    }
}

fn primality(name: &str, numbers: &[u64]) {
    let peer: Vec<u8> = numbers.iter().map(|&n| u8::from(machine_prime::is_prime(n))).collect();
    let mut out = vec![0; numbers.len()];
    let mut table = Table::new(name, numbers.len());
    for _ in 0..ROUNDS {
        for isa in Isa::available() {
            isa::force(isa).expect("available");
            table.time(isa.name(), || is_prime_slice(numbers, &mut out));
            assert!(out == peer, "{name}, {isa}");
        }
        table.time("one by one", || {
            numbers.iter().filter(|&&n| pinpool_kernels::primes::is_prime(n)).count()
        });
        table.time("machine-prime", || {
            numbers.iter().filter(|&&n| machine_prime::is_prime(n)).count()
        });
        table.time("num-prime", || {
            numbers.iter().filter(|&&n| num_prime::nt_funcs::is_prime64(n)).count()
        });
    }
    table.print();
}

fn factoring(name: &str, numbers: &[u64]) {
    let mut out = vec![Factors::NONE; numbers.len()];
    let mut table = Table::new(name, numbers.len());
    // The peers are slow: they get a part of the numbers, and one round in five.
    let part = &numbers[..numbers.len() / 50];
    for round in 0..ROUNDS {
        for isa in Isa::available() {
            isa::force(isa).expect("available");
            if isa != isa::best() && round > 0 {
                continue;
            }
            table.time(isa.name(), || factor_slice(numbers, &mut out));
            check(part, &out);
        }
    }
    table.numbers = part.len();
    table.time("machine-factor", || {
        for &n in part {
            black_box(machine_factor::factorize(n));
        }
    });
    table.time("num-prime", || {
        for &n in part {
            black_box(num_prime::nt_funcs::factorize64(n));
        }
    });
    table.print();
}

fn check(numbers: &[u64], out: &[Factors]) {
    for (&n, out) in numbers.iter().zip(out) {
        let peer = machine_factor::factorize(n);
        let mut theirs: Vec<(u64, u32)> =
            (0..peer.len).map(|i| (peer.factors[i], u32::from(peer.powers[i]))).collect();
        theirs.sort_unstable();
        assert_eq!(out.iter().collect::<Vec<_>>(), theirs, "{n}");
    }
}

fn counting() {
    isa::force(isa::best()).expect("available");
    let low = 1_000_000_000_000_000;
    sieving("count_primes to 1e10", 0, 10_000_000_000, 455_052_511);
    sieving("count_primes [1e15, 1e15 + 1e9]", low, 1_000_000_000, 28_946_421);
    for (n, pi) in [
        (10u64.pow(10), 455_052_511),
        (10u64.pow(12), 37_607_912_018),
        (10u64.pow(14), 3_204_941_750_802),
    ] {
        let start = Instant::now();
        assert_eq!(prime_pi(n), pi);
        println!("prime_pi({n:e}): {:.4} s", start.elapsed().as_secs_f64());
    }
}

/// The primes of a window on one thread and on two, in turns with primesieve where it is installed.
fn sieving(name: &str, low: u64, len: u64, primes: u64) {
    for threads in [1, 2] {
        let (mut ours, mut theirs) = (f64::MAX, f64::MAX);
        for _ in 0..5 {
            let start = Instant::now();
            assert_eq!(count_on(threads, low, len), primes);
            ours = ours.min(start.elapsed().as_secs_f64());
            theirs = theirs.min(primesieve(threads, low, len).unwrap_or(f64::MAX));
        }
        print!("{name}, {threads} threads: best {ours:.3} s");
        if theirs == f64::MAX {
            println!("; primesieve is not installed");
        } else {
            println!(", primesieve {theirs:.3} s");
        }
    }
}

fn count_on(threads: u64, low: u64, len: u64) -> u64 {
    let part = len / threads;
    std::thread::scope(|scope| {
        let parts: Vec<_> = (0..threads)
            .map(|i| {
                let start = low + i * part;
                let end = if i + 1 == threads { low + len + 1 } else { start + part };
                scope.spawn(move || count_primes(start, end))
            })
            .collect();
        parts.into_iter().map(|part| part.join().expect("counts")).sum()
    })
}

/// The seconds that primesieve reports, without its start.
fn primesieve(threads: u64, low: u64, len: u64) -> Option<f64> {
    let output = std::process::Command::new("primesieve")
        .args([low.to_string(), format!("--dist={len}"), format!("--threads={threads}")])
        .args(["--count", "--time", "--quiet"])
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let seconds = text.lines().find_map(|line| line.strip_prefix("Seconds:"))?;
    seconds.trim().parse().ok()
}

/// Times of the contenders of one row, each a median over the rounds.
struct Table {
    name: String,
    numbers: usize,
    times: Vec<(String, Vec<f64>)>,
}

impl Table {
    fn new(name: &str, numbers: usize) -> Table {
        Table { name: name.to_owned(), numbers, times: Vec::new() }
    }

    fn time<R>(&mut self, who: &str, job: impl FnOnce() -> R) {
        let start = thread_time();
        black_box(job());
        let ns = (thread_time() - start) / self.numbers as f64;
        match self.times.iter_mut().find(|(name, _)| name == who) {
            Some((_, all)) => all.push(ns),
            None => self.times.push((who.to_owned(), vec![ns])),
        }
    }

    fn print(&mut self) {
        println!("{}", self.name);
        let ours = self.times.iter_mut().find(|(n, _)| n == isa::best().name());
        let ours = ours.map_or(1.0, |(_, times)| times.iter().copied().fold(f64::MAX, f64::min));
        for (who, times) in &mut self.times {
            let ns = median(times);
            // Sorted by `median`.
            let best = times[0];
            println!(
                "  {who:<15} median {ns:>10.2} ns, best {best:>10.2}   {:>6.2} x ours",
                best / ours
            );
        }
    }
}

/// What this thread has spent on a CPU, in ns: others may be busy on the machine.
fn thread_time() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
}

fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// SplitMix64, for the numbers of the rows.
struct Draw(u64);

impl Draw {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn many(&mut self, count: usize, low: u64, high: u64) -> Vec<u64> {
        (0..count).map(|_| low + self.next() % (high - low)).collect()
    }

    fn semiprime(&mut self) -> u64 {
        let mut prime = || loop {
            let p = next_prime((self.next() >> 32) | 1 << 31).expect("there is one");
            if p < 1 << 32 {
                return p;
            }
        };
        prime() * prime()
    }
}
