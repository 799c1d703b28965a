//! Pinning the calling thread, and asking where it may run. The one file of placement with
//! `unsafe`: the safe wrappers know masks of 1024 PUs only, machines have more.
//!
//! The kernel silently intersects a mask with the cpuset, so every change is read back; only an
//! empty intersection is an error of its own. Called by a worker at its start.

use crate::topology::{PU_LIMIT, PuSet};

/// What `core_affinity` can name.
const SMALL_MASK: usize = 1024;

/// Why a thread was not pinned.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// The kernel refuses the mask: none of its PUs is online and in the cpuset.
    #[error("cannot pin to PUs {asked}: {source}; check that they are online and in the cpuset")]
    Refused {
        /// The PUs.
        asked: PuSet,
        /// What the kernel said.
        #[source]
        source: std::io::Error,
    },
    /// The kernel took the mask, and the thread may run elsewhere all the same.
    #[error(
        "asked to be pinned to PUs {asked}, the kernel gave {got}; check for a tool that moves threads"
    )]
    Elsewhere {
        /// The PUs asked for.
        asked: PuSet,
        /// The mask read back.
        got: PuSet,
    },
    /// The mask of the thread cannot be read.
    #[error("cannot read the mask of this thread: {source}; check what sandbox this runs in")]
    Unreadable {
        /// What the kernel said.
        #[source]
        source: std::io::Error,
    },
}

/// Pins the calling thread to these PUs and returns the mask that it really got, which is a
/// part of them. An empty slice changes nothing and returns the mask as it is.
pub fn bind_current_thread(pus: &[usize]) -> Result<PuSet, BindError> {
    if pus.is_empty() {
        return current_mask();
    }
    let asked: PuSet = pus.iter().copied().collect();
    match asked.as_slice() {
        // Says only that it failed, not why: the raw call is then asked for the reason.
        [pu] if *pu < SMALL_MASK
            && core_affinity::set_for_current(core_affinity::CoreId { id: *pu }) => {}
        _ => set_mask(&asked)
            .map_err(|source| BindError::Refused { asked: asked.clone(), source })?,
    }
    let got = current_mask()?;
    if got.difference(&asked).is_empty() {
        Ok(got)
    } else {
        Err(BindError::Elsewhere { asked, got })
    }
}

/// The PUs that the calling thread may run on now.
pub(crate) fn current_mask() -> Result<PuSet, BindError> {
    let mut words = vec![0u64; PU_LIMIT / 64];
    // SAFETY:
    // - the pointer is valid for writes of the size that is passed, which is that of the vector;
    // - the kernel writes at most that many bytes, and every bit pattern is a valid u64;
    // - the raw call is used, not glibc's wrapper, which would clear beyond what was written.
    let written = unsafe {
        libc::syscall(
            libc::SYS_sched_getaffinity,
            0,
            words.len() * size_of::<u64>(),
            words.as_mut_ptr(),
        )
    };
    let Ok(written) = usize::try_from(written) else {
        return Err(BindError::Unreadable { source: std::io::Error::last_os_error() });
    };
    let bits = words.iter().take(written.div_ceil(8)).enumerate();
    Ok(bits
        .flat_map(|(at, word)| {
            (0..64).filter(move |b| word >> b & 1 == 1).map(move |b| at * 64 + b)
        })
        .collect())
}

fn set_mask(pus: &PuSet) -> std::io::Result<()> {
    let mut words = vec![0u64; pus.last().unwrap_or(0) / 64 + 1];
    for pu in pus.iter() {
        words[pu / 64] |= 1 << (pu % 64);
    }
    // SAFETY:
    // - the pointer is valid for reads of the size that is passed, which is that of the vector;
    // - 0 names the calling thread, so no other thread's state is touched.
    let done = unsafe {
        libc::syscall(
            libc::SYS_sched_setaffinity,
            0,
            words.len() * size_of::<u64>(),
            words.as_ptr(),
        )
    };
    if done == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_pinned_and_the_mask_read_back() {
        std::thread::spawn(|| {
            let before = current_mask().unwrap();
            assert_eq!(bind_current_thread(&[]).unwrap(), before);
            let last = before.last().unwrap();
            assert_eq!(bind_current_thread(&[last]).unwrap().as_slice(), [last]);
            assert_eq!(current_mask().unwrap().as_slice(), [last]);
            // Two PUs take the raw call; the kernel cuts away what does not exist.
            let wide = [before.first().unwrap(), PU_LIMIT - 1];
            assert_eq!(bind_current_thread(&wide).unwrap().as_slice(), [wide[0]]);
        })
        .join()
        .unwrap();
    }

    #[test]
    fn a_mask_without_a_real_pu_is_refused() {
        std::thread::spawn(|| {
            let refused = bind_current_thread(&[PU_LIMIT - 2]).unwrap_err();
            assert!(matches!(refused, BindError::Refused { .. }), "{refused}");
            let refused = bind_current_thread(&[PU_LIMIT - 2, PU_LIMIT - 1]).unwrap_err();
            assert!(refused.to_string().contains("65534-65535"), "{refused}");
        })
        .join()
        .unwrap();
    }
}
