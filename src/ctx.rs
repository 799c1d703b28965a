//! What a kernel knows of its place in a job: chunk, worker, and its random streams.

#![forbid(unsafe_code)]

use crate::rng::{ChunkCursor, ChunkRng, Streams, WorkerRng};

/// Passed to every kernel beside its arguments.
#[derive(Debug)]
pub struct Ctx {
    chunk: u64,
    chunks: u64,
    stream: u64,
    worker: usize,
    incarnation: u32,
    streams: ChunkCursor,
    chunk_rng: Option<ChunkRng>,
    worker_rng: Option<WorkerRng>,
}

impl Ctx {
    pub(crate) fn new(seed: u64, worker: usize, incarnation: u32) -> Ctx {
        Ctx {
            chunk: 0,
            chunks: 0,
            stream: 0,
            worker,
            incarnation,
            streams: ChunkCursor::new(Streams::new(seed)),
            chunk_rng: None,
            worker_rng: None,
        }
    }

    pub(crate) fn enter(&mut self, stream: u64, chunk: u64, chunks: u64) {
        self.stream = stream;
        self.chunk = chunk;
        self.chunks = chunks;
        self.chunk_rng = None;
    }

    /// The number of this chunk in its job, from 0; of a job that is a
    /// [part of a larger one](crate::Job::part_of), the number there.
    #[must_use]
    pub fn chunk(&self) -> u64 {
        self.chunk
    }

    /// How many chunks the job has, or the larger one that it is a part of.
    #[must_use]
    pub fn chunks(&self) -> u64 {
        self.chunks
    }

    /// The number of the worker that runs this chunk, from 0. A result that depends on it is
    /// outside the promise of equal bits.
    #[must_use]
    pub fn worker(&self) -> usize {
        self.worker
    }

    /// How often this worker has been started again after a death.
    #[must_use]
    pub fn incarnation(&self) -> u32 {
        self.incarnation
    }

    /// The chunk's own random stream: the same for any number of workers, and after a crash.
    pub fn rng(&mut self) -> &mut ChunkRng {
        let (streams, stream, chunk) = (&mut self.streams, self.stream, self.chunk);
        self.chunk_rng.get_or_insert_with(|| streams.rng(stream, chunk))
    }

    /// The worker's own random stream: different in every worker, and it goes on from call to
    /// call. What is computed from it depends on who ran the chunk.
    pub fn worker_rng(&mut self) -> &mut WorkerRng {
        let (streams, worker, incarnation) =
            (self.streams.streams(), self.worker, self.incarnation);
        self.worker_rng
            .get_or_insert_with(|| WorkerRng::new(streams, worker as u64, incarnation.into()))
    }
}
