//! A job with a checkpoint: whatever died in between, the same bits; whatever does not fit, an
//! error that changes nothing.
//!
//! The victims are this test program, started again as the leader of a process group that is
//! killed as a whole.

mod faults;

use std::fs;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use faults::{Dice, alone, names, pool, role, serial, stir, victim, wait_until, watchdog};
use pinpool::ndarray::Ix1;
use pinpool::{
    Backend, Checkpoint, CheckpointError, ChunkMut, CreateError, Ctx, Difference, Error, JobError,
    Param, Pool, SharedArray, indices,
};
use rustix::process::{Pid, Signal};

const ROWS: usize = 3_000;
/// Not a divisor of the rows: the last chunk is shorter, and chunks share pages.
const CHUNK: usize = 70;
const ARRAY: &str = "PINPOOL_TEST_ARRAY";
const DURABLE: &str = "PINPOOL_TEST_DURABLE";

type Array = SharedArray<u64, Ix1>;

/// Plays a role, in a process of its own.
#[test]
fn the_victim() {
    match role().as_deref() {
        Some("begins") => play(false),
        Some("goes on") => play(true),
        Some("waits") => waits(),
        Some("has no room") => has_no_room(),
        Some("is another build") => is_another_build(),
        _ => {}
    }
}

/// Changes the array of the environment, with a checkpoint, in small slow chunks.
fn play(resume: bool) {
    let path = PathBuf::from(std::env::var_os(ARRAY).expect("given"));
    let pool = pool(3);
    let mut x = open(&path);
    println!("started");
    let checkpoint = match resume {
        true => Checkpoint::resume(Checkpoint::beside(&path)),
        false => Checkpoint::begin(Checkpoint::beside(&path))
            .durable(std::env::var_os(DURABLE).is_some()),
    };
    match stir_all(&pool, &mut x, Some(checkpoint.keep(true)), 300) {
        Ok(sums) => println!("sums {:x}", digest(sums.as_slice())),
        // The kill came before the file was whole.
        Err(Error::Checkpoint(
            CheckpointError::Unbegun { .. } | CheckpointError::NotFound { .. },
        )) => {
            println!("unbegun");
        }
        Err(error) => panic!("{error}"),
    }
}

fn waits() {
    let path = PathBuf::from(std::env::var_os(ARRAY).expect("given"));
    let pool = pool(2);
    let mut x = open(&path);
    let checkpoint = Checkpoint::begin(Checkpoint::beside(&path));
    let _ = pool.job().checkpoint(checkpoint).for_each(
        x.chunks_mut(CHUNK),
        |mut c: ChunkMut<'_, u64, Ix1>, ctx: &mut Ctx| {
            stir(c.as_slice_mut(), ctx);
            if ctx.chunk() == 3 {
                println!("started");
                std::thread::sleep(Duration::from_secs(600));
            }
        },
    );
}

/// Begins a checkpoint on a full disk, and resumes one that would have to grow.
fn has_no_room() {
    let folder = PathBuf::from(std::env::var_os(ARRAY).expect("given"));
    let array = folder.with_extension("npy");
    let (small, file) = (folder.join("c"), Checkpoint::beside(&array));
    // Nine records and journals.
    let wide = pool(9);
    let mut x = open(&array);
    let error = stir_all(&wide, &mut x, Some(Checkpoint::begin(&small)), 0).unwrap_err();
    assert!(matches!(error, Error::Create(CreateError::NoSpace { .. })), "{error}");
    assert!(!small.exists(), "what could not be made is gone");
    fs::copy(&file, &small).expect("room for that");
    let error = part(&wide, &mut x, Checkpoint::resume(&small), 1).unwrap_err();
    assert!(matches!(error, Error::Create(CreateError::NoSpace { .. })), "{error}");
    assert_eq!(fs::metadata(&small).unwrap().len(), fs::metadata(&file).unwrap().len());
    println!("played");
}

