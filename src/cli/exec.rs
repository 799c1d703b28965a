//! `pinpool exec`: programs side by side, one on each place at a time, outputs in order.
//!
//! ```text
//! commands --next index--> a thread a place --Finished--> Printer (in the order of the commands)
//!                           binds itself, starts children, which inherit the place
//! ```
//!
//! Not a pool: what runs is foreign, so that nothing is shared with it but pipes. One attempt at
//! one command is in `exec/child.rs`.

mod capture;
mod child;
mod command;
mod json;
mod print;

use std::env;
use std::ffi::{OsStr, OsString};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::Instant;

use pinpool::placement::{self, WorkerPlace};
use pinpool::topology::Topology;

use super::args::ExecArgs;
use super::exit::Exit;
use super::failure::Failure;
use super::interrupt;
use child::{Ended, attempt};
use command::CommandLine;
use print::{Finished, Printer};

/// Libraries with threads of their own get as many as their command has PUs.
const THREADS: [&str; 4] =
    ["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"];

/// What a command finds its number in, from 0.
const INDEX: &str = "PINPOOL_EXEC_INDEX";

pub(super) fn run(args: &ExecArgs) -> Result<Exit, Failure> {
    let commands = command::read(args)?;
    let plan = placement::plan(&Topology::current()?, &args.place.resolve()?)?;
    interrupt::listen()?;
    if !args.quiet {
        plan.warnings.iter().for_each(|warning| say!("pinpool: {warning}"));
    }
    let crew = Crew {
        args,
        commands: &commands,
        next: AtomicUsize::new(0),
        stop: AtomicBool::new(false),
        threads: THREADS.into_iter().filter(|name| env::var_os(name).is_none()).collect(),
    };
    let places: Vec<Vec<usize>> = plan.workers.iter().map(|w| w.pus.clone()).collect();
    let (send, finished) = channel();
    let printed = thread::scope(|scope| {
        for place in plan.workers.iter().take(commands.len()) {
            let (crew, send) = (&crew, send.clone());
            let thread = thread::Builder::new().name(format!("pinpool/{}", place.index));
            let spawned = thread.spawn_scoped(scope, move || crew.work(place, &send));
            if let Err(source) = spawned {
                crew.stop.store(true, Ordering::Relaxed);
                return Err(Failure::System { action: "start a thread", source });
            }
        }
        drop(send);
        let places = args.json.then_some(places.as_slice());
        let printed = Printer::new(&commands, args.quiet, places).take_all(&finished);
        // Where standard output has failed, nobody reads what the rest would say.
        crew.stop.store(true, Ordering::Relaxed);
        printed
    });
    interrupt::check()?;
    Ok(if printed? { Exit::Done } else { Exit::Failed })
}

/// What the threads share.
struct Crew<'a> {
    args: &'a ExecArgs,
    commands: &'a [CommandLine],
    next: AtomicUsize,
    stop: AtomicBool,
    threads: Vec<&'static str>,
}

impl Crew<'_> {
    fn halted(&self) -> bool {
        self.stop.load(Ordering::Relaxed) || interrupt::check().is_err()
    }

    /// One thread: binds itself, and runs one command after the other.
    fn work(&self, place: &WorkerPlace, send: &Sender<Result<Finished, Failure>>) {
        if !place.pus.is_empty()
            && let Err(error) = placement::bind_current_thread(&place.pus)
        {
            let source = io::Error::other(error);
            self.stop.store(true, Ordering::Relaxed);
            let _ = send.send(Err(Failure::System { action: "take a place", source }));
            return;
        }
        while !self.halted() {
            let index = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(command) = self.commands.get(index) else { return };
            if send.send(Ok(self.finish(index, command, place))).is_err() {
                return;
            }
        }
    }

    /// Runs a command until it succeeds or has been tried often enough.
    fn finish(&self, index: usize, command: &CommandLine, place: &WorkerPlace) -> Finished {
        let started = Instant::now();
        let mut env: Vec<(&OsStr, OsString)> = vec![(OsStr::new(INDEX), index.to_string().into())];
        if !place.pus.is_empty() {
            let count = OsString::from(place.pus.len().to_string());
            env.extend(self.threads.iter().map(|&name| (OsStr::new(name), count.clone())));
        }
        let mut attempts = 0;
        loop {
            attempts += 1;
            let run = attempt(&command.words, &env, self.args.timeout, &|| self.halted());
            let again = match &run.ended {
                // A program that is not there will not be there next time.
                Ended::NotStarted(_) | Ended::Halted => false,
                ended => !ended.is_success() && attempts <= self.args.retries,
            };
            if !again {
                let seconds = started.elapsed().as_secs_f64();
                return Finished { index, run, attempts, seconds, worker: place.index };
            }
        }
    }
}
