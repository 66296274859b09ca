//! The IO below TLS, with the manners that both backends need.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_lite::{AsyncRead, AsyncWrite};

/// An IO that TLS runs over.
///
/// A write that takes nothing is an error, rather than tried for ever. While shaking hands it does two things more:
///
/// * Reading first flushes what was written, since the peer will not answer what it has not got. (futures-rustls does not
///   try a flush again that was `Pending`, and OpenSSL takes one for a failure.)
/// * A write that fails is not reported before what the peer has sent is read: there may be the alert that says why.
#[derive(Debug)]
pub(super) struct Wire<IO> {
    io: IO,
    shaking_hands: bool,
    /// The IO took something after its last flush.
    unflushed: bool,
    /// How a write failed while shaking hands.
    failed: Option<io::Error>,
}

impl<IO> Wire<IO> {
    pub(super) fn new(io: IO) -> Self {
        Wire { io, shaking_hands: true, unflushed: false, failed: None }
    }

    pub(super) fn io(&self) -> &IO {
        &self.io
    }

    pub(super) fn io_mut(&mut self) -> &mut IO {
        &mut self.io
    }

    /// Ends the handshake, which has failed after all if a write has.
    pub(super) fn established(&mut self) -> io::Result<()> {
        self.shaking_hands = false;
        self.failed.take().map_or(Ok(()), Err)
    }

    /// What to say of a write of `len` bytes that ended so.
    fn written(&mut self, len: usize, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        let error = match written {
            Poll::Ready(Ok(0)) if len > 0 => io::ErrorKind::WriteZero.into(),
            Poll::Ready(Err(error)) => error,
            written => {
                self.unflushed = true;
                return written;
            }
        };
        if !self.shaking_hands {
            return Poll::Ready(Err(error));
        }
        self.failed.get_or_insert(error);
        Poll::Ready(Ok(len))
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncRead for Wire<IO> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        if self.shaking_hands {
            // Pending leaves the same task's waker with the IO.
            _ = self.as_mut().poll_flush(cx)?;
        }
        let read = Pin::new(&mut self.io).poll_read(cx, buf);
        match (&read, self.failed.is_some()) {
            (Poll::Ready(Ok(1..)), _) | (_, false) => read,
            _ => Poll::Ready(self.failed.take().map_or(Ok(0), Err)),
        }
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Wire<IO> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.failed.is_some() {
            return Poll::Ready(Ok(buf.len()));
        }
        let written = Pin::new(&mut self.io).poll_write(cx, buf);
        self.written(buf.len(), written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let len = bufs.iter().fold(0, |len: usize, buf| len.saturating_add(buf.len()));
        if self.failed.is_some() {
            return Poll::Ready(Ok(len));
        }
        let written = write_slices(&mut self.io, cx, bufs);
        self.written(len, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.unflushed || self.failed.is_some() {
            return Poll::Ready(Ok(()));
        }
        match ready!(Pin::new(&mut self.io).poll_flush(cx)) {
            Err(error) if self.shaking_hands => self.failed = Some(error),
            flushed => flushed?,
        }
        self.unflushed = false;
        Poll::Ready(Ok(()))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_close(cx)
    }
}

/// Writes slices together, or one after the other on an IO that looks at the first only.
///
/// The alert that ends a handshake is often the last of several slices, and rustls' sender gives it one call.
fn write_slices<IO: AsyncWrite + Unpin>(
    io: &mut IO,
    cx: &mut Context<'_>,
    mut bufs: &[IoSlice<'_>],
) -> Poll<io::Result<usize>> {
    let mut taken: usize = 0;
    loop {
        match Pin::new(&mut *io).poll_write_vectored(cx, bufs) {
            Poll::Ready(Ok(n)) => {
                taken = taken.saturating_add(n);
                match bufs.split_first() {
                    Some((first, rest)) if n == first.len() && !rest.is_empty() => bufs = rest,
                    _ => return Poll::Ready(Ok(taken)),
                }
            }
            // An error comes again.
            _ if taken > 0 => return Poll::Ready(Ok(taken)),
            nothing => return nothing,
        }
    }
}
