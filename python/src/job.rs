//! Pools, kernels of shared libraries, and jobs under way.

use std::ffi::{CString, c_void};
use std::path::PathBuf;
use std::ptr;
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::sync::RwLockExt;

use crate::array::{Array, Raw};
use crate::library::{CArg, CJob, CKernel, COptions, CPending, CPool, Library};
use crate::status::{TIMED_OUT, Told, c_string, check, same_process};

/// Worker processes.
#[pyclass(frozen, module = "pinpool._pinpool")]
#[derive(Debug)]
pub(crate) struct Pool {
    raw: *mut CPool,
    /// The process that built it.
    pid: u32,
}

impl Pool {
    /// The pool, in the process that has it.
    fn raw(&self, py: Python<'_>) -> PyResult<*mut CPool> {
        same_process(py, self.pid).map(|()| self.raw)
    }
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
        Ok(Pool { raw: raw.0, pid: std::process::id() })
    }

    /// Whether this is another process than the one which built it.
    #[getter]
    fn is_forked(&self) -> bool {
        std::process::id() != self.pid
    }

    #[getter]
    fn workers(&self, py: Python<'_>) -> PyResult<usize> {
        let pool = self.raw(py)?;
        // SAFETY: a live pool.
        Ok(unsafe { (Library::get()?.pp_pool_workers)(pool) })
    }

    #[getter]
    fn deaths(&self, py: Python<'_>) -> PyResult<u64> {
        let pool = self.raw(py)?;
        // SAFETY: a live pool.
        Ok(unsafe { (Library::get()?.pp_pool_deaths)(pool) })
    }

    #[getter]
    fn seed(&self, py: Python<'_>) -> PyResult<u64> {
        let pool = self.raw(py)?;
        // SAFETY: a live pool.
        Ok(unsafe { (Library::get()?.pp_pool_seed)(pool) })
    }

    #[getter]
    fn backend(&self, py: Python<'_>) -> PyResult<Option<String>> {
        let pool = self.raw(py)?;
        // SAFETY: a live pool.
        let backend = unsafe { (Library::get()?.pp_pool_backend)(pool) };
        // SAFETY: a constant of the library.
        Ok(unsafe { crate::text(backend) })
    }

    /// Process and PU of each worker.
    fn whereabouts(&self, py: Python<'_>) -> PyResult<Vec<(u32, u32)>> {
        let library = Library::get()?;
        (0..self.workers(py)?)
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
        let pool = self.raw(py)?;
        // SAFETY: a live pool.
        check(py, unsafe { (Library::get()?.pp_pool_cancel_all)(pool) })
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
        let pool = Raw(slf.get().raw(py)?);
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
        Ok(Pending::new(raw.0, slf, arrays))
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

/// A job that was started.
#[pyclass(frozen, module = "pinpool._pinpool")]
#[derive(Debug)]
pub(crate) struct Pending {
    /// The process that started it: looked at before the lock is, which a thread that no fork has may
    /// hold.
    pid: u32,
    /// Read by who waits, several threads at once; written by the one that takes the outcome.
    state: RwLock<State>,
}

#[derive(Debug)]
enum State {
    Live(Live),
    Over { progress: (u64, u64), outcome: Result<Option<Py<Array>>, Told> },
}

/// A job whose outcome nobody has taken, with what it works on; dropped, it is cancelled if it is not
/// over, and waited for.
#[derive(Debug)]
struct Live {
    raw: Raw<CPending>,
    _keeps: (Py<Pool>, Vec<Py<Array>>),
}

// SAFETY: a job's handle may be used by several threads at once but for taking its result and freeing
// it, which who writes the state does, or drops it.
unsafe impl Sync for Live {}

impl std::fmt::Debug for Raw<CPending> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        let raw = Raw(self.raw.0);
        Python::attach(|py| {
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

impl Pending {
    fn new(raw: *mut CPending, pool: Py<Pool>, arrays: Vec<Py<Array>>) -> Pending {
        let live = Live { raw: Raw(raw), _keeps: (pool, arrays) };
        Pending { pid: std::process::id(), state: RwLock::new(State::Live(live)) }
    }

    fn read(&self, py: Python<'_>) -> PyResult<RwLockReadGuard<'_, State>> {
        same_process(py, self.pid)?;
        Ok(self.state.read_py_attached(py).unwrap_or_else(PoisonError::into_inner))
    }
}

#[pymethods]
impl Pending {
    /// Waits for so many seconds at most; whether it is over.
    fn wait(&self, py: Python<'_>, seconds: f64) -> PyResult<bool> {
        let (library, state) = (Library::get()?, self.read(py)?);
        let State::Live(live) = &*state else { return Ok(true) };
        let raw = Raw(live.raw.0);
        let status = py.detach(|| {
            let raw = raw;
            // SAFETY: a live handle, which nobody frees while the lock is held.
            unsafe { (library.pp_pending_wait)(raw.0, seconds) }
        });
        match status {
            TIMED_OUT => Ok(false),
            status => check(py, status).map(|()| true),
        }
    }

    /// Chunks that are done, and all.
    fn progress(&self, py: Python<'_>) -> PyResult<(u64, u64)> {
        let (library, state) = (Library::get()?, self.read(py)?);
        match &*state {
            State::Live(live) => {
                let (mut done, mut chunks) = (0, 0);
                let places = (&raw mut done, &raw mut chunks);
                // SAFETY: a live handle, and places for two numbers.
                let status =
                    unsafe { (library.pp_pending_progress)(live.raw.0, places.0, places.1) };
                check(py, status).map(|()| (done, chunks))
            }
            State::Over { progress, .. } => Ok(*progress),
        }
    }

    fn cancel(&self, py: Python<'_>) -> PyResult<()> {
        let (library, state) = (Library::get()?, self.read(py)?);
        let State::Live(live) = &*state else { return Ok(()) };
        // SAFETY: a live handle.
        check(py, unsafe { (library.pp_pending_cancel)(live.raw.0) })
    }

    /// Takes the outcome out of a job that is over, which so lets go of the pool and the arrays.
    fn settle(&self, py: Python<'_>) -> PyResult<()> {
        same_process(py, self.pid)?;
        let library = Library::get()?;
        let mut state = self.state.write_py_attached(py).unwrap_or_else(PoisonError::into_inner);
        let State::Live(live) = &*state else { return Ok(()) };
        let raw = Raw(live.raw.0);
        let (status, results, progress) = py.detach(|| {
            let raw = raw;
            let (mut results, mut done, mut chunks) = (ptr::null_mut(), 0, 0);
            let places = (&raw mut done, &raw mut chunks);
            // SAFETY: a live handle.
            unsafe { (library.pp_pending_wait)(raw.0, -1.0) };
            // SAFETY: a live handle, and places for two numbers.
            unsafe { (library.pp_pending_progress)(raw.0, places.0, places.1) };
            // SAFETY: a live handle, and a place for the array.
            let status = unsafe { (library.pp_pending_result)(raw.0, &raw mut results) };
            (status, Raw(results), (done, chunks))
        });
        let outcome = if status != 0 {
            Err(Told::last()?)
        } else if results.0.is_null() {
            Ok(None)
        } else {
            Ok(Some(Py::new(py, Array::own(results.0)?)?))
        };
        let live = std::mem::replace(&mut *state, State::Over { progress, outcome });
        // Behind the lock: what it keeps may be the last of its kind, and end a pool.
        drop(state);
        drop(live);
        Ok(())
    }

    /// The results, or what went wrong: the same for all who ask.
    fn result(&self, py: Python<'_>) -> PyResult<Option<Py<Array>>> {
        self.settle(py)?;
        match &*self.read(py)? {
            State::Over { outcome: Ok(array), .. } => {
                Ok(array.as_ref().map(|array| array.clone_ref(py)))
            }
            State::Over { outcome: Err(told), .. } => Err(told.exception(py)?),
            State::Live(_) => unreachable!("its outcome was taken just now"),
        }
    }
}
