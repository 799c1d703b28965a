//! How much memory is free for a segment: the machine's, and that of every cgroup above this process.
//!
//! A memfd or shared-memory object beyond these limits meets the out-of-memory killer instead of an
//! error, so they are read before anything is reserved. It is an estimate of this moment: others
//! may take the memory in between. What cannot be read is no limit. Called by `segment`.
#![forbid(unsafe_code)]

use std::fs;
use std::path::{Path, PathBuf};

/// One part in this many of what is free is left over, for page tables and for everybody else.
const SPARE_FRACTION: u64 = 128;

/// The tightest limit on new memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Room {
    /// Bytes that can still be had, what is left over not among them.
    pub(crate) free: u64,
    /// Whose limit it is, in words that a user can act on.
    pub(crate) limit: String,
}

/// A number of bytes for people: `1.5 GiB`, rounded down.
pub(crate) fn human(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let unit = (bytes.max(1).ilog2() / 10) as usize;
    match unit.checked_sub(1) {
        None => format!("{bytes} bytes"),
        Some(index) => {
            let tenths = (u128::from(bytes) * 10) >> (10 * unit);
            format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[index])
        }
    }
}

/// Whether `asked` bytes of memory can be had now; else the limit that forbids it.
pub(crate) fn check(asked: u64) -> Result<(), Room> {
    check_under(Path::new("/"), asked)
}

fn check_under(root: &Path, asked: u64) -> Result<(), Room> {
    match tightest(root) {
        Some(room) if asked > room.free => Err(room),
        _ => Ok(()),
    }
}

/// The least of all limits, read from the files under `root` (`/` but in tests).
fn tightest(root: &Path) -> Option<Room> {
    let machine = fs::read_to_string(root.join("proc/meminfo"))
        .ok()
        .and_then(|text| mem_available(&text))
        .map(|free| Room { free, limit: "the machine (MemAvailable)".to_owned() });
    let mut room = machine.into_iter().chain(cgroup_rooms(root)).min_by_key(|room| room.free)?;
    room.free -= room.free / SPARE_FRACTION;
    Some(room)
}

