//! What the system says about a death: out of memory, where core dumps go.

#![forbid(unsafe_code)]

use crate::error::Death;

/// A sentence for the error of a job whose worker died.
pub(crate) fn death_note(death: Death) -> String {
    match death {
        Death::Signal(9) => match oom_kills() {
            Some(n) if n > 0 => format!(
                "the kernel has killed {n} processes of this control group for lack of memory: \
                 use fewer workers, smaller chunks, or a file-backed array"
            ),
            _ => "it was killed from outside, or for lack of memory (see the kernel log)".into(),
        },
        Death::Signal(4 | 6 | 7 | 8 | 11) => core_note(),
        Death::Overdue => "its chunk took longer than the job's chunk_timeout each time".into(),
        Death::Exit(_) => "a kernel must not end its process".into(),
        _ => "it was ended from outside".into(),
    }
}

/// How often the kernel has killed for lack of memory in this process's control group.
fn oom_kills() -> Option<u64> {
    let own = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = own.lines().find_map(|l| l.strip_prefix("0::"))?;
    let file = format!("/sys/fs/cgroup{}/memory.events", path.trim_end_matches('/'));
    let events = std::fs::read_to_string(file).ok()?;
    events.lines().find_map(|l| l.strip_prefix("oom_kill "))?.trim().parse().ok()
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
