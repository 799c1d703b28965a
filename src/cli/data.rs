//! The array that a run works on: made, opened or copied, and not filled yet where it is drawn.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use bytemuck::cast_slice_mut;
use ndarray::Ix1;
use pinpool::{Pod, Pool, SharedArray};

use super::failure::Failure;
use super::pages::PagesArgs;
use super::plan::{Plan, Source};

/// How an array is made that is not read where it lies.
#[derive(Debug, Clone, Copy)]
pub(super) struct How<'a> {
    pub(super) name: Option<&'a str>,
    pub(super) pages: PagesArgs,
    /// Who will work on it, and by which plan.
    pub(super) pool: &'a Pool,
    pub(super) plan: &'a Plan,
}

/// The array for a job.
///
/// A file is read where it lies unless the job changes the array, or the array is to have a name or
/// memory of its own kind; then it is copied, and the user's file stays as it is; but `--array` is
/// that very file.
pub(super) fn make<T: Pod>(
    source: &Source,
    how: &How<'_>,
    changed: bool,
) -> Result<SharedArray<T, Ix1>, Failure> {
    match source {
        Source::Drawn { elements, .. } => empty(*elements, how),
        Source::File(path) => {
            let file = open(path)?;
            if how.name.is_none() && how.pages.asked().is_none() && !changed {
                return Ok(file);
            }
            let len = file.len();
            drop(file);
            let mut copy = empty(len, how)?;
            read_again(path, &mut copy)?;
            Ok(copy)
        }
        Source::Array(path) => {
            // SAFETY: the contract is the user's, as in `open`.
            let array = unsafe { SharedArray::open_file(path) }?;
            not_empty(array, path)
        }
    }
}

/// Reads the elements of the source's file into an array, as they were before a job changed them.
///
/// By `read` and not through a mapping, whose pages would count as memory of ours.
pub(super) fn read_again<T: Pod>(
    path: &Path,
    array: &mut SharedArray<T, Ix1>,
) -> Result<(), Failure> {
    let changed = || Failure::InputChanged { path: path.display().to_string() };
    let checked = open::<T>(path)?.len();
    if checked != array.len() {
        return Err(changed());
    }
    let mut read = || -> io::Result<()> {
        let mut file = File::open(path)?;
        let offset = data_offset(&mut file)?;
        file.seek(SeekFrom::Start(offset))?;
        file.read_exact(cast_slice_mut(array.as_mut_slice()))
    };
    read().map_err(|_| changed())
}

/// Where the data of a `.npy` file begin whose header has been checked.
fn data_offset(file: &mut File) -> io::Result<u64> {
    let mut start = [0; 12];
    file.read_exact(&mut start)?;
    let [.., major, _, a, b, c, d] = start;
    Ok(match major {
        1 => 10 + u64::from(u16::from_le_bytes([a, b])),
        _ => 12 + u64::from(u32::from_le_bytes([a, b, c, d])),
    })
}

fn empty<T: Pod>(elements: usize, how: &How<'_>) -> Result<SharedArray<T, Ix1>, Failure> {
    let PagesArgs { pages, place } = how.pages;
    let array = SharedArray::builder(elements)
        .pages(pages)
        .numa(place.numa)
        .prefault(place.prefault)
        .owners(how.pool, how.plan.chunk(elements)?);
    let Some(name) = how.name else { return Ok(array.create()?) };
    // SAFETY: the contract is the user's, who asked for a name: `--help` and the README say that
    // other programs may read at any time and write between jobs only.
    let array = unsafe { array.create_named(name) }?;
    Ok(array)
}

/// The file in place, to read.
pub(super) fn map<T: Pod>(path: &Path) -> pinpool::Result<SharedArray<T, Ix1>> {
    // SAFETY: the contract is the user's, who named the file: nobody writes into it or cuts it
    // short while the program reads it; `--help` and the README say so.
    Ok(unsafe { SharedArray::open_file_read_only(path) }?)
}

fn open<T: Pod>(path: &Path) -> Result<SharedArray<T, Ix1>, Failure> {
    not_empty(map(path)?, path)
}

fn not_empty<T: Pod>(
    array: SharedArray<T, Ix1>,
    path: &Path,
) -> Result<SharedArray<T, Ix1>, Failure> {
    if array.is_empty() {
        return Err(Failure::EmptyInput { path: path.display().to_string() });
    }
    Ok(array)
}
