//! Moves so many messages through a pipe in memory, for callgrind to count: `benches/gates/run` does that.
//!
//! `instructions <pipe|c2s|s2c> <bytes per write> <writes> [flush]`; without arguments, as under `cargo bench`, it moves a
//! few of each and says nothing of time.

use std::cell::RefCell;
use std::io::{self, IoSlice, IoSliceMut};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use futures_lite::{AsyncRead, AsyncWrite};
use ws_transport::proto::Role;
use ws_transport::{StreamConfig, WsStream};

/// Bytes that are under way at most, and that a read asks for.
const CAPACITY: usize = 64 * 1024;

/// A ring of bytes: one direction of a pipe.
struct Ring {
    bytes: Box<[u8]>,
    start: usize,
    len: usize,
}

/// One end of a pipe that two ends in one task take turns at: nobody is ever woken.
struct End {
    incoming: Rc<RefCell<Ring>>,
    outgoing: Rc<RefCell<Ring>>,
}

fn pipe() -> (End, End) {
    let lane = || Rc::new(RefCell::new(Ring { bytes: vec![0; CAPACITY].into(), start: 0, len: 0 }));
    let (there, back) = (lane(), lane());
    let end = |incoming: &Rc<_>, outgoing: &Rc<_>| End { incoming: Rc::clone(incoming), outgoing: Rc::clone(outgoing) };
    (end(&back, &there), end(&there, &back))
}

impl AsyncRead for End {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut ring = self.incoming.borrow_mut();
        let len = ring.len.min(buf.len());
        if len == 0 {
            return Poll::Pending;
        }
        let first = len.min(CAPACITY - ring.start);
        buf[..first].copy_from_slice(&ring.bytes[ring.start..][..first]);
        buf[first..len].copy_from_slice(&ring.bytes[..len - first]);
        ring.len -= len;
        ring.start = if ring.len == 0 { 0 } else { (ring.start + len) % CAPACITY };
        Poll::Ready(Ok(len))
    }

    fn poll_read_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut got = 0;
        for buf in bufs.iter_mut().filter(|buf| !buf.is_empty()) {
            match self.as_mut().poll_read(cx, buf)? {
                Poll::Ready(len) if len == buf.len() => got += len,
                Poll::Ready(len) => return Poll::Ready(Ok(got + len)),
                Poll::Pending if got == 0 => return Poll::Pending,
                Poll::Pending => break,
            }
        }
        Poll::Ready(Ok(got))
    }
}

impl AsyncWrite for End {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let mut ring = self.outgoing.borrow_mut();
        let len = buf.len().min(CAPACITY - ring.len);
        if len == 0 {
            return Poll::Pending;
        }
        let at = (ring.start + ring.len) % CAPACITY;
        let first = len.min(CAPACITY - at);
        ring.bytes[at..][..first].copy_from_slice(&buf[..first]);
        ring.bytes[..len - first].copy_from_slice(&buf[first..len]);
        ring.len += len;
        Poll::Ready(Ok(len))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut taken = 0;
        for buf in bufs.iter().filter(|buf| !buf.is_empty()) {
            match self.as_mut().poll_write(cx, buf)? {
                Poll::Ready(len) if len == buf.len() => taken += len,
                Poll::Ready(len) => return Poll::Ready(Ok(taken + len)),
                Poll::Pending if taken == 0 => return Poll::Pending,
                Poll::Pending => break,
            }
        }
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Writes until nothing more fits, then reads until nothing more is there, and so on.
#[inline(never)]
fn run(
    mut writer: impl AsyncWrite + Unpin,
    mut reader: impl AsyncRead + Unpin,
    size: usize,
    writes: usize,
    flush: bool,
) {
    let (data, mut buf) = (vec![7; size], vec![0; CAPACITY]);
    let mut cx = Context::from_waker(Waker::noop());
    let (total, mut sent, mut got, mut at) = (size * writes, 0, 0, 0);
    while got < total {
        while sent < total {
            let Poll::Ready(len) = Pin::new(&mut writer).poll_write(&mut cx, &data[at..]) else { break };
            let len = len.unwrap();
            (sent, at) = (sent + len, (at + len) % size);
            if (flush && at == 0 || sent == total) && Pin::new(&mut writer).poll_flush(&mut cx).is_pending() {
                break;
            }
        }
        if sent == total {
            assert!(Pin::new(&mut writer).poll_flush(&mut cx).is_ready() || got < total);
        }
        while let Poll::Ready(len) = Pin::new(&mut reader).poll_read(&mut cx, &mut buf) {
            got += len.unwrap();
            // Or what nobody looks at would not be copied.
            std::hint::black_box(&mut buf);
        }
    }
    assert_eq!(got, total);
}

fn measure(what: &str, size: usize, writes: usize, flush: bool) {
    let (a, b) = pipe();
    let stream = |io, role| WsStream::new(io, role, Vec::new(), StreamConfig::new());
    match what {
        "pipe" => run(a, b, size, writes, flush),
        "c2s" => run(stream(a, Role::Client), stream(b, Role::Server), size, writes, flush),
        "s2c" => run(stream(a, Role::Server), stream(b, Role::Client), size, writes, flush),
        _ => panic!("nothing is called {what:?}"),
    }
}

fn main() {
    // cargo adds `--bench`.
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [what, size, writes] => measure(what, size.parse().unwrap(), writes.parse().unwrap(), false),
        [what, size, writes, "flush"] => measure(what, size.parse().unwrap(), writes.parse().unwrap(), true),
        _ => ["pipe", "c2s", "s2c"].into_iter().for_each(|what| measure(what, 1024, 100, false)),
    }
}
