//! The program's command line: words in, an exit status out.
//!
//! `args.rs` says which words there are, one file a subcommand does the work through the library's
//! public interface, and this file joins them. It is a module of the program, not of the library.

/// A line on standard error; one whose reader has gone is no reason to end otherwise than told.
macro_rules! say {
    ($($text:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr().lock(), $($text)*);
    }};
}

mod args;
mod base64;
mod compare;
mod data;
mod doctor;
mod exec;
mod exit;
mod factor;
mod failure;
mod interrupt;
mod kernels;
mod memory;
#[cfg(feature = "mpi")]
mod mpi;
mod numbers;
mod output;
mod page;
mod pages;
mod place;
mod plan;
mod progress;
mod ranges;
mod report;
mod roof;
mod run;
mod segments;
mod session;
mod statistics;
mod sweep;
mod topo;

use std::process::ExitCode;

use clap::Parser;

use args::{Cli, Command};
use exit::Exit;

/// Runs the program.
pub(crate) fn main() -> ExitCode {
    let exit = match Cli::try_parse() {
        Ok(cli) => dispatch(cli.command),
        Err(error) => wrong_use(&error),
    };
    exit.into()
}

fn dispatch(command: Command) -> Exit {
    let done = match command {
        Command::Factor { numbers } => return factor::run(&numbers),
        Command::Sweep(args) => sweep::run(&args),
        Command::Exec(args) => exec::run(&args),
        Command::Topo(args) => topo::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Segments { action } => segments::run(action),
        Command::Run(args) => run::run(&args),
        Command::Compare(args) => compare::run(&args),
    };
    done.unwrap_or_else(|failure| failure.report())
}

/// Prints clap's help, version or complaint.
fn wrong_use(error: &clap::Error) -> Exit {
    let asked = !error.use_stderr();
    if let Err(error) = error.print() {
        return Exit::from_stream(&error, &mut std::io::stderr());
    }
    // GNU factor knows only one status for all that goes wrong.
    let of_factor = std::env::args_os().nth(1).is_some_and(|word| word == "factor");
    match (asked, of_factor) {
        (true, _) => Exit::Done,
        (false, true) => Exit::Failed,
        (false, false) => Exit::Usage,
    }
}
