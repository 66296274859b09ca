//! Peers that go to the limit of yamux's rules, and those that break them.

use std::io::ErrorKind;
use std::time::Duration;

use futures_lite::future::{self, zip};
use futures_lite::{AsyncReadExt, AsyncWriteExt, io};
use smol::{Executor, Task, Timer};
use ws_transport::upgrade::{Session, SessionError, Upgrader};

use crate::common::patience::patient;
use crate::common::pipe::{Manner, pipe};
use crate::ends::{Ended, Ends, run, upgrader};
use crate::scripted::{ACK, DATA, FIN, GO_AWAY, PING, Peer, RST, SYN, WINDOW_UPDATE, proposal};

const WINDOW: usize = 256 * 1024;
const MIB: usize = 1024 * 1024;

/// A session of ours that a scripted peer has dialed.
async fn dialed_by_script(executor: &Executor<'static>, ours: Upgrader) -> (Peer, Session, Task<Ended>) {
    let big = Manner { capacity: 16 * MIB, ..Manner::GOOD };
    let (a, b) = pipe(big, big);
    let accept = async {
        let (session, driver) = ours.accept(b).await.unwrap();
        (session, executor.spawn(driver))
    };
    let (peer, (session, driver)) = zip(Peer::dial(a), accept).await;
    assert_ne!(peer.id, session.peer());
    (peer, session, driver)
}

