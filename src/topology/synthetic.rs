//! Machines that one does not have, from hwloc's synthetic text: `package:2 core:64 pu:2`.
//!
//! Each word is a level, from the whole machine down, with the number of children that every
//! object of the level above has. `[numa]` attaches a memory to each object of the level before
//! it. Objects are numbered in order, as hwloc does by default, unless `indexes=` lists the
//! numbers. Nothing is read here; the result is assembled as a real machine is.
#![forbid(unsafe_code)]

use std::rc::Rc;

use super::cpulist::{PU_LIMIT, PuSet, number};
use super::groups::{CacheClaim, Claim, Parts};
use super::{Limits, NumaNode, Source, Topology};

/// Why a synthetic text is not a machine.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SyntheticError {
    /// A word is not `type:count`.
    #[error(
        "`{word}` is not a level; write levels such as package:2 core:64 pu:2, with package, numa, die, l3, l2, l1, core, pu or group"
    )]
    Word {
        /// The word.
        word: String,
    },
    /// There is no level at all.
    #[error("the text names no level; write levels such as package:2 core:64 pu:2")]
    Empty,
    /// A level comes twice, or below the PUs.
    #[error(
        "the level `{word}` cannot stand where it does; each level comes once, and pu is the last"
    )]
    Order {
        /// The level.
        word: String,
    },
    /// More PUs than any mask holds.
    #[error("the machine has more than {PU_LIMIT} PUs; make it smaller")]
    TooLarge,
    /// `indexes=` does not number the objects.
    #[error(
        "indexes= of `{word}` must name each of its {count} objects once; list them with commas"
    )]
    Indexes {
        /// The level.
        word: String,
        /// How many objects it has.
        count: usize,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Package,
    Numa,
    Die,
    Cluster,
    Cache(u32),
    Core,
    Pu,
    /// Multiplies, and is otherwise forgotten: groups, machines, instruction caches.
    Other,
}

#[derive(Clone, Debug)]
struct Level {
    kind: Kind,
    /// Objects in the whole machine.
    objects: usize,
    bytes: Option<u64>,
    indexes: Option<Vec<usize>>,
    /// Whether it hangs beside the level before it.
    attached: bool,
}

pub(super) fn synthetic(text: &str) -> Result<Topology, SyntheticError> {
    let mut levels = parse(text)?;
    let total = levels.iter().rfind(|level| !level.attached).map_or(1, |level| level.objects);
    let numbers = match levels.iter().find(|l| l.kind == Kind::Pu).map(|l| l.indexes.clone()) {
        Some(Some(indexes)) => indexes,
        _ => (0..total).collect(),
    };
    if !levels.iter().any(|level| level.kind == Kind::Numa) {
        // As hwloc: a machine has a memory.
        let (bytes, indexes) = (None, None);
        levels.push(Level { kind: Kind::Numa, objects: 1, bytes, indexes, attached: true });
    }
    let online: PuSet = numbers.iter().copied().collect();
    let limits = Limits { allowed: online.clone(), ..Limits::default() };
    let mut parts = Parts::new(online, limits, Source::Synthetic(text.trim().to_string()));
    for level in &levels {
        fill(&mut parts, level, &numbers);
    }
    if !levels.iter().any(|level| level.kind == Kind::Core) {
        for (at, pu) in parts.online.iter().enumerate() {
            let pus = Rc::new([pu].into_iter().collect());
            parts.core[at] = Some(Claim { class: 0, pus });
        }
    }
    parts.nodes.sort_unstable_by_key(|node| node.id);
    Ok(parts.assemble())
}

/// Writes one level down: each of its objects holds an equal run of `numbers`.
fn fill(parts: &mut Parts, level: &Level, numbers: &[usize]) {
    let each = numbers.len() / level.objects;
    for (object, run) in numbers.chunks(each).enumerate() {
        let pus: Rc<PuSet> = Rc::new(run.iter().copied().collect());
        let label = level.indexes.as_ref().map_or(object, |indexes| indexes[object]);
        if level.kind == Kind::Numa {
            // Several memories of one object: the first has the PUs, the others are memory only.
            let taken = parts.nodes.iter().any(|node| node.pus == pus.as_slice());
            let pus = if taken { Vec::new() } else { pus.as_slice().to_vec() };
            let id = if level.indexes.is_some() { label } else { parts.nodes.len() };
            parts.nodes.push(NumaNode { id, pus, memory_bytes: level.bytes });
            continue;
        }
        for pu in run {
            let Ok(at) = parts.online.as_slice().binary_search(pu) else { continue };
            let claim = Some(Claim { class: 0, pus: pus.clone() });
            match level.kind {
                Kind::Package => {
                    parts.package[at] = claim;
                    parts.os_package_id[at] = i64::try_from(label).ok();
                }
                Kind::Die => parts.die[at] = claim,
                Kind::Cluster => parts.cluster[at] = claim,
                Kind::Core => {
                    parts.core[at] = claim;
                    parts.os_core_id[at] = i64::try_from(label).ok();
                }
                Kind::Cache(level_number) => parts.caches[at].push(CacheClaim {
                    level: level_number,
                    size_bytes: level.bytes,
                    pus: pus.clone(),
                }),
                Kind::Numa | Kind::Pu | Kind::Other => {}
            }
        }
    }
}

