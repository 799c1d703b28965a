//! What the walk (`tests/walk.rs`) drives: one job, its memory, a worker's turn and a recovery,
//! each by itself in one process. Only with the feature `walk`; not part of the API.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use ndarray::Ix1;
use pinpool_kernels::Undo;

use crate::args::{ChunkMut, ChunkUndo, Description, Param, UndoLog};
use crate::array::SharedArray;
use crate::checkpoint::{Attached, Checkpoint};
use crate::config::MAX_JOBS;
use crate::control::Control;
use crate::ctx::Ctx;
use crate::entry::{Entry, Map};
use crate::error::Death;
use crate::layout::Layout;
use crate::pool::checkpoint::{Like, header};
use crate::pool::jobs::{Jobs, OnDeath, Submission};
use crate::pool::table::{Local, Table};
use crate::pool::ticket::Ticket;
use crate::protocol::Owner;
use crate::segment::Segment;
use crate::worker::Worker;

pub use crate::mutant::Mutant;
#[cfg(feature = "walk-mutants")]
pub use crate::mutant::choose;

/// 1: the kernel stops half way and says 2; 3: it goes on.
pub static HALF_WAY: AtomicU32 = AtomicU32::new(0);

/// A job of small chunks changed in place, with a result a chunk, published and not begun.
#[derive(Debug)]
pub struct Stage {
    control: Control,
    block: Arc<Segment>,
    table: Arc<Table>,
    jobs: Jobs,
    ticket: Ticket,
    x: SharedArray<u64, Ix1>,
    results: SharedArray<u64, Ix1>,
    checkpoint: Option<Attached>,
    form: Form,
}

/// What the kernel makes of element `v` of chunk `chunk`.
#[must_use]
pub fn changed(v: u64, chunk: u64, salt: u64) -> u64 {
    v.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(chunk ^ salt)
}

/// Who takes the undo copies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// The worker, before the kernel.
    Ahead,
    /// The kernel, tile by tile.
    Tiles,
    /// The flagship, as it goes.
    Kept,
}

fn pause_if_told() {
    if HALF_WAY.load(Ordering::Relaxed) == 1 {
        HALF_WAY.store(2, Ordering::SeqCst);
        while HALF_WAY.load(Ordering::SeqCst) != 3 {
            std::thread::yield_now();
        }
    }
}

fn sum(c: &[u64]) -> u64 {
    c.iter().fold(0, |sum: u64, &v| sum.wrapping_add(v))
}

fn ahead((mut c, salt): (ChunkMut<'_, u64, Ix1>, u64), ctx: &mut Ctx) -> u64 {
    let chunk = ctx.chunk();
    let c = c.as_slice_mut();
    let (first, second) = c.split_at_mut(c.len() / 2);
    first.iter_mut().for_each(|v| *v = changed(*v, chunk, salt));
    pause_if_told();
    second.iter_mut().for_each(|v| *v = changed(*v, chunk, salt));
    sum(c)
}

fn tiles((mut c, salt): (ChunkUndo<'_, u64, Ix1>, u64), ctx: &mut Ctx) -> u64 {
    let chunk = ctx.chunk();
    let mut first = true;
    c.for_each_tile(c.as_slice().len() / 3, |tile| {
        if !std::mem::take(&mut first) {
            pause_if_told();
        }
        tile.iter_mut().for_each(|v| *v = v.wrapping_add(chunk));
    });
    // Once more: the first elements that were kept are the ones that count.
    c.for_each_tile(c.as_slice().len() / 2, |tile| {
        tile.iter_mut().for_each(|v| *v = changed(v.wrapping_sub(chunk), chunk, salt));
    });
    sum(c.as_slice())
}

/// Stops once, when it has kept something.
struct Pausing<'a>(UndoLog<'a, u64>);

impl Undo for Pausing<'_> {
    fn old(&mut self) -> &mut [f64] {
        bytemuck::cast_slice_mut(self.0.room())
    }

    fn kept(&mut self, n: usize) {
        self.0.kept(n);
        pause_if_told();
    }
}

