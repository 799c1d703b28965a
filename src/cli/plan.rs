//! From the words of the command line to the resolved plan of a job; all validation is here.

#![forbid(unsafe_code)]

use std::env;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use pinpool_kernels::isa::{self, Isa, IsaError};

use super::args::{JobArgs, KernelName};
use super::numbers::{self, NumberError};
use super::pages::PagesArgs;
use super::ranges;

/// The program's kernels are vector kernels: a default chunk is not shorter than this.
const MIN_DEFAULT_CHUNK: usize = 64;
/// Longest default chunk: 256 KiB of 8-byte elements, so that a chunk's journal stays in L2.
const MAX_DEFAULT_CHUNK: usize = 32_768;
/// Default chunks are this many, as far as the two bounds above let them.
const DEFAULT_CHUNKS: usize = 256;
/// Who has what, in the words of errors.
const WITH_RANGE: &str = "is-prime, factor and count-primes";
const WITH_ARRAY: &str = "trig-power, is-prime and factor";
pub(super) const DEFAULT_SEED: u64 = 42;
const DEFAULT_ROUNDS: u32 = 3;

/// What is wrong with what was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum UsageError {
    #[error(
        "a chunk of {chunk} is longer than the array of {elements}; give --chunk {elements} or less"
    )]
    ChunkTooLong { chunk: usize, elements: usize },
    #[error("{option} is for {kernels}; leave it out")]
    NotForKernel { option: &'static str, kernels: &'static str },
    #[error(
        "{option} is for arrays that are made, and --array is a file that is there; leave it out"
    )]
    NotForFile { option: &'static str },
    #[error("no integer lies in [{low}, {high}); give a --high above --low")]
    EmptyRange { low: u64, high: u64 },
    #[error("{rounds} rounds are too many; give at most {}", u32::MAX)]
    TooManyRounds { rounds: u64 },
    #[error("prime-pi needs its number; give it behind the kernel, such as `prime-pi 1e9`")]
    NoNumber,
    #[error(
        "counting the primes up to {n} takes {} GiB; give prime-pi at most {}, or count-primes a range",
        ranges::prime_pi_bytes(*n) >> 30,
        ranges::MOST_PRIME_PI
    )]
    PrimePiTooLarge { n: u64 },
    #[cfg(not(feature = "mpi"))]
    #[error(
        "this program was built without MPI; build it with `cargo build --release --features mpi`, \
         which needs an MPI and libclang (Debian: libopenmpi-dev openmpi-bin libclang-dev)"
    )]
    NoMpi,
    #[error("no command was given; give each as one argument, or one a line on standard input")]
    NoCommands,
    #[error("command {line} ({text}): {problem}")]
    Command { line: usize, text: String, problem: &'static str },
    #[error(
        "an --input is read where it lies with --pages system and copied into memory with other kinds, so their times do not compare; leave system out, or give --in-place, which copies it always"
    )]
    FileAndCopies,
    #[error(
        "--array changes the file itself; give --checkpoint to begin or --resume to go on, or --input to work on a copy"
    )]
    ArrayAlone,
    #[error("PINPOOL_SEED: {0}")]
    Seed(NumberError),
    #[error("PINPOOL_ISA: {0}")]
    IsaVariable(IsaError),
    #[error("--isa: {0}")]
    Isa(IsaError),
}

/// The resolved plan of a job: all that its result depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) kernel: Kernel,
    pub(super) source: Source,
    /// As asked for; the default depends on the number of elements.
    chunk: Option<usize>,
    pub(super) seed: u64,
    pub(super) isa: Isa,
}

/// A kernel with its parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kernel {
    TrigPower {
        rounds: u32,
        in_place: bool,
    },
    IsPrime,
    Factor,
    /// The range, and the length of a chunk of it.
    CountPrimes {
        low: u64,
        high: u64,
        span: u64,
    },
    PrimePi {
        n: u64,
    },
}

