//! The checks of the doctor, one function each.
//!
//! A check looks at its files and returns what it found, or nothing; it never fails and never
//! asks another check. Only the doctor calls them.
#![forbid(unsafe_code)]

use super::Severity::{Note, Problem, Warning};
use super::{Check, Finding, Patient, Severity};
use crate::topology::{PuSet, memory_limit};

/// All of them; the order is that of findings of one severity.
pub(super) const CHECKS: &[Check] = &[
    shared_memory,
    open_files,
    processes,
    file_size,
    address_space,
    overcommit,
    memory,
    quota,
    shared_siblings,
    siblings,
    offline,
    governor,
    huge_pages,
    shared_huge_pages,
    swap,
    ptrace,
    numa_balancing,
    isolated,
    busy,
    clock,
    container,
    virtual_machine,
];

/// Docker gives every container this much `/dev/shm`.
const SMALL_SHM_BYTES: u64 = 64 << 20;

fn found(
    severity: Severity,
    what: impl Into<String>,
    why: impl Into<String>,
    mend: impl Into<String>,
) -> Option<Finding> {
    Some(Finding { severity, what: what.into(), why: why.into(), mend: mend.into() })
}

fn mib(bytes: u64) -> String {
    format!("{} MiB", bytes >> 20)
}

/// Size and free bytes of `/dev/shm`.
fn shm(patient: &Patient<'_>) -> Option<(u64, u64)> {
    if patient.live {
        let stat = rustix::fs::statvfs("/dev/shm").ok()?;
        return Some((stat.f_blocks * stat.f_frsize, stat.f_bavail * stat.f_frsize));
    }
    let mounts = patient.text("proc/self/mountinfo")?;
    let line = mounts.lines().find(|line| line.split(' ').nth(4) == Some("/dev/shm"))?;
    let options = line.rsplit(' ').next()?.split(',');
    let kib = options.filter_map(|o| o.strip_prefix("size=")?.strip_suffix('k')).next()?;
    let size = kib.parse::<u64>().ok()?.checked_mul(1024)?;
    Some((size, size))
}

fn shared_memory(patient: &Patient<'_>) -> Option<Finding> {
    let mend = "mount -o remount,size=50% /dev/shm; in a container, docker run --shm-size=8g or --ipc=host";
    let Some((size, free)) = shm(patient) else {
        return if patient.live {
            found(
                Problem,
                "there is no /dev/shm",
                "named arrays live there",
                "mount -t tmpfs shm /dev/shm",
            )
        } else {
            None
        };
    };
    let memory = patient.memory("MemTotal").unwrap_or(0);
    let why =
        "named arrays live there and are reserved in full; nameless ones and files do not need it";
    if free < SMALL_SHM_BYTES / 2 {
        return found(
            Problem,
            format!("/dev/shm has {} left of {}", mib(free), mib(size)),
            why,
            mend,
        );
    }
    if size <= SMALL_SHM_BYTES || size < memory / 8 {
        return found(Warning, format!("/dev/shm holds {} only", mib(size)), why, mend);
    }
    None
}

fn open_files(patient: &Patient<'_>) -> Option<Finding> {
    let limit = patient.soft_limit("Max open files")?;
    let workers = patient.topology.usable_cores().len() as u64;
    // Segments, a pidfd and a socket per worker, and what the program itself opens.
    let wanted = 256 + 8 * workers;
    if limit >= wanted {
        return None;
    }
    let why = "every array, job and worker holds a few descriptors open";
    found(
        Problem,
        format!("only {limit} files may be open"),
        why,
        format!("ulimit -n {}", wanted.max(4096)),
    )
}

fn processes(patient: &Patient<'_>) -> Option<Finding> {
    let limit = patient.soft_limit("Max processes")?;
    let wanted = 64 + 4 * patient.topology.usable_cores().len() as u64;
    if limit >= wanted {
        return None;
    }
    let why = "a worker is a process, and the limit counts all processes and threads of the user";
    found(
        Problem,
        format!("the user may have {limit} processes"),
        why,
        format!("ulimit -u {wanted}"),
    )
}

fn file_size(patient: &Patient<'_>) -> Option<Finding> {
    let limit = patient.soft_limit("Max file size")?;
    let why = "an array in shared memory or on disk is a file; a longer one cannot be made";
    found(Warning, format!("files may not grow past {}", mib(limit)), why, "ulimit -f unlimited")
}

fn address_space(patient: &Patient<'_>) -> Option<Finding> {
    let limit = patient.soft_limit("Max address space")?;
    let why = "every worker maps every array, whole";
    found(Warning, format!("a process may map {} only", mib(limit)), why, "ulimit -v unlimited")
}

