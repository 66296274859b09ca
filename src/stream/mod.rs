//! `WsStream`: a byte stream over WebSocket frames.

mod close;
mod fault;
mod heads;
mod input;
mod output;
mod read;
mod trial;
mod wakers;
mod write;

use std::fmt;
use std::io;
use std::pin::Pin;

use futures_lite::{AsyncRead, AsyncWrite};

use crate::config::StreamConfig;
use crate::lend::{Lend, Lending};
use crate::proto::{CloseCode, CloseFrame, InvalidClose, Role};
use close::Closing;
pub use fault::{Closed, Initiator};
use input::Input;
use output::Output;
use wakers::Wakers;

/// Most frames that one poll handles before it lets other tasks run.
const MAX_FRAMES_PER_POLL: u32 = 64;

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
/// does not read, writes wait; the buffer never grows. Flushes can be
/// [put off](StreamConfig::with_flushes_put_off), for layers above that flush all the time. After a Close from either end, or a violation, writes give
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
    /// Behind a pointer: a connection is moved by every future that gives it on, and this is most of it.
    state: Box<State>,
    /// How to read without a copy, if the IO can be read so.
    lending: Option<Lending<IO>>,
}

/// What a stream knows, its IO aside.
struct State {
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
    closing: Closing,
    closed: Option<Box<Closed>>,
}

impl<IO> WsStream<IO> {
    /// A stream over an `io` on which the opening handshake is done; `early` are bytes received after its end.
    ///
    /// [`handshake::client`](crate::handshake::client) and [`handshake::server`](crate::handshake::server) call this.
    pub fn new(io: IO, role: Role, early: Vec<u8>, config: StreamConfig) -> Self {
        let state = State {
            input: Input::new(role, early, &config),
            output: Output::new(role, &config),
            wakers: Wakers::default(),
            reader_sends: false,
            writer_watches: false,
            quiet: 0,
            coalesce: config.coalescing(),
            closing: Closing::Open { timeout: config.close_timeout() },
            closed: None,
        };
        WsStream { io, state: Box::new(state), lending: None }
    }

    /// Suits a TLS session below: reads from its own memory, if it lends that, and writes what it sends at once.
    pub(crate) fn over_tls(mut self) -> Self
    where
        IO: Lend,
    {
        self.lending = Lending::of(&self.io);
        self.state.output.suit_tls();
        self
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
        self.state.closed.as_deref()
    }

    /// Owes the peer a Close, and notes that this end closed first, unless a Close was owed or sent before.
    fn owe_close(&mut self, frame: CloseFrame) {
        if self.state.output.owe_close(Some(&frame)) {
            self.state.closed.get_or_insert_with(|| Box::new(Closed::new(Initiator::Local, Some(frame))));
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
}

impl<IO: fmt::Debug> fmt::Debug for WsStream<IO> {
    /// Shows its state, and no payload.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WsStream")
            .field("io", &self.io)
            .field("input", &self.state.input)
            .field("output", &self.state.output)
            .field("closed", &self.state.closed)
            .finish_non_exhaustive()
    }
}
