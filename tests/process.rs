//! One process, one function, one value; and how it ends when it does not end well.

mod watchdog;

use std::time::Duration;

use pinpool::{Death, Error, JobError, Param, Process, Queue, exit_status};
use watchdog::watched;

fn for_ever() -> ! {
    loop {
        std::thread::sleep(Duration::from_secs(1));
    }
}

#[test]
fn a_process_gives_its_value_and_is_another_process() {
    watched(|| {
        let process = Process::spawn(Param(6u32), |n, _| [n * 7, std::process::id()]).unwrap();
        let pid = process.pid();
        let joined = process.join();
        assert_eq!(exit_status(&joined), 0);
        assert_eq!(joined.unwrap(), [42, pid]);
        assert_ne!(pid, std::process::id());
        assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists(), "it is gone");
    });
}

#[test]
fn several_processes_talk_over_queues() {
    watched(|| {
        let (to, from) = (Queue::<u64>::new(4).unwrap(), Queue::<u64>::new(4).unwrap());
        let work = || {
            Process::spawn((to.clone(), from.clone()), |(to, from), _| {
                to.drain().map(|n| from.put(n + 1)).filter(Result::is_ok).count() as u64
            })
        };
        let (a, b) = (work().unwrap(), work().unwrap());
        let sum: u64 = (0..100u64)
            .map(|n| {
                to.put(n).unwrap();
                from.get().unwrap()
            })
            .sum();
        to.close();
        assert_eq!(sum, 5050);
        assert_eq!(a.join().unwrap() + b.join().unwrap(), 100);
    });
}

#[test]
fn the_exit_status_the_signal_and_the_panic_are_told() {
    watched(|| {
        let exit = Process::spawn((), |(), _| -> u8 { std::process::exit(3) }).unwrap().join();
        assert_eq!(exit_status(&exit), 3);
        let abort = Process::spawn((), |(), _| -> u8 { std::process::abort() }).unwrap().join();
        assert_eq!(exit_status(&abort), 128 + 6);
        let Err(Error::Job(JobError::Died { death, deaths, .. })) = &abort else {
            panic!("{abort:?}")
        };
        assert_eq!((*death, *deaths), (Death::Signal(6), 1), "it is not tried again");
        let panic = Process::spawn((), |(), _| -> u8 { panic!("by design") }).unwrap().join();
        assert_eq!(exit_status(&panic), 101);
        assert!(panic.unwrap_err().to_string().contains("by design"));
    });
}

#[test]
fn a_process_that_never_returns_is_terminated_or_dropped() {
    watched(|| {
        let process = Process::spawn((), |(), _| -> u8 { for_ever() }).unwrap();
        let pid = process.pid();
        let late = process.wait_timeout(Duration::from_millis(20)).unwrap_err();
        assert!(matches!(late, JobError::TimedOut { .. }) && process.is_alive());
        process.terminate();
        assert!(!process.is_alive());
        let joined = process.join();
        assert_eq!(exit_status(&joined), 137);
        assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
        let dropped = Process::spawn((), |(), _| -> u8 { for_ever() }).unwrap();
        let pid = dropped.pid();
        drop(dropped);
        assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
    });
}

#[test]
fn a_process_runs_where_it_is_told_to() {
    watched(|| {
        let affinity = |(), _: &mut pinpool::Ctx| {
            let set = rustix::thread::sched_getaffinity(None).unwrap();
            (0..256u64).filter(|&cpu| set.is_set(cpu as usize)).sum::<u64>()
        };
        let own = rustix::thread::sched_getaffinity(None).unwrap();
        let pu = (0..256).rfind(|&cpu| own.is_set(cpu)).unwrap();
        let bound = Process::<()>::builder().on_pu(pu).spawn((), affinity).unwrap();
        assert_eq!(bound.join().unwrap(), pu as u64);
    });
}
