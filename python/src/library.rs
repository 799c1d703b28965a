//! `libpinpool.so.1`, loaded from the folder of this module, and its functions as `pinpool.h` has
//! them.

use std::ffi::{CStr, CString, OsStr, c_char, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use pyo3::exceptions::PyImportError;
use pyo3::prelude::*;

/// The version of the interface that this file was written for.
const ABI_VERSION: u32 = 1;

const FILE_NAME: &str = "libpinpool.so.1";

/// What a call came to; 0 is good.
pub(crate) type Status = i32;

/// Declares opaque types of the header.
macro_rules! opaque {
    ($($name:ident)*) => {
        $(
            /// A type of the library that is known by address only.
            #[derive(Debug)]
            #[repr(C)]
            pub(crate) struct $name([u8; 0]);
        )*
    };
}

opaque!(CArray COptions CPool CPending);

/// `pp_kernel`: its address is all that this module knows of it.
pub(crate) type CKernel = *const c_void;

/// `pp_arg`.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct CArg {
    pub(crate) array: *const CArray,
    pub(crate) access: u32,
    pub(crate) chunk_rows: usize,
}

/// `pp_job`.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct CJob {
    pub(crate) size: usize,
    pub(crate) args: *const CArg,
    pub(crate) nargs: usize,
    pub(crate) params: *const c_void,
    pub(crate) params_bytes: usize,
    pub(crate) chunks: u64,
    pub(crate) stream: u64,
    pub(crate) time_limit: f64,
    pub(crate) chunk_timeout: f64,
    pub(crate) fail_on_death: bool,
    pub(crate) progress: *const c_void,
    pub(crate) progress_data: *const c_void,
    pub(crate) progress_seconds: f64,
}

/// `pp_error_info`.
#[derive(Debug, Default)]
#[repr(C)]
pub(crate) struct CErrorInfo {
    pub(crate) status: Status,
    pub(crate) code: i32,
    pub(crate) signal: i32,
    pub(crate) deaths: u32,
    pub(crate) chunk: u64,
    pub(crate) worker: u64,
}

/// Declares the table of functions, and how it is filled.
macro_rules! functions {
    ($(fn $name:ident($($argument:ty),*) $(-> $result:ty)?;)*) => {
        /// The library's functions.
        #[derive(Debug)]
        pub(crate) struct Library {
            $(pub(crate) $name: unsafe extern "C" fn($($argument),*) $(-> $result)?,)*
        }

        impl Library {
            /// # Safety
            /// `handle` is a library that has these functions, which the version says.
            unsafe fn resolve(handle: *mut c_void) -> Result<Library, String> {
                Ok(Library {
                    $($name: {
                        let name = concat!(stringify!($name), "\0");
                        let address = symbol(handle, name)?;
                        // SAFETY: the header declares the function so.
                        unsafe {
                            std::mem::transmute::<
                                *mut c_void,
                                unsafe extern "C" fn($($argument),*) $(-> $result)?,
                            >(address)
                        }
                    },)*
                })
            }
        }
    };
}

functions! {
    fn pp_version() -> *const c_char;
    fn pp_last_error() -> *const c_char;
    fn pp_last_error_info(*mut CErrorInfo);
    fn pp_isa() -> *const c_char;
    fn pp_set_isa(*const c_char) -> Status;
    fn pp_options_new() -> *mut COptions;
    fn pp_options_set(*mut COptions, *const c_char, *const c_char) -> Status;
    fn pp_options_env(*mut COptions, *const c_char, *const c_char) -> Status;
    fn pp_options_free(*mut COptions);
    fn pp_pool_new(*const COptions, *mut *mut CPool) -> Status;
    fn pp_pool_free(*mut CPool);
    fn pp_pool_workers(*const CPool) -> usize;
    fn pp_pool_deaths(*const CPool) -> u64;
    fn pp_pool_seed(*const CPool) -> u64;
    fn pp_pool_backend(*const CPool) -> *const c_char;
    fn pp_pool_worker(*const CPool, usize, *mut u32, *mut u32) -> Status;
    fn pp_pool_cancel_all(*const CPool) -> Status;
    fn pp_array_zeros(u32, usize, *const usize, *mut *mut CArray) -> Status;
    fn pp_array_create_named(*const c_char, u32, usize, *const usize, *mut *mut CArray) -> Status;
    fn pp_array_create_file(*const c_char, u32, usize, *const usize, *mut *mut CArray) -> Status;
    fn pp_array_open_named(*const c_char, bool, *mut *mut CArray) -> Status;
    fn pp_array_open_file(*const c_char, bool, *mut *mut CArray) -> Status;
    fn pp_array_data(*const CArray) -> *mut c_void;
    fn pp_array_ndim(*const CArray) -> usize;
    fn pp_array_shape(*const CArray) -> *const usize;
    fn pp_array_len(*const CArray) -> usize;
    fn pp_array_dtype_text(*const CArray) -> *const c_char;
    fn pp_array_item_bytes(*const CArray) -> usize;
    fn pp_array_writable(*const CArray) -> bool;
    fn pp_array_name(*const CArray) -> *const c_char;
    fn pp_array_default_chunk(*const CArray) -> usize;
    fn pp_array_set_persist(*mut CArray, bool) -> Status;
    fn pp_array_save(*const CArray, *const c_char) -> Status;
    fn pp_array_total_f64(*const CArray, *mut f64) -> Status;
    fn pp_array_total_u64(*const CArray, *mut u64) -> Status;
    fn pp_array_free(*mut CArray);
    fn pp_kernel_load(*const c_char, *const c_char, *mut CKernel) -> Status;
    fn pp_start(*const CPool, CKernel, *const CJob, u32, *mut *mut CPending) -> Status;
    fn pp_builtin_count() -> usize;
    fn pp_builtin_name(usize) -> *const c_char;
    fn pp_builtin_signature(*const c_char) -> *const c_char;
    fn pp_start_builtin(*const CPool, *const c_char, *const CJob, *mut *mut CPending) -> Status;
    fn pp_pending_wait(*const CPending, f64) -> Status;
    fn pp_pending_progress(*const CPending, *mut u64, *mut u64) -> Status;
    fn pp_pending_cancel(*const CPending) -> Status;
    fn pp_pending_result(*mut CPending, *mut *mut CArray) -> Status;
    fn pp_pending_free(*mut CPending);
}

