//! What a child writes: kept in memory, and what is long in a file without a name.

#![forbid(unsafe_code)]

use std::env;
use std::fs::File;
use std::io::{self, Read, Seek, Write};

use rustix::fs::{Mode, OFlags};

/// More than this of one stream goes to a file. Unit tests measure the memory of their process, so
/// that theirs stay small.
const IN_MEMORY_BYTES: usize = if cfg!(test) { 1 << 12 } else { 1 << 20 };

/// The bytes of one stream, in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Capture {
    /// What came before goes first.
    file: Option<File>,
    memory: Vec<u8>,
}

impl Capture {
    /// Reads what a pipe has at the moment, up to `limit` bytes or so; `false` at its end.
    pub(super) fn take(&mut self, pipe: &mut impl Read, limit: usize) -> bool {
        let mut block = [0; 1 << 14];
        let mut taken = 0;
        while taken < limit {
            match pipe.read(&mut block) {
                Ok(0) => return false,
                Ok(n) => {
                    taken += n;
                    self.memory.extend_from_slice(&block[..n]);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
        }
        if self.memory.len() > IN_MEMORY_BYTES {
            self.spill();
        }
        true
    }

    /// Moves what is in memory to the file; where there is none to be had, it stays.
    fn spill(&mut self) {
        if self.file.is_none() {
            let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
            let file = rustix::fs::open(env::temp_dir(), flags, Mode::RUSR | Mode::WUSR);
            self.file = file.ok().map(File::from);
        }
        let Some(file) = &mut self.file else { return };
        while !self.memory.is_empty() {
            match file.write(&self.memory) {
                Ok(n) if n > 0 => drop(self.memory.drain(..n)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // A full disk: from here on in memory.
                _ => return,
            }
        }
    }

    /// Writes all of it.
    pub(super) fn emit(mut self, out: &mut impl Write) -> io::Result<()> {
        if let Some(file) = &mut self.file {
            file.rewind()?;
            io::copy(file, out)?;
        }
        out.write_all(&self.memory)?;
        out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_and_short_output_comes_back_whole() {
        for len in [0, 1, IN_MEMORY_BYTES, 3 * IN_MEMORY_BYTES + 17] {
            let bytes: Vec<u8> = (0..len).map(|i| (i % 251) as u8).collect();
            let (mut capture, mut pipe) = (Capture::default(), bytes.as_slice());
            while capture.take(&mut pipe, 1 << 14) {}
            let mut out = Vec::new();
            capture.emit(&mut out).unwrap();
            assert!(out == bytes, "{len} bytes");
        }
    }
}
