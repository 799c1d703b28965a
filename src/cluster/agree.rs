//! How all ranks come to one word on how a call went: a small all-reduce at the end of each.
//!
//! ```text
//! least of (tag, !tag, failed chunk, who leaves) over all ranks
//!   all tags the same, no failure ----------> go on: this is all that a good call costs
//!   a failure: least rank that has it, then its text to all
//!   somebody leaves, or the tags differ: the ranks are not at the same call, and nothing that
//!   follows could be: the cluster is broken, and everybody knows
//! ```
//!
//! Every collective call of a cluster begins here after its own local work, and so does its end
//! (`Drop`): whatever ranks do apart from each other on one cluster meets here, and does not hang in
//! MPI. Ranks that are at different clusters, or in a call of MPI of their own, do not meet.

#![forbid(unsafe_code)]

use super::comm::Comm;
use super::error::ClusterError;
use crate::error::{Error, JobError, Result};

/// No failure; nobody leaves.
const NONE: u64 = u64::MAX;
/// A failure that is no chunk's.
const NO_CHUNK: u64 = u64::MAX - 1;
/// The tag of a rank that lets go of the cluster.
const LEAVING: u64 = 0;

/// What this rank's call is called, and a number that is the same where all that must be alike is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tag {
    pub(super) call: &'static str,
    number: u64,
}

impl Tag {
    pub(super) fn new(call: &'static str, kernel: &str, words: &[u64]) -> Tag {
        let mut hash = 0xcbf2_9ce4_8422_2325u64;
        let mut eat = |byte: u8| hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        call.bytes().chain([0]).chain(kernel.bytes()).for_each(&mut eat);
        words.iter().flat_map(|word| word.to_le_bytes()).for_each(&mut eat);
        Tag { call, number: hash.max(LEAVING + 1) }
    }
}

/// What all ranks agreed on.
pub(super) enum Agreed<T> {
    /// As each of them has it.
    All(T),
    /// Somebody failed; the ranks are still together.
    Failed(Error),
    /// The ranks are not at the same call: no more collectives.
    Apart(ClusterError),
}

/// Every rank calls it with how it fared.
pub(super) fn agree<T>(comm: &Comm, tag: Tag, outcome: Result<T>) -> Agreed<T> {
    let failed = match &outcome {
        Ok(_) => NONE,
        Err(error) => chunk_of(error).unwrap_or(NO_CHUNK).min(NO_CHUNK),
    };
    let [least, most, first, leaving] = comm.least([tag.number, !tag.number, failed, NONE]);
    if leaving != NONE {
        return Agreed::Apart(ClusterError::Left { rank: leaving as usize, call: tag.call });
    }
    if first != NONE {
        return Agreed::Failed(tell(comm, first, failed, outcome.err()).into());
    }
    match outcome {
        Ok(value) if least == !most => Agreed::All(value),
        _ => Agreed::Apart(ClusterError::Apart { call: tag.call }),
    }
}

/// The last word of a rank that lets go of the cluster: whoever is in a call learns of it.
pub(super) fn leave(comm: &Comm) {
    let _ = comm.least([LEAVING, !LEAVING, NONE, comm.rank() as u64]);
}

/// The error of the rank that failed at chunk `first`, on all ranks.
fn tell(comm: &Comm, first: u64, mine: u64, error: Option<Error>) -> ClusterError {
    let candidate = if mine == first { comm.rank() as u64 } else { NONE };
    let rank = comm.least([candidate])[0] as usize;
    let text = match error {
        Some(error) if rank == comm.rank() => format!("{}\0{error}", comm.node_name()),
        _ => String::new(),
    };
    let mut len = (text.len() as u64).to_ne_bytes();
    comm.broadcast(rank, &mut len);
    let mut bytes = text.into_bytes();
    bytes.resize(u64::from_ne_bytes(len) as usize, 0);
    comm.broadcast(rank, &mut bytes);
    let text = String::from_utf8_lossy(&bytes);
    let (node, message) = text.split_once('\0').unwrap_or(("", &text));
    let chunk = (first != NO_CHUNK).then_some(first);
    ClusterError::Rank { rank, node: node.to_owned(), message: message.to_owned(), chunk }
}

/// The chunk that failed, if it was one.
fn chunk_of(error: &Error) -> Option<u64> {
    match error {
        Error::Job(
            JobError::Panic { chunk, .. }
            | JobError::Failed { chunk, .. }
            | JobError::Died { chunk, .. },
        ) => Some(*chunk),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_differs_where_anything_that_must_be_alike_does() {
        let tags = [
            Tag::new("map", "f", &[1, 2]),
            Tag::new("map", "f", &[1, 3]),
            Tag::new("map", "g", &[1, 2]),
            Tag::new("for_each", "f", &[1, 2]),
            Tag::new("map", "f", &[1]),
        ];
        let mut numbers: Vec<u64> = tags.iter().map(|tag| tag.number).collect();
        numbers.push(LEAVING);
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), tags.len() + 1);
        assert_eq!(Tag::new("map", "f", &[1, 2]).number, tags[0].number);
    }
}
