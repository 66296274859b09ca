//! A pipe in memory that is as unpleasant as an `AsyncRead + AsyncWrite` may be.

use std::collections::VecDeque;
use std::io::{self, IoSlice, IoSliceMut};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use futures_lite::{AsyncRead, AsyncWrite};

/// How a pipe's end behaves.
#[derive(Clone, Copy, Debug)]
pub struct Manner {
    /// Bytes the lane holds before a write has to wait.
    pub capacity: usize,
    /// Most bytes that one read or write moves.
    pub chunk: usize,
    /// Whether every other poll is `Pending` (and wakes at once).
    pub stutter: bool,
    /// Whether nothing arrives before a flush.
    pub until_flush: bool,
    /// Whether vectored reads and writes move more than the first slice.
    pub vectored: bool,
    /// Writes fail when so many bytes were written.
    pub fail_write_at: Option<usize>,
    /// Reads fail when so many bytes were read.
    pub fail_read_at: Option<usize>,
}

impl Manner {
    pub const GOOD: Manner = Manner {
        capacity: 1 << 20,
        chunk: usize::MAX,
        stutter: false,
        until_flush: false,
        vectored: true,
        fail_write_at: None,
        fail_read_at: None,
    };

    /// One byte at a time, `Pending` every other poll, nothing before a flush.
    pub const HOSTILE: Manner = Manner { chunk: 1, stutter: true, until_flush: true, vectored: false, ..Manner::GOOD };
}

/// One direction. Like a socket, it remembers one waker for each side.
#[derive(Default)]
struct Lane {
    bytes: VecDeque<u8>,
    held: Vec<u8>,
    closed: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

/// One end of a pipe; dropping it closes both directions.
pub struct End {
    manner: Manner,
    incoming: Arc<Mutex<Lane>>,
    outgoing: Arc<Mutex<Lane>>,
    /// For each operation whether its next poll is let through, where every other one is not. Counted together, a task
    /// that polls two of them in turn might find the same one `Pending` for ever.
    steady: [bool; 4],
    /// Slices of a vectored read or write, joined.
    joined: Vec<u8>,
    pub read: usize,
    pub written: usize,
    /// How many writes that was.
    pub writes: usize,
}

/// Two ends; what one writes the other reads.
pub fn pipe(a: Manner, b: Manner) -> (End, End) {
    let (there, back) = (Arc::<Mutex<Lane>>::default(), Arc::<Mutex<Lane>>::default());
    let end = |manner, incoming: &Arc<_>, outgoing: &Arc<_>| End {
        manner,
        incoming: Arc::clone(incoming),
        outgoing: Arc::clone(outgoing),
        steady: [false; 4],
        joined: Vec::new(),
        read: 0,
        written: 0,
        writes: 0,
    };
    (end(a, &back, &there), end(b, &there, &back))
}

impl End {
    /// Makes room for so many bytes in both directions, so that moving them allocates nothing in the pipe.
    pub fn reserve(&mut self, bytes: usize) {
        for lane in [&self.incoming, &self.outgoing] {
            let mut lane = lane.lock().unwrap();
            lane.bytes.reserve(bytes);
            lane.held.reserve(bytes);
        }
        self.joined.reserve(bytes);
    }

    /// Behaves in another way from now on.
    pub fn set_manner(&mut self, manner: Manner) {
        self.manner = manner;
    }

    /// Bytes that wait to be read at this end.
    pub fn readable(&self) -> usize {
        self.incoming.lock().unwrap().bytes.len()
    }

    /// Whether the other end has shut its write half down.
    pub fn is_shut(&self) -> bool {
        self.incoming.lock().unwrap().closed
    }

    /// Takes all that waits to be read.
    pub fn take_all(&mut self) -> Vec<u8> {
        let mut lane = self.incoming.lock().unwrap();
        let bytes = lane.bytes.drain(..).collect();
        if let Some(writer) = lane.writer.take() {
            drop(lane);
            writer.wake();
        }
        bytes
    }

    /// Puts bytes on the way, whatever the capacity.
    pub fn put(&mut self, bytes: &[u8]) {
        let mut lane = self.outgoing.lock().unwrap();
        lane.bytes.extend(bytes);
        if let Some(reader) = lane.reader.take() {
            drop(lane);
            reader.wake();
        }
    }

    fn stutters(&mut self, operation: Operation, cx: &Context<'_>) -> bool {
        let steady = &mut self.steady[operation as usize];
        let stutters = self.manner.stutter && !*steady;
        *steady = stutters;
        if stutters {
            cx.waker().wake_by_ref();
        }
        stutters
    }
}

#[derive(Clone, Copy)]
enum Operation {
    Read,
    Write,
    Flush,
    Close,
}

fn failure() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, "injected")
}

