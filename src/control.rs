//! A pool's control block, mapped: typed access to its parts, and the wake-up protocol.
//!
//! Only atomics are handed out. Who may write what is said in `layout.rs`; the order of the
//! writes, and why no wake-up can be lost, in `control.md`. Never maps memory itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering, fence};

use bytemuck::bytes_of_mut;
use pinpool_kernels::prefetch;
use rustix::thread::futex;

use crate::config::{INLINE_WORDS, SMALL_RESULT_BYTES};
use crate::layout::{
    BUSY, Complete, ErrorRecord, FUTURE, Header, JobDesc, JobHead, JobLine, Layout, MAGIC,
    SLEEPING, Tally, VERSION, WorkerBits, WorkerState,
};
use crate::segment::Segment;

/// The mapped control block.
#[derive(Debug, Clone)]
pub(crate) struct Control {
    segment: Arc<Segment>,
    layout: Layout,
}

/// Why a control block was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ControlError {
    #[error("it is {found} bytes long, less than a header")]
    Short { found: usize },
    #[error("its first word is {found:#x}, not the mark of a complete control block")]
    Magic { found: u64 },
    #[error("its layout version is {found}, this program has {VERSION}")]
    Version { found: u64 },
    #[error("it was made by another build of the program; start the program anew")]
    Build,
    #[error("it says {workers} workers and {bytes} bytes, and is {found} bytes long")]
    Size { workers: u64, bytes: u64, found: usize },
}

impl Control {
    /// Fills a fresh, zeroed segment; the magic word goes last.
    pub(crate) fn create(segment: Arc<Segment>, layout: Layout, build_id: [u64; 2]) -> Control {
        let control = Control { segment, layout };
        let h = control.header();
        h.version.store(VERSION, Ordering::Relaxed);
        for (word, id) in h.build_id.iter().zip(build_id) {
            word.store(id, Ordering::Relaxed);
        }
        h.bytes.store(layout.bytes() as u64, Ordering::Relaxed);
        h.workers.store(layout.workers as u64, Ordering::Relaxed);
        h.magic.store(MAGIC, Ordering::Release);
        control
    }

    /// Checks a control block made by another process; each number is read once.
    pub(crate) fn attach(
        segment: Arc<Segment>,
        build_id: [u64; 2],
    ) -> Result<Control, ControlError> {
        let found = segment.len();
        if found < size_of::<Header>() {
            return Err(ControlError::Short { found });
        }
        let probe = Control { segment, layout: Layout { workers: 0 } };
        let h = probe.header();
        let magic = h.magic.load(Ordering::Acquire);
        if magic != MAGIC {
            return Err(ControlError::Magic { found: magic });
        }
        let version = h.version.load(Ordering::Relaxed);
        if version != VERSION {
            return Err(ControlError::Version { found: version });
        }
        if h.build_id.iter().zip(build_id).any(|(w, id)| w.load(Ordering::Relaxed) != id) {
            return Err(ControlError::Build);
        }
        let workers = h.workers.load(Ordering::Relaxed);
        let bytes = h.bytes.load(Ordering::Relaxed);
        let layout = Layout { workers: workers.min(crate::config::MAX_WORKERS as u64) as usize };
        if layout.workers as u64 != workers
            || workers == 0
            || layout.bytes() as u64 != bytes
            || found < layout.bytes()
        {
            return Err(ControlError::Size { workers, bytes, found });
        }
        Ok(Control { segment: probe.segment, layout })
    }

    pub(crate) fn workers(&self) -> usize {
        self.layout.workers
    }

    /// A part of the block. `P` is one of the all-atomic types of `layout.rs`.
    fn part<P>(&self, offset: usize) -> &P {
        assert!(offset + size_of::<P>() <= self.segment.len(), "part outside the control block");
        let at = self.segment.base().wrapping_add(offset);
        debug_assert!((at as usize).is_multiple_of(align_of::<P>()));
        // SAFETY:
        // - `at` lies in the mapping with room for a `P`: asserted above;
        // - it is aligned: the base is a page, and `layout.rs` aligns every offset;
        // - every `P` used here consists of atomics (and padding) alone, for which any bit
        //   pattern is valid and any process may write at any time;
        // - the mapping lives as long as `self`, which holds the segment.
        unsafe { &*at.cast::<P>() }
    }

