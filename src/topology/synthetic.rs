//! Machines that one does not have, from hwloc's synthetic text: `package:2 core:64 pu:2`.
//!
//! Each word is a level, from the whole machine down, with the number of children that every
//! object of the level above has. `[numa]` attaches a memory to each object of the level before
//! it. A text that ends above the PUs has one in each object. Objects are numbered in order, as hwloc does by default, unless `indexes=` lists the
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
    for level in levels.iter().filter(|level| level.kind != Kind::Numa) {
        fill(&mut parts, level, &numbers);
    }
    let memories: Vec<&Level> = levels.iter().filter(|level| level.kind == Kind::Numa).collect();
    for beside in memories.chunk_by(|a, b| b.attached && a.objects == b.objects) {
        attach(&mut parts, beside, &numbers);
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

/// Writes the memories of the objects of one level down. Where an object has several, the first
/// has the PUs, as Linux says it, and the others are memory only.
fn attach(parts: &mut Parts, beside: &[&Level], numbers: &[usize]) {
    let objects = beside[0].objects;
    for (object, run) in numbers.chunks(numbers.len() / objects).enumerate() {
        for (at, level) in beside.iter().enumerate() {
            let pus: PuSet = run.iter().copied().filter(|_| at == 0).collect();
            let id = match &level.indexes {
                Some(indexes) => indexes[object],
                None => parts.nodes.len(),
            };
            let pus = pus.as_slice().to_vec();
            parts.nodes.push(NumaNode { id, pus, memory_bytes: level.bytes });
        }
    }
}

/// Writes one level down: each of its objects holds an equal run of `numbers`.
fn fill(parts: &mut Parts, level: &Level, numbers: &[usize]) {
    let each = numbers.len() / level.objects;
    for (object, run) in numbers.chunks(each).enumerate() {
        let pus: Rc<PuSet> = Rc::new(run.iter().copied().collect());
        let label = level.indexes.as_ref().map_or(object, |indexes| indexes[object]);
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

/// One word of the text.
struct Word<'t> {
    text: &'t str,
    /// The type, unless it is left to be guessed.
    name: Option<&'t str>,
    count: usize,
    attributes: &'t str,
    attached: bool,
}

/// `package:2(attributes)`, `2`, `[numa(attributes)]`
fn word(text: &str) -> Result<Word<'_>, SyntheticError> {
    let bad = || SyntheticError::Word { word: super::shown(text.as_bytes()) };
    let (inner, attached) = match text.strip_prefix('[') {
        Some(rest) => (rest.strip_suffix(']').ok_or_else(bad)?, true),
        None => (text, false),
    };
    let (head, attributes) = match inner.split_once('(') {
        None => (inner, ""),
        Some((head, rest)) => (head, rest.strip_suffix(')').ok_or_else(bad)?),
    };
    let (name, count) = match head.split_once(':') {
        Some((name, count)) => (Some(name), count),
        None if attached => (Some(head), "1"),
        None => (None, head),
    };
    let count = number(count.as_bytes(), PU_LIMIT + 1).ok().filter(|n| *n > 0).ok_or_else(bad)?;
    Ok(Word { text, name, count, attributes, attached })
}

/// What hwloc takes a text of bare numbers for, by how many they are, from the last one up.
const GUESSES: [&[Kind]; 7] = [
    &[],
    &[Kind::Pu],
    &[Kind::Numa, Kind::Pu],
    &[Kind::Package, Kind::Numa, Kind::Pu],
    &[Kind::Package, Kind::Numa, Kind::Core, Kind::Pu],
    &[Kind::Package, Kind::Numa, Kind::Cache(2), Kind::Core, Kind::Pu],
    &[Kind::Package, Kind::Numa, Kind::Cache(2), Kind::Cache(1), Kind::Core, Kind::Pu],
];

fn parse(text: &str) -> Result<Vec<Level>, SyntheticError> {
    let texts = words(text);
    let words: Vec<Word<'_>> = texts.iter().map(|text| word(text)).collect::<Result<_, _>>()?;
    let Some(last) = words.last() else { return Err(SyntheticError::Empty) };
    let order =
        |word: &Word<'_>| SyntheticError::Order { word: super::shown(word.text.as_bytes()) };
    let unnamed = words.iter().filter(|word| word.name.is_none()).count();
    // Either all are guessed, or only the last, which then counts PUs.
    let guesses = match unnamed {
        n if n == words.len() => GUESSES.get(n).copied().ok_or_else(|| order(last))?,
        0 => &[],
        1 if last.name.is_none() => GUESSES[1],
        _ => return Err(order(last)),
    };
    let mut guesses = guesses.iter();
    let mut levels: Vec<Level> = Vec::new();
    let mut objects = 1usize;
    for word in &words {
        let bad = || SyntheticError::Word { word: super::shown(word.text.as_bytes()) };
        let kind = match word.name {
            Some(name) => kind(name).ok_or_else(bad)?,
            None => *guesses.next().ok_or_else(bad)?,
        };
        if word.attached && (kind != Kind::Numa || word.count != 1) {
            return Err(bad());
        }
        let twice = |level: &Level| level.kind == kind && !matches!(kind, Kind::Other | Kind::Numa);
        if levels.iter().any(|level| level.kind == Kind::Pu || twice(level)) {
            return Err(order(word));
        }
        if !word.attached {
            let more = objects.checked_mul(word.count).filter(|n| *n <= PU_LIMIT);
            objects = more.ok_or(SyntheticError::TooLarge)?;
        }
        levels.push(level(kind, word, objects)?);
    }
    Ok(levels)
}

/// The level of a word, of which there are so many objects in the whole machine.
fn level(kind: Kind, word: &Word<'_>, objects: usize) -> Result<Level, SyntheticError> {
    let mut bytes = None;
    let mut indexes = None;
    for attribute in word.attributes.split_whitespace() {
        match attribute.split_once('=') {
            Some(("size" | "memory", text)) => {
                let bad = || SyntheticError::Word { word: super::shown(attribute.as_bytes()) };
                bytes = Some(byte_count(text).ok_or_else(bad)?);
            }
            Some(("indexes", text)) => {
                let bad = || SyntheticError::Indexes {
                    word: super::shown(word.text.as_bytes()),
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
    Ok(Level { kind, objects, bytes, indexes, attached: word.attached })
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

/// `32768`, `1GB` (decimal, as hwloc takes it), `512KiB`, `16M`
fn byte_count(text: &str) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    let factor = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        "t" | "tib" => 1 << 40,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(factor)
}
