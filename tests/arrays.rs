//! Shared arrays as a user sees them: nameless, named, in a file.

use std::sync::atomic::{AtomicU32, Ordering};

use ndarray::{Array2, Ix0, Ix1, Ix2, IxDyn, array};
use pinpool::{AttachError, Bool, CreateError, NpyError, SharedArray};

/// A name that no other test and no other run takes.
fn name(what: &str) -> String {
    static COUNTER: AtomicU32 = AtomicU32::new(0);
    let number = COUNTER.fetch_add(1, Ordering::Relaxed);
    format!("pinpool-test-{what}-{}-{number}", std::process::id())
}

fn in_shm(name: &str) -> std::path::PathBuf {
    std::path::Path::new("/dev/shm").join(name)
}

#[test]
fn a_nameless_array_is_zero_and_can_be_written() {
    let mut a = SharedArray::<f64, _>::zeros((3, 4)).unwrap();
    assert!(a.as_slice().iter().all(|&x| x.to_bits() == 0));
    assert_eq!((a.rows(), a.row_len(), a.len()), (3, 4, 12));
    a.view_mut()[[2, 3]] = 7.0;
    assert_eq!(a.as_slice()[11], 7.0);
    assert_eq!(a.view().sum(), 7.0);
    assert_eq!(a.name(), None);
}

#[test]
fn a_named_array_is_found_by_name_and_gone_when_dropped() {
    let name = name("found");
    let mut a = unsafe { SharedArray::<u32, Ix2>::create_named(&name, (2, 3)) }.unwrap();
    a.as_mut_slice().copy_from_slice(&[1, 2, 3, 4, 5, 6]);
    let mut b = unsafe { SharedArray::<u32, Ix2>::open_named(&name) }.unwrap();
    assert_eq!(b.view(), array![[1, 2, 3], [4, 5, 6]]);
    b.view_mut()[[0, 0]] = 9;
    assert_eq!(a.as_slice()[0], 9);
    drop(b);
    assert!(in_shm(&name).exists());
    drop(a);
    assert!(!in_shm(&name).exists());
}

#[test]
fn a_file_array_is_opened_again_with_what_was_written() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.npy");
    let mut a = unsafe { SharedArray::<i16, Ix1>::create_file(&path, 5) }.unwrap();
    a.as_mut_slice()[4] = -3;
    drop(a);
    let b = unsafe { SharedArray::<i16, IxDyn>::open_file(&path) }.unwrap();
    assert_eq!((b.shape(), b.as_slice()), (&[5][..], &[0, 0, 0, 0, -3][..]));
}
