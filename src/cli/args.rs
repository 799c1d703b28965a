//! The words of the command line, as clap reads them; nothing is decided here.

#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use pinpool::Backend;
use pinpool_kernels::isa::Isa;

use super::numbers;
use super::pages::PagesArgs;
use super::place::PlaceArgs;
use super::sweep::SweepArgs;

/// Numerical kernels in pinned worker processes over shared-memory ndarrays.
#[derive(Debug, Parser)]
#[command(name = "pinpool", version)]
pub(super) struct Cli {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run a kernel over a shared array and print its result.
    Run(RunArgs),
    /// Run a kernel serially, in threads and in processes, and compare times and bits.
    Compare(CompareArgs),
    /// Time a kernel over lists of workers, policies and chunk lengths.
    Sweep(SweepArgs),
    /// Run programs or scripts side by side, each on a place of its own.
    Exec(ExecArgs),
    /// Print packages, NUMA nodes, cores and PUs, and where workers would go.
    Topo(TopoArgs),
    /// Say what on this machine will hurt a pool, why, and how to mend it.
    Doctor(DoctorArgs),
    /// List or remove named shared-memory segments.
    Segments {
        #[command(subcommand)]
        action: SegmentsAction,
    },
    /// Print the prime factors of numbers below 2^128, as GNU factor does; those of 2^64 and more are
    /// probable primes (Baillie-PSW).
    Factor {
        /// The numbers; standard input where there are none.
        #[arg(value_name = "NUMBER")]
        numbers: Vec<OsString>,
    },
}

/// The kernels that the program has built in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum KernelName {
    /// Rounds of a ← (sin a + cos a)^(a²) over doubles in [0, 1), summed by chunk.
    TrigPower,
    /// Whether each of many integers is prime.
    IsPrime,
    /// The prime factors of each of many integers.
    Factor,
    /// How many primes lie from --low up to but not including --high, by a sieve.
    CountPrimes,
    /// How many primes there are up to N, without listing them.
    PrimePi,
}

/// What is computed; with the seed, all that the result depends on.
#[derive(Debug, Clone, Args)]
pub(super) struct JobArgs {
    /// The kernel.
    pub(super) kernel: KernelName,

    /// The N of prime-pi.
    #[arg(value_name = "N", value_parser = numbers::integer)]
    pub(super) number: Option<u64>,

    /// How many elements [default: 40M for trig-power, 1000 for is-prime, 100 for factor].
    #[arg(long, visible_alias = "count", value_name = "N", value_parser = numbers::count, conflicts_with = "input")]
    pub(super) elements: Option<usize>,

    /// Elements in a chunk [default: elements/256, at least 64, at most 32768]; for count-primes,
    /// numbers of the range [default: as the sieve likes them].
    #[arg(long, value_name = "N", value_parser = numbers::count)]
    pub(super) chunk: Option<usize>,

    /// Rounds of trig-power [default: 3].
    #[arg(long, value_name = "N", value_parser = numbers::integer)]
    pub(super) rounds: Option<u64>,

    /// Least integer drawn for is-prime [default: 1e14] and factor [default: 1e10]; where
    /// count-primes begins [default: 0].
    #[arg(long, value_name = "N", value_parser = numbers::integer)]
    pub(super) low: Option<u64>,

    /// Integers drawn lie below this [default: 5e14 for is-prime, 1e12 for factor]; so do those
    /// that count-primes looks at [default: 1e9].
    #[arg(long, value_name = "N", value_parser = numbers::integer)]
    pub(super) high: Option<u64>,

    /// Seed of all random streams [default: PINPOOL_SEED, else 42].
    #[arg(long, value_name = "N", value_parser = numbers::integer)]
    pub(super) seed: Option<u64>,

    /// Take the elements from this file instead of drawing them; it is left as it is.
    ///
    /// It is read where it lies, so nobody may write into it or cut it short meanwhile.
    #[arg(long, value_name = "FILE.npy", conflicts_with_all = ["low", "high"])]
    pub(super) input: Option<PathBuf>,

    /// Have trig-power write the transformed values back into the array (and sum them still).
    #[arg(long)]
    pub(super) in_place: bool,

    /// Instruction set [default: PINPOOL_ISA, else the best that this CPU has].
    #[arg(long, value_name = "scalar|avx2|avx512|neon")]
    pub(super) isa: Option<Isa>,
}

#[derive(Debug, Args)]
pub(super) struct RunArgs {
    #[command(flatten)]
    pub(super) job: JobArgs,

    /// How the chunks are run; the result has the same bits.
    #[arg(long, value_name = "processes|threads|serial", default_value_t)]
    pub(super) backend: Backend,

    /// Save the results: a sum or a count per chunk, a bool per number, or a row of 16 factors per
    /// number.
    #[arg(long, value_name = "FILE.npy")]
    pub(super) output: Option<PathBuf>,

    /// Save the array as it is before the kernel.
    #[arg(long, value_name = "FILE.npy")]
    pub(super) save_input: Option<PathBuf>,

    /// Save the array as it is after the kernel.
    #[arg(long, value_name = "FILE.npy")]
    pub(super) save_array: Option<PathBuf>,

    /// Put the array under this name in /dev/shm, where numpy can open it.
    ///
    /// `np.load("/dev/shm/NAME", mmap_mode="r")` may read it at any time; what a chunk in progress
    /// holds may be torn. Write into it between jobs only.
    #[arg(long)]
    pub(super) name: Option<String>,

    /// Leave the named array there.
    #[arg(long, requires = "name")]
    pub(super) keep: bool,

