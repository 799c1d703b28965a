//! What a run tells: one JSON object, or a few lines of text.

#![forbid(unsafe_code)]

use std::fmt;

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::numbers::{Bytes, Grouped};
use super::pages::Got;

/// All that is known of a run when it is done. The order of the fields is that of the JSON keys.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Report {
    pub(super) kernel: &'static str,
    pub(super) backend: &'static str,
    pub(super) isa: &'static str,
    pub(super) workers: usize,
    /// Of an MPI job: how many ranks share the workers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ranks: Option<usize>,
    /// The PUs that each worker may run on; empty where it is not bound.
    pub(super) places: Vec<Vec<usize>>,
    /// The PU on which the kernel ran each worker when it was ready.
    pub(super) ran_on: Vec<usize>,
    pub(super) seed: u64,
    pub(super) elements: usize,
    pub(super) chunk: usize,
    pub(super) chunks: usize,
    pub(super) seconds: Seconds,
    /// The sum of the slots; for the prime kernels the count below.
    pub(super) total: f64,
    #[serde(serialize_with = "as_hex")]
    pub(super) total_bits: u64,
    pub(super) slots_hash: String,
    pub(super) peak_memory_bytes: Option<u64>,
    /// What the array's memory really is; `None` where there is no array, or /proc does not say.
    pub(super) memory: Option<Got>,
    #[serde(flatten)]
    pub(super) count: Count,
}

/// Where the time went.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Seconds {
    /// Until all workers were there.
    pub(super) start: f64,
    /// Drawing or reading the elements.
    pub(super) fill: f64,
    /// The kernel over all chunks.
    pub(super) run: f64,
}

/// What a prime kernel counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Count {
    /// Numbers that are prime.
    Primes(u64),
    /// Prime factors of all numbers, with repetition.
    Factors(u64),
    #[serde(untagged)]
    None {},
}

fn as_hex<S: serde::Serializer>(bits: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{bits:016x}"))
}

/// The SHA-256 of some bytes in hexadecimal.
pub(super) fn hash(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Report {
    fn ns_per_element(&self) -> f64 {
        self.seconds.run * 1e9 / self.elements as f64
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Seconds { start, fill, run } = self.seconds;
        match self.count {
            Count::Primes(primes) => {
                writeln!(f, "primes   {} of {}", Grouped(primes), Grouped(self.elements as u64))?;
            }
            Count::Factors(factors) => {
                writeln!(
                    f,
                    "factors  {} of {} numbers",
                    Grouped(factors),
                    Grouped(self.elements as u64)
                )?;
            }
            Count::None {} => {
                writeln!(f, "total    {:?}   (bits {:016x})", self.total, self.total_bits)?;
            }
        }
        let per_element = self.ns_per_element();
        writeln!(
            f,
            "run      {run:.6} s   ({per_element:.2} ns an element; start {start:.6} s, fill {fill:.6} s)"
        )?;
        writeln!(
            f,
            "kernel   {} in {}, seed {}; {} elements in {} chunks of {}",
            self.kernel,
            self.isa,
            self.seed,
            Grouped(self.elements as u64),
            Grouped(self.chunks as u64),
            Grouped(self.chunk as u64),
        )?;
        write!(f, "workers  {} ({})", self.workers, self.backend)?;
        if let Some(ranks) = self.ranks {
            write!(f, " of {ranks} ranks")?;
        }
        writeln!(f, "{}", Places(self))?;
        if let Some(bytes) = self.peak_memory_bytes {
            writeln!(f, "memory   {} at the peak, all processes together", Bytes(bytes))?;
        }
        if let Some(got) = &self.memory {
            writeln!(f, "pages    {got}")?;
        }
        writeln!(f, "slots    sha256 {}", self.slots_hash)
    }
}

/// Where the workers are, in a few words: their places, and where the kernel has one elsewhere.
struct Places<'a>(&'a Report);

impl fmt::Display for Places<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// More workers than this are not listed one by one.
        const SHOWN: usize = 16;
        let Report { places, ran_on, .. } = self.0;
        let bound = !places.iter().all(Vec::is_empty);
        if !bound && (self.0.backend != "processes" || ran_on.is_empty()) {
            return Ok(());
        }
        f.write_str(if bound { " on PU" } else { " bound to none, now on PU" })?;
        let own: Vec<Vec<usize>> = ran_on.iter().map(|&pu| vec![pu]).collect();
        let shown = if bound { places } else { &own };
        for place in shown.iter().take(SHOWN) {
            let pus: Vec<String> = place.iter().map(usize::to_string).collect();
            write!(f, " {}", pus.join(","))?;
        }
        if shown.len() > SHOWN {
            f.write_str(" …")?;
        }
        // Serially the caller runs the chunks, who is bound to nothing.
        let told = bound && self.0.backend != "serial";
        let all = places.iter().zip(ran_on).enumerate();
        for (worker, (_, pu)) in all.filter(|(_, (place, pu))| told && !place.contains(pu)) {
            write!(f, "; the kernel has worker {worker} on {pu}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(count: Count) -> Report {
        Report {
            kernel: "trig-power",
            backend: "processes",
            isa: "avx512",
            workers: 2,
            ranks: None,
            places: vec![vec![0], vec![1]],
            ran_on: vec![0, 1],
            seed: 42,
            elements: 40_000_000,
            chunk: 32_768,
            chunks: 1221,
            seconds: Seconds { start: 0.001, fill: 0.05, run: 0.08 },
            total: 1.5,
            total_bits: 1.5f64.to_bits(),
            slots_hash: hash(b"abc"),
            peak_memory_bytes: Some(330_000_000),
            memory: None,
            count,
        }
    }

    #[test]
    fn the_json_object_has_exactly_the_promised_keys() {
        let keys = |count| {
            let text = serde_json::to_string(&report(count)).unwrap();
            let object: serde_json::Map<String, serde_json::Value> =
                serde_json::from_str(&text).unwrap();
            let mut keys: Vec<String> = object.keys().cloned().collect();
            keys.sort_by_key(|key| text.find(&format!("\"{key}\":")));
            keys.join(" ")
        };
        let common = "kernel backend isa workers places ran_on seed elements chunk chunks seconds total \
                      total_bits slots_hash peak_memory_bytes memory";
        assert_eq!(keys(Count::None {}), common);
        assert_eq!(keys(Count::Primes(3)), format!("{common} primes"));
        assert_eq!(keys(Count::Factors(3)), format!("{common} factors"));
    }

    #[test]
    fn bits_and_hashes_are_hexadecimal() {
        let text = serde_json::to_string(&report(Count::Primes(7))).unwrap();
        assert!(text.contains(r#""total_bits":"3ff8000000000000""#), "{text}");
        assert!(text.contains(r#""primes":7"#), "{text}");
        assert!(text.contains("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"));
    }

    #[test]
    fn the_text_says_the_same() {
        let text = report(Count::None {}).to_string();
        assert!(text.contains("1.5   (bits 3ff8000000000000)"), "{text}");
        assert!(text.contains("40 000 000 elements in 1 221 chunks of 32 768"), "{text}");
        assert!(text.contains("2 (processes) on PU 0 1\n"), "{text}");
        let elsewhere = Report { ran_on: vec![0, 7], ..report(Count::None {}) }.to_string();
        assert!(elsewhere.contains("on PU 0 1; the kernel has worker 1 on 7\n"), "{elsewhere}");
        let none = vec![Vec::new(), Vec::new()];
        let free = Report { places: none, ..report(Count::None {}) }.to_string();
        assert!(free.contains("bound to none, now on PU 0 1\n"), "{free}");
    }
}
