//! Shared arrays as a user sees them: nameless, named, in a file; good input and bad.
#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use ndarray::{Array2, Array3, Dimension, Ix0, Ix1, Ix2, IxDyn, ShapeBuilder, array};
use num_complex::Complex64;
use pinpool::{AttachError, Bool, CreateError, NpyError, Pod, SharedArray, dtype_of};

/// A name that no other test and no other run takes.
fn name(what: &str) -> String {
    static COUNTER: AtomicU32 = AtomicU32::new(0);
    let number = COUNTER.fetch_add(1, Ordering::Relaxed);
    format!("pinpool-test-{what}-{}-{number}", std::process::id())
}

fn in_shm(name: &str) -> PathBuf {
    Path::new("/dev/shm").join(name)
}

fn create<T: Pod>(name: &str, len: usize) -> Result<SharedArray<T, Ix1>, CreateError> {
    // SAFETY: no other program knows the name.
    unsafe { SharedArray::create_named(name, len) }
}

fn open<T: Pod, D: Dimension>(name: &str) -> Result<SharedArray<T, D>, AttachError> {
    // SAFETY: no other program knows the name, and the tests keep no view while they write.
    unsafe { SharedArray::open_named(name) }
}

fn open_file<T: Pod, D: Dimension>(path: &Path) -> Result<SharedArray<T, D>, AttachError> {
    // SAFETY: the file is in a directory of the test's own.
    unsafe { SharedArray::open_file(path) }
}

