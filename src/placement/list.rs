//! Explicit lists of PUs, in the syntaxes that users bring along.
//!
//! `0,2,4-8:2` (as `taskset -c`), `{0:4}:3:8` (as `OMP_PLACES`) and `S0:0-3@S1:0-3` (as
//! `likwid-pin -c`). Only the last needs a machine to be understood, so a list is kept as parsed
//! and resolved by the policy.
#![forbid(unsafe_code)]

use std::fmt;
use std::str::FromStr;

use super::{PlaceList, PlacementError, likwid};
use crate::topology::{self, Topology};

/// A list with one entry per worker.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PuList {
    text: String,
    entries: Entries,
    /// Whether workers past the end begin anew, as `GOMP_CPU_AFFINITY` says.
    wraps: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Entries {
    Pus(Vec<usize>),
    Places(PlaceList),
    Likwid(likwid::Expression),
}

impl PuList {
    /// A list of single PUs, worker i on entry i.
    #[must_use]
    pub fn from_pus(pus: &[usize]) -> Self {
        let text = pus.iter().map(usize::to_string).collect::<Vec<_>>().join(",");
        Self { text, entries: Entries::Pus(pus.to_vec()), wraps: false }
    }

    /// `GOMP_CPU_AFFINITY`: entries with blanks or commas between; worker i takes entry i mod n.
    pub(super) fn gomp(text: &str) -> Result<Self, PlacementError> {
        let mut pus = Vec::new();
        let words = text.split([' ', '\t', ',']).filter(|word| !word.is_empty());
        for word in words {
            pus.extend(ordered(word)?);
            if pus.len() > topology::PU_LIMIT {
                return Err(too_long(text));
            }
        }
        if pus.is_empty() {
            return Err(ordered(text).err().unwrap_or_else(|| too_long(text)));
        }
        Ok(Self { wraps: true, ..Self::from_pus(&pus) })
    }

    pub(super) fn wraps(&self) -> bool {
        self.wraps
    }

    /// The PUs of each entry on this machine, in the order of the list.
    pub(super) fn resolve(&self, topology: &Topology) -> Result<Vec<Vec<usize>>, PlacementError> {
        Ok(match &self.entries {
            Entries::Pus(pus) => pus.iter().map(|pu| vec![*pu]).collect(),
            Entries::Places(places) => places.places().to_vec(),
            Entries::Likwid(expression) => {
                expression.resolve(topology)?.into_iter().map(|pu| vec![pu]).collect()
            }
        })
    }
}

fn ordered(text: &str) -> Result<Vec<usize>, PlacementError> {
    topology::ordered(text)
        .map_err(|source| PlacementError::List { text: topology::shown(text.as_bytes()), source })
}

fn too_long(text: &str) -> PlacementError {
    PlacementError::TooLong { text: topology::shown(text.as_bytes()), limit: topology::PU_LIMIT }
}

impl FromStr for PuList {
    type Err = PlacementError;

    fn from_str(text: &str) -> Result<Self, PlacementError> {
        let text = text.trim();
        let entries = match text.bytes().next() {
            Some(b'{' | b'!') => Entries::Places(text.parse()?),
            Some(letter) if letter.is_ascii_alphabetic() => Entries::Likwid(text.parse()?),
            _ => Entries::Pus(ordered(text)?),
        };
        Ok(Self { text: text.to_string(), entries, wraps: false })
    }
}

impl fmt::Display for PuList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
