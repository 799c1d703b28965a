//! Pinned worker processes over shared-memory ndarrays.
//!
//! Worker processes, each bound to a core, map the same array, run chunked kernels in place and
//! write their results into slots that the caller reads where they lie. Every chunk has a random
//! stream of its own. The result has the same bits for any number of workers, any schedule, any
//! instruction set, and after the death of any worker at any instruction.
//!
//! ```
//! use pinpool::{Bind, Pool, SharedArray};
//!
//! fn main() -> pinpool::Result<()> {
//!     let pool = Pool::builder().workers_per_physical_core(1).bind(Bind::Close).seed(42).build()?;
//!     let mut x = SharedArray::<f64, _>::zeros(400_000)?;
//!     pool.for_each(x.chunks_out(32_768), |mut c, ctx| ctx.rng().fill_uniform(&mut c))?;
//!     let sums = pool.map(x.chunks(100_000), |c, _| c.sum())?;
//!     println!("{}", sums.total());
//!     Ok(())
//! }
//! ```
//!
//! What the parent changed in its own memory (statics, environment, loggers) a worker does not
//! see: parameters and arrays carry state.
#![cfg_attr(not(test), deny(clippy::unwrap_used))]
#[cfg(not(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"))))]
compile_error!(
    "pinpool runs on Linux on x86-64 and aarch64; the crate pinpool-kernels builds elsewhere too"
);

mod args;
mod array;
mod array_builder;
#[cfg(feature = "capi")]
pub mod capi;
mod checkpoint;
pub mod chunk;
#[cfg(feature = "mpi")]
mod cluster;
pub mod config;
mod control;
mod ctx;
mod cursor;
pub mod doctor;
mod element;
mod entry;
mod error;
mod fault;
#[doc(hidden)]
pub mod fuzzing;
mod host;
mod items;
mod layout;
mod mail;
mod memory;
mod mutant;
mod npy;
mod pages;
mod panics;
pub mod placement;
mod pool;
mod process;
#[cfg(feature = "indicatif")]
pub mod progress;
mod protocol;
mod queue;
mod reduce;
pub mod rng;
mod segment;
pub mod segments;
pub mod simulate;
mod sync;
mod sys;
pub mod topology;
mod touch;
mod trace;
#[cfg(feature = "walk")]
#[doc(hidden)]
pub mod walk;
mod worker;
mod worker_process;

pub use args::{
    Args, Chunk, ChunkMut, ChunkUndo, Chunks, ChunksMut, ChunksOut, ChunksUndo, Indices, Param,
    UndoLog, Whole, indices,
};
pub use array::{SaveError, SharedArray};
pub use array_builder::ArrayBuilder;
pub use checkpoint::{Checkpoint, CheckpointError, Difference};
#[cfg(feature = "mpi")]
pub use cluster::{Cluster, ClusterArray, ClusterBuilder, ClusterError, ClusterJob, Dealt};
pub use ctx::Ctx;
pub use element::{Bool, Dtype, Pod, dtype_of};
pub use error::{ArgsError, Death, Error, JobError, Result, StartError, WorkerProgramError};
pub use items::{Items, items};
pub use npy::NpyError;
pub use pages::{HugeSize, MemoryReport, Numa, Pages, PagesError};
pub use placement::Bind;
pub use pool::{
    Backend, ChunkError, Completed, InOrder, Job, Lists, OnDeath, Outcomes, Pending, PendingFuture,
    Pool, PoolBuilder, Progress, Scope, ScopedJob, Stall, Strings, Whereabouts,
};
pub use process::{Process, ProcessBuilder, exit_status};
pub use queue::{GetError, PutError, Queue, QueueView};
pub use reduce::Total;
pub use segment::{AttachError, CreateError};
pub use trace::{Event, EventKind, Timeline, chrome_trace};
pub use worker_process::init;

/// The derive macros of [`Pod`] expand to paths of this crate.
pub use bytemuck;
pub use ndarray;
pub use pinpool_kernels as kernels;
