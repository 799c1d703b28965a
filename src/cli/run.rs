//! `pinpool run`: one kernel over one array, with all that is saved, checked and printed.

#![forbid(unsafe_code)]

use std::io::{self, BufWriter, Write};
use std::path::Path;

use ndarray::Ix1;
use pinpool::{Checkpoint, SharedArray};

use super::args::RunArgs;
use super::exit::Exit;
use super::failure::Failure;
use super::interrupt;
use super::kernels::{Form, Job, Listed, WithJob, with_job};
use super::plan::Plan;
use super::progress::Progress;
use super::report::Report;
use super::session::{Session, Setup, write_trace};

pub(super) fn run(args: &RunArgs) -> Result<Exit, Failure> {
    let mut plan = Plan::of(&args.job)?;
    if let Some(path) = &args.array {
        plan = plan.on_file(path.clone(), args.checkpoint || args.resume)?;
    }
    plan.check_pages(&args.pages)?;
    with_job(&plan, args)
}

impl WithJob for &RunArgs {
    fn with<J: Job>(self, job: J, plan: &Plan) -> Result<Exit, Failure> {
        run_job(job, plan, self)
    }
}

fn run_job<J: Job>(job: J, plan: &Plan, args: &RunArgs) -> Result<Exit, Failure> {
    if args.mpi {
        #[cfg(feature = "mpi")]
        return super::mpi::run(job, plan, args);
        #[cfg(not(feature = "mpi"))]
        return Err(super::plan::UsageError::NoMpi.into());
    }
    let placement = args.place.options();
    interrupt::listen()?;
    let progress = Progress::new(args.quiet);
    let setup = Setup {
        plan,
        backend: args.backend,
        placement: &placement,
        pages: args.pages,
        name: args.name.as_deref(),
        trace: args.trace.is_some(),
    };
    let mut session = Session::open(job, &setup)?;
    if let Some(name) = &args.name {
        interrupt::remove_at_end(Path::new("/dev/shm").join(name));
    }
    if !args.quiet {
        session.warnings().for_each(|warning| say!("pinpool: {warning}"));
    }
    session.fill(&progress)?;
    if let Some(path) = &args.save_input {
        session.array.save(path)?;
        interrupt::check()?;
    }
    let checkpoint = checkpoint(args);
    if let Some(checkpoint) = &checkpoint {
        interrupt::keeps(checkpoint.path());
    }
    let form = checkpoint.as_ref().map_or(Form::Blocking, Form::Kept);
    let slots = session.run(form, &progress).inspect_err(|failure| {
        if let (Some(checkpoint), Failure::Pool(pinpool::Error::Job(_))) = (&checkpoint, failure) {
            let path = checkpoint.path().display();
            say!("pinpool: what is done is kept in '{path}'; --resume goes on with it");
        }
    })?;
    let report = session.report(&slots);
    if let Some(path) = &args.trace {
        write_trace(path, &[(plan.kernel.name(), &session.timeline())])?;
    }
    if let Some(path) = &args.save_array {
        session.array.save(path)?;
        interrupt::check()?;
    }
    if let Some(path) = &args.output {
        job.save(&session.array, &slots, path)?;
        interrupt::check()?;
    }
    if args.verify {
        session.verify(&slots, &progress)?;
    }
    print(job, &session.array, &slots, &report, args)?;
    if args.verify && !args.quiet {
        say!("verified: the serial run has the same bits");
    }
    if let Some(checkpoint) = &checkpoint {
        // Not before what came of it is where the user wants it: until here a resume gives it again.
        checkpoint.remove().map_err(pinpool::Error::from)?;
    }
    if args.keep {
        let keep = session.array.set_persist(true);
        keep.map_err(|source| Failure::System { action: "keep the array's name", source })?;
    }
    Ok(Exit::Done)
}

/// The checkpoint that the words ask for, beside the array.
fn checkpoint(args: &RunArgs) -> Option<Checkpoint> {
    let path = Checkpoint::beside(args.array.as_ref()?);
    let checkpoint = if args.resume {
        Checkpoint::resume(path)
    } else {
        Checkpoint::begin(path).durable(args.durable)
    };
    Some(checkpoint.keep(true))
}

/// Prints what the run gave, as JSON or as text.
pub(super) fn print<J: Job>(
    job: J,
    array: &SharedArray<J::Element, Ix1>,
    slots: &SharedArray<J::Slot, Ix1>,
    report: &Report,
    args: &RunArgs,
) -> Result<(), Failure> {
    let mut out = BufWriter::new(io::stdout().lock());
    if args.json {
        let text = serde_json::to_string(report).expect("a report is plain data");
        writeln!(out, "{text}").map_err(Failure::Stdout)?;
    } else {
        let listed = job.list(array.as_slice(), slots.as_slice(), &mut out);
        match listed.map_err(Failure::Stdout)? {
            Listed::No => write!(out, "{report}").map_err(Failure::Stdout)?,
            Listed::Yes if args.quiet => {}
            Listed::Yes => {
                use std::io::Write as _;
                let _ = write!(std::io::stderr().lock(), "{report}");
            }
        }
    }
    out.flush().map_err(Failure::Stdout)
}
