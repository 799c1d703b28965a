//! The pinning expressions of `likwid-pin -c`: `S0:0-3@S1:0-3`, `E:S0:4:2:4`, `M:scatter:8`.
//!
//! `N` is the node, `S` a socket, `D` a die, `C` a last level cache, `M` a NUMA domain; numbers
//! behind the letter count from 0 in our numbering (NUMA domains: those with PUs, in order).
//! A position counts in the domain's allowed PUs, first PUs of all cores first. The parser knows
//! no machine; [`Expression::resolve`] does. Bare numbers are not handled here.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::str::FromStr;

use super::PlacementError;
use super::options::unknown;
use crate::topology::{self, Core, PU_LIMIT, Pu, Topology};

/// Parts joined by `@`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Expression(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Part {
    /// `S0:0-3`
    Positions { domain: Domain, positions: Vec<usize> },
    /// `E:S0:COUNT:CHUNK:STRIDE`, in SMT-adjacent order
    Every { domain: Domain, count: usize, chunk: usize, stride: usize },
    /// `M:scatter:8`
    Scatter { letter: Letter, count: usize },
    /// `S:balanced:4`, SMT-adjacent; `S:cbalanced:4`, cores first
    Balanced { letter: Letter, count: usize, cores_first: bool },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Domain {
    letter: Letter,
    index: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Letter {
    N,
    S,
    D,
    C,
    M,
}

const EXPECTED: &str = "expressions such as S0:0-3@S1:0-3, E:S0:4:2:4, M:scatter:8 or S:balanced:4";

impl Letter {
    fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "N" => Self::N,
            "S" => Self::S,
            "D" => Self::D,
            "C" => Self::C,
            "M" => Self::M,
            _ => return None,
        })
    }

    fn char(self) -> char {
        match self {
            Self::N => 'N',
            Self::S => 'S',
            Self::D => 'D',
            Self::C => 'C',
            Self::M => 'M',
        }
    }

    fn group(self, pu: &Pu) -> Option<usize> {
        match self {
            Self::N => Some(0),
            Self::S => pu.package,
            Self::D => pu.die,
            Self::C => pu.llc,
            Self::M => pu.numa,
        }
    }

    /// The cores of each domain of this letter, domains in order of their numbers.
    fn domains(self, topology: &Topology) -> Vec<Vec<&Core>> {
        let mut domains: BTreeMap<usize, Vec<&Core>> = BTreeMap::new();
        for core in topology.usable_cores() {
            let pu = core.first_pu.and_then(|pu| topology.pu(pu));
            if let Some(group) = pu.and_then(|pu| self.group(pu)) {
                domains.entry(group).or_default().push(core);
            }
        }
        domains.into_values().collect()
    }
}

impl Domain {
    fn parse(text: &str) -> Option<Self> {
        let letter = Letter::parse(text.get(..1)?)?;
        let digits = &text[1..];
        // `N` is the whole node and takes no number, though `N0` does no harm.
        let index = match (letter, digits) {
            (Letter::N, "") => 0,
            _ => topology::number(digits.as_bytes(), PU_LIMIT).ok()?,
        };
        Some(Self { letter, index })
    }

    fn cores(self, topology: &Topology) -> Result<Vec<&Core>, PlacementError> {
        let mut domains = self.letter.domains(topology);
        if self.index >= domains.len() {
            let name = self.letter.char();
            let known = match domains.len() {
                0 => format!("none of the letter {name}"),
                n => format!("{name}0 to {name}{}", n - 1),
            };
            return Err(PlacementError::NoDomain { domain: self.name(), known });
        }
        Ok(domains.swap_remove(self.index))
    }

    fn name(self) -> String {
        format!("{}{}", self.letter.char(), self.index)
    }
}

impl FromStr for Expression {
    type Err = PlacementError;

    fn from_str(text: &str) -> Result<Self, PlacementError> {
        let parts: Option<Vec<Part>> = text.split('@').map(Part::parse).collect();
        parts.map(Self).ok_or_else(|| unknown("a likwid expression", text, EXPECTED))
    }
}

