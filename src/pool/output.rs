//! Workers' standard output and error: read line by line, written as the parent's own.
//!
//! One thread for all workers. A line is written in one piece, so that lines of different workers
//! do not mix; what a dead worker left without a line's end is written as a line.

#![forbid(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread::JoinHandle;

use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};

use crate::sys::mem::above_stdio;

/// A line longer than this is passed on in pieces.
const LINE_BYTES: usize = 64 * 1024;

/// Where a line goes.
#[derive(Debug, Clone, Copy)]
enum Target {
    Out,
    Err,
}

#[derive(Debug)]
struct Stream {
    pipe: OwnedFd,
    target: Target,
    line: Vec<u8>,
}

/// The forwarding thread; dropped after the last worker, it passes on the rest and ends.
#[derive(Debug)]
pub(crate) struct Output {
    streams: Option<Sender<Stream>>,
    bell: OwnedFd,
    thread: Option<JoinHandle<()>>,
}

impl Output {
    pub(crate) fn start() -> io::Result<Output> {
        let (streams, arrivals) = channel();
        let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let ear = bell.try_clone()?;
        let thread = std::thread::Builder::new()
            .name("pinpool/output".into())
            .stack_size(128 * 1024)
            .spawn(move || forward(&arrivals, &ear))?;
        Ok(Output { streams: Some(streams), bell, thread: Some(thread) })
    }

    /// The ends that a new worker writes to: standard output, standard error.
    pub(crate) fn ends(&self) -> io::Result<(OwnedFd, OwnedFd)> {
        Ok((self.end(Target::Out)?, self.end(Target::Err)?))
    }

    fn end(&self, target: Target) -> io::Result<OwnedFd> {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
        let (read, write) = (above_stdio(read)?, above_stdio(write)?);
        rustix::io::ioctl_fionbio(&read, true)?;
        let stream = Stream { pipe: read, target, line: Vec::new() };
        if let Some(streams) = &self.streams {
            let _ = streams.send(stream);
        }
        self.ring();
        Ok(write)
    }

    fn ring(&self) {
        let _ = rustix::io::write(&self.bell, &1u64.to_ne_bytes());
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        self.streams = None;
        self.ring();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn forward(arrivals: &Receiver<Stream>, bell: &OwnedFd) {
    let mut streams: Vec<Stream> = Vec::new();
    let mut open = true;
    while open || !streams.is_empty() {
        let mut fds = vec![PollFd::new(bell, PollFlags::IN)];
        fds.extend(streams.iter().map(|s| PollFd::new(&s.pipe, PollFlags::IN)));
        // At the end a grandchild may still hold a pipe open: what is there is taken, no more.
        let now = rustix::time::Timespec { tv_sec: 0, tv_nsec: 0 };
        let ready = poll(&mut fds, if open { None } else { Some(&now) });
        let readable: Vec<bool> = fds[1..].iter().map(|fd| !fd.revents().is_empty()).collect();
        drop(fds);
        if !open && matches!(ready, Ok(0) | Err(_)) {
            break;
        }
        if matches!(ready, Err(error) if error != Errno::INTR) {
            // More descriptors than RLIMIT_NOFILE allows by now (the host lowered it): not a
            // reason to use up a core. The streams do not block, so they are simply tried.
            std::thread::sleep(std::time::Duration::from_millis(20));
            streams.retain_mut(take);
        }
        let _ = rustix::io::read(bell, &mut [0u8; 8]);
        let mut flags = readable.into_iter();
        streams.retain_mut(|s| !flags.next().unwrap_or(false) || take(s));
        loop {
            match arrivals.try_recv() {
                Ok(stream) => streams.push(stream),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => {
                    open = false;
                    break;
                }
            }
        }
    }
    for mut stream in streams {
        end(&mut stream);
    }
}

/// Reads what is there and passes on whole lines; `false` at the end of the stream.
fn take(stream: &mut Stream) -> bool {
    let mut bytes = [0u8; 16 * 1024];
    loop {
        match rustix::io::read(stream.pipe.as_fd(), &mut bytes) {
            Ok(0) => {
                end(stream);
                return false;
            }
            Ok(n) => {
                stream.line.extend_from_slice(&bytes[..n]);
                let whole = match stream.line.iter().rposition(|&b| b == b'\n') {
                    Some(last) => last + 1,
                    None if stream.line.len() >= LINE_BYTES => stream.line.len(),
                    None => continue,
                };
                write(stream.target, &stream.line[..whole]);
                stream.line.drain(..whole);
            }
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return true,
            Err(_) => return false,
        }
    }
}

fn end(stream: &mut Stream) {
    if !stream.line.is_empty() {
        stream.line.push(b'\n');
        write(stream.target, &stream.line);
        stream.line.clear();
    }
}

/// By descriptor: std's handle may be locked by the very thread that waits for the workers. A
/// closed output of the host is the host's business.
fn write(target: Target, mut bytes: &[u8]) {
    let (out, err) = (io::stdout(), io::stderr());
    let fd = match target {
        Target::Out => out.as_fd(),
        Target::Err => err.as_fd(),
    };
    while !bytes.is_empty() {
        match rustix::io::write(fd, bytes) {
            Ok(n) => bytes = &bytes[n..],
            Err(Errno::INTR) => {}
            // The host has made it non-blocking: wait until it takes more.
            Err(Errno::AGAIN) => {
                let _ = poll(&mut [PollFd::from_borrowed_fd(fd, PollFlags::OUT)], None);
            }
            Err(_) => return,
        }
    }
}
