//! Pools, kernels of shared libraries, and jobs under way.

use std::ffi::{CString, c_void};
use std::path::PathBuf;
use std::ptr;
use std::sync::Mutex;

use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;

use crate::array::{Array, Raw};
use crate::library::{CArg, CJob, CKernel, COptions, CPending, CPool, Library};
use crate::status::{TIMED_OUT, c_string, check};

/// Worker processes.
#[pyclass(frozen, module = "pinpool._pinpool")]
#[derive(Debug)]
pub(crate) struct Pool {
    raw: *mut CPool,
}

// SAFETY: a pool takes jobs from several threads at once.
unsafe impl Send for Pool {}
// SAFETY: as above.
unsafe impl Sync for Pool {}

/// Options under construction, freed at the end.
struct Options(*mut COptions);

// SAFETY: used by one thread at a time.
unsafe impl Send for Options {}
// SAFETY: not changed once it is shared.
unsafe impl Sync for Options {}

impl Drop for Options {
    fn drop(&mut self) {
        if let Ok(library) = Library::get() {
            // SAFETY: made by the library, freed once.
            unsafe { (library.pp_options_free)(self.0) };
        }
    }
}

#[pymethods]
impl Pool {
    /// `options` and `env` are pairs of names and values.
    #[new]
    fn new(
        py: Python<'_>,
        options: Vec<(String, String)>,
        env: Vec<(String, String)>,
    ) -> PyResult<Pool> {
        let library = Library::get()?;
        // SAFETY: takes nothing.
        let raw_options = Options(unsafe { (library.pp_options_new)() });
        for (name, value) in &options {
            let (name, value) = (c_string(name)?, c_string(value)?);
            let (name, value) = (name.as_ptr(), value.as_ptr());
            // SAFETY: live options and C strings.
            check(py, unsafe { (library.pp_options_set)(raw_options.0, name, value) })?;
        }
        for (name, value) in &env {
            let (name, value) = (c_string(name)?, c_string(value)?);
            let (name, value) = (name.as_ptr(), value.as_ptr());
            // SAFETY: live options and C strings.
            check(py, unsafe { (library.pp_options_env)(raw_options.0, name, value) })?;
        }
        let (status, raw) = py.detach(|| {
            let (options, mut raw) = (&raw_options, ptr::null_mut());
            // SAFETY: live options, and a place for the pool.
            let status = unsafe { (library.pp_pool_new)(options.0, &raw mut raw) };
            (status, Raw(raw))
        });
        check(py, status)?;
        Ok(Pool { raw: raw.0 })
    }

    #[getter]
    fn workers(&self) -> PyResult<usize> {
        // SAFETY: a live pool.
        Ok(unsafe { (Library::get()?.pp_pool_workers)(self.raw) })
    }

    #[getter]
    fn deaths(&self) -> PyResult<u64> {
        // SAFETY: a live pool.
        Ok(unsafe { (Library::get()?.pp_pool_deaths)(self.raw) })
    }

    #[getter]
    fn seed(&self) -> PyResult<u64> {
        // SAFETY: a live pool.
        Ok(unsafe { (Library::get()?.pp_pool_seed)(self.raw) })
    }

    #[getter]
    fn backend(&self) -> PyResult<Option<String>> {
        // SAFETY: a live pool.
        let backend = unsafe { (Library::get()?.pp_pool_backend)(self.raw) };
        // SAFETY: a constant of the library.
        Ok(unsafe { crate::text(backend) })
    }

    /// Process and PU of each worker.
    fn whereabouts(&self, py: Python<'_>) -> PyResult<Vec<(u32, u32)>> {
        let library = Library::get()?;
        (0..self.workers()?)
            .map(|worker| {
                let (mut pid, mut pu) = (0, 0);
                let places = (&raw mut pid, &raw mut pu);
                // SAFETY: a live pool, and places for two numbers.
                let status =
                    unsafe { (library.pp_pool_worker)(self.raw, worker, places.0, places.1) };
                check(py, status).map(|()| (pid, pu))
            })
            .collect()
    }

    fn cancel_all(&self, py: Python<'_>) -> PyResult<()> {
        // SAFETY: a live pool.
        check(py, unsafe { (Library::get()?.pp_pool_cancel_all)(self.raw) })
    }

