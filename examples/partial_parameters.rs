//! `functools.partial`: many parameters in one struct, copied into the job once. Large tables go
//! into a shared array that every chunk sees as a whole.

use pinpool::bytemuck::{Pod, Zeroable};
use pinpool::{Param, Pool, SharedArray};

#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[bytemuck(crate = "pinpool::bytemuck")]
#[repr(C)]
struct Line {
    slope: f64,
    offset: f64,
}

pub(crate) fn main() -> pinpool::Result<()> {
    let pool = Pool::new()?;
    let x = SharedArray::collect((0..1000u32).map(|i| i % 100))?;
    let table = SharedArray::collect((0..100).map(|i| f64::from(i * i)))?;
    let mut y = SharedArray::<f64, _>::zeros(1000)?;
    let line = Line { slope: 0.5, offset: -3.0 };
    pool.for_each(
        (x.chunks(50), y.chunks_out(50), table.whole(), Param(line)),
        |(x, mut y, table, line), _| {
            for (y, &x) in y.iter_mut().zip(x.iter()) {
                *y = line.slope * table[x as usize] + line.offset;
            }
        },
    )?;
    println!("y[10] = {}", y.as_slice()[10]);
    assert_eq!(y.as_slice()[10], 47.0);
    assert_eq!(y.as_slice()[999], 0.5 * 99.0 * 99.0 - 3.0);
    Ok(())
}