const ROUNDS: u32 = 2;

fn kept((c, _): (ChunkUndo<'_, u64, Ix1>, u64), _: &mut Ctx) -> u64 {
    let (a, old) = c.with_undo();
    let a = bytemuck::cast_slice_mut(a);
    pinpool_kernels::trig_power_in_place_sum_undo(a, ROUNDS, Pausing(old)).to_bits()
}

impl Form {
    fn first(self, i: usize) -> u64 {
        match self {
            Form::Ahead | Form::Tiles => i as u64,
            Form::Kept => (i as f64 / 4096.0).to_bits(),
        }
    }

    /// What is to become of a chunk, and its result.
    fn right(self, chunk: usize, rows: usize, salt: u64) -> (Vec<u64>, u64) {
        let first = (chunk * rows..(chunk + 1) * rows).map(|i| self.first(i));
        match self {
            Form::Ahead | Form::Tiles => {
                let all: Vec<_> = first.map(|v| changed(v, chunk as u64, salt)).collect();
                let sum = sum(&all);
                (all, sum)
            }
            Form::Kept => {
                let mut all: Vec<_> = first.map(f64::from_bits).collect();
                let sum = pinpool_kernels::trig_power_in_place_sum(&mut all, ROUNDS);
                (all.into_iter().map(f64::to_bits).collect(), sum.to_bits())
            }
        }
    }
}

fn described<A, F>(args: A, _: F) -> (Description, &'static crate::entry::KernelEntry)
where
    A: crate::args::Args,
    F: for<'w> Fn(A::Item<'w>, &mut Ctx) -> u64 + Copy + Send + 'static,
{
    (Description::of(&args).expect("good arguments"), Map::<A, F, u64>::ENTRY)
}

impl Stage {
    /// Publishes a job over `chunks` chunks of `rows` elements 0, 1, 2, …
    ///
    /// # Panics
    /// Where there is no memory for it.
    #[must_use]
    pub fn new(form: Form, workers: usize, chunks: usize, rows: usize, salt: u64) -> Stage {
        let x = SharedArray::zeros(chunks * rows).expect("memory");
        Stage::filled(form, workers, x, rows, salt, None)
    }

    /// The same in a new file, with a checkpoint beside it that is there to be resumed.
    ///
    /// # Panics
    /// Where the file cannot be made.
    #[must_use]
    pub fn on_file(
        path: &Path,
        form: Form,
        workers: usize,
        chunks: usize,
        rows: usize,
        salt: u64,
    ) -> Stage {
        // SAFETY: the walk's own file.
        let x = unsafe { SharedArray::create_file(path, chunks * rows) }.expect("a new file");
        let begin = Checkpoint::begin(Checkpoint::beside(path));
        let stage = Stage::filled(form, workers, x, rows, salt, Some(&begin));
        // Whoever resumes here takes the place of a process that is dead.
        crate::sys::mem::unlock(stage.checkpoint.as_ref().expect("begun").segment.fd());
        stage
    }

    /// What a new run makes of the file of a dead one: all is put back, and the job published.
    ///
    /// # Panics
    /// Where the checkpoint is refused.
    #[must_use]
    pub fn resumed(path: &Path, form: Form, workers: usize, rows: usize, salt: u64) -> Stage {
        // SAFETY: the walk's own file.
        let x = unsafe { SharedArray::open_file(path) }.expect("the file");
        let resume = Checkpoint::resume(Checkpoint::beside(path));
        Stage::publish(form, workers, x, rows, salt, Some(&resume))
    }

    fn filled(
        form: Form,
        workers: usize,
        mut x: SharedArray<u64, Ix1>,
        rows: usize,
        salt: u64,
        checkpoint: Option<&Checkpoint>,
    ) -> Stage {
        x.as_mut_slice().iter_mut().zip(0..).for_each(|(v, i)| *v = form.first(i));
        Stage::publish(form, workers, x, rows, salt, checkpoint)
    }

    fn publish(
        form: Form,
        workers: usize,
        mut x: SharedArray<u64, Ix1>,
        rows: usize,
        salt: u64,
        checkpoint: Option<&Checkpoint>,
    ) -> Stage {
        let layout = Layout { workers };
        let block = Segment::nameless("walk", layout.bytes()).expect("memory");
        let control = Control::create(Arc::clone(&block), layout, [0; 2]);
        let table = Table::new(control.clone());
        let jobs = Jobs::new(control.clone(), Arc::clone(&table), false);
        let results = SharedArray::<u64, _>::zeros(x.len() / rows).expect("memory");
        let salt = Param(salt);
        let (mut described, entry) = match form {
            Form::Ahead => described((x.chunks_mut(rows), salt), ahead),
            Form::Tiles => described((x.chunks_undo(rows), salt), tiles),
            Form::Kept => described((x.chunks_undo(rows), salt), kept),
        };
        let offset = entry.offset().expect("in the image");
        let mut slots = Some((Arc::clone(results.segment()), results.data_offset()));
        let result_bytes = size_of::<u64>();
        let checkpoint = checkpoint.map(|checkpoint| {
            let like = Like { entry, offset, stream: 0, named: None, result_bytes, flags: 0 };
            let asked = header(0, &described, &like).expect("a header");
            let attached = checkpoint.open(&mut described, asked, None, workers);
            let attached = attached.expect("the checkpoint");
            described.segments.push(Arc::clone(&attached.segment));
            slots = attached.results();
            attached
        });
        let ticket = jobs
            .submit(Submission {
                args: described,
                entry,
                offset,
                results: slots,
                result_bytes,
                stream: Some(0),
                scope: 0,
                on_death: OnDeath::Retry,
                flags: 0,
                checkpoint: checkpoint.as_ref().map(|c| (Arc::clone(&c.segment), c.before)),
            })
            .expect("published");
        Stage { control, block, table, jobs, ticket, x, results, checkpoint, form }
    }

    /// All shared memory that a worker or a recovery changes: mappings, and how much of each is
    /// in use (of the control block, all up to the second job's slot).
    #[must_use]
    pub fn memory(&self) -> Vec<(*mut u8, usize, usize)> {
        let used = Layout { workers: self.control.workers() }.job(1);
        let mut all = vec![(self.block.base(), self.block.len(), used)];
        let arrays = [self.x.segment(), self.results.segment()];
        let journals = self.jobs.journals();
        let checkpoint = self.checkpoint.as_ref().map(|c| &c.segment);
        let segments = arrays.into_iter().chain(&journals).chain(checkpoint);
        all.extend(segments.map(|s| (s.base(), s.len(), s.len())));
        all
    }

    /// One worker's turn, until there is nothing left for it.
    pub fn work(&self, worker: usize, incarnation: u32) {
        let source = Local(Arc::clone(&self.table));
        Worker::new(self.control.clone(), worker, incarnation, source).pass();
    }

    /// The supervisor's part after the death of this worker.
    pub fn recover(&self, worker: u32, incarnation: u32) {
        let owner = Owner { worker, incarnation };
        self.jobs.recover(owner, 0, Death::Signal(9), "");
    }

    /// Whether the job is over, and every element and result is as without any death.
    #[must_use]
    pub fn is_right(&self, rows: usize, salt: u64) -> bool {
        if !self.jobs.is_over(&self.ticket) || self.jobs.finish(&self.ticket).is_err() {
            return false;
        }
        if let Some(checkpoint) = &self.checkpoint {
            checkpoint.copy_results(self.results.segment(), self.results.data_offset());
        }
        let chunks = self.x.as_slice().chunks(rows).zip(self.results.as_slice()).enumerate();
        chunks.into_iter().all(|(c, (data, &result))| {
            let (expected, sum) = self.form.right(c, rows, salt);
            data == expected && result == sum
        })
    }
}

const _: () = assert!(MAX_JOBS > 1);