fn overcommit(patient: &Patient<'_>) -> Option<Finding> {
    if patient.number("proc/sys/vm/overcommit_memory")? != 2 {
        return None;
    }
    let why = "private mappings of all workers count against the commit limit, used or not";
    found(
        Warning,
        "the kernel refuses to overcommit memory (vm.overcommit_memory=2)",
        why,
        "sysctl vm.overcommit_memory=0, or raise vm.overcommit_ratio",
    )
}

fn memory(patient: &Patient<'_>) -> Option<Finding> {
    let (limit, file) = memory_limit(patient.files.as_ref()?)?;
    let total = patient.memory("MemTotal")?;
    if limit >= total {
        return None;
    }
    found(
        Warning,
        format!("a cgroup limits memory to {} of {} ({file})", mib(limit), mib(total)),
        "arrays in shared memory count against it as they are touched; past it the kernel kills a worker, again and again",
        "raise it (docker run --memory, sbatch --mem), or keep arrays in files",
    )
}

fn quota(patient: &Patient<'_>) -> Option<Finding> {
    let quota = patient.topology.limits().quota_cpus?;
    let cores = patient.topology.usable_cores().len();
    if quota >= cores as f64 {
        return None;
    }
    let from = patient.topology.limits().quota_from.clone().unwrap_or_default();
    found(
        Warning,
        format!("a cgroup quota of {quota} CPUs on {cores} usable cores ({from})"),
        "the kernel stops all workers for the rest of each period once the quota is used up; the default number of workers respects it",
        "raise it (docker run --cpus, resources.limits.cpu), or give whole cores by --cpuset-cpus instead",
    )
}

fn shared_siblings(patient: &Patient<'_>) -> Option<Finding> {
    let cores = patient.topology.usable_cores();
    let shared: PuSet = (cores.iter())
        .filter(|core| core.allowed.len() < core.pus.len())
        .flat_map(|core| core.pus.iter().copied().filter(|pu| !core.allowed.contains(pu)))
        .collect();
    if shared.is_empty() {
        return None;
    }
    found(
        Warning,
        format!("SMT siblings of our PUs belong to others: PUs {shared}"),
        "whoever runs there takes up to half of the core away from a worker, and timings wander",
        "ask the batch system for whole cores (srun --hint=nomultithread, --exclusive)",
    )
}

fn siblings(patient: &Patient<'_>) -> Option<Finding> {
    let cores = patient.topology.usable_cores();
    let with = cores.iter().filter(|core| core.allowed.len() > 1).count();
    if with == 0 {
        return None;
    }
    found(
        Note,
        format!("{with} of {} usable cores have SMT siblings", cores.len()),
        "kernels that fill the vector units gain nothing from siblings; those that wait for memory may",
        "nothing to do: one worker per core is the default; try --smt last",
    )
}

fn offline(patient: &Patient<'_>) -> Option<Finding> {
    let pus = patient.topology.pus();
    let offline: PuSet = pus.iter().filter(|pu| !pu.online).map(|pu| pu.id).collect();
    if offline.is_empty() {
        return None;
    }
    found(
        Note,
        format!("PUs {offline} are offline"),
        "they are there, and nothing can run on them",
        "echo 1 > /sys/devices/system/cpu/cpuN/online",
    )
}

fn governor(patient: &Patient<'_>) -> Option<Finding> {
    let mut slow = Vec::new();
    let mut word = String::new();
    for pu in patient.topology.limits().allowed.iter() {
        let dir = format!("sys/devices/system/cpu/cpu{pu}/cpufreq");
        let Some(governor) = patient.text(&format!("{dir}/scaling_governor")) else { continue };
        let driver = patient.text(&format!("{dir}/scaling_driver")).unwrap_or_default();
        // These drivers call "powersave" what lets the hardware choose.
        let chooses = ["intel_pstate", "amd-pstate-epp"].contains(&driver.as_str());
        if governor != "performance" && !(chooses && governor == "powersave") {
            slow.push(pu);
            word = governor;
        }
    }
    if slow.is_empty() {
        return None;
    }
    let pus: PuSet = slow.into_iter().collect();
    found(
        Warning,
        format!("the frequency governor is {word} on PUs {pus}"),
        "cores clock up late after a wait, so short jobs are slow and timings wander",
        "cpupower frequency-set -g performance",
    )
}

fn huge_pages(patient: &Patient<'_>) -> Option<Finding> {
    let chosen = patient.chosen("sys/kernel/mm/transparent_hugepage/enabled")?;
    if chosen != "never" {
        return None;
    }
    found(
        Warning,
        "transparent huge pages are off",
        "with pages of 4 KiB, large arrays cost a TLB miss every page and a fault every first touch",
        "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled",
    )
}

fn shared_huge_pages(patient: &Patient<'_>) -> Option<Finding> {
    let chosen = patient.chosen("sys/kernel/mm/transparent_hugepage/shmem_enabled")?;
    let reserved = patient.number("proc/sys/vm/nr_hugepages").unwrap_or(0);
    if !["never", "deny"].contains(&chosen.as_str()) || reserved > 0 {
        return None;
    }
    found(
        Note,
        format!(
            "shared memory gets no huge pages by itself (shmem_enabled is {chosen}, and none are reserved)"
        ),
        "our arrays are shared memory, so that the setting for private memory does not reach them",
        "ask for them by --pages thp (Linux 6.1 and newer, unless the setting is deny); or sysctl vm.nr_hugepages=N and --pages huge",
    )
}

