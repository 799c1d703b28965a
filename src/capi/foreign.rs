//! A C function's place, as it travels: which object it is in, who that is, and where in it.
//!
//! The parent finds the object that holds the function and writes a record of it into a small
//! shared array, which goes with each job as an argument of its own. A worker finds the same
//! object among those that it has, or loads it, and counts from its base. What no file holds has
//! no such place.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::ffi::{OsStr, c_char};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use bytemuck::{Pod, Zeroable};
use ndarray::Ix1;

use super::kernel::{Kernel, run};
use super::pointers;
use super::status::{Failure, PP_FOREIGN, Status, guarded};
use crate::array::SharedArray;
use crate::entry::KernelEntry;
use crate::pool::untyped;
use crate::sys::process::forks;
use crate::sys::{loader, objects};

/// The entry that every C function goes through.
static ENTRY: KernelEntry = KernelEntry::new(run, "a C function");

/// Why a function cannot be named to the workers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum ForeignError {
    #[error(
        "the kernel at {at:#x} is in memory that no file holds (made by a JIT compiler, by ctypes \
         or cffi, or a nested function); workers cannot load it: compile it into a shared object"
    )]
    NoFile { at: usize },
    #[error(
        "the file of the shared object that holds the kernel {kernel} was deleted or replaced after \
         it was loaded; workers load it by its path: keep the file"
    )]
    Gone { kernel: String },
    #[error(
        "the kernel {kernel} is in the program itself, which workers do not execute, since pinpool \
         was loaded while the program ran; put the kernel into a shared object, or link the \
         program with libpinpool"
    )]
    InProgram { kernel: String },
    #[error(
        "/proc/self/maps cannot be read: {reason}; mount /proc, where files of kernels are found"
    )]
    NoProc { reason: String },
}

impl From<ForeignError> for Failure {
    fn from(error: ForeignError) -> Failure {
        Failure::new(PP_FOREIGN, error.to_string())
    }
}

/// A function's place, as it lies in front of the object's path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
struct Place {
    /// 1: in the executable, which worker and parent share.
    in_program: u64,
    /// From the object's base.
    offset: u64,
    identity: [u64; 2],
}

/// A function that workers can find. Jobs under way keep its record's memory too.
#[derive(Debug)]
pub(super) struct Foreign {
    entry: &'static KernelEntry,
    in_program: bool,
    /// [`Place`], then the path.
    pub(super) record: SharedArray<u8, Ix1>,
}

impl Foreign {
    /// What the parent submits; `beside`: the workers of the pool are another program.
    pub(super) fn kernel(&self, beside: bool) -> Result<untyped::Kernel, Failure> {
        if beside && self.in_program {
            return Err(ForeignError::InProgram { kernel: self.entry.name().to_owned() }.into());
        }
        let offset = ENTRY.offset().ok_or_else(|| {
            Failure::new(PP_FOREIGN, "pinpool's own code is in no loaded object; report this bug")
        })?;
        Ok(untyped::Kernel { entry: self.entry, offset })
    }
}

/// What is known of functions.
#[derive(Debug, Default)]
struct Known {
    /// Unloaded objects and forks, of when the functions were found: they hold as long as nothing
    /// was unloaded and the process not forked.
    state: (u64, u64),
    functions: HashMap<usize, Arc<Foreign>>,
    /// One for each name that a kernel ever had, for good: the errors of jobs speak of it.
    entries: HashMap<String, &'static KernelEntry>,
}

impl Known {
    /// Forgets the functions if they may lie elsewhere now. What comes of them is the caller's to
    /// drop, which tells pools that records are gone.
    fn renew(&mut self) -> HashMap<usize, Arc<Foreign>> {
        let state = (loader::unloads(), forks::generation());
        if self.state == state {
            return HashMap::new();
        }
        self.state = state;
        std::mem::take(&mut self.functions)
    }

