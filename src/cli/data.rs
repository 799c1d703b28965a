//! The array that a run works on: made, opened or copied, and not filled yet where it is drawn.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use bytemuck::cast_slice_mut;
use ndarray::Ix1;
use pinpool::{Pod, SharedArray};

use super::failure::Failure;
use super::plan::Source;

/// The array for a job.
///
/// A file is read where it lies unless the job changes the array or the array is to have a name;
/// then it is copied, and the user's file stays as it is; but `--array` is that very file.
pub(super) fn make<T: Pod>(
    source: &Source,
    name: Option<&str>,
    changed: bool,
) -> Result<SharedArray<T, Ix1>, Failure> {
    match source {
        Source::Drawn { elements, .. } => empty(*elements, name),
        Source::File(path) => {
            let file = open(path)?;
            if name.is_none() && !changed {
                return Ok(file);
            }
            let len = file.len();
            drop(file);
            let mut copy = empty(len, name)?;
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

fn empty<T: Pod>(elements: usize, name: Option<&str>) -> Result<SharedArray<T, Ix1>, Failure> {
    let Some(name) = name else { return Ok(SharedArray::zeros(elements)?) };
    // SAFETY: the contract is the user's, who asked for a name: `--help` and the README say that
    // other programs may read at any time and write between jobs only.
    let array = unsafe { SharedArray::create_named(name, elements) }?;
    Ok(array)
}

fn open<T: Pod>(path: &Path) -> Result<SharedArray<T, Ix1>, Failure> {
    // SAFETY: the contract is the user's, who named the file: nobody writes into it or cuts it
    // short while the program reads it; `--help` and the README say so.
    let array = unsafe { SharedArray::open_file_read_only(path) }?;
    not_empty(array, path)
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