/// An NPY file as numpy writes it, with the given dictionary and data, its header padded to `align`.
fn write_npy(path: &Path, dictionary: &str, data: &[u8], align: usize) {
    let len = (10 + dictionary.len() + 1).next_multiple_of(align);
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend(((len - 10) as u16).to_le_bytes());
    bytes.extend(dictionary.as_bytes());
    bytes.resize(len - 1, b' ');
    bytes.push(b'\n');
    bytes.extend(data);
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_nameless_array_is_zero_and_can_be_written() {
    let mut a = SharedArray::<f64, _>::zeros((3, 4)).unwrap();
    assert!(a.as_slice().iter().all(|&x| x.to_bits() == 0));
    assert_eq!((a.rows(), a.row_len(), a.len()), (3, 4, 12));
    a.view_mut()[[2, 3]] = 7.0;
    assert_eq!((a.as_slice()[11], a.view().sum()), (7.0, 7.0));
    assert_eq!((a.name(), a.is_empty(), a.persist()), (None, false, false));
}

#[test]
fn arrays_of_any_dimension_have_rows() {
    let scalar = SharedArray::<i32, Ix0>::zeros(()).unwrap();
    assert_eq!((scalar.rows(), scalar.row_len(), scalar.len()), (1, 1, 1));
    let empty = SharedArray::<i32, _>::zeros((0, 5)).unwrap();
    assert_eq!((empty.rows(), empty.row_len(), empty.len()), (0, 5, 0));
    assert!(empty.as_slice().is_empty() && empty.view().is_empty());
    let cube = SharedArray::<i32, IxDyn>::zeros(vec![2, 3, 4]).unwrap();
    assert_eq!((cube.rows(), cube.row_len(), cube.shape()), (2, 12, &[2, 3, 4][..]));
}

#[test]
fn an_array_of_any_layout_is_copied_in_c_order() {
    let mut columns = Array2::zeros((2, 3).f());
    columns.assign(&array![[1u8, 2, 3], [4, 5, 6]]);
    let shared = SharedArray::from_array(&columns.view()).unwrap();
    assert_eq!(shared.as_slice(), [1, 2, 3, 4, 5, 6]);
    assert_eq!(shared.view(), columns);
}

#[test]
fn every_element_type_has_its_numpy_name() {
    let names = [
        dtype_of::<i8>(),
        dtype_of::<u16>(),
        dtype_of::<i32>(),
        dtype_of::<usize>(),
        dtype_of::<f32>(),
        dtype_of::<Complex64>(),
        dtype_of::<Bool>(),
        dtype_of::<[f64; 3]>(),
        dtype_of::<u128>(),
    ];
    let names: Vec<_> = names.iter().map(|dtype| dtype.descr()).collect();
    assert_eq!(names, ["|i1", "<u2", "<i4", "<u8", "<f4", "<c16", "|b1", "|V24", "|V16"]);
}

#[test]
fn any_nonzero_byte_is_a_true_bool() {
    let bools: [Bool; 3] = bytemuck::cast([0u8, 1, 255]);
    assert_eq!(bools.map(Bool::get), [false, true, true]);
    assert_eq!(bools[1], bools[2]);
    assert_eq!(bools[0], false);
    assert!(bool::from(Bool::from(true)));
}

#[test]
fn a_named_array_is_found_by_name_and_gone_when_dropped() {
    let name = name("found");
    // SAFETY: no other program knows the name.
    let mut a = unsafe { SharedArray::<u32, Ix2>::create_named(&name, (2, 3)) }.unwrap();
    assert_eq!(a.name(), Some(name.as_str()));
    a.as_mut_slice().copy_from_slice(&[1, 2, 3, 4, 5, 6]);
    let mut b = open::<u32, Ix2>(&format!("/{name}")).unwrap();
    assert_eq!(b.view(), array![[1, 2, 3], [4, 5, 6]]);
    b.view_mut()[[0, 0]] = 9;
    assert_eq!(a.as_slice()[0], 9);
    drop(b);
    assert!(in_shm(&name).exists(), "only the maker removes a name");
    let meta = fs::metadata(in_shm(&name)).unwrap();
    assert_eq!((meta.mode() & 0o777, meta.len()), (0o600, 4096 + 24));
    drop(a);
    assert!(!in_shm(&name).exists());
    assert!(matches!(open::<u32, Ix2>(&name), Err(AttachError::NotFound { .. })));
}

#[test]
fn a_mapping_outlives_its_name() {
    let name = name("outlives");
    let a = create::<u64>(&name, 3).unwrap();
    let mut b = open::<u64, Ix1>(&name).unwrap();
    drop(a);
    b.as_mut_slice()[2] = 5;
    assert_eq!(b.as_slice(), [0, 0, 5]);
}

#[test]
fn a_name_that_is_taken_is_an_error_and_its_owner_is_left_alone() {
    let name = name("taken");
    let mut a = create::<u8>(&name, 2).unwrap();
    a.as_mut_slice()[0] = 1;
    let error = create::<u8>(&name, 2).unwrap_err();
    assert!(matches!(&error, CreateError::NameTaken { .. }), "{error}");
    assert!(error.to_string().contains("segments gc"), "{error}");
    assert_eq!(open::<u8, Ix1>(&name).unwrap().as_slice(), [1, 0]);

    fs::write(in_shm(&format!("{name}-other")), "mine").unwrap();
    assert!(matches!(
        create::<u8>(&format!("{name}-other"), 2),
        Err(CreateError::NameTaken { .. })
    ));
    assert_eq!(fs::read(in_shm(&format!("{name}-other"))).unwrap(), b"mine");
    fs::remove_file(in_shm(&format!("{name}-other"))).unwrap();
}

#[test]
fn names_that_lead_elsewhere_are_refused() {
    let long = "x".repeat(201);
    for bad in ["", "/", "a/b", "../etc", ".hidden", "//a", "a b", "a\0", "ä", &long] {
        assert!(matches!(create::<u8>(bad, 1), Err(CreateError::Name { .. })), "{bad:?}");
        assert!(matches!(open::<u8, Ix1>(bad), Err(AttachError::Name { .. })), "{bad:?}");
    }
}

#[test]
fn links_fifos_and_open_permissions_are_refused() {
    let name = name("attach");
    let a = create::<u8>(&name, 1).unwrap();
    let other = |what: &str| format!("{name}-{what}");

    symlink(in_shm(&name), in_shm(&other("link"))).unwrap();
    let found = open::<u8, Ix1>(&other("link"));
    assert!(matches!(found, Err(AttachError::NotRegular { .. })), "{found:?}");
    assert!(matches!(create::<u8>(&other("link"), 1), Err(CreateError::NameTaken { .. })));
    fs::remove_file(in_shm(&other("link"))).unwrap();

    fs::create_dir(in_shm(&other("dir"))).unwrap();
    assert!(open::<u8, Ix1>(&other("dir")).is_err());
    fs::remove_dir(in_shm(&other("dir"))).unwrap();

    let fifo = std::ffi::CString::new(in_shm(&other("fifo")).to_str().unwrap()).unwrap();
    // SAFETY: a valid C string.
    assert_eq!(unsafe { libc::mkfifo(fifo.as_ptr(), 0o600) }, 0);
    let found = open::<u8, Ix1>(&other("fifo"));
    assert!(matches!(found, Err(AttachError::NotRegular { .. })), "{found:?}");
    fs::remove_file(in_shm(&other("fifo"))).unwrap();

    fs::hard_link(in_shm(&name), in_shm(&other("hard"))).unwrap();
    let found = open::<u8, Ix1>(&name);
    assert!(matches!(found, Err(AttachError::Links { links: 2, .. })), "{found:?}");
    fs::remove_file(in_shm(&other("hard"))).unwrap();

    fs::set_permissions(in_shm(&name), fs::Permissions::from_mode(0o640)).unwrap();
    let found = open::<u8, Ix1>(&name);
    assert!(matches!(found, Err(AttachError::Mode { mode: 0o640, .. })), "{found:?}");
    drop(a);
    assert!(!in_shm(&name).exists());
}

#[test]
fn another_users_segment_is_refused() {
    let name = name("owner");
    let a = create::<u8>(&name, 1).unwrap();
    if std::os::unix::fs::chown(in_shm(&name), Some(65534), None).is_err() {
        eprintln!("SKIPPED: giving a file to another user needs root");
        return;
    }
    let found = open::<u8, Ix1>(&name);
    assert!(matches!(found, Err(AttachError::Owner { owner: 65534, .. })), "{found:?}");
    drop(a);
}

#[test]
fn a_read_only_array_is_read_and_never_written() {
    let name = name("readonly");
    let mut a = create::<i64>(&name, 2).unwrap();
    a.as_mut_slice()[1] = -1;
    // SAFETY: no other program knows the name.
    let mut b = unsafe { SharedArray::<i64, Ix1>::open_named_read_only(&name) }.unwrap();
    assert_eq!((b.as_slice(), b.is_writable()), (&[0, -1][..], false));
    let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _ = b.view_mut();
    }));
    assert!(panic.is_err());
}