#[test]
fn a_full_disk_is_an_error_of_the_call_and_nothing_is_left_of_it() {
    let _alone = alone();
    let half = half_done();
    let folder = half.array.with_extension("");
    fs::create_dir(&folder).unwrap();
    let mount =
        format!("mount -t tmpfs -o size=24k tmpfs '{}' && exec \"$0\" \"$@\"", folder.display());
    let works = std::process::Command::new("unshare").args(["-m", "true"]).output();
    if !works.is_ok_and(|o| o.status.success()) {
        return faults::skip("a_full_disk_…", "`unshare -m` does not work here; run as root");
    }
    let mut command = std::process::Command::new("unshare");
    command.args(["-m", "sh", "-c", &mount]).arg(std::env::current_exe().unwrap());
    command.args(["--exact", "the_victim", "--nocapture", "--test-threads=1"]);
    let output = command.env(faults::ROLE, "has no room").env(ARRAY, &folder).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("played"), "{text}\n{errors}");
}

fn open(path: &Path) -> Array {
    // SAFETY: the tests' files are nobody else's.
    unsafe { SharedArray::open_file(path) }.expect("an array")
}

/// A file of the numbers 0, 1, 2, …
fn make(path: &Path, rows: usize) {
    // SAFETY: as in `open`.
    let mut x: Array = unsafe { SharedArray::create_file(path, rows) }.expect("a new file");
    x.as_mut_slice().iter_mut().zip(0..).for_each(|(v, i)| *v = i);
}

/// One job in place with a result a chunk, each of whose draws and repetitions would be seen.
fn stir_all(
    pool: &Pool,
    x: &mut Array,
    checkpoint: Option<Checkpoint>,
    pause_us: u64,
) -> pinpool::Result<Array> {
    let mut job = pool.job().stream(5);
    if let Some(checkpoint) = checkpoint {
        job = job.checkpoint(checkpoint);
    }
    job.map(
        (x.chunks_mut(CHUNK), Param(pause_us)),
        |(mut c, pause): (ChunkMut<'_, u64, Ix1>, u64), ctx: &mut Ctx| {
            let half = c.len() / 2;
            let (first, second) = c.as_slice_mut().split_at_mut(half);
            stir(first, ctx);
            if pause > 0 {
                std::thread::sleep(Duration::from_micros(pause));
            }
            stir(second, ctx);
            c.iter().fold(ctx.chunk(), |sum, v| sum.wrapping_mul(31).wrapping_add(*v))
        },
    )
}

fn digest(values: &[u64]) -> u64 {
    values.iter().fold(1, |sum: u64, v| sum.wrapping_mul(0x100_0000_01b3) ^ v)
}

/// What an undisturbed run gives: digests of the array and of the results.
fn undisturbed() -> (u64, u64) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("x.npy");
    make(&path, ROWS);
    let mut x = open(&path);
    let sums = stir_all(&serial(), &mut x, None, 0).expect("it works");
    (digest(x.as_slice()), digest(sums.as_slice()))
}

fn start(role: &str, array: &Path, durable: bool) -> Child {
    let mut command = victim(role);
    command.env(ARRAY, array).stdout(Stdio::piped()).stderr(Stdio::inherit()).process_group(0);
    if durable {
        command.env(DURABLE, "1");
    }
    command.spawn().expect("a victim")
}

fn kill_group(child: &Child) {
    let group = Pid::from_raw(child.id() as i32).expect("a pid");
    // Over already: then there is none.
    let _ = rustix::process::kill_process_group(group, Signal::KILL);
}

