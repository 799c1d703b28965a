//! Which program a worker process is: the host itself, started again, or `pinpool-worker`.
//!
//! A worker must run the image that this crate's code lies in, since a kernel is an offset in it.
//! Where the loader maps that image anew with the host's program, the host is executed again.
//! Where it was loaded while the host ran (a plugin, a Python module), a small program beside the
//! image loads it and calls [`ENTRY`](crate::worker_process). The page is `docs/hosts.md`.

#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::fs::{File, Metadata, OpenOptions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::error::{StartError, WorkerProgramError};
use crate::sys::image::Image;
use crate::sys::process;
use crate::worker_process::{ENTRY_NAME, ENTRY_VARIABLE, LIBRARY_VARIABLE};

/// Names the worker program where none is named in the program; not looked at in a program that
/// runs with more rights than its user.
const PROGRAM_VARIABLE: &str = "PINPOOL_WORKER_PROGRAM";

/// What the worker program is called beside the image.
const PROGRAM_NAME: &str = "pinpool-worker";

/// What workers execute.
#[derive(Debug)]
pub(crate) enum Program {
    /// The host's own program again.
    Itself,
    /// The worker program, which loads the image.
    Beside {
        /// Opened once, so that a worker that is started later is the same program.
        program: File,
        /// The image.
        library: PathBuf,
    },
}

impl Program {
    /// Decides it for this process; `asked` is the caller's wish.
    pub(crate) fn choose(asked: Option<&Path>) -> Result<Program, StartError> {
        let image = Image::own();
        if image.is_executable {
            return match asked {
                None => Ok(Program::Itself),
                Some(program) => {
                    Err(StartError::NeedlessWorkerProgram { program: program.to_owned() })
                }
            };
        }
        if asked.is_none() && image.is_loaded_with_program() {
            return Ok(Program::Itself);
        }
        let library = Image::file().map_err(|source| StartError::System {
            what: "reading /proc/self/maps",
            source,
            advice: "mount /proc, where the pool finds the file of its own code",
        })?;
        let library = library.ok_or(StartError::LibraryGone)?;
        let from_env = || {
            let path = std::env::var_os(PROGRAM_VARIABLE).filter(|_| !process::is_privileged());
            path.map(PathBuf::from)
        };
        let path = asked
            .map(Path::to_owned)
            .or_else(from_env)
            .unwrap_or_else(|| library.with_file_name(PROGRAM_NAME));
        match open(&path, &library) {
            Ok(program) => Ok(Program::Beside { program, library }),
            Err(problem) => Err(StartError::WorkerProgram { program: path, library, problem }),
        }
    }

    /// Where the worker's program is to be found by this process and its children.
    pub(crate) fn path(&self) -> String {
        match self {
            // The image that is running, also after its file was replaced.
            Program::Itself => "/proc/self/exe".into(),
            Program::Beside { program, .. } => format!("/proc/self/fd/{}", program.as_raw_fd()),
        }
    }

    /// What the worker's program must find in its environment.
    pub(crate) fn env(&self) -> Vec<(OsString, OsString)> {
        match self {
            Program::Itself => Vec::new(),
            Program::Beside { library, .. } => vec![
                (LIBRARY_VARIABLE.into(), library.into()),
                (ENTRY_VARIABLE.into(), ENTRY_NAME.into()),
            ],
        }
    }

    /// The host's own code is not in the workers.
    pub(crate) fn is_beside(&self) -> bool {
        matches!(self, Program::Beside { .. })
    }
}

/// Opens the worker program if it can be trusted as much as the image itself.
fn open(path: &Path, library: &Path) -> Result<File, WorkerProgramError> {
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(path)
        .map_err(WorkerProgramError::Open)?;
    let stat = file.metadata().map_err(WorkerProgramError::Open)?;
    let owner_of_library = std::fs::metadata(library).map_or(0, |stat| stat.uid());
    let me = rustix::process::geteuid().as_raw();
    check(&stat, &[0, me, owner_of_library])?;
    Ok(file)
}

fn check(stat: &Metadata, owners: &[u32]) -> Result<(), WorkerProgramError> {
    const OTHERS_WRITE: u32 = 0o002;
    const EXECUTE: u32 = 0o111;
    if !stat.is_file() || stat.mode() & EXECUTE == 0 {
        return Err(WorkerProgramError::NotExecutable);
    }
    if stat.mode() & OTHERS_WRITE != 0 {
        return Err(WorkerProgramError::Writable);
    }
    if !owners.contains(&stat.uid()) {
        return Err(WorkerProgramError::Owner { uid: stat.uid() });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_program_that_holds_this_code_is_executed_again() {
        let program = Program::choose(None).unwrap();
        assert!(!program.is_beside());
        assert_eq!(program.path(), "/proc/self/exe");
        assert!(program.env().is_empty());
        let error = Program::choose(Some(Path::new("/bin/true"))).unwrap_err();
        assert!(error.to_string().contains("leave it out"), "{error}");
    }

    #[test]
    fn a_worker_program_that_others_may_write_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(PROGRAM_NAME);
        let opened = |mode| {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            open(&path, folder.path())
        };
        assert!(matches!(open(&path, folder.path()), Err(WorkerProgramError::Open(_))));
        std::fs::write(&path, "").unwrap();
        assert!(matches!(opened(0o644), Err(WorkerProgramError::NotExecutable)));
        assert!(matches!(opened(0o757), Err(WorkerProgramError::Writable)));
        assert!(opened(0o775).is_ok());
        assert!(matches!(
            open(folder.path(), folder.path()),
            Err(WorkerProgramError::NotExecutable)
        ));
        let stat = std::fs::metadata(&path).unwrap();
        let error = check(&stat, &[stat.uid() + 1]).unwrap_err();
        assert!(matches!(error, WorkerProgramError::Owner { uid } if uid == stat.uid()));
    }

    #[test]
    fn the_worker_program_is_told_what_to_load_and_what_to_call() {
        let file = File::open("/").unwrap();
        let fd = file.as_raw_fd();
        let program = Program::Beside { program: file, library: "/a/lib.so".into() };
        assert_eq!(program.path(), format!("/proc/self/fd/{fd}"));
        assert_eq!(
            program.env(),
            [
                ("PINPOOL_LIBRARY".into(), "/a/lib.so".into()),
                ("PINPOOL_ENTRY".into(), "pinpool_worker_0_1".into())
            ]
        );
    }
}
