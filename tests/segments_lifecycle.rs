//! Who removes a named segment, and when: makers that die, collectors, squatters, a full /dev/shm.
//!
//! Each test runs in a mount namespace of its own with a /dev/shm of 1 MiB, by starting this very
//! test again under `unshare`; where that is not allowed it says SKIPPED.
#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ndarray::Ix1;
use pinpool::segments::{self, SegmentState};
use pinpool::{AttachError, CreateError, SharedArray};

const PRIVATE: &str = "PINPOOL_TEST_PRIVATE_SHM";
const ROLE: &str = "PINPOOL_TEST_ROLE";
const MOUNT: &str = "mount -t tmpfs -o size=1M,mode=1777 tmpfs /dev/shm";

/// Runs `body` where /dev/shm is this test's alone, in a process of its own.
fn with_private_shm(test: &str, body: impl FnOnce()) {
    if std::env::var_os(PRIVATE).is_some() {
        return body();
    }
    let unshare = |flags: &str, script: &str| {
        let mut command = Command::new("unshare");
        command.args([flags, "sh", "-c", script]);
        command
    };
    let allowed = |flags: &str| {
        let probe = unshare(flags, MOUNT).stderr(Stdio::null()).stdout(Stdio::null()).status();
        probe.is_ok_and(|status| status.success())
    };
    let Some(flags) = ["-m", "-rm"].into_iter().find(|flags| allowed(flags)) else {
        eprintln!("SKIPPED {test}: no mount namespace can be made here");
        return;
    };
    let status = unshare(flags, &format!("{MOUNT} && exec \"$0\" \"$@\""))
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(PRIVATE, "1")
        .status()
        .unwrap();
    assert!(status.success(), "{test} failed in its private /dev/shm");
}

/// Starts this program again as a process that plays `role` until it is killed.
fn actor(role: &str) -> Child {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "an_actor", "--nocapture"])
        .env(ROLE, role)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(
        lines.map_while(Result::ok).any(|line| line.ends_with("ready")),
        "{role} never came up"
    );
    child
}

fn kill(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

/// The other side of [`actor`]; without a role it is no test at all.
#[test]
fn an_actor() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let wait = || {
        println!("\nready");
        std::io::stdin().lines().for_each(drop);
    };
    match role.split_once(' ').unwrap() {
        ("make", name) => {
            let _made = create(name, 100).unwrap();
            wait();
        }
        ("make-and-keep", name) => {
            create(name, 100).unwrap().set_persist(true).unwrap();
            wait();
        }
        ("storm", name) => {
            println!("\nready");
            for i in 0.. {
                drop(create(&format!("{name}-{}", i % 3), 100));
            }
        }
        (other, _) => panic!("no role {other}"),
    }
}

fn create(name: &str, len: usize) -> Result<SharedArray<u8, Ix1>, CreateError> {
    // SAFETY: nobody else is in this /dev/shm.
    unsafe { SharedArray::create_named(name, len) }
}

fn open(name: &str) -> Result<SharedArray<u8, Ix1>, AttachError> {
    // SAFETY: nobody else is in this /dev/shm.
    unsafe { SharedArray::open_named(name) }
}

fn shm(name: &str) -> PathBuf {
    Path::new("/dev/shm").join(name)
}

