//! F1, F2: a worker, and a recovery, killed after every instruction that changed shared memory.
//!
//! A process is stepped with `ptrace`, one instruction at a time, through its part of a job of
//! small chunks changed in place. After each instruction whose stores changed the shared memory a
//! copy of it is kept. From each copy the job is recovered and finished by others, and every bit
//! is compared. A job with a checkpoint is walked too: there all die, and a new run goes on with the
//! file. A look after step n equals a SIGKILL after step n: signals are taken between
//! instructions, and what a thread has stored is in the coherent cache (`src/control.md`).
//!
//! Run it on the release build, which is the code that users run:
//! `cargo test --release --no-default-features --features walk --test walk`, and with
//! `walk-mutants` for the wrong protocols. x86-64 only: an LL/SC loop of aarch64 never ends under
//! single steps.
#![cfg(target_arch = "x86_64")]

use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

#[cfg(not(feature = "walk-mutants"))]
use pinpool::kernels::isa::Isa;
use pinpool::walk::{Form, HALF_WAY, Stage};

#[cfg(not(feature = "walk-mutants"))]
const FORMS: [Form; 3] = [Form::Ahead, Form::Tiles, Form::Kept];

/// Chunks, and rows of each. The flagship's blocks have 1024 elements, its vectors eight.
fn size(form: Form) -> (usize, usize) {
    match form {
        Form::Ahead | Form::Tiles => (8, 32),
        Form::Kept => (2, 1024 + 45),
    }
}

const SALT: u64 = 0x5eed;

/// The shared memory of a stage at one instant.
type Image = Vec<Vec<u8>>;

struct Theatre {
    stage: Stage,
    form: Form,
    memory: Vec<(*mut u8, usize, usize)>,
    /// As it was before anybody began.
    first: Image,
}

impl Theatre {
    fn new(form: Form, stage: Stage) -> Theatre {
        let memory = stage.memory();
        for &(base, len, _) in &memory {
            // A child of ours is to have these mappings: segments keep them from forks.
            // SAFETY: a whole mapping of this process, which stays.
            let done = unsafe { libc::madvise(base.cast(), len, libc::MADV_DOFORK) };
            assert_eq!(done, 0);
        }
        let mut theatre = Theatre { stage, form, memory, first: Vec::new() };
        theatre.first = theatre.look();
        theatre
    }

    fn part(&self, i: usize) -> &[u8] {
        let (base, _, used) = self.memory[i];
        // SAFETY: so much of the mapping is there; whoever writes it is stopped.
        unsafe { std::slice::from_raw_parts(base, used) }
    }

    fn look(&self) -> Image {
        (0..self.memory.len()).map(|i| self.part(i).to_vec()).collect()
    }

    fn differs(&self, from: &Image) -> bool {
        (0..self.memory.len()).any(|i| self.part(i) != from[i])
    }

    fn put(&self, image: &Image) {
        for (&(base, _, used), bytes) in self.memory.iter().zip(image) {
            // SAFETY: so much of the mapping is there, and nobody else uses it now.
            unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), base, used) };
        }
    }

    /// Steps `act` through in a child, from `from` on; gives steps, and an image after each one
    /// that changed something.
    fn walk(&self, from: &Image, act: impl FnOnce(&Stage)) -> (u64, Vec<Image>) {
        self.put(from);
        let child = fork(|| {
            // SAFETY: asks to be traced by the thread that forked; no memory is involved.
            unsafe { libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0) };
            // SAFETY: stops this process until the tracer lets it go on.
            unsafe { libc::raise(libc::SIGSTOP) };
            act(&self.stage);
            0
        });
        let (mut steps, mut images) = (0, vec![from.clone()]);
        let mut status = wait(child);
        while libc::WIFSTOPPED(status) {
            // SAFETY: steps our stopped child; no signal is passed on.
            let stepped = unsafe { libc::ptrace(libc::PTRACE_SINGLESTEP, child, 0, 0) };
            assert_eq!(stepped, 0);
            status = wait(child);
            steps += 1;
            assert!(steps < 5_000_000, "it does not end");
            if self.differs(images.last().expect("one at least")) {
                images.push(self.look());
            }
        }
        assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0, "it ended badly");
        (steps, images)
    }

    /// Whether `act`, from this image on, leaves the job finished and right, as it says.
    fn ends_well(&self, image: &Image, act: impl FnOnce(&Stage, usize) -> bool) -> bool {
        self.put(image);
        let child = fork(|| {
            // SAFETY: a hang of the child is a death, and so a wrong end.
            unsafe { libc::alarm(20) };
            i32::from(!act(&self.stage, size(self.form).1))
        });
        let status = wait(child);
        libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0
    }
}

