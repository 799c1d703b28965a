//! The interface for C, and for all that can call C: `include/pinpool.h` is made from it.
//!
//! Every function here takes what C has (pointers, numbers, terminated strings), checks it, and
//! calls what the rest of the crate offers in Rust; nothing else of the crate knows of it. A
//! function that can fail gives a [`Status`] and keeps the text of the failure for its thread. No
//! panic crosses: `guarded` is around each.
//!
//! # Safety
//! The contract of all of them: a pointer is null or points to what its type says, for as long as
//! the call takes (an array among a job's arguments: until the job is over); a length belongs to
//! its pointer; a string ends with a zero byte; what was made here is freed once, by its own
//! function, and not used while or after it is. Handles may be used by several threads at once,
//! except by their `free` and by `pp_pending_result`. Who reads or writes elements of an array while
//! a job works on it has a data race. The page for users is `docs/c.md`.
#![allow(
    clippy::missing_safety_doc,
    reason = "the contract is the same for all functions, and stands above"
)]

mod array;
mod builtin;
mod dtype;
mod foreign;
mod job;
mod kernel;
mod library;
mod options;
mod pending;
mod plan;
mod pointers;
mod pool;
mod status;

pub use array::*;
pub use builtin::*;
pub use dtype::*;
pub use foreign::*;
pub use job::*;
pub use kernel::*;
pub use library::*;
pub use options::*;
pub use pending::*;
pub use pool::*;
pub use status::*;

#[cfg(test)]
mod tests;
