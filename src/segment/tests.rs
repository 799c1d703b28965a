//! What a segment promises to the pool: identity, seals, watchers, and nothing for a forked child.

use std::sync::atomic::{AtomicU64, Ordering};

use super::*;

/// The line of /proc/self/smaps with the flags of the mapping that starts at `base`.
fn mapping_flags(base: *mut u8) -> String {
    let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
    let start = format!("{:x}-", base as usize);
    let mut lines = maps.lines().skip_while(|line| !line.starts_with(&start));
    lines.find(|line| line.starts_with("VmFlags:")).unwrap().to_owned()
}

#[test]
fn a_nameless_segment_is_sealed_reserved_and_not_for_forked_children() {
    let segment = Segment::nameless("test", 100_000).unwrap();
    assert_eq!((segment.len(), segment.writable(), segment.is_sealed()), (100_000, true, true));
    assert!(mem::set_len(segment.fd(), 1).is_err() && mem::set_len(segment.fd(), 1 << 20).is_err());
    assert_eq!(mem::hole_bytes(&mem::stat(segment.fd()).unwrap()), 0);
    let flags = mapping_flags(segment.base());
    assert!(flags.split(' ').any(|flag| flag == "dc"), "{flags}");
    assert_eq!(segment.named_for_cleanup(), None);
}

#[test]
fn a_segment_of_no_bytes_is_one() {
    let segment = Segment::nameless("empty", 0).unwrap();
    assert_eq!(segment.len(), 0);
    let fd = segment.fd().try_clone_to_owned().unwrap();
    assert_eq!(Segment::from_descriptor(fd, 0, true).unwrap().len(), 0);
}

#[test]
fn a_received_descriptor_maps_the_same_bytes_under_another_id() {
    let segment = Segment::nameless("test", 8).unwrap();
    segment.write_at(b"12345678", 0).unwrap();
    let fd = || segment.fd().try_clone_to_owned().unwrap();
    let again = Segment::from_descriptor(fd(), 8, false).unwrap();
    let mut bytes = [0; 9];
    assert_eq!(again.read_at(&mut bytes, 0).unwrap(), 8);
    assert_eq!(&bytes[..8], b"12345678");
    assert_ne!(again.id(), segment.id());
    let wrong = Segment::from_descriptor(fd(), 9, true);
    assert!(matches!(wrong, Err(AttachError::Length { expected: 9, found: 8, .. })));
    let null = std::fs::File::open("/dev/null").unwrap();
    let wrong = Segment::from_descriptor(null.into(), 8, false);
    assert!(matches!(wrong, Err(AttachError::NotRegular { .. })));
}

#[test]
fn watchers_are_told_once_and_dead_ones_never() {
    struct Watcher(AtomicU64);
    impl SegmentWatcher for Watcher {
        fn segment_gone(&self, id: u64) {
            self.0.fetch_add(id, Ordering::Relaxed);
        }
    }
    let segment = Segment::nameless("test", 1).unwrap();
    let id = segment.id();
    let watcher = Arc::new(Watcher(AtomicU64::new(0)));
    let as_dyn = |watcher: &Arc<Watcher>| -> Weak<dyn SegmentWatcher> {
        let weak: Weak<Watcher> = Arc::downgrade(watcher);
        weak
    };
    segment.watch(as_dyn(&watcher));
    segment.watch(as_dyn(&Arc::new(Watcher(AtomicU64::new(0)))));
    assert_eq!(watcher.0.load(Ordering::Relaxed), 0);
    drop(segment);
    assert_eq!(watcher.0.load(Ordering::Relaxed), id);
}

#[test]
fn a_worker_that_outlives_the_parent_removes_the_name_but_not_anothers() {
    let name = format!("pinpool-test-cleanup-{}", std::process::id());
    let path = std::path::Path::new("/dev/shm").join(&name);
    let segment = Segment::named(&name, 10, Reserve::Now).unwrap();
    assert_eq!(segment.named_for_cleanup(), Some(name.as_str()));
    let other = Segment::nameless("other", 10).unwrap();
    remove_named(&name, other.fd());
    assert!(path.exists(), "the descriptor is not this segment's");
    remove_named(&name, segment.fd());
    assert!(!path.exists());
    remove_named(&name, segment.fd());
}
