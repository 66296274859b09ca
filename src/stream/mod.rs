//! `WsStream`: a byte stream over WebSocket frames.

mod close;
mod fault;
mod input;
mod output;
mod pool;
mod wakers;

use std::fmt;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_lite::{AsyncBufRead, AsyncRead, AsyncWrite};

use crate::config::{DIRECT_READ, StreamConfig};
use crate::proto::{CloseCode, CloseFrame, InvalidClose, Role};
use close::Closing;
pub use fault::{Closed, Initiator};
use fault::{Failure, ReadEnd};
use input::Input;
use output::Output;
use wakers::Wakers;

/// Most frames that one poll handles before it lets other tasks run.
const MAX_FRAMES_PER_POLL: u32 = 64;

/// Most times that one write fills and empties the buffer before it returns what was taken.
const MAX_DRAINS_PER_POLL: u32 = 16;

/// Drains and flushes without a read after which the writer looks at the input itself, so that Pings are answered.
const QUIET_DRAINS: u8 = 4;

/// A byte stream over the frames of a WebSocket connection (RFC 6455 §5), on any `IO`.
///
/// Frame boundaries mean nothing: any split of the bytes into frames gives the same stream.
///
/// # Reading
///
/// `Ok(0)` is the peer's Close with 1000, 1001 or no code. Another code is `ConnectionAborted` with [`Closed`] inside;
/// an IO that ends without a Close is `UnexpectedEof`; a breach of the protocol is `InvalidData` with a
/// [`Violation`](crate::proto::Violation) inside, and the peer is told by a Close 1002 (1003 for text, 1008 for a flood
/// of empty frames). Data that came before either is read first. Every further read gives the same again.
///
/// **A read that has to wait first sends what was written**, so that a request never waits for its own response.
/// (One that waits already, in another task, does not send what is written later: then flush.) Pings are answered by
/// reads and by writes.
///
/// # Writing
///
/// Adjacent writes share a frame until a flush, a full buffer or a read that waits. When the buffer is full and the peer
/// does not read, writes wait; the buffer never grows. After a Close from either end, or a violation, writes give
/// `BrokenPipe`; after an error of the IO they give that error.
///
/// # Closing
///
/// `close` sends what is buffered, then Close 1000 ([`close_with`](Self::close_with) takes another code), then shuts the
/// write half down. It does not wait for the peer's Close: read until the end for that, as on TCP. It fails with
/// `TimedOut` when the peer has not taken what is buffered within the
/// [close timeout](StreamConfig::with_close_timeout). After a violation it also reads and throws away at most 256 KiB
/// for at most one second, since closing a socket with unread input would keep the peer from reading the Close.
///
/// Dropping the stream sends nothing. Dropping the future of a read, a write or a flush loses nothing: what was taken
/// stays taken.
///
/// # Memory
///
/// An idle stream holds no buffer. While there is unread or unsent data it holds at most the
/// [read](StreamConfig::with_read_buffer) and the [write buffer](StreamConfig::with_write_buffer), whatever lengths the
/// peer declares.
///
/// ```
/// use futures_lite::{AsyncReadExt, AsyncWriteExt, future::block_on, io::Cursor};
/// use ws_transport::{StreamConfig, WsStream, proto::Role};
///
/// block_on(async {
///     // "Hello" and a Close, as a server sends them.
///     let wire = Cursor::new(b"\x82\x05Hello\x88\x02\x03\xe8".to_vec());
///     let mut stream = WsStream::new(wire, Role::Client, Vec::new(), StreamConfig::new());
///     let mut text = String::new();
///     stream.read_to_string(&mut text).await?;
///     assert_eq!(text, "Hello");
/// #   std::io::Result::Ok(())
/// })?;
/// # std::io::Result::Ok(())
/// ```
pub struct WsStream<IO> {
    io: IO,
    input: Input,
    output: Output,
    wakers: Wakers,
    /// Whether a read left something unsent when it had to wait, and depends on it being sent.
    reader_sends: bool,
    /// Whether the input will wake the writer: it was polled with the waker of both, and no reader polled it since.
    writer_watches: bool,
    /// Drains and flushes since the input was last polled.
    quiet: u8,
    coalesce: bool,
    direct_read: usize,
    close_timeout: std::time::Duration,
    closing: Closing,
    closed: Option<Box<Closed>>,
}