    pub(crate) fn header(&self) -> &Header {
        self.part(0)
    }

    pub(crate) fn worker(&self, worker: usize) -> &WorkerState {
        assert!(worker < self.layout.workers, "worker number out of range");
        self.part(self.layout.worker(worker))
    }

    pub(crate) fn job(&self, slot: usize) -> &JobLine {
        self.part(self.layout.job(slot))
    }

    pub(crate) fn tally(&self, slot: usize, worker: usize) -> &Tally {
        self.part(self.layout.tally(slot, worker))
    }

    pub(crate) fn error(&self, slot: usize, worker: usize) -> &ErrorRecord {
        self.part(self.layout.error(slot, worker))
    }

    /// The chunk words in the job slot itself.
    pub(crate) fn inline_words(&self, slot: usize) -> &[AtomicU64; INLINE_WORDS] {
        self.part(self.layout.job(slot) + Layout::WORDS)
    }

    /// Where a `call` writes its result of so many bytes.
    pub(crate) fn inline_result(&self, slot: usize, bytes: u64) -> *mut u8 {
        let small =
            std::mem::offset_of!(JobLine, complete) + std::mem::offset_of!(Complete, result);
        let at = if bytes <= SMALL_RESULT_BYTES as u64 { small } else { Layout::RESULT };
        self.segment.base().wrapping_add(self.layout.job(slot) + at)
    }

    /// Asks for the lines of a slot that a worker is about to read, and for the one that it will
    /// write last: a hint, so that one job's lines are on their way while another one runs.
    pub(crate) fn expect(&self, slot: usize) {
        let line = self.job(slot);
        prefetch::read((&raw const *line).cast());
        for word in self.desc(slot)[..size_of::<JobHead>() / 8].iter().step_by(8) {
            prefetch::read((&raw const *word).cast());
        }
        prefetch::write((&raw const line.complete).cast());
    }

    fn desc(&self, slot: usize) -> &[AtomicU64; size_of::<JobDesc>() / 8] {
        self.part(self.layout.job(slot) + Layout::DESC)
    }

    /// Writes into each line of a description's head; only while no job is live in the slot.
    ///
    /// For where the lines are, not for what is in them: asked for together, those of many slots
    /// come from the workers' caches at the same time, and not one by one as jobs are written.
    pub(crate) fn touch_desc(&self, slot: usize) {
        fence(Ordering::Release);
        for word in self.desc(slot)[..size_of::<JobHead>() / 8].iter().step_by(8) {
            word.store(0, Ordering::Relaxed);
        }
    }

    /// Writes a job's description; only while no job is live in the slot.
    pub(crate) fn write_desc(&self, slot: usize, desc: &JobDesc) {
        let words: &[u64] = bytemuck::cast_slice(std::slice::from_ref(desc));
        let to = self.desc(slot);
        // Who copies a word that is written below sees, after his own fence, that `live` is not
        // what it was (`read_desc`).
        fence(Ordering::Release);
        for (range, len) in desc_parts(&desc.head) {
            for i in range..range + len {
                to[i].store(words[i], Ordering::Relaxed);
            }
        }
    }

