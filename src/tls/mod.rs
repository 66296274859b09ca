//! TLS by value, by feature: the one place where the backends meet.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_lite::{AsyncRead, AsyncWrite};

/// Why TLS failed or could not be set up.
#[derive(Debug)]
#[non_exhaustive]
pub enum TlsError {
    /// No TLS backend was compiled in, or none was configured.
    Unavailable,
}
impl fmt::Display for TlsError {
    fn fmt(&self, _f: &mut fmt::Formatter<'_>) -> fmt::Result {
        todo!()
    }
}
impl std::error::Error for TlsError {}

/// The client's side of TLS: a backend, its roots and its certificate. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Connector {}
impl Connector {
    /// The system's roots, by the first backend compiled in (rustls before native-tls); `TlsError::Unavailable` if none is.
    ///
    /// Blocks: it reads files.
    pub fn system() -> Result<Self, TlsError> {
        todo!()
    }
    /// Runs the client's handshake; the certificate must be valid for `server_name`, a DNS name or an IP address.
    pub async fn connect<IO>(&self, _server_name: &str, _io: IO) -> Result<MaybeTls<IO>, TlsError>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        todo!()
    }
}

/// The server's side of TLS: a backend and a certificate that can be exchanged while listening. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Acceptor {}
impl Acceptor {
    /// Runs the server's handshake.
    pub async fn accept<IO>(&self, _io: IO) -> Result<MaybeTls<IO>, TlsError>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        todo!()
    }
}

/// A plain IO, or one inside TLS.
#[derive(Debug)]
pub struct MaybeTls<IO> {
    io: IO,
}
impl<IO> MaybeTls<IO> {
    /// The IO as it is.
    pub fn plain(io: IO) -> Self {
        MaybeTls { io }
    }
    /// Whether TLS runs on it.
    pub fn is_tls(&self) -> bool {
        todo!()
    }
    /// The IO below.
    pub fn get_ref(&self) -> &IO {
        &self.io
    }
}
impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncRead for MaybeTls<IO> {
    fn poll_read(self: Pin<&mut Self>, _cx: &mut Context<'_>, _buf: &mut [u8]) -> Poll<io::Result<usize>> {
        todo!()
    }
}
impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncWrite for MaybeTls<IO> {
    fn poll_write(self: Pin<&mut Self>, _cx: &mut Context<'_>, _buf: &[u8]) -> Poll<io::Result<usize>> {
        todo!()
    }
    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        todo!()
    }
    fn poll_close(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        todo!()
    }
}
