//! The stream inside: messages of noise, each behind its length in two bytes.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use futures_lite::{AsyncRead, AsyncWrite};
use snow::TransportState;

use super::error::NoiseError;
use crate::buffer::Buffer;
use crate::put_off::PutOff;

/// Bytes of a message's length.
const HEAD: usize = 2;

/// Bytes by which a message is longer than what it says.
const TAG: usize = 16;

/// Most bytes of a message (Noise §3).
const MAX_MESSAGE: usize = 65_535;

/// Bytes that are read at a time: at least one whole message.
const WIRE: usize = HEAD + MAX_MESSAGE;

/// Bytes of the messages we send, their length included.
///
/// Two of them, with the longest header that a frame of a WebSocket gets then, are what a stream's write buffer holds. One as
/// long as both would cost 1 % less CPU time, and twice the memory while there is something to send.
const SEALED: usize = 30 * 1024 - 8;

/// Bytes that one of them says.
const PLAIN: usize = SEALED - HEAD - TAG;

/// Most messages that say nothing in one poll, before other tasks have their turn.
const MAX_EMPTY: u32 = 64;

/// A byte stream inside noise, from [`Noise`](super::Noise).
///
/// # Reading
///
/// `Ok(0)` is the end of the stream below, at the end of a message; noise has no farewell of its own, so whoever can cut
/// the connection can end it so. Within a message it is `UnexpectedEof`. A message that was tampered with is
/// `InvalidData` with a [`NoiseError`] inside, and nothing is read or written after it.
///
/// # Writing
///
/// Writes are gathered into messages of up to 30 KiB, and sent when one is full or by a flush. Errors of the stream below
/// are passed on, and given again to whoever goes on. `close` flushes, then closes the stream below.
///
/// As an upgrade of libp2p-core it puts flushes off: the first after a write is `Pending`, wakes its task and is done when
/// asked for again, or when 96 KiB were written. Muxers flush after every frame, and what a `Swarm`'s streams write in the same
/// turn then leaves in one message and one send.
///
/// # Memory
///
/// Reads hold up to 128 KiB while there is something unread, and writes up to 60 KiB while there is something unsent;
/// nothing otherwise.
pub struct NoiseStream<IO> {
    io: IO,
    noise: TransportState,
    /// Messages as they came in.
    received: Buffer,
    /// What one of them says, as far as it was not read.
    opened: Buffer,
    /// What is to be said in the next message.
    unsealed: Buffer,
    /// The last message, as far as it is not sent.
    sealed: Buffer,
    put_off: PutOff,
    /// How reading and writing failed.
    unreadable: Option<io::ErrorKind>,
    unwritable: Option<io::ErrorKind>,
}

impl<IO> NoiseStream<IO> {
    pub(super) fn new(io: IO, noise: TransportState) -> Self {
        NoiseStream {
            io,
            noise,
            received: Buffer::default(),
            opened: Buffer::default(),
            unsealed: Buffer::default(),
            sealed: Buffer::default(),
            put_off: PutOff::new(false),
            unreadable: None,
            unwritable: None,
        }
    }

    /// Puts flushes off, for a muxer that flushes after every frame: see the type's documentation.
    pub(super) fn put_flushes_off(mut self) -> Self {
        self.put_off = PutOff::new(true);
        self
    }

    /// The stream below.
    pub fn get_ref(&self) -> &IO {
        &self.io
    }

    /// The stream below; reading from it or writing to it breaks the encryption.
    pub fn get_mut(&mut self) -> &mut IO {
        &mut self.io
    }

    /// Whether any of its buffers holds memory.
    #[cfg(all(test, unix))]
    pub(super) fn is_attached(&self) -> bool {
        [&self.received, &self.opened, &self.unsealed, &self.sealed].into_iter().any(Buffer::is_attached)
    }

    /// Opens the first message, into `slice` if it has room for it or else into the buffer, and says how much that is.
    ///
    /// `None` where there is no whole message.
    fn open(&mut self, slice: &mut [u8]) -> Result<Option<usize>, NoiseError> {
        let Some((head, rest)) = self.received.filled().split_first_chunk::<HEAD>() else { return Ok(None) };
        let Some(message) = rest.get(..u16::from_be_bytes(*head).into()) else { return Ok(None) };
        let used = HEAD + message.len();
        // snow decrypts in the place that it is given, if the tag has room there too.
        let len = if message.len() <= slice.len() {
            self.noise.read_message(message, slice).map_err(NoiseError::message)?
        } else {
            let len = self.noise.read_message(message, self.opened.room(MAX_MESSAGE)).map_err(NoiseError::message)?;
            self.opened.fill(len);
            self.opened.read(slice)
        };
        self.received.consume(used);
        Ok(Some(len))
    }

    /// Makes a message of what is to be said.
    fn seal(&mut self) -> Result<(), NoiseError> {
        let Some((head, message)) = self.sealed.room(SEALED).split_first_chunk_mut::<HEAD>() else { return Ok(()) };
        let len = self.noise.write_message(self.unsealed.filled(), message).map_err(NoiseError::message)?;
        *head = u16::try_from(len).map_err(|_| NoiseError::message(snow::Error::Input))?.to_be_bytes();
        self.sealed.fill(HEAD + len);
        self.unsealed.consume(PLAIN);
        Ok(())
    }

