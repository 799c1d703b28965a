//! What a call came to, and the last failure of each thread.

use std::cell::RefCell;
use std::ffi::{CString, c_char};
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::array::SaveError;
use crate::error::{ArgsError, Death, Error, JobError};
use crate::segment::{AttachError, CreateError};

/// What a call came to: one of the constants below.
pub type Status = i32;

/// It did what was asked.
pub const PP_OK: Status = 0;
/// An argument is wrong: null, unknown, or it does not fit the others.
pub const PP_INVALID: Status = 1;
/// There is no room for an array.
pub const PP_NO_MEMORY: Status = 2;
/// An array could not be made, opened or saved.
pub const PP_ARRAY: Status = 3;
/// The workers cannot be placed as asked for.
pub const PP_PLACEMENT: Status = 4;
/// The workers do not start.
pub const PP_START: Status = 5;
/// The kernel is where workers cannot find it.
pub const PP_FOREIGN: Status = 6;
/// The kernel returned an error.
pub const PP_KERNEL: Status = 7;
/// The kernel killed its workers, as often as is allowed.
pub const PP_CRASH: Status = 8;
/// A built-in kernel panicked: a bug of pinpool.
pub const PP_PANIC: Status = 9;
/// The job was cancelled.
pub const PP_CANCELLED: Status = 10;
/// A time limit has passed.
pub const PP_TIMED_OUT: Status = 11;
/// The pool takes no job: it is closed, broken, or another process's.
pub const PP_POOL: Status = 12;
/// A panic in the library: a bug of pinpool.
pub const PP_INTERNAL: Status = 13;

/// What is known of a failure beside its text.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct ErrorInfo {
    /// What the call gave.
    pub status: Status,
    /// What the kernel returned, for `PP_KERNEL`; else 0.
    pub code: i32,
    /// The signal that the worker died of, for `PP_CRASH`; 0 where it was none.
    pub signal: i32,
    /// How many workers died in the chunk, for `PP_CRASH`.
    pub deaths: u32,
    /// The chunk that failed; `UINT64_MAX` where none did.
    pub chunk: u64,
    /// The worker that ran it; `UINT64_MAX` where none did.
    pub worker: u64,
}

impl ErrorInfo {
    const fn of(status: Status) -> ErrorInfo {
        ErrorInfo { status, code: 0, signal: 0, deaths: 0, chunk: u64::MAX, worker: u64::MAX }
    }
}

/// A failure on its way to C.
#[derive(Debug)]
pub(super) struct Failure {
    info: ErrorInfo,
    text: String,
}

impl Failure {
    pub(super) fn new(status: Status, text: impl Into<String>) -> Failure {
        Failure { info: ErrorInfo::of(status), text: text.into() }
    }

    #[cfg(test)]
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn invalid(text: impl Into<String>) -> Failure {
        Failure::new(PP_INVALID, text)
    }
}

impl From<CreateError> for Failure {
    fn from(error: CreateError) -> Failure {
        let status = match error {
            CreateError::NoSpace { .. } | CreateError::NoMemory { .. } => PP_NO_MEMORY,
            _ => PP_ARRAY,
        };
        Failure::new(status, error.to_string())
    }
}

impl From<AttachError> for Failure {
    fn from(error: AttachError) -> Failure {
        Failure::new(PP_ARRAY, error.to_string())
    }
}

impl From<SaveError> for Failure {
    fn from(error: SaveError) -> Failure {
        Failure::new(PP_ARRAY, error.to_string())
    }
}

impl From<ArgsError> for Failure {
    fn from(error: ArgsError) -> Failure {
        Failure::invalid(error.to_string())
    }
}

impl From<JobError> for Failure {
    fn from(error: JobError) -> Failure {
        let mut failure = Failure::new(PP_POOL, error.to_string());
        let info = &mut failure.info;
        match error {
            JobError::Failed { chunk, worker, message, .. } => {
                (info.chunk, info.worker) = (chunk, worker as u64);
                // A text that no kernel returned is the worker's own: it could not call one.
                let code = super::kernel::returned_code(&message);
                info.status = code.map_or(PP_FOREIGN, |_| PP_KERNEL);
                info.code = code.unwrap_or(0);
            }
            JobError::Panic { chunk, worker, .. } => {
                info.status = PP_PANIC;
                (info.chunk, info.worker) = (chunk, worker as u64);
            }
            JobError::Died { chunk, worker, death, deaths, .. } => {
                info.status = PP_CRASH;
                (info.chunk, info.worker, info.deaths) = (chunk, worker as u64, deaths);
                if let Death::Signal(signal) = death {
                    info.signal = signal;
                }
            }
            JobError::Cancelled => info.status = PP_CANCELLED,
            JobError::Overran { .. } | JobError::TimedOut { .. } => info.status = PP_TIMED_OUT,
            _ => {}
        }
        failure
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        match error {
            Error::Create(error) => error.into(),
            Error::Attach(error) => error.into(),
            Error::Args(error) => error.into(),
            Error::Job(error) => error.into(),
            Error::Topology(_) | Error::Placement(_) => {
                Failure::new(PP_PLACEMENT, error.to_string())
            }
            Error::Start(_) => Failure::new(PP_START, error.to_string()),
            // Queues, checkpoints and clusters are not part of this interface.
            _ => Failure::new(PP_INTERNAL, error.to_string()),
        }
    }
}

struct Last {
    info: ErrorInfo,
    text: CString,
}

thread_local! {
    static LAST: RefCell<Last> =
        RefCell::new(Last { info: ErrorInfo::of(PP_OK), text: CString::default() });
}

fn keep(failure: Failure) -> Status {
    let mut bytes = failure.text.into_bytes();
    bytes.retain(|&byte| byte != 0);
    let text = CString::new(bytes).unwrap_or_default();
    // A thread that is about to end has no last failure any more.
    let _ = LAST.try_with(|last| *last.borrow_mut() = Last { info: failure.info, text });
    failure.info.status
}

/// Runs the body of a function that gives a status.
pub(super) fn guarded(body: impl FnOnce() -> Result<(), Failure>) -> Status {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(())) => PP_OK,
        Ok(Err(failure)) => keep(failure),
        Err(panic) => {
            let text = crate::panics::take_message(panic);
            keep(Failure::new(PP_INTERNAL, format!("a bug in pinpool, please report it: {text}")))
        }
    }
}

/// Runs the body of a function that gives something else; `none` where it fails.
pub(super) fn value<T>(none: T, body: impl FnOnce() -> Result<T, Failure>) -> T {
    let mut result = none;
    guarded(|| {
        result = body()?;
        Ok(())
    });
    result
}

/// The text of the last failure on this thread, in UTF-8: a sentence that says what to do next.
/// It stays until the next failure on this thread; empty where there was none.
#[unsafe(no_mangle)]
pub extern "C" fn pp_last_error() -> *const c_char {
    LAST.try_with(|last| last.borrow().text.as_ptr()).unwrap_or(c"".as_ptr())
}

/// What is known of the last failure on this thread beside its text.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pp_last_error_info(info: *mut ErrorInfo) {
    let last = LAST.try_with(|last| last.borrow().info).unwrap_or(ErrorInfo::of(PP_OK));
    if !info.is_null() {
        // SAFETY: not null, and the contract of this module.
        unsafe { info.write(last) };
    }
}