impl Part {
    fn parse(text: &str) -> Option<Self> {
        let fields: Vec<&str> = text.trim().split(':').collect();
        let count =
            |text: &str| topology::number(text.as_bytes(), PU_LIMIT).ok().filter(|n| *n > 0);
        Some(match fields[..] {
            ["E", domain, n] => Self::Every {
                domain: Domain::parse(domain)?,
                count: count(n)?,
                chunk: 1,
                stride: 1,
            },
            ["E", domain, n, chunk, stride] => Self::Every {
                domain: Domain::parse(domain)?,
                count: count(n)?,
                chunk: count(chunk)?,
                stride: count(stride)?,
            },
            [letter, "scatter", n] => {
                Self::Scatter { letter: Letter::parse(letter)?, count: count(n)? }
            }
            [letter, "scatter"] => {
                Self::Scatter { letter: Letter::parse(letter)?, count: usize::MAX }
            }
            [letter, word @ ("balanced" | "cbalanced"), n] => Self::Balanced {
                letter: Letter::parse(letter)?,
                count: count(n)?,
                cores_first: word == "cbalanced",
            },
            [domain, positions] => Self::Positions {
                domain: Domain::parse(domain)?,
                positions: topology::ordered(positions).ok()?,
            },
            _ => return None,
        })
    }

    fn resolve(&self, topology: &Topology) -> Result<Vec<usize>, PlacementError> {
        match self {
            Self::Positions { domain, positions } => {
                let pus = cores_first(&domain.cores(topology)?);
                let at = |position: &usize| {
                    pus.get(*position).copied().ok_or_else(|| PlacementError::NoPosition {
                        domain: domain.name(),
                        position: *position,
                        len: pus.len(),
                    })
                };
                positions.iter().map(at).collect()
            }
            Self::Every { domain, count, chunk, stride } => {
                let pus = adjacent(&domain.cores(topology)?);
                let position = |i: usize| (i / chunk) * stride + i % chunk;
                Ok((0..*count).map(|i| pus[position(i) % pus.len()]).collect())
            }
            Self::Scatter { letter, count } => {
                let domains = domains(*letter, topology)?;
                let lists: Vec<Vec<usize>> = domains.iter().map(|d| cores_first(d)).collect();
                let longest = lists.iter().map(Vec::len).max().unwrap_or(0);
                Ok((0..longest)
                    .flat_map(|at| lists.iter().filter_map(move |list| list.get(at).copied()))
                    .take(*count)
                    .collect())
            }
            Self::Balanced { letter, count, cores_first: by_core } => {
                let domains = domains(*letter, topology)?;
                let (each, extra) = (count / domains.len(), count % domains.len());
                let mut out = Vec::new();
                for (at, domain) in domains.iter().enumerate() {
                    let pus = if *by_core { cores_first(domain) } else { adjacent(domain) };
                    out.extend(pus.into_iter().take(each + usize::from(at < extra)));
                }
                Ok(out)
            }
        }
    }
}

fn domains(letter: Letter, topology: &Topology) -> Result<Vec<Vec<&Core>>, PlacementError> {
    let domains = letter.domains(topology);
    if domains.is_empty() {
        let domain = letter.char().to_string();
        return Err(PlacementError::NoDomain { domain, known: "others".to_string() });
    }
    Ok(domains)
}

/// All first PUs, then all second ones, and so on.
fn cores_first(cores: &[&Core]) -> Vec<usize> {
    let widest = cores.iter().map(|core| core.allowed.len()).max().unwrap_or(0);
    (0..widest)
        .flat_map(|at| cores.iter().filter_map(move |core| core.allowed.get(at).copied()))
        .collect()
}

/// All PUs of a core before the next core.
fn adjacent(cores: &[&Core]) -> Vec<usize> {
    cores.iter().flat_map(|core| core.allowed.iter().copied()).collect()
}

impl Expression {
    /// The PUs, in order. A domain is never empty: it consists of usable cores.
    pub(super) fn resolve(&self, topology: &Topology) -> Result<Vec<usize>, PlacementError> {
        let mut pus = Vec::new();
        for part in &self.0 {
            pus.extend(part.resolve(topology)?);
            if pus.len() > PU_LIMIT {
                return Err(PlacementError::TooLong {
                    text: "the likwid expression".to_string(),
                    limit: PU_LIMIT,
                });
            }
        }
        Ok(pus)
    }
}