/// Where the elements come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Source {
    /// Drawn from the chunks' streams: doubles in [0, 1), or integers in a range.
    Drawn { elements: usize, low: u64, high: u64 },
    /// Read from a `.npy` file.
    File(PathBuf),
    /// A `.npy` file itself.
    Array(PathBuf),
}

impl Plan {
    /// Checks the words of a job and fills in the defaults, the tutorials' jobs.
    pub(super) fn of(args: &JobArgs) -> Result<Plan, UsageError> {
        let pi = args.kernel == KernelName::PrimePi;
        let one =
            "a number behind the kernel (for one number: pinpool factor N; for many: --input)";
        refuse(args.number.is_some() && !pi, one, "prime-pi")?;
        if matches!(args.kernel, KernelName::TrigPower | KernelName::PrimePi) {
            refuse(args.low.is_some(), "--low", WITH_RANGE)?;
            refuse(args.high.is_some(), "--high", WITH_RANGE)?;
        }
        if matches!(args.kernel, KernelName::CountPrimes | KernelName::PrimePi) {
            refuse(args.elements.is_some(), "--elements", WITH_ARRAY)?;
            refuse(args.input.is_some(), "--input", WITH_ARRAY)?;
            refuse(args.seed.is_some(), "--seed", WITH_ARRAY)?;
            refuse(args.chunk.is_some() && pi, "--chunk", "the other kernels")?;
        }
        let kernel = match args.kernel {
            KernelName::TrigPower => {
                Kernel::TrigPower { rounds: rounds(args.rounds)?, in_place: args.in_place }
            }
            KernelName::IsPrime => Kernel::IsPrime,
            KernelName::Factor => Kernel::Factor,
            KernelName::CountPrimes => count_primes(args)?,
            KernelName::PrimePi => prime_pi(args)?,
        };
        if !matches!(kernel, Kernel::TrigPower { .. }) {
            refuse(args.rounds.is_some(), "--rounds", "trig-power")?;
            refuse(args.in_place, "--in-place", "trig-power")?;
        }
        let plan = Plan {
            kernel,
            source: source(args, kernel)?,
            chunk: if kernel.is_range() { Some(1) } else { args.chunk },
            seed: seed(args.seed)?,
            isa: instruction_set(args.isa)?,
        };
        if let Source::Drawn { elements, .. } = plan.source {
            plan.chunk(elements)?;
        }
        Ok(plan)
    }

    /// Refuses options for the array's memory where the kernel has no array.
    pub(super) fn check_pages(&self, pages: &PagesArgs) -> Result<(), UsageError> {
        match pages.asked() {
            Some(option) if self.kernel.is_range() => refuse(true, option, WITH_ARRAY),
            Some(option) if matches!(self.source, Source::Array(_)) => {
                Err(UsageError::NotForFile { option })
            }
            _ => Ok(()),
        }
    }

    /// Refuses kinds of pages of which some are of a copy, and one is of the file itself.
    pub(super) fn check_medium(&self, kinds: &[PagesArgs]) -> Result<(), UsageError> {
        let in_place = matches!(self.kernel, Kernel::TrigPower { in_place: true, .. });
        let copied = |pages: &PagesArgs| in_place || pages.asked().is_some();
        let mixed = kinds.iter().any(copied) && !kinds.iter().all(copied);
        if mixed && matches!(self.source, Source::File(_)) {
            return Err(UsageError::FileAndCopies);
        }
        Ok(())
    }

    /// With a file itself as the array, which needs a checkpoint.
    pub(super) fn on_file(self, path: PathBuf, kept: bool) -> Result<Plan, UsageError> {
        if kept {
            Ok(Plan { source: Source::Array(path), ..self })
        } else {
            Err(UsageError::ArrayAlone)
        }
    }