/// Runs `act` in a child that ends with its value.
fn fork(act: impl FnOnce() -> i32) -> i32 {
    // SAFETY: the child runs `act` on its one thread and ends without destructors; it prints
    // nothing and takes no lock that another thread of ours may hold, but malloc's, which glibc
    // keeps usable.
    let child = unsafe { libc::fork() };
    assert!(child >= 0, "fork");
    if child == 0 {
        let status = std::panic::catch_unwind(std::panic::AssertUnwindSafe(act)).unwrap_or(9);
        // SAFETY: ends the child.
        unsafe { libc::_exit(status) };
    }
    child
}

fn wait(child: i32) -> i32 {
    let mut status = 0;
    // SAFETY: our child, and a place for its status.
    let got = unsafe { libc::waitpid(child, &mut status, libc::__WALL) };
    assert_eq!(got, child);
    status
}

/// The others take over: recovery, then a second worker does the rest, then the first one again.
fn take_over(stage: &Stage, rows: usize) -> bool {
    stage.recover(0, 0);
    stage.work(1, 0);
    stage.work(0, 1);
    stage.is_right(rows, SALT)
}

/// As `take_over`, and the second worker is half way through whatever is free when recovery comes.
fn take_over_half_way(stage: &Stage, rows: usize) -> bool {
    HALF_WAY.store(1, Ordering::SeqCst);
    std::thread::scope(|s| {
        let other = s.spawn(|| stage.work(1, 0));
        while HALF_WAY.load(Ordering::SeqCst) != 2 && !other.is_finished() {
            std::thread::yield_now();
        }
        stage.recover(0, 0);
        HALF_WAY.store(3, Ordering::SeqCst);
    });
    HALF_WAY.store(0, Ordering::SeqCst);
    stage.work(1, 0);
    stage.work(0, 1);
    stage.is_right(rows, SALT)
}

/// All have died: a new run goes on with the file.
fn go_on(path: &Path, form: Form) -> bool {
    let (_, rows) = size(form);
    let stage = Stage::resumed(path, form, 1, rows, SALT);
    stage.work(0, 0);
    stage.is_right(rows, SALT)
}

#[derive(Debug, Default)]
#[allow(dead_code)] // read by printing it
struct Verdict {
    steps: u64,
    images: usize,
    wrong: usize,
    nested_steps: u64,
    nested_images: usize,
    nested_wrong: usize,
}

impl Verdict {
    fn is_convicted(&self) -> bool {
        self.wrong + self.nested_wrong >= ENOUGH
    }
}

/// The chosen mutant is one of the process.
static ONE: Mutex<()> = Mutex::new(());

/// More wrong ends than these say nothing new.
const ENOUGH: usize = 8;

/// The whole walk; `thin` takes each n-th image, `nested` each n-th for the walk inside recovery.
fn walk(form: Form, thin: usize, nested: usize) -> Verdict {
    let (chunks, rows) = size(form);
    let theatre = Theatre::new(form, Stage::new(form, 2, chunks, rows, SALT));
    let (steps, images) = theatre.walk(&theatre.first, |stage| stage.work(0, 0));
    let wrong = images
        .iter()
        .step_by(thin)
        .flat_map(|image| {
            [theatre.ends_well(image, take_over), theatre.ends_well(image, take_over_half_way)]
        })
        .filter(|well| !well)
        .take(ENOUGH)
        .count();
    let mut v = Verdict { steps, images: images.len(), wrong, ..Verdict::default() };
    for image in images.iter().step_by(nested) {
        if v.is_convicted() {
            break;
        }
        let (steps, inner) = theatre.walk(image, |stage| stage.recover(0, 0));
        v.nested_steps += steps;
        v.nested_images += inner.len();
        for image in &inner {
            v.nested_wrong += usize::from(!theatre.ends_well(image, take_over));
            v.nested_wrong += usize::from(!theatre.ends_well(image, take_over_half_way));
            if v.is_convicted() {
                break;
            }
        }
    }
    v
}

/// The walk of a job with a checkpoint: everything dies, and a new run goes on; and everything
/// dies again while it begins to.
fn walk_on_file(form: Form, nested: usize) -> Verdict {
    let (chunks, rows) = size(form);
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("x.npy");
    let theatre = Theatre::new(form, Stage::on_file(&path, form, 2, chunks, rows, SALT));
    let (steps, images) = theatre.walk(&theatre.first, |stage| stage.work(0, 0));
    let wrong = |image: &&Image| !theatre.ends_well(image, |_, _| go_on(&path, form));
    let wrong = images.iter().filter(wrong).take(ENOUGH).count();
    let mut v = Verdict { steps, images: images.len(), wrong, ..Verdict::default() };
    for image in images.iter().skip(nested.min(images.len())).step_by(nested) {
        if v.is_convicted() {
            break;
        }
        let begin = |_: &Stage| drop(Stage::resumed(&path, form, 1, rows, SALT));
        let (steps, inner) = theatre.walk(image, begin);
        v.nested_steps += steps;
        v.nested_images += inner.len();
        let wrong = |image: &&Image| !theatre.ends_well(image, |_, _| go_on(&path, form));
        v.nested_wrong += inner.iter().filter(wrong).take(ENOUGH).count();
    }
    v
}

