//! What a call of the library came to, as Python has it: an exception of `pinpool._errors`.

use std::ffi::CString;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::library::{CErrorInfo, Library, Status};

/// Waiting was as long as was asked for, and the job goes on.
pub(crate) const TIMED_OUT: Status = 11;

/// There is no pool here.
const POOL: Status = 12;

/// What the library says of a failure, before it is an exception.
#[derive(Debug)]
pub(crate) struct Told {
    text: String,
    info: CErrorInfo,
}

impl Told {
    /// The last failure of this thread.
    pub(crate) fn last() -> PyResult<Told> {
        let library = Library::get()?;
        let mut info = CErrorInfo::default();
        // SAFETY: a place for what is known.
        unsafe { (library.pp_last_error_info)(&raw mut info) };
        // SAFETY: takes nothing.
        let text = unsafe { (library.pp_last_error)() };
        // SAFETY: a C string of this thread until its next call, which comes later.
        let text = unsafe { crate::text(text) }.unwrap_or_default();
        Ok(Told { text, info })
    }

    /// A new exception: one that is raised keeps what led to it.
    pub(crate) fn exception(&self, py: Python<'_>) -> PyResult<PyErr> {
        let Told { text, info } = self;
        let known = |n: u64| (n != u64::MAX).then_some(n);
        let CErrorInfo { status, code, signal, deaths, chunk, worker } = *info;
        let details = (status, text, code, signal, deaths, known(chunk), known(worker));
        let exception = py.import("pinpool._errors")?.getattr("make")?.call1(details)?;
        Ok(PyErr::from_value(exception))
    }
}

/// Nothing for good, else the exception of the last failure of this thread.
pub(crate) fn check(py: Python<'_>, status: Status) -> PyResult<()> {
    if status == 0 { Ok(()) } else { Err(Told::last()?.exception(py)?) }
}

/// An error in a process that was forked from process `pid`: pools and jobs are that one's.
pub(crate) fn same_process(py: Python<'_>, pid: u32) -> PyResult<()> {
    if std::process::id() == pid {
        return Ok(());
    }
    let text = "this process is a fork of the one that built the pool, and has neither the pool nor \
                its jobs and arrays; build a pool after the fork";
    let (chunk, worker) = (u64::MAX, u64::MAX);
    let info = CErrorInfo { status: POOL, chunk, worker, ..CErrorInfo::default() };
    Err(Told { text: text.to_owned(), info }.exception(py)?)
}

/// Text for the library.
pub(crate) fn c_string(text: &str) -> PyResult<CString> {
    CString::new(text).map_err(|_| PyValueError::new_err(format!("{text:?} has a zero in it")))
}
