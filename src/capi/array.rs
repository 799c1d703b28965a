//! Arrays.

use std::ffi::{CString, c_char, c_void};
use std::ptr;

use super::dtype::{
    CDtype, PP_BOOL, PP_F64, PP_NONE, PP_U8, PP_U16, PP_U32, PP_U64, code, dtype as dtype_of,
};
use super::pointers;
use super::status::{Failure, PP_ARRAY, Status, guarded, value};
use crate::array::AnyArray;

/// An n-dimensional array in shared memory or in a file.
#[derive(Debug)]
pub struct Array {
    pub(super) array: AnyArray,
    name: Option<CString>,
    descr: CString,
}

impl Array {
    fn of(array: AnyArray) -> Array {
        let name = array.name().and_then(|name| CString::new(name).ok());
        let descr = CString::new(array.dtype().descr()).unwrap_or_default();
        Array { array, name, descr }
    }

    /// The first element, where there is one to look at.
    fn data(&self) -> Result<*mut u8, Failure> {
        if self.array.segment().is_mapped() {
            return Ok(self.array.data());
        }
        Err(Failure::new(
            PP_ARRAY,
            "this process is a fork of the one that made or opened the array, and has not its \
             memory; give the array a name and open it after the fork",
        ))
    }

    /// The bytes of all elements.
    ///
    /// # Safety
    /// Nobody writes them while the slice is used.
    unsafe fn bytes(&self) -> Result<&[u8], Failure> {
        // SAFETY: the data are so many bytes inside the mapping, which `self` keeps; the rest of
        // the contract is the caller's.
        Ok(unsafe { std::slice::from_raw_parts(self.data()?, self.array.bytes()) })
    }
}

impl Drop for Array {
    fn drop(&mut self) {
        // At once: a thread that is just sending the descriptor to a worker may hold the segment for
        // a moment longer, and who makes an array of the name next would find it taken.
        self.array.segment().unname();
    }
}

/// Gives an array to C.
pub(super) fn give(array: AnyArray) -> *mut Array {
    Box::into_raw(Box::new(Array::of(array)))
}

/// # Safety
/// The contract of this module.
unsafe fn made(
    out: *mut *mut Array,
    ndim: usize,
    shape: *const usize,
    make: impl FnOnce(&[usize]) -> Result<AnyArray, Failure>,
) -> Status {
    guarded(|| {
        // SAFETY: the contract is the caller's.
        let out = unsafe { pointers::Place::new(out, ptr::null_mut(), "out") }?;
        // SAFETY: as above.
        let shape = unsafe { pointers::slice(shape, ndim, "shape") }?;
        out.put(give(make(shape)?));
        Ok(())
    })
}

/// Makes an array of zero bytes that has no name: the usual one, for the pool's own workers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pp_array_zeros(
    dtype: CDtype,
    ndim: usize,
    shape: *const usize,
    out: *mut *mut Array,
) -> Status {
    let make = |shape: &[usize]| Ok(AnyArray::zeros(dtype_of(dtype)?, shape)?);
    // SAFETY: the contract of this module.
    unsafe { made(out, ndim, shape, make) }
}

/// Makes a nameless array that holds a copy of the elements at `data`, in C order.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pp_array_copy(
    dtype: CDtype,
    ndim: usize,
    shape: *const usize,
    data: *const c_void,
    out: *mut *mut Array,
) -> Status {
    let make = |shape: &[usize]| {
        let array = AnyArray::zeros(dtype_of(dtype)?, shape)?;
        // SAFETY: the contract of this module.
        let from = unsafe { pointers::slice(data.cast::<u8>(), array.bytes(), "data") }?;
        // SAFETY: the array was made just now, of so many bytes, and nobody else has it.
        unsafe { ptr::copy_nonoverlapping(from.as_ptr(), array.data(), from.len()) };
        Ok(array)
    };
    // SAFETY: the contract of this module.
    unsafe { made(out, ndim, shape, make) }
}

/// Makes an array of zero bytes that other programs find as /dev/shm/NAME. No other program may
/// write into it while a job works on it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pp_array_create_named(
    name: *const c_char,
    dtype: CDtype,
    ndim: usize,
    shape: *const usize,
    out: *mut *mut Array,
) -> Status {
    let make = |shape: &[usize]| {
        // SAFETY: the contract of this module.
        let name = unsafe { pointers::text(name, "name") }?;
        Ok(AnyArray::create_named(name, dtype_of(dtype)?, shape)?)
    };
    // SAFETY: the contract of this module.
    unsafe { made(out, ndim, shape, make) }
}