/// A session of ours that has dialed a scripted peer.
async fn dialing_a_script(
    executor: &Executor<'static>,
    ours: Upgrader,
    muxers: &[&'static str],
) -> (Peer, Session, Task<Ended>) {
    let (a, b) = pipe(Manner::GOOD, Manner::GOOD);
    let dial = async {
        let (session, driver) = ours.dial(a, None).await.unwrap();
        (session, executor.spawn(driver))
    };
    let ((session, driver), peer) = zip(dial, Peer::accept(b, muxers)).await;
    (peer, session, driver)
}

#[test]
fn frames_as_large_as_the_window_are_taken() {
    run(async |executor| {
        let (mut peer, session, driver) = dialed_by_script(&executor, upgrader().1).await;
        const LEN: usize = 24 * MIB;
        let send = async {
            // A window grows where half of it is used up within two round trips. By the answer to the first Ping this is a
            // long way, so it grows on a machine that is slow or busy, too.
            let ping = peer.recv().await.unwrap();
            assert_eq!((ping.kind, ping.flags), (PING, SYN));
            Timer::after(patient(Duration::from_millis(200))).await;
            peer.send(PING, ACK, 0, ping.length).await;

            peer.send(WINDOW_UPDATE, SYN, 1, 0).await;
            peer.data(0, 1, &proposal("/echo/1")).await;
            let (mut window, mut sent, mut largest) = (WINDOW - proposal("/echo/1").len(), 0, 0);
            while sent < LEN {
                if window == 0 {
                    let frame = peer.next().await.unwrap();
                    if frame.kind == WINDOW_UPDATE {
                        window += frame.length as usize;
                    }
                    continue;
                }
                let len = window.min(LEN - sent);
                peer.data(0, 1, &vec![(sent % 251) as u8; len]).await;
                (window, sent, largest) = (window - len, sent + len, largest.max(len));
            }
            peer.send(DATA, FIN, 1, 0).await;
            // All that is granted beyond the initial window.
            assert!((MIB / 2..=MIB).contains(&largest), "{largest}");
            peer.send(GO_AWAY, 0, 0, 0).await;
        };
        let read = async {
            let mut stream = session.accept().await.unwrap();
            let mut len = 0;
            let mut buf = vec![0; WINDOW];
            loop {
                match stream.read(&mut buf).await.unwrap() {
                    0 => break,
                    n => len += n,
                }
            }
            assert_eq!(len, LEN);
        };
        zip(send, read).await;
        driver.await.unwrap();
    });
}

#[test]
fn an_answer_is_read_while_there_is_more_to_write() {
    run(async |executor| {
        let (mut peer, session, _driver) = dialing_a_script(&executor, upgrader().1, &["/yamux/1.0.0"]).await;
        const LEN: usize = 64 * MIB;
        let answer = async {
            // All of it may come at once.
            while peer.next().await.unwrap().flags & SYN == 0 {}
            peer.send(WINDOW_UPDATE, ACK, 1, LEN as u32).await;
            peer.data(0, 1, &proposal("/echo/1")).await;
            peer.data(0, 1, b"hello").await;
            while peer.next().await.is_ok() {}
        };
        let ask = async {
            let (mut reader, mut writer) = io::split(session.open(["/echo/1"]).await.unwrap());
            let write = async {
                let data = vec![0; MIB];
                for _ in 0..LEN / MIB {
                    writer.write_all(&data).await.unwrap();
                }
                panic!("all was written before the answer was read");
            };
            let read = async {
                let mut text = [0; 5];
                reader.read_exact(&mut text).await.unwrap();
                assert_eq!(&text, b"hello");
            };
            future::or(write, read).await;
        };
        future::or(answer, ask).await;
    });
}

#[test]
fn windows_that_may_not_grow_stay_as_they_are() {
    run(async |executor| {
        let (mut peer, session, driver) = dialed_by_script(&executor, upgrader().1.with_receive_window(0)).await;
        const LEN: usize = 4 * MIB;
        let send = async {
            peer.data(SYN, 1, &proposal("/echo/1")).await;
            let (mut window, mut sent) = (WINDOW - proposal("/echo/1").len(), 0);
            while sent < LEN {
                if window == 0 {
                    let frame = peer.next().await.unwrap();
                    if frame.kind == WINDOW_UPDATE {
                        assert!(frame.length as usize <= WINDOW);
                        window += frame.length as usize;
                    }
                    continue;
                }
                let len = window.min(LEN - sent);
                peer.data(0, 1, &vec![7; len]).await;
                (window, sent) = (window - len, sent + len);
            }
            peer.send(DATA, FIN, 1, 0).await;
            peer.send(GO_AWAY, 0, 0, 0).await;
        };
        let read = async {
            let mut data = Vec::new();
            session.accept().await.unwrap().read_to_end(&mut data).await.unwrap();
            assert_eq!(data.len(), LEN);
        };
        zip(send, read).await;
        driver.await.unwrap();
    });
}

#[test]
fn a_frame_beyond_the_window_ends_the_session_with_a_reason() {
    for first in [false, true] {
        run(async |executor| {
            let (mut peer, session, driver) = dialed_by_script(&executor, upgrader().1).await;
            if first {
                peer.data(SYN, 1, &vec![0; WINDOW + 1]).await;
            } else {
                peer.data(SYN, 1, &proposal("/echo/1")).await;
                peer.data(0, 1, &vec![0; WINDOW]).await;
            }
            assert_eq!(peer.go_away().await, 1);
            assert!(matches!(driver.await, Err(SessionError::Violation(1))));
            assert!(matches!(session.ended(), Some(SessionError::Violation(1))));
        });
    }
}

#[test]
fn broken_rules_end_the_session_without_a_panic() {
    type Breach = (u8, u16, u32, u32);
    let breaches: &[(&[Breach], bool)] = &[
        // A stream of our own parity, twice the same, a credit that overflows: violations, told by a GoAway.
        (&[(WINDOW_UPDATE, SYN, 2, 0)], true),
        (&[(WINDOW_UPDATE, SYN, 1, 0), (WINDOW_UPDATE, SYN, 1, 0)], true),
        (&[(WINDOW_UPDATE, SYN, 1, u32::MAX)], true),
        (&[(WINDOW_UPDATE, SYN, 1, 0), (WINDOW_UPDATE, 0, 1, u32::MAX)], true),
        (&[(WINDOW_UPDATE, SYN, 1, 1 << 31), (WINDOW_UPDATE, 0, 1, 1 << 31)], true),
        (&[(WINDOW_UPDATE, SYN, 1, u32::MAX), (WINDOW_UPDATE, 0, 1, u32::MAX)], true),
        // The answer to a ping that nobody sent.
        (&[(PING, ACK, 0, 0xdead_beef)], true),
        // Not yamux, and a frame larger than any window.
        (&[(9, 0, 0, 0)], false),
        (&[(DATA, 0, 1, MIB as u32 + 1)], false),
    ];
    for (frames, told) in breaches {
        run(async |executor| {
            let (mut peer, _session, driver) = dialed_by_script(&executor, upgrader().1).await;
            for &(kind, flags, stream, length) in *frames {
                peer.send(kind, flags, stream, length).await;
            }
            let ended = driver.await;
            match told {
                true => {
                    assert!(matches!(ended, Err(SessionError::Violation(1))), "{frames:?}: {ended:?}");
                    assert_eq!(peer.go_away().await, 1, "{frames:?}");
                }
                false => assert!(matches!(ended, Err(SessionError::Connection(_))), "{frames:?}: {ended:?}"),
            }
        });
    }
}

#[test]
fn frames_for_streams_that_are_not_there_are_harmless() {
    run(async |executor| {
        let (mut peer, session, driver) = dialed_by_script(&executor, upgrader().1).await;
        for flags in [0, ACK, FIN, RST, FIN | RST] {
            for stream in [1, 2, 77, u32::MAX] {
                peer.send(WINDOW_UPDATE, flags, stream, u32::MAX).await;
                peer.data(flags, stream, b"lost").await;
            }
        }
        peer.data(SYN | FIN, 3, &proposal("/echo/1")).await;
        let mut stream = session.accept().await.unwrap();
        assert_eq!(stream.read(&mut [0; 1]).await.unwrap(), 0);
        drop(stream);
        session.close().await.unwrap();
        driver.await.unwrap();
    });
}

#[test]
fn a_stream_born_finished_is_complete_and_one_cut_off_is_not() {
    run(async |executor| {
        let (mut peer, session, driver) = dialed_by_script(&executor, upgrader().1).await;
        let mut whole = proposal("/echo/1");
        whole.extend(b"all of it");
        peer.data(SYN | FIN, 1, &whole).await;
        // The flag is there, but the bytes before it never come.
        peer.data(SYN, 3, &proposal("/echo/1")).await;
        let mut first = session.accept().await.unwrap();
        let mut text = String::new();
        first.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "all of it");
        let mut second = session.accept().await.unwrap();
        peer.try_send(DATA, FIN, 3, 10, b"half").await.unwrap();
        drop(peer);
        let error = second.read(&mut [0; 10]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionAborted);
        assert!(matches!(driver.await, Err(SessionError::Connection(_))));
    });
}

