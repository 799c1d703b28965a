//! The segments that a pool's jobs speak of, and the links over which workers get them.
//!
//! A segment enters at the first job that uses it, a named one when it or the pool is made, and
//! leaves when its owner drops it. Each worker process has a link; a new incarnation is first sent
//! everything that is in the table.

#![forbid(unsafe_code)]

use std::collections::{HashMap, VecDeque};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use crate::control::Control;
use crate::mail::{self, Message};
use crate::segment::audience::{self, Audience};
use crate::segment::{Segment, SegmentWatcher};
use crate::worker::SegmentSource;

/// All segments in use by one pool.
#[derive(Debug)]
pub(crate) struct Table {
    control: Control,
    inner: Mutex<Inner>,
    /// Rung where mail waits, since the supervisor sends it when the worker has made room.
    bell: OnceLock<OwnedFd>,
}

#[derive(Debug, Default)]
struct Inner {
    segments: HashMap<u64, Weak<Segment>>,
    links: Vec<Option<Link>>,
}

/// The parent's end of a worker's socket, and what did not fit into it yet.
#[derive(Debug)]
struct Link {
    socket: OwnedFd,
    waiting: VecDeque<(Message, Weak<Segment>)>,
}

/// Segments that were held for a moment under the lock, dropped after it: the last holder's drop
/// of a segment calls [`Table::segment_gone`], which takes the lock.
type Held = Vec<Arc<Segment>>;

impl Link {
    /// Sends what waits; what the socket does not take now stays.
    fn flush(&mut self, held: &mut Held) {
        while let Some((message, segment)) = self.waiting.front() {
            let segment = segment.upgrade();
            if message.is_map() && segment.is_none() {
                self.waiting.pop_front();
                continue;
            }
            let fd = segment.as_deref().map(Segment::fd);
            let sent = mail::send(self.socket.as_fd(), message, fd);
            held.extend(segment);
            match sent {
                Ok(()) => drop(self.waiting.pop_front()),
                Err(rustix::io::Errno::AGAIN | rustix::io::Errno::TOOMANYREFS) => return,
                // The worker is dead; its successor gets a link of its own.
                Err(_) => return self.waiting.clear(),
            }
        }
    }

    fn post(&mut self, message: Message, segment: Weak<Segment>, held: &mut Held) {
        self.waiting.push_back((message, segment));
        self.flush(held);
    }
}

fn map_message(segment: &Segment) -> Message {
    let cleanup = segment.named_for_cleanup();
    Message::map(segment.id(), segment.len(), segment.writable(), cleanup)
}

impl Table {
    pub(crate) fn new(control: Control) -> Arc<Table> {
        let table = Arc::new(Table { control, inner: Mutex::default(), bell: OnceLock::new() });
        audience::join(&table);
        table
    }

    /// Whom to ring where mail waits.
    pub(crate) fn set_bell(&self, bell: OwnedFd) {
        let _ = self.bell.set(bell);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes sure that every worker has been sent `segment`.
    pub(crate) fn ensure(self: &Arc<Table>, segment: &Arc<Segment>) {
        let mut held = Held::new();
        let mut inner = self.lock();
        if inner.segments.contains_key(&segment.id()) {
            return;
        }
        inner.segments.insert(segment.id(), Arc::downgrade(segment));
        let watcher: Weak<dyn SegmentWatcher> = Arc::<Table>::downgrade(self);
        segment.watch(watcher);
        self.post_to_all(&mut inner, map_message(segment), &Arc::downgrade(segment), &mut held);
    }

    fn post_to_all(
        &self,
        inner: &mut Inner,
        message: Message,
        segment: &Weak<Segment>,
        held: &mut Held,
    ) {
        for (w, link) in inner.links.iter_mut().enumerate() {
            if let Some(link) = link {
                link.post(message, Weak::clone(segment), held);
                self.control.worker(w).park.mail.fetch_add(1, Ordering::SeqCst);
                if !link.waiting.is_empty() {
                    // A sleeper takes his mail and makes room; who is busy does so later.
                    self.control.wake_worker(w);
                    if let Some(bell) = self.bell.get() {
                        let _ = rustix::io::write(bell, &1u64.to_ne_bytes());
                    }
                }
            }
        }
    }

    /// Gives worker `worker` a new link, over which it is sent everything.
    pub(crate) fn link(&self, worker: usize, socket: OwnedFd) {
        let mut held = Held::new();
        let mut inner = self.lock();
        let mut link = Link { socket, waiting: VecDeque::new() };
        for segment in inner.segments.values() {
            if let Some(alive) = segment.upgrade() {
                link.waiting.push_back((map_message(&alive), Weak::clone(segment)));
                held.push(alive);
            }
        }
        link.flush(&mut held);
        if inner.links.len() <= worker {
            inner.links.resize_with(worker + 1, || None);
        }
        inner.links[worker] = Some(link);
    }

    /// Sends again what did not fit; says whether something still waits.
    pub(crate) fn flush(&self) -> bool {
        let mut held = Held::new();
        let mut inner = self.lock();
        let mut waits = false;
        for (w, link) in inner.links.iter_mut().enumerate() {
            let Some(link) = link else { continue };
            let before = link.waiting.len();
            link.flush(&mut held);
            if link.waiting.len() != before {
                // Sent later than it was announced.
                self.control.worker(w).park.mail.fetch_add(1, Ordering::SeqCst);
                self.control.wake_worker(w);
            }
            waits |= !link.waiting.is_empty();
        }
        waits
    }
}

/// A segment that no job has used yet is one that workers have to remove all the same, should the
/// parent be killed.
impl Audience for Table {
    fn hear(self: Arc<Table>, segment: &Arc<Segment>) {
        self.ensure(segment);
    }
}

impl SegmentWatcher for Table {
    fn segment_gone(&self, id: u64) {
        let mut held = Held::new();
        let mut inner = self.lock();
        if inner.segments.remove(&id).is_some() {
            self.post_to_all(&mut inner, Message::unmap(id), &Weak::new(), &mut held);
            let workers = inner.links.len();
            drop(inner);
            for w in 0..workers {
                self.control.wake_worker(w);
            }
        }
    }
}

/// Workers in this process map nothing: the segments are mapped already.
#[derive(Debug, Clone)]
pub(crate) struct Local(pub(crate) Arc<Table>);

impl SegmentSource for Local {
    const IN_PROCESS: bool = true;

    fn segment(&mut self, id: u64) -> Option<Arc<Segment>> {
        self.0.lock().segments.get(&id)?.upgrade()
    }
}
