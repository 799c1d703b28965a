//! Descriptors on their way to a worker: one SEQPACKET socketpair each, and nothing else on it.
//!
//! The parent sends a segment's descriptor before the first job that uses it; a worker that meets
//! an unknown segment waits for it here. State never passes through the socket.

#![forbid(unsafe_code)]

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use bytemuck::{Pod, Zeroable};

use crate::sys::mem::above_stdio;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};

/// Longest name that a worker can be asked to remove.
const NAME_BYTES: usize = 256;

/// What a message says of segment `id`.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct Message {
    /// [`MAP`] or [`UNMAP`].
    kind: u64,
    pub(crate) id: u64,
    pub(crate) len: u64,
    pub(crate) writable: u64,
    name_len: u64,
    name: [u64; NAME_BYTES / 8],
}

const MAP: u64 = 1;
const UNMAP: u64 = 2;

impl Message {
    /// The segment is to be mapped; its name, if any, goes when the parent is killed.
    pub(crate) fn map(id: u64, len: usize, writable: bool, cleanup: Option<&str>) -> Message {
        let mut m = Message {
            kind: MAP,
            id,
            len: len as u64,
            writable: writable.into(),
            ..Message::zeroed()
        };
        let name = cleanup.unwrap_or_default().as_bytes();
        if name.len() <= NAME_BYTES {
            bytemuck::cast_slice_mut(&mut m.name)[..name.len()].copy_from_slice(name);
            m.name_len = name.len() as u64;
        }
        m
    }

    /// The segment is gone.
    pub(crate) fn unmap(id: u64) -> Message {
        Message { kind: UNMAP, id, ..Message::zeroed() }
    }

    pub(crate) fn is_map(&self) -> bool {
        self.kind == MAP
    }

    /// The name to remove when the parent is killed.
    pub(crate) fn cleanup(&self) -> Option<&str> {
        let bytes: &[u8] = bytemuck::cast_slice(&self.name);
        let name = bytes.get(..self.name_len as usize)?;
        std::str::from_utf8(name).ok().filter(|n| !n.is_empty())
    }
}

/// A pair of connected ends; both are closed on exec unless handed on by name.
pub(crate) fn pair() -> std::io::Result<(OwnedFd, OwnedFd)> {
    let flags = SocketFlags::CLOEXEC;
    let (ours, theirs) =
        rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
    Ok((above_stdio(ours)?, above_stdio(theirs)?))
}

/// Sends one message, with the descriptor that it is about; never waits.
pub(crate) fn send(
    to: BorrowedFd<'_>,
    message: &Message,
    fd: Option<BorrowedFd<'_>>,
) -> Result<(), Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let fds = fd.as_slice();
    if !fds.is_empty() {
        ancillary.push(SendAncillaryMessage::ScmRights(fds));
    }
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    loop {
        let bytes = [IoSlice::new(bytemuck::bytes_of(message))];
        match rustix::net::sendmsg(to, &bytes, &mut ancillary, flags) {
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Takes the next message, if one is there; `Err(PIPE)`: the other end is closed.
pub(crate) fn receive(from: impl AsFd) -> Result<Option<(Message, Option<OwnedFd>)>, Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut message = Message::zeroed();
    let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
    let got = loop {
        let mut bytes = [IoSliceMut::new(bytemuck::bytes_of_mut(&mut message))];
        match rustix::net::recvmsg(&from, &mut bytes, &mut ancillary, flags) {
            Ok(got) => break got,
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return Ok(None),
            Err(error) => return Err(error),
        }
    };
    if got.bytes == 0 {
        return Err(Errno::PIPE);
    }
    if got.bytes != size_of::<Message>()
        || got.flags.intersects(ReturnFlags::CTRUNC | ReturnFlags::TRUNC)
    {
        return Err(Errno::BADMSG);
    }
    let mut fd = None;
    for m in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(fds) = m {
            fd = fds.last();
        }
    }
    Ok(Some((message, fd)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_arrives_with_its_descriptor() {
        let (a, b) = pair().unwrap();
        let file = std::fs::File::open("/dev/null").unwrap();
        send(a.as_fd(), &Message::map(7, 4096, true, Some("name")), Some(file.as_fd())).unwrap();
        send(a.as_fd(), &Message::unmap(7), None).unwrap();
        let (m, fd) = receive(&b).unwrap().unwrap();
        assert!(m.is_map() && fd.is_some());
        assert_eq!((m.id, m.len, m.cleanup()), (7, 4096, Some("name")));
        let (m, fd) = receive(&b).unwrap().unwrap();
        assert!(!m.is_map() && fd.is_none());
        assert!(receive(&b).unwrap().is_none());
        drop(a);
        assert_eq!(receive(&b).unwrap_err(), Errno::PIPE);
    }
}