#[cfg(not(feature = "walk-mutants"))]
#[test]
fn a_death_of_everything_after_any_instruction_changes_no_bit_of_a_job_with_a_checkpoint() {
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    // A resume is long to step through, and the same for all forms: only one is walked in it.
    for (form, nested) in FORMS.into_iter().zip([45, usize::MAX, usize::MAX]) {
        let start = Instant::now();
        let v = walk_on_file(form, nested);
        println!("{form:?} on a file: {v:?} in {:?}", start.elapsed());
        let (chunks, _) = size(form);
        assert!(
            v.images > chunks * 6 && v.nested_images >= v.images / nested * 5,
            "{form:?} {v:?}"
        );
        assert_eq!((v.wrong, v.nested_wrong), (0, 0), "{form:?} {v:?}");
    }
}

#[cfg(not(feature = "walk-mutants"))]
#[test]
fn a_death_after_any_instruction_of_worker_or_recovery_changes_no_bit() {
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    for (form, nested) in FORMS.into_iter().zip([7, 7, 300]) {
        convict_none(form, 1, nested);
    }
    // Each instruction set has machine code of its own for what the flagship keeps and changes; the
    // best one was it so far, the others have more stores.
    for (isa, thin) in [(Isa::Avx2, 4), (Isa::Scalar, 24)] {
        if isa.is_available() && isa != pinpool::kernels::isa::current() {
            pinpool::kernels::isa::force(isa).expect("it is available");
            println!("{isa}:");
            convict_none(Form::Kept, thin, usize::MAX);
        }
    }
}

#[cfg(not(feature = "walk-mutants"))]
fn convict_none(form: Form, thin: usize, nested: usize) {
    let start = Instant::now();
    let v = walk(form, thin, nested);
    println!("{form:?}: {v:?} in {:?}", start.elapsed());
    let (chunks, _) = size(form);
    assert!(v.images > chunks * 6, "the walk saw too little: {form:?} {v:?}");
    assert!(v.nested_images > v.images / nested, "the nested walk saw too little: {v:?}");
    assert_eq!((v.wrong, v.nested_wrong), (0, 0), "{form:?} {v:?}");
}

#[cfg(feature = "walk-mutants")]
#[test]
fn every_wrong_protocol_is_convicted() {
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    use pinpool::walk::{Mutant, choose};
    let mutants = [
        Mutant::NoJournal,
        Mutant::ArmBeforeSave,
        Mutant::DoneBeforeData,
        Mutant::DisarmBeforeDone,
        Mutant::NeverDisarm,
        Mutant::NoRestore,
        Mutant::RestoreUnchecked,
        Mutant::DisarmBeforeRestore,
        Mutant::FreeBeforeRestore,
        Mutant::FreeBeforeDisarmUnchecked,
    ];
    let mut acquitted = Vec::new();
    for mutant in mutants {
        choose(mutant);
        let start = Instant::now();
        let v = walk(Form::Ahead, 1, 13);
        println!("{mutant:?}: {v:?} in {:?}", start.elapsed());
        if v.wrong + v.nested_wrong == 0 {
            acquitted.push(mutant);
        }
    }
    // In a file a journal that stays armed for a done chunk is harmless, and R4 has no part.
    let on_file = [
        Mutant::NoJournal,
        Mutant::ArmBeforeSave,
        Mutant::DoneBeforeData,
        Mutant::DisarmBeforeDone,
        Mutant::NoRestore,
        Mutant::RestoreUnchecked,
        Mutant::DisarmBeforeRestore,
    ];
    for mutant in on_file {
        choose(mutant);
        // A resume is long to step through, and only what it does itself needs it.
        let nested = if mutant == Mutant::DisarmBeforeRestore { 45 } else { 1000 };
        let v = walk_on_file(Form::Ahead, nested);
        println!("on a file, {mutant:?}: {v:?}");
        if v.wrong + v.nested_wrong == 0 {
            acquitted.push(mutant);
        }
    }
    // What only a kernel that keeps its undo copies itself can do wrong.
    for mutant in [Mutant::KeptBeforeOld, Mutant::ChangedBeforeKept, Mutant::ArmBeforeSave] {
        choose(mutant);
        let v = walk(Form::Tiles, 1, 1000);
        println!("tiles, {mutant:?}: {v:?}");
        if v.wrong == 0 {
            acquitted.push(mutant);
        }
    }
    choose(Mutant::None);
    assert_eq!(acquitted, [], "the walk cannot see these");
    for (form, nested) in [(Form::Ahead, 13), (Form::Tiles, 1000)] {
        let v = walk(form, 1, nested);
        assert_eq!((v.wrong, v.nested_wrong), (0, 0), "the right protocol: {form:?} {v:?}");
    }
}