    /// All that a job's results depend on but the chunk length, in a line; of an input file, which
    /// it is and whether it is still the same.
    pub(super) fn identity(&self) -> io::Result<String> {
        let Plan { kernel, source, chunk: _, seed, isa } = self;
        let name = kernel.name();
        let kernel = match *kernel {
            Kernel::TrigPower { rounds, in_place } => {
                format!("{name}, {rounds} rounds{}", if in_place { ", in place" } else { "" })
            }
            Kernel::IsPrime | Kernel::Factor => name.to_owned(),
            // Its source and span follow from these and the chunk length.
            Kernel::CountPrimes { low, high, span: _ } => {
                return Ok(format!("{name}, [{low}, {high}), {isa}"));
            }
            Kernel::PrimePi { n } => return Ok(format!("{name}, {n}, {isa}")),
        };
        let source = match source {
            Source::Drawn { elements, low, high } => {
                format!("{elements} elements drawn from [{low}, {high}), seed {seed}")
            }
            Source::File(path) | Source::Array(path) => {
                let file = fs::metadata(path)?;
                let (bytes, seconds, nanos) = (file.len(), file.mtime(), file.mtime_nsec());
                format!("{path:?} of {bytes} bytes, changed at {seconds}.{nanos:09}")
            }
        };
        Ok(format!("{kernel}, {source}, {isa}"))
    }

    /// The chunk length for an array of so many elements; known to the caller or by default, it
    /// enters the result, so it follows from the number of elements alone.
    pub(super) fn chunk(&self, elements: usize) -> Result<usize, UsageError> {
        match self.chunk {
            Some(chunk) if chunk > elements => Err(UsageError::ChunkTooLong { chunk, elements }),
            Some(chunk) => Ok(chunk),
            None => {
                Ok(elements.div_ceil(DEFAULT_CHUNKS).clamp(MIN_DEFAULT_CHUNK, MAX_DEFAULT_CHUNK))
            }
        }
    }
}

impl Kernel {
    /// Whether it walks a range of integers and not an array.
    pub(super) fn is_range(self) -> bool {
        matches!(self, Kernel::CountPrimes { .. } | Kernel::PrimePi { .. })
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Kernel::TrigPower { .. } => "trig-power",
            Kernel::IsPrime => "is-prime",
            Kernel::Factor => "factor",
            Kernel::CountPrimes { .. } => "count-primes",
            Kernel::PrimePi { .. } => "prime-pi",
        }
    }
}

fn count_primes(args: &JobArgs) -> Result<Kernel, UsageError> {
    let (low, high) = (args.low.unwrap_or(0), args.high.unwrap_or(1_000_000_000));
    if low >= high {
        return Err(UsageError::EmptyRange { low, high });
    }
    if let Some(chunk) = args.chunk
        && chunk as u64 > high - low
    {
        return Err(UsageError::ChunkTooLong { chunk, elements: (high - low) as usize });
    }
    let span = args.chunk.map_or_else(|| ranges::default_span(low, high), |chunk| chunk as u64);
    Ok(Kernel::CountPrimes { low, high, span })
}

fn prime_pi(args: &JobArgs) -> Result<Kernel, UsageError> {
    let n = args.number.ok_or(UsageError::NoNumber)?;
    if n > ranges::MOST_PRIME_PI {
        return Err(UsageError::PrimePiTooLarge { n });
    }
    Ok(Kernel::PrimePi { n })
}

fn source(args: &JobArgs, kernel: Kernel) -> Result<Source, UsageError> {
    match kernel {
        Kernel::CountPrimes { low, high, span } => {
            let elements = (high - low).div_ceil(span) as usize;
            return Ok(Source::Drawn { elements, low, high });
        }
        Kernel::PrimePi { n } => return Ok(Source::Drawn { elements: 1, low: 0, high: n }),
        _ => {}
    }
    if let Some(path) = &args.input {
        return Ok(Source::File(path.clone()));
    }
    let (elements, low, high) = match kernel {
        Kernel::IsPrime => (1000, 100_000_000_000_000, 500_000_000_000_000),
        Kernel::Factor => (100, 10_000_000_000, 1_000_000_000_000),
        _ => (40_000_000, 0, 1),
    };
    let (low, high) = (args.low.unwrap_or(low), args.high.unwrap_or(high));
    if low >= high {
        return Err(UsageError::EmptyRange { low, high });
    }
    Ok(Source::Drawn { elements: args.elements.unwrap_or(elements), low, high })
}

