//! The file that a page goes to: opened before anything is timed, so that a path that cannot be
//! written is an error then, and changed when there is a whole page for it.

#![forbid(unsafe_code)]

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::Page;
use crate::cli::failure::Failure;
use crate::cli::interrupt;

/// An open file without a page in it as yet; one that was made for it goes where none comes.
#[derive(Debug)]
pub(in crate::cli) struct PageFile {
    file: File,
    /// Where there was none before.
    made: Option<PathBuf>,
}

impl PageFile {
    pub(in crate::cli) fn open(path: &Path) -> Result<PageFile, Failure> {
        let failed = |source| Failure::System { action: "open the file for the report", source };
        match OpenOptions::new().write(true).create_new(true).open(path) {
            Ok(file) => {
                interrupt::remove_at_end(path.to_owned());
                Ok(PageFile { file, made: Some(path.to_owned()) })
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let file = OpenOptions::new().write(true).open(path).map_err(failed)?;
                Ok(PageFile { file, made: None })
            }
            Err(error) => Err(failed(error)),
        }
    }

    /// Puts the page in the place of what was there.
    pub(in crate::cli) fn write(mut self, page: &Page) -> Result<(), Failure> {
        let mut put = || -> io::Result<()> {
            // A pipe or a terminal has no length.
            if self.file.metadata()?.is_file() {
                self.file.set_len(0)?;
            }
            self.file.write_all(page.html().as_bytes())
        };
        put().map_err(|source| Failure::System { action: "write the report", source })?;
        if let Some(path) = self.made.take() {
            interrupt::stays(&path);
        }
        Ok(())
    }
}

impl Drop for PageFile {
    fn drop(&mut self) {
        if let Some(path) = &self.made {
            // It may be gone already, which is all that is wanted.
            let _ = fs::remove_file(path);
            interrupt::stays(path);
        }
    }
}
