//! Why there is no plan.
#![forbid(unsafe_code)]

use crate::topology::ListError;

use super::WORKERS_LIMIT;

/// Why what was asked for cannot be placed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlacementError {
    /// A number of workers that no pool has.
    #[error("{asked} workers cannot be; ask for 1 to {WORKERS_LIMIT}, or leave the number out")]
    Workers {
        /// What was asked for.
        asked: usize,
    },
    /// The policy gives each worker a place of its own, and there are too few.
    #[error(
        "{workers} workers do not fit on {places} {unit} with --bind {bind} ({reason}); ask for fewer, or allow --oversubscribe"
    )]
    TooMany {
        /// What was asked for.
        workers: usize,
        /// What there is.
        places: usize,
        /// What the places are: usable cores, PUs, entries.
        unit: &'static str,
        /// The policy.
        bind: String,
        /// Why there are no more places.
        reason: String,
    },
    /// A list names a PU that this process may not use.
    #[error(
        "PU {pu} of the list is not allowed here, only {allowed} are; change the list or the mask"
    )]
    NotAllowed {
        /// The PU.
        pu: usize,
        /// The allowed PUs, in list syntax.
        allowed: String,
    },
    /// Explicit places hold no PU that may be used.
    #[error(
        "none of the explicit places holds an allowed PU ({allowed}); change the places or the mask"
    )]
    NoPlace {
        /// The allowed PUs, in list syntax.
        allowed: String,
    },
    /// `--kind` names a kind of core that this machine does not have or does not tell apart.
    #[error("this machine has no usable core of kind {kind:?}; leave --kind out")]
    NoSuchKind {
        /// The kind.
        kind: super::CoreKind,
    },
    /// `--smt` and `--places` both say how SMT siblings are used.
    #[error("--smt and --places {places} exclude each other; leave one out")]
    SmtAndPlaces {
        /// The places asked for.
        places: String,
    },
    /// `--smt` goes with compact and scatter.
    #[error(
        "--smt {smt} goes with --bind compact or scatter, not {bind}; use --places threads there"
    )]
    SmtAndBind {
        /// The value of `--smt`.
        smt: super::Smt,
        /// The policy.
        bind: String,
    },
    /// Two options that exclude each other.
    #[error("{first} and {second} exclude each other; leave one out")]
    Exclusive {
        /// The one.
        first: &'static str,
        /// The other.
        second: &'static str,
    },
    /// A word that an option does not know.
    #[error("{option} does not know `{text}`; it takes {expected}")]
    Word {
        /// The option or variable.
        option: &'static str,
        /// What was given.
        text: String,
        /// What it takes.
        expected: &'static str,
    },
    /// A list of PUs that is none.
    #[error("`{text}` is not a list of PUs: {source}")]
    List {
        /// What was given.
        text: String,
        /// What is wrong with it.
        #[source]
        source: ListError,
    },
    /// A variable of the environment does not make sense.
    #[error("the variable {name} does not make sense: {source}")]
    Variable {
        /// Its name.
        name: &'static str,
        /// What is wrong with it.
        #[source]
        source: Box<PlacementError>,
    },
    /// A likwid expression names a domain that this machine lacks.
    #[error("there is no domain {domain} here; the domains are {known}")]
    NoDomain {
        /// The domain.
        domain: String,
        /// Those there are.
        known: String,
    },
    /// A likwid expression asks for a position that the domain lacks.
    #[error(
        "domain {domain} has {len} allowed PUs, there is no position {position}; positions count from 0"
    )]
    NoPosition {
        /// The domain.
        domain: String,
        /// The position.
        position: usize,
        /// How many PUs the domain has.
        len: usize,
    },
    /// An expression would give more PUs than any machine has.
    #[error("`{text}` gives more than {limit} PUs; write a shorter one")]
    TooLong {
        /// What was given, shortened.
        text: String,
        /// The limit.
        limit: usize,
    },
}
