//! The built-in kernels as jobs: how each fills an array, runs over it, and reads its slots.
//!
//! Those that walk a range of integers rather than an array are in `ranges.rs`.

use std::io::{self, Write};
use std::path::Path;

use bytemuck::{Pod, TransparentWrapper, Zeroable};
use ndarray::Ix1;
use pinpool::{Args, Bool, Checkpoint, Ctx, Param, Pool, SharedArray};
use pinpool_kernels::primes::{Factors, factor_slice, is_prime_slice};
use pinpool_kernels::{tree_fold, trig_power_in_place_sum_undo, trig_power_sum};
use serde::Serialize;

use super::exit::Exit;
use super::factor;
use super::failure::Failure;
use super::output;
use super::plan::{Kernel, Plan, Source};
use super::ranges::{CountPrimes, PrimePi};
use super::report::Count;

/// The job number of the draws, whenever they are drawn: filling again gives the same elements.
const FILL_STREAM: u64 = 0;

/// What a subcommand does with the job that the command line names, whichever it is.
pub(super) trait WithJob {
    fn with<J: Job>(self, job: J, plan: &Plan) -> Result<Exit, Failure>;
}

/// Hands the plan's job to a subcommand.
pub(super) fn with_job(plan: &Plan, then: impl WithJob) -> Result<Exit, Failure> {
    let range = match plan.source {
        Source::Drawn { low, high, .. } => Range { low, high },
        Source::File(_) | Source::Array(_) => Range { low: 0, high: 0 },
    };
    match plan.kernel {
        Kernel::TrigPower { rounds, in_place } => then.with(TrigPower { rounds, in_place }, plan),
        Kernel::IsPrime => then.with(IsPrime(range), plan),
        Kernel::Factor => then.with(Factor(range), plan),
        Kernel::CountPrimes { low, high, span } => then.with(CountPrimes { low, high, span }, plan),
        Kernel::PrimePi { n } => then.with(PrimePi { n }, plan),
    }
}

/// How a job is run: the results have the same bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Form<'c> {
    /// The call waits for the job.
    #[default]
    Blocking,
    /// The job is started in a scope and its result fetched.
    Scoped,
    /// As blocking, with a checkpoint.
    Kept(&'c Checkpoint),
    /// The array is a part of a larger one: its first chunk has this number, of so many.
    #[cfg(feature = "mpi")]
    Part { first: u64, total: u64 },
}

impl Form<'_> {
    /// A job that the caller waits for.
    pub(super) fn job(self, pool: &Pool) -> pinpool::Job<'_> {
        match self {
            #[cfg(feature = "mpi")]
            Form::Part { first, total } => pool.job().part_of(first, total),
            Form::Kept(checkpoint) => pool.job().checkpoint(checkpoint.clone()),
            Form::Blocking | Form::Scoped => pool.job(),
        }
    }

    pub(super) fn map<'env, A, F, R>(
        self,
        pool: &'env Pool,
        args: A,
        f: F,
    ) -> pinpool::Result<SharedArray<R, Ix1>>
    where
        A: Args + 'env,
        F: for<'w> Fn(A::Item<'w>, &mut Ctx) -> R + Copy + Send + 'static,
        R: Pod,
    {
        match self {
            Form::Scoped => pool.scope(|scope| scope.map(args, f)?.get()),
            _ => self.job(pool).map(args, f),
        }
    }

    pub(super) fn for_each<'env, A, F>(self, pool: &'env Pool, args: A, f: F) -> pinpool::Result<()>
    where
        A: Args + 'env,
        F: for<'w> Fn(A::Item<'w>, &mut Ctx) + Copy + Send + 'static,
    {
        match self {
            Form::Scoped => pool.scope(|scope| scope.for_each(args, f)?.get()),
            _ => self.job(pool).for_each(args, f),
        }
    }
}

/// Bytes that a kernel moves, by its text: of the array and of the results.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct Traffic {
    /// Read for an element.
    pub(super) read_bytes: u64,
    /// Written for an element.
    pub(super) written_bytes: u64,
    /// Written for a chunk, where a chunk has one result.
    pub(super) slot_bytes: u64,
}

impl Traffic {
    /// All of it.
    pub(super) fn bytes(self, elements: usize, chunk: usize) -> u64 {
        let chunks = elements.div_ceil(chunk) as u64;
        (self.read_bytes + self.written_bytes) * elements as u64 + self.slot_bytes * chunks
    }

    /// Whether it writes more than a slot here and there.
    pub(super) fn writes(self) -> bool {
        self.written_bytes > 0
    }
}

/// A kernel over an array of `Element`s that gives an array of `Slot`s.
pub(super) trait Job: Copy {
    type Element: Pod;
    type Slot: Pod;