#[test]
fn a_go_away_ends_the_session_with_its_code() {
    for code in [0, 1, 2, 77] {
        run(async |executor| {
            let (mut peer, session, driver) = dialed_by_script(&executor, upgrader().1).await;
            peer.data(SYN, 1, &proposal("/echo/1")).await;
            let mut stream = session.accept().await.unwrap();
            peer.send(GO_AWAY, 0, 0, code).await;
            match (code, driver.await) {
                (0, Ok(())) => {}
                (_, Err(SessionError::GoneAway(told))) if told == code => {}
                (_, ended) => panic!("{code}: {ended:?}"),
            }
            assert!(stream.read(&mut [0; 1]).await.is_err());
            assert!(session.open(["/echo/1"]).await.is_err());
        });
    }
}

#[test]
fn pings_are_answered_with_their_value() {
    run(async |executor| {
        let (mut peer, session, _driver) = dialed_by_script(&executor, upgrader().1).await;
        peer.send(PING, SYN, 0, 0xdead_beef).await;
        loop {
            let frame = peer.recv().await.unwrap();
            if frame.kind == PING && frame.flags == ACK {
                assert_eq!(frame.length, 0xdead_beef);
                break;
            }
        }
        drop(session);
    });
}

#[test]
fn a_flood_ends_the_session_that_sends_it_and_no_other() {
    let flood_of_streams = |stream| (WINDOW_UPDATE, SYN, stream);
    let flood_of_resets = |stream| (DATA, if stream % 4 == 1 { SYN } else { RST }, stream / 4 * 4 + 1);
    let floods: [&dyn Fn(u32) -> (u8, u16, u32); 2] = [&flood_of_streams, &flood_of_resets];
    for flood in floods {
        run(async |executor| {
            let good = Ends::new(&executor, Manner::GOOD).await;
            let (mut peer, session, driver) = dialed_by_script(&executor, upgrader().1).await;
            let flooding = async {
                for i in 0..100_000 {
                    let (kind, flags, stream) = flood(2 * i + 1);
                    if peer.try_send(kind, flags, stream, 0, &[]).await.is_err() {
                        break;
                    }
                }
                // It went on until it was cut off.
                peer.go_away().await
            };
            let (code, ended) = zip(flooding, driver).await;
            assert_eq!(code, 1);
            assert!(matches!(ended, Err(SessionError::Flood)), "{ended:?}");
            assert!(matches!(session.ended(), Some(SessionError::Flood)));

            let (mut opened, accepted) = zip(
                async {
                    let mut stream = good.dialer.open(["/echo/1"]).await.unwrap();
                    stream.write_all(b"fine").await.unwrap();
                    stream
                },
                good.listener.accept(),
            )
            .await;
            let mut accepted = accepted.unwrap();
            accepted.read_exact(&mut [0; 4]).await.unwrap();
            opened.close().await.unwrap();
            good.close().await;
        });
    }
}

