//! What the system says about a death: out of memory, where core dumps go.

#![forbid(unsafe_code)]

use crate::error::Death;

/// What the kernel's count of kills for lack of memory was when the supervisor last looked.
#[derive(Debug)]
pub(crate) struct Notes {
    oom_kills: Option<u64>,
}

impl Notes {
    pub(crate) fn new() -> Notes {
        Notes { oom_kills: oom_kills() }
    }

    /// A sentence for the error of a job whose worker died.
    pub(crate) fn of(&mut self, death: Death) -> String {
        match death {
            Death::Signal(9) => self.killed(oom_kills()).into(),
            Death::Signal(4 | 6 | 7 | 8 | 11) => core_note(),
            Death::Overdue => "its chunk took longer than the job's chunk_timeout each time".into(),
            Death::Exit(_) => "a kernel must not end its process".into(),
            _ => "it was ended from outside".into(),
        }
    }

    /// No more deaths of this moment: what the count has grown by beside them is not of later ones.
    pub(crate) fn settle(&mut self) {
        self.oom_kills = oom_kills();
    }

    /// Told from the count of now: one that has grown since the last look is this death's, and one
    /// a death, since several may be looked at together.
    fn killed(&mut self, now: Option<u64>) -> &'static str {
        let before = self.oom_kills;
        let grown = before.is_some_and(|before| now.is_some_and(|now| now > before));
        self.oom_kills = if grown { before.map(|before| before + 1) } else { now };
        match now {
            Some(_) if grown => {
                "the kernel killed it for lack of memory: use fewer workers, smaller chunks, or \
                 a file-backed array"
            }
            Some(_) => "it was killed from outside, and not by the kernel for lack of memory",
            None => "it was killed from outside, or for lack of memory (see the kernel log)",
        }
    }
}

/// How often the kernel has killed for lack of memory: in this process's control group where that
/// can be read, else on the whole machine.
fn oom_kills() -> Option<u64> {
    let own = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let files = group_files(&own).into_iter().chain(["/proc/vmstat".to_owned()]);
    files.filter_map(|file| std::fs::read_to_string(file).ok()).find_map(|text| count_in(&text))
}

/// The files that may hold the count of the control group of memory, from /proc/self/cgroup.
fn group_files(own: &str) -> Vec<String> {
    let path = |l: &str| l.trim_end_matches('/').to_owned();
    let second = own.lines().find_map(|l| l.strip_prefix("0::")).map(path);
    let first = own.lines().find_map(|l| l.split_once(":memory:")).map(|(_, l)| path(l));
    let mut files = Vec::new();
    files.extend(second.map(|p| format!("/sys/fs/cgroup{p}/memory.events")));
    files.extend(first.map(|p| format!("/sys/fs/cgroup/memory{p}/memory.oom_control")));
    files
}

fn count_in(text: &str) -> Option<u64> {
    text.lines().find_map(|l| l.strip_prefix("oom_kill "))?.trim().parse().ok()
}

fn core_note() -> String {
    let pattern = std::fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap_or_default();
    let limit = rustix::process::getrlimit(rustix::process::Resource::Core).current;
    match (limit, pattern.trim()) {
        (Some(0), _) => "no core was dumped (ulimit -c is 0)".into(),
        (_, pattern) if pattern.starts_with('|') => {
            format!("its core went to {}", pattern.trim_start_matches('|'))
        }
        (_, pattern) => format!("its core, if any, is where core_pattern says: {pattern}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kill_for_lack_of_memory_is_told_from_one_by_hand() {
        let mut notes = Notes { oom_kills: Some(3) };
        // Earlier ones of the group are not this death's.
        assert!(notes.killed(Some(3)).contains("not by the kernel"));
        assert!(notes.killed(Some(4)).contains("the kernel killed it for lack of memory"));
        assert!(notes.killed(Some(4)).contains("not by the kernel"));
        // Two at once are looked at one after the other.
        assert!(notes.killed(Some(6)).contains("the kernel killed it for lack of memory"));
        assert!(notes.killed(Some(6)).contains("the kernel killed it for lack of memory"));
        assert!(notes.killed(Some(6)).contains("not by the kernel"));
        assert!(notes.killed(None).contains("see the kernel log"));
    }

    #[test]
    fn the_count_is_found_in_either_version_of_control_groups() {
        let both = "4:memory:/a/b\n1:cpu:/\n0::/\n";
        let files = group_files(both);
        assert_eq!(files[0], "/sys/fs/cgroup/memory.events");
        assert_eq!(files[1], "/sys/fs/cgroup/memory/a/b/memory.oom_control");
        assert_eq!(count_in("low 0\noom 7\noom_kill 2\noom_group_kill 0\n"), Some(2));
        assert_eq!(count_in("oom_kill_disable 0\nunder_oom 0\noom_kill 5\n"), Some(5));
        assert_eq!(count_in("nothing of it"), None);
    }

    #[test]
    fn a_death_of_its_own_doing_says_where_the_core_is() {
        let note = Notes::new().of(Death::Signal(11));
        assert!(note.contains("core"), "{note}");
    }
}