    /// Copies the description of job `epoch` out of `slot`; `None` when the job is over.
    ///
    /// The copy is consistent: `live` is read before and after it, and the parent changes the
    /// description only while `live` is 0.
    pub(crate) fn read_desc(&self, slot: usize, epoch: u64, into: &mut JobDesc) -> bool {
        let line = self.job(slot);
        if line.live.load(Ordering::Acquire) != epoch {
            return false;
        }
        let from = self.desc(slot);
        let copy = |into: &mut [u64], at: usize| {
            for (i, word) in into.iter_mut().enumerate() {
                *word = from[at + i].load(Ordering::Relaxed);
            }
        };
        copy(bytemuck::cast_slice_mut(bytes_of_mut(&mut into.head)), 0);
        let parts = desc_parts(&into.head);
        let words: &mut [u64] = bytemuck::cast_slice_mut(std::slice::from_mut(into));
        for (at, len) in parts.into_iter().skip(1) {
            copy(&mut words[at..at + len], at);
        }
        fence(Ordering::Acquire);
        line.live.load(Ordering::Relaxed) == epoch && into.head.epoch == epoch
    }

    /// Says that there may be something new, and wakes up to `wanted` sleepers, fewer where
    /// workers are looking for work anyway.
    pub(crate) fn announce(&self, wanted: usize) {
        let h = self.header();
        h.dispatch.work_seq.fetch_add(1, Ordering::SeqCst);
        self.wake(wanted);
    }

    /// Says that a call was added to a batch: to nobody while every worker has something to do, since
    /// who comes to the end of that looks for such calls before it rests.
    #[inline]
    pub(crate) fn announce_call(&self) {
        if self.any(&self.header().idle) {
            self.announce(1);
        }
    }

    #[inline]
    fn any(&self, workers: &WorkerBits) -> bool {
        let groups = &workers.bits[..self.workers().div_ceil(64)];
        groups.iter().any(|bits| bits.load(Ordering::SeqCst) != 0)
    }

    /// Says whether a worker has nothing to do.
    pub(crate) fn set_idle(&self, worker: usize, idle: bool) {
        let (group, bit) = (&self.header().idle.bits[worker / 64], 1u64 << (worker % 64));
        if idle {
            group.fetch_or(bit, Ordering::SeqCst);
        } else {
            group.fetch_and(!bit, Ordering::SeqCst);
        }
    }

    /// Whether a worker says that it sleeps.
    #[inline]
    pub(crate) fn somebody_sleeps(&self) -> bool {
        self.any(&self.header().sleepers)
    }

    /// Wakes up to `wanted` sleepers. Costs a load a 64 workers where nobody sleeps.
    pub(crate) fn wake(&self, wanted: usize) {
        if !self.somebody_sleeps() {
            return;
        }
        let bits = &self.header().sleepers.bits;
        let groups = self.workers().div_ceil(64);
        let mut left = wanted;
        if wanted < self.workers() {
            let looking = (0..self.workers())
                .filter(|&w| {
                    self.worker(w).park.state.load(Ordering::SeqCst) == crate::layout::SPINNING
                })
                .count();
            left = left.saturating_sub(looking);
        }
        for (g, group) in bits[..groups].iter().enumerate() {
            let mut seen = group.load(Ordering::SeqCst);
            while seen != 0 && left > 0 {
                let bit = seen.trailing_zeros() as usize;
                seen &= seen - 1;
                left -= usize::from(self.wake_worker(g * 64 + bit));
            }
        }
    }

    /// Wakes one worker if it says that it sleeps.
    pub(crate) fn wake_worker(&self, worker: usize) -> bool {
        let group = &self.header().sleepers.bits[worker / 64];
        let bit = 1 << (worker % 64);
        if group.fetch_and(!bit, Ordering::SeqCst) & bit == 0 {
            return false;
        }
        let word = &self.worker(worker).park.state;
        if word.swap(BUSY, Ordering::SeqCst) == SLEEPING {
            // Shared between processes: no PRIVATE flag.
            let _ = futex::wake(word, futex::Flags::empty(), 1);
        }
        true
    }

    /// Says that a worker's standing has changed.
    pub(crate) fn ring(&self) {
        let seq = &self.header().event.seq;
        seq.fetch_add(1, Ordering::SeqCst);
        let _ = futex::wake(seq, futex::Flags::empty(), i32::MAX as u32);
    }

