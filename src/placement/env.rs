//! What the environment says, and who wins.
//!
//! An option beats ours (`PINPOOL_*`), ours beats OpenMP's, GNU's and Slurm's. A variable of ours
//! that makes no sense is an error; one that speaks to another program is passed over with a
//! remark. `OMP_NUM_THREADS` is not read: it speaks of threads inside a process.
#![forbid(unsafe_code)]

use super::{Bind, PlacementError, PlacementOptions, Places, PuList, Smt};

impl PlacementOptions {
    /// Fills in what is open from the environment: `PINPOOL_WORKERS`, `PINPOOL_BIND` and
    /// `PINPOOL_PLACES`, then `OMP_PROC_BIND`, `OMP_PLACES`, `GOMP_CPU_AFFINITY` and
    /// `SLURM_CPUS_PER_TASK`.
    ///
    /// # Errors
    /// [`PlacementError::Variable`], where a variable of ours makes no sense.
    pub fn from_env(self) -> Result<Self, PlacementError> {
        // What is not UTF-8 is no word of ours either way.
        self.from_vars(|name| std::env::var_os(name).map(|v| v.to_string_lossy().into_owned()))
    }

    /// As [`PlacementOptions::from_env`], with another environment. A variable that is empty
    /// counts as not set.
    ///
    /// # Errors
    /// As [`PlacementOptions::from_env`].
    pub fn from_vars(
        mut self,
        var: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, PlacementError> {
        let var = |name: &str| var(name).filter(|value| !value.trim().is_empty());
        // What an option said about placement is not to be mixed with another program's words.
        let open = self.bind.is_none() && self.places.is_none() && self.smt.is_none();
        self.ours(&var)?;
        if open && self.bind.is_none() && self.places.is_none() {
            self.openmp(&var);
        }
        if let Some(text) = var("SLURM_CPUS_PER_TASK") {
            match text.trim().parse() {
                Ok(cpus) if cpus > 0 => self.slurm_cpus = Some(cpus),
                _ => self.remark("SLURM_CPUS_PER_TASK", &text),
            }
        }
        Ok(self)
    }

    fn ours(&mut self, var: &impl Fn(&str) -> Option<String>) -> Result<(), PlacementError> {
        let failed = |name| move |e| PlacementError::Variable { name, source: Box::new(e) };
        if let (None, Some(text)) = (self.workers, var("PINPOOL_WORKERS")) {
            let number = crate::topology::number(text.trim().as_bytes(), usize::MAX / 16);
            let count = number.map_err(|_| {
                failed("PINPOOL_WORKERS")(super::options::unknown(
                    "the number of workers",
                    &text,
                    "a number from 1 to 4096",
                ))
            })?;
            self.workers = Some(count);
        }
        // `--smt` or `--places threads` on the command line must not clash with a variable.
        if let (None, Some(text)) = (&self.bind, var("PINPOOL_BIND")) {
            let bind: Bind = text.parse().map_err(failed("PINPOOL_BIND"))?;
            let smt = self.smt.is_some_and(|smt| smt != Smt::Off);
            if !smt || matches!(bind, Bind::Compact | Bind::Scatter) {
                self.bind = Some(bind);
            }
        }
        if let (None, None, Some(text)) = (&self.places, self.smt, var("PINPOOL_PLACES")) {
            self.places = Some(text.parse().map_err(failed("PINPOOL_PLACES"))?);
        }
        Ok(())
    }

    fn openmp(&mut self, var: &impl Fn(&str) -> Option<String>) {
        if let Some(text) = var("OMP_PROC_BIND") {
            // A list is per nesting level, and we are the outermost.
            let word = text.split(',').next().unwrap_or("").trim().to_ascii_lowercase();
            match word.as_str() {
                "false" => self.bind = Some(Bind::None),
                // "The policy is the runtime's choice": our default.
                "true" => {}
                "primary" | "master" => self.bind = Some(Bind::Primary),
                "close" => self.bind = Some(Bind::Close),
                "spread" => self.bind = Some(Bind::Spread),
                _ => self.remark("OMP_PROC_BIND", &text),
            }
        }
        if self.bind == Some(Bind::None) {
            return;
        }
        if let Some(text) = var("OMP_PLACES") {
            match text.parse::<Places>() {
                Ok(places) => self.places = Some(places),
                Err(_) => self.remark("OMP_PLACES", &text),
            }
        }
        if self.places.is_none()
            && self.bind.is_none()
            && let Some(text) = var("GOMP_CPU_AFFINITY")
        {
            match PuList::gomp(&text) {
                Ok(list) => self.bind = Some(Bind::List(list)),
                Err(_) => self.remark("GOMP_CPU_AFFINITY", &text),
            }
        }
    }

    fn remark(&mut self, name: &str, text: &str) {
        let text = crate::topology::shown(text.as_bytes());
        self.remarks.push(format!("{name}=`{text}` is not understood and passed over"));
    }
}
