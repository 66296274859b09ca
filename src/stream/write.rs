//! The writing half: taking bytes, sending them, and looking at the input while nobody reads.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_lite::{AsyncRead, AsyncWrite};

use super::output::Output;
use super::{MAX_FRAMES_PER_POLL, WsStream};

/// Most times that one write fills and empties the buffer before it returns what was taken.
const MAX_DRAINS_PER_POLL: u32 = 16;

/// Drains and flushes without a read after which the writer looks at the input itself, so that Pings are answered.
const QUIET_DRAINS: u8 = 4;

impl<IO: AsyncRead + AsyncWrite + Unpin> WsStream<IO> {
    /// Sends on behalf of a writer, who is parked if it has to wait.
    fn poll_output<T>(
        &mut self,
        cx: &mut Context<'_>,
        send: impl FnOnce(&mut Output, &mut IO, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        let sent = if self.state.reader_sends && self.state.wakers.other_reader_waits(cx) {
            self.state.wakers.park_writer(cx);
            let both = self.state.wakers.both();
            send(&mut self.state.output, &mut self.io, &mut Context::from_waker(&both))
        } else {
            send(&mut self.state.output, &mut self.io, cx)
        };
        match sent {
            Poll::Ready(_) => {
                self.state.wakers.unpark_writer();
                self.state.reader_sends &= !self.state.output.is_idle();
                self.state.quiet = self.state.quiet.saturating_add(1);
            }
            Poll::Pending => self.state.wakers.park_writer(cx),
        }
        sent
    }

    /// Sends what is buffered; with `flush`, flushes the IO too.
    pub(super) fn poll_send(&mut self, cx: &mut Context<'_>, flush: bool) -> Poll<io::Result<()>> {
        self.poll_output(cx, |output, io, cx| output.poll(io, cx, flush))
    }

    /// Looks at the input on behalf of a writer, so that Pings are answered and a Close is seen while nobody reads.
    ///
    /// Once the IO has nothing more to give, this costs one look at a flag until it has. What is received stays in the
    /// input's buffer; when that is full of unread data, nothing more is looked at.
    fn watch_input(&mut self, cx: &mut Context<'_>) {
        if self.state.writer_watches {
            self.state.wakers.refresh();
            if !self.state.wakers.has_fired() {
                return;
            }
            self.state.writer_watches = false;
        }
        let mut budget = MAX_FRAMES_PER_POLL;
        while self.state.input.end().is_none() {
            if self.state.input.has_raw() {
                self.state.input.deframe(&mut budget);
            } else if self.state.input.has_room() {
                let both = self.state.wakers.both_afresh();
                let mut both = Context::from_waker(&both);
                match self.state.input.poll_fill(&mut self.io, &mut both, &mut budget) {
                    Poll::Ready(Ok(0)) => self.state.input.finish_read(None),
                    Poll::Ready(Ok(_)) => {}
                    Poll::Ready(Err(error)) => self.state.input.finish_read(Some(error)),
                    Poll::Pending => {
                        self.state.writer_watches = true;
                        return;
                    }
                }
            } else {
                return;
            }
            self.settle_input();
            if self.state.input.end().is_some() || !self.state.input.plain().is_empty() {
                self.state.wakers.wake_reader();
            }
            if budget == 0 {
                cx.waker().wake_by_ref();
                return;
            }
        }
    }

    /// As [`poll_send`](Self::poll_send), and answers Pings that nobody reads for.
    fn poll_send_and_watch(&mut self, cx: &mut Context<'_>, flush: bool) -> Poll<io::Result<()>> {
        let sent = self.poll_send(cx, flush)?;
        if self.watch_if_quiet(cx, sent.is_pending()) {
            return self.poll_send(cx, flush);
        }
        sent.map(Ok)
    }

    /// Looks at the input if nobody has for a while, or if the writer has to wait; says whether that calls for a reply.
    fn watch_if_quiet(&mut self, cx: &mut Context<'_>, waits: bool) -> bool {
        if waits || self.state.quiet >= QUIET_DRAINS {
            self.watch_input(cx);
            return self.state.output.owes_control();
        }
        false
    }

    /// Takes bytes into the buffer, or sends them from where they are, as far as that goes without waiting.
    fn poll_take(&mut self, cx: &mut Context<'_>, mut bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut taken = 0;
        for round in 0..MAX_DRAINS_PER_POLL {
            match self.poll_take_once(cx, bytes, round > 0) {
                Poll::Ready(Ok(len)) => {
                    taken += len;
                    bytes = bytes.get(len..).unwrap_or_default();
                    if bytes.is_empty() {
                        break;
                    }
                }
                // What was taken is told first; an error comes again with the next write.
                _ if taken > 0 => break,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => break,
            }
        }
        if taken == 0 {
            // A Close or a violation that came in just now: nobody would wake the writer if the peer does not read.
            self.state.output.check_open()?;
            return Poll::Pending;
        }
        Poll::Ready(Ok(taken))
    }

    /// Takes what there is room for, once the buffer is drained if it is `full`; or sends it from where it is.
    fn poll_take_once(&mut self, cx: &mut Context<'_>, bytes: &[u8], full: bool) -> Poll<io::Result<usize>> {
        let direct = self.state.output.prefers_direct(bytes.len());
        let drain = if direct { self.state.output.leaves_first() } else { full && !self.state.output.is_drained() };
        if drain {
            ready!(self.poll_send_and_watch(cx, false))?;
        }
        // A Close may have come in while the input was looked at: nothing may follow ours.
        self.state.output.check_open()?;
        if !direct {
            return Poll::Ready(Ok(self.state.output.write(bytes)));
        }
        let sent = self.poll_output(cx, |output, io, cx| output.poll_direct(io, cx, bytes))?;
        let replies = self.watch_if_quiet(cx, sent.is_pending());
        let len = ready!(sent);
        if replies {
            // What fails here fails again with the next write.
            let _ = self.poll_send(cx, false);
        }
        Poll::Ready(Ok(len))
    }

    /// Sends what was just written, for those who never flush; the reader is asked to send what the IO does not take.
    fn send_at_once(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        self.state.reader_sends = true;
        // Pending is not passed on: the bytes are taken.
        if let Poll::Ready(sent) = self.poll_send_and_watch(cx, true) {
            sent?;
        }
        Ok(())
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncWrite for WsStream<IO> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if buf.is_empty() {
            return Poll::Ready(this.state.output.check_open().map(|()| 0));
        }
        if this.state.coalesce && this.state.output.extend(buf) {
            return Poll::Ready(Ok(buf.len()));
        }
        let taken = ready!(this.poll_take(cx, buf))?;
        if !this.state.coalesce {
            this.send_at_once(cx)?;
        }
        Poll::Ready(Ok(taken))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.state.output.check_open()?;
        let mut taken = 0;
        for buf in bufs.iter().filter(|buf| !buf.is_empty()) {
            match this.poll_take(cx, buf) {
                Poll::Ready(Ok(len)) => {
                    taken += len;
                    if len < buf.len() {
                        break;
                    }
                }
                // What was taken is told first; an error comes again with the next write.
                _ if taken > 0 => break,
                nothing => return nothing,
            }
        }
        if taken > 0 && !this.state.coalesce {
            this.send_at_once(cx)?;
        }
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.state.output.puts_flush_off(cx) {
            return Poll::Pending;
        }
        this.poll_send_and_watch(cx, true)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_closing(cx)
    }
}
