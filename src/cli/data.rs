//! The array that a run works on: made, opened or copied, and not filled yet where it is drawn.

use std::path::Path;

use ndarray::Ix1;
use pinpool::{Pod, SharedArray};

use super::failure::Failure;
use super::plan::Source;

/// The array for a job.
///
/// A file is read where it lies unless the job changes the array or the array is to have a name;
/// then it is copied, and the user's file stays as it is.
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
            let mut copy = empty(file.len(), name)?;
            copy.as_mut_slice().copy_from_slice(file.as_slice());
            Ok(copy)
        }
    }
}

/// Puts the elements of the source's file back into an array that a job has changed.
pub(super) fn read_again<T: Pod>(
    path: &Path,
    array: &mut SharedArray<T, Ix1>,
) -> Result<(), Failure> {
    let file = open(path)?;
    if file.len() != array.len() {
        return Err(Failure::InputChanged { path: path.display().to_string() });
    }
    array.as_mut_slice().copy_from_slice(file.as_slice());
    Ok(())
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
    if array.is_empty() {
        return Err(Failure::EmptyInput { path: path.display().to_string() });
    }
    Ok(array)
}
