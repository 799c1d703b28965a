//! F9, F10, F13, F14: namespaces, limits, forks, replaced executables.
//!
//! Each role is played in a process of its own, whose limits, user and file it may ruin.

mod faults;

use std::process::Command;
use std::time::Duration;

use faults::{ROLE, alone, kill_worker, names, pool, role, skip, victim, wait_until, watchdog};
use pinpool::ndarray::Ix1;
use pinpool::segments::{self, SegmentState};
use pinpool::{
    Backend, ChunkMut, CreateError, Ctx, Error, JobError, Param, Pool, SharedArray, indices,
};

/// Plays a role, in a process of its own, and says that it went well.
#[test]
fn the_victim() {
    let Some(role) = role() else { return };
    let _watchdog = watchdog("a victim", 60);
    match role.as_str() {
        "collects" => collects(),
        "small_shm" => small_shm(),
        "few_descriptors" => few_descriptors(),
        "starved_restart" => starved_restart(),
        "few_processes" => few_processes(),
        "little_memory" => little_memory(),
        "out_of_memory" => out_of_memory(),
        "small_files" => small_files(),
        "forks" => forks(),
        "forks_and_dies" => forks_and_dies(),
        "replaced" => replaced(),
        other => panic!("no role {other}"),
    }
    println!("played {role}");
}

fn must_play(mut command: Command, role: &str) {
    let output = command.env(ROLE, role).output().expect("a victim");
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{role}: {}\n{out}\n{err}", output.status);
    assert!(out.contains(&format!("played {role}")), "{role}:\n{out}\n{err}");
    err.lines().filter(|l| l.contains("SKIPPED")).for_each(|l| eprintln!("{l}"));
}

/// The victim behind another program, `None` (and a loud word) where that one does not work here.
fn behind(test: &str, program: &str, arguments: &[&str]) -> Option<Command> {
    let works = Command::new(program).args(arguments).arg("true").output();
    if !works.is_ok_and(|o| o.status.success()) {
        skip(test, &format!("`{program} {}` does not work here; run as root", arguments.join(" ")));
        return None;
    }
    let mut command = Command::new(program);
    command.args(arguments).arg(std::env::current_exe().expect("a program"));
    command.args(["--exact", "the_victim", "--nocapture", "--test-threads=1"]);
    Some(command)
}

fn limit(resource: libc::__rlimit_resource_t, value: u64) {
    let both = libc::rlimit { rlim_cur: value, rlim_max: value.max(4096) };
    // SAFETY: reads a live value.
    assert_eq!(unsafe { libc::setrlimit(resource, &both) }, 0);
}

fn sum_of_squares(pool: &Pool) -> pinpool::Result<u64> {
    Ok(pool.map(indices(100), |i, _| i * i)?.as_slice().iter().sum())
}

#[test]
fn a_collector_in_another_pid_namespace_removes_no_live_segment() {
    let _alone = alone();
    let name = format!("pinpool-test-namespace-{}", std::process::id());
    // SAFETY: nobody else knows the name.
    let made = unsafe { SharedArray::<u64, Ix1>::create_named(&name, 100) };
    let _array = made.expect("a new name");
    let test = "a_collector_in_another_pid_namespace_removes_no_live_segment";
    let Some(mut command) = behind(test, "unshare", &["-p", "-f"]) else { return };
    command.env("PINPOOL_TEST_NAME", &name);
    must_play(command, "collects");
    assert_eq!(names(&name), [name.as_str()]);
}

fn collects() {
    let name = std::env::var("PINPOOL_TEST_NAME").expect("given");
    segments::gc().expect("a registry");
    let all = segments::list().expect("a registry");
    let it = all.into_iter().find(|s| s.name == name).expect("it is there");
    assert_eq!(it.state, SegmentState::Live, "its maker has another pid here, if any");
}

#[test]
fn a_full_dev_shm_is_an_error_of_the_call_and_no_sigbus() {
    let test = "a_full_dev_shm_is_an_error_of_the_call_and_no_sigbus";
    let script = "mount -t tmpfs -o size=64k tmpfs /dev/shm && exec \"$0\" \"$@\"";
    let Some(command) = behind(test, "unshare", &["-m", "sh", "-c", script]) else { return };
    must_play(command, "small_shm");
}

