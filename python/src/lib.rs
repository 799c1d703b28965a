//! `pinpool._pinpool`: what the Python package `pinpool` cannot do in Python.
//!
//! It is a thin layer over `libpinpool.so`, which lies beside it and is loaded when the module is
//! imported. pinpool's code is not linked in: a worker loads the shared object that holds it, and
//! must be able to do so without a Python interpreter. Everything that has a choice in it (dtypes,
//! defaults, waiting, progress) is Python, in `pinpool/__init__.py`.

mod array;
mod job;
mod library;
mod status;

use std::ffi::CStr;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use library::Library;

/// Text that the library owns for ever, or as long as what it was asked of.
///
/// # Safety
/// `text` is null or a C string that nobody changes meanwhile.
unsafe fn text(text: *const std::ffi::c_char) -> Option<String> {
    if text.is_null() {
        return None;
    }
    // SAFETY: the caller's promise.
    let text = unsafe { CStr::from_ptr(text) };
    Some(text.to_string_lossy().into_owned())
}

/// The library's version.
#[pyfunction]
fn version() -> PyResult<Option<String>> {
    let library = Library::get()?;
    // SAFETY: takes nothing and gives a constant.
    let version = unsafe { (library.pp_version)() };
    // SAFETY: a constant of the library.
    Ok(unsafe { text(version) })
}

/// The instruction set of built-in kernels.
#[pyfunction]
fn isa() -> PyResult<Option<String>> {
    let library = Library::get()?;
    // SAFETY: takes nothing and gives a constant.
    let isa = unsafe { (library.pp_isa)() };
    // SAFETY: a constant of the library.
    Ok(unsafe { text(isa) })
}

/// Has built-in kernels use this instruction set, in pools that are built from now on.
#[pyfunction]
fn set_isa(py: Python<'_>, name: &str) -> PyResult<()> {
    let library = Library::get()?;
    let name = status::c_string(name)?;
    // SAFETY: a C string.
    status::check(py, unsafe { (library.pp_set_isa)(name.as_ptr()) })
}

/// Name and signature of each built-in kernel.
#[pyfunction]
fn builtins() -> PyResult<Vec<(String, String)>> {
    let library = Library::get()?;
    // SAFETY: takes nothing.
    let count = unsafe { (library.pp_builtin_count)() };
    (0..count)
        .map(|i| {
            // SAFETY: takes an index.
            let name = unsafe { (library.pp_builtin_name)(i) };
            // SAFETY: a constant of the library.
            let signature = unsafe { (library.pp_builtin_signature)(name) };
            // SAFETY: a constant of the library.
            let name = unsafe { text(name) };
            // SAFETY: a constant of the library.
            let signature = unsafe { text(signature) };
            match (name, signature) {
                (Some(name), Some(signature)) => Ok((name, signature)),
                _ => Err(PyValueError::new_err("the library lists a kernel that it does not know")),
            }
        })
        .collect()
}

#[pymodule]
fn _pinpool(module: &Bound<'_, PyModule>) -> PyResult<()> {
    Library::load()?;
    module.add_class::<array::Array>()?;
    module.add_class::<job::Pool>()?;
    module.add_class::<job::Kernel>()?;
    module.add_class::<job::Pending>()?;
    module.add_function(wrap_pyfunction!(version, module)?)?;
    module.add_function(wrap_pyfunction!(isa, module)?)?;
    module.add_function(wrap_pyfunction!(set_isa, module)?)?;
    module.add_function(wrap_pyfunction!(builtins, module)?)
}
