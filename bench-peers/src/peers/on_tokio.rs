//! Libraries on Tokio's sockets.

use std::io;

use fastwebsockets::{Frame, Payload, Role as FastRole, WebSocketRead, WebSocketWrite, after_handshake_split};
use futures_util::{StreamExt as _, TryStreamExt as _, sink, stream};
use tokio::io::{AsyncRead, AsyncWrite, ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Bytes;
use tokio_websockets::{ClientBuilder, ServerBuilder};
use yawc::{Options, Role, WebSocket};

use super::calls::{Call, Calls};
use super::messages::Messages;
use crate::common::{Pair, Stream, try_both};

const URL: &str = "ws://localhost/";

/// Largest message that yawc is to take, in bytes: above the largest write.
const MESSAGE: usize = 4 << 20;

/// A stream of Tokio's.
pub trait TokioStream: AsyncRead + AsyncWrite + Unpin + 'static {}

impl<T: AsyncRead + AsyncWrite + Unpin + 'static> TokioStream for T {}

/// Both ends of a TCP connection.
pub async fn tcp(listener: &TcpListener) -> io::Result<(TcpStream, TcpStream)> {
    let addr = listener.local_addr()?;
    let (client, (server, _)) = try_both(TcpStream::connect(addr), listener.accept()).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    Ok((client, server))
}

pub async fn tokio_tungstenite<S: TokioStream>((client, server): (S, S)) -> Pair {
    let connect = tokio_tungstenite::client_async(URL, client);
    let accept = tokio_tungstenite::accept_async(server);
    let ((client, _), server) = try_both(connect, accept).await.unwrap();
    (Box::new(Messages::new(client)), Box::new(Messages::new(server)))
}

pub async fn tokio_websockets<S: TokioStream>((client, server): (S, S)) -> Pair {
    let (connect, accept) = (ClientBuilder::new().uri(URL).unwrap(), ServerBuilder::new());
    let ((client, _), (_, server)) = try_both(connect.connect_on(client), accept.accept(server)).await.unwrap();
    (Box::new(Messages::new(client)), Box::new(Messages::new(server)))
}

/// Without a handshake, which it has with hyper on top only.
pub async fn yawc<S: TokioStream>((client, server): (S, S)) -> Pair {
    let end = |stream, role| {
        let options = Options::default().with_limits(MESSAGE, 2 * MESSAGE);
        let messages = WebSocket::from_stream(stream, role, options).unwrap().map(Ok::<_, yawc::WebSocketError>);
        Box::new(Messages::new(messages))
    };
    (end(client, Role::Client), end(server, Role::Server))
}

/// Without a handshake, which it has with hyper on top only.
pub async fn fastwebsockets<S: TokioStream>((client, server): (S, S)) -> Pair {
    (fast_calls(client, FastRole::Client), fast_calls(server, FastRole::Server))
}

fn fast_calls<S: TokioStream>(stream: S, role: FastRole) -> Box<dyn Stream> {
    let (reader, writer) = tokio::io::split(stream);
    let (reader, writer) = after_handshake_split(reader, writer, role);
    let reader = stream::try_unfold(reader, |mut reader: WebSocketRead<ReadHalf<S>>| async {
        let mut answer = |_| async { Err(io::Error::other("nobody pings or closes")) };
        let frame = reader.read_frame(&mut answer).await.map_err(io::Error::other)?;
        let bytes = match frame.payload {
            Payload::Bytes(bytes) => bytes.freeze(),
            other => Bytes::from(Vec::from(other)),
        };
        Ok(Some((bytes, reader)))
    });
    let writer = sink::unfold(writer, |mut writer: WebSocketWrite<WriteHalf<S>>, call| async {
        match call {
            Call::Send(bytes) => writer.write_frame(Frame::binary(Payload::Owned(bytes))).await,
            Call::Flush => writer.flush().await,
        }
        .map_err(io::Error::other)?;
        Ok(writer)
    });
    Box::new(Calls::new(Box::pin(reader).into_async_read(), Box::pin(writer)))
}
