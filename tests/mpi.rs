//! A cluster over ranks of an MPI job: the same bits as one pool, and every way that a rank can
//! fail. This program is its own rank: without arguments it starts `mpirun` on itself.
//!
//! Run it with `cargo test --release --features mpi --test mpi`; it needs `mpirun` in the path.

#[path = "mpi/driver.rs"]
mod driver;
#[path = "mpi/rank.rs"]
mod rank;

fn main() -> std::process::ExitCode {
    match std::env::var("PINPOOL_TEST_RANK") {
        Ok(mode) => rank::main(&mode),
        Err(_) => driver::main(),
    }
}