/// Kills run after run of one job until one comes to its end; gives kills and what it printed.
fn storm(dice: &mut Dice, path: &Path, durable: bool, longest: Duration) -> (u32, String) {
    const MOST: u32 = 15;
    let file = Checkpoint::beside(path);
    // A file may be there that its run was killed in the making of: then it is made anew.
    let (mut kills, mut anew) = (0, true);
    loop {
        let goes_on = !std::mem::take(&mut anew) && file.exists();
        let child = start(if goes_on { "goes on" } else { "begins" }, path, durable);
        std::thread::sleep(Duration::from_micros(dice.below(longest.as_micros() as u64 / 2)));
        // A slow machine would never be done.
        if kills < MOST {
            kill_group(&child);
        }
        let output = child.wait_with_output().expect("it ends");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if text.contains("unbegun") {
            anew = true;
            continue;
        }
        if let Some(sums) = text.lines().find_map(|l| l.split_once("sums ")) {
            return (kills, sums.1.to_owned());
        }
        assert!(!output.status.success(), "it neither ended nor was killed:\n{text}");
        kills += 1;
        assert!(kills <= MOST, "run to its end it gives no result:\n{text}");
    }
}

fn must_be_right(what: &str, durable: bool, rounds: u32) {
    let mut dice = Dice::new(what);
    let (array, results) = undisturbed();
    // How long a run takes here that nobody kills.
    let longest = {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("x.npy");
        make(&path, ROWS);
        let start = Instant::now();
        let output = self::start("begins", &path, durable).wait_with_output();
        assert!(output.expect("it ends").status.success());
        start.elapsed()
    };
    let (mut kills, mut most) = (0, 0);
    for round in 0..rounds {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("x.npy");
        make(&path, ROWS);
        let (k, sums) = storm(&mut dice, &path, durable, longest);
        assert_eq!(sums, format!("{results:x}"), "round {round}, {k} kills: results");
        assert_eq!(digest(open(&path).as_slice()), array, "round {round}, {k} kills: array");
        Checkpoint::resume(Checkpoint::beside(&path)).remove().expect("it is there");
        let left: Vec<_> = fs::read_dir(folder.path()).expect("a folder").flatten().collect();
        assert_eq!(left.len(), 1, "the array alone is left: {left:?}");
        (kills, most) = (kills + k, most.max(k));
    }
    println!(
        "{rounds} jobs with {kills} kills of all processes, up to {most} each: all bits equal"
    );
}

#[test]
fn a_job_whose_processes_are_all_killed_again_and_again_ends_with_the_same_bits() {
    let _alone = alone();
    let _watchdog = watchdog("kills of everything", 300);
    must_be_right("kills of everything", false, 8);
    assert_eq!(names("pinpool-test-checkpoint"), [""; 0]);
}

#[test]
fn a_durable_job_whose_processes_are_killed_ends_with_the_same_bits() {
    let _alone = alone();
    let _watchdog = watchdog("kills of everything, durable", 300);
    must_be_right("kills of everything, durable", true, 1);
}

/// A folder with an array and the checkpoint of a job on it that failed in one of its chunks.
struct Half {
    _folder: tempfile::TempDir,
    array: PathBuf,
    file: PathBuf,
}

fn half_done() -> Half {
    let folder = tempfile::tempdir().expect("a folder");
    let array = folder.path().join("x.npy");
    make(&array, ROWS);
    let file = Checkpoint::beside(&array);
    let pool = Pool::builder().backend(Backend::Serial).seed(7).build().expect("a pool");
    let error = part(&pool, &mut open(&array), Checkpoint::begin(&file), 1).unwrap_err();
    assert!(matches!(error, Error::Job(JobError::Failed { chunk: 20, .. })), "{error}");
    assert!(file.exists(), "a job that failed can be gone on with");
    Half { _folder: folder, array, file }
}

/// The job of `half_done`: chunk 20 fails where the array's own first word says so.
fn part(pool: &Pool, x: &mut Array, checkpoint: Checkpoint, salt: u64) -> pinpool::Result<Array> {
    pool.job().stream(3).checkpoint(checkpoint).try_map(
        (x.chunks_mut(CHUNK), Param(salt)),
        |(mut c, salt): (ChunkMut<'_, u64, Ix1>, u64), ctx: &mut Ctx| {
            stir(c.as_slice_mut(), ctx);
            if ctx.chunk() == 20 && std::env::var_os("PINPOOL_TEST_MENDED").is_none() {
                return Err("not today");
            }
            Ok(c.iter().fold(salt, |sum, v| sum.wrapping_mul(31).wrapping_add(*v)))
        },
    )
}

