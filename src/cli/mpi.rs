//! `pinpool run --mpi`: the same job, its chunks dealt to the ranks of an MPI job.
//!
//! Each rank holds and computes its own rows; rank 0 gathers the slots, prints and saves. The bits
//! are those of a run without MPI.

#![forbid(unsafe_code)]

use std::time::Instant;

use bytemuck::cast_slice;
use ndarray::Ix1;
use pinpool::{Cluster, Pod, Pool, SharedArray};

use super::args::RunArgs;
use super::exit::Exit;
use super::failure::Failure;
use super::kernels::{Form, Job};
use super::plan::{Plan, Source};
use super::report::{Report, Seconds, hash};
use super::{data, interrupt, memory};

pub(super) fn run<J: Job>(job: J, plan: &Plan, args: &RunArgs) -> Result<Exit, Failure> {
    interrupt::listen()?;
    let started = Instant::now();
    let pool =
        Pool::builder().placement(args.place.options()).backend(args.backend).seed(plan.seed);
    let cluster = Cluster::builder().pool(pool).build()?;
    let start = started.elapsed().as_secs_f64();
    // Told while the cluster stands: MPI ends a program whose ranks do.
    let exit = match work(job, plan, args, &cluster, start) {
        Ok(()) => Exit::Done,
        Err(failure) => failure.report_of_rank(cluster.rank()),
    };
    Ok(exit)
}

fn work<J: Job>(
    job: J,
    plan: &Plan,
    args: &RunArgs,
    cluster: &Cluster,
    start: f64,
) -> Result<(), Failure> {
    if cluster.is_root() && !args.quiet {
        cluster.warnings().for_each(|warning| say!("pinpool: {warning}"));
    }
    let filling = Instant::now();
    let mut mine = Rows::open(job, plan, cluster)?;
    let fill = filling.elapsed().as_secs_f64();
    interrupt::check()?;
    if let Some(path) = &args.save_input
        && let Some(whole) = cluster.gather(&mine.array)?
    {
        whole.save(path)?;
    }
    let running = Instant::now();
    let slots = job.run(cluster.pool(), &mut mine.array, mine.chunk, mine.form);
    let slots = cluster.gather(&cluster.agree("run", slots)?)?;
    let run = running.elapsed().as_secs_f64();
    interrupt::check()?;

    let whole = if args.save_array.is_some() || job.reads_array() {
        cluster.gather(&mine.array)?
    } else {
        cluster.is_root().then(|| SharedArray::zeros(0)).transpose()?
    };
    let places = places(cluster)?;
    let pus = cluster.pool().whereabouts().into_iter().map(|worker| worker.pu as u64);
    let ran_on = cluster.gather(&words(pus)?)?;
    let memory = cluster.gather(&words([memory::peak_bytes().unwrap_or(0)])?)?;
    let (Some(slots), Some(whole), Some(memory), Some(ran_on)) = (slots, whole, memory, ran_on)
    else {
        return Ok(());
    };
    let ran_on = ran_on.as_slice().iter().map(|&pu| pu as usize).collect();
    let (total, count) = job.total(slots.as_slice());
    let (elements, chunk) = job.geometry(mine.elements, mine.chunk);
    let report = Report {
        kernel: plan.kernel.name(),
        backend: args.backend.name(),
        isa: plan.isa.name(),
        workers: cluster.workers() as usize,
        ranks: Some(cluster.ranks()),
        places,
        ran_on,
        seed: plan.seed,
        elements,
        chunk,
        chunks: mine.elements.div_ceil(mine.chunk),
        seconds: Seconds { start, fill, run },
        total,
        total_bits: total.to_bits(),
        slots_hash: hash(cast_slice(slots.as_slice())),
        peak_memory_bytes: Some(memory.total()).filter(|bytes| *bytes > 0),
        // Each rank has its own rows, in memory of its own.
        memory: None,
        count,
    };
    if let Some(path) = &args.save_array {
        whole.save(path)?;
    }
    if let Some(path) = &args.output {
        job.save(&whole, &slots, path)?;
    }
    super::run::print(job, &whole, &slots, &report, args)
}

/// The rows of the array that this rank holds, filled.
struct Rows<T: Pod> {
    array: SharedArray<T, Ix1>,
    /// Of the whole array.
    elements: usize,
    chunk: usize,
    form: Form<'static>,
}

impl<T: Pod> Rows<T> {
    fn open<J: Job<Element = T>>(job: J, plan: &Plan, cluster: &Cluster) -> Result<Self, Failure> {
        let (file, elements) = match &plan.source {
            Source::Drawn { elements, .. } => (None, *elements),
            // The command line refuses `--array` here.
            Source::File(path) | Source::Array(path) => {
                let file = cluster.agree("open the input", data::map::<T>(path))?;
                let elements = file.len();
                alike(cluster, "number of elements in the input", elements)?;
                if file.is_empty() {
                    return Err(Failure::EmptyInput { path: path.display().to_string() });
                }
                (Some(file), elements)
            }
        };
        let chunk = plan.chunk(elements)?;
        alike(cluster, "number of elements", elements)?;
        alike(cluster, "chunk length", chunk)?;
        let total = elements.div_ceil(chunk) as u64;
        let mine = cluster.share(total);
        let form = Form::Part { first: mine.start, total };
        let row = |chunks: u64| (chunks as usize * chunk).min(elements);
        let rows = row(mine.start)..row(mine.end);
        let array = SharedArray::zeros(rows.len()).map_err(Into::into);
        let mut array = cluster.agree("make the array", array)?;
        match file {
            Some(file) => array.as_mut_slice().copy_from_slice(&file.as_slice()[rows]),
            None => cluster.agree("fill", job.fill(cluster.pool(), &mut array, chunk, form))?,
        }
        Ok(Rows { array, elements, chunk, form })
    }
}

/// An error on all ranks where they do not have the same number.
fn alike(cluster: &Cluster, what: &'static str, number: usize) -> Result<(), Failure> {
    let all = cluster.numbers(what, number as u64)?;
    let first = all[0];
    match all.iter().enumerate().find(|(_, other)| **other != first) {
        Some((rank, &other)) => Err(Failure::RanksDiffer { what, first, rank, other }),
        None => Ok(()),
    }
}

/// The PUs of all workers of all ranks, on rank 0: of each worker how many, then which.
fn places(cluster: &Cluster) -> Result<Vec<Vec<usize>>, Failure> {
    let own = cluster.pool().plan().workers.iter();
    let flat = own.flat_map(|worker| {
        std::iter::once(worker.pus.len()).chain(worker.pus.iter().copied()).map(|n| n as u64)
    });
    let Some(all) = cluster.gather(&words(flat.collect::<Vec<_>>())?)? else {
        return Ok(Vec::new());
    };
    let (mut rest, mut places) = (all.as_slice(), Vec::new());
    while let [len, after @ ..] = rest {
        let (pus, next) = after.split_at((*len as usize).min(after.len()));
        places.push(pus.iter().map(|&pu| pu as usize).collect());
        rest = next;
    }
    Ok(places)
}

fn words<T: Pod>(words: impl IntoIterator<Item = T>) -> Result<SharedArray<T, Ix1>, Failure> {
    Ok(SharedArray::collect(words)?)
}
