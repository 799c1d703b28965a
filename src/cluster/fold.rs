//! The fixed tree over all slots, folded in parts: each rank folds the whole subtrees of its own
//! slots, and neighbours put together what they have. The same pairs in the same order as
//! [`SharedArray::reduce`](crate::SharedArray::reduce) makes on one node, so the same bits.

#![forbid(unsafe_code)]

use bytemuck::Pod;

/// A subtree that is folded: number `index` of its level; level 0 are the slots.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Node<T> {
    level: u32,
    index: u64,
    value: T,
}

/// Folded subtrees of a run of slots, from left to right: at most two of a level.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Partial<T> {
    total: u64,
    nodes: Vec<Node<T>>,
}

impl<T: Copy> Partial<T> {
    /// Of the slots from number `first` on, of `total` in all.
    pub(super) fn of(first: u64, total: u64, slots: &[T], fold: &impl Fn(T, T) -> T) -> Self {
        let mut partial = Partial { total, nodes: Vec::new() };
        for (index, &value) in (first..).zip(slots) {
            partial.push(Node { level: 0, index, value }, fold);
        }
        partial
    }

    /// Puts what lies to the right of all here beside it.
    pub(super) fn join(&mut self, right: &Self, fold: &impl Fn(T, T) -> T) {
        for &node in &right.nodes {
            self.push(node, fold);
        }
    }

    /// The value of all slots, where all are in it.
    pub(super) fn root(&self) -> Option<T> {
        let all = |level: u32| self.count(level) == 1;
        self.nodes.first().filter(|node| all(node.level)).map(|node| node.value)
    }

    fn push(&mut self, mut node: Node<T>, fold: &impl Fn(T, T) -> T) {
        loop {
            let count = self.count(node.level);
            let up = |value| Node { level: node.level + 1, index: node.index / 2, value };
            if count <= 1 {
                break;
            }
            if node.index.is_multiple_of(2) {
                if node.index + 1 != count {
                    break;
                }
                // The odd one out moves up.
                node = up(node.value);
                continue;
            }
            let left = self.nodes.pop_if(|n| (n.level, n.index + 1) == (node.level, node.index));
            let Some(left) = left else { break };
            node = up(fold(left.value, node.value));
        }
        self.nodes.push(node);
    }

    /// How many nodes a level has.
    fn count(&self, level: u32) -> u64 {
        if level > 63 { 1 } else { self.total.div_ceil(1 << level) }
    }
}

impl<T: Pod> Partial<T> {
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for node in &self.nodes {
            bytes.extend_from_slice(&u64::from(node.level).to_ne_bytes());
            bytes.extend_from_slice(&node.index.to_ne_bytes());
            bytes.extend_from_slice(bytemuck::bytes_of(&node.value));
        }
        bytes
    }

    pub(super) fn from_bytes(total: u64, bytes: &[u8]) -> Self {
        let word = |at: &[u8]| bytemuck::pod_read_unaligned::<u64>(&at[..8]);
        let node = |at: &[u8]| Node {
            level: word(at) as u32,
            index: word(&at[8..]),
            value: bytemuck::pod_read_unaligned(&at[16..]),
        };
        Partial { total, nodes: bytes.chunks_exact(16 + size_of::<T>()).map(node).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reduce::tree;
    use proptest::prelude::*;

    /// Not associative, so that another tree gives another value.
    fn fold(a: u64, b: u64) -> u64 {
        a.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23) ^ b
    }

    proptest! {
        #[test]
        fn parts_put_together_give_the_value_of_the_tree(
            slots in prop::collection::vec(any::<u64>(), 0..300),
            mut cuts in prop::collection::vec(0usize..300, 0..12),
        ) {
            cuts.iter_mut().for_each(|cut| *cut = (*cut).min(slots.len()));
            cuts.extend([0, slots.len()]);
            cuts.sort_unstable();
            let total = slots.len() as u64;
            let mut parts: Vec<_> = cuts
                .windows(2)
                .map(|w| Partial::of(w[0] as u64, total, &slots[w[0]..w[1]], &fold))
                .map(|part| Partial::from_bytes(total, &part.to_bytes()))
                .collect();
            prop_assert!(parts.iter().all(|part| part.nodes.len() <= 20));
            // In pairs, as the ranks do it.
            while parts.len() > 1 {
                let pairs = parts.chunks(2).map(|pair| {
                    let mut left = pair[0].clone();
                    if let Some(right) = pair.get(1) {
                        left.join(right, &fold);
                    }
                    left
                });
                parts = pairs.collect();
            }
            prop_assert_eq!(parts[0].root(), tree(&slots, fold));
        }
    }
}