#[test]
fn a_persistent_array_stays_until_it_is_unmarked() {
    let name = name("persist");
    let mut a = create::<u8>(&name, 1).unwrap();
    a.set_persist(true).unwrap();
    assert!(a.persist());
    drop(a);
    assert!(in_shm(&name).exists());
    pinpool::segments::gc().unwrap();
    assert!(in_shm(&name).exists(), "the collector leaves what is to stay");
    let listed = pinpool::segments::list().unwrap();
    let state = listed.iter().find(|segment| segment.name == name).unwrap().state;
    assert_eq!(state, pinpool::segments::SegmentState::Persistent);
    let mut b = open::<u8, Ix1>(&name).unwrap();
    b.set_persist(false).unwrap();
    drop(b);
    pinpool::segments::gc().unwrap();
    assert!(!in_shm(&name).exists());
}

#[test]
fn a_mark_by_who_is_attached_keeps_the_name_when_the_maker_goes() {
    let name = name("mark");
    let a = create::<u8>(&name, 1).unwrap();
    let mut b = open::<u8, Ix1>(&name).unwrap();
    b.set_persist(true).unwrap();
    drop(a);
    assert!(in_shm(&name).exists());
    b.set_persist(false).unwrap();
    drop(b);
    pinpool::segments::gc().unwrap();
    assert!(!in_shm(&name).exists());
}

#[test]
fn a_file_array_is_opened_again_with_what_was_written() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.npy");
    // SAFETY: the file is in a directory of the test's own.
    let mut a = unsafe { SharedArray::<i16, Ix1>::create_file(&path, 5) }.unwrap();
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    // SAFETY: as above.
    let again = unsafe { SharedArray::<i16, Ix1>::create_file(&path, 5) };
    assert!(matches!(again, Err(CreateError::FileExists { .. })));
    a.as_mut_slice()[4] = -3;
    drop(a);
    let b = open_file::<i16, IxDyn>(&path).unwrap();
    assert_eq!((b.shape(), b.as_slice()), (&[5][..], &[0, 0, 0, 0, -3][..]));
}

#[test]
fn a_saved_array_is_opened_in_place_and_replaces_what_was_there() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.npy");
    let mut a = SharedArray::<f32, _>::zeros((2, 2)).unwrap();
    a.view_mut()[[1, 0]] = 1.5;
    fs::write(&path, "old").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    a.save(&path).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o640);
    assert_eq!(open_file::<f32, Ix2>(&path).unwrap().view(), a.view());
    let link = dir.path().join("link.npy");
    symlink(&path, &link).unwrap();
    a.view_mut()[[0, 0]] = 2.5;
    a.save(&link).unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(open_file::<f32, Ix2>(&path).unwrap().view(), a.view());
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 2, "no temporary file is left");
}

#[test]
fn a_failed_save_leaves_nothing_and_says_where() {
    let a = SharedArray::<f32, _>::zeros(4).unwrap();
    let error = a.save("/nonexistent/dir/a.npy").unwrap_err().to_string();
    assert!(error.contains("/nonexistent/dir/a.npy"), "{error}");
    assert!(a.save("/dev/full").is_err());
    assert!(Path::new("/dev/full").exists(), "a device is written into, never replaced");
    let dir = tempfile::tempdir().unwrap();
    assert!(a.save(dir.path()).is_err());
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 0);
}

