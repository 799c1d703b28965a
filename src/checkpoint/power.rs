//! Power losses, simulated: whatever part of the unsynced sectors a disk has kept, a durable job
//! that goes on from it ends with the same bits; and each sync left out is convicted.
//!
//! One thread runs a durable job while every sync it asks for is watched. A disk is modelled as
//! sectors of 512 bytes, each of which may hold any of the contents that it had since it was last
//! synced (a kernel may write a page back at any time, and in any order). At each sync, before and
//! after it, and in the middle of the kernel, images of what the disk may hold are drawn: the
//! oldest, the newest, and random mixtures. Then the job is resumed on each image.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use ndarray::Ix1;

use super::Checkpoint;
use crate::args::{ChunkMut, ChunkUndo};
use crate::array::SharedArray;
use crate::ctx::Ctx;
use crate::pool::{Backend, Pool};
use crate::sys::flush::{self, Step, Watch};

const SECTOR: usize = 512;
const CHUNKS: usize = 6;
/// 800 bytes: chunks share sectors.
const ROWS: usize = 100;
/// Images drawn at one instant.
const DRAWS: usize = 24;

type Array = SharedArray<u64, Ix1>;

/// What a file may hold after a loss of power now.
struct Platter {
    path: PathBuf,
    /// The contents of each sector since it was last synced, that of the sync first.
    sectors: Vec<Vec<Vec<u8>>>,
}

impl Platter {
    fn look(&mut self) {
        let now = fs::read(&self.path).expect("a file");
        for (versions, now) in self.sectors.iter_mut().zip(now.chunks(SECTOR)) {
            if versions.last().is_some_and(|last| last != now) {
                versions.push(now.to_vec());
            }
        }
    }

    fn synced(&mut self, start: usize, len: usize) {
        for versions in &mut self.sectors[start / SECTOR..(start + len).div_ceil(SECTOR)] {
            versions.drain(..versions.len() - 1);
        }
    }

    fn image(&self, mut pick: impl FnMut(usize) -> usize) -> Vec<u8> {
        self.sectors.iter().flat_map(|s| s[pick(s.len())].clone()).collect()
    }
}

/// The disk, and the images that were drawn from it.
struct Disk {
    files: Vec<Platter>,
    left_out: Option<Step>,
    dice: u64,
    images: BTreeMap<[Vec<u8>; 2], ()>,
    calls: usize,
}

impl Disk {
    fn roll(&mut self, n: usize) -> usize {
        self.dice = self.dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.dice >> 33) as usize % n
    }

    fn draw(&mut self) {
        self.files.iter_mut().for_each(Platter::look);
        let files = std::mem::take(&mut self.files);
        for draw in 0..DRAWS {
            let image = [0, 1].map(|f: usize| {
                files[f].image(|versions| match draw {
                    0 => 0,
                    1 => versions - 1,
                    _ => self.roll(versions),
                })
            });
            self.images.insert(image, ());
        }
        self.files = files;
    }

    /// The file that is mapped at an address, and the address's place in it.
    fn place(&self, at: usize) -> (usize, usize) {
        let maps = fs::read_to_string("/proc/self/maps").expect("maps");
        let line = maps.lines().find(|line| {
            let (start, end) = line.split(' ').next().and_then(|r| r.split_once('-')).unwrap();
            let number = |text| usize::from_str_radix(text, 16).unwrap();
            (number(start)..number(end)).contains(&at)
        });
        let line = line.expect("mapped");
        let start = usize::from_str_radix(line.split('-').next().unwrap(), 16).unwrap();
        let name = line.split_whitespace().last().unwrap();
        let file = self.files.iter().position(|f| f.path.to_str() == Some(name));
        (file.expect("one of the two"), at - start)
    }
}

struct Watcher(Rc<RefCell<Disk>>);

impl Watch for Watcher {
    fn before(&mut self, step: Step, _: *const u8, _: usize) -> bool {
        let mut disk = self.0.borrow_mut();
        disk.draw();
        disk.calls += 1;
        disk.left_out == Some(step)
    }

    fn after(&mut self, _: Step, base: *const u8, len: usize) {
        let mut disk = self.0.borrow_mut();
        let (file, start) = disk.place(base as usize);
        disk.files[file].synced(start, len);
        disk.draw();
    }

    fn look(&mut self) {
        self.0.borrow_mut().draw();
    }
}

fn open(path: &Path) -> Array {
    // SAFETY: this test's own file.
    unsafe { SharedArray::open_file(path) }.expect("an array")
}

thread_local!(static FAILS: RefCell<bool> = const { RefCell::new(false) });

/// What becomes of element `i` of a chunk.
fn change(v: &mut u64, i: usize, ctx: &mut Ctx) -> Result<(), &'static str> {
    *v = v.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(ctx.rng().next_u64());
    if i == ROWS / 2 {
        flush::look();
        if ctx.chunk() == 4 && FAILS.with(|f| *f.borrow()) {
            return Err("half way");
        }
    }
    Ok(())
}

fn sum(c: &[u64], ctx: &mut Ctx) -> u64 {
    c.iter().fold(ctx.chunk() + 1, |sum, v| sum.wrapping_mul(31).wrapping_add(*v))
}

