//! OpenMP's explicit places: `{0:4}:3:8`.
//!
//! Inside braces `lower:length:stride`, outside `place:count:stride`, `!` takes away what
//! follows it (OpenMP 5.2, section 21.1.6). The text is parsed into the PUs of each place; which of them may be
//! used is the policy's question.
#![forbid(unsafe_code)]

use std::fmt;
use std::str::FromStr;

use super::PlacementError;
use super::options::unknown;
use crate::topology::{self, PU_LIMIT};

/// How many PUs all places may name together.
const NAMED_LIMIT: usize = 4 * PU_LIMIT;

/// Explicit places in OpenMP's syntax.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PlaceList {
    text: String,
    places: Vec<Vec<usize>>,
}

impl PlaceList {
    /// The PUs of each place, in the order given.
    #[must_use]
    pub fn places(&self) -> &[Vec<usize>] {
        &self.places
    }
}

impl fmt::Display for PlaceList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for PlaceList {
    type Err = PlacementError;

    fn from_str(text: &str) -> Result<Self, PlacementError> {
        let text = text.trim();
        let mut parser = Parser { text, rest: text, named: 0 };
        let places = parser.places()?;
        if places.is_empty() {
            return Err(parser.fail());
        }
        Ok(Self { text: text.to_string(), places })
    }
}

struct Parser<'t> {
    text: &'t str,
    rest: &'t str,
    named: usize,
}

impl Parser<'_> {
    fn fail(&self) -> PlacementError {
        unknown("a list of places", self.text, "places such as {0:4}:3:8 or {0,1},{2,3}")
    }

    fn eat(&mut self, c: char) -> bool {
        self.rest = self.rest.trim_start();
        match self.rest.strip_prefix(c) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn number(&mut self) -> Result<usize, PlacementError> {
        self.rest = self.rest.trim_start();
        let end = self.rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(self.rest.len());
        let (digits, rest) = self.rest.split_at(end);
        self.rest = rest;
        if digits.is_empty() {
            return Err(self.fail());
        }
        topology::number(digits.as_bytes(), PU_LIMIT).map_err(|source| PlacementError::List {
            text: topology::shown(self.text.as_bytes()),
            source,
        })
    }

    /// `:length:stride`, or 1 and 1. A stride may be negative.
    fn interval(&mut self) -> Result<(usize, isize), PlacementError> {
        if !self.eat(':') {
            return Ok((1, 1));
        }
        let count = self.number()?;
        if count == 0 {
            return Err(self.fail());
        }
        if !self.eat(':') {
            return Ok((count, 1));
        }
        let negative = self.eat('-');
        // Numbers are below PU_LIMIT.
        let stride = self.number()?.cast_signed();
        Ok((count, if negative { -stride } else { stride }))
    }

    fn name(&mut self, pus: usize) -> Result<(), PlacementError> {
        self.named += pus;
        if self.named > NAMED_LIMIT {
            return Err(PlacementError::TooLong {
                text: topology::shown(self.text.as_bytes()),
                limit: NAMED_LIMIT,
            });
        }
        Ok(())
    }

    fn moved(&self, pu: usize, stride: isize, times: usize) -> Result<usize, PlacementError> {
        let far = stride.checked_mul(times.cast_signed());
        far.and_then(|by| pu.checked_add_signed(by))
            .filter(|pu| *pu < PU_LIMIT)
            .ok_or_else(|| self.fail())
    }

    fn places(&mut self) -> Result<Vec<Vec<usize>>, PlacementError> {
        let mut places: Vec<Vec<usize>> = Vec::new();
        loop {
            let taken_away = self.eat('!');
            let place = self.place()?;
            let (count, stride) = self.interval()?;
            for i in 0..count {
                self.name(place.len() + 1)?;
                let moved: Vec<usize> =
                    place.iter().map(|pu| self.moved(*pu, stride, i)).collect::<Result<_, _>>()?;
                if taken_away {
                    self.name(places.len())?;
                    places.retain(|known| *known != moved);
                } else {
                    places.push(moved);
                }
            }
            if !self.eat(',') {
                break;
            }
        }
        if !self.rest.trim().is_empty() {
            return Err(self.fail());
        }
        Ok(places)
    }

    /// `{0:4}`, `{0,2,!1}`; a bare number is a place of one PU.
    fn place(&mut self) -> Result<Vec<usize>, PlacementError> {
        if !self.eat('{') {
            return Ok(vec![self.number()?]);
        }
        let mut pus: Vec<usize> = Vec::new();
        loop {
            let taken_away = self.eat('!');
            let low = self.number()?;
            let (count, stride) = self.interval()?;
            for i in 0..count {
                // Taking away looks at every PU so far, and that is work to be bounded too.
                self.name(if taken_away { 1 + pus.len() } else { 1 })?;
                let pu = self.moved(low, stride, i)?;
                if taken_away {
                    pus.retain(|known| *known != pu);
                } else {
                    pus.push(pu);
                }
            }
            if !self.eat(',') {
                break;
            }
        }
        if !self.eat('}') || pus.is_empty() {
            return Err(self.fail());
        }
        pus.sort_unstable();
        pus.dedup();
        Ok(pus)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(text: &str) -> Vec<Vec<usize>> {
        text.parse::<PlaceList>().unwrap().places
    }

    #[test]
    fn intervals_work_inside_and_outside_the_braces() {
        assert_eq!(
            places("{0:4}:3:8"),
            [vec![0, 1, 2, 3], vec![8, 9, 10, 11], vec![16, 17, 18, 19]]
        );
        assert_eq!(places("{0,1},{2,3}"), [[0, 1], [2, 3]]);
        assert_eq!(places("{4}:3:-2"), [[4], [2], [0]]);
        assert_eq!(places("{0:3:4}"), [[0, 4, 8]]);
        assert_eq!(places("{0:4,!2}"), [[0, 1, 3]]);
        assert_eq!(places("{0}:4,!{2}"), [[0], [1], [3]]);
        assert_eq!(places("0,1, 2"), [[0], [1], [2]]);
    }

    #[test]
    fn what_is_no_list_of_places_is_an_error() {
        for bad in [
            "",
            "{",
            "}",
            "{}",
            "{0",
            "{0}}",
            "{0}:",
            "{0:0}",
            "{0}:2:-1",
            "{-1}",
            "{a}",
            "{0},",
            "{65535:2}",
            "{0:65535}:65535",
            "{0}:65535,!{0}:65535",
            "!{0}",
            "{0}:9999999999999",
        ] {
            assert!(bad.parse::<PlaceList>().is_err(), "{bad}");
        }
    }
}
