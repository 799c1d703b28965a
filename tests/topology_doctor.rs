//! The doctor: sick machines, made, and a sound one of which nothing is said.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod fixtures;

use std::path::Path;

use fixtures::put;
use pinpool::doctor::{Finding, Severity, doctor};
use pinpool::topology::Topology;

fn examine(root: &Path) -> Vec<Finding> {
    doctor(&Topology::read(root).unwrap())
}

#[test]
fn a_sound_machine_gets_no_finding() {
    assert_eq!(doctor(&Topology::synthetic("package:1 core:4 pu:1").unwrap()), []);
    let dir = fixtures::small().write();
    put(dir.path(), "sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never");
    put(dir.path(), "proc/sys/vm/overcommit_memory", "0");
    put(dir.path(), "proc/self/limits", "Max open files            65536    65536    files");
    put(dir.path(), "proc/loadavg", "0.10 0.20 0.30 1/200 4242");
    assert_eq!(examine(dir.path()), []);
}

#[test]
fn each_sickness_is_found_and_has_a_cure() {
    let sick = [
        (
            "proc/self/mountinfo",
            "9 1 0:9 / /dev/shm rw - tmpfs shm rw,size=65536k",
            "/dev/shm holds 64 MiB",
        ),
        (
            "proc/self/limits",
            "Max open files            128                  4096      files",
            "128 files",
        ),
        (
            "proc/self/limits",
            "Max processes             50                   50        processes",
            "50 processes",
        ),
        (
            "proc/self/limits",
            "Max file size             1073741824           unlimited bytes",
            "1024 MiB",
        ),
        (
            "proc/self/limits",
            "Max address space         1073741824           unlimited bytes",
            "1024 MiB",
        ),
        ("proc/sys/vm/overcommit_memory", "2", "overcommit"),
        ("sys/devices/system/cpu/cpu3/cpufreq/scaling_governor", "powersave", "PUs 3"),
        (
            "sys/kernel/mm/transparent_hugepage/enabled",
            "always madvise [never]",
            "huge pages are off",
        ),
        (
            "sys/kernel/mm/transparent_hugepage/shmem_enabled",
            "always advise [never]",
            "shared memory gets no",
        ),
        (
            "proc/meminfo",
            "SwapTotal: 2097152 kB\nSwapFree: 1048576 kB",
            "1024 MiB of 2048 MiB swap",
        ),
        ("proc/sys/kernel/yama/ptrace_scope", "3", "debuggers"),
        ("proc/sys/kernel/numa_balancing", "1", "moves pages"),
        ("sys/devices/system/cpu/isolated", "2-3", "PUs 2-3 are isolated"),
        ("proc/loadavg", "12.5 3.0 1.0 9/200 4242", "load 12.5"),
        ("sys/devices/system/clocksource/clocksource0/current_clocksource", "hpet", "hpet"),
        ("run/.containerenv", "", "container"),
        ("proc/self/cgroup", "0::/kubepods/pod7", "container"),
        ("proc/cpuinfo", "flags\t\t: fpu hypervisor avx2", "virtual machine"),
    ];
    for (path, text, said) in sick {
        let dir = fixtures::small().write();
        put(dir.path(), path, text);
        let findings = examine(dir.path());
        assert_eq!(findings.len(), 1, "{path}: {findings:?}");
        let shown = findings[0].to_string();
        assert!(shown.contains(said), "{shown}");
        assert!(!findings[0].why.is_empty() && !findings[0].mend.is_empty());
    }
}

#[test]
fn a_mask_and_a_quota_are_explained_and_the_worst_comes_first() {
    let dir = fixtures::f().write();
    put(dir.path(), "proc/self/limits", "Max open files            10       10      files");
    let findings = examine(dir.path());
    assert_eq!(findings[0].severity, Severity::Problem);
    assert!(findings.is_sorted_by_key(|finding| std::cmp::Reverse(finding.severity)));
    let said: Vec<String> = findings.iter().map(|finding| finding.what.clone()).collect();
    for part in
        ["quota of 3 CPUs on 4 usable cores", "others: PUs 4,14", "2 of 4 usable cores have SMT"]
    {
        assert!(said.iter().any(|what| what.contains(part)), "{part}: {said:?}");
    }
}

#[test]
fn powersave_is_no_sickness_where_the_hardware_chooses() {
    let dir = fixtures::small().write();
    let cpufreq = "sys/devices/system/cpu/cpu3/cpufreq";
    put(dir.path(), &format!("{cpufreq}/scaling_governor"), "powersave");
    put(dir.path(), &format!("{cpufreq}/scaling_driver"), "intel_pstate");
    assert_eq!(examine(dir.path()), []);
}

#[test]
fn this_machine_can_be_examined() {
    for finding in doctor(&Topology::current().unwrap()) {
        assert!(!finding.mend.is_empty(), "{finding}");
    }
}

#[test]
fn a_limit_on_memory_is_found_in_either_version_of_cgroups() {
    for (group, mount, file) in [
        ("0::/job", "9 1 0:9 / /cg rw - cgroup2 cgroup rw", "cg/job/memory.max"),
        ("4:memory:/job", "9 1 0:9 / /cg rw - cgroup cgroup rw,memory", "cg/memory.limit_in_bytes"),
    ] {
        let dir = fixtures::small().write();
        put(dir.path(), "proc/meminfo", "MemTotal:       16777216 kB");
        put(dir.path(), "proc/self/cgroup", group);
        put(dir.path(), "proc/self/mountinfo", mount);
        assert_eq!(examine(dir.path()), []);
        put(dir.path(), file, "9223372036854771712");
        assert_eq!(examine(dir.path()), []);
        put(dir.path(), file, "2147483648");
        let findings = examine(dir.path());
        assert_eq!(findings.len(), 1);
        assert!(findings[0].what.contains("2048 MiB of 16384 MiB"), "{}", findings[0]);
    }
}
