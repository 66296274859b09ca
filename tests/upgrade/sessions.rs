//! What sessions and streams promise, between two ends of ours.

use std::future::Future;
use std::io::ErrorKind;
use std::pin::pin;
use std::task::Poll;

use futures_lite::future::{self, poll_once, zip};
use futures_lite::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use smol::Executor;
use ws_transport::upgrade::{Driver, Session, SessionError, Stream, StreamError, Upgrader};

use crate::common::pattern;
use crate::common::pipe::{Manner, pipe};
use crate::ends::{Ends, run, upgrader};

/// The window that a stream begins with, in bytes.
const WINDOW: usize = 256 * 1024;

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

async fn join(futures: Vec<impl Future<Output = ()>>) {
    let mut futures: Vec<_> = futures.into_iter().map(Box::pin).collect();
    future::poll_fn(|cx| {
        futures.retain_mut(|future| future.as_mut().poll(cx).is_pending());
        if futures.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await
}

/// A stream, at the end that opened it and at the one that accepted it.
async fn stream(opener: &Session, accepter: &Session) -> (Stream, Stream) {
    let open = async {
        let mut stream = opener.open(["/echo/1"]).await.unwrap();
        stream.flush().await.unwrap();
        stream
    };
    let (opened, accepted) = zip(open, accepter.accept()).await;
    (opened, accepted.unwrap())
}

#[test]
fn bytes_come_back_over_good_and_hostile_pipes() {
    // The reference noise reads nothing while it writes: a first message has to fit.
    let narrow = Manner { capacity: 64, ..Manner::GOOD };
    for (manner, len) in [(Manner::GOOD, 3_000_000), (Manner::HOSTILE, 40_000), (narrow, 5_000)] {
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

#[test]
fn many_tasks_on_many_threads_lose_nothing() {
    run(async |executor| {
        let (stop, stopped) = smol::channel::unbounded::<()>();
        let threads: Vec<_> = (0..3)
            .map(|_| {
                let (executor, stopped) = (executor.clone(), stopped.clone());
                std::thread::spawn(move || future::block_on(executor.run(stopped.recv())))
            })
            .collect();
        let ends = Ends::new(&executor, Manner { capacity: 100_000, ..Manner::GOOD }).await;
        let mut tasks = Vec::new();
        for session in [&ends.dialer, &ends.listener] {
            let (spawner, served) = (executor.clone(), session.clone());
            executor.spawn(async move { echo(&spawner, served).await }).detach();
            for task in 0..6 {
                let session = session.clone();
                tasks.push(executor.spawn(async move {
                    for i in 0..20 {
                        there_and_back(&session, &["/echo/1"], task * 30_000 + i).await;
                        // One that is given up in the middle of things.
                        let mut stream = session.open(["/none/1", "/other/1"]).await.unwrap();
                        stream.write_all(&[0; 1000]).await.unwrap();
                    }
                }));
            }
        }
        join(tasks).await;
        ends.close().await;
        drop(stop);
        for thread in threads {
            let _ = thread.join().unwrap();
        }
    });
}

#[test]
fn both_sides_open_streams_and_know_each_other() {
    run(async |executor| {
        let ((alice, a), (bob, b)) = (upgrader(), upgrader());
        let ends = Ends::with(&executor, Manner::GOOD, a, b).await;
        assert_eq!((ends.dialer.peer(), ends.listener.peer()), (bob, alice));
        assert_eq!(ends.dialer.public_key().unwrap().to_peer_id(), bob);

        let open = async {
            let mut stream = ends.listener.open(["/other/1"]).await.unwrap();
            let mut text = String::new();
            stream.read_to_string(&mut text).await.unwrap();
            assert_eq!(text, "hi");
            stream.close().await.unwrap();
        };
        let accept = async {
            let mut stream = ends.dialer.accept().await.unwrap();
            assert_eq!(stream.protocol(), "/other/1");
            stream.write_all(b"hi").await.unwrap();
            stream.close().await.unwrap();
            assert_eq!(stream.read(&mut [0; 8]).await.unwrap(), 0);
        };
        zip(open, accept).await;
        ends.close().await;
    });
}

#[test]
fn a_half_that_is_closed_leaves_the_other_open() {
    run(async |executor| {
        let ends = Ends::new(&executor, Manner::GOOD).await;
        let (mut opened, mut accepted) = stream(&ends.dialer, &ends.listener).await;
        opened.close().await.unwrap();
        opened.close().await.unwrap();
        assert_eq!(accepted.read(&mut [0; 1]).await.unwrap(), 0);
        assert_eq!(opened.write(b"late").await.unwrap_err().kind(), ErrorKind::BrokenPipe);

        accepted.write_all(b"still here").await.unwrap();
        accepted.close().await.unwrap();
        drop(accepted);
        let mut text = String::new();
        opened.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "still here");
        assert_eq!(opened.read(&mut [0; 1]).await.unwrap(), 0);
        ends.close().await;
    });
}

#[test]
fn a_dropped_stream_is_reset_and_never_looks_complete() {
    // Whether the peer has closed its half before makes a difference to the muxer, but none to the peer.
    for closed in [false, true] {
        for written in [0, 5] {
            run(async |executor| {
                let ends = Ends::new(&executor, Manner::GOOD).await;
                let (mut opened, mut accepted) = stream(&ends.dialer, &ends.listener).await;
                if closed {
                    opened.close().await.unwrap();
                    assert_eq!(accepted.read(&mut [0; 1]).await.unwrap(), 0);
                }
                accepted.write_all(&b"hello"[..written]).await.unwrap();
                match written {
                    0 => drop(accepted),
                    _ => accepted.reset(),
                }
                let mut data = Vec::new();
                let error = opened.read_to_end(&mut data).await.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::ConnectionReset);
                assert_eq!(data, b"hello"[..written]);
                // Polled after its end.
                assert_eq!(opened.read(&mut [0; 1]).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
                assert_eq!(opened.write(b"late").await.unwrap_err().kind(), ErrorKind::BrokenPipe);
                let _ = opened.close().await;
                there_is_room_for_more(&ends).await;
                ends.close().await;
            });
        }
    }
}

async fn there_is_room_for_more(ends: &Ends) {
    let (mut opened, mut accepted) = stream(&ends.listener, &ends.dialer).await;
    opened.write_all(b"x").await.unwrap();
    accepted.read_exact(&mut [0; 1]).await.unwrap();
}

#[test]
fn what_was_written_before_a_stream_was_closed_and_dropped_arrives() {
    run(async |executor| {
        let ends = Ends::new(&executor, Manner::GOOD).await;
        let data = pattern(200_000);
        let write = async {
            let mut stream = ends.dialer.open(["/echo/1"]).await.unwrap();
            stream.write_all(&data).await.unwrap();
            stream.close().await.unwrap();
        };
        let read = async {
            let mut stream = ends.listener.accept().await.unwrap();
            let mut back = Vec::new();
            stream.read_to_end(&mut back).await.unwrap();
            assert!(back == data);
        };
        zip(write, read).await;
        ends.close().await;
    });
}

#[test]
fn a_stream_that_nobody_reads_holds_up_no_other() {
    run(async |executor| {
        let ends = Ends::new(&executor, Manner::GOOD).await;
        let (mut parked, unread) = stream(&ends.dialer, &ends.listener).await;
        let mut written = 0;
        while let Some(len) = poll_once(parked.write(&[7; 10_000])).await {
            written += len.unwrap();
            // Let the drivers work off what there is.
            future::yield_now().await;
        }
        let more = async {
            loop {
                written += parked.write(&[7; 10_000]).await.unwrap();
            }
        };
        let serve = async {
            let stream = ends.listener.accept().await.unwrap();
            echo_stream(stream).await;
        };
        let ping = zip(there_and_back(&ends.dialer, &["/echo/1"], 2_000_000), serve);
        future::or(async { _ = ping.await }, more).await;
        assert_eq!(written, WINDOW - negotiation());

        drop(unread);
        assert_eq!(parked.write(b"x").await.unwrap_err().kind(), ErrorKind::BrokenPipe);
        ends.close().await;
    });
}

/// Bytes of the dialer's multistream-select for `/echo/1`.
fn negotiation() -> usize {
    "_/multistream/1.0.0\n_/echo/1\n".len()
}

#[test]
fn a_refused_proposal_is_an_error_of_the_first_read() {
    run(async |executor| {
        let ends = Ends::new(&executor, Manner::GOOD).await;
        let mut stream = ends.dialer.open(["/none/1"]).await.unwrap();
        stream.write_all(b"data that leaves with the proposal").await.unwrap();
        stream.flush().await.unwrap();
        let error = stream.read(&mut [0; 8]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        let inner = error.get_ref().unwrap().downcast_ref::<StreamError>().unwrap();
        assert!(matches!(inner, StreamError::Refused(protocols) if protocols == &["/none/1"]), "{inner:?}");
        // Polled after its end.
        for _ in 0..2 {
            assert!(stream.read(&mut [0; 8]).await.is_err());
            assert!(stream.write(b"x").await.is_err());
            assert!(stream.flush().await.is_err());
            assert!(stream.close().await.is_err());
        }
        ends.close().await;
    });
}

#[test]
fn a_refused_proposal_is_an_error_of_a_flush_once_the_answer_is_there() {
    run(async |executor| {
        let ends = Ends::new(&executor, Manner::GOOD).await;
        let mut stream = ends.dialer.open(["/none/1"]).await.unwrap();
        let error = loop {
            match stream.flush().await {
                Ok(()) => future::yield_now().await,
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        ends.close().await;
    });
}

#[test]
fn with_several_protocols_the_first_that_the_peer_speaks_is_taken() {
    run(async |executor| {
        let ends = Ends::new(&executor, Manner::HOSTILE).await;
        let open = ends.dialer.open(["/none/1", "/other/1", "/echo/1"]);
        let (opened, accepted) = zip(open, ends.listener.accept()).await;
        assert_eq!(opened.unwrap().protocol(), "/other/1");
        assert_eq!(accepted.unwrap().protocol(), "/other/1");

        match ends.dialer.open(["/none/1", "/none/2"]).await {
            Err(StreamError::Refused(protocols)) => assert_eq!(protocols, ["/none/1", "/none/2"]),
            other => panic!("{other:?}"),
        }
        ends.close().await;
    });
}

#[test]
fn what_is_no_protocol_is_not_proposed() {
    run(async |executor| {
        let ends = Ends::new(&executor, Manner::GOOD).await;
        let long = format!("/{}", "x".repeat(1024));
        for name in ["", "na", "ls", "/a\n/b", &long] {
            let error = ends.dialer.open([name]).await.unwrap_err();
            assert!(matches!(&error, StreamError::InvalidProtocol(given) if given == name), "{error}");
        }
        assert!(matches!(ends.dialer.open([""; 0]).await, Err(StreamError::InvalidProtocol(_))));
        ends.close().await;
    });
}

#[test]
fn one_stream_more_than_may_be_open_is_refused_by_either_side() {
    run(async |executor| {
        let few = |upgrader: Upgrader| upgrader.with_max_streams(2);
        let ends = Ends::with(&executor, Manner::GOOD, few(upgrader().1), few(upgrader().1)).await;
        let _two = [stream(&ends.dialer, &ends.listener).await, stream(&ends.dialer, &ends.listener).await];
        assert!(matches!(ends.dialer.open(["/echo/1"]).await, Err(StreamError::TooManyStreams(2))));
        // In the other direction there is room.
        there_is_room_for_more(&ends).await;
        ends.close().await;
    });
    run(async |executor| {
        let ends = Ends::with(&executor, Manner::GOOD, upgrader().1, upgrader().1.with_max_streams(2)).await;
        let two = [stream(&ends.dialer, &ends.listener).await, stream(&ends.dialer, &ends.listener).await];
        let mut third = ends.dialer.open(["/echo/1"]).await.unwrap();
        assert_eq!(third.read(&mut [0; 1]).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
        drop(two);
        let _room = stream(&ends.dialer, &ends.listener).await;
        ends.close().await;
    });
}

#[test]
fn more_streams_than_the_peer_has_acknowledged_wait() {
    run(async |executor| {
        let ends = Ends::with(&executor, Manner::GOOD, upgrader().1.with_max_streams(1000), upgrader().1).await;
        let mut streams = Vec::new();
        // Nothing is written on them, so that the peer does not know of them.
        for _ in 0..256 {
            streams.push(ends.dialer.open(["/echo/1"]).await.unwrap());
        }
        let mut waiting = Box::pin(ends.dialer.open(["/echo/1"]));
        assert!(poll_once(waiting.as_mut()).await.is_none());
        let (first, _accepted) = zip(streams[0].flush(), ends.listener.accept()).await;
        first.unwrap();
        waiting.as_mut().await.unwrap();
        drop(waiting);
        ends.close().await;
    });
}

#[test]
fn closing_sends_what_was_written_and_ends_everything() {
    run(async |executor| {
        let ends = Ends::new(&executor, Manner::HOSTILE).await;
        let (mut opened, mut accepted) = stream(&ends.dialer, &ends.listener).await;
        opened.write_all(b"farewell").await.unwrap();
        let (closed, waiting) = zip(ends.dialer.close(), ends.dialer.accept()).await;
        closed.unwrap();
        assert!(matches!(waiting, Err(SessionError::Closed)));
        ends.dialer.close().await.unwrap();

        let mut data = Vec::new();
        let error = accepted.read_to_end(&mut data).await.unwrap_err();
        assert_eq!(data, b"farewell");
        assert_eq!(error.kind(), ErrorKind::NotConnected);
        assert!(error.get_ref().unwrap().is::<SessionError>());
        ends.dialer_driver.await.unwrap();
        ends.listener_driver.await.unwrap();
        assert!(matches!(ends.listener.ended(), Some(SessionError::Closed)));

        for session in [&ends.dialer, &ends.listener] {
            assert!(matches!(session.open(["/echo/1"]).await, Err(StreamError::Session(SessionError::Closed))));
            assert!(matches!(session.accept().await, Err(SessionError::Closed)));
            session.close().await.unwrap();
        }
        for stream in [&mut opened, &mut accepted] {
            assert!(stream.read(&mut [0; 1]).await.is_err());
            assert!(stream.write(b"x").await.is_err());
            let _ = stream.flush().await;
            let _ = stream.close().await;
            assert!(stream.read(&mut [0; 1]).await.is_err());
        }
    });
}

#[test]
fn tasks_parked_on_streams_hear_of_the_end() {
    for close in [true, false] {
        run(async |executor| {
            let Ends { dialer, listener, dialer_driver, listener_driver } = Ends::new(&executor, Manner::GOOD).await;
            let (mut opened, mut accepted) = stream(&dialer, &listener).await;
            let (reading, mut writing) = stream(&dialer, &listener).await;
            let ours = executor.spawn(async move { opened.read(&mut [0; 1]).await.unwrap_err() });
            let theirs = executor.spawn(async move { accepted.read(&mut [0; 1]).await.unwrap_err() });
            let writer = executor.spawn(async move { writing.write_all(&[0; 2 * WINDOW]).await.unwrap_err() });
            for _ in 0..100 {
                future::yield_now().await;
            }
            if close {
                dialer.close().await.unwrap();
                dialer_driver.await.unwrap();
            } else {
                drop(dialer_driver.cancel().await);
            }
            assert_eq!(ours.await.kind(), ErrorKind::NotConnected);
            assert_eq!(theirs.await.kind(), ErrorKind::NotConnected);
            assert_eq!(writer.await.kind(), ErrorKind::NotConnected);
            listener_driver.await.unwrap();
            drop(reading);
        });
    }
}

#[test]
fn a_session_without_handles_and_streams_ends() {
    run(async |executor| {
        let Ends { dialer, listener, dialer_driver, listener_driver } = Ends::new(&executor, Manner::GOOD).await;
        let (mut opened, mut accepted) = stream(&dialer, &listener).await;
        drop(dialer);
        opened.write_all(b"still").await.unwrap();
        accepted.read_exact(&mut [0; 5]).await.unwrap();
        // Nobody could accept it.
        let mut refused = listener.open(["/echo/1"]).await.unwrap();
        assert_eq!(refused.read(&mut [0; 1]).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
        drop(opened);
        dialer_driver.await.unwrap();
        listener_driver.await.unwrap();
        assert!(accepted.read(&mut [0; 1]).await.is_err());
    });
}

#[test]
fn dropping_a_driver_ends_its_session_for_both_sides() {
    run(async |_| {
        let (a, b) = pipe(Manner::GOOD, Manner::GOOD);
        let ((_, alice), (_, bob)) = (upgrader(), upgrader());
        let accept = async { bob.accept(b).await.unwrap() };
        let dial = async {
            let (session, mut driver) = alice.dial(a, None).await.unwrap();
            // The first poll puts its flush off to the second.
            for _ in 0..2 {
                assert!(poll_once(&mut driver).await.is_none());
            }
            (session, driver)
        };
        let ((session, driver), (other, other_driver)) = zip(dial, accept).await;
        drop(driver);
        assert!(matches!(session.ended(), Some(SessionError::Closed)));
        assert!(session.open(["/echo/1"]).await.is_err());
        let mut other_driver = other_driver;
        // Polled after its end it says the same.
        for _ in 0..2 {
            (&mut other_driver).await.unwrap();
        }
        assert!(matches!(other.accept().await, Err(SessionError::Closed)));
    });
}

#[test]
fn an_opening_that_is_given_up_leaves_nothing_behind() {
    run(async |executor| {
        let ends = Ends::with(&executor, Manner::GOOD, upgrader().1.with_max_streams(1), upgrader().1).await;
        for _ in 0..600 {
            let mut open = pin!(ends.dialer.open(["/echo/1"]));
            assert!(poll_once(open.as_mut()).await.is_none());
        }
        let _stream = stream(&ends.dialer, &ends.listener).await;
        ends.close().await;
    });
}

#[test]
fn everything_may_cross_threads() {
    fn send<T: Send + Unpin + 'static>(_: &T) {}
    fn send_sync<T: Send + Sync + 'static>() {}
    fn stream<T: AsyncRead + AsyncWrite + Send + Sync + Unpin + 'static>() {}
    fn error<T: std::error::Error + Send + Sync + 'static>() {}
    send_sync::<(Upgrader, Session)>();
    stream::<Stream>();
    error::<SessionError>();
    error::<StreamError>();
    error::<ws_transport::upgrade::UpgradeError>();
    let _ = |driver: Driver| send(&driver);

    fn send_value<T: Send>(_: &T) {}
    let _ = async |upgrader: Upgrader, session: Session, io: [crate::common::pipe::End; 2]| {
        let [a, b] = io;
        send_value(&upgrader.dial(a, None));
        send_value(&upgrader.accept(b));
        send_value(&upgrader.dial_address(&ws_transport::Dialer::new(), "/ip4/127.0.0.1/tcp/1/ws"));
        send_value(&session.open(["/echo/1"]));
        send_value(&session.accept());
        send_value(&session.close());
    };
}
