//! What a job of a cluster costs beside its work, with more and more ranks: `cargo bench --features
//! mpi --bench mpi_scaling` starts `mpirun` on itself with 1, 2, 4 ... 32 ranks of one worker each.
//!
//! On a machine with fewer cores ranks take turns, so read what grows, not what it is. Medians.

use std::process::Command;
use std::time::Instant;

use pinpool::{Backend, Cluster, Pool, Result};

const RANKS: [usize; 6] = [1, 2, 4, 8, 16, 32];

fn main() -> Result<()> {
    if std::env::var_os("PINPOOL_BENCH_RANK").is_some() {
        return rank();
    }
    println!(
        "{:>5} {:>10} {:>10} {:>12} {:>12} {:>12} {:>12}",
        "ranks", "start ms", "agree µs", "for_each µs", "fold µs", "map 8 KB µs", "map 8 MB µs"
    );
    for ranks in RANKS {
        let mut mpirun = Command::new("mpirun");
        mpirun
            .args(["--allow-run-as-root", "--oversubscribe", "--bind-to", "none"])
            .args(["-n", &ranks.to_string()])
            .arg(std::env::current_exe().expect("this program has a path"))
            .env("PINPOOL_BENCH_RANK", "1");
        if !mpirun.status().is_ok_and(|status| status.success()) {
            eprintln!("mpirun -n {ranks} failed; is it in the path?");
        }
    }
    Ok(())
}

/// Median of `times` calls on this rank, in microseconds.
fn median(times: usize, mut call: impl FnMut() -> Result<()>) -> Result<f64> {
    let mut took = Vec::with_capacity(times);
    for _ in 0..times {
        let start = Instant::now();
        call()?;
        took.push(start.elapsed().as_secs_f64() * 1e6);
    }
    took.sort_by(f64::total_cmp);
    Ok(took[times / 2])
}

fn rank() -> Result<()> {
    let start = Instant::now();
    // Worker processes too would only take turns with the ranks: this is about what lies between.
    let pool = Pool::builder().backend(Backend::Serial);
    let cluster = Cluster::builder().pool(pool).build()?;
    let started = start.elapsed().as_secs_f64() * 1e3;
    let times = 2_000 / cluster.ranks().max(4);
    let agree = median(times, || cluster.agree("agree", Ok(())))?;
    let chunks = cluster.ranks() as u64;
    let empty = median(times, || cluster.for_each(cluster.indices(chunks), |_, _| ()))?;
    let fold = median(times, || {
        cluster.map_reduce(cluster.indices(1_024), |i, _| i, |a, b| a + b).map(|_| ())
    })?;
    let small = median(times, || cluster.map(cluster.indices(1_024), |i, _| i).map(|_| ()))?;
    let large = median(9, || cluster.map(cluster.indices(256), |i, _| [i; 4_096]).map(|_| ()))?;
    if cluster.is_root() {
        println!(
            "{chunks:>5} {started:>10.1} {agree:>10.1} {empty:>12.1} {fold:>12.1} {small:>12.1} {large:>12.0}"
        );
    }
    Ok(())
}