/// Blanks inside brackets do not separate words.
fn words(text: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut depth = 0usize;
    for c in text.chars() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        let attaches = depth == 0 && c == '[';
        if depth == 0 && (c.is_whitespace() || attaches) {
            words.push(String::new());
        }
        if !c.is_whitespace() || depth > 0 {
            words.last_mut().expect("there is always a last word").push(c);
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

fn parse(text: &str) -> Result<Vec<Level>, SyntheticError> {
    let words = words(text);
    let unnamed =
        words.iter().filter(|word| word.starts_with(|c: char| c.is_ascii_digit())).count();
    let mut left = unnamed;
    let mut levels: Vec<Level> = Vec::new();
    let mut objects = 1usize;
    for word in &words {
        let bad = || SyntheticError::Word { word: super::shown(word.as_bytes()) };
        let attached = word.starts_with('[');
        let inner = match attached {
            true => word.trim_start_matches('[').strip_suffix(']').ok_or_else(bad)?,
            false => word.as_str(),
        };
        let (head, attributes) = match inner.split_once('(') {
            None => (inner, ""),
            Some((head, rest)) => (head, rest.strip_suffix(')').ok_or_else(bad)?),
        };
        let (kind, count) = match head.split_once(':') {
            Some((name, count)) => (kind(name).ok_or_else(bad)?, count),
            None if attached => (kind(head).ok_or_else(bad)?, "1"),
            None => {
                // hwloc names what is not named from the end: PUs, cores, packages.
                left = left.saturating_sub(1);
                let kind = [Kind::Pu, Kind::Core, Kind::Package].get(left).copied();
                (kind.unwrap_or(Kind::Other), head)
            }
        };
        let count = number(count.as_bytes(), PU_LIMIT + 1).map_err(|_| bad())?;
        if count == 0 || (attached && kind != Kind::Numa) {
            return Err(bad());
        }
        let twice = |level: &Level| level.kind == kind && !matches!(kind, Kind::Other | Kind::Numa);
        if levels.iter().any(|level| level.kind == Kind::Pu || twice(level)) {
            return Err(SyntheticError::Order { word: super::shown(word.as_bytes()) });
        }
        if attached {
            for _ in 0..count {
                levels.push(level(kind, head, objects, attributes, true)?);
            }
            continue;
        }
        objects = objects
            .checked_mul(count)
            .filter(|n| *n <= PU_LIMIT)
            .ok_or(SyntheticError::TooLarge)?;
        levels.push(level(kind, head, objects, attributes, false)?);
    }
    if levels.is_empty() {
        return Err(SyntheticError::Empty);
    }
    Ok(levels)
}

fn level(
    kind: Kind,
    word: &str,
    objects: usize,
    attributes: &str,
    attached: bool,
) -> Result<Level, SyntheticError> {
    let mut bytes = None;
    let mut indexes = None;
    for attribute in attributes.split_whitespace() {
        match attribute.split_once('=') {
            Some(("size" | "memory", text)) => {
                let bad = || SyntheticError::Word { word: super::shown(attribute.as_bytes()) };
                bytes = Some(byte_count(text).ok_or_else(bad)?);
            }
            Some(("indexes", text)) => {
                let bad = || SyntheticError::Indexes {
                    word: super::shown(word.as_bytes()),
                    count: objects,
                };
                let listed: Result<Vec<usize>, _> =
                    text.split(',').map(|n| number(n.as_bytes(), PU_LIMIT)).collect();
                let listed = listed.map_err(|_| bad())?;
                let distinct: PuSet = listed.iter().copied().collect();
                if listed.len() != objects || distinct.len() != objects {
                    return Err(bad());
                }
                indexes = Some(listed);
            }
            // hwloc knows more, which no placement depends on.
            _ => {}
        }
    }
    Ok(Level { kind, objects, bytes, indexes, attached })
}

fn kind(name: &str) -> Option<Kind> {
    let name = name.to_ascii_lowercase();
    Some(match name.as_str() {
        "package" | "pack" | "socket" | "s" => Kind::Package,
        "numanode" | "numa" | "node" | "n" => Kind::Numa,
        "die" => Kind::Die,
        "cluster" => Kind::Cluster,
        "core" | "c" => Kind::Core,
        "pu" | "thread" | "p" => Kind::Pu,
        "group" | "machine" => Kind::Other,
        _ => {
            let rest = name.strip_prefix('l')?;
            let rest = rest.strip_suffix("cache").unwrap_or(rest);
            let level = rest.get(..1)?.parse().ok().filter(|n| (1..=5).contains(n))?;
            match rest.get(1..)? {
                "" | "d" | "u" => Kind::Cache(level),
                "i" => Kind::Other,
                _ => return None,
            }
        }
    })
}

/// `32768`, `1GB`, `512kB`, `16MiB`
fn byte_count(text: &str) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    let factor = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" | "kib" => 1 << 10,
        "m" | "mb" | "mib" => 1 << 20,
        "g" | "gb" | "gib" => 1 << 30,
        "t" | "tb" | "tib" => 1 << 40,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(factor)
}
