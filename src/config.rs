//! Every limit and tuning constant of the pool, with its effect and its reason.
//!
//! None of these enters a result, except [`DEFAULT_CHUNKS`] and [`DEFAULT_CHUNK_BYTES`], which
//! are therefore part of the versioned geometry and never change within a major version.

#![forbid(unsafe_code)]

/// Most workers of one pool: the worker number has 10 bits in a chunk word.
pub const MAX_WORKERS: usize = 1 << 10;

/// Jobs in flight at once in one pool: one bit each in the live mask. Further submissions wait.
pub const MAX_JOBS: usize = 64;

/// Arguments of one job: the longest tuple.
pub const MAX_ARGS: usize = 8;

/// Dimensions of an array that is an argument of a job.
pub const MAX_NDIM: usize = 16;

/// Bytes of all `Param` values of one job together; larger state goes into a shared array.
pub const MAX_PARAM_BYTES: usize = 1024;

/// Chunks of one job.
pub const MAX_CHUNKS: u64 = 1 << 32;

/// Chunk words that lie in the job's slot of the control block; larger jobs use a segment.
pub(crate) const INLINE_WORDS: usize = 512;

/// Result bytes of a `call` that lie in the job's slot of the control block.
pub(crate) const INLINE_RESULT_BYTES: usize = 256;

/// Those of them that lie beside the word that says that the job is over: they fill its two lines.
pub(crate) const SMALL_RESULT_BYTES: usize = 112;

/// Bytes of an error text that a worker can report; longer ones are cut.
pub(crate) const ERROR_TEXT_BYTES: usize = 480;

/// How many chunks the default geometry aims at.
pub const DEFAULT_CHUNKS: u64 = 256;

/// Most bytes of one default chunk: its undo copy stays in a core's second-level cache
/// (a larger one costs an in-place kernel 30 to 55 % instead of some 5 %).
pub const DEFAULT_CHUNK_BYTES: usize = 256 * 1024;

/// How long an idle worker looks for work before it sleeps. A wake-up costs 25 to 60 µs, so that
/// looking about as long costs at most twice the better choice.
pub(crate) const WORKER_SPIN_NS: u64 = 60_000;

/// How long a caller looks for the end of its job before it sleeps.
pub(crate) const CALLER_SPIN_NS: u64 = 100_000;

/// Slots that a submitter would rather have free than one, where all are taken: it looks for a
/// moment for the end of so many jobs, since each look costs a line of every slot.
pub(crate) const ROOM_AT_ONCE: usize = 32;

/// How long that moment is. There is no lack of work meanwhile.
pub(crate) const ROOM_SPIN_NS: u64 = 10_000;

/// Full batches of calls in flight in one pool; who makes more calls waits. There is no lack of work
/// with so many, and their memory stays in the caches.
pub(crate) const BATCHES_AHEAD: usize = 4;

/// How many turns before a job's own a worker asks for its cache lines.
pub(crate) const SLOTS_AHEAD: usize = 4;

/// Looks between two offers of the core to whoever else wants it, some microseconds.
pub(crate) const LOOKS_BETWEEN_YIELDS: u32 = 8;

/// The same for a caller where every core has a worker: it would only take time from one of them.
pub(crate) const LOOKS_BETWEEN_YIELDS_SHARED: u32 = 1;

/// Bytes of all workers' journals that are kept while no job is in flight.
pub(crate) const JOURNALS_KEPT_BYTES: usize = 32 << 20;

/// Result segments kept for the next map, and their bytes together.
pub(crate) const RESULTS_KEPT: usize = 8;
pub(crate) const RESULTS_KEPT_BYTES: usize = 24 << 20;

/// A chunk whose worker died this often of its own doing (a signal that a program earns, or an
/// exit) ends its job.
pub const MAX_OWN_DEATHS: u32 = 3;

/// A chunk whose worker was killed from outside (SIGKILL) this often ends its job.
pub const MAX_KILLS: u32 = 100;

/// Deaths in a row of one worker without a finished chunk before its restart is delayed.
pub(crate) const RESTARTS_AT_ONCE: u32 = 3;

/// First delay of a restart, doubled each time up to [`RESTART_DELAY_MAX_MS`].
pub(crate) const RESTART_DELAY_MS: u64 = 10;

/// Longest delay of a restart.
pub(crate) const RESTART_DELAY_MAX_MS: u64 = 1_000;

/// Starts in a row of one worker that ended before it was ready; then the pool is broken.
pub(crate) const MAX_FAILED_STARTS: u32 = 5;

/// Starts in a row of one worker that were killed from outside before it was ready; then the pool
/// is broken. More than of the other kind, since whoever kills may stop.
pub(crate) const MAX_KILLED_STARTS: u32 = 20;

/// How long `build` waits for all workers to be ready.
pub(crate) const START_TIMEOUT_MS: u64 = 30_000;

/// How long a chunk of a cancelled job may go on before its worker is killed.
pub(crate) const CANCEL_GRACE_MS: u64 = 2_000;

/// How long a worker that was told to end may take before it is killed.
pub(crate) const STOP_GRACE_MS: u64 = 2_000;
