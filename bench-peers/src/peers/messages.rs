//! A sink and stream of messages as a byte stream: a binary message per write.

use std::error::Error;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use async_tungstenite::tungstenite::{self, Bytes};
use futures_util::{Sink, TryStream};
use smol::io::{AsyncRead, AsyncWrite};

/// A library's message.
pub trait Message {
    fn binary(bytes: &[u8]) -> Self;
    fn into_bytes(self) -> Bytes;
}

/// That of tungstenite 0.30, for smol and for Tokio.
impl Message for tungstenite::Message {
    fn binary(bytes: &[u8]) -> Self {
        Self::binary(bytes.to_owned())
    }

    fn into_bytes(self) -> Bytes {
        self.into_data()
    }
}

impl Message for tokio_websockets::Message {
    fn binary(bytes: &[u8]) -> Self {
        Self::binary(bytes.to_owned())
    }

    fn into_bytes(self) -> Bytes {
        self.into_payload().into()
    }
}

impl Message for yawc::Frame {
    fn binary(bytes: &[u8]) -> Self {
        Self::binary(bytes.to_owned())
    }

    fn into_bytes(self) -> Bytes {
        self.into_payload()
    }
}

pub struct Messages<S> {
    stream: S,
    unread: Bytes,
}

impl<S> Messages<S> {
    pub fn new(stream: S) -> Self {
        Messages { stream, unread: Bytes::new() }
    }
}

impl<S> AsyncRead for Messages<S>
where
    S: TryStream<Ok: Message, Error: Into<Box<dyn Error + Send + Sync>>> + Unpin,
{
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        while self.unread.is_empty() {
            match ready!(Pin::new(&mut self.stream).try_poll_next(cx)) {
                Some(message) => self.unread = message.map_err(io::Error::other)?.into_bytes(),
                None => return Poll::Ready(Ok(0)),
            }
        }
        let len = self.unread.len().min(buf.len());
        buf[..len].copy_from_slice(&self.unread.split_to(len));
        Poll::Ready(Ok(len))
    }
}

impl<S> AsyncWrite for Messages<S>
where
    S: TryStream<Ok: Message> + Sink<<S as TryStream>::Ok, Error: Into<Box<dyn Error + Send + Sync>>> + Unpin,
{
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        ready!(Pin::new(&mut self.stream).poll_ready(cx)).map_err(io::Error::other)?;
        Pin::new(&mut self.stream).start_send(Message::binary(buf)).map_err(io::Error::other)?;
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx).map_err(io::Error::other)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(cx).map_err(io::Error::other)
    }
}
