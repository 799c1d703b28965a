//! What a rank does in each of the tests.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use pinpool::{
    Cluster, ClusterError, Error, Param, Pool, PoolBuilder, Result, SharedArray, indices, kernels,
};

const ROWS: usize = 100_003;
const CHUNK: usize = 1_024;

pub(crate) fn main(mode: &str) -> ExitCode {
    let result = match mode {
        "single" => single(),
        "bits" => bits(),
        "error" => error(),
        "panic" => panics(),
        "leave" => leaves(),
        "apart" => apart(),
        "refused" => refused(),
        "start" => start(),
        "hold" => hold(),
        other => panic!("no such test: {other}"),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        // A status of failure would have `mpirun` end the others before they have had their say.
        Err(error) => {
            say(&format!("ends with: {error}"));
            ExitCode::SUCCESS
        }
    }
}

/// In one piece: `mpirun` mixes what ranks write.
fn say(text: &str) {
    std::io::stderr().write_all(format!("{text}\n").as_bytes()).unwrap();
}

fn options() -> PoolBuilder {
    let workers = std::env::var("PINPOOL_TEST_WORKERS").map_or(1, |n| n.parse().unwrap());
    Pool::builder().workers(workers).oversubscribe(true).seed(42)
}

fn cluster() -> Result<Cluster> {
    Cluster::builder().pool(options()).build()
}

/// Depends on the shape of the tree.
fn fold(a: f64, b: f64) -> f64 {
    a * 0.5 + b * 1.25
}

/// One line that is the same for any number of ranks and workers.
fn line(total: f64, folded: f64, slots: &[f64], streams: u64, array: &[f64]) {
    let hash = |words: &[f64]| {
        words.iter().fold(7u64, |h, x| h.wrapping_mul(0x100_0000_01b3) ^ x.to_bits())
    };
    println!(
        "bits {:016x} {:016x} {:016x} {streams:016x} {:016x}",
        total.to_bits(),
        folded.to_bits(),
        hash(slots),
        hash(array)
    );
}

macro_rules! jobs {
    ($on:expr, $x:expr, $indices:expr) => {{
        let (on, x) = ($on, $x);
        on.for_each(x.chunks_out(CHUNK), |mut c, ctx| ctx.rng().fill_uniform(&mut c))?;
        on.for_each((x.chunks_mut(256), Param(0.75)), |(mut c, by), ctx| {
            let shift = ctx.chunk() as f64 / ctx.chunks() as f64;
            c.iter_mut().for_each(|a| *a = *a * by + shift);
        })?;
        on.for_each(x.chunks_undo(512), |mut c, ctx| {
            let shift = ctx.chunk() as f64 / 1e4;
            c.for_each_tile(100, |tile| tile.iter_mut().for_each(|a| *a += shift));
        })?;
        let slots = on.map(x.chunks(CHUNK), |c, _| kernels::trig_power_sum(&c, 3))?;
        let folded = on.map_reduce(x.chunks(128), |c, _| c.sum(), fold)?;
        let streams = on.try_map($indices, |i, ctx| match ctx.rng().next_u64() {
            0 => Err("a zero"),
            n => Ok(n ^ i),
        })?;
        (
            slots,
            folded.unwrap_or(0.0),
            streams.as_slice().iter().fold(0u64, |a, b| a.rotate_left(3) ^ b),
        )
    }};
}

fn single() -> Result<()> {
    let pool = options().build()?;
    let mut x = SharedArray::<f64, _>::zeros(ROWS)?;
    let (slots, folded, streams) = jobs!(&pool, &mut x, indices(777));
    line(slots.total(), folded, slots.as_slice(), streams, x.as_slice());
    Ok(())
}

fn bits() -> Result<()> {
    let cluster = cluster()?;
    let mut x = cluster.zeros::<f64, _>(ROWS, CHUNK)?;
    let (slots, folded, streams) = jobs!(&cluster, &mut x, cluster.indices(777));
    // Every rank has the slots; the array is brought to rank 0.
    let sum = cluster.agree("compare", Ok(slots.total().to_bits()))?;
    assert_eq!(sum, slots.total().to_bits());
    if let Some(whole) = cluster.gather(x.local())? {
        line(slots.total(), folded, slots.as_slice(), streams, whole.as_slice());
    }
    // Fewer chunks than ranks, and none at all.
    let one = cluster.map(cluster.indices(1), |i, ctx| i + ctx.chunks())?;
    assert_eq!(one.as_slice(), [1]);
    assert!(cluster.map(cluster.indices(0), |i, _| i)?.is_empty());
    assert_eq!(cluster.map_reduce(cluster.indices(0), |i, _| i, |a, b| a + b)?, None);
    // Workers know nothing of the launcher.
    let ours = |_: u64, _: &mut pinpool::Ctx| {
        std::env::vars()
            .filter(|(name, _)| name.starts_with("OMPI_") || name.starts_with("PMI"))
            .count()
    };
    assert_eq!(cluster.map(cluster.indices(8), ours)?.total(), 0);
    Ok(())
}

