//! Arrays: made and opened here, and lent to numpy by the buffer protocol.

use std::ffi::{CString, c_int, c_void};
use std::path::PathBuf;
use std::ptr;

use pyo3::exceptions::PyBufferError;
use pyo3::ffi;
use pyo3::prelude::*;

use crate::library::{CArray, Library, Status};
use crate::status::{Told, c_string, check};

/// An array of the library. Its memory lives as long as this object, and so as long as any view
/// that numpy or a `memoryview` has of it.
#[pyclass(frozen, module = "pinpool._pinpool")]
#[derive(Debug)]
pub(crate) struct Array {
    raw: *mut CArray,
    /// What a `Py_buffer` points to.
    shape: Vec<ffi::Py_ssize_t>,
    strides: Vec<ffi::Py_ssize_t>,
    format: CString,
}

// SAFETY: the library's arrays may be used from any thread; nothing here changes one but
// `set_persist`, which is a system call on its file.
unsafe impl Send for Array {}
// SAFETY: as above.
unsafe impl Sync for Array {}

impl Array {
    pub(crate) fn raw(&self) -> *const CArray {
        self.raw
    }

    fn make(
        py: Python<'_>,
        call: impl FnOnce(&Library, *mut *mut CArray) -> Status + Send,
    ) -> PyResult<Array> {
        let library = Library::get()?;
        // Space is reserved, which may take as long as writing it.
        let (status, raw) = py.detach(|| {
            let mut raw = ptr::null_mut();
            let status = call(library, &raw mut raw);
            (status, Raw(raw))
        });
        check(py, status)?;
        Array::own(raw.0)
    }

    /// Takes over an array that the library gave.
    pub(crate) fn own(raw: *mut CArray) -> PyResult<Array> {
        let library = Library::get()?;
        // SAFETY: a live array.
        let ndim = unsafe { (library.pp_array_ndim)(raw) };
        // SAFETY: a live array.
        let shape = unsafe { (library.pp_array_shape)(raw) };
        let shape: &[usize] = match ndim {
            0 => &[],
            // SAFETY: the shape of a live array has so many numbers.
            _ => unsafe { std::slice::from_raw_parts(shape, ndim) },
        };
        // SAFETY: a live array.
        let item_bytes = unsafe { (library.pp_array_item_bytes)(raw) };
        // SAFETY: a live array.
        let dtype = unsafe { (library.pp_array_dtype_text)(raw) };
        // SAFETY: a C string that lives as long as the array.
        let dtype = unsafe { crate::text(dtype) }.unwrap_or_default();
        let mut strides = vec![0; ndim];
        let mut stride = item_bytes;
        for (to, &len) in strides.iter_mut().zip(shape).rev() {
            *to = stride as ffi::Py_ssize_t;
            stride *= len;
        }
        let shape = shape.iter().map(|&len| len as ffi::Py_ssize_t).collect();
        Ok(Array { raw, shape, strides, format: format_of(&dtype, item_bytes) })
    }
}

/// An address on its way between threads' states.
pub(crate) struct Raw<T>(pub(crate) *mut T);

// SAFETY: the library's objects may be used from any thread.
unsafe impl<T> Send for Raw<T> {}

/// The element type in the words of the module `struct`.
fn format_of(dtype: &str, item_bytes: usize) -> CString {
    let format = match dtype {
        "|b1" => "?",
        "|i1" => "b",
        "<i2" => "h",
        "<i4" => "i",
        "<i8" => "q",
        "|u1" => "B",
        "<u2" => "H",
        "<u4" => "I",
        "<u8" => "Q",
        "<f4" => "f",
        "<f8" => "d",
        "<c8" => "Zf",
        "<c16" => "Zd",
        _ => return CString::new(format!("{item_bytes}x")).unwrap_or_default(),
    };
    CString::new(format).unwrap_or_default()
}

#[pymethods]
impl Array {
    #[staticmethod]
    fn zeros(py: Python<'_>, dtype: u32, shape: Vec<usize>) -> PyResult<Array> {
        Array::make(py, |library, out| {
            // SAFETY: a shape of so many numbers, and a place for the array.
            unsafe { (library.pp_array_zeros)(dtype, shape.len(), shape.as_ptr(), out) }
        })
    }

    #[staticmethod]
    fn create_named(py: Python<'_>, name: &str, dtype: u32, shape: Vec<usize>) -> PyResult<Array> {
        let name = c_string(name)?;
        Array::make(py, |library, out| {
            let (name, shape, ndim) = (name.as_ptr(), shape.as_ptr(), shape.len());
            // SAFETY: a C string, a shape of so many numbers, and a place for the array.
            unsafe { (library.pp_array_create_named)(name, dtype, ndim, shape, out) }
        })
    }

    #[staticmethod]
    fn create_file(
        py: Python<'_>,
        path: PathBuf,
        dtype: u32,
        shape: Vec<usize>,
    ) -> PyResult<Array> {
        let path = c_path(path)?;
        Array::make(py, |library, out| {
            let (path, shape, ndim) = (path.as_ptr(), shape.as_ptr(), shape.len());
            // SAFETY: a C string, a shape of so many numbers, and a place for the array.
            unsafe { (library.pp_array_create_file)(path, dtype, ndim, shape, out) }
        })
    }

    #[staticmethod]
    fn open_named(py: Python<'_>, name: &str, writable: bool) -> PyResult<Array> {
        let name = c_string(name)?;
        Array::make(py, |library, out| {
            // SAFETY: a C string, and a place for the array.
            unsafe { (library.pp_array_open_named)(name.as_ptr(), writable, out) }
        })
    }

