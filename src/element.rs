//! What an array holds: plain old data, and its NPY dtype.
//!
//! Every fixed-width integer, `f32`, `f64`, both complex types and [`Bool`] have an NPY dtype of
//! their own; any other [`Pod`] type is stored as raw bytes, `|V{size}`. Little endian only, as are
//! the machines that pinpool runs on. Nothing here touches memory that others can write.
#![forbid(unsafe_code)]

use std::any::TypeId;
use std::borrow::Cow;
use std::fmt;

pub use bytemuck::Pod;
use num_complex::{Complex32, Complex64};

/// A bool as NPY has it: one byte, `|b1`.
///
/// Every bit pattern is valid, since other processes can write the byte: 0 is false, all else true.
#[derive(Clone, Copy, Default, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(transparent)]
pub struct Bool(u8);

impl Bool {
    /// The value as a Rust `bool`.
    #[must_use]
    pub fn get(self) -> bool {
        self.0 != 0
    }
}

impl From<bool> for Bool {
    fn from(value: bool) -> Self {
        Self(u8::from(value))
    }
}

impl From<Bool> for bool {
    fn from(value: Bool) -> Self {
        value.get()
    }
}

impl PartialEq for Bool {
    fn eq(&self, other: &Self) -> bool {
        self.get() == other.get()
    }
}

impl Eq for Bool {}

impl PartialEq<bool> for Bool {
    fn eq(&self, other: &bool) -> bool {
        self.get() == *other
    }
}

impl fmt::Debug for Bool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}

/// The dtype of an array: its NPY type string and the size of one element.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dtype {
    descr: Cow<'static, str>,
    item_bytes: usize,
}

impl Dtype {
    pub(crate) const fn known(descr: &'static str, item_bytes: usize) -> Self {
        Self { descr: Cow::Borrowed(descr), item_bytes }
    }

    /// Raw bytes, numpy's void type: what has no dtype of its own.
    pub(crate) fn void(item_bytes: usize) -> Self {
        Self { descr: Cow::Owned(format!("|V{item_bytes}")), item_bytes }
    }

    /// The type string as in an NPY header: `<f8`, `|u1`, `|V24`.
    #[must_use]
    pub fn descr(&self) -> &str {
        &self.descr
    }

    /// Bytes of one element.
    #[must_use]
    pub fn item_bytes(&self) -> usize {
        self.item_bytes
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.descr)
    }
}

/// Every dtype with a Rust type of its own, as numpy writes it.
pub(crate) static DTYPES: [Dtype; 13] = [
    Dtype::known("|b1", 1),
    Dtype::known("|i1", 1),
    Dtype::known("<i2", 2),
    Dtype::known("<i4", 4),
    Dtype::known("<i8", 8),
    Dtype::known("|u1", 1),
    Dtype::known("<u2", 2),
    Dtype::known("<u4", 4),
    Dtype::known("<u8", 8),
    Dtype::known("<f4", 4),
    Dtype::known("<f8", 8),
    Dtype::known("<c8", 8),
    Dtype::known("<c16", 16),
];

/// The dtype under which elements of type `T` are stored.
///
/// ```
/// assert_eq!(pinpool::dtype_of::<f64>().descr(), "<f8");
/// assert_eq!(pinpool::dtype_of::<[u64; 3]>().descr(), "|V24");
/// ```
#[must_use]
pub fn dtype_of<T: Pod>() -> Dtype {
    let types = [
        TypeId::of::<Bool>(),
        TypeId::of::<i8>(),
        TypeId::of::<i16>(),
        TypeId::of::<i32>(),
        TypeId::of::<i64>(),
        TypeId::of::<u8>(),
        TypeId::of::<u16>(),
        TypeId::of::<u32>(),
        TypeId::of::<u64>(),
        TypeId::of::<f32>(),
        TypeId::of::<f64>(),
        TypeId::of::<Complex32>(),
        TypeId::of::<Complex64>(),
    ];
    let wanted = pointer_sized::<T>().unwrap_or(TypeId::of::<T>());
    match types.iter().position(|&id| id == wanted) {
        Some(index) => DTYPES[index].clone(),
        None => Dtype::void(size_of::<T>()),
    }
}

/// `usize` and `isize` are stored as the fixed-width integers that they are on these machines.
fn pointer_sized<T: Pod>() -> Option<TypeId> {
    let id = TypeId::of::<T>();
    if id == TypeId::of::<usize>() {
        Some(TypeId::of::<u64>())
    } else if id == TypeId::of::<isize>() {
        Some(TypeId::of::<i64>())
    } else {
        None
    }
}
