//! What of the machine is ours: the mask of the process, and what its cgroups say.
//!
//! The mask is the final word on which PUs may be used: it already contains cpusets, `taskset`,
//! `isolcpus` and the batch system. The cpuset is read only to explain why PUs are missing. The
//! quota is the smallest one of the process's group and of every ancestor that can be seen, in
//! cgroup v2 and v1. A missing file is never an error; in a container most of this is missing.
#![forbid(unsafe_code)]

use super::cpulist::{PuSet, shown, trim};
use super::snapshot::Snapshot;

/// A path with more levels than this is no cgroup.
const DEPTH_LIMIT: usize = 128;

/// The mask, the cpuset and the quota.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Limits {
    /// The online PUs that this process may run on.
    pub allowed: PuSet,
    /// The cpuset of the nearest group that has one. It explains, nothing is computed from it.
    pub cpuset: Option<PuSet>,
    /// The smallest quota in force, in PUs: 2.5 is the time of two and a half.
    pub quota_cpus: Option<f64>,
    /// The file that the quota stands in, as a path under the root.
    pub quota_from: Option<String>,
}

/// A list file that is not a list: its path and what is wrong.
pub(super) type BadList = (String, super::ListError);

/// The PUs of `proc/self/status`, or `None` where there is no such file or line.
pub(super) fn mask(files: &Snapshot, limit: usize) -> Result<Option<PuSet>, BadList> {
    let path = "proc/self/status";
    let Some(status) = files.read(path) else { return Ok(None) };
    let line = status.split(|&b| b == b'\n').find_map(|l| l.strip_prefix(b"Cpus_allowed_list:"));
    let Some(list) = line else { return Ok(None) };
    PuSet::parse_below(list, limit).map(Some).map_err(|e| (path.to_string(), e))
}

/// Cpuset and quota of the process's groups. `allowed` is left empty.
pub(super) fn cgroups(
    files: &Snapshot,
    limit: usize,
    warnings: &mut Vec<String>,
) -> Result<Limits, BadList> {
    let mut limits = Limits::default();
    let groups = text(files, "proc/self/cgroup");
    let mounts = mounts(&text(files, "proc/self/mountinfo"));
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) =
            (fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        let unified = controllers.is_empty();
        let has = |name: &str| unified || controllers.split(',').any(|c| c == name);
        if has("cpu") {
            for dir in levels(&mounts, controllers, "cpu", path) {
                let (file, quota) = if unified {
                    let file = format!("{dir}/cpu.max");
                    let quota = quota_v2(files, &file, warnings);
                    (file, quota)
                } else {
                    (format!("{dir}/cpu.cfs_quota_us"), quota_v1(files, &dir))
                };
                if let Some(quota) = quota
                    && limits.quota_cpus.is_none_or(|smallest| quota < smallest)
                {
                    limits.quota_cpus = Some(quota);
                    limits.quota_from = Some(file);
                }
            }
        }
        if has("cpuset") && limits.cpuset.is_none() {
            let name = if unified { "cpuset.cpus.effective" } else { "cpuset.effective_cpus" };
            for dir in levels(&mounts, controllers, "cpuset", path) {
                let path = format!("{dir}/{name}");
                let Some(list) = files.read(&path) else { continue };
                let set = PuSet::parse_below(&list, limit).map_err(|e| (path, e))?;
                if !set.is_empty() {
                    limits.cpuset = Some(set);
                    break;
                }
            }
        }
    }
    Ok(limits)
}

/// The smallest limit on memory of the process's groups and their ancestors, in bytes, and the
/// file that it stands in.
pub(crate) fn memory_limit(files: &Snapshot) -> Option<(u64, String)> {
    let groups = text(files, "proc/self/cgroup");
    let mounts = mounts(&text(files, "proc/self/mountinfo"));
    let mut smallest: Option<(u64, String)> = None;
    for line in groups.lines() {
        let fields: Vec<&str> = line.splitn(3, ':').collect();
        let [_, controllers, path] = fields[..] else { continue };
        let name = match controllers {
            "" => "memory.max",
            v1 if v1.split(',').any(|c| c == "memory") => "memory.limit_in_bytes",
            _ => continue,
        };
        for dir in levels(&mounts, controllers, "memory", path) {
            let file = format!("{dir}/{name}");
            // "max", and the first version's largest number, are no limits.
            let limit = files.read_number(&file).and_then(|limit| u64::try_from(limit).ok());
            if let Some(limit) = limit
                && smallest.as_ref().is_none_or(|(least, _)| limit < *least)
            {
                smallest = Some((limit, file));
            }
        }
    }
    smallest
}