    fn find(&mut self, at: usize) -> Result<Arc<Foreign>, Failure> {
        if let Some(foreign) = self.functions.get(&at) {
            return Ok(Arc::clone(foreign));
        }
        let (place, path) = place_of(at)?;
        let name = name_of(at, &place, &path);
        let mut bytes = bytemuck::bytes_of(&place).to_vec();
        bytes.extend_from_slice(path.as_os_str().as_bytes());
        let entry = *self.entries.entry(name).or_insert_with_key(|name| {
            let name = Box::leak(name.clone().into_boxed_str());
            Box::leak(Box::new(KernelEntry::new(run, name)))
        });
        let record = SharedArray::collect(bytes)?;
        let foreign = Arc::new(Foreign { entry, in_program: place.in_program != 0, record });
        self.functions.insert(at, Arc::clone(&foreign));
        Ok(foreign)
    }
}

/// The place of a function of this process.
pub(super) fn locate(function: Kernel) -> Result<Arc<Foreign>, Failure> {
    static KNOWN: LazyLock<Mutex<Known>> = LazyLock::new(Mutex::default);
    let at = function.map(|function| function as usize).ok_or_else(|| {
        Failure::invalid("`kernel` is a null pointer; pass a function of type pp_kernel")
    })?;
    forks::watch();
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let old = known.renew();
    let found = known.find(at);
    drop(known);
    drop(old);
    found
}

fn place_of(at: usize) -> Result<(Place, PathBuf), ForeignError> {
    let (place, base) = objects::find(|object| {
        object.holds_code(at).then(|| {
            let in_program = object.index == 0;
            let identity = if in_program { [0; 2] } else { object.identity() };
            let offset = at.wrapping_sub(object.base) as u64;
            (Place { in_program: in_program.into(), offset, identity }, object.base)
        })
    })
    .ok_or(ForeignError::NoFile { at })?;
    if place.in_program != 0 {
        return Ok((place, PathBuf::new()));
    }
    let file = objects::file_at(at);
    let file = file.map_err(|error| ForeignError::NoProc { reason: error.to_string() })?;
    let gone = || {
        let kernel = loader::symbol_at(at).unwrap_or_else(|| format!("at {base:#x}"));
        ForeignError::Gone { kernel }
    };
    Ok((place, file.ok_or_else(gone)?))
}

/// What errors call it: its symbol, or its place.
fn name_of(at: usize, place: &Place, path: &Path) -> String {
    loader::symbol_at(at).unwrap_or_else(|| {
        let program = std::env::current_exe().unwrap_or_default();
        let file = if place.in_program == 0 { path } else { &program };
        let file = file.file_name().unwrap_or(OsStr::new("program")).to_string_lossy();
        format!("{file}+{:#x}", place.offset)
    })
}

/// The function that the record in segment `id` speaks of, in this process.
pub(super) fn resolve(id: u64, record: &[u8]) -> Result<usize, String> {
    thread_local! {
        static LAST: Cell<(u64, usize)> = const { Cell::new((0, 0)) };
        static ALL: RefCell<HashMap<u64, usize>> = RefCell::default();
    }
    // The number of a segment is never used again, and the record never changed.
    let (last, at) = LAST.get();
    if last == id {
        return Ok(at);
    }
    let known = ALL.with_borrow(|all| all.get(&id).copied());
    let at = match known {
        Some(at) => at,
        None => find(record)?,
    };
    ALL.with_borrow_mut(|all| all.insert(id, at));
    LAST.set((id, at));
    Ok(at)
}

fn find(record: &[u8]) -> Result<usize, String> {
    let (place, path) = record
        .split_at_checked(size_of::<Place>())
        .ok_or("the kernel's record is too short; report this bug")?;
    let place: Place = bytemuck::pod_read_unaligned(place);
    let look = || {
        objects::find(|object| {
            let at = object.base.wrapping_add(place.offset as usize);
            let same = match place.in_program {
                0 => {
                    object.index != 0
                        && object.holds_code(at)
                        && object.identity() == place.identity
                }
                _ => object.index == 0 && object.holds_code(at),
            };
            same.then_some(at)
        })
    };
    if let Some(at) = look() {
        return Ok(at);
    }
    if place.in_program != 0 {
        return Err("the kernel is not in the worker's program; report this bug".into());
    }
    let path = Path::new(OsStr::from_bytes(path));
    loader::load(path, true).map_err(|why| {
        format!("the worker could not load the kernel's shared object {}: {why}", path.display())
    })?;
    look().ok_or_else(|| {
        format!(
            "the shared object {} is not the one that the program has loaded (their build ids \
             differ): it was replaced meanwhile; start the program anew",
            path.display()
        )
    })
}

