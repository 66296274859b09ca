//! What sessions and streams promise, between two ends of ours.

use std::error::Error as _;
use std::io::ErrorKind;
use std::time::Duration;

use futures_lite::future::{self, zip};
use futures_lite::{AsyncReadExt, AsyncWriteExt};
use smol::Executor;
use ws_transport::upgrade::{Session, SessionError, Stream, StreamError};

use crate::common::pattern;
use crate::common::pipe::Manner;
use crate::ends::{Ends, run, upgrade, upgrader};

/// Sends back what comes, on every stream, until the session ends.
async fn echo(executor: &Executor<'static>, session: Session) -> SessionError {
    loop {
        match session.accept().await {
            Ok(stream) => executor.spawn(echo_stream(stream)).detach(),
            Err(ended) => return ended,
        }
    }
}

async fn echo_stream(mut stream: Stream) {
    let mut buf = vec![0; 10_000];
    while let Ok(len @ 1..) = stream.read(&mut buf).await {
        if stream.write_all(&buf[..len]).await.is_err() {
            return;
        }
    }
    let _ = stream.close().await;
}

/// Sends bytes and looks that they come back.
async fn there_and_back(session: &Session, protocols: &[&str], len: usize) {
    let data = pattern(len);
    let stream = session.open(protocols.iter().copied()).await.unwrap();
    let (mut reader, mut writer) = futures_lite::io::split(stream);
    let write = async {
        writer.write_all(&data).await.unwrap();
        writer.close().await.unwrap();
    };
    let read = async {
        let mut back = Vec::new();
        reader.read_to_end(&mut back).await.unwrap();
        back
    };
    let (back, ()) = zip(read, write).await;
    assert!(back == data, "{} of {len} bytes", back.len());
}

#[test]
fn bytes_come_back_over_good_and_hostile_pipes() {
    for (manner, len) in
        [(Manner::GOOD, 3_000_000), (Manner::HOSTILE, 40_000), (Manner { capacity: 1, ..Manner::GOOD }, 5_000)]
    {
        run(async |executor| {
            let ends = Ends::new(&executor, manner).await;
            let served = executor.spawn({
                let (executor, listener) = (executor.clone(), ends.listener.clone());
                async move { echo(&executor, listener).await }
            });
            let streams = (0..8).map(|i| {
                let protocols: &[&str] = [&["/echo/1"][..], &["/none", "/other/1"]][i % 2];
                there_and_back(&ends.dialer, protocols, len / (i + 1))
            });
            let streams: Vec<_> = streams.collect();
            join(streams).await;
            ends.close().await;
            assert!(matches!(served.await, SessionError::Closed));
        });
    }
}

async fn join(futures: Vec<impl Future<Output = ()>>) {
    let mut futures: Vec<_> = futures.into_iter().map(Box::pin).collect();
    future::poll_fn(|cx| {
        futures.retain_mut(|future| future.as_mut().poll(cx).is_pending());
        if futures.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await
}

#[test]
fn both_sides_open_streams_and_know_each_other() {
    run(async |executor| {
        let ((alice, a), (bob, b)) = (upgrader(), upgrader());
        let ends = Ends::with(&executor, Manner::GOOD, a, b).await;
        assert_eq!((ends.dialer.peer(), ends.listener.peer()), (bob, alice));
        assert_eq!(ends.dialer.public_key().unwrap().to_peer_id(), bob);

        let (opened, accepted) = zip(ends.listener.open(["/other/1"]), async {
            let mut stream = ends.dialer.accept().await.unwrap();
            stream.write_all(b"hi").await.unwrap();
            stream.close().await.unwrap();
            stream
        });
        let _ = (opened, accepted);
    });
}
