//! Wrong orders of the protocol, which the walk (`tests/walk.rs`) must convict.
//!
//! A crash test that cannot fail proves nothing. With the feature `walk-mutants` one of these can
//! be chosen at run time; without it [`on`] is `false` when compiled, and nothing is left of it.

#![forbid(unsafe_code)]

/// A wrong protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
#[non_exhaustive]
#[allow(missing_docs)] // the names say what is wrong
#[cfg_attr(not(feature = "walk"), allow(unreachable_pub))]
pub enum Mutant {
    #[cfg(feature = "walk-mutants")]
    None,
    NoJournal,
    ArmBeforeSave,
    DoneBeforeData,
    DisarmBeforeDone,
    NeverDisarm,
    NoRestore,
    RestoreUnchecked,
    DisarmBeforeRestore,
    FreeBeforeRestore,
    FreeBeforeDisarmUnchecked,
    KeptBeforeOld,
    ChangedBeforeKept,
}

#[cfg(feature = "walk-mutants")]
static CHOSEN: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);

/// From now on this process runs a wrong protocol.
#[cfg(feature = "walk-mutants")]
pub fn choose(mutant: Mutant) {
    CHOSEN.store(mutant as u32, std::sync::atomic::Ordering::SeqCst);
}

#[cfg(feature = "walk-mutants")]
pub(crate) fn on(mutant: Mutant) -> bool {
    CHOSEN.load(std::sync::atomic::Ordering::Relaxed) == mutant as u32
}

#[cfg(not(feature = "walk-mutants"))]
#[inline(always)]
pub(crate) const fn on(_: Mutant) -> bool {
    false
}
