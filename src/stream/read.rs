//! The reading half: receiving, answering, and sending what was written before a read waits.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_lite::{AsyncBufRead, AsyncRead, AsyncWrite};

use super::fault::ReadEnd;
use super::{Closed, Initiator, MAX_FRAMES_PER_POLL, WsStream};
use crate::proto::CloseFrame;

impl<IO: AsyncRead + AsyncWrite + Unpin> WsStream<IO> {
    /// Receives until there is payload: that much at the start of `direct`, if given, or else in the input's buffer.
    ///
    /// `Ok(0)` with nothing in the buffer is the end.
    fn poll_receive(&mut self, cx: &mut Context<'_>, mut direct: Option<&mut [u8]>) -> Poll<io::Result<usize>> {
        let mut budget = MAX_FRAMES_PER_POLL;
        loop {
            if self.state.input.has_raw() && self.state.input.plain().is_empty() {
                self.state.input.deframe(&mut budget);
                self.after_input(cx);
            }
            if !self.state.input.plain().is_empty() {
                return Poll::Ready(Ok(self.state.input.plain().len()));
            }
            if let Some(end) = self.state.input.end() {
                return Poll::Ready(end.result().map(|()| 0));
            }
            if budget == 0 {
                cx.waker().wake_by_ref();
                self.send_as_reader(cx);
                return Poll::Pending;
            }

            self.state.quiet = 0;
            self.state.writer_watches = false;
            let received = match (&mut direct, &self.lending) {
                (Some(slice), Some(lending)) => {
                    self.state.input.poll_lent(&mut self.io, lending, cx, slice, &mut budget)
                }
                (Some(slice), None) => self.state.input.poll_direct(&mut self.io, cx, slice, &mut budget),
                (None, _) => {
                    self.state.input.poll_fill(&mut self.io, cx, &mut budget).map_ok(|len| (len > 0).then_some(0))
                }
            };
            match received {
                Poll::Ready(Ok(Some(len))) => {
                    self.after_input(cx);
                    if len > 0 {
                        return Poll::Ready(Ok(len));
                    }
                }
                Poll::Ready(Ok(None)) => self.state.input.finish_read(None),
                Poll::Ready(Err(error)) => self.state.input.finish_read(Some(error)),
                Poll::Pending => {
                    self.state.wakers.park_reader(cx);
                    self.send_as_reader(cx);
                    return Poll::Pending;
                }
            }
        }
    }

    /// Draws the consequences of what was received, and sends a reply at once as far as the IO takes it.
    fn after_input(&mut self, cx: &mut Context<'_>) {
        self.settle_input();
        if self.state.output.owes_control() {
            self.send_as_reader(cx);
        }
    }

    /// Turns Pings, Closes and violations that were received into what is owed to the peer.
    pub(super) fn settle_input(&mut self) {
        if let Some(payload) = self.state.input.take_pong() {
            self.state.output.owe_pong(payload);
        }
        if let Some(frame) = self.state.input.take_close() {
            // RFC 6455 §5.5.1: the answer to a Close is a Close with the same code.
            let echo = frame.as_ref().map(|frame| CloseFrame::from(frame.code()));
            let first = self.state.output.owe_close(echo.as_ref());
            let closed = Box::new(Closed::new(Initiator::Remote, frame));
            self.state.input.finish(match closed.is_clean() || !first {
                true => ReadEnd::Closed,
                false => ReadEnd::Aborted(closed.clone()),
            });
            self.state.closed.get_or_insert(closed);
        }
        if let Some(ReadEnd::Violated(violation)) = self.state.input.end() {
            let code = violation.close_code();
            self.owe_close(code.into());
        }
    }

    /// Sends what is buffered on behalf of a reader; errors are left for the writer to find.
    fn send_as_reader(&mut self, cx: &mut Context<'_>) {
        if self.state.output.is_idle() {
            self.state.reader_sends = false;
            return;
        }
        let sent = if self.state.wakers.other_writer_waits(cx) {
            self.state.wakers.park_reader(cx);
            let both = self.state.wakers.both();
            self.state.output.poll_flush(&mut self.io, &mut Context::from_waker(&both))
        } else {
            self.state.output.poll_flush(&mut self.io, cx)
        };
        self.state.reader_sends = sent.is_pending();
        if sent.is_ready() {
            self.state.wakers.wake_writer();
        }
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncRead for WsStream<IO> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let direct = (self.lending.is_some() || buf.len() >= self.state.input.direct_read()).then_some(&mut *buf);
        let received = ready!(self.poll_receive(cx, direct));
        self.state.wakers.unpark_reader();
        let len = received?;
        let plain = self.state.input.plain();
        if plain.is_empty() {
            return Poll::Ready(Ok(len));
        }
        let len = plain.len().min(buf.len());
        if let (Some(to), Some(from)) = (buf.get_mut(..len), plain.get(..len)) {
            to.copy_from_slice(from);
        }
        self.state.input.consume(len);
        Poll::Ready(Ok(len))
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncBufRead for WsStream<IO> {
    fn poll_fill_buf(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        let this = self.get_mut();
        let received = ready!(this.poll_receive(cx, None));
        this.state.wakers.unpark_reader();
        received?;
        Poll::Ready(Ok(this.state.input.plain()))
    }

    fn consume(mut self: Pin<&mut Self>, len: usize) {
        self.state.input.consume(len);
    }
}
