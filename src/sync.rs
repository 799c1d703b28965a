//! Atomics from `core`, or from loom when its models run; chosen here and nowhere else.
//!
//! Loom's atomics hold an index, not the value, so that they can't lie over mapped bytes: under
//! `cfg(loom)` only the models of `protocol.rs` run, over boxed words.

#![forbid(unsafe_code)]

#[cfg(not(loom))]
pub(crate) use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicU64, Ordering};
