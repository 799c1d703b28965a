//! Nameless segments: a sealed memfd, reached by descriptor only.
//!
//! Nothing to guess, squat on or leak, and no limit from the size of /dev/shm.
#![forbid(unsafe_code)]

use std::io;
use std::sync::Arc;

use super::{CreateError, Kind, Reserve, Segment, check_memory, size_and_reserve};
use crate::sys::mem;

impl Segment {
    /// Makes a nameless segment of `len` zero bytes; `label` is what people see in /proc/PID/fd.
    pub(crate) fn nameless(label: &str, len: usize) -> Result<Arc<Self>, CreateError> {
        Self::nameless_when(label, len, Reserve::Now)
    }

    /// The same, reserved now or later.
    pub(crate) fn nameless_when(
        label: &str,
        len: usize,
        reserve: Reserve,
    ) -> Result<Arc<Self>, CreateError> {
        let name = format!("pinpool:{label}");
        let error = |action| {
            let name = name.clone();
            move |source: io::Error| CreateError::System { action, name, source }
        };
        check_memory(len)?;
        let fd = mem::memfd(&name).map_err(error("create"))?;
        size_and_reserve(&fd, len, &name, "memory", reserve)?;
        mem::seal_length(&fd).map_err(error("seal"))?;
        let map_error = error("map");
        Self::map(fd, len, true, Kind::Nameless(name)).map_err(map_error)
    }
}
