//! Mapped bytes to the disk: what a durable checkpoint waits for at each of its steps.
//!
//! Each call names its step, so that the tests can see the order of the steps, and leave one out.

use std::io;

use rustix::mm::{MsyncFlags, msync};

/// What is written through; `docs/checkpoint.md` has the order, and why each is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// The undo copy, before it counts.
    Journal,
    /// That it counts, before the chunk is changed.
    Armed,
    /// The changed chunk, before it is marked as done.
    Data,
    /// Its result, likewise.
    Slot,
    /// The mark, before the journal is used again.
    Mark,
    /// A chunk that was put back, before its journal counts no more.
    Restored,
    /// That it counts no more, before the chunk is anybody's.
    Disarmed,
}

/// Waits until `len` bytes from `base` on, of a shared file mapping, are on the disk.
pub(crate) fn range(step: Step, base: *const u8, len: usize) -> io::Result<()> {
    if len == 0 || is_left_out(step, base, len) {
        return Ok(());
    }
    let page = rustix::param::page_size();
    let into_page = base as usize % page;
    let start = base.wrapping_sub(into_page).cast_mut();
    // SAFETY: it changes no memory; a range that is not mapped is an error.
    let done = unsafe { msync(start.cast(), len + into_page, MsyncFlags::SYNC) };
    if let Ok(()) = done {
        told(step, base, len);
    }
    Ok(done?)
}

#[cfg(not(test))]
#[inline(always)]
fn is_left_out(_: Step, _: *const u8, _: usize) -> bool {
    false
}

#[cfg(not(test))]
#[inline(always)]
fn told(_: Step, _: *const u8, _: usize) {}

#[cfg(test)]
pub(crate) use watched::{Watch, look, watch};
#[cfg(test)]
use watched::{is_left_out, told};

/// For `checkpoint/power.rs`: who watches is asked before each call, and told after it.
#[cfg(test)]
mod watched {
    use std::cell::RefCell;

    use super::Step;

    /// Watches the calls of its thread.
    pub(crate) trait Watch {
        /// Whether the call is not to be made.
        fn before(&mut self, step: Step, base: *const u8, len: usize) -> bool;
        fn after(&mut self, step: Step, base: *const u8, len: usize);
        /// Something has been stored.
        fn look(&mut self);
    }

    thread_local! {
        static WATCH: RefCell<Option<Box<dyn Watch>>> = const { RefCell::new(None) };
    }

    /// From now on `by` watches this thread's calls; gives who did before.
    pub(crate) fn watch(by: Option<Box<dyn Watch>>) -> Option<Box<dyn Watch>> {
        WATCH.with(|w| w.replace(by))
    }

    /// For a kernel that has stored something.
    pub(crate) fn look() {
        WATCH.with(|w| w.borrow_mut().as_mut().map_or((), |w| w.look()));
    }

    pub(super) fn is_left_out(step: Step, base: *const u8, len: usize) -> bool {
        WATCH.with(|w| w.borrow_mut().as_mut().is_some_and(|w| w.before(step, base, len)))
    }

    pub(super) fn told(step: Step, base: *const u8, len: usize) {
        WATCH.with(|w| w.borrow_mut().as_mut().map_or((), |w| w.after(step, base, len)));
    }
}
