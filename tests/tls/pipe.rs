//! A pipe in memory that can be as unpleasant as a network.
#![allow(dead_code)]

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use futures_lite::{AsyncRead, AsyncWrite};

/// How a pipe behaves; the same for both ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manners {
    /// Bytes that one direction holds before a writer has to wait.
    pub(crate) capacity: usize,
    /// Most bytes that one call moves.
    pub(crate) chunk: usize,
    /// Every other poll is `Pending` without a reason (and wakes at once).
    pub(crate) moody: bool,
    /// Nothing leaves before it is flushed.
    pub(crate) holds_until_flush: bool,
}

impl Manners {
    pub(crate) const GOOD: Manners =
        Manners { capacity: 64 << 10, chunk: usize::MAX, moody: false, holds_until_flush: false };
    /// One byte at a time, `Pending` every other poll.
    pub(crate) const DRIPPING: Manners = Manners { capacity: 8 << 10, chunk: 1, moody: true, holds_until_flush: false };
    pub(crate) const HOLDING: Manners =
        Manners { capacity: 64 << 10, chunk: 1000, moody: true, holds_until_flush: true };
}

#[derive(Debug, Default)]
struct Channel {
    bytes: VecDeque<u8>,
    writer_gone: bool,
    reader_gone: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

/// One end of a pipe. Dropping it is a cut: the other end reads 0 and cannot write.
#[derive(Debug)]
pub(crate) struct End {
    incoming: Arc<Mutex<Channel>>,
    outgoing: Arc<Mutex<Channel>>,
    manners: Manners,
    held: VecDeque<u8>,
    refused_read: bool,
    refused_write: bool,
    refused_flush: bool,
}

pub(crate) fn pipe(manners: Manners) -> (End, End) {
    let (there, back) = (Arc::new(Mutex::default()), Arc::new(Mutex::default()));
    (End::new(&back, &there, manners), End::new(&there, &back, manners))
}

impl End {
    fn new(incoming: &Arc<Mutex<Channel>>, outgoing: &Arc<Mutex<Channel>>, manners: Manners) -> Self {
        let (incoming, outgoing) = (incoming.clone(), outgoing.clone());
        End {
            incoming,
            outgoing,
            manners,
            held: VecDeque::new(),
            refused_read: false,
            refused_write: false,
            refused_flush: false,
        }
    }

    /// Bytes that wait here to be read.
    pub(crate) fn readable(&self) -> usize {
        self.incoming.lock().unwrap().bytes.len()
    }

    /// Whether the other end has closed its write half, or is gone.
    pub(crate) fn is_read_closed(&self) -> bool {
        self.incoming.lock().unwrap().writer_gone
    }
}

/// Whether this is a poll to refuse.
fn moody(manners: Manners, refused: &mut bool, cx: &mut Context<'_>) -> bool {
    *refused = manners.moody && !*refused;
    if *refused {
        cx.waker().wake_by_ref();
    }
    *refused
}

fn wake(waker: &mut Option<Waker>) {
    if let Some(waker) = waker.take() {
        waker.wake();
    }
}

impl AsyncRead for End {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if moody(this.manners, &mut this.refused_read, cx) {
            return Poll::Pending;
        }
        let mut channel = this.incoming.lock().unwrap();
        if channel.bytes.is_empty() && !channel.writer_gone {
            channel.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let n = buf.len().min(channel.bytes.len()).min(this.manners.chunk);
        for (to, from) in buf.iter_mut().zip(channel.bytes.drain(..n)) {
            *to = from;
        }
        wake(&mut channel.writer);
        Poll::Ready(Ok(n))
    }
}

impl AsyncWrite for End {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if moody(this.manners, &mut this.refused_write, cx) {
            return Poll::Pending;
        }
        if this.manners.holds_until_flush {
            // What it cannot hold it has to send.
            if this.held.len() >= this.manners.capacity {
                std::task::ready!(self.as_mut().poll_flush(cx))?;
            }
            let this = &mut *self;
            let n = buf.len().min(this.manners.chunk).min(this.manners.capacity - this.held.len());
            this.held.extend(&buf[..n]);
            return Poll::Ready(Ok(n));
        }
        let mut channel = this.outgoing.lock().unwrap();
        if channel.reader_gone || channel.writer_gone {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let n = buf.len().min(this.manners.chunk).min(this.manners.capacity - channel.bytes.len());
        if n == 0 && !buf.is_empty() {
            channel.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        channel.bytes.extend(&buf[..n]);
        wake(&mut channel.reader);
        Poll::Ready(Ok(n))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if moody(this.manners, &mut this.refused_flush, cx) {
            return Poll::Pending;
        }
        let mut channel = this.outgoing.lock().unwrap();
        if !this.held.is_empty() && (channel.reader_gone || channel.writer_gone) {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let n = this.held.len().min(this.manners.capacity - channel.bytes.len());
        channel.bytes.extend(this.held.drain(..n));
        wake(&mut channel.reader);
        if this.held.is_empty() {
            return Poll::Ready(Ok(()));
        }
        channel.writer = Some(cx.waker().clone());
        Poll::Pending
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        std::task::ready!(self.as_mut().poll_flush(cx))?;
        let mut channel = self.outgoing.lock().unwrap();
        channel.writer_gone = true;
        wake(&mut channel.reader);
        Poll::Ready(Ok(()))
    }
}

impl Drop for End {
    fn drop(&mut self) {
        let mut outgoing = self.outgoing.lock().unwrap();
        outgoing.writer_gone = true;
        wake(&mut outgoing.reader);
        drop(outgoing);
        let mut incoming = self.incoming.lock().unwrap();
        incoming.reader_gone = true;
        wake(&mut incoming.writer);
    }
}
