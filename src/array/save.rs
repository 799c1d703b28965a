//! Saving an array as a plain `.npy` file: whole under its name, or not there.
#![forbid(unsafe_code)]

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use ndarray::Dimension;

use super::SharedArray;
use crate::element::{Dtype, Pod};
use crate::npy;

/// Why an array could not be saved.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SaveError {
    /// The system refused.
    #[error(
        "cannot write '{path}': {source}; nothing was changed there, choose another path or make room"
    )]
    System {
        /// The file.
        path: String,
        /// The system's reason.
        source: io::Error,
    },
}

impl<T: Pod, D: Dimension> SharedArray<T, D> {
    /// Saves it as a `.npy` file that `numpy.load` and [`open_file`](Self::open_file) read.
    ///
    /// A file that is there is replaced in one step, and left as it is on an error.
    ///
    /// # Errors
    /// [`SaveError`]: the file cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), SaveError> {
        save(path.as_ref(), &self.dtype(), self.shape(), bytemuck::cast_slice(self.as_slice()))
    }
}

pub(super) fn save(
    path: &Path,
    dtype: &Dtype,
    shape: &[usize],
    data: &[u8],
) -> Result<(), SaveError> {
    replace(path, &[&npy::write(dtype, shape), data])
        .map_err(|source| SaveError::System { path: path.display().to_string(), source })
}

/// Writes a file beside `path` and renames it; what is no regular file is written into.
fn replace(path: &Path, parts: &[&[u8]]) -> io::Result<()> {
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let permissions = match fs::metadata(&target) {
        Ok(meta) if !meta.is_file() => {
            return write_parts(OpenOptions::new().write(true).open(&target)?, parts);
        }
        Ok(meta) => Some(meta.permissions()),
        Err(_) => None,
    };
    let temporary = temporary_name(&target)?;
    let made = OpenOptions::new()
        .write(true)
        .create_new(true)
        .custom_flags(libc::O_NOFOLLOW)
        .open(&temporary)
        .and_then(|file| {
            permissions.map_or(Ok(()), |permissions| file.set_permissions(permissions))?;
            write_parts(file, parts)
        })
        .and_then(|()| fs::rename(&temporary, &target));
    if made.is_err() {
        // Best effort: the first error is the one to report.
        let _ = fs::remove_file(&temporary);
    }
    made
}

fn write_parts(mut file: File, parts: &[&[u8]]) -> io::Result<()> {
    parts.iter().try_for_each(|part| file.write_all(part))
}

/// A name in the same directory that nobody else takes.
fn temporary_name(target: &Path) -> io::Result<PathBuf> {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let name = target.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let mut temporary = std::ffi::OsString::from(".");
    temporary.push(name);
    let number = COUNTER.fetch_add(1, Ordering::Relaxed);
    temporary.push(format!(".{}-{number}.tmp", std::process::id()));
    Ok(target.with_file_name(temporary))
}