/// Loads a shared object for good, and gives one of its functions as a kernel.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pp_kernel_load(
    path: *const c_char,
    symbol: *const c_char,
    out: *mut Kernel,
) -> Status {
    guarded(|| {
        // SAFETY: the contract of this module.
        let out = unsafe { pointers::Place::new(out, None, "out") }?;
        // SAFETY: as above.
        let path = unsafe { pointers::path(path, "path") }?;
        // SAFETY: as above.
        let symbol = unsafe { pointers::c_str(symbol, "symbol") }?;
        let failed = |why: String| {
            let path = path.display();
            Failure::new(PP_FOREIGN, format!("{path} cannot be used: {why}"))
        };
        let at = loader::load(path, false).map_err(failed)?.symbol(symbol).map_err(failed)?;
        if objects::find(|object| object.holds_code(at).then_some(())).is_none() {
            let name = symbol.to_string_lossy();
            return Err(failed(format!("{name} is no function; give the name of one")));
        }
        // SAFETY: it is code; that it is a function of this type is the contract of this module.
        out.put(unsafe { std::mem::transmute::<usize, Kernel>(at) });
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capi::kernel::Chunk;

    unsafe extern "C" fn nothing(_: *const Chunk, _: *mut std::ffi::c_void) -> i32 {
        0
    }

    #[test]
    fn a_function_of_the_program_is_found_again_by_its_record() {
        let foreign = locate(Some(nothing)).unwrap();
        assert!(foreign.in_program);
        assert!(Arc::ptr_eq(&foreign, &locate(Some(nothing)).unwrap()));
        assert_eq!(find(foreign.record.as_slice()), Ok(nothing as *const () as usize));
        assert!(foreign.kernel(true).unwrap_err_text().contains("in the program itself"));
    }

    #[test]
    fn a_function_of_a_shared_object_is_found_by_the_objects_identity() {
        let mut kernel = None;
        // SAFETY: both are terminated strings.
        let status = unsafe { pp_kernel_load(c"libc.so.6".as_ptr(), c"abs".as_ptr(), &mut kernel) };
        assert_eq!(status, 0);
        let foreign = locate(kernel).unwrap();
        assert!(!foreign.in_program && foreign.kernel(true).is_ok());
        let record = foreign.record.as_slice();
        assert_eq!(find(record), Ok(kernel.unwrap() as usize));
        // Another build: the file that the path names is not it.
        let mut other = record.to_vec();
        other[16] ^= 1;
        assert!(find(&other).unwrap_err().contains("build ids differ"));
        other.truncate(size_of::<Place>());
        other.extend_from_slice(b"/nowhere/k.so");
        assert!(find(&other).unwrap_err().contains("/nowhere/k.so"));
        assert!(find(&record[..8]).is_err());
    }

    #[test]
    fn code_that_no_file_holds_is_refused() {
        let memory = memmap2::MmapOptions::new().len(4096).map_anon().unwrap();
        let code = memory.make_exec().unwrap();
        // SAFETY: never called.
        let kernel = unsafe { std::mem::transmute::<usize, Kernel>(code.as_ptr() as usize) };
        assert!(locate(kernel).unwrap_err_text().contains("no file holds"));
        assert!(locate(None).unwrap_err_text().contains("null"));
    }

    trait ErrText {
        fn unwrap_err_text(self) -> String;
    }

    impl<T> ErrText for Result<T, Failure> {
        fn unwrap_err_text(self) -> String {
            self.err().expect("an error").text().to_owned()
        }
    }
}
