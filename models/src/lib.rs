//! Models of the protocols of `src/control.md`, run under loom in every interleaving.
//!
//! `protocol.rs` is the crate's own file; the rest of the shared words (sleepers, tallies, rescan,
//! waiters) is restated here as small as it can be, with the same orders. Each protocol has wrong
//! variants, a step left out or two steps exchanged, which its model must convict: a model that
//! cannot fail proves nothing.
//!
//! What loom cannot do: it has no SeqCst accesses (it takes them as AcqRel), so that [`sync`] makes
//! each from an access and a SeqCst fence: before a load, after what stores. (Not before it too:
//! loom's fences order more than C++'s, and would hide a race with what came before.) It has no
//! futex: [`Futex`] is a mutex and a condition variable. It knows no SIGKILL: a death is a thread
//! that returns early, and a reaped death is its `join`.
#[cfg(test)]
#[path = "../../src/protocol.rs"]
#[allow(dead_code)]
pub(crate) mod protocol;

/// What `protocol.rs` takes its atomics from.
#[cfg(test)]
pub(crate) mod sync {
    pub(crate) use loom::sync::atomic::Ordering;
    use loom::sync::atomic::fence;

    /// Loom's, with SeqCst accesses.
    #[derive(Debug)]
    pub(crate) struct AtomicU64(loom::sync::atomic::AtomicU64);

    fn fence_if(order: Ordering) {
        if order == Ordering::SeqCst {
            fence(Ordering::SeqCst);
        }
    }

    /// The order of the access itself, between its fences.
    fn weaker(order: Ordering, weaker: Ordering) -> Ordering {
        if order == Ordering::SeqCst { weaker } else { order }
    }

    impl AtomicU64 {
        pub(crate) fn new(value: u64) -> AtomicU64 {
            AtomicU64(loom::sync::atomic::AtomicU64::new(value))
        }

        pub(crate) fn load(&self, order: Ordering) -> u64 {
            fence_if(order);
            self.0.load(weaker(order, Ordering::Acquire))
        }

        pub(crate) fn store(&self, value: u64, order: Ordering) {
            self.0.store(value, weaker(order, Ordering::Release));
            fence_if(order);
        }

        pub(crate) fn fetch_add(&self, value: u64, order: Ordering) -> u64 {
            let before = self.0.fetch_add(value, weaker(order, Ordering::AcqRel));
            fence_if(order);
            before
        }

        pub(crate) fn fetch_max(&self, value: u64, order: Ordering) -> u64 {
            let before = self.0.fetch_max(value, weaker(order, Ordering::AcqRel));
            fence_if(order);
            before
        }

        pub(crate) fn fetch_or(&self, value: u64, order: Ordering) -> u64 {
            let before = self.0.fetch_or(value, weaker(order, Ordering::AcqRel));
            fence_if(order);
            before
        }

        pub(crate) fn fetch_and(&self, value: u64, order: Ordering) -> u64 {
            let before = self.0.fetch_and(value, weaker(order, Ordering::AcqRel));
            fence_if(order);
            before
        }

        pub(crate) fn swap(&self, value: u64, order: Ordering) -> u64 {
            let before = self.0.swap(value, weaker(order, Ordering::AcqRel));
            fence_if(order);
            before
        }

        pub(crate) fn compare_exchange(
            &self,
            seen: u64,
            new: u64,
            success: Ordering,
            failure: Ordering,
        ) -> Result<u64, u64> {
            let order = weaker(success, Ordering::AcqRel);
            let result = self.0.compare_exchange(seen, new, order, failure);
            fence_if(success);
            result
        }
    }
}

#[cfg(test)]
mod calls;
#[cfg(test)]
mod chunks;
#[cfg(test)]
mod dispatch;
#[cfg(test)]
mod waits;

/// Sleeps while a word has a value; the word is read and the sleeper entered in one step, which
/// is what the kernel promises of a futex.
#[cfg(test)]
pub(crate) struct Futex {
    lock: loom::sync::Mutex<()>,
    bell: loom::sync::Condvar,
}

#[cfg(test)]
impl Futex {
    pub(crate) fn new() -> Futex {
        Futex { lock: loom::sync::Mutex::new(()), bell: loom::sync::Condvar::new() }
    }

    /// Like the call: it may return for no reason.
    pub(crate) fn wait(&self, word: &sync::AtomicU64, value: u64) {
        let held = self.lock.lock().unwrap();
        // The kernel orders its look after the caller's earlier accesses.
        if word.load(sync::Ordering::SeqCst) == value {
            drop(self.bell.wait(held).unwrap());
        }
    }

    pub(crate) fn wake(&self) {
        let _held = self.lock.lock().unwrap();
        self.bell.notify_all();
    }
}