    #[staticmethod]
    fn open_file(py: Python<'_>, path: PathBuf, writable: bool) -> PyResult<Array> {
        let path = c_path(path)?;
        Array::make(py, |library, out| {
            // SAFETY: a C string, and a place for the array.
            unsafe { (library.pp_array_open_file)(path.as_ptr(), writable, out) }
        })
    }

    #[getter]
    fn shape(&self) -> Vec<ffi::Py_ssize_t> {
        self.shape.clone()
    }

    /// As in the NPY header: "<f8".
    #[getter]
    fn dtype(&self) -> PyResult<Option<String>> {
        // SAFETY: a live array.
        let dtype = unsafe { (Library::get()?.pp_array_dtype_text)(self.raw) };
        // SAFETY: a C string that lives as long as the array.
        Ok(unsafe { crate::text(dtype) })
    }

    #[getter]
    fn name(&self) -> PyResult<Option<String>> {
        // SAFETY: a live array.
        let name = unsafe { (Library::get()?.pp_array_name)(self.raw) };
        // SAFETY: null, or a C string that lives as long as the array.
        Ok(unsafe { crate::text(name) })
    }

    #[getter]
    fn writable(&self) -> PyResult<bool> {
        // SAFETY: a live array.
        Ok(unsafe { (Library::get()?.pp_array_writable)(self.raw) })
    }

    #[getter]
    fn default_chunk(&self) -> PyResult<usize> {
        // SAFETY: a live array.
        Ok(unsafe { (Library::get()?.pp_array_default_chunk)(self.raw) })
    }

    fn set_persist(&self, py: Python<'_>, persist: bool) -> PyResult<()> {
        // SAFETY: a live array.
        check(py, unsafe { (Library::get()?.pp_array_set_persist)(self.raw, persist) })
    }

    fn save(&self, py: Python<'_>, path: PathBuf) -> PyResult<()> {
        let (library, path) = (Library::get()?, c_path(path)?);
        // SAFETY: a live array and a C string.
        check(py, py.detach(|| unsafe { (library.pp_array_save)(self.raw, path.as_ptr()) }))
    }

    fn total_f64(&self, py: Python<'_>) -> PyResult<f64> {
        let mut total = 0.0;
        // SAFETY: a live array, and a place for the number.
        check(py, unsafe { (Library::get()?.pp_array_total_f64)(self.raw, &raw mut total) })?;
        Ok(total)
    }

    fn total_u64(&self, py: Python<'_>) -> PyResult<u64> {
        let mut total = 0;
        // SAFETY: a live array, and a place for the number.
        check(py, unsafe { (Library::get()?.pp_array_total_u64)(self.raw, &raw mut total) })?;
        Ok(total)
    }

    /// Lends the memory, in C order.
    ///
    /// # Safety
    /// As the buffer protocol has it: `view` is a place for a `Py_buffer`, or null.
    unsafe fn __getbuffer__(
        slf: Bound<'_, Self>,
        view: *mut ffi::Py_buffer,
        flags: c_int,
    ) -> PyResult<()> {
        let this = slf.get();
        if view.is_null() {
            return Err(PyBufferError::new_err("there is no place for the view"));
        }
        // SAFETY: not null, and a place for a `Py_buffer` by the protocol.
        let out = unsafe { &mut *view };
        out.obj = ptr::null_mut();
        let library = Library::get()?;
        // SAFETY: a live array.
        let writable = unsafe { (library.pp_array_writable)(this.raw) };
        if flags & ffi::PyBUF_WRITABLE == ffi::PyBUF_WRITABLE && !writable {
            return Err(PyBufferError::new_err("the array was opened to be read only"));
        }
        // SAFETY: a live array.
        out.buf = unsafe { (library.pp_array_data)(this.raw) };
        if out.buf.is_null() {
            return Err(Told::last()?.exception(slf.py())?);
        }
        // SAFETY: a live array.
        let item_bytes = unsafe { (library.pp_array_item_bytes)(this.raw) };
        // SAFETY: a live array.
        let len = unsafe { (library.pp_array_len)(this.raw) };
        out.len = (len * item_bytes) as ffi::Py_ssize_t;
        out.readonly = c_int::from(!writable);
        out.itemsize = item_bytes as ffi::Py_ssize_t;
        let asked = |flag: c_int| flags & flag == flag;
        // The object keeps what these point to, and the view keeps the object; nobody writes them.
        out.format = if asked(ffi::PyBUF_FORMAT) {
            this.format.as_ptr().cast_mut()
        } else {
            ptr::null_mut()
        };
        let nd = asked(ffi::PyBUF_ND);
        out.ndim = if nd { this.shape.len() as c_int } else { 1 };
        out.shape = if nd { this.shape.as_ptr().cast_mut() } else { ptr::null_mut() };
        out.strides = if asked(ffi::PyBUF_STRIDES) {
            this.strides.as_ptr().cast_mut()
        } else {
            ptr::null_mut()
        };
        out.suboffsets = ptr::null_mut();
        out.internal = ptr::null_mut::<c_void>();
        out.obj = slf.into_ptr();
        Ok(())
    }
}

fn c_path(path: PathBuf) -> PyResult<CString> {
    use std::os::unix::ffi::OsStrExt;
    CString::new(path.as_os_str().as_bytes()).map_err(|_| {
        pyo3::exceptions::PyValueError::new_err(format!("{} has a zero in it", path.display()))
    })
}

impl Drop for Array {
    fn drop(&mut self) {
        if let Ok(library) = Library::get() {
            // SAFETY: made by the library and freed once; numpy's views keep this object alive.
            unsafe { (library.pp_array_free)(self.raw) };
        }
    }
}