impl AsyncRead for End {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        if self.stutters(Operation::Read, cx) {
            return Poll::Pending;
        }
        let this = &mut *self;
        if this.manner.fail_read_at.is_some_and(|at| this.read >= at) {
            return Poll::Ready(Err(failure()));
        }
        let left = this.manner.fail_read_at.map_or(usize::MAX, |at| at - this.read);
        let mut lane = this.incoming.lock().unwrap();
        let len = lane.bytes.len().min(buf.len()).min(this.manner.chunk).min(left);
        if len == 0 && !lane.closed && !buf.is_empty() {
            lane.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let (front, back) = lane.bytes.as_slices();
        let first = front.len().min(len);
        buf[..first].copy_from_slice(&front[..first]);
        buf[first..len].copy_from_slice(&back[..len - first]);
        lane.bytes.drain(..len);
        this.read += len;
        if let Some(writer) = lane.writer.take() {
            drop(lane);
            writer.wake();
        }
        Poll::Ready(Ok(len))
    }

    fn poll_read_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.manner.vectored {
            let mut joined = std::mem::take(&mut self.joined);
            joined.resize(bufs.iter().map(|buf| buf.len()).sum(), 0);
            let polled = self.as_mut().poll_read(cx, &mut joined);
            if let Poll::Ready(Ok(len)) = polled {
                let mut rest = &joined[..len];
                for buf in bufs {
                    let (now, later) = rest.split_at(rest.len().min(buf.len()));
                    buf[..now.len()].copy_from_slice(now);
                    rest = later;
                }
            }
            self.joined = joined;
            return polled;
        }
        match bufs.iter_mut().find(|buf| !buf.is_empty()) {
            Some(first) => self.as_mut().poll_read(cx, first),
            None => Poll::Ready(Ok(0)),
        }
    }
}

impl AsyncWrite for End {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.stutters(Operation::Write, cx) {
            return Poll::Pending;
        }
        let this = &mut *self;
        if this.manner.fail_write_at.is_some_and(|at| this.written >= at) {
            return Poll::Ready(Err(failure()));
        }
        let left = this.manner.fail_write_at.map_or(usize::MAX, |at| at - this.written);
        let mut lane = this.outgoing.lock().unwrap();
        if lane.closed || Arc::strong_count(&this.outgoing) == 1 {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let room = this.manner.capacity.saturating_sub(lane.bytes.len() + lane.held.len());
        let len = room.min(buf.len()).min(this.manner.chunk).min(left);
        if len == 0 && !buf.is_empty() {
            // A full pipe has to be readable, or nothing would ever move.
            release(&mut lane);
            lane.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        lane.held.extend_from_slice(&buf[..len]);
        this.written += len;
        this.writes += 1;
        if !this.manner.until_flush {
            release(&mut lane);
        }
        Poll::Ready(Ok(len))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.manner.vectored {
            let mut joined = std::mem::take(&mut self.joined);
            joined.clear();
            bufs.iter().for_each(|buf| joined.extend_from_slice(buf));
            let polled = self.as_mut().poll_write(cx, &joined);
            self.joined = joined;
            return polled;
        }
        let first = bufs.iter().find(|buf| !buf.is_empty()).map_or(&[][..], |buf| buf);
        self.as_mut().poll_write(cx, first)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.stutters(Operation::Flush, cx) {
            return Poll::Pending;
        }
        release(&mut self.outgoing.lock().unwrap());
        Poll::Ready(Ok(()))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.stutters(Operation::Close, cx) {
            return Poll::Pending;
        }
        close(&mut self.outgoing.lock().unwrap());
        Poll::Ready(Ok(()))
    }
}

fn release(lane: &mut Lane) {
    lane.bytes.extend(&lane.held);
    lane.held.clear();
    if let Some(reader) = lane.reader.take() {
        reader.wake();
    }
}

fn close(lane: &mut Lane) {
    lane.closed = true;
    release(lane);
}

impl Drop for End {
    fn drop(&mut self) {
        close(&mut self.outgoing.lock().unwrap());
        let mut lane = self.incoming.lock().unwrap();
        lane.closed = true;
        if let Some(writer) = lane.writer.take() {
            writer.wake();
        }
    }
}

impl std::fmt::Debug for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("End").field("manner", &self.manner).finish_non_exhaustive()
    }
}