    /// Whether the kernel changes the array.
    fn changes_array(self) -> bool {
        false
    }

    /// Whether the text form of the results, or what `--output` saves, needs the elements too.
    #[cfg(feature = "mpi")]
    fn reads_array(self) -> bool {
        false
    }

    /// Elements and chunk length in the user's terms, of an array of `rows` in chunks of `chunk`.
    fn geometry(self, rows: usize, chunk: usize) -> (usize, usize) {
        (rows, chunk)
    }

    /// What it moves, where it goes through an array.
    fn traffic(self) -> Option<Traffic> {
        None
    }

    /// Draws the elements, each chunk's from its own stream.
    fn fill(
        self,
        pool: &Pool,
        array: &mut SharedArray<Self::Element, Ix1>,
        chunk: usize,
        form: Form,
    ) -> pinpool::Result<()>;

    /// Runs the kernel over all chunks.
    fn run(
        self,
        pool: &Pool,
        array: &mut SharedArray<Self::Element, Ix1>,
        chunk: usize,
        form: Form<'_>,
    ) -> pinpool::Result<SharedArray<Self::Slot, Ix1>>;

    /// The total of the slots, and what the kernel counts.
    fn total(self, slots: &[Self::Slot]) -> (f64, Count);

    /// Saves what `--output` promises.
    fn save(
        self,
        array: &SharedArray<Self::Element, Ix1>,
        slots: &SharedArray<Self::Slot, Ix1>,
        path: &Path,
    ) -> Result<(), Failure>;

    /// Writes the results one by one, where that is the kernel's text form.
    fn list(
        self,
        _array: &[Self::Element],
        _slots: &[Self::Slot],
        _out: &mut impl Write,
    ) -> io::Result<Listed> {
        Ok(Listed::No)
    }
}

/// Whether a kernel's text form lists its results.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Listed {
    Yes,
    No,
}

/// Rounds of a ← (sin a + cos a)^(a²), summed by chunk.
#[derive(Debug, Clone, Copy)]
pub(super) struct TrigPower {
    pub(super) rounds: u32,
    pub(super) in_place: bool,
}

impl Job for TrigPower {
    type Element = f64;
    type Slot = f64;

    fn changes_array(self) -> bool {
        self.in_place
    }

    fn traffic(self) -> Option<Traffic> {
        // The undo copy is not counted: it is used again for each chunk, and stays in the cache.
        let written_bytes = if self.in_place { 8 } else { 0 };
        Some(Traffic { read_bytes: 8, written_bytes, slot_bytes: 8 })
    }

    fn fill(
        self,
        pool: &Pool,
        array: &mut SharedArray<f64, Ix1>,
        chunk: usize,
        form: Form,
    ) -> pinpool::Result<()> {
        let draw = form.job(pool).stream(FILL_STREAM);
        draw.for_each(array.chunks_out(chunk), |mut c, ctx| ctx.rng().fill_uniform(&mut c))
    }

    fn run(
        self,
        pool: &Pool,
        array: &mut SharedArray<f64, Ix1>,
        chunk: usize,
        form: Form<'_>,
    ) -> pinpool::Result<SharedArray<f64, Ix1>> {
        let rounds = Param(self.rounds);
        if self.in_place {
            form.map(pool, (array.chunks_undo(chunk), rounds), |(c, rounds), _| {
                let (a, undo) = c.with_undo();
                trig_power_in_place_sum_undo(a, rounds, undo)
            })
        } else {
            form.map(pool, (array.chunks(chunk), rounds), |(c, rounds), _| {
                trig_power_sum(&c, rounds)
            })
        }
    }

    fn total(self, slots: &[f64]) -> (f64, Count) {
        (tree_fold(slots), Count::None {})
    }

    fn save(
        self,
        _array: &SharedArray<f64, Ix1>,
        slots: &SharedArray<f64, Ix1>,
        path: &Path,
    ) -> Result<(), Failure> {
        Ok(slots.save(path)?)
    }
}

/// Integers that are drawn from [low, high).
#[derive(Debug, Clone, Copy)]
pub(super) struct Range {
    pub(super) low: u64,
    pub(super) high: u64,
}

impl Range {
    fn fill(
        self,
        pool: &Pool,
        array: &mut SharedArray<u64, Ix1>,
        chunk: usize,
        form: Form,
    ) -> pinpool::Result<()> {
        let range = Param([self.low, self.high]);
        let draw = form.job(pool).stream(FILL_STREAM);
        draw.for_each((array.chunks_out(chunk), range), |(mut c, [low, high]), ctx| {
            ctx.rng().fill_range(low, high, &mut c);
        })
    }
}