/// The kernel fails in the last chunk, which only the last rank has; all get the same error, and
/// the cluster goes on.
fn error() -> Result<()> {
    let cluster = cluster()?;
    let fails = |i: u64, _: &mut pinpool::Ctx| if i == 99 { Err("chunk 99 is bad") } else { Ok(i) };
    let error = cluster.try_map(cluster.indices(100), fails).unwrap_err();
    let Error::Cluster(ClusterError::Rank { rank, chunk, .. }) = &error else {
        panic!("another error: {error:?}")
    };
    assert_eq!((*rank, *chunk), (cluster.ranks() - 1, Some(99)));
    say(&format!("heard: {error}"));
    let panics = |i: u64, _: &mut pinpool::Ctx| assert!(i != 0, "chunk 0 panics");
    let error = cluster.for_each(cluster.indices(100), panics).unwrap_err();
    assert!(error.to_string().starts_with("rank 0 on "), "{error}");
    say(&format!("heard: {error}"));
    let dies = |i: u64, _: &mut pinpool::Ctx| {
        if i == 98 {
            std::process::abort();
        }
    };
    let error = cluster.for_each(cluster.indices(100), dies).unwrap_err();
    assert!(error.to_string().contains("SIGABRT"), "{error}");
    assert_eq!(cluster.map(cluster.indices(100), |i, _| i)?.total(), 4950);
    Ok(())
}

fn panics() -> Result<()> {
    let cluster = cluster()?;
    assert!(cluster.rank() != 1, "rank 1 gives up");
    cluster.for_each(cluster.indices(100), |_, _| ())
}

fn leaves() -> Result<()> {
    let cluster = cluster()?;
    if cluster.rank() == 1 {
        say("rank 1 returns early");
        return Ok(());
    }
    let error = cluster.for_each(cluster.indices(100), |_, _| ()).unwrap_err();
    assert!(matches!(error, Error::Cluster(ClusterError::Left { rank: 1, .. })), "{error}");
    let again = cluster.map(cluster.indices(100), |i, _| i).unwrap_err();
    assert!(matches!(again, Error::Cluster(ClusterError::Broken)), "{again}");
    Err(error)
}

fn apart() -> Result<()> {
    let cluster = cluster()?;
    let chunks = 100 + cluster.rank() as u64;
    let error = cluster.map(cluster.indices(chunks), |i, _| i).unwrap_err();
    assert!(matches!(error, Error::Cluster(ClusterError::Apart { call: "map" })), "{error}");
    Err(error)
}

/// What cannot be asked of a cluster; the ranks stay together.
fn refused() -> Result<()> {
    let cluster = cluster()?;
    let own = SharedArray::<f64, _>::zeros(100)?;
    let (x, y) = (cluster.zeros::<f64, _>(100, 10)?, cluster.zeros::<f64, _>(100, 20)?);
    let says = |result: Result<()>, text: &str| {
        let error = result.unwrap_err().to_string();
        assert!(error.contains(text), "{error}");
    };
    says(cluster.for_each(own.chunks(10), |_, _| ()), "not dealt to the ranks");
    says(cluster.for_each((x.chunks(10), own.chunks(50)), |_, _| ()), "not dealt to the ranks");
    says(cluster.for_each(x.chunks(3), |_, _| ()), "use a length that divides 10");
    says(cluster.for_each((x.chunks(10), y.chunks(10)), |_, _| ()), "dealt to the ranks otherwise");
    says(cluster.for_each((x.chunks(10), y.chunks(20)), |_, _| ()), "dealt to the ranks otherwise");
    cluster.for_each((x.chunks(10), own.whole(), cluster.indices(10)), |_, _| ())?;
    assert!(cluster.zeros::<f64, _>(1, 0).is_err());
    let mine = cluster.numbers("who", 10 + cluster.rank() as u64)?;
    assert_eq!(mine, [10, 11]);
    // As many bytes a row, and no rows of one shape: the ranks are apart from then on.
    let shape = if cluster.is_root() { (2, 2, 3) } else { (2, 3, 2) };
    let rows = SharedArray::<f64, _>::zeros(shape)?;
    says(cluster.gather(&rows).map(drop), "not at the same call");
    says(cluster.numbers("who", 0).map(drop), "end the program");
    Ok(())
}

/// The pool of one rank cannot start: no rank has a cluster, and none hangs.
fn start() -> Result<()> {
    let second = std::env::var("OMPI_COMM_WORLD_RANK").is_ok_and(|rank| rank == "1");
    let workers = if second { 5_000 } else { 1 };
    Cluster::builder().pool(options().workers(workers)).build().map(|_| ())
}

/// Says who is who, and works until it is killed.
fn hold() -> Result<()> {
    let cluster = cluster()?;
    let name = format!("mpi-hold-{}", std::process::id());
    // SAFETY: nobody else knows the name.
    let named = unsafe { SharedArray::<f64, _>::create_named(&name, 1000) }?;
    let workers: Vec<_> = cluster.pool().whereabouts().iter().map(|w| w.pid.to_string()).collect();
    println!("hold {name} {} {}", std::process::id(), workers.join(" "));
    cluster.for_each((cluster.indices(100), named.whole()), |(i, _), ctx| {
        let _ = (i, ctx);
        std::thread::sleep(Duration::from_secs(60));
    })
}
