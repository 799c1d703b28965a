//! A pending job as a [`Future`], for who has an executor; no runtime is named or needed.
//!
//! Who never polls one pays nothing: a worker that ends a job looks for waiters anyway, and only
//! where the upper half of their number says so does it ring one word of the pool. On that word
//! sleeps one thread, started at the first poll that finds its job still running, which wakes the
//! tasks whose jobs are over. Nobody polls in a loop.

#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread::JoinHandle;

use rustix::thread::{Timespec, futex};

use super::Pool;
use super::jobs::Jobs;
use super::pending::Pending;
use super::running::Running;
use super::ticket::Ticket;
use crate::error::Result;
use crate::layout::FUTURE;

/// What a task waits for.
#[derive(Debug)]
struct Entry {
    ticket: Ticket,
    waker: Waker,
}

/// The tasks that wait for jobs of one pool.
#[derive(Debug)]
struct Tasks {
    jobs: Arc<Jobs>,
    waiting: Mutex<(u64, HashMap<u64, Entry>)>,
    stop: AtomicBool,
    /// A task began to wait for a call of a batch.
    calls: AtomicBool,
}

impl Tasks {
    fn lock(&self) -> MutexGuard<'_, (u64, HashMap<u64, Entry>)> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The thread's life: wakes whose job is over, then sleeps until a job ends that some task
    /// waits for.
    fn run(&self) {
        let ended = &self.jobs.control.header().ended.seq;
        loop {
            let seen = ended.load(Ordering::SeqCst);
            if self.stop.load(Ordering::SeqCst) {
                return;
            }
            for waker in self.take_over() {
                waker.wake();
            }
            // A second at most, whatever happens: no wake-up is trusted with a hang. A call that
            // ended at the very moment when its task began to wait is not told.
            let nap = if self.calls.swap(false, Ordering::SeqCst) {
                Timespec { tv_sec: 0, tv_nsec: 20_000_000 }
            } else {
                Timespec { tv_sec: 1, tv_nsec: 0 }
            };
            let woken = futex::wait(ended, futex::Flags::empty(), seen, Some(&nap));
            if woken == Err(rustix::io::Errno::TIMEDOUT) {
                let tickets = |e: &Entry| (e.ticket.slot(), e.ticket.epoch());
                let late: Vec<_> = self.lock().1.values().map(tickets).collect();
                late.into_iter().for_each(|(slot, epoch)| self.jobs.nudge(slot, epoch));
            }
        }
    }

    /// Takes out the tasks whose jobs are over.
    fn take_over(&self) -> Vec<Waker> {
        let mut waiting = self.lock();
        let over = waiting.1.extract_if(|_, e| self.jobs.is_over(&e.ticket));
        over.map(|(_, entry)| self.leave(entry)).collect()
    }

    fn leave(&self, entry: Entry) -> Waker {
        self.waiters(&entry.ticket).fetch_sub(FUTURE, Ordering::SeqCst);
        entry.waker
    }

    /// Where who ends the job, or the call, looks for tasks.
    fn waiters(&self, ticket: &Ticket) -> &AtomicU64 {
        let line = self.jobs.control.job(ticket.slot());
        if ticket.call().is_some() { &line.watchers } else { &line.complete.waiters }
    }

    /// From here on the task is woken at the job's end, once. `known`: its number from before.
    fn enter(&self, known: Option<u64>, ticket: &Ticket, waker: &Waker) -> u64 {
        let mut waiting = self.lock();
        if let Some((id, entry)) = known.and_then(|id| Some((id, waiting.1.get_mut(&id)?))) {
            entry.waker.clone_from(waker);
            return id;
        }
        self.waiters(ticket).fetch_add(FUTURE, Ordering::SeqCst);
        waiting.0 += 1;
        let id = waiting.0;
        waiting.1.insert(id, Entry { ticket: ticket.clone(), waker: waker.clone() });
        drop(waiting);
        if ticket.call().is_some() {
            // The thread has to look again soon: see `run`.
            self.calls.store(true, Ordering::SeqCst);
            self.jobs.control.ring_ended();
        }
        id
    }

    fn forget(&self, id: u64) {
        let entry = self.lock().1.remove(&id);
        entry.map(|entry| self.leave(entry));
    }
}

/// The thread that wakes tasks, and what it shares with them; dropping it ends it.
#[derive(Debug)]
pub(super) struct Waiter {
    tasks: Arc<Tasks>,
    thread: Option<JoinHandle<()>>,
}