    fn check_readable(&self) -> io::Result<()> {
        self.unreadable.map_or(Ok(()), |kind| Err(kind.into()))
    }

    fn check_writable(&self) -> io::Result<()> {
        self.unwritable.map_or(Ok(()), |kind| Err(kind.into()))
    }

    /// Notes that reading failed; a peer who sends what is none of ours is not told any more either.
    fn fail_reading(&mut self, error: NoiseError) -> io::Error {
        let broken = !matches!(error, NoiseError::Io(_));
        let error = io::Error::from(error);
        self.unreadable = Some(error.kind());
        if broken {
            self.unwritable = Some(io::ErrorKind::BrokenPipe);
            self.drop_output();
        }
        self.received.consume(WIRE);
        self.received.release();
        self.opened.release();
        error
    }

    fn fail_writing(&mut self, error: NoiseError) -> io::Error {
        let error = io::Error::from(error);
        self.unwritable = Some(error.kind());
        self.drop_output();
        error
    }

    fn drop_output(&mut self) {
        self.unsealed.consume(PLAIN);
        self.sealed.consume(SEALED);
        self.release_output();
    }

    fn release_output(&mut self) {
        self.unsealed.release();
        self.sealed.release();
    }
}

impl<IO: AsyncWrite + Unpin> NoiseStream<IO> {
    /// Sends the last message.
    fn poll_sealed(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.sealed.is_empty() {
            match ready!(Pin::new(&mut self.io).poll_write(cx, self.sealed.filled())) {
                Ok(0) => return Poll::Ready(Err(self.fail_writing(io::Error::from(io::ErrorKind::WriteZero).into()))),
                Ok(len) => self.sealed.consume(len),
                Err(error) => return Poll::Ready(Err(self.fail_writing(error.into()))),
            }
        }
        // The next one begins at the front.
        self.sealed.compact();
        Poll::Ready(Ok(()))
    }

    /// Seals and sends what was written.
    fn poll_unsealed(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_sealed(cx))?;
        if !self.unsealed.is_empty() {
            self.seal().map_err(|error| self.fail_writing(error))?;
            self.unsealed.compact();
            ready!(self.poll_sealed(cx))?;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_flush_now(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_unsealed(cx))?;
        self.release_output();
        ready!(self.poll_io_flush(cx)).map_err(|error| self.fail_writing(error.into()))?;
        self.put_off.done();
        Poll::Ready(Ok(()))
    }

    /// Flushes the stream below; where flushes are put off here, none is put off again below.
    fn poll_io_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // One that is put off is done when it is asked for again; nobody needs to be woken for that.
        if self.put_off.is_on()
            && let Poll::Ready(flushed) = Pin::new(&mut self.io).poll_flush(&mut Context::from_waker(Waker::noop()))
        {
            return Poll::Ready(flushed);
        }
        Pin::new(&mut self.io).poll_flush(cx)
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for NoiseStream<IO> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        if !this.opened.is_empty() {
            let len = this.opened.read(buf);
            this.opened.release();
            return Poll::Ready(Ok(len));
        }
        this.check_readable()?;
        let mut empty = 0;
        loop {
            while let Some(len) = this.open(buf).map_err(|error| this.fail_reading(error))? {
                if len > 0 {
                    this.received.release();
                    this.opened.release();
                    return Poll::Ready(Ok(len));
                }
                empty += 1;
                if empty == MAX_EMPTY {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
            }
            this.received.compact();
            match Pin::new(&mut this.io).poll_read(cx, this.received.room(WIRE)) {
                Poll::Ready(Ok(0)) if this.received.is_empty() => {
                    this.received.release();
                    return Poll::Ready(Ok(0));
                }
                Poll::Ready(Ok(0)) => {
                    let cut = io::Error::from(io::ErrorKind::UnexpectedEof);
                    return Poll::Ready(Err(this.fail_reading(cut.into())));
                }
                Poll::Ready(Ok(len)) => this.received.fill(len),
                Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(this.fail_reading(error.into()))),
                Poll::Pending => {
                    this.received.release();
                    return Poll::Pending;
                }
            }
        }
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for NoiseStream<IO> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.check_writable()?;
        if this.unsealed.filled().len() == PLAIN {
            ready!(this.poll_unsealed(cx))?;
        }
        let len = this.unsealed.write(buf, PLAIN);
        this.put_off.pass(len);
        Poll::Ready(Ok(len))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.check_writable()?;
        if this.put_off.puts_off(0, cx) {
            return Poll::Pending;
        }
        this.poll_flush_now(cx)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.check_writable()?;
        ready!(this.poll_flush_now(cx))?;
        Pin::new(&mut this.io).poll_close(cx)
    }
}

impl<IO: fmt::Debug> fmt::Debug for NoiseStream<IO> {
    /// Shows how full its buffers are, and no payload.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NoiseStream")
            .field("io", &self.io)
            .field("received", &self.received)
            .field("opened", &self.opened)
            .field("unsealed", &self.unsealed)
            .field("sealed", &self.sealed)
            .finish_non_exhaustive()
    }
}
