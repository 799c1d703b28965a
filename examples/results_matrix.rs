//! A matrix of results, one row for each call, written in place: no list of rows that is pickled,
//! sent back and stacked.

use pinpool::{Param, Pool, SharedArray, items};

pub(crate) fn main() -> pinpool::Result<()> {
    let pool = Pool::new()?;
    let (rows, columns) = (40, 25);
    let mut matrix = SharedArray::<f64, _>::zeros((rows, columns))?;
    let rates = items((0..rows).map(|i| 0.01 * i as f64))?;
    pool.for_each((rates, matrix.chunks_out(1), Param(100.0)), |(rate, mut row, start), _| {
        for (year, value) in row.iter_mut().enumerate() {
            *value = start * (1.0 + rate).powi(year as i32);
        }
    })?;

    let view = matrix.view();
    println!("rate 1 %, year 10: {:.4}", view[[1, 10]]);
    assert!((view[[1, 10]] - 110.462_212_541_120).abs() < 1e-9);
    assert!(view.row(0).iter().all(|&v| v == 100.0));
    assert!(view.column(0).iter().all(|&v| v == 100.0));
    assert!(view.column(24).iter().is_sorted());
    Ok(())
}
