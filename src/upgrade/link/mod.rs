//! `Link`: what stands between the security layer and the muxer.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_lite::{AsyncRead, AsyncWrite};

use super::frames::{Frames, HEADER, Part};
use super::shared::Shared;
use crate::config::MAX_UNFLUSHED;

/// Reads of the muxer (header or body of a frame) in one poll of the driver, before other tasks have their turn.
const READS_PER_POLL: usize = 512;

/// The byte stream under the muxer.
///
/// * The muxer flushes after every frame, which would make each a message of the security layer and a send of its own.
///   A flush is put off until the driver is polled again, which is woken for it at once: what streams write meanwhile
///   goes with it. At most 96 KiB are written so, and while a flush is under way no further byte is taken.
/// * It watches the frames for what the muxer does not tell; see [`Shared`].
/// * It yields after so many reads in one poll, so that a peer who sends without end does not hold up other tasks.
/// * A write that fails is not reported before what the peer has sent is read: it may have closed after its last word.
/// * After an error nothing below is polled again: `multistream_select::Negotiated` would panic.
pub(super) struct Link<IO> {
    io: IO,
    shared: Arc<Shared>,
    incoming: Frames,
    outgoing: Frames,
    /// The header of an outgoing frame, as far as it is to be written still; at most [`HEADER`] bytes.
    head: [u8; HEADER],
    /// Where in `head` the unwritten rest begins; at most [`HEADER`].
    head_at: usize,
    /// Bytes written since the last flush.
    unflushed: usize,
    /// The poll of the driver in which the last byte was written.
    written_in: usize,
    /// A flush has begun and not ended.
    flushing: bool,
    /// Reads in the driver's poll `reads_in`.
    reads: usize,
    reads_in: usize,
    /// The poll of the driver in which reading was left to the next one. Never two in a row, or a busy writer would not read.
    skipped_in: usize,
    /// How a write failed. What is written from then on is thrown away.
    unwritable: Option<io::Error>,
    failed: Option<io::ErrorKind>,
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Link<IO> {
    pub(super) fn new(io: IO, shared: Arc<Shared>) -> Self {
        Link {
            io,
            shared,
            incoming: Frames::default(),
            outgoing: Frames::default(),
            head: [0; HEADER],
            head_at: HEADER,
            unflushed: 0,
            written_in: 0,
            flushing: false,
            reads: 0,
            reads_in: 0,
            skipped_in: 0,
            unwritable: None,
            failed: None,
        }
    }

    fn check(&self) -> io::Result<()> {
        self.failed.map_or(Ok(()), |kind| Err(kind.into()))
    }

    fn fail<T>(&mut self, error: io::Error) -> Poll<io::Result<T>> {
        self.failed = Some(error.kind());
        Poll::Ready(Err(error))
    }

    /// Whether a flush is put off: something was written in this very poll of the driver, and not too much.
    fn is_put_off(&self) -> bool {
        self.unflushed > 0
            && !self.flushing
            && self.unflushed < MAX_UNFLUSHED
            && self.written_in == self.shared.driver_polls()
    }

    /// Notes that so many bytes were written; the first in a poll asks for another one, in which they are flushed.
    fn wrote(&mut self, bytes: usize, cx: &Context<'_>) {
        let now = self.shared.driver_polls();
        if self.unflushed == 0 || self.written_in != now {
            cx.waker().wake_by_ref();
        }
        self.written_in = now;
        self.unflushed = self.unflushed.saturating_add(bytes);
    }

    /// Writes what is left of a header.
    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while let Some(rest) = self.head.get(self.head_at..).filter(|rest| !rest.is_empty()) {
            match ready!(Pin::new(&mut self.io).poll_write(cx, rest)) {
                Ok(0) => self.give_up(io::ErrorKind::WriteZero.into()),
                Ok(len) => self.head_at = self.head_at.saturating_add(len),
                Err(error) => self.give_up(error),
            }
        }
        Poll::Ready(())
    }

