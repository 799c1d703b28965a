//! The program `pinpool`.
fn main() {}