    /// Says that a job ended which a task awaits.
    #[cold]
    pub(crate) fn ring_ended(&self) {
        let seq = &self.header().ended.seq;
        seq.fetch_add(1, Ordering::SeqCst);
        let _ = futex::wake(seq, futex::Flags::empty(), i32::MAX as u32);
    }

    /// Marks `epoch` as over in `slot` and wakes who waits for it.
    pub(crate) fn complete(&self, slot: usize, epoch: u64) {
        let c = &self.job(slot).complete;
        c.epoch.fetch_max(epoch, Ordering::SeqCst);
        let waiters = c.waiters.load(Ordering::SeqCst);
        if waiters != 0 {
            let _ = futex::wake(futex_half(c), futex::Flags::empty(), i32::MAX as u32);
            if waiters >= FUTURE {
                self.ring_ended();
            }
        }
        self.tell_watchers(self.job(slot));
    }

    /// Says that a chunk of the job in `slot`, or the job, came to its end, if anybody wants to
    /// know. A hint: who sleeps on it looks again after a while.
    #[inline]
    pub(crate) fn tell_watchers(&self, line: &JobLine) {
        let watchers = line.watchers.load(Ordering::Relaxed);
        if watchers == 0 {
            return;
        }
        if watchers >= FUTURE {
            self.ring_ended();
        }
        line.news.fetch_add(1, Ordering::SeqCst);
        if line.sleepers.load(Ordering::SeqCst) != 0 {
            let _ = futex::wake(&line.news, futex::Flags::empty(), i32::MAX as u32);
        }
    }
}

/// The parts of a description that are in use, as (first word, words).
fn desc_parts(head: &JobHead) -> [(usize, usize); 3] {
    let words = |bytes: usize| bytes / 8;
    let args = (head.args as usize).min(crate::config::MAX_ARGS);
    let params = (head.param_bytes as usize).min(crate::config::MAX_PARAM_BYTES).div_ceil(8);
    [
        (0, words(size_of::<JobHead>())),
        (
            words(std::mem::offset_of!(JobDesc, args)),
            args * words(size_of::<crate::layout::ArgDesc>()),
        ),
        (words(std::mem::offset_of!(JobDesc, params)), params),
    ]
}

/// The low half of the completed epoch, as a futex word.
pub(crate) fn futex_half(c: &Complete) -> &std::sync::atomic::AtomicU32 {
    let low = if cfg!(target_endian = "little") { 0 } else { 1 };
    let halves = (&raw const c.epoch).cast::<std::sync::atomic::AtomicU32>();
    // SAFETY: the 64-bit word has two aligned halves, and `low` is one of them.
    let half = unsafe { halves.add(low) };
    // SAFETY: it points into the live word `c.epoch` and is aligned for 4 bytes. It is handed to
    // the futex call alone, which reads it in the kernel; no Rust code mixes sizes on it.
    unsafe { &*half }
}

/// Copies text into a record of words; gives the bytes that fitted, cut at a character.
pub(crate) fn store_text(words: &[AtomicU64], text: &str) -> u64 {
    let mut len = text.len().min(words.len() * 8);
    while !text.is_char_boundary(len) {
        len -= 1;
    }
    for (word, bytes) in words.iter().zip(text.as_bytes()[..len].chunks(8)) {
        let mut padded = [0u8; 8];
        padded[..bytes.len()].copy_from_slice(bytes);
        word.store(u64::from_ne_bytes(padded), Ordering::Relaxed);
    }
    len as u64
}

/// Reads text out of a record of words; what is no UTF-8 is replaced.
pub(crate) fn load_text(words: &[AtomicU64], len: u64) -> String {
    let len = (len as usize).min(words.len() * 8);
    let mut bytes = Vec::with_capacity(len.next_multiple_of(8));
    for word in &words[..len.div_ceil(8)] {
        bytes.extend_from_slice(&word.load(Ordering::Relaxed).to_ne_bytes());
    }
    bytes.truncate(len);
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests;