fn small_shm() {
    // SAFETY: nobody else knows the name.
    let made = unsafe { SharedArray::<u64, Ix1>::create_named("too-large", 1 << 20) };
    let error = made.expect_err("64 KiB are not 8 MiB");
    assert!(matches!(error, CreateError::NoSpace { .. }), "{error:?}");
    assert_eq!(names("too-large"), [""; 0]);
    // What needs no name needs no /dev/shm either.
    let mut x = SharedArray::<u64, _>::zeros(1 << 20).expect("memory");
    let pool = pool(2);
    pool.for_each(x.chunks_mut(1 << 14), |mut c, _| c.iter_mut().for_each(|v| *v += 1))
        .expect("it works");
    assert!(x.as_slice().iter().all(|&v| v == 1));
}

#[test]
fn too_few_descriptors_are_an_error_of_build_and_leave_no_process() {
    must_play(victim("few_descriptors"), "few_descriptors");
}

fn few_descriptors() {
    let (mut failed, mut built) = (0, 0);
    for most in 6..64 {
        limit(libc::RLIMIT_NOFILE, most);
        let end = Pool::builder().workers(3).oversubscribe(true).build();
        limit(libc::RLIMIT_NOFILE, 1024);
        match end {
            Ok(pool) => {
                assert_eq!(sum_of_squares(&pool).expect("it works"), 328_350);
                built += 1;
            }
            Err(error) => {
                assert!(!error.to_string().is_empty());
                failed += 1;
            }
        }
        let me = std::process::id();
        assert!(wait_until(5, || faults::children(me).is_empty()), "limit {most}");
    }
    println!("{failed} limits were too low, {built} sufficed");
    assert!(failed > 5 && built > 5);
}

#[test]
fn a_worker_that_cannot_be_started_again_breaks_the_pool_with_a_reason() {
    must_play(victim("starved_restart"), "starved_restart");
}

fn starved_restart() {
    let pool = pool(2);
    assert_eq!(sum_of_squares(&pool).expect("it works"), 328_350);
    limit(libc::RLIMIT_NOFILE, 128);
    // SAFETY: makes descriptors until there are no more.
    while unsafe { libc::dup(0) } >= 0 {}
    assert!(kill_worker_without_descriptors(pool.whereabouts()[0].pid));
    let broken = wait_until(30, || {
        let end = pool.call((), |(), _| 0u8);
        matches!(end, Err(Error::Job(JobError::Broken { worker: 0, .. })))
    });
    assert!(broken, "five starts fail, then the pool says so");
}

/// `kill_worker` needs a descriptor.
fn kill_worker_without_descriptors(pid: u32) -> bool {
    // SAFETY: a worker of ours, which is alive.
    unsafe { libc::kill(pid as i32, libc::SIGKILL) == 0 }
}

#[test]
fn too_few_processes_are_an_error_of_build() {
    let test = "too_few_processes_are_an_error_of_build";
    if !rustix::process::geteuid().is_root() {
        skip(test, "it needs root to become a user without processes of its own");
        return;
    }
    must_play(victim("few_processes"), "few_processes");
}

fn few_processes() {
    // A user that runs nothing else here; for root the limit does not hold.
    // SAFETY: changes this process's user.
    assert_eq!(unsafe { libc::setuid(61_234) }, 0);
    // SAFETY: /proc/self is ours again.
    unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 1, 0, 0, 0) };
    limit(libc::RLIMIT_NPROC, 4);
    let end = Pool::builder().workers(8).oversubscribe(true).build();
    let error = end.expect_err("eight workers are more than four processes");
    println!("{error}");
    assert!(wait_until(5, || faults::children(std::process::id()).is_empty()));
}

#[test]
fn an_array_beyond_the_memory_limit_is_an_error_and_no_kill() {
    must_play(victim("little_memory"), "little_memory");
}

fn little_memory() {
    // Of the machine: more than there is, less than an address space.
    let error = SharedArray::<u64, Ix1>::zeros(1usize << 42).expect_err("32 TiB");
    assert!(matches!(error, CreateError::NoMemory { .. }), "{error:?}");
    // Of a control group.
    let group = std::path::Path::new("/sys/fs/cgroup/memory/pinpool-test");
    let two = std::path::Path::new("/sys/fs/cgroup/pinpool-test");
    let (group, file) = match std::fs::create_dir(group) {
        Ok(()) => (group, "memory.limit_in_bytes"),
        Err(_) if std::fs::create_dir(two).is_ok() => (two, "memory.max"),
        Err(error) => return skip("little_memory, the control group's part", &error.to_string()),
    };
    let inside = std::fs::write(group.join(file), "67108864")
        .and_then(|()| std::fs::write(group.join("cgroup.procs"), std::process::id().to_string()));
    if let Err(error) = inside {
        let _ = std::fs::remove_dir(group);
        return skip("little_memory, the control group's part", &error.to_string());
    }
    let end = SharedArray::<u64, Ix1>::zeros(1 << 24);
    let top = group.parent().expect("not the root").join("cgroup.procs");
    let _ = std::fs::write(top, std::process::id().to_string());
    let _ = std::fs::remove_dir(group);
    let error = end.expect_err("128 MiB in a group of 64");
    assert!(matches!(error, CreateError::NoMemory { .. }), "{error:?}");
}

