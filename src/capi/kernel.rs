//! A C function as a kernel: what it is called with, and what it may call.

use std::ffi::{c_char, c_void};
use std::ptr;

use super::foreign;
use super::pointers;
use super::status::{Failure, Status, guarded, value};
use crate::args::chunk_bytes;
use crate::chunk::chunk_range;
use crate::config::MAX_ARGS;
use crate::ctx::Ctx;
use crate::entry::Call;
use crate::layout::{ArgDesc, ArgKind};

/// A kernel: it runs in a worker, once for each chunk. `result` is the chunk's slot, null where the
/// job has no results. 0 is success; anything else ends the job with `PP_KERNEL`.
pub type Kernel = Option<unsafe extern "C" fn(chunk: *const Chunk, result: *mut c_void) -> i32>;

/// One array of a job, as a kernel sees it for one chunk.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct Part {
    /// The first element of the chunk; of the whole array for `PP_WHOLE`.
    pub data: *mut c_void,
    /// Elements at `data`.
    pub len: usize,
    /// Rows at `data`: the length of axis 0.
    pub rows: usize,
    /// Elements of a row.
    pub row_len: usize,
    /// Which row of the array the first one is.
    pub first_row: u64,
    /// Bytes of an element.
    pub item_bytes: usize,
}

const NO_PART: Part =
    Part { data: ptr::null_mut(), len: 0, rows: 0, row_len: 0, first_row: 0, item_bytes: 0 };

/// What a kernel is called with.
#[derive(Debug)]
#[repr(C)]
pub struct Chunk {
    /// The number of this chunk, from 0.
    pub index: u64,
    /// How many chunks the job has.
    pub count: u64,
    /// Who runs it. A result that depends on it is outside the promise of equal bits.
    pub worker: u64,
    /// How many parts there are.
    pub nparts: usize,
    /// One for each of the job's `args`.
    pub parts: *const Part,
    /// A copy of the job's `params`, aligned to 8 bytes.
    pub params: *const c_void,
    /// Bytes of `params`.
    pub params_bytes: usize,
    /// For the functions that take a chunk; they are for the thread that runs the kernel.
    pub context: *mut Context,
}

/// What a kernel's own calls need.
#[derive(Debug)]
pub struct Context {
    ctx: *mut Ctx,
    message: Option<String>,
}

/// What the parent sees of a kernel that returned `code`.
fn returned(code: i32, message: Option<&str>) -> String {
    match message {
        None => format!("returned {code}"),
        Some(text) => format!("returned {code}: {text}"),
    }
}

/// The code in what [`returned`] made.
pub(super) fn returned_code(text: &str) -> Option<i32> {
    let rest = text.strip_prefix("returned ")?;
    rest.split_once(':').map_or(rest, |(code, _)| code).parse().ok()
}

/// Runs a C function on one chunk.
///
/// # Safety
/// As [`KernelEntry::run`](crate::entry::KernelEntry::run): the first argument is the function's
/// record, the others are arrays, and after them bytes.
pub(super) unsafe fn run(call: &mut Call<'_, '_>) -> Result<(), String> {
    let mut reader = call.reader();
    let (arg, base) = reader.next();
    let record = base.wrapping_add(arg.offset as usize);
    // SAFETY: the first argument is a whole array of bytes, mapped, which nobody writes.
    let record = unsafe { std::slice::from_raw_parts(record, arg.rows as usize) };
    let function = foreign::resolve(arg.segment, record)?;
    let mut parts = [NO_PART; MAX_ARGS];
    let (mut nparts, mut params, mut params_bytes) = (0, ptr::null(), 0);
    for _ in 1..call.desc.head.args {
        let (arg, base) = reader.next();
        if arg.kind == ArgKind::Param as u64 {
            let bytes: &[u8] = bytemuck::cast_slice(&call.desc.params);
            params = bytes[arg.offset as usize..].as_ptr().cast();
            params_bytes = arg.rows as usize;
        } else {
            parts[nparts] = part(arg, base, call.chunk);
            nparts += 1;
        }
    }
    let (count, worker) = (call.ctx.chunks(), call.ctx.worker() as u64);
    // From here on the kernel's own calls have it.
    let mut context = Context { ctx: call.ctx, message: None };
    let chunk = Chunk {
        index: call.chunk,
        count,
        worker,
        nparts,
        parts: parts.as_ptr(),
        params,
        params_bytes,
        context: &raw mut context,
    };
    let result = if call.desc.head.result_bytes == 0 { ptr::null_mut() } else { call.result };
    // SAFETY: `locate` took the place of a function of this type, and `resolve` found the same
    // place in the same object.
    let function = unsafe { std::mem::transmute::<usize, Kernel>(function) };
    let function = function.ok_or("the kernel's place is null; report this bug")?;
    // SAFETY: the contract of a kernel's author; all that the chunk speaks of is mapped, claimed by
    // this worker, and stays until the call is over.
    match unsafe { function(&raw const chunk, result.cast()) } {
        0 => Ok(()),
        code => Err(returned(code, context.message.as_deref())),
    }
}

