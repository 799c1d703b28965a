//! A bounded queue in shared memory, of many putters and many getters in many processes, that a
//! killed process can neither corrupt nor lock.
//!
//! It owns the segment and can be an argument of jobs; what is in the segment is `ring`'s.

mod ring;

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use bytemuck::Pod;

use crate::args::{Args, Description, Reader, sealed};
use crate::error::ArgsError;
use crate::layout::ArgKind;
use crate::segment::{CreateError, Segment};

pub use ring::{GetError, PutError, QueueView};
use ring::{HEADER_BYTES, cell_bytes};

/// A bounded queue of plain data that worker processes use too: any number of them may put and
/// get at once.
///
/// It is an argument of jobs, as `&queue` or a clone: kernels get a [`QueueView`]. Items come out
/// in the order in which their puts began. What a process that is killed had taken is lost with
/// it, and what it was putting is either in the queue, whole, or not; nobody else is held up. A
/// chunk that is run again after a death puts its items again.
///
/// ```
/// use pinpool::{Pool, Queue, indices};
///
/// let pool = Pool::builder().workers(2).oversubscribe(true).build()?;
/// let queue = Queue::<u64>::new(100)?;
/// pool.for_each((indices(10), &queue), |(i, queue), _| queue.put(i * i).unwrap())?;
/// let mut squares: Vec<_> = std::iter::from_fn(|| queue.try_get().ok()).collect();
/// squares.sort();
/// assert_eq!(squares[9], 81);
/// # Ok::<(), pinpool::Error>(())
/// ```
pub struct Queue<T: Pod> {
    segment: Arc<Segment>,
    cells: u64,
    item: PhantomData<T>,
}

impl<T: Pod> Clone for Queue<T> {
    /// Another handle of the same queue.
    fn clone(&self) -> Self {
        Queue { segment: Arc::clone(&self.segment), cells: self.cells, item: PhantomData }
    }
}

impl<T: Pod> fmt::Debug for Queue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").field("capacity", &self.cells).finish_non_exhaustive()
    }
}

impl<T: Pod> Queue<T> {
    /// A queue with room for `capacity` items.
    ///
    /// # Errors
    /// [`CreateError::NoRoom`] for a capacity of 0 (Python's `Queue(0)` is one without a bound;
    /// there is none such in shared memory), and what else stands there where memory is short.
    pub fn new(capacity: usize) -> Result<Queue<T>, CreateError> {
        if capacity == 0 {
            return Err(CreateError::NoRoom);
        }
        let cells = capacity;
        let bytes = cells.saturating_mul(cell_bytes::<T>()).saturating_add(HEADER_BYTES);
        let segment = Segment::nameless("queue", bytes)?;
        // Zeros are an empty ring in its first lap.
        Ok(Queue { segment, cells: cells as u64, item: PhantomData })
    }

    /// The queue as kernels see it; all its methods are there.
    #[must_use]
    pub fn view(&self) -> QueueView<'_, T> {
        QueueView { base: self.segment.base(), cells: self.cells, queue: PhantomData }
    }

    /// As [`QueueView::capacity`].
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.cells as usize
    }

    /// As [`QueueView::len`].
    #[must_use]
    pub fn len(&self) -> usize {
        self.view().len()
    }

    /// As [`QueueView::is_empty`].
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.view().is_empty()
    }

    /// As [`QueueView::put`].
    ///
    /// # Errors
    /// [`PutError::Closed`].
    pub fn put(&self, item: T) -> Result<(), PutError> {
        self.view().put(item)
    }

    /// As [`QueueView::try_put`].
    ///
    /// # Errors
    /// [`PutError`].
    pub fn try_put(&self, item: T) -> Result<(), PutError> {
        self.view().try_put(item)
    }

    /// As [`QueueView::put_timeout`].
    ///
    /// # Errors
    /// [`PutError`].
    pub fn put_timeout(&self, item: T, limit: Duration) -> Result<(), PutError> {
        self.view().put_timeout(item, limit)
    }

    /// As [`QueueView::get`].
    ///
    /// # Errors
    /// [`GetError::Closed`].
    pub fn get(&self) -> Result<T, GetError> {
        self.view().get()
    }

    /// As [`QueueView::try_get`].
    ///
    /// # Errors
    /// [`GetError`].
    pub fn try_get(&self) -> Result<T, GetError> {
        self.view().try_get()
    }

    /// As [`QueueView::get_timeout`].
    ///
    /// # Errors
    /// [`GetError`].
    pub fn get_timeout(&self, limit: Duration) -> Result<T, GetError> {
        self.view().get_timeout(limit)
    }

    /// As [`QueueView::close`].
    pub fn close(&self) {
        self.view().close();
    }

    fn describe(&self, job: &mut Description) -> Result<(), ArgsError> {
        let arg = job.next()?;
        arg.kind = ArgKind::Whole as u64;
        arg.segment = self.segment.id();
        arg.offset = HEADER_BYTES as u64;
        arg.rows = self.cells;
        arg.row_bytes = cell_bytes::<T>() as u64;
        job.segments.push(Arc::clone(&self.segment));
        Ok(())
    }
}

/// SAFETY contract of [`Args::item`] holds for the caller.
unsafe fn view<'w, T: Pod>(reader: &mut Reader<'w>) -> QueueView<'w, T> {
    let (arg, base) = reader.next();
    QueueView { base, cells: arg.rows, queue: PhantomData }
}

impl<T: Pod> sealed::Describe for &Queue<T> {
    fn describe(&self, job: &mut Description) -> Result<(), ArgsError> {
        Queue::describe(self, job)
    }
}

impl<T: Pod> Args for &Queue<T> {
    type Item<'w> = QueueView<'w, T>;

    unsafe fn item<'w>(reader: &mut Reader<'w>) -> QueueView<'w, T> {
        // SAFETY: the contract is the caller's.
        unsafe { view(reader) }
    }
}

impl<T: Pod> sealed::Describe for Queue<T> {
    fn describe(&self, job: &mut Description) -> Result<(), ArgsError> {
        Queue::describe(self, job)
    }
}

impl<T: Pod> Args for Queue<T> {
    type Item<'w> = QueueView<'w, T>;

    unsafe fn item<'w>(reader: &mut Reader<'w>) -> QueueView<'w, T> {
        // SAFETY: the contract is the caller's.
        unsafe { view(reader) }
    }
}