    /// Starts a job: of a built-in kernel by name, or of a kernel that was loaded.
    #[expect(clippy::too_many_arguments, reason = "one call, with what a job has")]
    fn start(
        slf: Py<Self>,
        py: Python<'_>,
        kernel: KernelOf,
        arrays: Vec<(Py<Array>, u32, usize)>,
        params: Vec<u8>,
        chunks: u64,
        stream: Option<u64>,
        limits: (f64, f64, bool),
        result: u32,
    ) -> PyResult<Pending> {
        let library = Library::get()?;
        let pool = Raw(slf.get().raw);
        let args = arrays.iter().map(|(array, access, chunk_rows)| CArg {
            array: array.get().raw(),
            access: *access,
            chunk_rows: *chunk_rows,
        });
        let job = Job { args: args.collect(), params, chunks, stream, limits };
        let (status, raw) = py.detach(|| {
            let (pool, mut raw) = (pool, ptr::null_mut());
            let status = job.with(|job| match &kernel.0 {
                // SAFETY: a live pool, a C string, a job over live arrays, a place for its handle.
                Named::Builtin(name) => unsafe {
                    (library.pp_start_builtin)(pool.0, name.as_ptr(), job, &raw mut raw)
                },
                // SAFETY: a live pool, a kernel as `pinpool.h` declares it by the promise of who
                // named it, a job over live arrays, a place for its handle.
                Named::Address(kernel) => unsafe {
                    (library.pp_start)(pool.0, kernel.0, job, result, &raw mut raw)
                },
            });
            (status, Raw(raw))
        });
        check(py, status)?;
        let arrays = arrays.into_iter().map(|(array, ..)| array).collect();
        Ok(Pending { raw: Mutex::new(Raw(raw.0)), _keeps: (slf, arrays) })
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let pool = Raw(self.raw);
        Python::attach(|py| {
            py.detach(|| {
                let pool = pool;
                if let Ok(library) = Library::get() {
                    // SAFETY: made by the library, freed once; its jobs keep this object alive.
                    unsafe { (library.pp_pool_free)(pool.0) };
                }
            });
        });
    }
}

/// What a job is made of, before the library sees it.
struct Job {
    args: Vec<CArg>,
    params: Vec<u8>,
    chunks: u64,
    stream: Option<u64>,
    limits: (f64, f64, bool),
}

// SAFETY: the addresses are of arrays that the caller holds, and that any thread may use.
unsafe impl Send for Job {}
// SAFETY: as above.
unsafe impl Sync for Job {}

impl Job {
    fn with<T>(&self, call: impl FnOnce(*const CJob) -> T) -> T {
        let (time_limit, chunk_timeout, fail_on_death) = self.limits;
        let job = CJob {
            size: size_of::<CJob>(),
            args: self.args.as_ptr(),
            nargs: self.args.len(),
            params: self.params.as_ptr().cast(),
            params_bytes: self.params.len(),
            chunks: self.chunks,
            stream: self.stream.unwrap_or(u64::MAX),
            time_limit,
            chunk_timeout,
            fail_on_death,
            progress: ptr::null(),
            progress_data: ptr::null(),
            progress_seconds: 0.0,
        };
        call(&raw const job)
    }
}

/// A kernel as Python names it: a text, or a [`Kernel`].
struct KernelOf(Named);

enum Named {
    Builtin(CString),
    Address(Raw<c_void>),
}

// SAFETY: a text, or the address of code.
unsafe impl Sync for Named {}

impl<'a, 'py> FromPyObject<'a, 'py> for KernelOf {
    type Error = PyErr;

    fn extract(object: Borrowed<'a, 'py, PyAny>) -> PyResult<KernelOf> {
        if let Ok(kernel) = object.cast::<Kernel>() {
            return Ok(KernelOf(Named::Address(Raw(kernel.get().address.cast_mut()))));
        }
        Ok(KernelOf(Named::Builtin(c_string(object.extract::<&str>()?)?)))
    }
}

/// A function of a shared library, as `pinpool.h` declares kernels.
#[pyclass(frozen, module = "pinpool._pinpool")]
#[derive(Debug)]
pub(crate) struct Kernel {
    address: CKernel,
    of: String,
}

// SAFETY: the address of code.
unsafe impl Send for Kernel {}
// SAFETY: as above.
unsafe impl Sync for Kernel {}

