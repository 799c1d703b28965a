//! Element types as numbers.

#![forbid(unsafe_code)]

use super::status::Failure;
use crate::element::{DTYPES, Dtype};

/// An element type: one of the constants below, or `PP_RAW | size`.
pub type CDtype = u32;

/// No element type: a job without results.
pub const PP_NONE: CDtype = 0;
/// One byte, 0 or 1.
pub const PP_BOOL: CDtype = 1;
/// `int8_t`.
pub const PP_I8: CDtype = 2;
/// `int16_t`.
pub const PP_I16: CDtype = 3;
/// `int32_t`.
pub const PP_I32: CDtype = 4;
/// `int64_t`.
pub const PP_I64: CDtype = 5;
/// `uint8_t`.
pub const PP_U8: CDtype = 6;
/// `uint16_t`.
pub const PP_U16: CDtype = 7;
/// `uint32_t`.
pub const PP_U32: CDtype = 8;
/// `uint64_t`.
pub const PP_U64: CDtype = 9;
/// `float`.
pub const PP_F32: CDtype = 10;
/// `double`.
pub const PP_F64: CDtype = 11;
/// `float complex`.
pub const PP_C64: CDtype = 12;
/// `double complex`.
pub const PP_C128: CDtype = 13;
/// An element type of raw bytes, numpy's `|V{size}`: `PP_RAW | sizeof(struct thing)`.
pub const PP_RAW: CDtype = 0x8000_0000;

/// The element type that a number names; the constants are in the order of the table.
pub(super) fn dtype(code: CDtype) -> Result<Dtype, Failure> {
    match code {
        1..=13 => Ok(DTYPES[code as usize - 1].clone()),
        _ if code > PP_RAW => Ok(Dtype::void((code & !PP_RAW) as usize)),
        _ => Err(Failure::invalid(format!(
            "{code:#x} is no element type; use a constant such as PP_F64, or PP_RAW | size"
        ))),
    }
}

pub(super) fn code(dtype: &Dtype) -> CDtype {
    match DTYPES.iter().position(|known| known == dtype) {
        Some(index) => index as CDtype + 1,
        None => PP_RAW | dtype.item_bytes() as CDtype,
    }
}
