//! A library of async functions as a byte stream: one call per write, one per message received.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_util::Sink;
use smol::io::{AsyncRead, AsyncWrite};

/// What the writing half is asked for; its sink has done with one before it takes the next.
pub enum Call {
    Send(Vec<u8>),
    Flush,
}

pub struct Calls<R, W> {
    /// The messages received, one after the other.
    reader: R,
    writer: W,
    /// Whether something was sent that no flush was called for.
    is_behind: bool,
}

impl<R, W> Calls<R, W> {
    pub fn new(reader: R, writer: W) -> Self {
        Calls { reader, writer, is_behind: false }
    }
}

impl<R: AsyncRead + Unpin, W: Unpin> AsyncRead for Calls<R, W> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.reader).poll_read(cx, buf)
    }
}

impl<R, W> AsyncWrite for Calls<R, W>
where
    R: Unpin,
    W: Sink<Call, Error = io::Error> + Unpin,
{
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        ready!(Pin::new(&mut self.writer).poll_ready(cx))?;
        Pin::new(&mut self.writer).start_send(Call::Send(buf.to_owned()))?;
        self.is_behind = true;
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_behind {
            ready!(Pin::new(&mut self.writer).poll_ready(cx))?;
            Pin::new(&mut self.writer).start_send(Call::Flush)?;
            self.is_behind = false;
        }
        Pin::new(&mut self.writer).poll_flush(cx)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(cx)
    }
}