impl<IO> WsStream<IO> {
    /// A stream over an `io` on which the opening handshake is done; `early` are bytes received after its end.
    ///
    /// [`handshake::client`](crate::handshake::client) and [`handshake::server`](crate::handshake::server) call this.
    pub fn new(io: IO, role: Role, early: Vec<u8>, config: StreamConfig) -> Self {
        WsStream {
            io,
            input: Input::new(role, early, &config),
            output: Output::new(role, &config),
            wakers: Wakers::default(),
            reader_sends: false,
            writer_watches: false,
            quiet: 0,
            coalesce: config.coalescing(),
            direct_read: DIRECT_READ.min(config.read_buffer()),
            close_timeout: config.close_timeout(),
            closing: Closing::default(),
            closed: None,
        }
    }

    /// The IO below.
    pub fn get_ref(&self) -> &IO {
        &self.io
    }

    /// The IO below; reading from it or writing to it breaks the framing.
    pub fn get_mut(&mut self) -> &mut IO {
        &mut self.io
    }

    /// Who closed the connection first and why, once either end has.
    ///
    /// The peer's Close is noticed when a read (or a write that looks for Pings) comes to it.
    pub fn closed(&self) -> Option<&Closed> {
        self.closed.as_deref()
    }

    /// Owes the peer a Close, and notes that this end closed first, unless a Close was owed or sent before.
    fn owe_close(&mut self, frame: CloseFrame) {
        if self.output.owe_close(Some(&frame)) {
            self.closed.get_or_insert_with(|| Box::new(Closed::new(Initiator::Local, Some(frame))));
        }
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> WsStream<IO> {
    /// Closes the connection with a code and a reason of at most 123 bytes, for people to read.
    ///
    /// As `close` otherwise. `InvalidInput` where the code may not be sent (RFC 6455 §7.4) or the reason is too long;
    /// the stream is then as before. If the connection is being closed already, its first code stands.
    pub async fn close_with(&mut self, code: u16, reason: &str) -> io::Result<()> {
        let frame = CloseCode::new(code)
            .ok_or(InvalidClose::Code(code))
            .and_then(|code| CloseFrame::new(code, reason))
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        self.owe_close(frame);
        std::future::poll_fn(|cx| Pin::new(&mut *self).poll_close(cx)).await
    }

    /// Receives until there is payload: that much at the start of `direct`, if given, or else in the input's buffer.
    ///
    /// `Ok(0)` with nothing in the buffer is the end.
    fn poll_receive(&mut self, cx: &mut Context<'_>, mut direct: Option<&mut [u8]>) -> Poll<io::Result<usize>> {
        let mut budget = MAX_FRAMES_PER_POLL;
        loop {
            if self.input.has_raw() && self.input.plain().is_empty() {
                self.input.deframe(&mut budget);
                self.after_input(cx);
            }
            if !self.input.plain().is_empty() {
                return Poll::Ready(Ok(self.input.plain().len()));
            }
            if let Some(end) = self.input.end() {
                return Poll::Ready(end.result().map(|()| 0));
            }
            if budget == 0 {
                cx.waker().wake_by_ref();
                self.send_as_reader(cx);
                return Poll::Pending;
            }

            self.quiet = 0;
            self.writer_watches = false;
            let received = match &mut direct {
                Some(slice) => self.input.poll_direct(&mut self.io, cx, slice, &mut budget),
                None => self.input.poll_fill(&mut self.io, cx, &mut budget).map_ok(|len| (len > 0).then_some(0)),
            };
            match received {
                Poll::Ready(Ok(Some(len))) => {
                    self.after_input(cx);
                    if len > 0 {
                        return Poll::Ready(Ok(len));
                    }
                }
                Poll::Ready(Ok(None)) => self.input.finish(ReadEnd::Truncated),
                Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Poll::Ready(Err(error)) => self.input.finish(ReadEnd::Failed(Failure::new(error))),
                Poll::Pending => {
                    self.wakers.park_reader(cx);
                    self.send_as_reader(cx);
                    return Poll::Pending;
                }
            }
        }
    }

    /// Draws the consequences of what was received, and sends a reply at once as far as the IO takes it.
    fn after_input(&mut self, cx: &mut Context<'_>) {
        self.settle_input();
        if self.output.owes_control() {
            self.send_as_reader(cx);
        }
    }

    /// Turns Pings, Closes and violations that were received into what is owed to the peer.
    fn settle_input(&mut self) {
        if let Some(payload) = self.input.take_pong() {
            self.output.owe_pong(payload);
        }
        if let Some(frame) = self.input.take_close() {
            // RFC 6455 §5.5.1: the answer to a Close is a Close with the same code.
            let echo = frame.as_ref().map(|frame| CloseFrame::from(frame.code()));
            let first = self.output.owe_close(echo.as_ref());
            let closed = Closed::new(Initiator::Remote, frame);
            self.input.finish(match closed.is_clean() || !first {
                true => ReadEnd::Closed,
                false => ReadEnd::Aborted(closed.clone()),
            });
            self.closed.get_or_insert_with(|| Box::new(closed));
        }
        if let Some(ReadEnd::Violated(violation)) = self.input.end() {
            let code = violation.close_code();
            self.owe_close(code.into());
        }
    }

    /// Sends what is buffered on behalf of a reader; errors are left for the writer to find.
    fn send_as_reader(&mut self, cx: &mut Context<'_>) {
        if self.output.is_idle() {
            self.reader_sends = false;
            return;
        }
        let sent = if self.wakers.other_writer_waits(cx) {
            self.wakers.park_reader(cx);
            let both = self.wakers.both();
            self.output.poll_flush(&mut self.io, &mut Context::from_waker(&both))
        } else {
            self.output.poll_flush(&mut self.io, cx)
        };
        self.reader_sends = sent.is_pending();
        if sent.is_ready() {
            self.wakers.wake_writer();
        }
    }

    /// Sends what is buffered on behalf of a writer, who is parked if it has to wait; with `flush`, flushes the IO too.
    fn poll_send(&mut self, cx: &mut Context<'_>, flush: bool) -> Poll<io::Result<()>> {
        let sent = if self.reader_sends && self.wakers.other_reader_waits(cx) {
            self.wakers.park_writer(cx);
            let both = self.wakers.both();
            self.output.poll(&mut self.io, &mut Context::from_waker(&both), flush)
        } else {
            self.output.poll(&mut self.io, cx, flush)
        };
        match sent {
            Poll::Ready(_) => {
                self.wakers.unpark_writer();
                self.reader_sends &= !self.output.is_idle();
                self.quiet = self.quiet.saturating_add(1);
            }
            Poll::Pending => self.wakers.park_writer(cx),
        }
        sent
    }

    /// Looks at the input on behalf of a writer, so that Pings are answered and a Close is seen while nobody reads.
    ///
    /// Once the IO has nothing more to give, this costs one look at a flag until it has. What is received stays in the
    /// input's buffer; when that is full of unread data, nothing more is looked at.
    fn watch_input(&mut self, cx: &mut Context<'_>) {
        if self.writer_watches {
            self.wakers.refresh();
            if !self.wakers.has_fired() {
                return;
            }
            self.writer_watches = false;
        }
        let mut budget = MAX_FRAMES_PER_POLL;
        while self.input.end().is_none() {
            if self.input.has_raw() {
                self.input.deframe(&mut budget);
            } else if self.input.has_room() {
                let both = self.wakers.both_afresh();
                let mut both = Context::from_waker(&both);
                match self.input.poll_fill(&mut self.io, &mut both, &mut budget) {
                    Poll::Ready(Ok(0)) => self.input.finish(ReadEnd::Truncated),
                    Poll::Ready(Ok(_)) => {}
                    Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                    Poll::Ready(Err(error)) => self.input.finish(ReadEnd::Failed(Failure::new(error))),
                    Poll::Pending => {
                        self.writer_watches = true;
                        return;
                    }
                }
            } else {
                return;
            }
            self.settle_input();
            if self.input.end().is_some() || !self.input.plain().is_empty() {
                self.wakers.wake_reader();
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
        if sent.is_pending() || self.quiet >= QUIET_DRAINS {
            self.watch_input(cx);
            if self.output.owes_control() {
                return self.poll_send(cx, flush);
            }
        }
        sent.map(Ok)
    }

    /// Takes bytes into the buffer, or sends them from where they are, as far as that goes without waiting.
    fn poll_take(&mut self, cx: &mut Context<'_>, mut bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut taken = 0;
        for _ in 0..MAX_DRAINS_PER_POLL {
            let direct = self.output.prefers_direct(bytes.len());
            if direct && !self.output.is_drained() && self.poll_send_and_watch(cx, false)?.is_pending() {
                break;
            }
            // A Close may have come in while the input was looked at: nothing may follow ours.
            match self.output.check_open() {
                Err(_) if taken > 0 => break,
                open => open?,
            }
            let len = if direct {
                let sent = if self.reader_sends && self.wakers.other_reader_waits(cx) {
                    self.wakers.park_writer(cx);
                    let both = self.wakers.both();
                    self.output.poll_direct(&mut self.io, &mut Context::from_waker(&both), bytes)?
                } else {
                    self.output.poll_direct(&mut self.io, cx, bytes)?
                };
                match sent {
                    Poll::Ready(len) => {
                        self.wakers.unpark_writer();
                        self.quiet = self.quiet.saturating_add(1);
                        len
                    }
                    Poll::Pending => {
                        self.wakers.park_writer(cx);
                        self.watch_input(cx);
                        break;
                    }
                }
            } else {
                self.output.write(bytes)
            };
            taken += len;
            bytes = bytes.get(len..).unwrap_or_default();
            if bytes.is_empty() {
                break;
            }
            if !self.output.is_drained() && self.poll_send_and_watch(cx, false)?.is_pending() {
                break;
            }
        }
        if taken == 0 {
            // A Close or a violation that came in just now: nobody would wake the writer if the peer does not read.
            self.output.check_open()?;
            return Poll::Pending;
        }
        Poll::Ready(Ok(taken))
    }

    /// Sends what was just written, for those who never flush; the reader is asked to send what the IO does not take.
    fn send_at_once(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        self.reader_sends = true;
        // Pending is not passed on: the bytes are taken.
        if let Poll::Ready(sent) = self.poll_send_and_watch(cx, true) {
            sent?;
        }
        Ok(())
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncRead for WsStream<IO> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let direct = (buf.len() >= self.direct_read).then_some(&mut *buf);
        let len = ready!(self.poll_receive(cx, direct))?;
        let plain = self.input.plain();
        if plain.is_empty() {
            return Poll::Ready(Ok(len));
        }
        let len = plain.len().min(buf.len());
        if let (Some(to), Some(from)) = (buf.get_mut(..len), plain.get(..len)) {
            to.copy_from_slice(from);
        }
        self.input.consume(len);
        Poll::Ready(Ok(len))
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncBufRead for WsStream<IO> {
    fn poll_fill_buf(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        let this = self.get_mut();
        ready!(this.poll_receive(cx, None))?;
        Poll::Ready(Ok(this.input.plain()))
    }

    fn consume(mut self: Pin<&mut Self>, len: usize) {
        self.input.consume(len);
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncWrite for WsStream<IO> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.output.check_open()?;
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let taken = ready!(this.poll_take(cx, buf))?;
        if !this.coalesce {
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
        this.output.check_open()?;
        let mut taken = 0;
        for buf in bufs.iter().filter(|buf| !buf.is_empty()) {
            match this.poll_take(cx, buf)? {
                Poll::Ready(len) => {
                    taken += len;
                    if len < buf.len() {
                        break;
                    }
                }
                Poll::Pending if taken == 0 => return Poll::Pending,
                Poll::Pending => break,
            }
        }
        if taken > 0 && !this.coalesce {
            this.send_at_once(cx)?;
        }
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_send_and_watch(cx, true)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_closing(cx)
    }
}

impl<IO: fmt::Debug> fmt::Debug for WsStream<IO> {
    /// Shows its state, and no payload.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WsStream")
            .field("io", &self.io)
            .field("input", &self.input)
            .field("output", &self.output)
            .field("closed", &self.closed)
            .finish_non_exhaustive()
    }
}