    /// Flushes, or has found that nothing can be written any more.
    fn poll_flush_now(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.flushing = true;
        ready!(self.poll_head(cx));
        if self.unwritable.is_none()
            && let Err(error) = ready!(Pin::new(&mut self.io).poll_flush(cx))
        {
            self.give_up(error);
        }
        self.flushing = false;
        self.unflushed = 0;
        Poll::Ready(())
    }

    /// Nothing can be written any more. The next read that finds nothing tells of it.
    fn give_up(&mut self, error: io::Error) {
        self.unwritable = Some(error);
        self.head_at = HEADER;
    }

    /// Tells of the frames in bytes that have come.
    fn watch(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let taken = match self.incoming.take(bytes) {
                Part::Head(len) => len,
                Part::Header(len, header) => {
                    if self.incoming.remaining() == 0 {
                        self.shared.received(header);
                    }
                    len
                }
                Part::Body(len, complete) => {
                    if complete {
                        self.shared.received(self.incoming.header());
                    }
                    len
                }
            };
            bytes = bytes.get(taken..).unwrap_or_default();
        }
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncRead for Link<IO> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.check()?;
        if this.shared.is_violated() {
            // The driver looks at it when this poll is over, and reads no more.
            return Poll::Pending;
        }
        let now = this.shared.driver_polls();
        if this.is_put_off() && this.skipped_in.wrapping_add(1) != now {
            // The poll that flushes has been asked for, and reads: most exchanges are saved a fruitless read so. The
            // first one would flush by itself, to hear the answer to the muxer's proposal.
            this.skipped_in = now;
            return Poll::Pending;
        }
        if this.reads_in != now {
            (this.reads_in, this.reads) = (now, 0);
        }
        if this.reads == READS_PER_POLL {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let polled = Pin::new(&mut this.io).poll_read(cx, buf);
        if polled.is_pending()
            && let Some(error) = this.unwritable.take()
        {
            return this.fail(error);
        }
        match ready!(polled) {
            Ok(len) => {
                this.reads += 1;
                if len > 0 {
                    this.shared.confirm();
                }
                this.watch(buf.get(..len).unwrap_or_default());
                Poll::Ready(Ok(len))
            }
            Err(error) => this.fail(error),
        }
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Link<IO> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.check()?;
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        if this.flushing {
            ready!(this.poll_flush_now(cx));
        }
        ready!(this.poll_head(cx));
        if this.unwritable.is_some() {
            return Poll::Ready(Ok(buf.len()));
        }
        let remaining = this.outgoing.remaining();
        if remaining > 0 {
            let body = buf.get(..remaining).unwrap_or(buf);
            let written = match ready!(Pin::new(&mut this.io).poll_write(cx, body)) {
                Ok(len) => len,
                Err(error) => {
                    this.give_up(error);
                    buf.len()
                }
            };
            this.outgoing.take_body(written);
            this.wrote(written, cx);
            return Poll::Ready(Ok(written));
        }
        let taken = match this.outgoing.take(buf) {
            Part::Header(len, header) => {
                this.head = this.shared.sending(header).encode();
                this.head_at = 0;
                len
            }
            Part::Head(len) | Part::Body(len, _) => len,
        };
        this.wrote(taken, cx);
        // What the stream below does not take now goes before the next byte or flush.
        let _ = this.poll_head(cx);
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.check()?;
        if this.unflushed == 0 && !this.flushing {
            return Poll::Ready(Ok(()));
        }
        if this.is_put_off() {
            return Poll::Pending;
        }
        this.poll_flush_now(cx).map(Ok)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.check()?;
        ready!(this.poll_head(cx));
        if let Some(error) = this.unwritable.take() {
            return this.fail(error);
        }
        match ready!(Pin::new(&mut this.io).poll_close(cx)) {
            Ok(()) => Poll::Ready(Ok(())),
            Err(error) => this.fail(error),
        }
    }
}

#[cfg(test)]
mod tests;