fn bytes_of(half: &Half) -> (Vec<u8>, Vec<u8>) {
    (fs::read(&half.array).expect("an array"), fs::read(&half.file).expect("a checkpoint"))
}

/// Resumes with `pool` and gives the error, which must have changed nothing.
fn refused(half: &Half, pool: &Pool, salt: u64) -> Error {
    let before = bytes_of(half);
    let error = part(pool, &mut open(&half.array), Checkpoint::resume(&half.file), salt)
        .expect_err("it is refused");
    assert!(bytes_of(half) == before, "refused, but something was changed: {error}");
    error
}

fn difference(error: Error) -> Difference {
    match error {
        Error::Checkpoint(CheckpointError::Differs { difference, .. }) => difference,
        other => panic!("another error: {other}"),
    }
}

#[test]
fn a_failed_job_goes_on_when_its_fault_is_mended_on_every_backend_and_any_number_of_workers() {
    let _alone = alone();
    let _watchdog = watchdog("mended", 100);
    let expected = {
        let half = half_done();
        // SAFETY: `alone`, and workers inherit it at their start.
        unsafe { std::env::set_var("PINPOOL_TEST_MENDED", "1") };
        let fresh = half.array.with_extension("fresh");
        make(&fresh, ROWS);
        let mut x = open(&fresh);
        let begin = Checkpoint::begin(Checkpoint::beside(&fresh));
        let sums = part(&serial(), &mut x, begin, 1).expect("nothing fails");
        // SAFETY: as above.
        unsafe { std::env::remove_var("PINPOOL_TEST_MENDED") };
        (digest(x.as_slice()), digest(sums.as_slice()))
    };
    for backend in [Backend::Serial, Backend::Threads, Backend::Processes] {
        for workers in [1, 5] {
            let half = half_done();
            // SAFETY: as above.
            unsafe { std::env::set_var("PINPOOL_TEST_MENDED", "1") };
            let builder = Pool::builder().workers(workers).oversubscribe(true);
            let pool = builder.backend(backend).seed(7).build().expect("a pool");
            let mut x = open(&half.array);
            let sums = part(&pool, &mut x, Checkpoint::resume(&half.file), 1).expect("mended");
            // SAFETY: as above.
            unsafe { std::env::remove_var("PINPOOL_TEST_MENDED") };
            let found = (digest(x.as_slice()), digest(sums.as_slice()));
            assert_eq!(found, expected, "{backend}, {workers} workers");
            assert!(!half.file.exists(), "a job that ended well removes its checkpoint");
        }
    }
}

#[test]
fn a_job_that_failed_is_resumed_by_the_same_pool_though_it_has_run_others_since() {
    let _alone = alone();
    for backend in [Backend::Serial, Backend::Threads, Backend::Processes] {
        let folder = tempfile::tempdir().expect("a folder");
        let array = folder.path().join("x.npy");
        make(&array, ROWS);
        let file = Checkpoint::beside(&array);
        let builder = Pool::builder().workers(2).oversubscribe(true).backend(backend).seed(7);
        let pool = builder.build().expect("a pool");
        let mut x = open(&array);
        part(&pool, &mut x, Checkpoint::begin(&file), 1).expect_err("chunk 20 fails");
        let squares = pool.map(indices(2_000), |i, _| i * i).expect("the pool lives on");
        assert_eq!(squares.as_slice()[1_999], 1_999 * 1_999);
        // More parameters than the job's own, in memory that it may get.
        assert_eq!(pool.call(Param([3u64; 100]), |p, _| p[99]).expect("it does"), 3);
        let error = part(&pool, &mut x, Checkpoint::resume(&file), 1).expect_err("it still does");
        assert!(
            matches!(error, Error::Job(JobError::Failed { chunk: 20, .. })),
            "{backend}: {error}"
        );
    }
}

