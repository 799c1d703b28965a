//! Jobs as C says them, the calls that start one, and those that wait for its end.

use std::ffi::{c_char, c_void};
use std::sync::Arc;
use std::time::Duration;

use super::array::{self, Array};
use super::builtin;
use super::dtype::{self, CDtype, PP_NONE, PP_RAW};
use super::foreign;
use super::kernel::Kernel;
use super::pending::Pending;
use super::plan::{Plan, seconds};
use super::pointers;
use super::pool::{self, Pool};
use super::status::{Failure, Status, guarded};
use crate::array::AnyArray;
use crate::config::INLINE_RESULT_BYTES;
use crate::element::Dtype;
use crate::pool::untyped;

/// How a job uses an array: one of the constants below.
pub type Access = u32;

/// Chunks, read only.
pub const PP_READ: Access = 0;
/// Chunks, changed in place. An undo copy is kept, so that a chunk whose kernel fails, or whose worker
/// dies, is put back as it was.
pub const PP_UPDATE: Access = 1;
/// Chunks, overwritten without being read. No undo copy is kept.
pub const PP_OUT: Access = 2;
/// The whole array for every chunk, read only.
pub const PP_WHOLE: Access = 3;

/// `stream` of a job: the order of calls numbers the random streams.
pub const PP_STREAM_AUTO: u64 = u64::MAX;

/// Told how far a job is, on the thread that waits for it.
pub type ProgressFunction = Option<unsafe extern "C" fn(done: u64, chunks: u64, data: *mut c_void)>;

/// An array among the arguments of a job.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct Arg {
    /// The array.
    pub array: *const Array,
    /// What the job does with it.
    pub access: Access,
    /// Rows of a chunk; 0: a default that follows from the shape of the first array that has chunks
    /// (`pp_array_default_chunk`, 64 at least for a built-in kernel).
    pub chunk_rows: usize,
}

/// A job: what the kernel gets, and how it is run. Start from `PP_JOB_INIT`, which knows the size.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct Job {
    /// `sizeof(pp_job)`, by which the library tells older programs from newer ones.
    pub size: usize,
    /// The arrays; those with chunks must have the same number of them.
    pub args: *const Arg,
    /// How many there are; for a kernel of one's own 7 at most, and 6 where it has `params`.
    pub nargs: usize,
    /// Plain data for every chunk, copied into the job.
    pub params: *const c_void,
    /// Bytes of `params`, 1024 at most.
    pub params_bytes: usize,
    /// How many chunks, where no array has chunks; else 0.
    pub chunks: u64,
    /// The job number of the random streams, below 2^63, or `PP_STREAM_AUTO`.
    pub stream: u64,
    /// Seconds for the whole job; 0: no limit.
    pub time_limit: f64,
    /// Seconds for a chunk, after which its worker is killed; 0: no limit.
    pub chunk_timeout: f64,
    /// The first death of a worker ends the job.
    pub fail_on_death: bool,
    /// Null: nobody is told. `pp_start` does not tell anybody either, and a pool of the backend
    /// `serial` tells once, at the end.
    pub progress: ProgressFunction,
    /// Passed to `progress`.
    pub progress_data: *mut c_void,
    /// How often, in seconds.
    pub progress_seconds: f64,
}

/// What runs: a function of one's own, or a built-in one.
#[derive(Debug, Clone, Copy)]
enum What {
    Function(Kernel),
    Builtin(*const c_char),
}

/// Starts a job and gives it to `then`.
///
/// # Safety
/// The contract of this module.
unsafe fn start<T>(
    pool: *const Pool,
    what: What,
    job: *const Job,
    result: CDtype,
    then: impl FnOnce(Pending, &Plan<'_>) -> Result<T, Failure>,
) -> Result<T, Failure> {
    // SAFETY: the contract is the caller's.
    let pool = unsafe { pool::pool(pool) }?;
    // SAFETY: as above.
    let plan = unsafe { Plan::of(job) }?;
    let (description, kernel, result) = match what {
        What::Function(kernel) => {
            let foreign = foreign::locate(kernel)?;
            (plan.foreign(&foreign)?, foreign.kernel(pool.is_beside())?, slot_type(result)?)
        }
        What::Builtin(name) => {
            // SAFETY: as above.
            let builtin = builtin::find(unsafe { pointers::c_str(name, "name") }?)?;
            let offset = builtin.entry.offset().ok_or_else(|| {
                Failure::invalid("the built-in kernels are in no loaded object; report this bug")
            })?;
            let kernel = untyped::Kernel { entry: builtin.entry, offset };
            (plan.builtin(&builtin)?, kernel, slot_type(builtin.result)?)
        }
    };
    let running = plan.options(pool)?.start_any(description, kernel, result)?;
    then(Pending::new(Arc::clone(pool), running), &plan)
}

fn slot_type(code: CDtype) -> Result<Option<Dtype>, Failure> {
    if code == PP_NONE { Ok(None) } else { dtype::dtype(code).map(Some) }
}

/// Waits for a job, telling how far it is, and gives its results.
fn end(mut pending: Pending, plan: &Plan<'_>) -> Result<Option<AnyArray>, Failure> {
    if let Some(tell) = plan.job.progress {
        let every = seconds(plan.job.progress_seconds, "progress_seconds")?;
        let every = every.unwrap_or(Duration::from_millis(100));
        let told = |pending: &Pending| {
            let progress = pending.progress();
            // SAFETY: the contract of this module: a function of this type, and its data.
            unsafe { tell(progress.done, progress.chunks, plan.job.progress_data) };
        };
        while !pending.wait(Some(every)) {
            told(&pending);
        }
        told(&pending);
    }
    pending.take()
}

/// # Safety
/// The contract of this module.
unsafe fn map(
    pool: *const Pool,
    what: What,
    job: *const Job,
    result: CDtype,
    results: Option<*mut *mut Array>,
) -> Result<(), Failure> {
    let place = results.map(|results| {
        // SAFETY: the contract is the caller's.
        unsafe { pointers::Place::new(results, std::ptr::null_mut(), "results") }
    });
    let place = place.transpose()?;
    // SAFETY: as above.
    let slots = unsafe { start(pool, what, job, result, end) }?;
    if let (Some(place), Some(slots)) = (place, slots) {
        place.put(array::give(slots));
    }
    Ok(())
}

/// Runs a function of one's own once for each chunk; the results lie in a new array, one slot a
/// chunk, where the workers wrote them.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pp_map(
    pool: *const Pool,
    kernel: Kernel,
    job: *const Job,
    result: CDtype,
    results: *mut *mut Array,
) -> Status {
    // SAFETY: the contract of this module.
    guarded(|| unsafe { map(pool, What::Function(kernel), job, result, Some(results)) })
}

