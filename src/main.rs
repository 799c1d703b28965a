//! The program `pinpool`: parse, run, exit status.
#![cfg_attr(not(test), deny(clippy::unwrap_used))]

mod cli;

fn main() -> std::process::ExitCode {
    cli::main()
}
