//! The words of the command line, as clap reads them; nothing is decided here.

use std::ffi::OsString;

use clap::{Parser, Subcommand};

/// Numerical kernels in pinned worker processes over shared-memory ndarrays.
#[derive(Debug, Parser)]
#[command(name = "pinpool", version)]
pub(super) struct Cli {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Print the prime factors of numbers below 2^64, as GNU factor does.
    Factor {
        /// The numbers; standard input where there are none.
        #[arg(value_name = "NUMBER")]
        numbers: Vec<OsString>,
    },
}