/// Makes an array of zero bytes in a new `.npy` file, which stays when the array is freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pp_array_create_file(
    path: *const c_char,
    dtype: CDtype,
    ndim: usize,
    shape: *const usize,
    out: *mut *mut Array,
) -> Status {
    let make = |shape: &[usize]| {
        // SAFETY: the contract of this module.
        let path = unsafe { pointers::path(path, "path") }?;
        Ok(AnyArray::create_file(path, dtype_of(dtype)?, shape)?)
    };
    // SAFETY: the contract of this module.
    unsafe { made(out, ndim, shape, make) }
}

/// Opens the array that another process of this user made as /dev/shm/NAME.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pp_array_open_named(
    name: *const c_char,
    writable: bool,
    out: *mut *mut Array,
) -> Status {
    let make = |_: &[usize]| {
        // SAFETY: the contract of this module.
        let name = unsafe { pointers::text(name, "name") }?;
        Ok(AnyArray::open_named(name, writable)?)
    };
    // SAFETY: the contract of this module.
    unsafe { made(out, 0, ptr::null(), make) }
}

/// Opens a `.npy` file in place: what changes in the array changes in the file.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pp_array_open_file(
    path: *const c_char,
    writable: bool,
    out: *mut *mut Array,
) -> Status {
    let make = |_: &[usize]| {
        // SAFETY: the contract of this module.
        let path = unsafe { pointers::path(path, "path") }?;
        Ok(AnyArray::open_file(path, writable)?)
    };
    // SAFETY: the contract of this module.
    unsafe { made(out, 0, ptr::null(), make) }
}

/// Unmaps an array, and removes its name if this process made it under one and did not have it
/// stay; null is fine. Jobs under way keep its memory.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pp_array_free(array: *mut Array) {
    guarded(|| {
        if !array.is_null() {
            // SAFETY: made here, freed once: the contract of this module.
            drop(unsafe { Box::from_raw(array) });
        }
        Ok(())
    });
}

/// # Safety
/// The contract of this module.
pub(super) unsafe fn array<'a>(array: *const Array) -> Result<&'a AnyArray, Failure> {
    // SAFETY: the contract is the caller's.
    Ok(&unsafe { pointers::borrow(array, "array") }?.array)
}

/// The first element; null for null, and in a process that was forked since: an array is not mapped
/// there. A store into an array that was opened read-only is a SIGSEGV.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pp_array_data(array: *const Array) -> *mut c_void {
    value(ptr::null_mut(), || {
        // SAFETY: the contract of this module.
        Ok(unsafe { pointers::borrow(array, "array") }?.data()?.cast())
    })
}

/// How many axes it has; 0 for null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pp_array_ndim(array: *const Array) -> usize {
    value(0, || {
        // SAFETY: the contract of this module.
        Ok(unsafe { self::array(array) }?.shape().len())
    })
}

/// The length of each axis: `pp_array_ndim` numbers that stay as long as the array; null for null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pp_array_shape(array: *const Array) -> *const usize {
    value(ptr::null(), || {
        // SAFETY: the contract of this module.
        Ok(unsafe { self::array(array) }?.shape().as_ptr())
    })
}

/// How many elements it has; 0 for null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pp_array_len(array: *const Array) -> usize {
    value(0, || {
        // SAFETY: the contract of this module.
        Ok(unsafe { self::array(array) }?.len())
    })
}

/// Its element type; `PP_NONE` for null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pp_array_dtype(array: *const Array) -> CDtype {
    value(PP_NONE, || {
        // SAFETY: the contract of this module.
        Ok(code(unsafe { self::array(array) }?.dtype()))
    })
}

/// Its element type as its header has it, such as "<f8"; null for null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pp_array_dtype_text(array: *const Array) -> *const c_char {
    value(ptr::null(), || {
        // SAFETY: the contract of this module.
        Ok(unsafe { pointers::borrow(array, "array") }?.descr.as_ptr())
    })
}

