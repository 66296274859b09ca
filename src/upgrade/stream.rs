//! `Stream`: one of the streams of a session.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_lite::{AsyncRead, AsyncWrite};

/// A stream of a [`Session`](super::Session): bytes both ways, for one protocol.
///
/// * Reads: `Ok(0)` once the peer has closed its half; [`ConnectionReset`](io::ErrorKind::ConnectionReset) if it has
///   reset the stream, or if the session ended before, with the [`SessionError`](super::SessionError) inside: data that
///   was cut off never looks like an end in order. What had arrived before is read first.
/// * Writes: at most a window of bytes that the peer has not read, then they wait. `flush` waits until the bytes are
///   the driver's to send, which it does at once. A closed or reset stream gives [`BrokenPipe`](io::ErrorKind::BrokenPipe).
/// * `close` closes our half; reading goes on.
/// * Dropping it without `close`, or [`reset`](Self::reset), resets it, unless both halves are closed. Bytes
///   written before still go out.
///
/// Reading and writing may be done by two tasks.
#[derive(Debug)]
pub struct Stream {
    protocol: String,
}

impl Stream {
    /// The protocol agreed on, or the one proposed for a stream that was opened with a single protocol.
    pub fn protocol(&self) -> &str {
        &self.protocol
    }

    /// Resets the stream, for both directions at once: the peer's reads and writes fail.
    pub fn reset(self) {
        todo!()
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut [u8]) -> Poll<io::Result<usize>> {
        todo!()
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        todo!()
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        todo!()
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        todo!()
    }
}