#[pymethods]
impl Kernel {
    #[new]
    fn new(py: Python<'_>, path: PathBuf, symbol: &str) -> PyResult<Kernel> {
        use std::os::unix::ffi::OsStrExt;
        let library = Library::get()?;
        let c_path = CString::new(path.as_os_str().as_bytes())
            .map_err(|_| PyValueError::new_err(format!("{} has a zero in it", path.display())))?;
        let name = c_string(symbol)?;
        let mut address: CKernel = ptr::null();
        let place = &raw mut address;
        // SAFETY: C strings, and a place for the address.
        check(py, unsafe { (library.pp_kernel_load)(c_path.as_ptr(), name.as_ptr(), place) })?;
        Ok(Kernel { address, of: format!("{symbol} of {}", path.display()) })
    }

    /// A function that this process has loaded already, by its address; workers find it by the
    /// shared library that it lies in.
    #[staticmethod]
    fn from_address(address: usize) -> PyResult<Kernel> {
        if address == 0 {
            return Err(PyValueError::new_err("0 is no address of a kernel"));
        }
        Ok(Kernel { address: address as CKernel, of: format!("the function at {address:#x}") })
    }

    fn __repr__(&self) -> String {
        format!("<pinpool.Kernel {}>", self.of)
    }
}

/// A job under way.
#[pyclass(frozen, module = "pinpool._pinpool")]
#[derive(Debug)]
pub(crate) struct Pending {
    /// Null once it is gone. Locked for as long as it takes to ask, never while Python is held.
    raw: Mutex<Raw<CPending>>,
    /// What the job works on lives as long as the job.
    _keeps: (Py<Pool>, Vec<Py<Array>>),
}

impl std::fmt::Debug for Raw<CPending> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl Pending {
    fn with<T: Send>(
        &self,
        py: Python<'_>,
        call: impl FnOnce(&Library, *mut CPending) -> T + Send,
    ) -> PyResult<T> {
        let library = Library::get()?;
        py.detach(|| {
            let raw = self.raw.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            if raw.0.is_null() {
                return None;
            }
            Some(call(library, raw.0))
        })
        .ok_or_else(|| PyRuntimeError::new_err("the job is gone; it was closed"))
    }
}

#[pymethods]
impl Pending {
    /// Waits for so many seconds at most; whether it is over.
    fn wait(&self, py: Python<'_>, seconds: f64) -> PyResult<bool> {
        // SAFETY: a live handle.
        let wait = |library: &Library, raw: *mut CPending| unsafe {
            (library.pp_pending_wait)(raw, seconds)
        };
        match self.with(py, wait)? {
            TIMED_OUT => Ok(false),
            status => check(py, status).map(|()| true),
        }
    }

    /// Chunks that are done, and all.
    fn progress(&self, py: Python<'_>) -> PyResult<(u64, u64)> {
        let (status, progress) = self.with(py, |library, raw| {
            let (mut done, mut chunks) = (0, 0);
            let places = (&raw mut done, &raw mut chunks);
            // SAFETY: a live handle, and places for two numbers.
            let status = unsafe { (library.pp_pending_progress)(raw, places.0, places.1) };
            (status, (done, chunks))
        })?;
        check(py, status).map(|()| progress)
    }

    fn cancel(&self, py: Python<'_>) -> PyResult<()> {
        // SAFETY: a live handle.
        let status = self.with(py, |library, raw| unsafe { (library.pp_pending_cancel)(raw) })?;
        check(py, status)
    }

    /// The results, once; waits for them.
    fn result(&self, py: Python<'_>) -> PyResult<Option<Array>> {
        let (status, results) = self.with(py, |library, raw| {
            let mut results = ptr::null_mut();
            // SAFETY: a live handle, and a place for the array.
            let status = unsafe { (library.pp_pending_result)(raw, &raw mut results) };
            (status, Raw(results))
        })?;
        check(py, status)?;
        if results.0.is_null() { Ok(None) } else { Array::own(results.0).map(Some) }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        let raw = self.raw.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner);
        let raw = std::mem::replace(raw, Raw(ptr::null_mut()));
        Python::attach(|py| {
            // A job that is not over is cancelled and waited for.
            py.detach(|| {
                let raw = raw;
                if let Ok(library) = Library::get() {
                    // SAFETY: made by the library, freed once.
                    unsafe { (library.pp_pending_free)(raw.0) };
                }
            });
        });
    }
}
