//! Arguments that are nothing but a few parameters: known from their type, and packed for the record
//! of a call without a description.

#![forbid(unsafe_code)]

use crate::layout::CALL_PARAM_WORDS;

/// What a type of arguments is made of.
#[doc(hidden)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Made {
    /// So many parameters of so many bytes in all.
    OfParams { params: usize, bytes: usize },
    /// Of other things too.
    OfMore,
}

impl Made {
    pub(super) const fn and(self, other: Made) -> Made {
        match (self, other) {
            (Made::OfParams { params: n, bytes: a }, Made::OfParams { params: m, bytes: b }) => {
                Made::OfParams { params: n + m, bytes: a + b }
            }
            _ => Made::OfMore,
        }
    }

    /// Whether the record of a call has room for them.
    pub(crate) const fn is_small(self) -> bool {
        match self {
            Made::OfParams { params, bytes } => {
                params <= CALL_PARAM_WORDS && bytes <= CALL_PARAM_WORDS * 8
            }
            Made::OfMore => false,
        }
    }
}

/// Parameters one behind the other, and the length of each.
#[doc(hidden)]
#[derive(Debug, Default)]
pub struct Packed {
    pub(crate) words: [u64; CALL_PARAM_WORDS],
    pub(crate) lengths: [u8; CALL_PARAM_WORDS],
    pub(crate) params: usize,
    pub(crate) bytes: usize,
}

impl Packed {
    /// Adds a parameter; together they [are small](Made::is_small).
    #[inline]
    pub(crate) fn push(&mut self, value: &[u8]) {
        let end = self.bytes + value.len();
        bytemuck::cast_slice_mut::<u64, u8>(&mut self.words)[self.bytes..end]
            .copy_from_slice(value);
        self.lengths[self.params] = value.len() as u8;
        self.params += 1;
        self.bytes = end;
    }
}
