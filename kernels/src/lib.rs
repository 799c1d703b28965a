//! Numerical kernels as plain functions over slices.
//!
//! The kernels know nothing of processes, files or array crates. Each is dispatched at run time
//! to the best instruction set of the CPU ([`isa`]) and gives the same bits on all of them.
#![cfg_attr(not(test), deny(clippy::unwrap_used))]

pub mod isa;
pub mod primes;

mod elementary;
mod fill;
#[doc(hidden)]
pub mod prefetch;
mod simd;
pub mod sum;
mod trig_power;
mod undo;

pub use elementary::{cos, exp2, log2, pow, sin, sin_cos};
pub use fill::Lanes;
pub use primes::*;
pub use sum::{axpy, dot, mean_and_variance, sum, sum_exact, tree_fold};
pub use trig_power::{
    trig_power, trig_power_in_place_sum, trig_power_in_place_sum_undo, trig_power_sum,
};
pub use undo::Undo;

/// The one NaN that kernels write.
pub(crate) const NAN: f64 = f64::from_bits(0x7ff8_0000_0000_0000);
