//! An error of the IO at every byte of a connection's life: errors come back, again and again, and never a panic.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use futures_lite::future::{block_on, or, yield_now, zip};
use futures_lite::{AsyncBufRead, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use ws_transport::handshake::{self, ClientRequest, HandshakeError, ServerOptions};
use ws_transport::proto::Role;
use ws_transport::{StreamConfig, WsStream};

use crate::common::pattern;
use crate::common::pipe::{End, Manner, pipe};

/// Polls everything there is to poll, a few times over: nothing panics, and once it was asked to close it takes no data.
fn poke(stream: &mut WsStream<End>) {
    let mut cx = Context::from_waker(Waker::noop());
    for round in 0..4 {
        let _ = Pin::new(&mut *stream).poll_read(&mut cx, &mut [0; 10]);
        let _ = Pin::new(&mut *stream).poll_fill_buf(&mut cx).map_ok(<[u8]>::len);
        let written = Pin::new(&mut *stream).poll_write(&mut cx, b"more");
        assert!(round < 2 || !matches!(written, Poll::Ready(Ok(_))), "taken after closing");
        let slices = [io::IoSlice::new(b"more"), io::IoSlice::new(b"still")];
        let written = Pin::new(&mut *stream).poll_write_vectored(&mut cx, &slices);
        assert!(round < 2 || !matches!(written, Poll::Ready(Ok(_))), "taken after closing");
        let _ = Pin::new(&mut *stream).poll_flush(&mut cx);
        if round > 0 {
            let _ = Pin::new(&mut *stream).poll_close(&mut cx);
        }
    }
}

/// What comes of it, or `TimedOut` if nothing does: a Close that could not be sent is no error where all data was, and
/// then the peer waits as well.
async fn or_nothing<T>(work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let patience = async {
        for _ in 0..10_000 {
            yield_now().await;
        }
        Err(io::ErrorKind::TimedOut.into())
    };
    or(work, patience).await
}

/// Data there and back, and a close; a stream that fails is polled on.
async fn converse(mut stream: WsStream<End>, role: Role) -> io::Result<()> {
    let life = async {
        let (data, mut back) = (pattern(300), [0; 300]);
        if role == Role::Server {
            stream.read_exact(&mut back).await?;
        }
        stream.write_all(&data).await?;
        stream.flush().await?;
        if role == Role::Client {
            stream.read_exact(&mut back).await?;
        }
        assert_eq!(back[..], data);
        if role == Role::Client {
            stream.close().await?;
        }
        match or_nothing(stream.read(&mut back)).await? {
            0 => stream.close().await,
            // An end whose reads have failed is polled on, and may still write.
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    };
    let lived = life.await;
    if lived.is_err() {
        poke(&mut stream);
    }
    lived
}

fn failed(error: HandshakeError) -> io::Error {
    assert!(matches!(error, HandshakeError::Io(_)), "{error:?}");
    io::Error::other(error)
}

/// Whether both ends lived and closed in order.
fn life(client: Manner, server: Manner) -> (io::Result<()>, io::Result<()>) {
    let (near, far) = pipe(client, server);
    let request = ClientRequest::new("localhost", "/").unwrap();
    let (dial, serve) = (
        async {
            let stream = handshake::client(near, &request, StreamConfig::new()).await.map_err(failed)?;
            converse(stream, Role::Client).await
        },
        async {
            let stream = handshake::server(far, &ServerOptions::new()).await.map_err(failed)?;
            converse(stream, Role::Server).await
        },
    );
    block_on(zip(dial, serve))
}

#[test]
fn a_failure_at_any_byte_of_a_life_is_an_error_in_both_roles_and_stays_one() {
    for calm in [Manner::GOOD, Manner { chunk: 1, ..Manner::GOOD }] {
        for (client, write) in [(true, true), (true, false), (false, true), (false, false)] {
            let mut at = 0;
            loop {
                let failing = match write {
                    true => Manner { fail_write_at: Some(at), ..calm },
                    false => Manner { fail_read_at: Some(at), ..calm },
                };
                let (dialed, served) = if client { life(failing, calm) } else { life(calm, failing) };
                // A Close that cannot be sent is no failure for its sender, who has sent all data; the peer sees a cut.
                if dialed.is_ok() && served.is_ok() {
                    break;
                }
                at += 1;
            }
            // A head, 300 bytes in a frame, and a Close.
            assert!(at > 400, "only {at} bytes in a life");
        }
    }
}
