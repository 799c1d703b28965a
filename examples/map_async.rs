//! `map_async`: the job runs while the caller does something else; results as they are finished,
//! or in order, or all at the end.

use std::time::Duration;

use pinpool::{Pool, indices};

fn slow_square(i: u64) -> u64 {
    std::thread::sleep(Duration::from_millis(5));
    i * i
}

pub(crate) fn main() -> pinpool::Result<()> {
    let pool = Pool::new()?;
    pool.scope(|s| {
        let job = s.map(indices(20), |i, _| slow_square(i))?;
        println!("the caller goes on; {} so far", job.progress());
        if let Err(late) = job.wait_timeout(Duration::from_millis(10)) {
            println!("{late}");
        }
        let squares = job.get()?;
        assert_eq!(squares.as_slice()[19], 361);

        // `imap_unordered`: whatever is finished first.
        let job = s.map(indices(20), |i, _| slow_square(i))?;
        let mut sum = 0;
        for item in job.as_completed() {
            let (chunk, square) = item?;
            assert_eq!(square, chunk * chunk);
            sum += square;
        }
        assert_eq!(sum, 2470);

        // `imap`: in order, each as soon as it is there.
        let job = s.map(indices(20), |i, _| slow_square(i))?;
        let in_order = job.in_order().collect::<pinpool::Result<Vec<_>>>()?;
        assert_eq!(in_order, squares.as_slice());
        println!("sum of squares: {sum}");
        Ok(())
    })
}