/// Chunk 4 fails the first time, half way, as far as its parameter says.
fn run(
    pool: &Pool,
    path: &Path,
    checkpoint: Checkpoint,
    by_tiles: bool,
    fails: bool,
) -> crate::Result<Vec<u64>> {
    let mut x = open(path);
    let job = pool.job().stream(1).checkpoint(checkpoint.keep(true));
    FAILS.with(|f| *f.borrow_mut() = fails);
    let ahead = |mut c: ChunkMut<'_, u64, Ix1>, ctx: &mut Ctx| {
        for i in 0..c.len() {
            change(&mut c[i], i, ctx)?;
        }
        Ok::<_, &str>(sum(c.as_slice(), ctx))
    };
    let tiles = |mut c: ChunkUndo<'_, u64, Ix1>, ctx: &mut Ctx| {
        let (mut i, mut end) = (0, Ok(()));
        c.for_each_tile(7, |tile| {
            for v in tile {
                if end.is_ok() {
                    end = change(v, i, ctx);
                }
                i += 1;
            }
        });
        end.map(|()| sum(c.as_slice(), ctx))
    };
    let sums = match by_tiles {
        false => job.try_map(x.chunks_mut(ROWS), ahead)?,
        true => job.try_map(x.chunks_undo(ROWS), tiles)?,
    };
    Ok(sums.as_slice().to_vec())
}

struct Verdict {
    calls: usize,
    images: usize,
    wrong: usize,
}

/// Runs the job once, watched, with one kind of sync left out; resumes it on every image.
fn lose_power(by_tiles: bool, left_out: Option<Step>) -> Verdict {
    let folder = tempfile::Builder::new().prefix("pinpool-power-").tempdir_in("/dev/shm").unwrap();
    let path = folder.path().join("x.npy");
    let file = Checkpoint::beside(&path);
    // SAFETY: this test's own file.
    let mut x: Array = unsafe { SharedArray::create_file(&path, CHUNKS * ROWS) }.unwrap();
    x.as_mut_slice().iter_mut().zip(0..).for_each(|(v, i)| *v = i);
    drop(x);
    let first = fs::read(&path).unwrap();
    let pool = Pool::builder().backend(Backend::Serial).seed(3).build().unwrap();
    let put = |path: &Path, bytes: &[u8]| {
        let file = fs::OpenOptions::new().write(true).open(path).unwrap();
        file.write_all_at(bytes, 0).unwrap();
    };

    // The undisturbed run also shows the checkpoint as it is when it has just been made.
    let sums = run(&pool, &path, Checkpoint::begin(&file).durable(true), by_tiles, false).unwrap();
    let expected = (fs::read(&path).unwrap(), sums);
    let mut made = fs::read(&file).unwrap();
    made[4096..].fill(0);

    put(&path, &first);
    put(&file, &made);
    let platter = |path: &Path, bytes: &[u8]| Platter {
        path: path.to_owned(),
        sectors: bytes.chunks(SECTOR).map(|s| vec![s.to_vec()]).collect(),
    };
    let files = vec![platter(&path, &first), platter(&file, &made)];
    let disk = Disk { files, left_out, dice: 77, images: BTreeMap::new(), calls: 0 };
    let disk = Rc::new(RefCell::new(disk));
    flush::watch(Some(Box::new(Watcher(Rc::clone(&disk)))));
    let failed = run(&pool, &path, Checkpoint::resume(&file), by_tiles, true);
    // As if another worker had been to take chunk 3 and has not yet: the next one to use the
    // journal is then not the one of chunk 4.
    let chunk = 4096 + 3 * ROWS * 8..4096 + 4 * ROWS * 8;
    for (f, range) in [(0, chunk), (1, 4096 + 24..4096 + 32), (1, 8192 + 24..8192 + 32)] {
        let (name, bytes) = [(&path, &first), (&file, &made)][f];
        let to = fs::OpenOptions::new().write(true).open(name).unwrap();
        to.write_all_at(&bytes[range.clone()], range.start as u64).unwrap();
        let platter = &mut disk.borrow_mut().files[f];
        platter.look();
        platter.synced(range.start, range.len());
    }
    let done = run(&pool, &path, Checkpoint::resume(&file), by_tiles, false);
    flush::watch(None);
    assert!(failed.is_err() && done.unwrap() == expected.1, "without a loss all is well");
    disk.borrow_mut().draw();

    let disk = disk.borrow();
    let wrong = disk.images.keys().filter(|[array, checkpoint]| {
        put(&path, array);
        put(&file, checkpoint);
        let sums = run(&pool, &path, Checkpoint::resume(&file), by_tiles, false);
        !sums.is_ok_and(|sums| sums == expected.1) || fs::read(&path).unwrap() != expected.0
    });
    Verdict { calls: disk.calls, wrong: wrong.count(), images: disk.images.len() }
}

#[test]
fn whatever_a_loss_of_power_leaves_of_a_durable_job_it_ends_with_the_same_bits() {
    for by_tiles in [false, true] {
        let verdict = lose_power(by_tiles, None);
        println!("{} syncs, {} images, {} wrong", verdict.calls, verdict.images, verdict.wrong);
        assert!(verdict.calls > CHUNKS * 5 && verdict.images > CHUNKS * 25, "it saw too little");
        assert_eq!(verdict.wrong, 0);
    }
}

#[test]
fn each_sync_that_is_left_out_is_convicted() {
    use Step::{Armed, Data, Disarmed, Journal, Mark, Restored, Slot};
    for step in [Journal, Armed, Data, Slot, Mark, Restored, Disarmed] {
        let verdict = lose_power(false, Some(step));
        println!("without {step:?}: {} of {} images wrong", verdict.wrong, verdict.images);
        assert!(verdict.wrong > 0, "nobody misses {step:?}");
    }
}