/// MemAvailable of /proc/meminfo, in bytes.
fn mem_available(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// The room in this process's memory cgroup and in every cgroup above it.
fn cgroup_rooms(root: &Path) -> Vec<Room> {
    let read = |path: &str| fs::read_to_string(root.join(path)).unwrap_or_default();
    let (memberships, mounts) = (read("proc/self/cgroup"), read("proc/self/mountinfo"));
    let mut rooms = Vec::new();
    for version in [Version::Two, Version::One] {
        let Some(group) = memberships.lines().find_map(|line| version.membership(line)) else {
            continue;
        };
        let Some(mount) = mounts.lines().find_map(|line| Mount::parse(line, version)) else {
            continue;
        };
        let top = root.join(mount.point.trim_start_matches('/'));
        let below = mount.below(group);
        let mut folder: PathBuf = top.join(below.trim_start_matches('/'));
        while folder.starts_with(&top) {
            rooms.extend(version.room(&folder));
            if !folder.pop() {
                break;
            }
        }
    }
    rooms
}

/// The two layouts of the cgroup file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

impl Version {
    /// The path of a line of /proc/self/cgroup, if the line is this version's memory controller.
    fn membership(self, line: &str) -> Option<&str> {
        let (_, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        let ours = match self {
            Self::Two => controllers.is_empty(),
            Self::One => controllers.split(',').any(|name| name == "memory"),
        };
        ours.then_some(path)
    }

    /// What one cgroup may still take, page cache that can be dropped included; `None`: no limit.
    fn room(self, folder: &Path) -> Option<Room> {
        let (max, current, cache) = match self {
            Self::Two => ("memory.max", "memory.current", ["inactive_file", "active_file"]),
            Self::One => (
                "memory.limit_in_bytes",
                "memory.usage_in_bytes",
                ["total_inactive_file", "total_active_file"],
            ),
        };
        let number = |file: &str| -> Option<u64> {
            fs::read_to_string(folder.join(file)).ok()?.trim().parse().ok()
        };
        let limit = number(max)?; // "max" is no number, hence no limit
        let used = number(current)?;
        let stat = fs::read_to_string(folder.join("memory.stat")).unwrap_or_default();
        let droppable = stat
            .lines()
            .filter_map(|line| line.split_once(' '))
            .filter(|(key, _)| cache.contains(key))
            .filter_map(|(_, value)| value.trim().parse::<u64>().ok())
            .fold(0, u64::saturating_add);
        let free = limit.saturating_sub(used.saturating_sub(droppable));
        Some(Room { free, limit: format!("the cgroup's {max} in {}", folder.display()) })
    }
}

/// Where a cgroup file system is mounted, and which cgroup is its top there.
#[derive(Debug)]
struct Mount<'a> {
    top_group: &'a str,
    point: &'a str,
}

impl<'a> Mount<'a> {
    /// Reads a line of /proc/self/mountinfo: `… … … ROOT POINT … - TYPE SOURCE OPTIONS`.
    fn parse(line: &'a str, version: Version) -> Option<Self> {
        let (mount, file_system) = line.split_once(" - ")?;
        let mut mount = mount.split(' ').skip(3);
        let (top_group, point) = (mount.next()?, mount.next()?);
        let mut file_system = file_system.split(' ');
        let ours = match (version, file_system.next()?) {
            (Version::Two, "cgroup2") => true,
            (Version::One, "cgroup") => {
                file_system.nth(1)?.split(',').any(|option| option == "memory")
            }
            _ => false,
        };
        ours.then_some(Self { top_group, point })
    }

    /// Where a cgroup lies below the mount point; its top for one that is not seen from here.
    fn below(&self, group: &'a str) -> &'a str {
        let inside = group.strip_prefix(self.top_group.trim_end_matches('/')).unwrap_or("");
        if inside.split('/').any(|part| part == "..") { "" } else { inside }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// What is left of `free` bytes after the spare part.
    fn spared(free: u64) -> u64 {
        free - free / SPARE_FRACTION
    }

    /// A made tree of /proc and /sys files.
    pub(crate) fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    #[test]
    fn bytes_are_written_for_people() {
        let texts = [0, 1023, 1024, (3 << 29) - 1, u64::MAX].map(human);
        assert_eq!(
            texts,
            ["0 bytes", "1023 bytes", "1.0 KiB", "1.4 GiB", "15.9 EiB"].map(str::to_owned)
        );
    }

    const MEMINFO: (&str, &str) =
        ("proc/meminfo", "MemTotal:  999 kB\nMemFree: 1 kB\nMemAvailable:    1048576 kB\n");
    const MOUNT_2: (&str, &str) = (
        "proc/self/mountinfo",
        "22 1 0:20 / /proc rw - proc proc rw\n30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw\n",
    );

    #[test]
    fn without_cgroups_the_machine_is_the_limit() {
        let root = tree(&[MEMINFO]);
        let room = tightest(root.path()).unwrap();
        assert_eq!((room.free, room.limit.contains("MemAvailable")), (spared(1 << 30), true));
        assert!(check_under(root.path(), 1 << 29).is_ok());
        assert_eq!(check_under(root.path(), 1 << 30), Err(room));
    }

    #[test]
    fn an_ancestors_limit_counts_although_the_own_group_has_none() {
        let root = tree(&[
            MEMINFO,
            MOUNT_2,
            ("proc/self/cgroup", "0::/job/step\n"),
            ("sys/fs/cgroup/job/step/memory.max", "max\n"),
            ("sys/fs/cgroup/job/step/memory.current", "5\n"),
            ("sys/fs/cgroup/job/memory.max", "1000000\n"),
            ("sys/fs/cgroup/job/memory.current", "900000\n"),
            ("sys/fs/cgroup/job/memory.stat", "anon 1\ninactive_file 50000\nactive_file 250000\n"),
        ]);
        let room = tightest(root.path()).unwrap();
        assert_eq!(room.free, spared(400_000));
        assert!(room.limit.ends_with("sys/fs/cgroup/job"), "{}", room.limit);
    }

    #[test]
    fn version_one_is_read_too() {
        let root = tree(&[
            MEMINFO,
            (
                "proc/self/mountinfo",
                "31 23 0:27 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n32 23 0:28 /docker/x /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n",
            ),
            ("proc/self/cgroup", "5:cpu:/docker/x\n4:memory:/docker/x\n0::/\n"),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "4096000"),
            ("sys/fs/cgroup/memory/memory.usage_in_bytes", "96000"),
        ]);
        assert_eq!(tightest(root.path()).unwrap().free, spared(4_000_000));
    }

    #[test]
    fn a_group_outside_the_namespace_counts_as_the_top() {
        let root = tree(&[
            MEMINFO,
            MOUNT_2,
            ("proc/self/cgroup", "0::/../../other\n"),
            ("sys/fs/cgroup/memory.max", "4096"),
            ("sys/fs/cgroup/memory.current", "8192"),
        ]);
        assert_eq!(tightest(root.path()).unwrap().free, 0);
    }

    #[test]
    fn empty_and_absent_files_are_no_limit() {
        let root =
            tree(&[MOUNT_2, ("proc/self/cgroup", "0::/a\n"), ("sys/fs/cgroup/a/memory.max", "")]);
        assert_eq!(tightest(root.path()), None);
        assert!(check_under(root.path(), u64::MAX).is_ok());
    }

    #[test]
    fn this_machine_has_room_for_a_page_but_not_for_everything() {
        assert!(check(4096).is_ok());
        assert!(check(u64::MAX).is_err());
    }
}