#[test]
fn a_worker_killed_for_lack_of_memory_is_told_from_one_killed_by_hand() {
    must_play(victim("out_of_memory"), "out_of_memory");
}

fn out_of_memory() {
    let parent = std::fs::read_to_string("/proc/self/cgroup").expect("/proc");
    let old = parent.lines().find_map(|l| l.split_once(":memory:")).map(|(_, p)| p.to_owned());
    let name = format!("pinpool-test-oom-{}", std::process::id());
    let two = std::path::Path::new("/sys/fs/cgroup").join(&name);
    let one = std::path::Path::new("/sys/fs/cgroup/memory").join(&name);
    let (group, file, back) = match std::fs::create_dir(&one) {
        Ok(()) => (
            one,
            "memory.limit_in_bytes",
            format!("/sys/fs/cgroup/memory{}", old.unwrap_or_default()),
        ),
        Err(_) if std::fs::create_dir(&two).is_ok() => (two, "memory.max", "/sys/fs/cgroup".into()),
        Err(error) => return skip("out_of_memory", &error.to_string()),
    };
    let me = std::process::id().to_string();
    let inside = std::fs::write(group.join(file), "100663296")
        .and_then(|()| std::fs::write(group.join("cgroup.procs"), &me));
    if let Err(error) = inside {
        let _ = std::fs::remove_dir(&group);
        return skip("out_of_memory", &error.to_string());
    }
    let pool = pool(1);
    let death = |hungry: u64| {
        let end = pool.job().on_death(pinpool::OnDeath::Fail).call(Param(hungry), |hungry, _| {
            if hungry == 0 {
                // SAFETY: kills this worker.
                unsafe { libc::raise(libc::SIGKILL) };
            }
            let mut all = vec![0u8; hungry as usize];
            all.iter_mut().step_by(4096).for_each(|page| *page = 1);
            u64::from(std::hint::black_box(&all)[4096])
        });
        end.map(|_| ()).expect_err("it dies").to_string()
    };
    let (by_kernel, by_hand) = (death(1 << 28), death(0));
    drop(pool);
    let _ = std::fs::write(std::path::Path::new(&back).join("cgroup.procs"), &me);
    let _ = std::fs::remove_dir(&group);
    assert!(by_kernel.contains("the kernel killed it for lack of memory"), "{by_kernel}");
    assert!(by_hand.contains("not by the kernel for lack of memory"), "{by_hand}");
}

#[test]
fn a_limit_on_file_sizes_is_an_error_and_no_signal() {
    must_play(victim("small_files"), "small_files");
}

fn small_files() {
    let both = libc::rlimit { rlim_cur: 1 << 20, rlim_max: 1 << 20 };
    // SAFETY: reads a live value.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_FSIZE, &both) }, 0);
    let error = SharedArray::<u64, Ix1>::zeros(1 << 20).expect_err("8 MiB");
    assert!(matches!(error, CreateError::NoSpace { .. }), "{error:?}");
}

#[test]
fn the_thread_that_built_the_pool_may_end() {
    let _watchdog = watchdog("the starting thread ends", 60);
    let pool = std::thread::spawn(|| pool(2)).join().expect("no panic");
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(pool.deaths(), 0, "nobody died with it");
    assert!(kill_worker(pool.whereabouts()[0].pid));
    assert_eq!(sum_of_squares(&pool).expect("it works"), 328_350);
    assert!(wait_until(10, || pool.deaths() == 1));
}

#[test]
fn a_kernel_that_forks_keeps_no_death_from_being_seen() {
    let _watchdog = watchdog("a kernel forks", 60);
    let pool = pool(1);
    let mut x = SharedArray::<u64, _>::zeros(40).expect("memory");
    pool.for_each(x.chunks_mut(4), |mut c: ChunkMut<'_, u64, Ix1>, ctx: &mut Ctx| {
        c.iter_mut().for_each(|v| *v += 1);
        if ctx.chunk() == 5 && ctx.incarnation() == 0 {
            // SAFETY: the child only sleeps and ends.
            if unsafe { libc::fork() } == 0 {
                std::thread::sleep(Duration::from_secs(5));
                // SAFETY: ends the child.
                unsafe { libc::_exit(0) };
            }
            // SAFETY: kills this worker, whose child lives on.
            unsafe { libc::raise(libc::SIGKILL) };
        }
    })
    .expect("it survives");
    assert!(x.as_slice().iter().all(|&v| v == 1));
    assert_eq!(pool.deaths(), 1);
}