fn shm_names() -> Vec<String> {
    let entries = fs::read_dir("/dev/shm").unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn registry() -> PathBuf {
    shm(&format!("pinpool-{}", rustix::process::geteuid().as_raw()))
}

/// Puts a record into the registry by hand.
fn write_record(name: &str, text: &str) {
    fs::create_dir_all(registry()).unwrap();
    fs::set_permissions(registry(), fs::Permissions::from_mode(0o700)).unwrap();
    fs::write(registry().join(name), text).unwrap();
}

#[test]
fn a_full_shm_is_an_error_that_says_how_much_is_free() {
    with_private_shm("a_full_shm_is_an_error_that_says_how_much_is_free", || {
        let asked_for = 2 << 20;
        let error = create("big", asked_for).unwrap_err();
        let text = error.to_string();
        assert!(
            matches!(error, CreateError::NoSpace { asked, free, .. }
            if asked == asked_for as u64 + 4096 && free <= 1 << 20),
            "{text}"
        );
        assert!(text.contains("/dev/shm") && text.contains("file-backed"), "{text}");
        assert_eq!(shm_names(), [""; 0]);

        let mut fits = create("fits", 700 << 10).unwrap();
        fits.as_mut_slice().fill(1);
        assert!(matches!(create("second", 700 << 10), Err(CreateError::NoSpace { .. })));
        // SAFETY: nobody else is in this /dev/shm.
        let file = unsafe { SharedArray::<u8, _>::create_file("/dev/shm/f.npy", 700 << 10) };
        assert!(matches!(file, Err(CreateError::NoSpace { .. })), "{file:?}");
        assert!(fits.save("/dev/shm/copy.npy").is_err());
        let nameless = SharedArray::<u8, _>::zeros(4 << 20).unwrap();
        assert_eq!(nameless.len(), 4 << 20, "what has no name is not limited by /dev/shm");
        drop(fits);
        assert_eq!(shm_names(), [""; 0]);
    });
}

#[test]
fn a_sparse_segment_in_a_full_shm_is_refused() {
    with_private_shm("a_sparse_segment_in_a_full_shm_is_refused", || {
        let a = create("a", 400 << 10).unwrap();
        a.save("/dev/shm/sparse").unwrap();
        drop(a);
        fs::set_permissions(shm("sparse"), fs::Permissions::from_mode(0o600)).unwrap();
        let file = fs::File::options().write(true).open(shm("sparse")).unwrap();
        let whole = file.metadata().unwrap().len();
        file.set_len(4096).unwrap();
        file.set_len(whole).unwrap();
        fs::write(shm("ballast"), vec![1; 900 << 10]).unwrap();
        // A load from a hole takes room on a tmpfs, as a store does.
        // SAFETY: nobody else is in this /dev/shm.
        let read_only = || unsafe { SharedArray::<u8, Ix1>::open_named_read_only("sparse") };
        for found in [open("sparse"), read_only()] {
            assert!(matches!(found, Err(AttachError::NoSpace { .. })), "{found:?}");
        }
        fs::remove_file(shm("ballast")).unwrap();
        assert!(read_only().unwrap().as_slice().iter().all(|&b| b == 0));
        open("sparse").unwrap().as_mut_slice().fill(1);
    });
}

#[test]
fn the_segment_of_a_killed_maker_is_collected_and_a_live_one_never() {
    with_private_shm("the_segment_of_a_killed_maker_is_collected_and_a_live_one_never", || {
        let (dead, live) = (actor("make dead"), actor("make live"));
        let report = segments::gc().unwrap();
        assert_eq!((report.removed.len(), report.live), (0, 2));
        kill(dead);
        let states: Vec<_> =
            segments::list().unwrap().into_iter().map(|s| (s.name, s.bytes, s.state)).collect();
        assert_eq!(
            states,
            [
                ("dead".to_owned(), 4196, SegmentState::Dead),
                ("live".to_owned(), 4196, SegmentState::Live)
            ]
        );
        let report = segments::gc().unwrap();
        assert_eq!((&report.removed[..], report.removed_bytes), (&["dead".to_owned()][..], 4196));
        assert!(!shm("dead").exists() && shm("live").exists());
        kill(live);
        segments::gc().unwrap();
        assert_eq!(shm_names(), [""; 0], "the registry goes with its last record");
    });
}

#[test]
fn who_is_attached_keeps_a_dead_makers_segment_alive() {
    with_private_shm("who_is_attached_keeps_a_dead_makers_segment_alive", || {
        let maker = actor("make shared");
        let attached = open("shared").unwrap();
        kill(maker);
        assert_eq!(segments::gc().unwrap().live, 1);
        assert!(shm("shared").exists());
        drop(attached);
        assert_eq!(segments::gc().unwrap().removed, ["shared"]);
    });
}

#[test]
fn a_persistent_segment_survives_its_makers_death_and_the_collector() {
    with_private_shm("a_persistent_segment_survives_its_makers_death_and_the_collector", || {
        kill(actor("make-and-keep kept"));
        let report = segments::gc().unwrap();
        assert_eq!((report.persistent, report.removed.len()), (1, 0));
        assert_eq!(open("kept").unwrap().len(), 100);
    });
}

#[test]
fn a_maker_killed_half_way_leaves_nothing_and_takes_nothing_along() {
    with_private_shm("a_maker_killed_half_way_leaves_nothing_and_takes_nothing_along", || {
        let intent = |name: &str| format!("pinpool-segment 1\nname {name}\npid 1\npersist 0\n");
        for (name, content) in [("half", &[0u8; 64][..]), ("empty", b""), ("users", b"my data")] {
            write_record(name, &intent(name));
            fs::write(shm(name), content).unwrap();
            fs::set_permissions(shm(name), fs::Permissions::from_mode(0o600)).unwrap();
        }
        write_record("never-made", &intent("never-made"));
        segments::gc().unwrap();
        assert_eq!(shm_names(), ["users"]);
    });
}

#[test]
fn a_record_removes_only_the_very_object_that_it_names() {
    with_private_shm("a_record_removes_only_the_very_object_that_it_names", || {
        kill(actor("make replaced"));
        let record = fs::read_to_string(registry().join("replaced")).unwrap();
        fs::remove_file(shm("replaced")).unwrap();
        fs::write(shm("replaced"), "something else").unwrap();
        write_record("victim", &record);
        write_record("noise", "\0\u{1}not a record");
        write_record("..hidden", "");
        fs::write(shm("victim"), "untouched").unwrap();
        symlink(shm("victim"), shm("link")).unwrap();
        write_record("link", &record.replace("replaced", "link"));
        segments::gc().unwrap();
        assert_eq!(shm_names(), ["link", "replaced", "victim"]);
        assert_eq!(fs::read(shm("victim")).unwrap(), b"untouched");
    });
}

#[test]
fn squatting_on_the_registry_changes_nothing() {
    with_private_shm("squatting_on_the_registry_changes_nothing", || {
        let other = shm("other");
        fs::create_dir(&other).unwrap();
        symlink(&other, registry()).unwrap();
        let maker = actor("make a");
        assert_eq!(fs::read_dir(&other).unwrap().count(), 0, "no link is followed");
        assert_eq!(segments::list().unwrap().len(), 1);
        kill(maker);
        assert_eq!(segments::gc().unwrap().removed, ["a"]);
        fs::remove_file(registry()).unwrap();

        fs::write(registry(), "a file").unwrap();
        drop(create("b", 1).unwrap());
        fs::remove_file(registry()).unwrap();

        fs::create_dir(registry()).unwrap();
        fs::set_permissions(registry(), fs::Permissions::from_mode(0o777)).unwrap();
        drop(create("c", 1).unwrap());
        assert_eq!(fs::read_dir(registry()).unwrap().count(), 0, "others could write there");
        assert_eq!(shm_names().len(), 2);
    });
}

#[test]
fn makers_and_collectors_at_once_never_lose_a_live_segment() {
    with_private_shm("makers_and_collectors_at_once_never_lose_a_live_segment", || {
        /// Ends the collectors also when a maker panics.
        struct Over<'a>(&'a AtomicBool);
        impl Drop for Over<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while !over.load(Ordering::Relaxed) {
                        assert_eq!(segments::gc().unwrap().removed, [""; 0]);
                    }
                });
            }
            let end = Over(&over);
            let makers: Vec<_> = (0..3)
                .map(|maker| {
                    scope.spawn(move || {
                        let mut taken = 0;
                        for i in 0..300 {
                            // Two names of three are shared by all makers.
                            let name = if i % 3 == 0 {
                                format!("own-{maker}")
                            } else {
                                format!("shared-{}", i % 3)
                            };
                            match create(&name, 10) {
                                Ok(mut a) => {
                                    a.as_mut_slice()[0] = maker;
                                    assert_eq!(open(&name).unwrap().as_slice()[0], maker);
                                }
                                Err(CreateError::NameTaken { .. }) => taken += 1,
                                Err(error) => panic!("{error}"),
                            }
                        }
                        taken
                    })
                })
                .collect();
            let taken: i32 = makers.into_iter().map(|maker| maker.join().unwrap()).sum();
            drop(end);
            println!("{taken} names were taken");
        });
        assert_eq!(shm_names(), [""; 0]);
    });
}

#[test]
fn makers_killed_at_any_time_leave_nothing_after_a_collection() {
    with_private_shm("makers_killed_at_any_time_leave_nothing_after_a_collection", || {
        for round in 0..40 {
            let makers = [actor("storm a"), actor("storm a")];
            std::thread::sleep(Duration::from_micros(137 * round));
            makers.into_iter().for_each(kill);
            let report = segments::gc().unwrap();
            assert_eq!((report.live, &report.failed[..]), (0, &[][..]));
            assert_eq!(shm_names(), [""; 0], "round {round}");
        }
    });
}
