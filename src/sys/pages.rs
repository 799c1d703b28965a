//! What the kernel is told about the pages of a mapping: kind, presence, NUMA policy.
//!
//! None of it changes a byte, and a range that is not mapped is an error, so that these functions
//! are safe. rustix knows neither `mbind` nor `MADV_COLLAPSE`. Called by `touch`,
//! `array_builder` and `array`.

use std::ffi::c_int;
use std::io;

/// The kernel counts nodes below this.
pub(crate) const MAX_NODES: usize = 1024;

/// Linux 6.1; `libc` has it for some targets only.
const MADV_COLLAPSE: c_int = 25;

/// A range of addresses of this process; what is asked for holds for every page that it touches.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pages {
    start: usize,
    len: usize,
}

impl Pages {
    /// `len` bytes from `start`, the latter on a page boundary.
    pub(crate) fn new(start: usize, len: usize) -> Self {
        Self { start, len }
    }

    fn advise(self, advice: c_int) -> io::Result<()> {
        loop {
            // SAFETY: no advice of this file changes a byte of any mapping, and what is not mapped
            // is an error.
            let done = unsafe { libc::madvise(self.start as *mut _, self.len, advice) };
            let error = io::Error::last_os_error();
            match error.raw_os_error() {
                _ if done == 0 => return Ok(()),
                Some(libc::EINTR) => {}
                _ => return Err(error),
            }
        }
    }

    /// Transparent huge pages are welcome here.
    pub(crate) fn want_huge(self) -> io::Result<()> {
        self.advise(libc::MADV_HUGEPAGE)
    }

    /// No transparent huge pages here.
    pub(crate) fn refuse_huge(self) -> io::Result<()> {
        self.advise(libc::MADV_NOHUGEPAGE)
    }

    /// Puts the pages of each huge-page range together now, whatever the system's setting is
    /// (Linux 6.1); one page of each is to be there.
    pub(crate) fn collapse(self) -> io::Result<()> {
        self.advise(MADV_COLLAPSE)
    }

    /// Has every page there and mapped for writing (Linux 5.14, else `EINVAL`). Where there is no
    /// room it is an error, and not the signal that a store would be.
    pub(crate) fn populate(self) -> io::Result<()> {
        self.advise(libc::MADV_POPULATE_WRITE)
    }

    /// The same for reading.
    pub(crate) fn populate_to_read(self) -> io::Result<()> {
        self.advise(libc::MADV_POPULATE_READ)
    }

    /// Which nodes new pages come from. In shared memory the policy stays with the object.
    pub(crate) fn set_policy(self, policy: Policy, nodes: &[usize]) -> io::Result<()> {
        let mask = mask(nodes);
        // SAFETY: the mask is read, as long as it is said to be; a policy changes no byte.
        let done = unsafe {
            libc::syscall(
                libc::SYS_mbind,
                self.start,
                self.len,
                policy as c_int,
                mask.as_ptr(),
                MAX_NODES + 1,
                0,
            )
        };
        if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}

/// How nodes are chosen, by the kernel's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i32)]
pub(crate) enum Policy {
    Bind = libc::MPOL_BIND,
    Interleave = libc::MPOL_INTERLEAVE,
}

fn mask(nodes: &[usize]) -> [u64; MAX_NODES / 64] {
    let mut mask = [0; MAX_NODES / 64];
    for &node in nodes.iter().filter(|&&node| node < MAX_NODES) {
        mask[node / 64] |= 1 << (node % 64);
    }
    mask
}

/// While it lives, new pages of the calling thread come from one node, if that has any left.
#[derive(Debug)]
pub(crate) struct OnNode(());

impl OnNode {
    /// `None` where the thread has a policy of its own (numactl), which is left alone, and where
    /// there are no policies.
    pub(crate) fn new(node: usize) -> Option<Self> {
        let mut mode: c_int = 0;
        let none = std::ptr::null_mut::<u64>();
        // SAFETY: it writes the one integer that is named; without a mask and an address it reads
        // nothing else.
        let asked = unsafe {
            libc::syscall(libc::SYS_get_mempolicy, &raw mut mode, none, 0usize, 0usize, 0usize)
        };
        if asked != 0 || mode != libc::MPOL_DEFAULT {
            return None;
        }
        set_thread_policy(libc::MPOL_PREFERRED, &[node]).ok().map(|()| Self(()))
    }
}

impl Drop for OnNode {
    fn drop(&mut self) {
        // It was the default, and to have it again is never refused.
        let _ = set_thread_policy(libc::MPOL_DEFAULT, &[]);
    }
}

fn set_thread_policy(mode: c_int, nodes: &[usize]) -> io::Result<()> {
    let mask = mask(nodes);
    let (at, max) =
        if nodes.is_empty() { (std::ptr::null(), 0) } else { (mask.as_ptr(), MAX_NODES + 1) };
    // SAFETY: the mask is read, as long as it is said to be; only this thread's policy changes.
    let done = unsafe { libc::syscall(libc::SYS_set_mempolicy, mode, at, max) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_its_bit() {
        assert_eq!(mask(&[0, 65, 5000])[..3], [1, 2, 0]);
    }

    #[test]
    fn a_range_that_is_not_mapped_is_an_error() {
        assert!(Pages::new(0, 4096).populate().is_err());
        assert!(Pages::new(0, 4096).want_huge().is_err());
    }

    #[test]
    fn a_threads_policy_is_as_it_was_afterwards() {
        let Some(on_node) = OnNode::new(0) else {
            println!("SKIPPED: this system has no NUMA policies, or the thread has one already");
            return;
        };
        assert!(OnNode::new(0).is_none(), "a policy that is there is left alone");
        drop(on_node);
        assert!(OnNode::new(0).is_some());
    }
}