#[test]
fn a_callback_that_panics_leaves_a_checkpoint_that_can_be_gone_on_with() {
    let _alone = alone();
    for backend in [Backend::Serial, Backend::Threads, Backend::Processes] {
        let folder = tempfile::tempdir().expect("a folder");
        let array = folder.path().join("x.npy");
        make(&array, ROWS);
        let file = Checkpoint::beside(&array);
        let builder = Pool::builder().workers(2).oversubscribe(true).backend(backend).seed(7);
        let pool = builder.build().expect("a pool");
        let mut x = open(&array);
        let count = |checkpoint, tell: &dyn Fn(pinpool::Progress), x: &mut Array| {
            let job = pool.job().stream(3).checkpoint(checkpoint);
            let job = job.on_progress(Duration::from_millis(1), tell);
            job.map(x.chunks_mut(CHUNK), |mut c, _| {
                c.iter_mut().for_each(|v| *v += 1);
                c.len() as u64
            })
        };
        let tell = |_: pinpool::Progress| panic!("the caller's own");
        let begin = Checkpoint::begin(&file).keep(true);
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            count(begin, &tell, &mut x).map(drop)
        }));
        panicked.expect_err("the callback panics");
        let lens = count(Checkpoint::resume(&file), &|_| {}, &mut x);
        assert_eq!(lens.expect("nobody has it").total(), ROWS as u64, "{backend}");
        assert!(x.as_slice().iter().zip(1..).all(|(&v, i)| v == i), "{backend}");
    }
}

#[test]
fn what_differs_from_the_job_that_was_begun_is_named_and_changes_nothing() {
    let _alone = alone();
    let half = half_done();
    let other_seed = Pool::builder().backend(Backend::Serial).seed(8).build().expect("a pool");
    let number = |what, begun, asked| Difference::Number { what, begun, asked };
    assert_eq!(difference(refused(&half, &other_seed, 1)), number("the seed", 7, 8));
    let pool = serial();
    assert_eq!(difference(refused(&half, &pool, 2)), Difference::Params);

    let resume = || Checkpoint::resume(&half.file);
    let mut x = open(&half.array);
    let before = bytes_of(&half);
    let job = || pool.job().stream(3).checkpoint(resume());
    let add = |mut c: ChunkMut<'_, u64, Ix1>, _: &mut Ctx| c[0] += 1;
    let error = job().for_each(x.chunks_mut(CHUNK), add).unwrap_err();
    assert!(matches!(difference(error), Difference::Kernel { .. }));
    drop(x);
    assert!(bytes_of(&half) == before);
}

#[test]
fn another_chunk_length_job_number_shape_or_file_is_refused() {
    let _alone = alone();
    fn fails(
        pool: &Pool,
        x: &mut Array,
        checkpoint: Checkpoint,
        stream: u64,
        chunk: usize,
    ) -> Error {
        let job = pool.job().stream(stream).checkpoint(checkpoint);
        job.for_each(x.chunks_mut(chunk), |mut c: ChunkMut<'_, u64, Ix1>, ctx: &mut Ctx| {
            c[0] += 1;
            assert_ne!(ctx.chunk(), 4, "as it must");
        })
        .unwrap_err()
    }
    let folder = tempfile::tempdir().expect("a folder");
    let array = folder.path().join("x.npy");
    make(&array, 100);
    let file = Checkpoint::beside(&array);
    let pool = serial();
    let begin = Checkpoint::begin(&file);
    assert!(matches!(fails(&pool, &mut open(&array), begin, 1, 10), Error::Job(_)));
    let before = (fs::read(&array).unwrap(), fs::read(&file).unwrap());
    let resume = || Checkpoint::resume(&file);

    let error = fails(&pool, &mut open(&array), resume(), 1, 20);
    let number = |what, begun, asked| Difference::Number { what, begun, asked };
    assert_eq!(difference(error), number("the chunk length", 10, 20));
    let error = fails(&pool, &mut open(&array), resume(), 2, 10);
    assert_eq!(difference(error), number("the job number (`stream`)", 1, 2));

    // The same name and shape, and another file.
    let copy = folder.path().join("copy.npy");
    fs::copy(&array, &copy).unwrap();
    let error = fails(&pool, &mut open(&copy), resume(), 1, 10);
    assert_eq!(difference(error), Difference::File { argument: 0 });
    let longer = folder.path().join("longer.npy");
    make(&longer, 101);
    let error = fails(&pool, &mut open(&longer), resume(), 1, 10);
    let shape = Difference::Shape { argument: 0, begun: vec![100], asked: vec![101] };
    assert_eq!(difference(error), shape);
    assert!((fs::read(&array).unwrap(), fs::read(&file).unwrap()) == before);
    // And the one that was begun is still there to go on with.
    assert!(matches!(fails(&pool, &mut open(&array), resume(), 1, 10), Error::Job(_)));
}

