//! The IO as OpenSSL has to see it: a write is always taken, an end is an error.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_lite::{AsyncRead, AsyncWrite};

use super::super::wire::Wire;
use crate::buffer::Buffer;
use crate::config::{MAX_RECORD, TLS_WRITE_BUFFER};

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
    rest: Buffer,
    /// How a write failed, of which the library was told the kind only.
    failed: Option<io::Error>,
}

impl<IO> Outbox<IO> {
    pub(super) fn new(io: IO) -> Self {
        Outbox { wire: Wire::new(io, false), stage: Stage::Handshaking, rest: Buffer::default(), failed: None }
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

    /// What the library was called for.
    pub(super) fn stage(&self) -> Stage {
        self.stage
    }

    /// Keeps these bytes behind the others: with room for the records that will follow, if any will.
    fn keep(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let written = self.rest.write(bytes, if self.stage == Stage::Gathering { GATHERED } else { ONE });
        if let Some(more @ [_, ..]) = bytes.get(written..) {
            // Messages of a handshake may be more than a record.
            let len = self.rest.filled().len().saturating_add(more.len());
            let mut larger = Buffer::default();
            larger.write(self.rest.filled(), len);
            larger.write(more, len);
            self.rest = larger;
        }
    }
}

impl<IO: AsyncWrite + Unpin> Outbox<IO> {
    /// Sends what is kept.
    pub(super) fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let rest @ [_, ..] = self.rest.filled() {
            let taken = ready!(Pin::new(&mut self.wire).poll_write(cx, rest))?;
            self.rest.consume(taken);
        }
        self.rest.release();
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
        if self.rest.is_empty() && matches!(self.stage, Stage::Handshaking | Stage::Writing) {
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
        self.keep(buf.get(taken..).unwrap_or_default());
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::Waker;

    /// Takes bytes as long as there is room.
    #[derive(Default)]
    struct Below {
        room: usize,
        taken: Vec<u8>,
    }

    impl AsyncRead for Below {
        fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut [u8]) -> Poll<io::Result<usize>> {
            Poll::Pending
        }
    }

    impl AsyncWrite for Below {
        fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
            let len = buf.len().min(self.room);
            self.room -= len;
            self.taken.extend_from_slice(&buf[..len]);
            if len == 0 { Poll::Pending } else { Poll::Ready(Ok(len)) }
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[test]
    fn what_the_io_does_not_take_is_kept_in_its_order_however_much_it_is() {
        let cx = &mut Context::from_waker(Waker::noop());
        for stage in [Stage::Handshaking, Stage::Reading, Stage::Writing, Stage::Gathering] {
            let mut outbox = Outbox::new(Below::default());
            outbox.established().unwrap();
            let mut all = Vec::new();
            for byte in 0..9 {
                // More than a record, and more than those that are written together; some of it leaves in between.
                let part = vec![byte; 10_000];
                outbox.enter(stage);
                assert!(matches!(Pin::new(&mut outbox).poll_write(cx, &part), Poll::Ready(Ok(10_000))), "{stage:?}");
                all.extend(part);
                outbox.io_mut().room = if byte == 4 { 700 } else { 0 };
                assert!(outbox.poll_send(cx).is_pending());
            }
            outbox.io_mut().room = all.len();
            assert!(outbox.poll_send(cx).is_ready());
            assert!(outbox.io().taken == all, "{stage:?}");
            assert!(outbox.rest.is_empty());
        }
    }
}
