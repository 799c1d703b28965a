//! The program of a worker whose host has loaded pinpool's code while it ran: it loads the shared
//! object that the code lies in, and calls the one function in it that makes it a worker.
//!
//! It is started by a pool alone, knows nothing of pinpool, and links none of it; the page is
//! `docs/hosts.md`. Before `main` it does nothing, so that it is as bare as a worker that is
//! intercepted there.
#![no_main]

use std::ffi::{CStr, c_char, c_int, c_void};

/// What a pool understands as: the object could not be loaded.
const NOT_LOADED: c_int = 71;

#[unsafe(no_mangle)]
extern "C" fn main(_: c_int, _: *const *const c_char) -> c_int {
    // SAFETY: reads a word of the auxiliary vector.
    if unsafe { libc::getauxval(libc::AT_SECURE) } != 0 {
        return complain("it does not run with more rights than its user has");
    }
    let Some(library) = variable(c"PINPOOL_LIBRARY") else {
        return complain("it is started by a pool and by nobody else: there is no PINPOOL_LIBRARY");
    };
    let Some(entry) = variable(c"PINPOOL_ENTRY") else {
        return complain("it is started by a pool and by nobody else: there is no PINPOOL_ENTRY");
    };
    // SAFETY: the name is a terminated string. The object's constructors run: the pool's own.
    let object = unsafe { libc::dlopen(library.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
    if object.is_null() {
        return complain_of_loader();
    }
    // SAFETY: the handle is of the object that was just loaded; the name is terminated.
    let symbol = unsafe { libc::dlsym(object, entry.as_ptr()) };
    if symbol.is_null() {
        return complain_of_loader();
    }
    for name in [c"PINPOOL_LIBRARY", c"PINPOOL_ENTRY"] {
        // Children of a kernel are no workers. Both strings above are not used any more.
        // SAFETY: there is one thread so far; the name is terminated.
        unsafe { libc::unsetenv(name.as_ptr()) };
    }
    // SAFETY: the pool names a function of this type.
    let enter = unsafe { std::mem::transmute::<*mut c_void, extern "C" fn()>(symbol) };
    enter();
    complain("its environment does not make it a worker")
}

fn variable(name: &CStr) -> Option<&'static CStr> {
    // SAFETY: the name is terminated, and nobody changes the environment meanwhile.
    let value = unsafe { libc::getenv(name.as_ptr()) };
    // SAFETY: not null, so a terminated string; it stays until `main` takes it out.
    (!value.is_null()).then(|| unsafe { CStr::from_ptr(value) })
}

fn complain_of_loader() -> c_int {
    // SAFETY: gives a terminated string, or null where nothing is known.
    let text = unsafe { libc::dlerror() };
    if text.is_null() {
        return complain("the loader gives no reason");
    }
    // SAFETY: not null, so a terminated string, used before the next call of the loader.
    complain(&unsafe { CStr::from_ptr(text) }.to_string_lossy())
}

fn complain(text: &str) -> c_int {
    eprintln!("pinpool-worker: {text}");
    NOT_LOADED
}