#[test]
fn another_build_of_the_program_is_refused() {
    let _alone = alone();
    let half = half_done();
    let copy = half.array.with_file_name("other-build");
    fs::copy(std::env::current_exe().unwrap(), &copy).unwrap();
    // One byte behind its end: another file with the same code.
    let file = fs::OpenOptions::new().append(true).open(&copy).unwrap();
    file.write_at(&[1], file.metadata().unwrap().len()).unwrap();
    drop(file);
    let before = bytes_of(&half);
    let output = std::process::Command::new(&copy)
        .args(["--exact", "the_victim", "--nocapture"])
        .env(faults::ROLE, "is another build")
        .env(ARRAY, &half.array)
        .output()
        .expect("it runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("refused: '") && text.contains("by another build"), "{text}");
    assert!(bytes_of(&half) == before);
}

fn is_another_build() {
    let path = PathBuf::from(std::env::var_os(ARRAY).expect("given"));
    let resume = Checkpoint::resume(Checkpoint::beside(&path));
    let error = part(&serial(), &mut open(&path), resume, 1).expect_err("another build");
    println!("refused: {error}");
}

#[test]
fn a_checkpoint_with_any_byte_of_its_header_changed_or_cut_short_is_refused() {
    let _alone = alone();
    let _watchdog = watchdog("every byte", 200);
    let half = half_done();
    let pool = serial();
    let file = fs::OpenOptions::new().read(true).write(true).open(&half.file).unwrap();
    let good = fs::read(&half.file).unwrap();
    // Of the padding a part.
    for at in (0..512).chain((512..4096).step_by(37)) {
        file.write_at(&[good[at] ^ 0x10], at as u64).unwrap();
        let error = refused(&half, &pool, 1);
        assert!(matches!(error, Error::Checkpoint(_)), "byte {at}: {error}");
        file.write_at(&good[at..=at], at as u64).unwrap();
    }
    for len in [1, 8, 16, 4095, 4096, 5000, good.len() - 4096, good.len() - 1] {
        file.set_len(len as u64).unwrap();
        let error = refused(&half, &pool, 1);
        let typed = matches!(
            error,
            Error::Checkpoint(
                CheckpointError::Length { .. }
                    | CheckpointError::NotACheckpoint { .. }
                    | CheckpointError::Damaged { .. }
            )
        );
        assert!(typed, "{len} bytes: {error}");
        fs::write(&half.file, &good).unwrap();
    }
    file.set_len(0).unwrap();
    let error = refused(&half, &pool, 1);
    assert!(matches!(error, Error::Checkpoint(CheckpointError::Unbegun { .. })), "{error}");
    // A file that was not finished is begun anew.
    let begin = Checkpoint::begin(&half.file);
    let error = part(&pool, &mut open(&half.array), begin, 1).unwrap_err();
    assert!(matches!(error, Error::Job(_)), "{error}");
}

#[test]
fn a_record_or_a_claim_that_no_run_left_is_damage() {
    let _alone = alone();
    let half = half_done();
    let pool = serial();
    let file = fs::OpenOptions::new().read(true).write(true).open(&half.file).unwrap();
    let chunks = ROWS.div_ceil(CHUNK);
    // The one worker's record is the last but the journal of 70 elements, a page.
    let record = file.metadata().unwrap().len() - 2 * 4096;
    file.write_at(&(chunks as u64 + 1).to_ne_bytes(), record).unwrap();
    let error = refused(&half, &pool, 1);
    assert!(matches!(error, Error::Checkpoint(CheckpointError::Damaged { .. })), "{error}");
    file.write_at(&[0; 8], record).unwrap();
    // Claimed by worker 3 of one.
    file.write_at(&(1u64 | 3 << 2).to_ne_bytes(), 4096 + 8 * 30).unwrap();
    let error = refused(&half, &pool, 1);
    assert!(matches!(error, Error::Checkpoint(CheckpointError::Damaged { .. })), "{error}");
}

#[test]
fn a_checkpoint_is_its_users_own_regular_file() {
    let _alone = alone();
    let half = half_done();
    let pool = serial();
    fs::set_permissions(&half.file, fs::Permissions::from_mode(0o640)).unwrap();
    let error = refused(&half, &pool, 1);
    assert!(matches!(error, Error::Checkpoint(CheckpointError::NotYours { .. })), "{error}");
    fs::set_permissions(&half.file, fs::Permissions::from_mode(0o600)).unwrap();
    let link = half.file.with_extension("link");
    std::os::unix::fs::symlink(&half.file, &link).unwrap();
    let other =
        Half { _folder: tempfile::tempdir().unwrap(), array: half.array.clone(), file: link };
    let error = refused(&other, &pool, 1);
    assert!(matches!(error, Error::Checkpoint(CheckpointError::NotYours { .. })), "{error}");
    fs::write(half.file.with_extension("text"), "some text, longer than two words").unwrap();
    let text = half.file.with_extension("text");
    fs::set_permissions(&text, fs::Permissions::from_mode(0o600)).unwrap();
    let mut x = open(&half.array);
    for checkpoint in [Checkpoint::begin(&text), Checkpoint::begin(&half.file)] {
        let error = part(&pool, &mut x, checkpoint, 1).unwrap_err();
        assert!(matches!(error, Error::Checkpoint(CheckpointError::Exists { .. })), "{error}");
    }
    let error = part(&pool, &mut x, Checkpoint::resume(&text), 1).unwrap_err();
    assert!(matches!(error, Error::Checkpoint(CheckpointError::Length { .. })), "{error}");
    let error = part(&pool, &mut x, Checkpoint::resume("/nowhere/x"), 1).unwrap_err();
    assert!(matches!(error, Error::Checkpoint(CheckpointError::NotFound { .. })), "{error}");
    assert!(text.exists() && half.file.exists());
}

#[test]
fn a_run_that_lives_is_not_resumed_and_one_that_is_dead_but_for_a_stopped_worker_neither() {
    let _alone = alone();
    let _watchdog = watchdog("a live run", 100);
    // Orphans come to us: a group of stopped processes without a parent would be sent SIGHUP.
    // SAFETY: sets an attribute of this process.
    assert_eq!(unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) }, 0);
    let folder = tempfile::tempdir().expect("a folder");
    let array = folder.path().join("x.npy");
    make(&array, ROWS);
    let mut child = start("waits", &array, false);
    let file = Checkpoint::beside(&array);
    let words =
        |n: usize| fs::read(&file).is_ok_and(|b| b.len() > 4096 && b[4096 + 8 * n] & 3 == 2);
    assert!(wait_until(30, || words(0) && words(2)), "it does not begin");
    let in_use = |pool: &Pool| {
        let resume = Checkpoint::resume(&file);
        let error = stir_all(pool, &mut open(&array), Some(resume), 0).unwrap_err();
        matches!(error, Error::Checkpoint(CheckpointError::InUse { .. }))
    };
    assert!(in_use(&serial()));
    let worker = faults::children(child.id())[0];
    assert!(faults::signal_child(worker, child.id(), Signal::STOP));
    // In effect, before the worker can see its parent's death.
    let stat = || fs::read_to_string(format!("/proc/{worker}/stat")).unwrap_or_default();
    assert!(wait_until(10, || stat().rsplit(") ").next().is_some_and(|s| s.starts_with('T'))));
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(in_use(&serial()), "a stopped worker could still store into a chunk");
    kill_group(&child);
    // As soon as the lock is free it is another kernel's that is refused.
    let start = Instant::now();
    assert!(wait_until(20, || !in_use(&serial())), "after {:?}", start.elapsed());
}

