//! The loader: one more shared object, its symbols, and what is unloaded.

use std::ffi::{CStr, CString, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// How often objects were unloaded so far: what is known of one holds until this changes.
pub(crate) fn unloads() -> u64 {
    extern "C" fn visit(info: *mut libc::dl_phdr_info, _: usize, data: *mut c_void) -> libc::c_int {
        // SAFETY: the loader passes a valid record for the time of the call.
        let info = unsafe { &*info };
        // SAFETY: `data` is the number that the caller passed.
        unsafe { *data.cast::<u64>() = info.dlpi_subs };
        1
    }

    let mut subs = 0u64;
    // SAFETY: `visit` matches the callback's type, and `subs` outlives the call.
    unsafe { libc::dl_iterate_phdr(Some(visit), (&raw mut subs).cast()) };
    subs
}

/// Loads a shared object, for good.
pub(crate) fn load(path: &Path, now: bool) -> Result<Handle, String> {
    let name = CString::new(path.as_os_str().as_bytes()).map_err(|e| e.to_string())?;
    let flags = libc::RTLD_LOCAL | if now { libc::RTLD_NOW } else { libc::RTLD_LAZY };
    // SAFETY: the name is terminated. The object's constructors run: whoever names an object to
    // this library wants its code run.
    let handle = unsafe { libc::dlopen(name.as_ptr(), flags) };
    if handle.is_null() { Err(load_error()) } else { Ok(Handle(handle)) }
}

/// A shared object that stays loaded.
#[derive(Debug)]
pub(crate) struct Handle(*mut c_void);

impl Handle {
    /// The address of a symbol.
    pub(crate) fn symbol(&self, name: &CStr) -> Result<usize, String> {
        // SAFETY: the handle is of an object that is never unloaded; the name is terminated.
        let at = unsafe { libc::dlsym(self.0, name.as_ptr()) };
        if at.is_null() { Err(load_error()) } else { Ok(at as usize) }
    }
}

/// The exported symbol that lies exactly at `at`, where there is one.
pub(crate) fn symbol_at(at: usize) -> Option<String> {
    let (text, place) = (std::ptr::null(), std::ptr::null_mut());
    let mut info =
        libc::Dl_info { dli_fname: text, dli_fbase: place, dli_sname: text, dli_saddr: place };
    // SAFETY: any address may be asked for; the record is ours.
    let found = unsafe { libc::dladdr(at as *const c_void, &mut info) };
    if found == 0 || info.dli_sname.is_null() || info.dli_saddr as usize != at {
        return None;
    }
    // SAFETY: the loader says that a terminated string lies there, in an object that holds code
    // which the caller is about to name, and so keeps loaded.
    let name = unsafe { CStr::from_ptr(info.dli_sname) };
    Some(name.to_string_lossy().into_owned())
}

fn load_error() -> String {
    // SAFETY: gives a string that stays until this thread's next call of the loader, or null.
    let text = unsafe { libc::dlerror() };
    if text.is_null() {
        return "the loader gives no reason".into();
    }
    // SAFETY: not null, so a terminated string, copied at once.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_loaded_is_said_in_the_words_of_the_loader() {
        let error = load(Path::new("/nowhere/kernel.so"), true).unwrap_err();
        assert!(error.contains("/nowhere/kernel.so"), "{error}");
    }

    #[test]
    fn a_symbol_is_found_by_its_name_and_named_by_its_place() {
        let library = load(Path::new("libc.so.6"), true).unwrap();
        let at = library.symbol(c"getppid").unwrap();
        assert!(symbol_at(at).is_some_and(|name| name.contains("getppid")));
        assert_eq!(symbol_at(at + 1), None);
        let error = library.symbol(c"no_such_function").unwrap_err();
        assert!(error.contains("no_such_function"), "{error}");
        assert_eq!(unloads(), unloads());
    }
}