fn part(arg: &ArgDesc, base: *mut u8, chunk: u64) -> Part {
    let (rows, start) = if arg.kind == ArgKind::Whole as u64 {
        (0..arg.rows, arg.offset as usize)
    } else {
        (chunk_range(arg.rows, arg.chunk_rows, chunk), chunk_bytes(arg, chunk).start)
    };
    let count = (rows.end - rows.start) as usize;
    let item_bytes = arg.element_bytes as usize;
    let row_len = (arg.row_bytes as usize).checked_div(item_bytes).unwrap_or(0);
    Part {
        data: base.wrapping_add(start).cast(),
        len: count * row_len,
        rows: count,
        row_len,
        first_row: rows.start,
        item_bytes,
    }
}

/// # Safety
/// `chunk` is null or what the running kernel was called with, on its own thread.
unsafe fn context<'a>(chunk: *const Chunk) -> Result<&'a mut Context, Failure> {
    // SAFETY: the contract is the caller's.
    let chunk = unsafe { pointers::borrow(chunk, "chunk") }?;
    // SAFETY: as above; the kernel's thread is in this one call.
    unsafe { pointers::borrow_mut(chunk.context, "chunk.context") }
}

/// # Safety
/// As [`context`].
unsafe fn ctx<'a>(chunk: *const Chunk) -> Result<&'a mut Ctx, Failure> {
    // SAFETY: the contract is the caller's.
    let context = unsafe { context(chunk) }?;
    // SAFETY: as above; the pointer is to the worker's own, which `run` has for the call.
    unsafe { pointers::borrow_mut(context.ctx, "chunk.context") }
}

/// The next 64 random bits of the chunk's stream: the same for any number of workers, and after a
/// crash. 0 for null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pp_next_u64(chunk: *const Chunk) -> u64 {
    // SAFETY: the contract of this module.
    value(0, || Ok(unsafe { ctx(chunk) }?.rng().next_u64()))
}

/// The next draw of the chunk's stream as a number in [0, 1); 0 for null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pp_next_f64(chunk: *const Chunk) -> f64 {
    // SAFETY: the contract of this module.
    value(0.0, || Ok(unsafe { ctx(chunk) }?.rng().next_f64()))
}

/// Fills `n` doubles with numbers in [0, 1) from the chunk's stream.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pp_fill_uniform(chunk: *const Chunk, out: *mut f64, n: usize) -> Status {
    guarded(|| {
        // SAFETY: the contract of this module.
        let out = unsafe { pointers::slice_mut(out, n, "out") }?;
        // SAFETY: as above.
        unsafe { ctx(chunk) }?.rng().fill_uniform(out);
        Ok(())
    })
}

/// Fills `n` floats with numbers in [0, 1) from the chunk's stream.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pp_fill_uniform_f32(
    chunk: *const Chunk,
    out: *mut f32,
    n: usize,
) -> Status {
    guarded(|| {
        // SAFETY: the contract of this module.
        let out = unsafe { pointers::slice_mut(out, n, "out") }?;
        // SAFETY: as above.
        unsafe { ctx(chunk) }?.rng().fill_uniform_f32(out);
        Ok(())
    })
}

/// Fills `n` doubles with standard normal numbers from the chunk's stream.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pp_fill_normal(chunk: *const Chunk, out: *mut f64, n: usize) -> Status {
    guarded(|| {
        // SAFETY: the contract of this module.
        let out = unsafe { pointers::slice_mut(out, n, "out") }?;
        // SAFETY: as above.
        unsafe { ctx(chunk) }?.rng().fill_normal(out);
        Ok(())
    })
}

/// Fills `n` words with random bits from the chunk's stream.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pp_fill_u64(chunk: *const Chunk, out: *mut u64, n: usize) -> Status {
    guarded(|| {
        // SAFETY: the contract of this module.
        let out = unsafe { pointers::slice_mut(out, n, "out") }?;
        // SAFETY: as above.
        unsafe { ctx(chunk) }?.rng().fill_u64(out);
        Ok(())
    })
}

/// Fills `n` words with integers in [low, high) from the chunk's stream.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pp_fill_range(
    chunk: *const Chunk,
    low: u64,
    high: u64,
    out: *mut u64,
    n: usize,
) -> Status {
    guarded(|| {
        if low >= high {
            return Err(Failure::invalid(format!(
                "no integer lies in [{low}, {high}); give a high above low"
            )));
        }
        // SAFETY: the contract of this module.
        let out = unsafe { pointers::slice_mut(out, n, "out") }?;
        // SAFETY: as above.
        unsafe { ctx(chunk) }?.rng().fill_range(low, high, out);
        Ok(())
    })
}

/// The next draw of the worker's own stream, in [0, 1). What is computed from it depends on who ran
/// the chunk. 0 for null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pp_worker_f64(chunk: *const Chunk) -> f64 {
    // SAFETY: the contract of this module.
    value(0.0, || Ok(unsafe { ctx(chunk) }?.worker_rng().next_f64()))
}

/// The text of the error that the kernel is about to return; it is cut at 400 bytes or so.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pp_set_message(chunk: *const Chunk, text: *const c_char) -> Status {
    guarded(|| {
        // SAFETY: the contract of this module.
        let text = unsafe { pointers::c_str(text, "text") }?;
        // SAFETY: as above.
        unsafe { context(chunk) }?.message = Some(text.to_string_lossy().into_owned());
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_is_read_out_of_what_was_written() {
        for code in [1, -7, i32::MIN] {
            assert_eq!(returned_code(&returned(code, None)), Some(code));
            assert_eq!(returned_code(&returned(code, Some("a: b"))), Some(code));
        }
        assert_eq!(returned_code("the worker could not load it"), None);
    }
}
