//! The kernel's account of a mapping, as /proc/PID/smaps and /proc/PID/numa_maps give it.
//!
//! Pure functions of text: any text is read, what is not understood counts as nothing, and no sum
//! overflows. A mapping may be listed in pieces (a policy or an advice for a part of it splits it).
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::ops::Range;

/// What smaps says of one range of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Smaps {
    /// Bytes mapped, present or not.
    pub(crate) size: u64,
    /// Bytes of a page as the kernel counts them.
    pub(crate) page_bytes: u64,
    /// Bytes in this process's page tables, huge pages of every kind included.
    pub(crate) resident: u64,
    /// Those of them in transparent huge pages, mapped in one piece each.
    pub(crate) transparent: u64,
    /// Those of them in reserved huge pages.
    pub(crate) reserved: u64,
    /// Bytes written out to swap.
    pub(crate) swapped: u64,
}

/// What numa_maps says of one range of addresses.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct NumaMaps {
    /// The policy in the kernel's words, such as `default`, `bind:0`, `interleave:0-1`; several
    /// joined by `+`.
    pub(crate) policy: String,
    /// Bytes on each node.
    pub(crate) nodes: BTreeMap<usize, u64>,
}

/// Adds up the entries of smaps that lie within `range`.
pub(crate) fn smaps<'a>(lines: impl Iterator<Item = &'a str>, range: &Range<u64>) -> Smaps {
    let mut sum = Smaps::default();
    let mut inside = false;
    for line in lines {
        if let Some(entry) = entry(line) {
            inside = range.start <= entry.start && entry.end <= range.end;
        } else if inside {
            add_field(&mut sum, line);
        }
    }
    sum
}

/// The addresses of a line that begins an entry: `START-END PERMISSIONS OFFSET …`.
fn entry(line: &str) -> Option<Range<u64>> {
    let (start, end) = line.split_once(' ')?.0.split_once('-')?;
    Some(u64::from_str_radix(start, 16).ok()?..u64::from_str_radix(end, 16).ok()?)
}

fn add_field(sum: &mut Smaps, line: &str) {
    let Some((name, value)) = line.split_once(':') else { return };
    let kib = value.trim().strip_suffix("kB").and_then(|kib| kib.trim().parse::<u64>().ok());
    let Some(bytes) = kib.and_then(|kib| kib.checked_mul(1024)) else { return };
    let add = |to: &mut u64| *to = to.saturating_add(bytes);
    match name {
        "Size" => add(&mut sum.size),
        "KernelPageSize" => sum.page_bytes = sum.page_bytes.max(bytes),
        "Rss" => add(&mut sum.resident),
        "AnonHugePages" | "ShmemPmdMapped" | "FilePmdMapped" => add(&mut sum.transparent),
        // Not part of Rss.
        "Shared_Hugetlb" | "Private_Hugetlb" => {
            add(&mut sum.reserved);
            add(&mut sum.resident);
        }
        "Swap" => add(&mut sum.swapped),
        _ => {}
    }
}