fn rounds(asked: Option<u64>) -> Result<u32, UsageError> {
    match asked {
        None => Ok(DEFAULT_ROUNDS),
        Some(rounds) => u32::try_from(rounds).map_err(|_| UsageError::TooManyRounds { rounds }),
    }
}

fn seed(asked: Option<u64>) -> Result<u64, UsageError> {
    match (asked, env::var("PINPOOL_SEED")) {
        (Some(seed), _) => Ok(seed),
        (None, Ok(text)) if !text.is_empty() => numbers::integer(&text).map_err(UsageError::Seed),
        (None, _) => Ok(DEFAULT_SEED),
    }
}

/// The instruction set for the whole run; from here on the kernels of this process use it.
fn instruction_set(asked: Option<Isa>) -> Result<Isa, UsageError> {
    let isa = match asked {
        Some(isa) => isa,
        None => isa::from_env().map_err(UsageError::IsaVariable)?.unwrap_or_else(isa::best),
    };
    isa::force(isa).map_err(UsageError::Isa)?;
    Ok(isa)
}

fn refuse(given: bool, option: &'static str, kernels: &'static str) -> Result<(), UsageError> {
    if given { Err(UsageError::NotForKernel { option, kernels }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::super::args::{Cli, Command};
    use super::*;
    use clap::Parser;

    fn plan(line: &str) -> Result<Plan, UsageError> {
        let words = ["pinpool", "run"].into_iter().chain(line.split_whitespace());
        match Cli::try_parse_from(words).unwrap().command {
            Command::Run(args) => Plan::of(&args.job),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_defaults_are_the_tutorials_jobs() {
        let trig = plan("trig-power").unwrap();
        assert_eq!(trig.source, Source::Drawn { elements: 40_000_000, low: 0, high: 1 });
        assert_eq!(trig.kernel, Kernel::TrigPower { rounds: 3, in_place: false });
        assert_eq!(trig.chunk(40_000_000), Ok(32_768));
        let (low, high) = (100_000_000_000_000, 500_000_000_000_000);
        assert_eq!(plan("is-prime").unwrap().source, Source::Drawn { elements: 1000, low, high });
        let (low, high) = (10_000_000_000, 1_000_000_000_000);
        assert_eq!(plan("factor").unwrap().source, Source::Drawn { elements: 100, low, high });
    }

    #[test]
    fn the_default_chunk_follows_from_the_number_of_elements_alone() {
        let plan = plan("trig-power").unwrap();
        for (elements, chunk) in [(1, 64), (64 * 256, 64), (64 * 256 + 1, 65), (1 << 30, 32_768)] {
            assert_eq!(plan.chunk(elements), Ok(chunk));
        }
    }

    #[test]
    fn a_chunk_longer_than_the_array_is_refused() {
        let error = UsageError::ChunkTooLong { chunk: 11, elements: 10 };
        assert_eq!(plan("trig-power --elements 10 --chunk 11"), Err(error));
        assert!(plan("trig-power --elements 10 --chunk 10").is_ok());
        assert!(plan("trig-power --elements 10").is_ok());
    }

    #[test]
    fn options_of_another_kernel_are_refused_rather_than_passed_over() {
        for line in [
            "is-prime --rounds 3",
            "factor --in-place",
            "trig-power --low 1",
            "trig-power --high 9",
        ] {
            assert!(matches!(plan(line), Err(UsageError::NotForKernel { .. })), "{line}");
        }
    }

    #[test]
    fn an_empty_range_is_refused() {
        let error = UsageError::EmptyRange { low: 10, high: 10 };
        assert_eq!(plan("is-prime --low 10 --high 10"), Err(error));
        // A low above the default high would draw from nothing.
        assert!(plan("factor --low 1e15").is_err());
    }

    #[test]
    fn more_rounds_than_a_kernel_counts_are_refused() {
        assert_eq!(
            plan("trig-power --rounds 5G"),
            Err(UsageError::TooManyRounds { rounds: 5_000_000_000 })
        );
    }
}