fn swap(patient: &Patient<'_>) -> Option<Finding> {
    let total = patient.memory("SwapTotal").filter(|bytes| *bytes > 0)?;
    let used = total.saturating_sub(patient.memory("SwapFree").unwrap_or(total));
    let (severity, what) = match used {
        0 => (Note, format!("{} of swap, none in use", mib(total))),
        _ => (Warning, format!("{} of {} swap in use", mib(used), mib(total))),
    };
    let why =
        "shared memory is swapped like any other; a worker that waits for a disk holds up the job";
    found(severity, what, why, "free memory, then swapoff -a; or sysctl vm.swappiness=1")
}

fn ptrace(patient: &Patient<'_>) -> Option<Finding> {
    let scope = patient.number("proc/sys/kernel/yama/ptrace_scope")?;
    if scope < 2 {
        return None;
    }
    found(
        Note,
        format!("debuggers may not attach (ptrace_scope is {scope})"),
        "gdb -p, strace -p and perf trace on a worker are refused; the pool itself needs none of them",
        "sysctl kernel.yama.ptrace_scope=1",
    )
}

fn numa_balancing(patient: &Patient<'_>) -> Option<Finding> {
    let nodes = patient.topology.numa_nodes().iter().filter(|node| !node.pus.is_empty()).count();
    if nodes < 2 || patient.number("proc/sys/kernel/numa_balancing")? == 0 {
        return None;
    }
    found(
        Note,
        "the kernel moves pages between NUMA nodes by itself",
        "pinned workers touch their own chunks first, so pages lie well; unmapping them to look costs faults",
        "sysctl kernel.numa_balancing=0",
    )
}

fn isolated(patient: &Patient<'_>) -> Option<Finding> {
    let text = patient.text("sys/devices/system/cpu/isolated")?;
    let isolated = PuSet::parse(text.as_bytes()).ok()?;
    let ours = isolated.intersection(&patient.topology.limits().allowed);
    if ours.is_empty() {
        return None;
    }
    found(
        Note,
        format!("PUs {ours} are isolated from the scheduler"),
        "good for pinned workers; with --bind none all of them would stay on one PU",
        "nothing to do; do not use --bind none",
    )
}

fn busy(patient: &Patient<'_>) -> Option<Finding> {
    let text = patient.text("proc/loadavg")?;
    let load: f64 = text.split(' ').next()?.parse().ok()?;
    let online = patient.topology.online().len();
    if load < 0.5 * online as f64 {
        return None;
    }
    found(
        Warning,
        format!("the machine is busy: load {load} on {online} PUs"),
        "a pinned worker cannot evade another program on its core, and the slowest worker ends the job",
        "see who runs with top; wait, or leave those PUs out by taskset",
    )
}

fn clock(patient: &Patient<'_>) -> Option<Finding> {
    let source = patient.text("sys/devices/system/clocksource/clocksource0/current_clocksource")?;
    if !["hpet", "acpi_pm", "jiffies", "refined-jiffies"].contains(&source.as_str()) {
        return None;
    }
    found(
        Warning,
        format!("the clock is read from {source}"),
        "every look at the clock takes microseconds, which timelines and sweeps do often",
        "see dmesg for why the TSC was given up; boot with tsc=reliable where it is sound",
    )
}

fn container(patient: &Patient<'_>) -> Option<Finding> {
    let marked =
        |path: &str| patient.files.as_ref().is_some_and(|files| files.read(path).is_some());
    let groups = patient.text("proc/self/cgroup").unwrap_or_default();
    let named = ["docker", "kubepods", "containerd", "libpod", "/lxc"];
    if !marked(".dockerenv")
        && !marked("run/.containerenv")
        && !named.iter().any(|name| groups.contains(name))
    {
        return None;
    }
    found(
        Note,
        "this is a container",
        "/sys shows the whole host; only the mask and the quota say what is ours, and both are respected",
        "nothing to do; give whole cores (--cpuset-cpus) and enough --shm-size",
    )
}

fn virtual_machine(patient: &Patient<'_>) -> Option<Finding> {
    let info = patient.text("proc/cpuinfo")?;
    let flags = info.lines().find(|line| line.starts_with("flags"))?;
    if !flags.split_ascii_whitespace().any(|flag| flag == "hypervisor") {
        return None;
    }
    found(
        Note,
        "this is a virtual machine",
        "packages, caches and siblings are what the host chose to tell; two of our cores may share one of its",
        "ask for dedicated cores, and compare ratios within one run rather than times",
    )
}
