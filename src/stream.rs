//! `WsStream`: a byte stream over WebSocket frames.

use futures_lite::{AsyncBufRead, AsyncRead, AsyncWrite};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::config::StreamConfig;
use crate::proto::Role;

/// Who sent the first Close frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Initiator {
    /// We did.
    Local,
    /// The peer did.
    Remote,
}

/// How a connection was closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closed {}

/// A byte stream over the frames of a WebSocket connection (RFC 6455), on any `IO`.
#[derive(Debug)]
pub struct WsStream<IO> {
    io: IO,
}

impl<IO> WsStream<IO> {
    /// A stream over an IO on which the opening handshake is done; `early` are bytes that were read after its end.
    pub fn new(io: IO, _role: Role, _early: Vec<u8>, _config: StreamConfig) -> Self {
        WsStream { io }
    }
    /// The IO below.
    pub fn get_ref(&self) -> &IO {
        &self.io
    }
    /// The IO below; reading or writing it directly breaks the framing.
    pub fn get_mut(&mut self) -> &mut IO {
        &mut self.io
    }
}
impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncRead for WsStream<IO> {
    fn poll_read(self: Pin<&mut Self>, _cx: &mut Context<'_>, _buf: &mut [u8]) -> Poll<io::Result<usize>> {
        todo!()
    }
}
impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncBufRead for WsStream<IO> {
    fn poll_fill_buf(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        todo!()
    }
    fn consume(self: Pin<&mut Self>, _n: usize) {
        todo!()
    }
}
impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncWrite for WsStream<IO> {
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
