//! Which instruction set the kernels run on: detected once, or forced.
//!
//! This is the only place that asks the CPU what it can do. Every kernel has one implementation
//! for each [`Isa`], and all of them give the same bits, so the choice is one of speed alone.

#![forbid(unsafe_code)]

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU8, Ordering};

/// An instruction set that the kernels are written for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Isa {
    /// Portable code; runs everywhere.
    Scalar,
    /// x86-64 with AVX2 and FMA.
    Avx2,
    /// x86-64 with AVX-512 F, DQ, BW, VL, VBMI and IFMA.
    Avx512,
    /// aarch64 with NEON.
    Neon,
}

impl Isa {
    /// Every instruction set, from the plainest on.
    pub const ALL: [Isa; 4] = [Isa::Scalar, Isa::Avx2, Isa::Avx512, Isa::Neon];

    /// The name used by `PINPOOL_ISA`, `--isa` and reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Isa::Scalar => "scalar",
            Isa::Avx2 => "avx2",
            Isa::Avx512 => "avx512",
            Isa::Neon => "neon",
        }
    }

    /// Whether this CPU has it.
    #[must_use]
    pub fn is_available(self) -> bool {
        match self {
            Isa::Scalar => true,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => {
                std::arch::is_x86_feature_detected!("avx2")
                    && std::arch::is_x86_feature_detected!("fma")
            }
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => {
                std::arch::is_x86_feature_detected!("avx512f")
                    && std::arch::is_x86_feature_detected!("avx512dq")
                    && std::arch::is_x86_feature_detected!("avx512bw")
                    && std::arch::is_x86_feature_detected!("avx512vl")
                    && std::arch::is_x86_feature_detected!("avx512vbmi")
                    && std::arch::is_x86_feature_detected!("avx512ifma")
                    && std::arch::is_x86_feature_detected!("avx2")
                    && std::arch::is_x86_feature_detected!("fma")
            }
            #[cfg(target_arch = "aarch64")]
            Isa::Neon => std::arch::is_aarch64_feature_detected!("neon"),
            #[allow(unreachable_patterns, reason = "the patterns left depend on the target")]
            _ => false,
        }
    }

    /// The instruction sets that this CPU has, from the plainest on.
    pub fn available() -> impl Iterator<Item = Isa> {
        Isa::ALL.into_iter().filter(|isa| isa.is_available())
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// An instruction set was asked for that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum IsaError {
    /// The name is none of ours.
    Unknown(String),
    /// This CPU lacks it.
    Unavailable(Isa),
}

impl fmt::Display for IsaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            IsaError::Unknown(name) => {
                write!(f, "unknown instruction set {name:?}; use one of scalar, avx2, avx512, neon")
            }
            IsaError::Unavailable(isa) => {
                write!(f, "this CPU lacks the instruction set {isa}; it has")?;
                for (i, have) in Isa::available().enumerate() {
                    write!(f, "{} {have}", if i == 0 { "" } else { "," })?;
                }
                Ok(())
            }
        }
    }
}

impl std::error::Error for IsaError {}

impl FromStr for Isa {
    type Err = IsaError;

    fn from_str(s: &str) -> Result<Isa, IsaError> {
        Isa::ALL
            .into_iter()
            .find(|isa| isa.name() == s)
            .ok_or_else(|| IsaError::Unknown(s.to_owned()))
    }
}

/// 0: not chosen yet; otherwise 1 + the index in [`Isa::ALL`].
static CHOSEN: AtomicU8 = AtomicU8::new(0);

/// The instruction set in use: the forced one, else what `PINPOOL_ISA` names, else the best.
///
/// A `PINPOOL_ISA` that cannot be used is passed over here; programs check it at their start
/// with [`from_env`], so that the user sees the error.
#[inline]
#[must_use]
pub fn current() -> Isa {
    match CHOSEN.load(Ordering::Relaxed) {
        0 => choose(),
        n => Isa::ALL[usize::from(n) - 1],
    }
}

#[cold]
fn choose() -> Isa {
    let isa = from_env().ok().flatten().unwrap_or_else(best);
    store(isa);
    isa
}

/// The best instruction set that this CPU has.
#[must_use]
pub fn best() -> Isa {
    Isa::available().last().unwrap_or(Isa::Scalar)
}

/// What the environment variable `PINPOOL_ISA` asks for; `None` where it is unset or empty.
///
/// # Errors
/// When it names no instruction set, or one that this CPU lacks.
pub fn from_env() -> Result<Option<Isa>, IsaError> {
    match std::env::var("PINPOOL_ISA") {
        Ok(name) if !name.is_empty() => {
            let isa: Isa = name.parse()?;
            check(isa).map(Some)
        }
        _ => Ok(None),
    }
}

/// Makes every later kernel call of this process use `isa`.
///
/// # Errors
/// When this CPU lacks it; the choice stays as it was.
pub fn force(isa: Isa) -> Result<(), IsaError> {
    store(check(isa)?);
    Ok(())
}

fn check(isa: Isa) -> Result<Isa, IsaError> {
    if isa.is_available() { Ok(isa) } else { Err(IsaError::Unavailable(isa)) }
}

fn store(isa: Isa) {
    let index = Isa::ALL.iter().position(|&i| i == isa).unwrap_or(0);
    CHOSEN.store(index as u8 + 1, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_parse_back() {
        for isa in Isa::ALL {
            assert_eq!(isa.name().parse::<Isa>(), Ok(isa));
        }
        assert!("sse9".parse::<Isa>().is_err());
    }

    #[test]
    fn an_instruction_set_that_the_cpu_lacks_is_an_error() {
        for isa in Isa::ALL {
            assert_eq!(check(isa).is_ok(), isa.is_available());
        }
        let foreign = if cfg!(target_arch = "aarch64") { Isa::Avx2 } else { Isa::Neon };
        assert_eq!(force(foreign), Err(IsaError::Unavailable(foreign)));
    }
}