#[test]
fn a_file_as_numpy_writes_it_is_opened_in_place() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.npy");
    let data: Vec<u8> = (0..24).flat_map(|i| f64::from(i).to_le_bytes()).collect();
    write_npy(&path, "{'descr': '<f8', 'fortran_order': False, 'shape': (2, 3, 4), }", &data, 64);
    let mut a = open_file::<f64, ndarray::Ix3>(&path).unwrap();
    let expected = Array3::from_shape_fn((2, 3, 4), |(i, j, k)| (12 * i + 4 * j + k) as f64);
    assert_eq!(a.view(), expected);
    a.view_mut()[[1, 2, 3]] = -1.0;
    drop(a);
    assert_eq!(fs::read(&path).unwrap()[128 + 23 * 8..], (-1.0f64).to_le_bytes());
}

#[test]
fn data_that_begin_off_their_alignment_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.npy");
    let text = "{'descr': '<f8', 'fortran_order': False, 'shape': (1,), }";
    write_npy(&path, text, &[0; 8], 1);
    let found = open_file::<f64, Ix1>(&path);
    assert!(matches!(found, Err(AttachError::Misaligned { align: 8, .. })), "{found:?}");
    write_npy(&path, text, &[0; 8], 8);
    assert_eq!(open_file::<f64, Ix1>(&path).unwrap().as_slice(), [0.0]);
}

#[test]
fn wrong_types_and_ranks_are_named() {
    let name = name("wrong");
    let _a = create::<f32>(&name, 6).unwrap();
    let error = open::<f64, Ix1>(&name).unwrap_err();
    assert!(matches!(&error, AttachError::WrongType { .. }));
    assert!(error.to_string().contains("<f4") && error.to_string().contains("<f8"), "{error}");
    let error = open::<f32, Ix2>(&name).unwrap_err();
    assert!(
        matches!(&error, AttachError::WrongRank { expected: 2, found, .. } if found == &[6]),
        "{error}"
    );
}

#[test]
fn bad_files_are_typed_errors() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.npy");
    let header_error = |path: &Path| match open_file::<f64, Ix2>(path) {
        Err(AttachError::Header { source, .. }) => source,
        other => panic!("{other:?}"),
    };
    for (content, what) in
        [(&b""[..], "empty"), (b"\x93NUMP", "cut"), (b"not numpy at all", "text")]
    {
        fs::write(&path, content).unwrap();
        assert_eq!(header_error(&path), NpyError::Magic, "{what}");
    }
    let text = |descr: &str, fortran: &str, shape: &str| {
        format!("{{'descr': {descr}, 'fortran_order': {fortran}, 'shape': {shape}, }}")
    };
    let cases = [
        (text("'>f8'", "False", "(2, 3)"), 48, "big-endian"),
        (text("'<f8'", "True", "(2, 3)"), 48, "Fortran"),
        (text("'|O'", "False", "(2, 3)"), 48, "objects"),
        (text("[('x', '<f8')]", "False", "(2, 3)"), 48, "structured"),
        (text("'<f8'", "False", "(2, 3)"), 47, "cut off"),
        (text("'<f8'", "False", "(2, 3)"), 49, "follow the data"),
        (text("'<f8'", "False", "(4611686018427387904, 4)"), 0, "larger than any memory"),
    ];
    for (text, data, says) in cases {
        write_npy(&path, &text, &vec![0; data], 64);
        let error = header_error(&path).to_string();
        assert!(error.to_lowercase().contains(&says.to_lowercase()), "{text}: {error}");
    }
}

#[test]
fn what_is_no_file_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let missing = open_file::<f64, Ix1>(&dir.path().join("none.npy"));
    assert!(matches!(missing, Err(AttachError::NotFound { .. })), "{missing:?}");
    for path in [dir.path(), Path::new("/dev/null"), Path::new("/dev/zero")] {
        let found = open_file::<f64, Ix1>(path);
        assert!(matches!(found, Err(AttachError::NotRegular { .. })), "{found:?}");
        // SAFETY: nothing is opened.
        let found = unsafe { SharedArray::<f64, Ix1>::open_file_read_only(path) };
        assert!(matches!(found, Err(AttachError::NotRegular { .. })), "{found:?}");
    }
}

