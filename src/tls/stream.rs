//! `MaybeTls`: a plain IO or one inside TLS, and the rules that hold for both backends.

use std::fmt;
use std::io::{self, IoSlice, IoSliceMut};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_lite::{AsyncRead, AsyncWrite};

use crate::lend::Lend;
use crate::stream::WsStream;

use super::{Backend, native_backend, rustls_backend};

/// A plain IO, or one inside TLS.
///
/// Reading: the peer's close_notify is `Ok(0)`; an end of the IO below without one is `UnexpectedEof` (a cut, by accident
/// or by an attacker, RFC 8446 §6.1); a violation of TLS or an alert of the peer is `InvalidData` with the backend's error
/// inside. Each of them stays: reading again gives the same kind again.
///
/// Writing: bytes taken may wait in a bounded buffer (64 KiB with rustls, 62 KiB with native-tls) until the
/// next write, flush or close. Flushing sends all of it. A write after `close`, or after a violation, is `BrokenPipe`.
///
/// Closing sends close_notify and then closes the IO below, also when the former failed; it does not wait for the peer's
/// close_notify, and reading goes on. Dropping sends nothing.
///
/// A plain one passes everything on to the IO.
pub struct MaybeTls<IO>(Kind<IO>);

// Sessions are boxed, for a plain connection shall not carry their size.
enum Kind<IO> {
    Plain(IO),
    Rustls(Box<Guarded<rustls_backend::Stream<IO>>>),
    Native(Box<Guarded<native_backend::Stream<IO>>>),
}

impl<IO> MaybeTls<IO> {
    /// The IO as it is.
    pub fn plain(io: IO) -> Self {
        MaybeTls(Kind::Plain(io))
    }

    pub(super) fn over_rustls(session: rustls_backend::Stream<IO>) -> Self {
        MaybeTls(Kind::Rustls(Box::new(Guarded::new(session))))
    }

    pub(super) fn over_native(session: native_backend::Stream<IO>) -> Self {
        MaybeTls(Kind::Native(Box::new(Guarded::new(session))))
    }

    /// Whether TLS runs on it.
    pub fn is_tls(&self) -> bool {
        self.backend().is_some()
    }

    /// The backend that does TLS; `None` on a plain one.
    pub fn backend(&self) -> Option<Backend> {
        match &self.0 {
            Kind::Plain(_) => None,
            Kind::Rustls(_) => Some(Backend::Rustls),
            Kind::Native(_) => Some(Backend::NativeTls),
        }
    }

