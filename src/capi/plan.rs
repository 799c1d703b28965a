//! From what C says of a job to its description: all that can be wrong with one is found here.

use std::time::Duration;

use super::array;
use super::builtin::Builtin;
use super::dtype::dtype as dtype_of;
use super::foreign::Foreign;
use super::job::{Arg, Job, PP_OUT, PP_READ, PP_STREAM_AUTO, PP_UPDATE, PP_WHOLE};
use super::pointers;
use super::status::Failure;
use crate::args::Description;
use crate::array::AnyArray;
use crate::config::MAX_ARGS;
use crate::layout::ArgKind;
use crate::{OnDeath, pool as pools};

/// A job whose pointers have been looked at.
#[derive(Debug)]
pub(super) struct Plan<'a> {
    pub(super) job: &'a Job,
    arrays: Vec<(&'a AnyArray, Arg)>,
    params: &'a [u8],
}

impl<'a> Plan<'a> {
    /// # Safety
    /// The contract of this module.
    pub(super) unsafe fn of(job: *const Job) -> Result<Plan<'a>, Failure> {
        // SAFETY: the contract is the caller's.
        let job = unsafe { pointers::borrow(job, "job") }?;
        if job.size != size_of::<Job>() {
            return Err(Failure::invalid(format!(
                "the job's size is {}, this library's jobs have {}; begin with PP_JOB_INIT, and \
                 compile the program with this library's pinpool.h",
                job.size,
                size_of::<Job>()
            )));
        }
        // SAFETY: as above.
        let args = unsafe { pointers::slice(job.args, job.nargs, "job.args") }?;
        let arrays = args.iter().map(|arg| {
            // SAFETY: as above.
            Ok((unsafe { array::array(arg.array) }?, *arg))
        });
        let arrays = arrays.collect::<Result<Vec<_>, Failure>>()?;
        let params = job.params.cast::<u8>();
        // SAFETY: as above.
        let params = unsafe { pointers::slice(params, job.params_bytes, "job.params") }?;
        let plan = Plan { job, arrays, params };
        plan.check_aliases()?;
        Ok(plan)
    }

    /// What a job changes, it has once.
    fn check_aliases(&self) -> Result<(), Failure> {
        let changed = |arg: &Arg| matches!(arg.access, PP_UPDATE | PP_OUT);
        for (i, (array, arg)) in self.arrays.iter().enumerate().filter(|(_, (_, a))| changed(a)) {
            let same = |other: &AnyArray| other.segment().id() == array.segment().id();
            let twice = self.arrays.iter().enumerate().any(|(j, (other, _))| j != i && same(other));
            if twice {
                return Err(Failure::invalid(format!(
                    "argument {i} is changed ({}) and is among the arguments once more; a job that \
                     changes an array has it once",
                    if arg.access == PP_OUT { "PP_OUT" } else { "PP_UPDATE" }
                )));
            }
        }
        Ok(())
    }

    /// Adds the arrays and the parameters. `least` is the shortest default chunk, `update` says who
    /// takes the undo copies.
    fn describe(
        &self,
        into: &mut Description,
        least: usize,
        update: ArgKind,
    ) -> Result<(), Failure> {
        // Of one array for all, since the elements of the others may be of another size.
        let first = self.arrays.iter().find(|(_, arg)| arg.access != PP_WHOLE);
        let default = first.map_or(1, |(array, _)| array.default_chunk().max(least));
        for (i, (array, arg)) in self.arrays.iter().enumerate() {
            let kind = match arg.access {
                PP_READ => ArgKind::Read,
                PP_UPDATE => update,
                PP_OUT => ArgKind::Overwrite,
                PP_WHOLE => ArgKind::Whole,
                other => {
                    return Err(Failure::invalid(format!(
                        "argument {i} has the access {other}; use PP_READ, PP_UPDATE, PP_OUT or \
                         PP_WHOLE"
                    )));
                }
            };
            if matches!(arg.access, PP_UPDATE | PP_OUT) && !array.is_writable() {
                return Err(crate::ArgsError::ReadOnly.into());
            }
            let rows = match arg.chunk_rows {
                0 => default,
                rows => rows,
            };
            let (offset, item) = (array.data_offset(), array.dtype().item_bytes());
            into.untyped(array.segment(), offset, array.shape(), item, kind, rows)?;
        }
        if self.job.chunks != 0 {
            into.set_chunks(self.job.chunks)?;
        }
        if !self.params.is_empty() {
            into.param(self.params)?;
        }
        Ok(())
    }

    /// The description of a job of a C function, which goes first.
    pub(super) fn foreign(&self, kernel: &Foreign) -> Result<Description, Failure> {
        // The function's record is an argument of the job, and so are its parameters.
        let most = MAX_ARGS - 1 - usize::from(!self.params.is_empty());
        let has = self.arrays.len();
        if has > most {
            let with = if self.params.is_empty() { "" } else { " and has parameters" };
            return Err(Failure::invalid(format!(
                "the job has {has} arrays{with}; a kernel of one's own takes {} at most, and {} \
                 beside parameters: make one array of several that have rows alike",
                MAX_ARGS - 1,
                MAX_ARGS - 2
            )));
        }
        let mut description = Description::empty();
        let record = &kernel.record;
        description.array(record, ArgKind::Whole, 0)?;
        self.describe(&mut description, 1, ArgKind::Update)?;
        Ok(description.complete())
    }

    /// The description of a job of a built-in kernel, if it fits it.
    pub(super) fn builtin(&self, builtin: &Builtin) -> Result<Description, Failure> {
        /// The program's vector kernels ask for as much.
        const LEAST_CHUNK: usize = 64;
        self.fits(builtin)?;
        let mut description = Description::empty();
        if builtin.arrays.is_empty() {
            description.set_chunks(self.job.chunks)?;
            description.next()?.kind = ArgKind::Index as u64;
        }
        self.describe(&mut description, LEAST_CHUNK, ArgKind::Undo)?;
        Ok(description.complete())
    }

    fn fits(&self, builtin: &Builtin) -> Result<(), Failure> {
        let name = builtin.name.to_string_lossy();
        let wrong = |text: String| Failure::invalid(format!("{name}: {text}"));
        let (takes, has) = (builtin.arrays.len(), self.arrays.len());
        if takes != has {
            return Err(wrong(format!("it takes {takes} arrays, and the job has {has}")));
        }
        for (i, ((array, arg), &(access, dtype))) in
            self.arrays.iter().zip(builtin.arrays).enumerate()
        {
            let dtype = dtype_of(dtype)?;
            if *array.dtype() != dtype {
                let found = array.dtype();
                return Err(wrong(format!("argument {i} holds {found}, it takes {dtype}")));
            }
            if arg.access != access {
                let words = ["PP_READ", "PP_UPDATE", "PP_OUT", "PP_WHOLE"];
                let word = words[access as usize];
                return Err(wrong(format!("argument {i} is for {word}; pass it so")));
            }
        }
        self.rows_fit(builtin).map_err(wrong)?;
        let (takes, has) = (builtin.param_bytes, self.params.len());
        if takes != has {
            return Err(wrong(format!("its parameters take {takes} bytes, and the job has {has}")));
        }
        (builtin.check)(self.params).map_err(wrong)?;
        if builtin.arrays.is_empty() && self.job.chunks == 0 {
            return Err(wrong("it has no arrays; say in `chunks` how many chunks it has".into()));
        }
        Ok(())
    }

    /// The kernels go through two arrays side by side: their rows must be alike.
    fn rows_fit(&self, builtin: &Builtin) -> Result<(), String> {
        let geometry = |(array, arg): &(&AnyArray, Arg)| {
            let shape = array.shape();
            let rows = shape.first().copied().unwrap_or(1);
            let row_len: usize = shape.iter().skip(1).product();
            (rows, row_len, arg.chunk_rows)
        };
        let [first, second] = &self.arrays[..] else { return Ok(()) };
        let ((rows, row_len, chunk), (other_rows, other_len, other_chunk)) =
            (geometry(first), geometry(second));
        let expected = if builtin.out_row == 0 { row_len } else { builtin.out_row };
        if builtin.out_row != 0 && row_len != 1 {
            return Err(format!("its first array has {row_len} elements a row; pass a list"));
        }
        if rows != other_rows || other_len != expected {
            return Err(format!(
                "its arrays do not fit: {rows} rows of {row_len} elements, and {other_rows} of \
                 {other_len}; give the second {rows} rows of {expected}"
            ));
        }
        if chunk != other_chunk {
            return Err(
                "its arrays have chunks of other lengths; give the same `chunk_rows`".into()
            );
        }
        Ok(())
    }

    /// The pool's job with this one's options.
    pub(super) fn options<'p>(&self, pool: &'p crate::Pool) -> Result<pools::Job<'p>, Failure> {
        let mut job = pool.job();
        if self.job.stream != PP_STREAM_AUTO {
            if self.job.stream >> 63 != 0 {
                return Err(Failure::invalid(format!(
                    "the stream {} is 2^63 or more; give less, or PP_STREAM_AUTO",
                    self.job.stream
                )));
            }
            job = job.stream(self.job.stream);
        }
        if self.job.fail_on_death {
            job = job.on_death(OnDeath::Fail);
        }
        if let Some(limit) = seconds(self.job.time_limit, "time_limit")? {
            job = job.time_limit(limit);
        }
        if let Some(limit) = seconds(self.job.chunk_timeout, "chunk_timeout")? {
            job = job.chunk_timeout(limit);
        }
        Ok(job)
    }
}

/// A time; 0 is none.
pub(super) fn seconds(value: f64, what: &str) -> Result<Option<Duration>, Failure> {
    let duration = Duration::try_from_secs_f64(value)
        .map_err(|_| Failure::invalid(format!("`{what}` is {value} seconds; give 0 or more")))?;
    Ok(Some(duration).filter(|d| !d.is_zero()))
}
