//! Any iterator of plain old data as the argument of a job: copied once into shared memory.

#![deny(unsafe_code)]

use bytemuck::Pod;
use ndarray::Ix1;

use crate::args::{Args, Chunks, Description, Reader, sealed};
use crate::array::SharedArray;
use crate::error::ArgsError;
use crate::layout::ArgKind;
use crate::segment::CreateError;

/// One item for each chunk; made by [`items`].
#[derive(Debug)]
pub struct Items<T: Pod> {
    array: SharedArray<T, Ix1>,
}

/// The items of an iterator, one for each chunk; kernels get the item itself.
///
/// It is the second argument of Python's `Pool.map`. Where an item is little work, and there are
/// many, chunks of some hundred are faster: `SharedArray::collect(iter)?` and `chunks(n)`.
///
/// ```
/// use pinpool::{Pool, items};
///
/// let pool = Pool::builder().workers(2).oversubscribe(true).build()?;
/// let doubled = pool.map(items([5, 2, 9])?, |x, _| 2 * x)?;
/// assert_eq!(doubled.as_slice(), [10, 4, 18]);
/// # Ok::<(), pinpool::Error>(())
/// ```
///
/// # Errors
/// [`CreateError`] where memory is short.
pub fn items<I>(iter: I) -> Result<Items<I::Item>, CreateError>
where
    I: IntoIterator,
    I::Item: Pod,
{
    Ok(Items { array: SharedArray::collect(iter)? })
}

impl<T: Pod> Items<T> {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.array.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.array.is_empty()
    }
}

impl<T: Pod> sealed::Describe for Items<T> {
    fn describe(&self, job: &mut Description) -> Result<(), ArgsError> {
        job.array(&self.array, ArgKind::Read, 1)
    }
}

#[allow(unsafe_code, reason = "the trait's function is unsafe to call")]
impl<T: Pod> Args for Items<T> {
    type Item<'w> = T;

    unsafe fn item<'w>(reader: &mut Reader<'w>) -> T {
        // SAFETY: the contract is the caller's; items are described as chunks of one row.
        let chunk = unsafe { <Chunks<'_, T, Ix1> as Args>::item(reader) };
        chunk.as_slice()[0]
    }
}

impl<T: Pod> SharedArray<T, Ix1> {
    /// The items of an iterator, copied into a new nameless array.
    ///
    /// # Errors
    /// As [`zeros`](Self::zeros).
    pub fn collect<I: IntoIterator<Item = T>>(iter: I) -> Result<Self, CreateError> {
        let mut iter = iter.into_iter();
        let (low, high) = iter.size_hint();
        if Some(low) != high {
            return Self::from_slice(&iter.collect::<Vec<_>>());
        }
        // Of known length: written where it stays.
        let mut array = Self::zeros(low)?;
        let mut filled = 0;
        for (to, item) in array.as_mut_slice().iter_mut().zip(&mut iter) {
            *to = item;
            filled += 1;
        }
        match iter.next() {
            None if filled == low => Ok(array),
            // The iterator was wrong about itself, which it may be.
            more => {
                let head = array.as_slice()[..filled].iter().copied();
                Self::from_slice(&head.chain(more).chain(iter).collect::<Vec<_>>())
            }
        }
    }

    fn from_slice(items: &[T]) -> Result<Self, CreateError> {
        let mut array = Self::zeros(items.len())?;
        array.as_mut_slice().copy_from_slice(items);
        Ok(array)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Says that it has so many items, and has others.
    struct Wrong(usize, std::ops::Range<u32>);

    impl Iterator for Wrong {
        type Item = u32;

        fn next(&mut self) -> Option<u32> {
            self.1.next()
        }

        fn size_hint(&self) -> (usize, Option<usize>) {
            (self.0, Some(self.0))
        }
    }

    #[test]
    fn an_iterator_is_copied_whatever_it_says_of_its_length() {
        for said in [0, 3, 5, 9] {
            let array = SharedArray::collect(Wrong(said, 0..5)).unwrap();
            assert_eq!(array.as_slice(), [0, 1, 2, 3, 4], "said {said}");
        }
        let filtered = SharedArray::collect((0..10u8).filter(|n| n % 3 == 0)).unwrap();
        assert_eq!(filtered.as_slice(), [0, 3, 6, 9]);
        assert!(SharedArray::collect(std::iter::empty::<u8>()).unwrap().is_empty());
    }
}
