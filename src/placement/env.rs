//! What the environment says, and who wins.
//!
//! An option beats ours (`PINPOOL_*`), ours beats OpenMP's, GNU's and Slurm's. A variable of ours
//! that makes no sense is an error; one that speaks to another program is passed over with a
//! remark. `OMP_NUM_THREADS` is not read: it speaks of threads inside a process.
#![forbid(unsafe_code)]

use super::{Bind, Pin, PlacementError, PlacementOptions, Places, PuList, Smt};

impl PlacementOptions {
    /// Fills in what is open from the environment, each setting by itself, the first that applies:
    ///
    /// | setting | option | ours | of others |
    /// |---|---|---|---|
    /// | workers | `workers` | `PINPOOL_WORKERS` | `SLURM_CPUS_PER_TASK` below the mask cuts the default |
    /// | bind | `bind` | `PINPOOL_BIND` | `OMP_PROC_BIND`: false is none, true is the default, a list's first word counts |
    /// | places | `places` | `PINPOOL_PLACES` | `OMP_PLACES`, with close, spread and primary only |
    /// | both | `bind` `list:…` | `PINPOOL_BIND=list:…` | `GOMP_CPU_AFFINITY`, where OpenMP's name neither policy nor places |
    ///
    /// A variable that would contradict an option (`--smt`, `--pin`, `--kind`) is left out. What it
    /// has filled in once, it leaves as it is the next time.
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
        self.ours(&var)?;
        self.openmp(&var);
        if let Some(text) = var("SLURM_CPUS_PER_TASK") {
            match text.trim().parse() {
                Ok(cpus) if cpus > 0 => self.slurm_cpus = Some(cpus),
                _ => self.remark("SLURM_CPUS_PER_TASK", &text),
            }
        }
        // Of a launcher's own making, so what is no number is no remark.
        let ranks = var("OMPI_COMM_WORLD_LOCAL_SIZE").and_then(|text| text.trim().parse().ok());
        self.ranks_on_node = self.ranks_on_node.or(ranks).filter(|ranks| *ranks > 0);
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
                    "a number of 1 or more",
                ))
            })?;
            self.workers = Some(count);
        }
        if let (None, Some(text)) = (&self.bind, var("PINPOOL_BIND")) {
            let bind: Bind = text.parse().map_err(failed("PINPOOL_BIND"))?;
            // An option that goes with some policies only beats a variable that names another.
            if !self.siblings() || matches!(bind, Bind::Compact | Bind::Scatter) {
                self.bind = Some(bind);
            }
        }
        if let (None, Some(text)) = (&self.places, var("PINPOOL_PLACES")) {
            let places = text.parse().map_err(failed("PINPOOL_PLACES"))?;
            if self.smt.is_none() && !matches!(self.bind, Some(Bind::None | Bind::List(_))) {
                self.places = Some(places);
            }
        }
        Ok(())
    }

    /// Whether `--smt` asks for a policy that knows siblings.
    fn siblings(&self) -> bool {
        self.smt.is_some_and(|smt| smt != Smt::Off)
    }

    /// Each setting that is still open, by itself: `OMP_PLACES` stands beside `--bind spread`.
    /// Policies that are not OpenMP's leave its variables alone.
    fn openmp(&mut self, var: &impl Fn(&str) -> Option<String>) {
        if self.bind.is_none()
            && !self.siblings()
            && let Some(text) = var("OMP_PROC_BIND")
        {
            // A list is per nesting level, and we are the outermost.
            let word = text.split(',').next().unwrap_or("").trim().to_ascii_lowercase();
            match word.as_str() {
                "false" if self.places.is_none() => self.bind = Some(Bind::None),
                // "The policy is the runtime's choice": our default. Places that were named here
                // say that workers are to be bound.
                "true" | "false" => {}
                "primary" | "master" => self.bind = Some(Bind::Primary),
                "close" => self.bind = Some(Bind::Close),
                "spread" => self.bind = Some(Bind::Spread),
                _ => self.remark("OMP_PROC_BIND", &text),
            }
        }
        let theirs = matches!(self.bind, None | Some(Bind::Close | Bind::Spread | Bind::Primary));
        if !theirs || self.smt.is_some() || self.places.is_some() {
            return;
        }
        if let Some(text) = var("OMP_PLACES") {
            match text.parse::<Places>() {
                Ok(places) => self.places = Some(places),
                Err(_) => self.remark("OMP_PLACES", &text),
            }
        } else if self.bind.is_none()
            && self.pin == Pin::Pu
            && self.kind.is_none()
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
        let remark = format!("{name}=`{text}` is not understood and passed over");
        if !self.remarks.contains(&remark) {
            self.remarks.push(remark);
        }
    }
}