static LIBRARY: OnceLock<Library> = OnceLock::new();

impl Library {
    /// The library, which the module's import has loaded.
    pub(crate) fn get() -> PyResult<&'static Library> {
        LIBRARY.get().ok_or_else(|| PyImportError::new_err("the module is not initialized"))
    }

    /// Loads it, once, from beside this module.
    pub(crate) fn load() -> PyResult<()> {
        if LIBRARY.get().is_none() {
            let library = open().map_err(PyImportError::new_err)?;
            let _ = LIBRARY.set(library);
        }
        Ok(())
    }
}

fn open() -> Result<Library, String> {
    let folder = own_folder().ok_or("the folder of the module pinpool cannot be found")?;
    let path = folder.join(FILE_NAME);
    let c_path = CString::new(path.as_os_str().as_bytes()).map_err(|e| e.to_string())?;
    // SAFETY: a C string; the constructors of the library are pinpool's own.
    let handle = unsafe { libc::dlopen(c_path.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
    if handle.is_null() {
        return Err(format!("{}; install the package pinpool again", last_error()));
    }
    let version = symbol(handle, "pp_abi_version\0")?;
    // SAFETY: the header declares the function so, in every version.
    let version: unsafe extern "C" fn() -> u32 = unsafe { std::mem::transmute(version) };
    // SAFETY: as above.
    let version = unsafe { version() };
    if version != ABI_VERSION {
        let path = path.display();
        return Err(format!(
            "{path} has version {version} of the interface, and this module needs {ABI_VERSION}; install the package pinpool again"
        ));
    }
    // SAFETY: the library has the version that the declarations are of.
    unsafe { Library::resolve(handle) }
}

/// `name` ends with a zero.
fn symbol(handle: *mut c_void, name: &str) -> Result<*mut c_void, String> {
    // SAFETY: a handle of `dlopen`, and a text that ends with a zero.
    let address = unsafe { libc::dlsym(handle, name.as_ptr().cast()) };
    if address.is_null() {
        return Err(format!("{}; install the package pinpool again", last_error()));
    }
    Ok(address)
}

fn last_error() -> String {
    // SAFETY: takes nothing.
    let text = unsafe { libc::dlerror() };
    // SAFETY: null, or a C string of this thread until its next call of this family.
    unsafe { crate::text(text) }.unwrap_or_else(|| "the library cannot be loaded".into())
}

/// Where the file of this module lies.
fn own_folder() -> Option<PathBuf> {
    // SAFETY: plain data.
    let mut info: libc::Dl_info = unsafe { std::mem::zeroed() };
    let here = own_folder as fn() -> Option<PathBuf>;
    // SAFETY: an address of this module and a place for what is known of it.
    if unsafe { libc::dladdr(here as *const c_void, &raw mut info) } == 0 {
        return None;
    }
    // SAFETY: dladdr succeeded, so that this is a C string of the loader.
    let path = unsafe { CStr::from_ptr(info.dli_fname) };
    let path = Path::new(OsStr::from_bytes(path.to_bytes()));
    let path = std::fs::canonicalize(path).ok()?;
    path.parent().map(Path::to_owned)
}