    /// The rustls session, if that is the backend.
    pub(super) fn as_rustls(&self) -> Option<&rustls_backend::Stream<IO>> {
        match &self.0 {
            Kind::Rustls(stream) => Some(&stream.session),
            _ => None,
        }
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> MaybeTls<IO> {
    /// The IO below.
    pub fn get_ref(&self) -> &IO {
        match &self.0 {
            Kind::Plain(io) => io,
            Kind::Rustls(stream) => stream.session.io(),
            Kind::Native(stream) => stream.session.io(),
        }
    }

    /// The IO below; reading or writing it directly breaks the TLS session.
    pub fn get_mut(&mut self) -> &mut IO {
        match &mut self.0 {
            Kind::Plain(io) => io,
            Kind::Rustls(stream) => stream.session.io_mut(),
            Kind::Native(stream) => stream.session.io_mut(),
        }
    }

    /// The application protocol that was agreed on (ALPN, RFC 7301).
    ///
    /// `None` if none was, on a plain one, and always on the listening side of native-tls, which cannot be asked.
    pub fn alpn(&self) -> Option<Vec<u8>> {
        match &self.0 {
            Kind::Plain(_) => None,
            Kind::Rustls(stream) => stream.session.alpn(),
            Kind::Native(stream) => stream.session.alpn(),
        }
    }

    /// The peer's certificates as it showed them, in DER, its own one first.
    ///
    /// They were verified, unless verification was skipped. `None` if it showed none (a client usually does not) and on a
    /// plain one. native-tls gives the peer's own certificate only.
    pub fn peer_certificates(&self) -> Option<Vec<Vec<u8>>> {
        match &self.0 {
            Kind::Plain(_) => None,
            Kind::Rustls(stream) => stream.session.peer_certificates(),
            Kind::Native(stream) => stream.session.peer_certificates(),
        }
    }
}

impl<IO: fmt::Debug + AsyncRead + AsyncWrite + Unpin> fmt::Debug for MaybeTls<IO> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MaybeTls").field("backend", &self.backend()).field("io", self.get_ref()).finish()
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> WsStream<MaybeTls<IO>> {
    /// Reads what TLS has decrypted from where it lies, which spares one copy of every byte, and writes as much as TLS sends
    /// in one piece, unless its [write buffer](crate::StreamConfig::with_write_buffer) was set.
    ///
    /// Streams from a [`Dialer`](crate::Dialer) or a [`Listener`](crate::Listener) do so already. It changes nothing on
    /// a plain IO; native-tls keeps its memory to itself.
    pub fn borrow_from_tls(self) -> Self {
        match self.get_ref().backend() {
            Some(_) => self.over_tls(),
            None => self,
        }
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Lend for MaybeTls<IO> {
    fn lends(&self) -> bool {
        matches!(self.0, Kind::Rustls(_))
    }

    fn poll_lend(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        match &mut self.0 {
            Kind::Rustls(stream) => stream.poll_lend(cx),
            Kind::Plain(_) | Kind::Native(_) => Poll::Ready(Err(io::ErrorKind::Unsupported.into())),
        }
    }

    fn consume(&mut self, len: usize) {
        if let Kind::Rustls(stream) = &mut self.0 {
            stream.session.consume(len);
        }
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncRead for MaybeTls<IO> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        match &mut self.0 {
            Kind::Plain(io) => Pin::new(io).poll_read(cx, buf),
            Kind::Rustls(stream) => stream.poll_read(cx, buf),
            Kind::Native(stream) => stream.poll_read(cx, buf),
        }
    }

    fn poll_read_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        if let Kind::Plain(io) = &mut self.0 {
            return Pin::new(io).poll_read_vectored(cx, bufs);
        }
        match bufs.iter_mut().find(|buf| !buf.is_empty()) {
            Some(buf) => self.poll_read(cx, buf),
            None => Poll::Ready(Ok(0)),
        }
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncWrite for MaybeTls<IO> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.0 {
            Kind::Plain(io) => Pin::new(io).poll_write(cx, buf),
            Kind::Rustls(stream) => stream.poll_write(cx, buf),
            Kind::Native(stream) => stream.poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.0 {
            Kind::Plain(io) => Pin::new(io).poll_write_vectored(cx, bufs),
            Kind::Rustls(stream) => stream.poll_write_vectored(cx, bufs),
            Kind::Native(stream) => stream.poll_write_vectored(cx, bufs),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.0 {
            Kind::Plain(io) => Pin::new(io).poll_flush(cx),
            Kind::Rustls(stream) => stream.poll_flush(cx),
            Kind::Native(stream) => stream.poll_flush(cx),
        }
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.0 {
            Kind::Plain(io) => Pin::new(io).poll_close(cx),
            Kind::Rustls(stream) => stream.poll_close(cx),
            Kind::Native(stream) => stream.poll_close(cx),
        }
    }
}

/// What a backend's established session can do over `IO`.
///
/// An end of the IO without close_notify is `UnexpectedEof`; `Pending` leaves the caller's waker with the IO.
pub(super) trait Session<IO> {
    fn io(&self) -> &IO;
    fn io_mut(&mut self) -> &mut IO;
    fn alpn(&self) -> Option<Vec<u8>>;
    fn peer_certificates(&self) -> Option<Vec<Vec<u8>>>;
    /// `buf` is not empty. Writes nothing to the IO while it may be parked there for a writer.
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>>;
    fn poll_write(&mut self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>>;
    fn poll_write_vectored(&mut self, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>>;
    /// Sends everything taken, also an alert after a failure, and flushes the IO.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
    /// Sends close_notify once, after everything taken, and flushes the IO; the IO stays open.
    fn poll_close_notify(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
}

/// A session that lends what it decrypted; see [`Lend`].
pub(super) trait LendingSession {
    fn poll_lend(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>>;
    fn consume(&mut self, len: usize);
}

/// A session whose ends and errors stay.
///
/// The backends differ in what they do when polled again: rustls turns a cut into a clean end or spins, OpenSSL forgets.
struct Guarded<S> {
    session: S,
    reading: Reading,
    closing: Closing,
}

enum Reading {
    Open,
    /// The peer sent close_notify.
    Ended,
    /// An error of this kind was given to the reader.
    Failed(io::ErrorKind),
}

impl Reading {
    /// What every read gives from now on, if there is nothing more to read.
    fn result(&self) -> Option<io::Result<()>> {
        match self {
            Reading::Open => None,
            Reading::Ended => Some(Ok(())),
            Reading::Failed(kind) => Some(Err(io::Error::new(*kind, "the TLS stream failed before"))),
        }
    }

    /// Takes note of what reading gave.
    fn note(&mut self, result: Result<usize, &io::Error>) {
        match result {
            Ok(0) => *self = Reading::Ended,
            Err(error) if error.kind() != io::ErrorKind::Interrupted => *self = Reading::Failed(error.kind()),
            _ => {}
        }
    }
}

enum Closing {
    NotBegun,
    SendingCloseNotify,
    /// Closing the IO; the error, if any, that kept close_notify from being sent.
    EndingIo(Option<io::Error>),
    Closed,
}

impl<S> Guarded<S> {
    fn new(session: S) -> Self {
        Guarded { session, reading: Reading::Open, closing: Closing::NotBegun }
    }

    /// TLS itself failed: the peer has got an alert, and nothing can be said after that (RFC 8446 §6.2).
    fn is_broken(&self) -> bool {
        matches!(self.reading, Reading::Failed(io::ErrorKind::InvalidData))
    }

    fn check_writable(&self) -> io::Result<()> {
        match self.closing {
            Closing::NotBegun if !self.is_broken() => Ok(()),
            _ => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    fn poll_read<IO>(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>>
    where
        S: Session<IO>,
    {
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        if let Some(before) = self.reading.result() {
            return Poll::Ready(before.map(|()| 0));
        }
        let result = ready!(self.session.poll_read(cx, buf));
        self.reading.note(result.as_ref().copied());
        Poll::Ready(result)
    }

    fn poll_lend<IO>(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>>
    where
        S: LendingSession + Session<IO>,
    {
        if let Some(before) = self.reading.result() {
            return Poll::Ready(before.map(|()| &[][..]));
        }
        let result = ready!(self.session.poll_lend(cx));
        self.reading.note(result.as_ref().map(|lent| lent.len()));
        Poll::Ready(result)
    }

    fn poll_write<IO>(&mut self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>>
    where
        S: Session<IO>,
    {
        self.check_writable()?;
        if buf.is_empty() { Poll::Ready(Ok(0)) } else { self.session.poll_write(cx, buf) }
    }

    fn poll_write_vectored<IO>(&mut self, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>>
    where
        S: Session<IO>,
    {
        self.check_writable()?;
        if bufs.iter().all(|buf| buf.is_empty()) {
            return Poll::Ready(Ok(0));
        }
        self.session.poll_write_vectored(cx, bufs)
    }

    fn poll_flush<IO>(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>
    where
        S: Session<IO>,
    {
        match self.closing {
            Closing::Closed => Poll::Ready(Ok(())),
            _ if self.is_broken() => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            _ => self.session.poll_flush(cx),
        }
    }

    fn poll_close<IO>(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>
    where
        S: Session<IO>,
        IO: AsyncWrite + Unpin,
    {
        loop {
            match &mut self.closing {
                Closing::NotBegun => self.closing = Closing::SendingCloseNotify,
                Closing::SendingCloseNotify => {
                    let told = match self.is_broken() {
                        true => ready!(self.session.poll_flush(cx)),
                        false => ready!(self.session.poll_close_notify(cx)),
                    };
                    self.closing = Closing::EndingIo(told.err());
                }
                Closing::EndingIo(error) => {
                    let closed = ready!(Pin::new(self.session.io_mut()).poll_close(cx));
                    let error = error.take().or_else(|| closed.err());
                    self.closing = Closing::Closed;
                    return Poll::Ready(match error {
                        // The peer was faster.
                        Some(error) if error.kind() != io::ErrorKind::NotConnected => Err(error),
                        _ => Ok(()),
                    });
                }
                Closing::Closed => return Poll::Ready(Ok(())),
            }
        }
    }
}