#[test]
fn the_first_byte_that_is_no_bool_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.npy");
    let len = 200_000;
    let mut data = vec![1u8; len];
    let text = format!("{{'descr': '|b1', 'fortran_order': False, 'shape': ({len},), }}");
    write_npy(&path, &text, &data, 64);
    assert!(open_file::<Bool, Ix1>(&path).unwrap().as_slice().iter().all(|b| b.get()));
    for bad in [199_999, 65_536, 0] {
        data[bad] = 7;
        write_npy(&path, &text, &data, 64);
        match open_file::<Bool, Ix1>(&path) {
            Err(AttachError::BadBool { index, value: 7, .. }) => assert_eq!(index, bad as u64),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn absurd_sizes_are_errors_and_leave_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.npy");
    let name = name("absurd");
    for len in [usize::MAX, isize::MAX as usize, (isize::MAX as usize) / 8, 1 << 60] {
        assert!(matches!(
            SharedArray::<f64, _>::zeros(len),
            Err(CreateError::TooLarge { .. } | CreateError::NoMemory { .. })
        ));
        assert!(create::<f64>(&name, len).is_err());
        // SAFETY: nothing is made.
        assert!(unsafe { SharedArray::<f64, _>::create_file(&path, len) }.is_err());
    }
    assert!(matches!(
        SharedArray::<f64, _>::zeros((1 << 40, 1 << 40, 0)),
        Err(CreateError::TooLarge { .. })
    ));
    assert!(matches!(
        SharedArray::<u8, _>::zeros(vec![1; 65]),
        Err(CreateError::Rank { axes: 65 })
    ));
    let error = SharedArray::<u8, _>::zeros(1 << 50).unwrap_err();
    assert!(matches!(&error, CreateError::NoMemory { asked, free, .. } if asked > free), "{error}");
    assert!(!path.exists() && !in_shm(&name).exists());
}

#[test]
fn a_sparse_file_is_filled_before_it_is_mapped_for_writing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.npy");
    let len = 1 << 20;
    let text = format!("{{'descr': '|u1', 'fortran_order': False, 'shape': ({len},), }}");
    write_npy(&path, &text, &[], 64);
    let header = fs::metadata(&path).unwrap().len();
    fs::File::options().write(true).open(&path).unwrap().set_len(header + len).unwrap();
    let a = open_file::<u8, Ix1>(&path).unwrap();
    assert_eq!(a.len() as u64, len);
    assert!(fs::metadata(&path).unwrap().blocks() * 512 >= len);
}

#[test]
fn a_forked_child_that_drops_an_array_takes_nothing_away() {
    let name = name("fork");
    let mut a = create::<u8>(&name, 10).unwrap();
    // SAFETY: the child does nothing but drop the array, which frees memory (glibc's allocator
    // allows that after a fork) and closes a descriptor, and end.
    let child = unsafe { libc::fork() };
    if child == 0 {
        drop(a);
        // SAFETY: ends this child at once.
        unsafe { libc::_exit(0) };
    }
    let mut status = -1;
    // SAFETY: `child` is this process's own child, not reaped yet.
    let reaped = unsafe { libc::waitpid(child, &raw mut status, 0) };
    assert_eq!((reaped, status), (child, 0));
    assert!(in_shm(&name).exists());
    a.as_mut_slice()[9] = 1;
}

#[test]
fn a_header_that_changes_while_it_is_opened_gives_an_answer_that_fits_the_file() {
    use std::os::unix::fs::FileExt;
    /// Ends the writer also when an assertion fails.
    struct Over<'a>(&'a std::sync::atomic::AtomicBool);
    impl Drop for Over<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.npy");
    let text = "{'descr': '|b1', 'fortran_order': False, 'shape': (4096,), }";
    write_npy(&path, text, &[1; 4096], 64);
    let whole = fs::read(&path).unwrap();
    let header_bytes = whole.len() - 4096;
    let over = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let file = fs::File::options().write(true).open(&path).unwrap();
            let mut at = 0;
            while !over.load(Ordering::Relaxed) {
                // A stride that is prime to the length comes by every byte; so does every length.
                at = (at + 37) % header_bytes;
                file.write_all_at(&[at as u8], at as u64).unwrap();
                file.set_len((at * 31) as u64).unwrap();
                file.write_all_at(&whole, 0).unwrap();
            }
        });
        let end = Over(&over);
        let mut opened = 0;
        for _ in 0..3000 {
            if let Ok(a) = open_file::<Bool, Ix1>(&path) {
                assert_eq!(a.len(), 4096);
                opened += 1;
            }
        }
        drop(end);
        println!("{opened} of 3000 attempts met a whole file");
    });
}
