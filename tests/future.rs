//! Pending jobs as futures, under executors made by hand: each wake-up counts, nobody polls in a
//! loop, and nothing waits for ever.

mod watchdog;

use std::future::{Future, IntoFuture};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use pinpool::{Backend, Error, JobError, Param, Pool, indices};
use watchdog::watched;

fn pool(backend: Backend) -> Pool {
    Pool::builder().workers(2).oversubscribe(true).backend(backend).build().expect("a pool")
}

/// Unparks its thread, and counts how often.
struct Unpark {
    thread: Thread,
    woken: AtomicUsize,
}

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.woken.fetch_add(1, Ordering::SeqCst);
        self.thread.unpark();
    }
}

/// Drives a future; gives its value and how often it was polled.
fn block_on<F: Future>(future: F) -> (F::Output, usize) {
    let mut future = pin!(future);
    let unpark = Arc::new(Unpark { thread: thread::current(), woken: AtomicUsize::new(0) });
    let waker = Waker::from(Arc::clone(&unpark));
    let mut polls = 0;
    loop {
        let woken = unpark.woken.load(Ordering::SeqCst);
        polls += 1;
        if let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return (value, polls);
        }
        while unpark.woken.load(Ordering::SeqCst) == woken {
            thread::park();
        }
    }
}

/// All of them at once: polled together on each wake-up.
struct All<F: Future + Unpin>(Vec<(F, Option<F::Output>)>);

impl<F: Future + Unpin> Unpin for All<F> {}

impl<F: Future + Unpin> Future for All<F> {
    type Output = Vec<F::Output>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Vec<F::Output>> {
        for (future, value) in &mut self.0 {
            if value.is_none()
                && let Poll::Ready(ready) = Pin::new(future).poll(context)
            {
                *value = Some(ready);
            }
        }
        if self.0.iter().any(|(_, value)| value.is_none()) {
            return Poll::Pending;
        }
        Poll::Ready(self.0.drain(..).filter_map(|(_, value)| value).collect())
    }
}

#[test]
fn awaiting_a_job_gives_its_value_without_polling_in_a_loop() {
    watched(|| {
        for backend in [Backend::Processes, Backend::Threads, Backend::Serial] {
            let pool = pool(backend);
            let (value, polls) = pool.scope(|s| {
                let slow = s.call(Param(6u64), |p, _| {
                    thread::sleep(Duration::from_millis(100));
                    p * 7
                });
                block_on(slow.unwrap().into_future())
            });
            assert_eq!(value.unwrap(), 42);
            assert!(polls <= 2, "{polls} polls");
        }
    });
}

#[test]
fn several_jobs_are_awaited_at_once() {
    watched(|| {
        let pool = pool(Backend::Processes);
        for round in 0..20u64 {
            let (values, polls) = pool.scope(|s| {
                let jobs = (0..100u64).map(|i| {
                    let job = s.call(Param(i + round), |p, _| {
                        thread::sleep(Duration::from_micros(p % 7 * 50));
                        p * p
                    });
                    (job.unwrap().into_future(), None)
                });
                block_on(All(jobs.collect()))
            });
            let values: Vec<_> = values.into_iter().map(Result::unwrap).collect();
            assert_eq!(values, (0..100).map(|i| (i + round).pow(2)).collect::<Vec<_>>());
            assert!(polls <= 101, "{polls} polls");
        }
    });
}

#[test]
fn threads_await_jobs_of_one_pool_each_for_itself() {
    watched(|| {
        let pool = pool(Backend::Processes);
        thread::scope(|threads| {
            for t in 0..3u64 {
                let pool = &pool;
                threads.spawn(move || {
                    for i in 0..100 {
                        let (sum, _) = pool.scope(|s| {
                            block_on(async {
                                let job = s.map((indices(5), Param(t)), |(i, t), _| i + t);
                                Ok::<_, Error>(job?.await?.total())
                            })
                        });
                        assert_eq!(sum.unwrap(), 10 + 5 * t, "round {i}");
                    }
                });
            }
        });
    });
}

#[test]
fn an_error_and_a_cancel_are_told_to_who_awaits() {
    watched(|| {
        let pool = pool(Backend::Processes);
        pool.scope(|s| {
            let bad = s.call((), |(), _| -> u8 { panic!("on purpose") }).unwrap();
            let error = block_on(bad.into_future()).0.unwrap_err().to_string();
            assert!(error.contains("on purpose"), "{error}");
            let long = s.map(indices(10_000), |i, _| {
                thread::sleep(Duration::from_millis(1));
                i
            });
            let long = long.unwrap();
            long.cancel();
            let ended = block_on(long.into_future()).0;
            assert!(matches!(ended, Err(Error::Job(JobError::Cancelled))));
        });
    });
}

#[test]
fn a_future_that_is_dropped_after_a_poll_leaves_its_job_to_the_scope() {
    watched(|| {
        let pool = pool(Backend::Processes);
        pool.scope(|s| {
            let slow = s.call((), |(), _| thread::sleep(Duration::from_millis(50)));
            let mut future = slow.unwrap().into_future();
            let mut context = Context::from_waker(Waker::noop());
            assert!(Pin::new(&mut future).poll(&mut context).is_pending());
            drop(future);
            let (value, _) = block_on(s.call((), |(), _| 3u8).unwrap().into_future());
            assert_eq!(value.unwrap(), 3);
        });
    });
}
