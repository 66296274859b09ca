//! Other WebSocket libraries as byte streams: a binary message per write.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use async_tungstenite::tungstenite::{Bytes, Error, Message};
use async_tungstenite::{WebSocketStream, accept_async, client_async};
use futures_util::{Sink, Stream as _};
use smol::future;
use smol::io::{AsyncRead, AsyncWrite};

use crate::common::{Pair, Stream};

/// async-tungstenite with its defaults over both ends.
pub async fn async_tungstenite((client, server): Pair) -> Pair {
    let connect = async { client_async("ws://localhost/", client).await };
    let ((client, _), server) = future::try_zip(connect, accept_async(server)).await.unwrap();
    let messages = |stream| Box::new(Messages { stream, unread: Bytes::new() });
    (messages(client), messages(server))
}

struct Messages {
    stream: WebSocketStream<Box<dyn Stream>>,
    unread: Bytes,
}

impl AsyncRead for Messages {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        while self.unread.is_empty() {
            match ready!(Pin::new(&mut self.stream).poll_next(cx)) {
                Some(message) => self.unread = message.map_err(other)?.into_data(),
                None => return Poll::Ready(Ok(0)),
            }
        }
        let len = self.unread.len().min(buf.len());
        buf[..len].copy_from_slice(&self.unread.split_to(len));
        Poll::Ready(Ok(len))
    }
}

impl AsyncWrite for Messages {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        ready!(Pin::new(&mut self.stream).poll_ready(cx)).map_err(other)?;
        Pin::new(&mut self.stream).start_send(Message::binary(buf.to_owned())).map_err(other)?;
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx).map_err(other)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Sink::poll_close(Pin::new(&mut self.stream), cx).map_err(other)
    }
}

fn other(error: Error) -> io::Error {
    match error {
        Error::Io(error) => error,
        error => io::Error::other(error),
    }
}