/// Bytes of an element; 0 for null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pp_array_item_bytes(array: *const Array) -> usize {
    value(0, || {
        // SAFETY: the contract of this module.
        Ok(unsafe { self::array(array) }?.dtype().item_bytes())
    })
}

/// Whether it may be changed; false for null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pp_array_writable(array: *const Array) -> bool {
    value(false, || {
        // SAFETY: the contract of this module.
        Ok(unsafe { self::array(array) }?.is_writable())
    })
}

/// Its name under /dev/shm; null where it has none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pp_array_name(array: *const Array) -> *const c_char {
    value(ptr::null(), || {
        // SAFETY: the contract of this module.
        let array = unsafe { pointers::borrow(array, "array") }?;
        Ok(array.name.as_ref().map_or(ptr::null(), |name| name.as_ptr()))
    })
}

/// The chunk length that is used for 0: a function of the shape alone; 0 for null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pp_array_default_chunk(array: *const Array) -> usize {
    value(0, || {
        // SAFETY: the contract of this module.
        Ok(unsafe { self::array(array) }?.default_chunk())
    })
}

/// Has its name outlive everybody (or not): `pinpool segments gc` lets such a segment stay.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pp_array_set_persist(array: *mut Array, persist: bool) -> Status {
    guarded(|| {
        // SAFETY: the contract of this module.
        let array = unsafe { self::array(array) }?;
        array.set_persist(persist).map_err(|error| {
            Failure::new(PP_ARRAY, format!("cannot write the registry in /dev/shm: {error}"))
        })
    })
}

/// Saves it as a `.npy` file. A file that is there is replaced in one step, and left as it is on an
/// error.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pp_array_save(array: *const Array, path: *const c_char) -> Status {
    guarded(|| {
        // SAFETY: the contract of this module.
        let array = unsafe { pointers::borrow(array, "array") }?;
        // SAFETY: as above.
        let path = unsafe { pointers::path(path, "path") }?;
        // SAFETY: as above; no job works on it meanwhile.
        let bytes = unsafe { array.bytes() }?;
        Ok(array.array.save(path, bytes)?)
    })
}

/// The sum of all elements of a `PP_F64` array, by a fixed tree over the index: the same bits
/// whoever computed them.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pp_array_total_f64(array: *const Array, total: *mut f64) -> Status {
    guarded(|| {
        // SAFETY: the contract of this module.
        let total = unsafe { pointers::Place::new(total, f64::NAN, "total") }?;
        // SAFETY: as above.
        let array = unsafe { pointers::borrow(array, "array") }?;
        let code = code(array.array.dtype());
        if code != PP_F64 {
            return Err(Failure::invalid(format!(
                "the array holds {}; this is the total of doubles (<f8)",
                array.array.dtype()
            )));
        }
        // SAFETY: as above; no job works on it meanwhile.
        let bytes = unsafe { array.bytes() }?;
        let elements = bytemuck::try_cast_slice(bytes)
            .map_err(|error| Failure::invalid(format!("the data cannot be read: {error}")))?;
        total.put(pinpool_kernels::tree_fold(elements));
        Ok(())
    })
}

/// The sum of all elements of an array of bools or unsigned integers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pp_array_total_u64(array: *const Array, total: *mut u64) -> Status {
    guarded(|| {
        // SAFETY: the contract of this module.
        let total = unsafe { pointers::Place::new(total, 0, "total") }?;
        // SAFETY: as above.
        let array = unsafe { pointers::borrow(array, "array") }?;
        let code = code(array.array.dtype());
        if !matches!(code, PP_BOOL | PP_U8 | PP_U16 | PP_U32 | PP_U64) {
            return Err(Failure::invalid(format!(
                "the array holds {}; this is the total of bools and unsigned integers",
                array.array.dtype()
            )));
        }
        // SAFETY: as above; no job works on it meanwhile.
        let bytes = unsafe { array.bytes() }?;
        let item = array.array.dtype().item_bytes();
        let sum = bytes.chunks_exact(item).try_fold(0u64, |sum, element| {
            let mut word = [0; 8];
            word[..item].copy_from_slice(element);
            // A bool is true for all but 0, whoever wrote it.
            let one = u64::from_le_bytes(word);
            sum.checked_add(if code == PP_BOOL { one.min(1) } else { one })
        });
        total.put(sum.ok_or_else(|| Failure::invalid("the sum does not fit 64 bits"))?);
        Ok(())
    })
}