#[test]
fn a_fork_of_the_host_has_no_pool_and_breaks_none() {
    must_play(victim("forks"), "forks");
}

fn forks() {
    let pool = pool(2);
    // The child must not touch the memory of these results either, which it has no mapping of.
    assert_eq!(sum_of_squares(&pool).expect("it works"), 328_350);
    // SAFETY: the child asks the pool, which answers without touching it, and ends.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let answer = pool.call((), |(), _| 1u8);
        let right = matches!(answer, Err(Error::Job(JobError::Forked)))
            && matches!(sum_of_squares(&pool), Err(Error::Job(JobError::Forked)));
        drop(pool);
        // SAFETY: ends the child.
        unsafe { libc::_exit(i32::from(!right)) };
    }
    let mut status = 0;
    // SAFETY: our child, and a place for its status.
    assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
    assert!(status == 0, "status {status:#x}: the child is told that it has no pool");
    a_fork_has_no_job_under_way(&pool);
    assert!(kill_worker(pool.whereabouts()[0].pid));
    assert_eq!(sum_of_squares(&pool).expect("it works"), 328_350);
    assert!(wait_until(10, || pool.deaths() == 1), "deaths are still seen");
}

fn a_fork_has_no_job_under_way(pool: &Pool) {
    let slow = |i: u64, _: &mut Ctx| {
        std::thread::sleep(Duration::from_millis(10));
        i
    };
    pool.scope(|s| {
        let start = || s.map(indices(40), slow).expect("it starts");
        let (asked, streamed, ordered) = (start(), start(), start());
        let mut begun = start().as_completed();
        begun.next().expect("one").expect("it works");
        // SAFETY: the child asks for jobs, which answers without touching them, and ends.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let forked = |error| matches!(error, Error::Job(JobError::Forked));
            asked.wait();
            asked.cancel();
            let right = asked.is_finished()
                && matches!(asked.wait_timeout(Duration::MAX), Err(JobError::Forked))
                && asked.progress().done == 0
                && asked.get().is_err_and(forked)
                && streamed.as_completed().next().is_some_and(|item| item.is_err_and(forked))
                && ordered.in_order().next().is_some_and(|item| item.is_err_and(forked))
                && begun.next().is_some_and(|item| item.is_err_and(forked))
                && begun.next().is_none()
                && pool.whereabouts().is_empty()
                && pool.progress().chunks == 0
                && pool.timeline().is_none();
            drop(begun);
            // SAFETY: ends the child.
            unsafe { libc::_exit(i32::from(!right)) };
        }
        let mut status = 0;
        // SAFETY: our child, and a place for its status.
        assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
        assert!(status == 0, "status {status:#x}: the child is told that it has no job");
        for job in [asked, streamed, ordered] {
            assert_eq!(job.get().expect("it works").total(), 780);
        }
        assert_eq!(begun.count(), 39);
    });
}

#[test]
fn workers_see_the_parents_death_although_a_fork_of_it_lives() {
    let _alone = alone();
    let _watchdog = watchdog("a fork outlives the parent", 60);
    // SAFETY: sets an attribute of this process.
    assert_eq!(unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) }, 0);
    let output = victim("forks_and_dies").stderr(std::process::Stdio::null()).output();
    let text = String::from_utf8_lossy(&output.expect("a victim").stdout).into_owned();
    let pids: Vec<u32> = text
        .lines()
        .find_map(|l| l.split_once("workers "))
        .expect("it said so")
        .1
        .split(' ')
        .map(|pid| pid.parse().expect("a pid"))
        .collect();
    assert_eq!(pids.len(), 2);
    let gone = |pid: &u32| faults::stat(*pid).is_none_or(|s| s[0] == "Z");
    assert!(wait_until(4, || pids.iter().all(gone)), "the fork lives for 5 s more");
}

