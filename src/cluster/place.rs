//! Which PUs of its node a rank takes, where the launcher has not said.
//!
//! A pure function of the masks of the node's ranks. What the launcher has bound (masks with
//! nothing in common: `srun --cpu-bind`, `mpirun --map-by`) is left as it is.

#![forbid(unsafe_code)]

use crate::chunk::share;
use crate::topology::{PuSet, Topology};

/// What a rank takes of its node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// All that its mask allows.
    Mask,
    /// These PUs of it.
    Part(PuSet),
}

/// The place of rank `local` of a node whose ranks have these masks; `topology` is that of the
/// calling rank.
pub(super) fn place(topology: &Topology, masks: &[PuSet], local: usize) -> Place {
    let same = masks.iter().all(|mask| *mask == masks[local]);
    let cores = topology.usable_cores();
    if masks.len() < 2 || !same || cores.is_empty() {
        return Place::Mask;
    }
    let ranks = masks.len();
    let mine = if ranks <= cores.len() {
        // In logical order, so that as many ranks as NUMA nodes take a node each.
        share(cores.len() as u64, local, ranks)
    } else {
        let core = (local % cores.len()) as u64;
        core..core + 1
    };
    let mine = &cores[mine.start as usize..mine.end as usize];
    Place::Part(mine.iter().flat_map(|core| core.allowed.iter().copied()).collect())
}

/// The mask as words for the other ranks, and back.
pub(super) fn to_words(mask: &PuSet, words: usize) -> Vec<u64> {
    let mut bits = vec![0; words];
    for pu in mask.iter() {
        if let Some(word) = bits.get_mut(pu / 64) {
            *word |= 1 << (pu % 64);
        }
    }
    bits
}

pub(super) fn from_words(words: &[u64]) -> PuSet {
    let has = |pu: &usize| words[pu / 64] >> (pu % 64) & 1 == 1;
    (0..words.len() * 64).filter(has).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(machine: &str, masks: &[PuSet]) -> Vec<String> {
        let topology = Topology::synthetic(machine).unwrap();
        let text = |local| match place(&topology, masks, local) {
            Place::Mask => "mask".to_owned(),
            Place::Part(pus) => pus.to_string(),
        };
        (0..masks.len()).map(text).collect()
    }

    fn all(pus: usize, ranks: usize) -> Vec<PuSet> {
        vec![(0..pus).collect(); ranks]
    }

    #[test]
    fn ranks_that_may_run_anywhere_share_the_cores() {
        assert_eq!(places("package:2 core:4 pu:1", &all(8, 2)), ["0-3", "4-7"]);
        assert_eq!(places("package:2 core:4 pu:1", &all(8, 3)), ["0-1", "2-4", "5-7"]);
        assert_eq!(places("package:1 core:2 pu:1", &all(2, 3)), ["0", "1", "0"]);
        assert_eq!(places("package:1 core:2 pu:1", &all(2, 1)), ["mask"]);
    }

    #[test]
    fn what_the_launcher_has_bound_stays() {
        let apart = [(0..4).collect(), (4..8).collect()];
        assert_eq!(places("package:2 core:4 pu:1", &apart), ["mask", "mask"]);
    }

    #[test]
    fn a_mask_is_read_as_it_was_written() {
        let mask: PuSet = [0, 63, 64, 130].into_iter().collect();
        assert_eq!(from_words(&to_words(&mask, 3)), mask);
    }
}
