//! What a call of the library came to, as Python has it: an exception of `pinpool._errors`.

use std::ffi::CString;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::library::{CErrorInfo, Library, Status};

/// Waiting was as long as was asked for, and the job goes on.
pub(crate) const TIMED_OUT: Status = 11;

/// Nothing for good, else the exception of the last failure of this thread.
pub(crate) fn check(py: Python<'_>, status: Status) -> PyResult<()> {
    if status == 0 { Ok(()) } else { Err(error(py)?) }
}

fn error(py: Python<'_>) -> PyResult<PyErr> {
    let library = Library::get()?;
    let mut info = CErrorInfo::default();
    // SAFETY: a place for what is known.
    unsafe { (library.pp_last_error_info)(&raw mut info) };
    // SAFETY: takes nothing.
    let text = unsafe { (library.pp_last_error)() };
    // SAFETY: a C string of this thread until its next call, which comes later.
    let text = unsafe { crate::text(text) }.unwrap_or_default();
    let known = |n: u64| (n != u64::MAX).then_some(n);
    let details = (
        info.status,
        text,
        info.code,
        info.signal,
        info.deaths,
        known(info.chunk),
        known(info.worker),
    );
    let exception = py.import("pinpool._errors")?.getattr("make")?.call1(details)?;
    Ok(PyErr::from_value(exception))
}

/// Text for the library.
pub(crate) fn c_string(text: &str) -> PyResult<CString> {
    CString::new(text).map_err(|_| PyValueError::new_err(format!("{text:?} has a zero in it")))
}
