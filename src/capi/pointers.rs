//! What C passes, as what Rust can use: each pointer is looked at once, here.

use std::ffi::{CStr, OsStr, c_char, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::status::Failure;

fn missing(what: &str) -> Failure {
    Failure::invalid(format!("`{what}` is a null pointer; pass a valid one"))
}

/// # Safety
/// Null, or a `T` that stays as it is while the reference is used.
pub(super) unsafe fn borrow<'a, T>(at: *const T, what: &str) -> Result<&'a T, Failure> {
    // SAFETY: the contract is the caller's.
    unsafe { at.as_ref() }.ok_or_else(|| missing(what))
}

/// # Safety
/// Null, or a `T` that nobody else uses while the reference is used.
pub(super) unsafe fn borrow_mut<'a, T>(at: *mut T, what: &str) -> Result<&'a mut T, Failure> {
    // SAFETY: the contract is the caller's.
    unsafe { at.as_mut() }.ok_or_else(|| missing(what))
}

/// # Safety
/// Null, or `len` values of `T` that stay as they are while the slice is used.
pub(super) unsafe fn slice<'a, T>(
    at: *const T,
    len: usize,
    what: &str,
) -> Result<&'a [T], Failure> {
    if len == 0 {
        return Ok(&[]);
    }
    check::<T>(at, len, what)?;
    // SAFETY: not null, aligned, of a possible length; the rest of the contract is the caller's.
    Ok(unsafe { std::slice::from_raw_parts(at, len) })
}

/// # Safety
/// Null, or room for `len` values of `T` that nobody else uses while the slice is used.
pub(super) unsafe fn slice_mut<'a, T>(
    at: *mut T,
    len: usize,
    what: &str,
) -> Result<&'a mut [T], Failure> {
    if len == 0 {
        return Ok(&mut []);
    }
    check::<T>(at, len, what)?;
    // SAFETY: as in `slice`, and nobody else uses it.
    Ok(unsafe { std::slice::from_raw_parts_mut(at, len) })
}

fn check<T>(at: *const T, len: usize, what: &str) -> Result<(), Failure> {
    if at.is_null() {
        return Err(missing(what));
    }
    if !at.is_aligned() {
        return Err(Failure::invalid(format!("`{what}` is not aligned for its elements")));
    }
    let possible = len.checked_mul(size_of::<T>()).is_some_and(|b| isize::try_from(b).is_ok());
    if !possible {
        return Err(Failure::invalid(format!("`{what}` cannot have {len} elements")));
    }
    Ok(())
}

/// # Safety
/// Null, or a terminated string that stays as it is while the reference is used.
pub(super) unsafe fn c_str<'a>(at: *const c_char, what: &str) -> Result<&'a CStr, Failure> {
    if at.is_null() {
        return Err(missing(what));
    }
    // SAFETY: not null; the rest of the contract is the caller's.
    Ok(unsafe { CStr::from_ptr(at) })
}

/// # Safety
/// As [`c_str`].
pub(super) unsafe fn text<'a>(at: *const c_char, what: &str) -> Result<&'a str, Failure> {
    // SAFETY: the contract is the caller's.
    let text = unsafe { c_str(at, what) }?;
    text.to_str().map_err(|_| Failure::invalid(format!("`{what}` is no UTF-8")))
}

/// # Safety
/// As [`c_str`].
pub(super) unsafe fn path<'a>(at: *const c_char, what: &str) -> Result<&'a Path, Failure> {
    // SAFETY: the contract is the caller's.
    let text = unsafe { c_str(at, what) }?;
    Ok(Path::new(OsStr::from_bytes(text.to_bytes())))
}

/// Where C wants a result. An address and no reference: C may look there while the call goes on, from
/// another thread or a progress function, and may have it overlap with what the call reads.
#[derive(Debug)]
pub(super) struct Place<T>(*mut T);

impl<T> Place<T> {
    /// It holds `none` from now on, also where the call fails.
    ///
    /// # Safety
    /// `at` is null, or room for a `T` for as long as the place is used.
    pub(super) unsafe fn new(at: *mut T, none: T, what: &str) -> Result<Place<T>, Failure> {
        check(at, 1, what)?;
        // SAFETY: not null and aligned; the rest of the contract is the caller's.
        unsafe { at.write(none) };
        Ok(Place(at))
    }

    pub(super) fn put(self, value: T) {
        // SAFETY: room for a `T`, as `new` was promised.
        unsafe { self.0.write(value) };
    }
}

/// Where C wants the bytes of a result; an address, as a [`Place`] is one.
#[derive(Debug)]
pub(super) struct Room {
    at: *mut u8,
    bytes: usize,
}

impl Room {
    /// # Safety
    /// `at` is null, or room for so many bytes for as long as this is used.
    pub(super) unsafe fn new(at: *mut c_void, bytes: usize, what: &str) -> Result<Room, Failure> {
        let at = at.cast::<u8>();
        if bytes > 0 {
            check(at, bytes, what)?;
        }
        Ok(Room { at, bytes })
    }

    /// Fills it from the bytes at `from`.
    ///
    /// # Safety
    /// There are as many, which nobody writes meanwhile.
    pub(super) unsafe fn fill(self, from: *const u8) {
        if self.bytes > 0 {
            // SAFETY: the contract is the caller's; room for so many, as `new` was promised. They
            // may overlap for all that is known.
            unsafe { self.at.copy_from(from, self.bytes) };
        }
    }
}
