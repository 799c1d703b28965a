//! The memory of the whole process group: this process and its workers, shared pages once.
//!
//! The kernel keeps no high-water mark of the proportional set size (PSS), which counts a page that
//! n processes map as 1/n in each, and reading PSS while a job runs would hold up its page faults.
//! So PSS is read where a run needs most, after the job and before anything is let go; to it comes
//! what each process had at some time above what it has now (VmHWM − VmRSS). The sum is never below
//! the true peak by more than what is given back in between and mapped by several.

#![forbid(unsafe_code)]

use std::fs;
use std::path::Path;

/// The peak so far, in bytes; `None` where /proc does not say.
pub(super) fn peak_bytes() -> Option<u64> {
    let own = std::process::id();
    let mut group = vec![own];
    group.extend(children(own));
    let mut known = group.iter().filter_map(|&pid| process_peak(&format!("/proc/{pid}")));
    let first = known.next()?;
    Some(known.fold(first, u64::saturating_add))
}

/// Has the kernel count this process's own high-water mark from here on.
pub(super) fn forget_peak() {
    // Where it cannot be reset, the peak is the one of the whole run: too large, never too small.
    let _ = fs::write("/proc/self/clear_refs", "5");
}

/// The processes that this one started and that are still there.
fn children(parent: u32) -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter(|pid| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            parent_of(&stat) == Some(parent)
        })
        .collect()
}

/// The parent in a line of /proc/PID/stat; the name before it may hold blanks and parentheses.
fn parent_of(stat: &str) -> Option<u32> {
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

fn process_peak(folder: &str) -> Option<u64> {
    let read = |file: &str| fs::read_to_string(Path::new(folder).join(file)).ok();
    let pss = field_bytes(&read("smaps_rollup")?, "Pss:")?;
    let status = read("status")?;
    let above = match (field_bytes(&status, "VmHWM:"), field_bytes(&status, "VmRSS:")) {
        (Some(high), Some(now)) => high.saturating_sub(now),
        _ => 0,
    };
    Some(pss + above)
}

/// A field in kB of a file of /proc, in bytes.
fn field_bytes(text: &str, name: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name))?;
    value.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parent_is_found_behind_any_name() {
        assert_eq!(parent_of("7 (a b) c) S 42 7 7 0"), Some(42));
        assert_eq!(parent_of(""), None);
    }

    #[test]
    fn fields_are_read_in_bytes() {
        let text = "VmHWM:\t    2048 kB\nPss:  3 kB\nPss_Dirty: 9 kB\n";
        assert_eq!(field_bytes(text, "VmHWM:"), Some(2 << 20));
        assert_eq!(field_bytes(text, "Pss:"), Some(3072));
        assert_eq!(field_bytes(text, "VmRSS:"), None);
    }

    #[test]
    fn touched_memory_shows_and_stays_in_the_peak() {
        let before = peak_bytes().unwrap();
        let block = std::hint::black_box(vec![1u8; 64 << 20]);
        let with = peak_bytes().unwrap();
        assert!(with >= before + (60 << 20), "{before} then {with}");
        drop(block);
        assert!(peak_bytes().unwrap() >= before + (60 << 20));
    }

    #[test]
    fn a_child_is_counted() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let found = children(std::process::id());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(found.contains(&child.id()));
    }
}
