//! The IO as OpenSSL has to see it: a write is always taken, an end is an error.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_lite::{AsyncRead, AsyncWrite};

use super::super::wire::Wire;
use crate::config::{MAX_RECORD, TLS_WRITE_BUFFER};
use crate::pool;

/// Most bytes around the contents of a record: 5 before and at most 24 after them (AES-GCM of TLS 1.2; RFC 5288 §3), or
/// some more with the ciphers before that.
const AROUND: usize = 256;

/// Room for a record, and for those that are written together.
const ONE: usize = MAX_RECORD + AROUND;
const GATHERED: usize = TLS_WRITE_BUFFER + TLS_WRITE_BUFFER.div_ceil(MAX_RECORD) * AROUND;

/// What the library was called for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Handshaking,
    Reading,
    Writing,
    /// For a record that others follow at once, to be sent with them.
    Gathering,
}

/// An IO that keeps what the one below does not take at once.
///
/// OpenSSL that could not write a record wants to be called again *for the same bytes*: it has encrypted them already. No
/// `AsyncWrite` can promise that, as a write may be given up for another one or for a close. So it never learns of a full
/// IO: the rest of a record waits here, and the next one is not begun before it has left ([`poll_send`](Self::poll_send)).
/// Records that are written together wait for each other here too, for OpenSSL calls the IO for each of them.
///
/// Likewise `flush`, whose `WouldBlock` OpenSSL would take for a failed handshake, has nothing to do; and an end without
/// close_notify, which it would take for a clean one, is an `UnexpectedEof`.
#[derive(Debug)]
pub(super) struct Outbox<IO> {
    wire: Wire<IO>,
    stage: Stage,
    /// What the IO did not take: records that were written together, or a few messages of the handshake.
    rest: Rest,
    /// How a write failed, of which the library was told the kind only.
    failed: Option<io::Error>,
}

/// Encrypted bytes in their order, in a buffer that is given back when they have left.
#[derive(Default)]
struct Rest {
    /// Empty while nothing waits.
    bytes: Box<[u8]>,
    /// What waits is `start..end`.
    start: usize,
    end: usize,
}

impl Rest {
    fn unsent(&self) -> &[u8] {
        self.bytes.get(self.start..self.end).unwrap_or_default()
    }

    /// So many were sent.
    fn sent(&mut self, len: usize) {
        self.start = self.start.saturating_add(len);
        if self.start >= self.end {
            let bytes = std::mem::take(self).bytes;
            if [ONE, GATHERED].contains(&bytes.len()) {
                pool::give(bytes);
            }
        }
    }

    /// Adds to it; with `gathers` there is room for the records that will follow.
    fn push(&mut self, more: &[u8], gathers: bool) {
        let end = self.end.saturating_add(more.len());
        if end > self.bytes.len() {
            let mut room = match end {
                _ if gathers && end <= GATHERED => pool::take(GATHERED),
                ..=ONE => pool::take(ONE),
                // Messages of a handshake.
                _ => vec![0; end].into(),
            };
            if let (Some(to), Some(from)) = (room.get_mut(..self.end), self.bytes.get(..self.end)) {
                to.copy_from_slice(from);
            }
            self.bytes = room;
        }
        if let Some(to) = self.bytes.get_mut(self.end..end) {
            to.copy_from_slice(more);
            self.end = end;
        }
    }
}

/// Shows how much waits.
impl fmt::Debug for Rest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rest").field("unsent", &self.unsent().len()).finish_non_exhaustive()
    }
}

impl<IO> Outbox<IO> {
    pub(super) fn new(io: IO) -> Self {
        Outbox { wire: Wire::new(io, false), stage: Stage::Handshaking, rest: Rest::default(), failed: None }
    }

    pub(super) fn io(&self) -> &IO {
        self.wire.io()
    }

    pub(super) fn io_mut(&mut self) -> &mut IO {
        self.wire.io_mut()
    }

    /// Ends the handshake, which has failed after all if a write has.
    pub(super) fn established(&mut self) -> io::Result<()> {
        self.wire.established()
    }

    /// How a write failed, where the library may report an error of its own instead (OpenSSL 3.6 does, 3.0 does not).
    pub(super) fn take_failure(&mut self) -> Option<io::Error> {
        self.failed.take()
    }

    /// Says what the library will be called for next.
    pub(super) fn enter(&mut self, stage: Stage) {
        self.stage = stage;
    }
}

impl<IO: AsyncWrite + Unpin> Outbox<IO> {
    /// Sends what is kept.
    pub(super) fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let rest @ [_, ..] = self.rest.unsent() {
            let taken = ready!(Pin::new(&mut self.wire).poll_write(cx, rest))?;
            self.rest.sent(taken);
        }
        Poll::Ready(Ok(()))
    }

    /// Sends what is kept, and flushes the IO.
    pub(super) fn poll_send_and_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(cx))?;
        Pin::new(&mut self.wire).poll_flush(cx)
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncRead for Outbox<IO> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        if self.stage == Stage::Handshaking {
            // There is but one task now; Pending leaves its waker with the IO.
            _ = self.poll_send(cx)?;
        }
        match ready!(Pin::new(&mut self.wire).poll_read(cx, buf))? {
            0 if !buf.is_empty() => Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
            read => Poll::Ready(Ok(read)),
        }
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Outbox<IO> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let mut taken = 0;
        // What is written while reading (a key update) waits for the next write (RFC 8446 §4.6.3): the IO remembers one
        // writer's waker, and a writer may be parked there.
        if self.rest.unsent().is_empty() && matches!(self.stage, Stage::Handshaking | Stage::Writing) {
            match Pin::new(&mut self.wire).poll_write(cx, buf) {
                Poll::Ready(Ok(n)) => taken = n,
                Poll::Ready(Err(error)) => {
                    let kind = error.kind();
                    self.failed = Some(error);
                    return Poll::Ready(Err(kind.into()));
                }
                Poll::Pending => {}
            }
        }
        let gathers = self.stage == Stage::Gathering;
        self.rest.push(buf.get(taken..).unwrap_or_default(), gathers);
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send_and_flush(cx))?;
        Pin::new(&mut self.wire).poll_close(cx)
    }
}