#[test]
fn as_many_streams_as_a_peer_may_have_unacknowledged_are_no_flood() {
    run(async |executor| {
        let (mut peer, session, _driver) = dialed_by_script(&executor, upgrader().1).await;
        for i in 0..256 {
            peer.data(SYN, 2 * i + 1, &proposal("/echo/1")).await;
        }
        let mut streams = Vec::new();
        for _ in 0..256 {
            streams.push(session.accept().await.unwrap());
        }
        // One more is refused, and the others live.
        peer.data(SYN, 1001, &proposal("/echo/1")).await;
        loop {
            let frame = peer.next().await.unwrap();
            if frame.flags & RST != 0 {
                assert_eq!(frame.stream, 1001);
                break;
            }
        }
        for mut stream in streams {
            stream.write_all(b"x").await.unwrap();
        }
        assert!(session.ended().is_none());
    });
}

#[test]
fn a_silent_inbound_stream_holds_up_no_other_and_loses_its_place() {
    run(async |executor| {
        let ours = upgrader().1.with_stream_timeout(patient(Duration::from_millis(30)));
        let (mut peer, session, _driver) = dialed_by_script(&executor, ours).await;
        for stream in [1, 3, 5] {
            peer.send(WINDOW_UPDATE, SYN, stream, 0).await;
        }
        peer.data(SYN, 7, &proposal("/echo/1")).await;
        let stream = session.accept().await.unwrap();
        let mut reset = Vec::new();
        while reset.len() < 3 {
            let frame = peer.next().await.unwrap();
            if frame.flags & RST != 0 {
                reset.push(frame.stream);
            }
        }
        reset.sort_unstable();
        assert_eq!(reset, [1, 3, 5]);
        drop(stream);
    });
}

#[test]
fn a_stream_that_proposes_for_ever_is_cut_off() {
    run(async |executor| {
        let (mut peer, _session, _driver) = dialed_by_script(&executor, upgrader().1).await;
        peer.data(SYN, 1, b"\x13/multistream/1.0.0\n").await;
        let propose = b"\x04/xx\n".repeat(100);
        let mut sent = 0;
        loop {
            if sent < WINDOW - 1000 {
                peer.data(0, 1, &propose).await;
                sent += propose.len();
            }
            let frame = peer.next().await.unwrap();
            if frame.flags & RST != 0 {
                break;
            }
        }
    });
}

#[test]
fn a_peer_without_our_muxer_is_told_from_one_that_is_gone() {
    run(async |executor| {
        let (a, b) = pipe(Manner::GOOD, Manner::GOOD);
        let dial = async {
            let (session, driver) = upgrader().1.dial(a, None).await.unwrap();
            let driver = executor.spawn(driver);
            let opened = session.open(["/echo/1"]).await;
            (opened, driver.await)
        };
        let accept = async {
            let (_, io) = Peer::accept_security(b).await;
            multistream_select::listener_select_proto(io, ["/mplex/6.7.0"]).await.map(drop)
        };
        let ((_, ended), _) = zip(dial, accept).await;
        assert!(matches!(ended, Err(SessionError::NoMuxer)), "{ended:?}");
    });
    run(async |executor| {
        let (peer, _session, driver) = dialing_a_script(&executor, upgrader().1, &["/yamux/1.0.0"]).await;
        drop(peer);
        driver.await.unwrap();
    });
}

#[test]
fn a_muxer_that_never_speaks_runs_out_of_time() {
    run(async |executor| {
        let ours = upgrader().1.with_timeout(patient(Duration::from_millis(700)));
        let (_peer, session, driver) = dialing_a_script(&executor, ours, &["/yamux/1.0.0"]).await;
        let ended = driver.await;
        assert!(matches!(ended, Err(SessionError::TimedOut(_))), "{ended:?}");
        assert!(matches!(session.accept().await, Err(SessionError::TimedOut(_))));
    });
}

#[test]
fn a_peer_that_answered_may_be_silent_as_long_as_it_likes() {
    run(async |executor| {
        let ours = upgrader().1.with_timeout(patient(Duration::from_millis(700)));
        let (mut peer, session, _driver) = dialing_a_script(&executor, ours, &["/yamux/1.0.0"]).await;
        let ping = peer.recv().await.unwrap();
        assert_eq!((ping.kind, ping.flags), (PING, SYN));
        peer.send(PING, ACK, 0, ping.length).await;
        async_io::Timer::after(patient(Duration::from_millis(800))).await;
        assert!(session.ended().is_none());
    });
}