fn forks_and_dies() {
    let pool = pool(2);
    let pids: Vec<_> = pool.whereabouts().iter().map(|w| w.pid.to_string()).collect();
    // SAFETY: the child sleeps with everything that it inherited, and ends.
    if unsafe { libc::fork() } == 0 {
        // Not the pipe that the test reads to its end.
        // SAFETY: closes descriptors that this child uses no more.
        unsafe { libc::close(1) };
        std::thread::sleep(Duration::from_secs(5));
        // SAFETY: ends the child.
        unsafe { libc::_exit(0) };
    }
    println!("workers {}", pids.join(" "));
    // SAFETY: kills this process.
    unsafe { libc::raise(libc::SIGKILL) };
}

#[test]
fn an_executable_replaced_while_it_runs_is_still_the_one_that_restarts() {
    let folder = tempfile::tempdir().expect("a folder");
    let copy = folder.path().join("program");
    std::fs::copy(std::env::current_exe().expect("a program"), &copy).expect("a copy");
    let mut command = Command::new(&copy);
    command.args(["--exact", "the_victim", "--nocapture", "--test-threads=1"]);
    must_play(command, "replaced");
}

fn replaced() {
    let own = std::env::current_exe().expect("a program");
    let pool = pool(2);
    std::fs::remove_file(&own).expect("ours");
    assert!(kill_worker(pool.whereabouts()[0].pid));
    assert!(wait_until(10, || pool.deaths() == 1));
    assert_eq!(sum_of_squares(&pool).expect("it works without the file"), 328_350);
    std::fs::write(&own, "#!/bin/sh\nexit 1\n").expect("ours");
    assert!(kill_worker(pool.whereabouts()[1].pid));
    assert!(wait_until(10, || pool.deaths() == 2));
    let both = |pool: &Pool| {
        let mut x = SharedArray::<u64, _>::zeros(2_000).expect("memory");
        pool.for_each((x.chunks_mut(1), Param(1u64)), |(mut c, p), _| {
            c[0] += p;
            std::thread::sleep(Duration::from_micros(50));
        })
        .expect("it works");
        x.as_slice().iter().all(|&v| v == 1)
    };
    assert!(both(&pool));
}

#[test]
fn one_digest_for_every_backend_worker_count_isa_and_death() {
    let _watchdog = watchdog("the matrix", 120);
    let digest = |backend: Backend, workers: usize, deaths: bool| {
        let pool = Pool::builder()
            .backend(backend)
            .workers(workers)
            .oversubscribe(true)
            .seed(11)
            .build()
            .expect("a pool");
        let mut x = SharedArray::<f64, _>::zeros(40_000).expect("memory");
        pool.stream(0)
            .for_each(
                (x.chunks_out(777), Param(u64::from(deaths))),
                |(mut c, d): (ChunkMut<'_, f64, Ix1>, u64), ctx: &mut Ctx| {
                    ctx.rng().fill_uniform(&mut c);
                    if d == 1 && ctx.chunk() % 9 == 2 && ctx.incarnation() == 0 {
                        // SAFETY: kills this worker.
                        unsafe { libc::raise(libc::SIGKILL) };
                    }
                },
            )
            .expect("it survives");
        pool.stream(1)
            .for_each(
                (x.chunks_mut(777), Param(u64::from(deaths))),
                |(mut c, d): (ChunkMut<'_, f64, Ix1>, u64), ctx: &mut Ctx| {
                    for v in c.iter_mut() {
                        *v = v.mul_add(3.0, ctx.rng().next_f64()).sqrt();
                    }
                    if d == 1 && ctx.chunk() % 7 == 3 && ctx.incarnation() < 2 {
                        // SAFETY: kills this worker.
                        unsafe { libc::raise(libc::SIGKILL) };
                    }
                },
            )
            .expect("it survives");
        let sums = pool.map(x.chunks(1_000), |c, _| c.iter().sum::<f64>()).expect("it works");
        let mut hash = sums.total().to_bits();
        for v in x.as_slice() {
            hash = (hash ^ v.to_bits()).wrapping_mul(0x0100_0000_01b3).rotate_left(17);
        }
        hash
    };
    let expected = digest(Backend::Serial, 1, false);
    for isa in pinpool::kernels::isa::Isa::available() {
        pinpool::kernels::isa::force(isa).expect("available");
        for workers in [1, 2, 3, 7, 16] {
            assert_eq!(digest(Backend::Processes, workers, false), expected, "{isa:?} {workers}");
            assert_eq!(digest(Backend::Processes, workers, true), expected, "{isa:?} {workers}");
            assert_eq!(digest(Backend::Threads, workers, false), expected, "{isa:?} {workers}");
        }
    }
}