/// A file as text; what is not UTF-8 is replaced, since paths of cgroups may hold anything.
fn text(files: &Snapshot, path: &str) -> String {
    files.read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

/// A mounted cgroup hierarchy.
#[derive(Debug, PartialEq, Eq)]
struct Mount {
    /// The part of the hierarchy that is mounted.
    root: String,
    /// Where.
    point: String,
    /// `None` for cgroup v2, else the super options, which name the controllers.
    v1_options: Option<String>,
}

fn mounts(mountinfo: &str) -> Vec<Mount> {
    mountinfo.lines().filter_map(mount).collect()
}

/// `36 25 0:31 ROOT POINT OPTIONS... - TYPE SOURCE SUPER_OPTIONS`
fn mount(line: &str) -> Option<Mount> {
    let (before, after) = line.split_once(" - ")?;
    let mut before = before.split(' ').skip(3);
    let (root, point) = (before.next()?, before.next()?);
    let mut after = after.split(' ');
    let v1_options = match after.next()? {
        "cgroup2" => None,
        "cgroup" => Some(after.nth(1)?.to_string()),
        _ => return None,
    };
    Some(Mount { root: unescaped(root), point: unescaped(point), v1_options })
}

/// The kernel writes blanks and backslashes in paths as three octal digits.
fn unescaped(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    let mut rest = path;
    while let Some((before, after)) = rest.split_once('\\') {
        out.push_str(before);
        let octal = after.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match octal {
            Some(byte) if byte.is_ascii() => {
                out.push(char::from(byte));
                rest = &after[3..];
            }
            _ => {
                out.push('\\');
                rest = after;
            }
        }
    }
    out + rest
}

/// The directories of the process's group and of its ancestors, nearest first, for every mount
/// of the hierarchy.
fn levels(mounts: &[Mount], controllers: &str, name: &str, path: &str) -> Vec<String> {
    let mut dirs = Vec::new();
    for mount in mounts {
        let matches = match &mount.v1_options {
            None => controllers.is_empty(),
            Some(options) => !controllers.is_empty() && options.split(',').any(|o| o == name),
        };
        if !matches {
            continue;
        }
        // A path that leads out of what is mounted leaves only the mount point to read.
        let inside = within(path, &mount.root);
        let parts: Vec<&str> = inside.split('/').filter(|part| !part.is_empty()).collect();
        let usable = parts.len() <= DEPTH_LIMIT && !parts.contains(&"..");
        let depth = if usable { parts.len() } else { 0 };
        for kept in (0..=depth).rev() {
            let mut dir = mount.point.trim_end_matches('/').to_string();
            for part in &parts[..kept] {
                dir.push('/');
                dir.push_str(part);
            }
            if !dirs.contains(&dir) {
                dirs.push(dir);
            }
        }
    }
    dirs
}

/// The part of a group's path that lies under the mounted root.
fn within<'p>(path: &'p str, root: &str) -> &'p str {
    let root = root.trim_end_matches('/');
    match path.strip_prefix(root) {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => rest,
        _ => "",
    }
}

/// `QUOTA PERIOD`, `max PERIOD`, or nothing at all.
fn quota_v2(files: &Snapshot, path: &str, warnings: &mut Vec<String>) -> Option<f64> {
    let bytes = files.read(path)?;
    let bytes = trim(&bytes);
    if bytes.is_empty() {
        return None;
    }
    let line = String::from_utf8_lossy(bytes);
    let mut words = line.split_ascii_whitespace();
    let (quota, period) = (words.next().unwrap_or(""), words.next().unwrap_or("100000"));
    if quota == "max" {
        return None;
    }
    let cpus = quota.parse().ok().zip(period.parse().ok()).and_then(|(q, p)| ratio(q, p));
    if cpus.is_none() {
        warnings.push(format!("{path} is not a quota: `{}`; it is left out", shown(bytes)));
    }
    cpus
}

fn quota_v1(files: &Snapshot, dir: &str) -> Option<f64> {
    let quota = files.read_number(&format!("{dir}/cpu.cfs_quota_us"))?;
    let period = files.read_number(&format!("{dir}/cpu.cfs_period_us")).unwrap_or(100_000);
    ratio(quota, period)
}

/// Microseconds per period; both lie far below 2^53, where an `f64` is exact.
fn ratio(quota: i64, period: i64) -> Option<f64> {
    (quota > 0 && period > 0).then(|| quota as f64 / period as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_lines_are_understood() {
        let v1 = "31 24 0:27 /docker/x /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:9 - cgroup cgroup rw,cpu,cpuacct";
        let v2 = "42 32 0:38 / /sys/fs/my\\040cgroup rw - cgroup2 cgroup2 rw,nsdelegate";
        let all = mounts(&format!("{v1}\n{v2}\nnonsense\n1 2 3 / / rw - tmpfs tmpfs rw\n"));
        assert_eq!(all.len(), 2);
        assert_eq!(all[0].root, "/docker/x");
        assert_eq!(all[0].v1_options.as_deref(), Some("rw,cpu,cpuacct"));
        assert_eq!(all[1].point, "/sys/fs/my cgroup");
    }

    #[test]
    fn a_group_and_its_ancestors_are_found_under_the_mount() {
        let mounts = mounts("42 32 0:38 /docker/x /cg rw - cgroup2 cgroup2 rw");
        let dirs = |path| levels(&mounts, "", "cpu", path);
        assert_eq!(dirs("/docker/x/a/b"), ["/cg/a/b", "/cg/a", "/cg"]);
        assert_eq!(dirs("/docker/x"), ["/cg"]);
        assert_eq!(dirs("/docker/xy"), ["/cg"]);
        assert_eq!(dirs("/../other"), ["/cg"]);
        assert_eq!(dirs("/docker/x/../../etc"), ["/cg"]);
    }
}