/// Runs a function of one's own once for each chunk, for what it does to its chunks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pp_for_each(pool: *const Pool, kernel: Kernel, job: *const Job) -> Status {
    // SAFETY: the contract of this module.
    guarded(|| unsafe { map(pool, What::Function(kernel), job, PP_NONE, None) })
}

/// Runs a built-in kernel, by its name. `results` is set to null by those that have none, and may be
/// null for them.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pp_builtin(
    pool: *const Pool,
    name: *const c_char,
    job: *const Job,
    results: *mut *mut Array,
) -> Status {
    let results = (!results.is_null()).then_some(results);
    // SAFETY: the contract of this module.
    guarded(|| unsafe { map(pool, What::Builtin(name), job, PP_NONE, results) })
}

/// Runs a function of one's own once, on any worker, and copies its result of `result_bytes` bytes
/// to `result`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pp_call(
    pool: *const Pool,
    kernel: Kernel,
    job: *const Job,
    result: *mut c_void,
    result_bytes: usize,
) -> Status {
    guarded(|| {
        // SAFETY: the contract of this module.
        let to = unsafe { pointers::Room::new(result, result_bytes, "result") }?;
        // SAFETY: as above.
        let pool = unsafe { pool::pool(pool) }?;
        // SAFETY: as above.
        let plan = unsafe { Plan::of(job) }?;
        let foreign = foreign::locate(kernel)?;
        let (kernel, mut description) =
            (foreign.kernel(pool.is_beside())?, plan.foreign(&foreign)?);
        if result_bytes <= INLINE_RESULT_BYTES {
            let options = plan.options(pool)?;
            let running = options.start_any_call(description, kernel, result_bytes)?;
            running.wait(pool);
            let bits = running.take(pool)?;
            let bytes = &bytemuck::cast_slice::<u64, u8>(bits.words())[..result_bytes];
            // SAFETY: as many bytes, and our own.
            unsafe { to.fill(bytes.as_ptr()) };
            return Ok(());
        }
        description.set_chunks(description.chunks.unwrap_or(1))?;
        if let Some(chunks) = description.chunks.filter(|&chunks| chunks != 1) {
            return Err(crate::ArgsError::NotACall { chunks }.into());
        }
        let size = CDtype::try_from(result_bytes).ok().filter(|&size| size < PP_RAW);
        let size = size.ok_or_else(|| Failure::invalid("the result is 2 GiB or more"))?;
        let dtype = slot_type(PP_RAW | size)?;
        let running = plan.options(pool)?.start_any(description, kernel, dtype)?;
        let slots = end(Pending::new(Arc::clone(pool), running), &plan)?;
        if let Some(slots) = slots {
            // SAFETY: the one slot is so many bytes long, and nobody else has it.
            unsafe { to.fill(slots.data()) };
        }
        Ok(())
    })
}

/// # Safety
/// The contract of this module.
unsafe fn started(
    pool: *const Pool,
    what: What,
    job: *const Job,
    result: CDtype,
    out: *mut *mut Pending,
) -> Result<(), Failure> {
    // SAFETY: the contract is the caller's.
    let out = unsafe { pointers::Place::new(out, std::ptr::null_mut(), "out") }?;
    // SAFETY: as above.
    let pending = unsafe { start(pool, what, job, result, |pending, _| Ok(pending)) }?;
    out.put(Box::into_raw(Box::new(pending)));
    Ok(())
}

/// Starts a function of one's own over chunks, and does not wait. Its arrays are the job's until it
/// is over. `result` is `PP_NONE` for a job without results.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pp_start(
    pool: *const Pool,
    kernel: Kernel,
    job: *const Job,
    result: CDtype,
    out: *mut *mut Pending,
) -> Status {
    // SAFETY: the contract of this module.
    guarded(|| unsafe { started(pool, What::Function(kernel), job, result, out) })
}

/// Starts a built-in kernel, and does not wait.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pp_start_builtin(
    pool: *const Pool,
    name: *const c_char,
    job: *const Job,
    out: *mut *mut Pending,
) -> Status {
    // SAFETY: the contract of this module.
    guarded(|| unsafe { started(pool, What::Builtin(name), job, PP_NONE, out) })
}
