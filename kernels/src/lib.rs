//! Numerical kernels as plain functions over slices.
//!
//! The kernels know nothing of processes, files or array crates. Each is dispatched at run time
//! to the best instruction set of the CPU ([`isa`]) and gives the same bits on all of them.

pub mod isa;
pub mod primes;
