//! Results folded into one value, by a tree that the number of slots alone decides.

#![forbid(unsafe_code)]

use bytemuck::Pod;
use ndarray::Dimension;

use crate::args::Args;
use crate::array::SharedArray;
use crate::ctx::Ctx;
use crate::error::Result;
use crate::pool::{Job, Pool};

/// Folds values by a balanced tree over the index: neighbours first, an odd one out moves up.
pub(crate) fn tree<T: Copy>(values: &[T], fold: impl Fn(T, T) -> T) -> Option<T> {
    let mut level: Vec<T> = values.to_vec();
    while level.len() > 1 {
        let half = level.len().div_ceil(2);
        for i in 0..half {
            level[i] = match level.get(2 * i + 1) {
                Some(&right) => fold(level[2 * i], right),
                None => level[2 * i],
            };
        }
        level.truncate(half);
    }
    level.first().copied()
}

/// Numbers that [`SharedArray::total`] adds up: `f32`, `f64`, and all integers.
pub trait Total: Pod {
    #[doc(hidden)]
    fn total_of(values: &[Self]) -> Self;
}

macro_rules! floats {
    ($($float:ty)+) => {$(
        impl Total for $float {
            fn total_of(values: &[$float]) -> $float {
                tree(values, |a, b| a + b).unwrap_or(-0.0)
            }
        }
    )+};
}

floats!(f32 f64);

macro_rules! integers {
    ($($integer:ty)+) => {$(
        impl Total for $integer {
            fn total_of(values: &[$integer]) -> $integer {
                let sum = values.iter().try_fold(0, |sum: $integer, &x| sum.checked_add(x));
                sum.expect("the sum does not fit its type; map to a wider one")
            }
        }
    )+};
}

integers!(u8 u16 u32 u64 usize u128 i8 i16 i32 i64 isize i128);

impl<T: Total, D: Dimension> SharedArray<T, D> {
    /// The sum of all elements, in row-major order: of floats by a fixed tree over the index, so
    /// that it has the same bits whoever computed them. The sum of no floats is −0.0, the neutral
    /// element.
    ///
    /// # Panics
    /// Where a sum of integers does not fit their type: map to a wider one.
    #[must_use]
    pub fn total(&self) -> T {
        T::total_of(self.as_slice())
    }
}

impl<T: Pod, D: Dimension> SharedArray<T, D> {
    /// Folds all elements by a fixed tree over the index, in row-major order: neighbours first,
    /// an odd one out moves up. The same bits whoever computed them, also where `fold` is not
    /// associative. `None` for no elements.
    ///
    /// ```
    /// let x = pinpool::SharedArray::collect([3.0, 1.0, 2.0])?;
    /// assert_eq!(x.reduce(f64::max), Some(3.0));
    /// # Ok::<(), pinpool::CreateError>(())
    /// ```
    #[must_use]
    pub fn reduce(&self, fold: impl Fn(T, T) -> T) -> Option<T> {
        tree(self.as_slice(), fold)
    }
}

impl Job<'_> {
    /// As [`Pool::map_reduce`].
    ///
    /// # Errors
    /// As [`Pool::map`].
    pub fn map_reduce<A, F, R>(self, args: A, f: F, fold: impl Fn(R, R) -> R) -> Result<Option<R>>
    where
        A: Args,
        F: for<'w> Fn(A::Item<'w>, &mut Ctx) -> R + Copy + Send + 'static,
        R: Pod,
    {
        Ok(self.map(args, f)?.reduce(fold))
    }
}

impl Pool {
    /// Runs `f` once for each chunk and folds the results by a fixed tree over the chunks' numbers,
    /// so that the value has the same bits for any number of workers. `None` for no chunks.
    ///
    /// `fold` runs in the caller and may capture.
    ///
    /// # Errors
    /// As [`map`](Self::map).
    pub fn map_reduce<A, F, R>(&self, args: A, f: F, fold: impl Fn(R, R) -> R) -> Result<Option<R>>
    where
        A: Args,
        F: for<'w> Fn(A::Item<'w>, &mut Ctx) -> R + Copy + Send + 'static,
        R: Pod,
    {
        self.job().map_reduce(args, f, fold)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_pairs_neighbours_and_moves_the_odd_one_up() {
        let text = |a: &'static str, b: &'static str| -> &'static str {
            Box::leak(format!("({a}{b})").into_boxed_str())
        };
        assert_eq!(tree(&["a", "b", "c", "d", "e"], text), Some("(((ab)(cd))e)"));
        assert_eq!(tree(&["a"], text), Some("a"));
        assert_eq!(tree(&[], text), None);
    }
}
