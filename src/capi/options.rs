//! Options of a pool: names and values as the command line spells them.

use std::ffi::c_char;
use std::path::PathBuf;
use std::time::Duration;

use super::pointers;
use super::status::{Failure, Status, guarded, value};
use crate::Backend;
use crate::placement::PlacementOptions;
use crate::pool::PoolBuilder;

/// Options of a pool that is to be built.
#[derive(Debug, Clone, Default)]
pub struct Options {
    placement: PlacementOptions,
    per_core: Option<usize>,
    backend: Backend,
    seed: u64,
    name: Option<String>,
    max_chunks: Option<u64>,
    cancel_grace: Option<Duration>,
    worker_program: Option<PathBuf>,
    env: Vec<(String, String)>,
}

const NAMES: &str = "workers, workers-per-core, bind, places, oversubscribe, seed, backend, name, \
                     max-chunks-per-worker, cancel-grace-ms, worker-program";

impl Options {
    fn set(&mut self, name: &str, text: &str) -> Result<(), Failure> {
        let wrong = |why: String| Failure::invalid(format!("option {name}, value {text:?}: {why}"));
        let number =
            || text.parse::<u64>().map_err(|_| wrong("give a whole number, 0 to 2^64 - 1".into()));
        let count = || match number()? {
            0 => Err(wrong("give 1 or more".into())),
            n => usize::try_from(n).map_err(|_| wrong("it is too large".into())),
        };
        match name {
            "workers" => self.placement.workers = Some(count()?),
            "workers-per-core" => self.per_core = Some(count()?),
            "bind" => {
                self.placement.bind = Some(text.parse().map_err(|e| wrong(format!("{e}")))?);
            }
            "places" => {
                self.placement.places = Some(text.parse().map_err(|e| wrong(format!("{e}")))?);
            }
            "oversubscribe" => {
                self.placement.oversubscribe = match text {
                    "0" => false,
                    "1" => true,
                    _ => return Err(wrong("give 0 or 1".into())),
                };
            }
            "seed" => self.seed = number()?,
            "backend" => {
                self.backend = text.parse().map_err(|e| wrong(format!("{e}")))?;
            }
            "name" => self.name = Some(text.to_owned()),
            "max-chunks-per-worker" => self.max_chunks = Some(count()? as u64),
            "cancel-grace-ms" => self.cancel_grace = Some(Duration::from_millis(number()?)),
            "worker-program" => self.worker_program = Some(text.into()),
            _ => {
                return Err(Failure::invalid(format!(
                    "there is no option {name:?}; use one of {NAMES}"
                )));
            }
        }
        Ok(())
    }

    pub(super) fn builder(&self) -> PoolBuilder {
        let mut builder = crate::Pool::builder();
        if let Some(n) = self.per_core {
            builder = builder.workers_per_physical_core(n);
        }
        builder = builder.amend_placement(&self.placement).backend(self.backend).seed(self.seed);
        for (name, value) in &self.env {
            builder = builder.env(name, value);
        }
        if let Some(name) = &self.name {
            builder = builder.name(name);
        }
        if let Some(n) = self.max_chunks {
            builder = builder.max_chunks_per_worker(n);
        }
        if let Some(grace) = self.cancel_grace {
            builder = builder.cancel_grace(grace);
        }
        if let Some(path) = &self.worker_program {
            builder = builder.worker_program(path);
        }
        builder
    }
}

/// New options, all at their defaults; freed with `pp_options_free`.
#[unsafe(no_mangle)]
pub extern "C" fn pp_options_new() -> *mut Options {
    value(std::ptr::null_mut(), || Ok(Box::into_raw(Box::default())))
}

/// Sets an option from a text, by the names and values of the command line: `workers` N,
/// `workers-per-core` N, `bind` POLICY, `places` PLACES, `oversubscribe` 0 or 1, `seed` N, `backend`
/// processes, threads or serial, `name` TEXT, `max-chunks-per-worker` N, `cancel-grace-ms` N,
/// `worker-program` PATH.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pp_options_set(
    options: *mut Options,
    name: *const c_char,
    value: *const c_char,
) -> Status {
    guarded(|| {
        // SAFETY: the contract of this module.
        let options = unsafe { pointers::borrow_mut(options, "options") }?;
        // SAFETY: as above.
        let name = unsafe { pointers::text(name, "name") }?;
        // SAFETY: as above.
        let value = unsafe { pointers::text(value, "value") }?;
        options.set(name, value)
    })
}

/// Sets an option whose value is a whole number.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pp_options_set_u64(
    options: *mut Options,
    name: *const c_char,
    value: u64,
) -> Status {
    guarded(|| {
        // SAFETY: the contract of this module.
        let options = unsafe { pointers::borrow_mut(options, "options") }?;
        // SAFETY: as above.
        let name = unsafe { pointers::text(name, "name") }?;
        options.set(name, &value.to_string())
    })
}

/// Sets a variable of the workers' environment, beside or instead of the program's own.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pp_options_env(
    options: *mut Options,
    name: *const c_char,
    value: *const c_char,
) -> Status {
    guarded(|| {
        // SAFETY: the contract of this module.
        let options = unsafe { pointers::borrow_mut(options, "options") }?;
        // SAFETY: as above.
        let name = unsafe { pointers::text(name, "name") }?;
        // SAFETY: as above.
        let value = unsafe { pointers::text(value, "value") }?;
        if name.is_empty() || name.contains('=') {
            return Err(Failure::invalid(format!("{name:?} cannot name a variable")));
        }
        options.env.push((name.to_owned(), value.to_owned()));
        Ok(())
    })
}

/// Frees options; null is fine. Pools that were built with them stay.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pp_options_free(options: *mut Options) {
    if !options.is_null() {
        // SAFETY: made by `pp_options_new`, freed once: the contract of this module.
        drop(unsafe { Box::from_raw(options) });
    }
}
