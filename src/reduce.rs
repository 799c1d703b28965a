//! Results folded into one value, by a tree that the number of slots alone decides.

#![forbid(unsafe_code)]

use ndarray::Dimension;

use crate::array::SharedArray;

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

impl<D: Dimension> SharedArray<f64, D> {
    /// The sum of all elements by a fixed tree over the index, in row-major order: the same bits
    /// whoever computed them. The sum of no elements is −0.0, the neutral element.
    #[must_use]
    pub fn total(&self) -> f64 {
        tree(self.as_slice(), |a, b| a + b).unwrap_or(-0.0)
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
