//! Progress bars of `indicatif` for jobs, behind the feature `indicatif`.

#![forbid(unsafe_code)]

use indicatif::ProgressBar;

use crate::Progress;

/// What [`Job::on_progress`](crate::Job::on_progress) tells, shown by a bar: its length is the
/// job's number of chunks, its position those that are over. The bar is the caller's, with its
/// style and its end.
///
/// ```
/// use std::time::Duration;
/// use indicatif::ProgressBar;
/// use pinpool::{Pool, indices, progress};
///
/// let pool = Pool::builder().workers(2).oversubscribe(true).build()?;
/// let bar = ProgressBar::hidden();
/// let show = progress::bar(&bar);
/// pool.job().on_progress(Duration::from_millis(50), &show).map(indices(100), |i, _| i)?;
/// assert_eq!((bar.position(), bar.length()), (100, Some(100)));
/// # Ok::<(), pinpool::Error>(())
/// ```
pub fn bar(bar: &ProgressBar) -> impl Fn(Progress) {
    let bar = bar.clone();
    move |progress| {
        bar.set_length(progress.chunks);
        bar.set_position(progress.done);
    }
}