impl Waiter {
    /// `None`: there is no thread to be had.
    fn start(jobs: &Arc<Jobs>) -> Option<Waiter> {
        let tasks = Arc::new(Tasks {
            jobs: Arc::clone(jobs),
            waiting: Mutex::default(),
            stop: AtomicBool::new(false),
            calls: AtomicBool::new(false),
        });
        let thread = std::thread::Builder::new().name("pinpool/futures".to_owned());
        let shared = Arc::clone(&tasks);
        let thread = thread.spawn(move || shared.run()).ok()?;
        Some(Waiter { tasks, thread: Some(thread) })
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        self.tasks.stop.store(true, Ordering::SeqCst);
        self.tasks.jobs.control.ring_ended();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Pool {
    /// The tasks' thread, started if there was none.
    fn tasks(&self) -> Option<Arc<Tasks>> {
        let mut waiter = self.waiter.lock().unwrap_or_else(PoisonError::into_inner);
        if waiter.is_none() {
            *waiter = Waiter::start(&self.jobs);
        }
        waiter.as_ref().map(|waiter| Arc::clone(&waiter.tasks))
    }
}

/// A pending job as a future; made by `.await` on a [`Pending`], or by
/// [`IntoFuture::into_future`].
///
/// Dropping it does not stop the job: the scope waits for it at its end.
#[must_use = "a future does nothing unless it is polled"]
pub struct PendingFuture<'scope, T> {
    pool: &'scope Pool,
    running: Option<Running<T>>,
    /// Where the task is entered.
    entered: Option<(Arc<Tasks>, u64)>,
}

impl<T> fmt::Debug for PendingFuture<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PendingFuture").field("running", &self.running).finish_non_exhaustive()
    }
}

/// Nothing in it is pinned: a job's memory is elsewhere.
impl<T> Unpin for PendingFuture<'_, T> {}

impl<T> PendingFuture<'_, T> {
    fn leave(&mut self) {
        let entered = self.entered.take();
        // In a fork the tasks' thread is not there, and their lock may be held for ever.
        if let Some((tasks, id)) = entered.filter(|_| !self.pool.is_fork()) {
            tasks.forget(id);
        }
    }
}

impl<T> Drop for PendingFuture<'_, T> {
    fn drop(&mut self) {
        self.leave();
    }
}

impl<T> Future for PendingFuture<'_, T> {
    type Output = Result<T>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<T>> {
        let this = self.get_mut();
        let running = this.running.as_ref().expect("a future is not polled after its end");
        if !running.is_over(this.pool) {
            match this.pool.tasks() {
                Some(tasks) => {
                    let known = this.entered.as_ref().map(|(_, id)| *id);
                    let id = tasks.enter(known, &running.ticket, context.waker());
                    this.entered = Some((tasks, id));
                    // Who ended the job before it could see the task did not ring.
                    if !running.is_over(this.pool) {
                        return Poll::Pending;
                    }
                }
                // Without a thread to wake the task, late is better than never.
                None => running.wait(this.pool),
            }
        }
        this.leave();
        let running = this.running.take().expect("it was there a moment ago");
        Poll::Ready(running.take(this.pool).map_err(Into::into))
    }
}

/// `.await` on a pending job gives what [`get`](Pending::get) gives, and leaves the thread to
/// other tasks meanwhile. Any executor will do.
///
/// ```
/// # use std::future::Future;
/// # use std::task::{Context, Poll, Wake, Waker};
/// # struct Unpark(std::thread::Thread);
/// # impl Wake for Unpark {
/// #     fn wake(self: std::sync::Arc<Self>) { self.0.unpark() }
/// # }
/// # fn block_on<F: Future>(future: F) -> F::Output {
/// #     let mut future = std::pin::pin!(future);
/// #     let waker = Waker::from(std::sync::Arc::new(Unpark(std::thread::current())));
/// #     loop {
/// #         match future.as_mut().poll(&mut Context::from_waker(&waker)) {
/// #             Poll::Ready(value) => return value,
/// #             Poll::Pending => std::thread::park(),
/// #         }
/// #     }
/// # }
/// use pinpool::{Param, Pool, indices};
///
/// let pool = Pool::builder().workers(2).oversubscribe(true).build()?;
/// let n = pool.scope(|s| {
///     let squares = s.map(indices(10), |i, _| i * i)?;
///     let twelve = s.call(Param(12u64), |p, _| p)?;
///     block_on(async { Ok::<_, pinpool::Error>(squares.await?.total() + twelve.await?) })
/// })?;
/// assert_eq!(n, 285 + 12);
/// # Ok::<(), pinpool::Error>(())
/// ```
impl<'scope, T> IntoFuture for Pending<'scope, T> {
    type Output = Result<T>;
    type IntoFuture = PendingFuture<'scope, T>;

    fn into_future(self) -> PendingFuture<'scope, T> {
        let (pool, running) = self.into_parts();
        PendingFuture { pool, running: Some(running), entered: None }
    }
}
