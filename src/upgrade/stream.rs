//! `Stream`: one of the streams of a session.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_lite::{AsyncRead, AsyncWrite};
use multistream_select::{Negotiated, NegotiationError};

use super::error::StreamError;
use super::fate::Fate;
use super::shared::Shared;
use super::substream::Substream;

/// A stream of a [`Session`](super::Session): bytes both ways, for one protocol.
///
/// * Reads: `Ok(0)` once the peer has closed its half; [`ConnectionReset`](io::ErrorKind::ConnectionReset) if it has
///   reset the stream; the session's end if that came before, with the [`SessionError`](super::SessionError) inside:
///   data that was cut off never looks like an end in order. What had arrived before is read first, unless we closed
///   the session.
/// * Writes: at most a window of bytes that the peer has not read (256 KiB, or what it grants), then they wait. `flush`
///   waits until the bytes are the driver's to send, which it does at once. A closed or reset stream gives
///   [`BrokenPipe`](io::ErrorKind::BrokenPipe), an ended session its end.
/// * `close` closes our half; reading goes on.
/// * Dropping it resets it, unless our half was closed: then the peer gets all that was written, and no more than a
///   window of what it sends is taken. Bytes written before a reset still go out.
///
/// Reading and writing may be done by two tasks. After an error every further poll gives an error.
pub struct Stream {
    protocol: String,
    io: Negotiated<Substream>,
    shared: Arc<Shared>,
    fate: Arc<Fate>,
    /// The peer's answer to a lazy proposal may be missing still.
    unanswered: bool,
    /// The negotiation failed; `io` cannot be polled again.
    failed: Option<io::ErrorKind>,
    closed: bool,
}

impl Stream {
    /// A stream whose protocol is agreed on.
    pub(super) fn new(protocol: String, io: Negotiated<Substream>, shared: Arc<Shared>, fate: Arc<Fate>) -> Self {
        Stream { protocol, io, shared, fate, unanswered: false, failed: None, closed: false }
    }

    /// A stream whose protocol was proposed, and is taken to be agreed on.
    pub(super) fn unanswered(self) -> Self {
        Stream { unanswered: true, ..self }
    }

    /// The protocol agreed on, or the one proposed for a stream that was opened with a single protocol.
    pub fn protocol(&self) -> &str {
        &self.protocol
    }

    /// Resets the stream for both directions at once, as dropping it does: the peer's reads and writes fail.
    ///
    /// After `close` it only stops reading: the bytes written before are the peer's.
    pub fn reset(self) {
        drop(self);
    }

    fn check(&self) -> io::Result<()> {
        self.failed.map_or(Ok(()), |kind| Err(kind.into()))
    }

    /// What an error of the stream below means here; waits for the reason if the session is just about to end.
    fn poll_error(&mut self, cx: &Context<'_>, error: io::Error) -> Poll<io::Error> {
        let error = match error.get_ref().and_then(|inner| inner.downcast_ref::<NegotiationError>()) {
            Some(NegotiationError::Failed) => {
                let refused = StreamError::Refused(vec![self.protocol.clone()]);
                io::Error::new(io::ErrorKind::ConnectionRefused, refused)
            }
            _ => match error.kind() {
                // The muxer's word for a stream or a connection that is gone.
                io::ErrorKind::WriteZero if self.fate.is_reset() => io::ErrorKind::BrokenPipe.into(),
                io::ErrorKind::UnexpectedEof if self.fate.is_reset() => io::ErrorKind::ConnectionReset.into(),
                io::ErrorKind::UnexpectedEof if self.fate.is_finished() => error,
                io::ErrorKind::WriteZero | io::ErrorKind::UnexpectedEof => ready!(self.shared.poll_ended(cx)).into(),
                _ => error,
            },
        };
        Poll::Ready(error)
    }

    /// The muxer has no more to read: whether that is an end in order.
    fn poll_end(&mut self, cx: &Context<'_>) -> Poll<io::Result<usize>> {
        if self.fate.is_finished() {
            return Poll::Ready(Ok(0));
        }
        if self.fate.is_reset() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        self.shared.poll_ended(cx).map(|ended| Err(ended.into()))
    }

    /// Looks whether the peer has refused a lazy proposal, without waiting for it.
    fn check_answer(&mut self, cx: &Context<'_>) -> io::Result<()> {
        // The muxer knows one task that reads: if another one waits for data it has to remain that.
        let reader = self.fate.reader().unwrap_or_else(|| cx.waker().clone());
        let mut cx = Context::from_waker(&reader);
        match Pin::new(&mut self.io).poll_read(&mut cx, &mut []) {
            Poll::Ready(Err(error)) => match self.poll_error(&cx, error) {
                Poll::Ready(error) => Err(self.fail(error)),
                Poll::Pending => Err(self.fail(io::ErrorKind::ConnectionAborted.into())),
            },
            _ => Ok(()),
        }
    }

    fn fail(&mut self, error: io::Error) -> io::Error {
        self.failed = Some(error.kind());
        error
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        this.check()?;
        match ready!(Pin::new(&mut this.io).poll_read(cx, buf)) {
            Ok(0) if !buf.is_empty() => this.poll_end(cx),
            Ok(len) => {
                this.unanswered &= len == 0;
                Poll::Ready(Ok(len))
            }
            Err(error) if this.unanswered => {
                // Whatever it is, the negotiation cannot be polled again.
                let error = match this.poll_error(cx, error) {
                    Poll::Ready(error) => error,
                    Poll::Pending => io::ErrorKind::ConnectionAborted.into(),
                };
                Poll::Ready(Err(this.fail(error)))
            }
            Err(error) => this.poll_error(cx, error).map(Err),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        this.check()?;
        if this.closed {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        match ready!(Pin::new(&mut this.io).poll_write(cx, buf)) {
            Ok(len) => Poll::Ready(Ok(len)),
            Err(error) => this.poll_error(cx, error).map(Err),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        this.check()?;
        if this.closed {
            return Poll::Ready(Ok(()));
        }
        match ready!(Pin::new(&mut this.io).poll_flush(cx)) {
            Ok(()) if this.unanswered => Poll::Ready(this.check_answer(cx)),
            Ok(()) => Poll::Ready(Ok(())),
            Err(error) => this.poll_error(cx, error).map(Err),
        }
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        this.check()?;
        if this.closed {
            return Poll::Ready(Ok(()));
        }
        match ready!(Pin::new(&mut this.io).poll_close(cx)) {
            Ok(()) => {
                this.closed = true;
                Poll::Ready(Ok(()))
            }
            Err(error) => this.poll_error(cx, error).map(Err),
        }
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream")
            .field("protocol", &self.protocol)
            .field("peer", &self.shared.peer)
            .field("closed", &self.closed)
            .finish_non_exhaustive()
    }
}