fn pool_that_is_closed() -> Pool {
    let pool = serial();
    pool.close();
    pool
}

#[test]
fn arrays_in_memory_and_calls_have_no_checkpoint() {
    let _alone = alone();
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("c");
    let pool = serial();
    let mut x = Array::zeros(10).unwrap();
    let job = || pool.job().checkpoint(Checkpoint::begin(&file));
    let error = job().for_each(x.chunks_mut(1), |mut c: ChunkMut<'_, u64, Ix1>, _| c[0] = 1);
    assert!(matches!(
        error.unwrap_err(),
        Error::Checkpoint(CheckpointError::NotInAFile { argument: 0 })
    ));
    let error = job().call((), |(), _| 1u64).unwrap_err();
    assert!(matches!(error, Error::Checkpoint(CheckpointError::Unsupported)));
    assert!(!file.exists());
    let closed = pool_that_is_closed();
    let error = closed.job().checkpoint(Checkpoint::begin(&file)).map(indices(9), |i, _| i);
    assert!(matches!(error.unwrap_err(), Error::Job(JobError::Closed)));
    assert!(!file.exists(), "what never began leaves no file");
    // A job over numbers alone has results to keep.
    let squares = job().map(indices(100), |i, _| i * i).unwrap();
    assert_eq!(squares.as_slice()[99], 99 * 99);
    assert!(!file.exists());
}

#[test]
fn a_kept_checkpoint_gives_the_results_again_without_running_a_chunk() {
    let _alone = alone();
    let folder = tempfile::tempdir().expect("a folder");
    let array = folder.path().join("x.npy");
    make(&array, ROWS);
    let file = Checkpoint::beside(&array);
    let mut x = open(&array);
    let pool = pool(2);
    let begin = Checkpoint::begin(&file).keep(true);
    let first = stir_all(&pool, &mut x, Some(begin), 0).unwrap();
    let after = digest(x.as_slice());
    let again = stir_all(&pool, &mut x, Some(Checkpoint::resume(&file)), 0).unwrap();
    assert_eq!(first.as_slice(), again.as_slice());
    assert_eq!(digest(x.as_slice()), after);
    assert_eq!((after, digest(first.as_slice())), undisturbed());
    assert!(!file.exists());
}

#[test]
fn a_worker_that_dies_within_a_run_is_recovered_from_the_checkpoint() {
    let _alone = alone();
    let _watchdog = watchdog("deaths within a run", 60);
    for durable in [false, true] {
        let folder = tempfile::tempdir().expect("a folder");
        let array = folder.path().join("x.npy");
        make(&array, ROWS);
        let mut x = open(&array);
        let pool = pool(3);
        let checkpoint = Checkpoint::begin(Checkpoint::beside(&array)).durable(durable);
        pool.job()
            .stream(5)
            .checkpoint(checkpoint)
            .for_each(x.chunks_mut(CHUNK), |mut c: ChunkMut<'_, u64, Ix1>, ctx: &mut Ctx| {
                let half = c.len() / 2;
                let (first, second) = c.as_slice_mut().split_at_mut(half);
                stir(first, ctx);
                if ctx.chunk() % 7 == 5 && ctx.incarnation() < 3 {
                    // SAFETY: kills this worker half way through its chunk.
                    unsafe { libc::raise(libc::SIGKILL) };
                }
                stir(second, ctx);
            })
            .expect("it survives");
        assert!(pool.deaths() > 0);
        assert_eq!(digest(x.as_slice()), undisturbed().0, "durable: {durable}");
    }
}