/// Adds up the entries of numa_maps that begin within `range`; `page_bytes` where a line does not
/// say how large its pages are (Linux before 3.17).
pub(crate) fn numa_maps<'a>(
    lines: impl Iterator<Item = &'a str>,
    range: &Range<u64>,
    page_bytes: u64,
) -> NumaMaps {
    let mut sum = NumaMaps::default();
    for line in lines {
        let mut words = line.split_ascii_whitespace();
        let start = words.next().and_then(|word| u64::from_str_radix(word, 16).ok());
        if !start.is_some_and(|start| range.contains(&start)) {
            continue;
        }
        let policy = words.next().unwrap_or("");
        if !policy.is_empty() && !sum.policy.split('+').any(|known| known == policy) {
            let joint = if sum.policy.is_empty() { "" } else { "+" };
            sum.policy = format!("{}{joint}{policy}", sum.policy);
        }
        let words: Vec<&str> = words.collect();
        let said = words.iter().find_map(|word| word.strip_prefix("kernelpagesize_kB="));
        let said = said.and_then(|kib| kib.parse::<u64>().ok()?.checked_mul(1024));
        let page_bytes = said.unwrap_or(page_bytes);
        let counts = words.iter().filter_map(|word| word.strip_prefix('N')?.split_once('='));
        for (node, pages) in counts {
            if let (Ok(node), Ok(pages)) = (node.parse(), pages.parse::<u64>()) {
                let bytes = sum.nodes.entry(node).or_insert(0);
                *bytes = bytes.saturating_add(pages.saturating_mul(page_bytes));
            }
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Linux 6.18: shared memory with transparent huge pages, a neighbour, reserved huge pages.
    const SMAPS_6_18: &str = "\
7f0000000000-7f0013200000 rw-s 00000000 00:01 77 /memfd:pinpool:array (deleted)
Size:             313344 kB
KernelPageSize:        4 kB
MMUPageSize:           4 kB
Rss:              312504 kB
Pss:              156252 kB
Swap:                  8 kB
AnonHugePages:         0 kB
ShmemPmdMapped:   311296 kB
FilePmdMapped:         0 kB
Shared_Hugetlb:        0 kB
Private_Hugetlb:       0 kB
THPeligible:           1
VmFlags: rd wr sh mr mw me ms dc
7f0013200000-7f0013201000 rw-p 00000000 00:00 0
Size:                  4 kB
Rss:                   4 kB
7f0040000000-7f0053200000 rw-s 00000000 00:0f 78 /memfd:pinpool:array (deleted)
Size:             313344 kB
KernelPageSize:     2048 kB
MMUPageSize:        2048 kB
Rss:                   0 kB
Shared_Hugetlb:   102400 kB
Private_Hugetlb:  210944 kB
VmFlags: rd wr sh mr mw me ms de ht dc
";

    const NUMA_MAPS_6_18: &str = "\
7f0000000000 default file=/memfd:pinpool:array\\040(deleted) dirty=78126 mapmax=3 N0=50000 N1=28126 kernelpagesize_kB=4
7f0013200000 default anon=1 dirty=1 N0=1 kernelpagesize_kB=4
7f0040000000 interleave:0-1 file=/memfd:pinpool:array\\040(deleted) huge dirty=153 N0=77 N1=76 kernelpagesize_kB=2048
";

    /// Linux 3.10: no ShmemPmdMapped, no page size in numa_maps; the mapping is in two pieces.
    const SMAPS_3_10: &str = "\
7f0000000000-7f0000002000 rw-s 00000000 00:04 5                          /dev/shm/x
Size:                  8 kB
Rss:                   8 kB
Swap:                  0 kB
KernelPageSize:        4 kB
7f0000002000-7f0000004000 rw-s 00002000 00:04 5                          /dev/shm/x
Size:                  8 kB
Rss:                   4 kB
KernelPageSize:        4 kB
";

    const NUMA_MAPS_3_10: &str = "\
7f0000000000 bind:1 file=/dev/shm/x dirty=2 active=0 N1=2
7f0000002000 default file=/dev/shm/x dirty=1 active=0 N0=1
";

    const TRANSPARENT: Range<u64> = 0x7f00_0000_0000..0x7f00_1320_0000;
    const RESERVED: Range<u64> = 0x7f00_4000_0000..0x7f00_5320_0000;
    const SMALL: Range<u64> = 0x7f00_0000_0000..0x7f00_0000_4000;

    #[test]
    fn a_mapping_in_transparent_huge_pages() {
        let found = smaps(SMAPS_6_18.lines(), &TRANSPARENT);
        let wanted = Smaps {
            size: 313_344 << 10,
            page_bytes: 4096,
            resident: 312_504 << 10,
            transparent: 311_296 << 10,
            reserved: 0,
            swapped: 8 << 10,
        };
        assert_eq!(found, wanted);
        let found = numa_maps(NUMA_MAPS_6_18.lines(), &TRANSPARENT, 4096);
        assert_eq!(found.policy, "default");
        assert_eq!(found.nodes, BTreeMap::from([(0, 50_000 * 4096), (1, 28_126 * 4096)]));
    }

    #[test]
    fn a_mapping_in_reserved_huge_pages() {
        let found = smaps(SMAPS_6_18.lines(), &RESERVED);
        assert_eq!((found.page_bytes, found.resident), (2 << 20, 313_344 << 10));
        assert_eq!((found.reserved, found.transparent), (313_344 << 10, 0));
        let found = numa_maps(NUMA_MAPS_6_18.lines(), &RESERVED, 4096);
        assert_eq!(found.policy, "interleave:0-1");
        assert_eq!(found.nodes, BTreeMap::from([(0, 77 << 21), (1, 76 << 21)]));
    }

    #[test]
    fn a_mapping_in_pieces_on_an_old_kernel() {
        let found = smaps(SMAPS_3_10.lines(), &SMALL);
        assert_eq!((found.size, found.resident, found.page_bytes), (16 << 10, 12 << 10, 4096));
        let found = numa_maps(NUMA_MAPS_3_10.lines(), &SMALL, 4096);
        assert_eq!(found.policy, "bind:1+default");
        assert_eq!(found.nodes, BTreeMap::from([(0, 4096), (1, 8192)]));
    }

    #[test]
    fn another_range_has_nothing() {
        let elsewhere = 0x1000..0x2000;
        assert_eq!(smaps(SMAPS_6_18.lines(), &elsewhere), Smaps::default());
        assert_eq!(numa_maps(NUMA_MAPS_6_18.lines(), &elsewhere, 4096), NumaMaps::default());
    }

    proptest! {
        #[test]
        fn any_text_is_read(text in "(([0-9a-f]{1,17}[- ]?){1,3} |[A-Za-z_]{1,16}:|N[0-9]{1,22}=|[0-9]{1,22}| kB|\\n|kernelpagesize_kB=|.){0,60}") {
            let all = 0..u64::MAX;
            let _ = (smaps(text.lines(), &all), numa_maps(text.lines(), &all, 4096));
        }
    }

    #[test]
    fn sums_do_not_overflow() {
        let text =
            format!("0-1 rw\nRss: {0} kB\nRss: {0} kB\nSwap: {1} kB\n", u64::MAX >> 10, u64::MAX);
        assert_eq!(smaps(text.lines(), &(0..2)).resident, u64::MAX);
        let text = format!("0 default N0={0} N0={0} kernelpagesize_kB={0}\n", u64::MAX);
        assert_eq!(numa_maps(text.lines(), &(0..2), 4096).nodes[&0], u64::MAX);
    }
}
