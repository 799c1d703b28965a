//! Who is told of named segments: each live pool of this process, whose workers remove the names
//! should the parent be killed, also of arrays that no job has used yet.
//!
//! Two lists of weak references, of pools and of segments, and each new one of either kind meets
//! all of the other. What is missed here (a process killed in between) is the collector's.
#![forbid(unsafe_code)]

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError, Weak};
use std::time::{Duration, Instant};

use super::Segment;

/// Wants to know each named segment that this process made.
pub(crate) trait Audience: Send + Sync {
    /// There is this segment.
    fn hear(self: Arc<Self>, segment: &Arc<Segment>);
}

/// Of this process: a fork of the host has its parent's lists, and nothing to say to the parent's
/// workers.
struct Known<T: ?Sized> {
    process: u32,
    it: Weak<T>,
}

impl<T: ?Sized> Known<T> {
    fn new(it: Weak<T>) -> Known<T> {
        Known { process: std::process::id(), it }
    }

    fn get(&self) -> Option<Arc<T>> {
        if self.process == std::process::id() { self.it.upgrade() } else { None }
    }

    fn is_gone(&self) -> bool {
        self.it.strong_count() == 0
    }
}

struct Lists {
    segments: Vec<Known<Segment>>,
    listeners: Vec<Known<dyn Audience>>,
}

static LISTS: Mutex<Lists> = Mutex::new(Lists { segments: Vec::new(), listeners: Vec::new() });

/// In a process that was forked while another thread held the lock, nobody will ever give it back.
const PATIENCE: Duration = Duration::from_secs(1);

/// `None`: this process has to do without.
fn lists() -> Option<MutexGuard<'static, Lists>> {
    let start = Instant::now();
    loop {
        match LISTS.try_lock() {
            Ok(lists) => return Some(lists),
            Err(TryLockError::Poisoned(lists)) => return Some(PoisonError::into_inner(lists)),
            Err(TryLockError::WouldBlock) if start.elapsed() > PATIENCE => return None,
            Err(TryLockError::WouldBlock) => std::thread::yield_now(),
        }
    }
}

/// A named segment was made: all pools hear of it.
pub(super) fn tell(segment: &Arc<Segment>) {
    // Dropped after the lock: the last holder of a pool's table or of a segment does more.
    let listeners: Vec<_> = {
        let Some(mut lists) = lists() else { return };
        lists.segments.retain(|known| !known.is_gone());
        lists.segments.push(Known::new(Arc::downgrade(segment)));
        lists.listeners.iter().filter_map(Known::get).collect()
    };
    for listener in listeners {
        listener.hear(segment);
    }
}

/// A pool begins: it hears of all named segments that there are, and of each later one.
pub(crate) fn join<A: Audience + 'static>(listener: &Arc<A>) {
    let segments: Vec<_> = {
        let Some(mut lists) = lists() else { return };
        lists.listeners.retain(|known| !known.is_gone());
        let weak: Weak<dyn Audience> = Arc::<A>::downgrade(listener);
        lists.listeners.push(Known::new(weak));
        lists.segments.iter().filter_map(Known::get).collect()
    };
    for segment in &segments {
        Arc::clone(listener).hear(segment);
    }
}
