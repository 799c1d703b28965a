//! The huge pages that were reserved on this machine: sizes, and how many are free.
#![forbid(unsafe_code)]

use std::fs;
use std::path::Path;

/// The reserved huge pages of one size, as under /sys/kernel/mm/hugepages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct HugePool {
    /// All there are, in use or not.
    pub(crate) total: u64,
    unused: u64,
    promised: u64,
    /// How many more the kernel may make when they are asked for, and has made.
    overcommit: u64,
    surplus: u64,
}

const FOLDER: &str = "sys/kernel/mm/hugepages";

impl HugePool {
    /// Those of one size; `None` where the kernel has no such size or does not tell.
    pub(crate) fn read(root: &Path, page_bytes: u64) -> Option<Self> {
        let folder = root.join(FOLDER).join(format!("hugepages-{}kB", page_bytes / 1024));
        let number = |file: &str| -> Option<u64> {
            fs::read_to_string(folder.join(file)).ok()?.trim().parse().ok()
        };
        Some(Self {
            total: number("nr_hugepages")?,
            unused: number("free_hugepages")?,
            promised: number("resv_hugepages").unwrap_or(0),
            overcommit: number("nr_overcommit_hugepages").unwrap_or(0),
            surplus: number("surplus_hugepages").unwrap_or(0),
        })
    }

    /// How many can be had now.
    pub(crate) fn free(&self) -> u64 {
        let more = self.overcommit.saturating_sub(self.surplus);
        self.unused.saturating_sub(self.promised).saturating_add(more)
    }

    /// The sizes that the kernel has, in bytes, the smallest first.
    pub(crate) fn sizes(root: &Path) -> Vec<u64> {
        let entries = fs::read_dir(root.join(FOLDER)).into_iter().flatten().flatten();
        let mut sizes: Vec<u64> = entries
            .filter_map(|entry| {
                let name = entry.file_name();
                let kib = name.to_str()?.strip_prefix("hugepages-")?.strip_suffix("kB")?;
                kib.parse::<u64>().ok()?.checked_mul(1024)
            })
            .collect();
        sizes.sort_unstable();
        sizes
    }
}

/// The setting for huge pages in shared memory; `None` where the kernel has none.
pub(crate) fn shmem_setting(root: &Path) -> Option<String> {
    let text =
        fs::read_to_string(root.join("sys/kernel/mm/transparent_hugepage/shmem_enabled")).ok()?;
    let (_, rest) = text.split_once('[')?;
    Some(rest.split_once(']')?.0.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn promised_pages_are_not_free_and_those_to_be_made_are() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join(FOLDER).join("hugepages-2048kB");
        fs::create_dir_all(&folder).unwrap();
        for (file, text) in [
            ("nr_hugepages", "10\n"),
            ("free_hugepages", "8\n"),
            ("resv_hugepages", "3\n"),
            ("nr_overcommit_hugepages", "4\n"),
            ("surplus_hugepages", "1\n"),
        ] {
            fs::write(folder.join(file), text).unwrap();
        }
        fs::create_dir_all(root.path().join(FOLDER).join("hugepages-1048576kB")).unwrap();
        let pool = HugePool::read(root.path(), 2 << 20).unwrap();
        assert_eq!((pool.total, pool.free()), (10, 8));
        assert_eq!(HugePool::read(root.path(), 1 << 30), None, "it has no files");
        assert_eq!(HugePool::sizes(root.path()), [2 << 20, 1 << 30]);
        assert!(HugePool::sizes(Path::new("/nowhere")).is_empty());
    }

    #[test]
    fn the_chosen_setting_is_the_one_in_brackets() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(shmem_setting(root.path()), None);
        let folder = root.path().join("sys/kernel/mm/transparent_hugepage");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("shmem_enabled"), "always within_size [advise] never deny force\n")
            .unwrap();
        assert_eq!(shmem_setting(root.path()).as_deref(), Some("advise"));
    }
}