/// Whether each number is prime.
#[derive(Debug, Clone, Copy)]
pub(super) struct IsPrime(pub(super) Range);

impl Job for IsPrime {
    type Element = u64;
    type Slot = Bool;

    fn traffic(self) -> Option<Traffic> {
        let written_bytes = size_of::<Bool>() as u64;
        Some(Traffic { read_bytes: 8, written_bytes, slot_bytes: 0 })
    }

    fn fill(
        self,
        pool: &Pool,
        array: &mut SharedArray<u64, Ix1>,
        chunk: usize,
        form: Form,
    ) -> pinpool::Result<()> {
        self.0.fill(pool, array, chunk, form)
    }

    fn run(
        self,
        pool: &Pool,
        array: &mut SharedArray<u64, Ix1>,
        chunk: usize,
        form: Form<'_>,
    ) -> pinpool::Result<SharedArray<Bool, Ix1>> {
        let mut prime = SharedArray::zeros(array.len())?;
        form.for_each(
            pool,
            (array.chunks(chunk), prime.chunks_out(chunk)),
            |(numbers, mut prime), _| {
                let prime: &mut [Bool] = prime.as_slice_mut();
                is_prime_slice(numbers.as_slice(), bytemuck::cast_slice_mut(prime));
            },
        )?;
        Ok(prime)
    }

    fn total(self, slots: &[Bool]) -> (f64, Count) {
        let primes = slots.iter().filter(|prime| prime.get()).count() as u64;
        (primes as f64, Count::Primes(primes))
    }

    fn save(
        self,
        _array: &SharedArray<u64, Ix1>,
        slots: &SharedArray<Bool, Ix1>,
        path: &Path,
    ) -> Result<(), Failure> {
        Ok(slots.save(path)?)
    }
}

/// The prime factors of each number.
#[derive(Debug, Clone, Copy)]
pub(super) struct Factor(pub(super) Range);

/// [`Factors`] as a slot.
#[derive(Debug, Clone, Copy)]
#[repr(transparent)]
pub(super) struct FactorsSlot(Factors);

// SAFETY: `Factors` is `repr(C)` of 17 u64, and all zeros is its record without factors.
unsafe impl Zeroable for FactorsSlot {}
// SAFETY: `repr(transparent)` over `Factors`, which is `repr(C)` of 17 u64: no padding, any bits
// are valid, no pointers.
unsafe impl Pod for FactorsSlot {}
// SAFETY: `repr(transparent)` over `Factors`.
unsafe impl TransparentWrapper<Factors> for FactorsSlot {}

impl Job for Factor {
    type Element = u64;
    type Slot = FactorsSlot;

    #[cfg(feature = "mpi")]
    fn reads_array(self) -> bool {
        true
    }

    fn traffic(self) -> Option<Traffic> {
        let written_bytes = size_of::<FactorsSlot>() as u64;
        Some(Traffic { read_bytes: 8, written_bytes, slot_bytes: 0 })
    }

    fn fill(
        self,
        pool: &Pool,
        array: &mut SharedArray<u64, Ix1>,
        chunk: usize,
        form: Form,
    ) -> pinpool::Result<()> {
        self.0.fill(pool, array, chunk, form)
    }

    fn run(
        self,
        pool: &Pool,
        array: &mut SharedArray<u64, Ix1>,
        chunk: usize,
        form: Form<'_>,
    ) -> pinpool::Result<SharedArray<FactorsSlot, Ix1>> {
        let mut factors = SharedArray::zeros(array.len())?;
        form.for_each(
            pool,
            (array.chunks(chunk), factors.chunks_out(chunk)),
            |(numbers, mut out), _| {
                let out: &mut [FactorsSlot] = out.as_slice_mut();
                factor_slice(numbers.as_slice(), FactorsSlot::peel_slice_mut(out));
            },
        )?;
        Ok(factors)
    }

    fn total(self, slots: &[FactorsSlot]) -> (f64, Count) {
        let factors =
            slots.iter().map(|slot| u64::from(slot.0.count_with_multiplicity())).sum::<u64>();
        (factors as f64, Count::Factors(factors))
    }

    fn save(
        self,
        array: &SharedArray<u64, Ix1>,
        slots: &SharedArray<FactorsSlot, Ix1>,
        path: &Path,
    ) -> Result<(), Failure> {
        let matrix =
            output::factor_matrix(array.as_slice(), FactorsSlot::peel_slice(slots.as_slice()))?;
        Ok(matrix.save(path)?)
    }

    fn list(
        self,
        array: &[u64],
        slots: &[FactorsSlot],
        out: &mut impl Write,
    ) -> io::Result<Listed> {
        factor::write_lines(array, FactorsSlot::peel_slice(slots), out)?;
        Ok(Listed::Yes)
    }
}