    /// Change the elements in this file itself, so that the run can go on after everything has
    /// died: with --in-place, and --checkpoint to begin or --resume to go on.
    ///
    /// Nobody may write into it or cut it short until the run has come to its end.
    #[arg(long, value_name = "FILE.npy", requires = "in_place", conflicts_with_all = ["elements", "input", "name", "verify"])]
    pub(super) array: Option<PathBuf>,

    /// Keep what a resume needs in FILE.npy.pinpool, until the run has ended well.
    #[arg(long, requires = "array", conflicts_with = "resume")]
    pub(super) checkpoint: bool,

    /// Have the checkpoint outlast a loss of power: waits for the disk five times a chunk.
    ///
    /// A resume keeps to it.
    #[arg(long, requires = "checkpoint", conflicts_with = "resume")]
    pub(super) durable: bool,

    /// Go on with the run of --array that did not come to its end; the result has the same bits.
    #[arg(long, requires = "array", conflicts_with = "save_input")]
    pub(super) resume: bool,

    /// Print one JSON object instead of text.
    #[arg(long)]
    pub(super) json: bool,

    /// No progress bar, no remarks: nothing on standard error but errors.
    #[arg(long, short)]
    pub(super) quiet: bool,

    /// Write what each worker did when to this file, in the Chrome trace format.
    ///
    /// Perfetto (ui.perfetto.dev) and chrome://tracing draw it.
    #[arg(long, value_name = "FILE.json")]
    pub(super) trace: Option<PathBuf>,

    /// Run it serially too, and fail where one bit differs.
    #[arg(long)]
    pub(super) verify: bool,

    /// Deal the chunks to all ranks of an MPI job, each with a pool of its own; rank 0 prints.
    ///
    /// Start it as `mpirun -n 2 --map-by ppr:1:node:PE=CORES pinpool run … --mpi`, or by srun. The
    /// result has the same bits as without. Needs a program built with the feature `mpi`.
    #[arg(long, conflicts_with_all = [
        "name", "trace", "verify", "array", "checkpoint", "resume", "durable", "pages", "numa", "prefault",
    ])]
    pub(super) mpi: bool,

    #[command(flatten)]
    pub(super) pages: PagesArgs,

    #[command(flatten)]
    pub(super) place: PlaceArgs,
}

#[derive(Debug, Args)]
pub(super) struct CompareArgs {
    #[command(flatten)]
    pub(super) job: JobArgs,

    /// Time the best of this many runs.
    #[arg(long, value_name = "N", default_value = "3", value_parser = numbers::count)]
    pub(super) repeat: usize,

    /// Write what each worker did when to this file, in the Chrome trace format.
    #[arg(long, value_name = "FILE.json")]
    pub(super) trace: Option<PathBuf>,

    /// Print one JSON object instead of a table.
    #[arg(long)]
    pub(super) json: bool,

    /// No progress bar, no remarks: nothing on standard error but errors.
    #[arg(long, short)]
    pub(super) quiet: bool,

    #[command(flatten)]
    pub(super) pages: PagesArgs,

    #[command(flatten)]
    pub(super) place: PlaceArgs,
}

#[derive(Debug, Args)]
pub(super) struct ExecArgs {
    /// Command lines, each one argument, such as './simulate --steps 10'; without any, standard
    /// input has one a line.
    ///
    /// Words are split at blanks; quotes and backslashes keep them together as in a shell, but
    /// nothing is expanded: give --shell for pipes, variables and wildcards. Blank lines and lines
    /// that begin with # are passed over.
    #[arg(value_name = "COMMAND")]
    pub(super) commands: Vec<OsString>,

    /// Have each line run by `sh -c`.
    #[arg(long)]
    pub(super) shell: bool,

    /// End a command that runs longer: it has failed.
    #[arg(long, value_name = "SECONDS", value_parser = numbers::seconds)]
    pub(super) timeout: Option<Duration>,

    /// Run a command that fails up to N more times; the output of the last time counts.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(super) retries: u32,

    /// No progress bar and no summary: nothing on standard error but errors and what commands
    /// write there.
    #[arg(long, short)]
    pub(super) quiet: bool,

    /// Print one JSON object when all is over, and nothing else on standard output: for each
    /// command how it ended (status, signal, timed_out, attempts, seconds), its worker and PUs,
    /// and what it wrote; then a summary.
    ///
    /// stdout and stderr are text. Where a command wrote bytes that are no UTF-8, the text has
    /// U+FFFD in their place, and stdout_base64 or stderr_base64 has the bytes.
    #[arg(long)]
    pub(super) json: bool,

    #[command(flatten)]
    pub(super) place: PlaceArgs,
}

/// Which machine is looked at.
#[derive(Debug, Args)]
pub(super) struct MachineArgs {
    /// Read another machine's /sys and /proc from under this directory.
    #[arg(long, value_name = "DIR", conflicts_with = "synthetic")]
    pub(super) root: Option<PathBuf>,

    /// Take a machine made up in words instead, such as "package:2 core:4 pu:2".
    #[arg(long, value_name = "TEXT")]
    pub(super) synthetic: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct TopoArgs {
    #[command(flatten)]
    pub(super) machine: MachineArgs,

    /// Print the dump as one JSON object; with a placement option it holds the plan.
    #[arg(long, conflicts_with = "svg")]
    pub(super) json: bool,

    /// Write the picture to this file as SVG.
    #[arg(long, value_name = "FILE.svg")]
    pub(super) svg: Option<PathBuf>,

    #[command(flatten)]
    pub(super) place: PlaceArgs,
}

#[derive(Debug, Args)]
pub(super) struct DoctorArgs {
    #[command(flatten)]
    pub(super) machine: MachineArgs,

    /// Print the findings as one JSON array.
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Clone, Copy, Subcommand)]
pub(super) enum SegmentsAction {
    /// List the named segments of this user.
    List,
    /// Remove those that nobody uses any more.
    Gc,
}
