//! Upgrades that fail: by the wrong peer, by silence, by a cut at every byte.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use futures_lite::future::{self, poll_once, zip};
use futures_lite::{AsyncReadExt, AsyncWriteExt};
use libp2p_core::upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade};
use libp2p_identity::{Keypair, PeerId};
use multistream_select::{NegotiationError, Version, dialer_select_proto, listener_select_proto};
use smol::Executor;
use ws_transport::multiaddr::Protocol;
use ws_transport::upgrade::{BoxedIo, Handshake, Io, Secured, Security, Stage, UpgradeError, Upgrader, WrongPeer};
use ws_transport::{Dialer, Listener, TimedOut};

use crate::common::patience::patient;
use crate::common::pipe::{End, Manner, pipe};
use crate::ends::{run, upgrade, upgrader};
use crate::scripted::proposal;

#[test]
fn another_peer_than_the_one_dialed_is_an_error_that_names_both() {
    run(async |executor| {
        let (a, b) = pipe(Manner::GOOD, Manner::GOOD);
        let ((_, alice), (bob, listener)) = (upgrader(), upgrader());
        let expected = PeerId::random();
        let (dialed, accepted) = upgrade(&executor, alice, a, Some(expected), listener, b).await;
        let error = dialed.map(drop).unwrap_err();
        assert_eq!(error.stage(), Stage::Identity);
        assert_eq!(error.wrong_peer(), Some(&WrongPeer { expected, actual: bob }));
        assert!(error.source().unwrap().is::<WrongPeer>());
        let text = error.to_string();
        assert!(text.contains(&expected.to_string()) && text.contains(&bob.to_string()), "{text}");
        // No muxer was offered to it.
        assert_eq!(accepted.map(drop).unwrap_err().stage(), Stage::MuxerNegotiation);
    });
}

#[test]
fn the_peer_that_was_dialed_is_fine() {
    run(async |executor| {
        let (a, b) = pipe(Manner::GOOD, Manner::GOOD);
        let ((_, alice), (bob, listener)) = (upgrader(), upgrader());
        let (dialed, accepted) = upgrade(&executor, alice, a, Some(bob), listener, b).await;
        assert_eq!(dialed.unwrap().0.peer(), bob);
        assert!(accepted.is_ok());
    });
}

#[test]
fn an_address_says_who_is_dialed() {
    run(async |executor| {
        let listener = Listener::bind("/ip4/127.0.0.1/tcp/0/ws").await.unwrap();
        let address = listener.addresses().unwrap().remove(0);
        let (bob, upgrader_of_bob) = upgrader();
        let serve = async {
            for _ in 0..2 {
                let connection = listener.accept().await.unwrap().await.unwrap();
                if let Ok((_session, driver)) = upgrader_of_bob.accept(connection).await {
                    executor.spawn(driver).detach();
                }
            }
        };
        let dial = async {
            let (_, alice) = upgrader();
            let right = address.clone().with(Protocol::P2p(bob));
            let (session, driver) = alice.dial_address(&Dialer::new(), right).await.unwrap();
            executor.spawn(driver).detach();
            assert_eq!(session.peer(), bob);

            let wrong = address.clone().with(Protocol::P2p(PeerId::random()));
            let error = alice.dial_address(&Dialer::new(), &wrong).await.map(drop).unwrap_err();
            assert_eq!(error.address(), Some(&wrong));
            assert_eq!(error.wrong_peer().unwrap().actual, bob);
        };
        zip(serve, dial).await;

        // On Linux all of 127.0.0.0/8 is loopback, and no other test listens on this one.
        let ip = if cfg!(target_os = "linux") { "127.0.0.78" } else { "127.0.0.1" };
        let listener = Listener::bind(format!("/ip4/{ip}/tcp/0/ws")).await.unwrap();
        let nobody = listener.addresses().unwrap().remove(0);
        drop(listener);
        let error = upgrader().1.dial_address(&Dialer::new(), &nobody).await.map(drop).unwrap_err();
        assert_eq!((error.stage(), error.address()), (Stage::Dial, Some(&nobody)));
        assert!(error.source().unwrap().is::<ws_transport::Error>());
    });
}

fn brief() -> Upgrader {
    upgrader().1.with_timeout(patient(Duration::from_millis(100)))
}

fn timed_out(error: &UpgradeError, stage: Stage) {
    assert_eq!(error.stage(), stage, "{error}");
    assert!(error.is_timeout(), "{error}");
    assert!(error.source().unwrap().is::<TimedOut>());
}

/// Never drops what it is given, and never does anything with it.
async fn hold<T, R>(_held: T) -> R {
    future::pending().await
}

#[test]
fn a_silent_peer_runs_out_of_time_at_every_stage() {
    // A dialer that hears nothing: it has proposed noise and sent its first message.
    run(async |_| {
        let (a, _b) = pipe(Manner::GOOD, Manner::GOOD);
        timed_out(&brief().dial(a, None).await.map(drop).unwrap_err(), Stage::Security);
    });
    // And one that was told yes, but no more.
    run(async |_| {
        let (a, b) = pipe(Manner::GOOD, Manner::GOOD);
        let silent = async { hold(listener_select_proto(b, ["/noise"]).await).await };
        let error = future::or(async { brief().dial(a, None).await.map(drop).unwrap_err() }, silent);
        timed_out(&error.await, Stage::Security);
    });
    // A listener that hears nothing.
    run(async |_| {
        let (_a, b) = pipe(Manner::GOOD, Manner::GOOD);
        timed_out(&brief().accept(b).await.map(drop).unwrap_err(), Stage::SecurityNegotiation);
    });
    // One that agrees on noise with a dialer that does not begin it.
    run(async |_| {
        let (a, b) = pipe(Manner::GOOD, Manner::GOOD);
        let silent = async { hold(dialer_select_proto(a, ["/noise"], Version::V1).await).await };
        let error = future::or(async { brief().accept(b).await.map(drop).unwrap_err() }, silent);
        timed_out(&error.await, Stage::Security);
    });
    // One whose dialer does not propose a muxer.
    run(async |_| {
        let (a, b) = pipe(Manner::GOOD, Manner::GOOD);
        let ours = upgrader().1.with_timeout(patient(Duration::from_millis(700)));
        let silent = async {
            let (_, io) = dialer_select_proto(a, ["/noise"], Version::V1Lazy).await.unwrap();
            let noise = libp2p_noise::Config::new(&Keypair::generate_ed25519()).unwrap();
            hold(OutboundConnectionUpgrade::upgrade_outbound(noise, io, "/noise").await).await
        };
        let error = future::or(async { ours.accept(b).await.map(drop).unwrap_err() }, silent);
        timed_out(&error.await, Stage::MuxerNegotiation);
    });
}

#[test]
fn a_byte_now_and_then_does_not_stretch_the_deadline() {
    run(async |_| {
        let (mut a, b) = pipe(Manner::GOOD, Manner::GOOD);
        let drip = async {
            loop {
                a.put(b"\x13");
                a.put(b"/multistream/1.0.0\n\x04/xx\n");
                async_io::Timer::after(Duration::from_millis(10)).await;
            }
        };
        let error = future::or(async { brief().accept(b).await.map(drop).unwrap_err() }, drip).await;
        assert!(error.is_timeout() || error.source().unwrap().is::<NegotiationError>(), "{error}");
    });
}

#[test]
fn no_time_at_all_and_endless_time_are_taken() {
    run(async |executor| {
        let (a, _b) = pipe(Manner::GOOD, Manner::GOOD);
        let none = upgrader().1.with_timeout(Duration::ZERO);
        assert!(none.dial(a, None).await.map(drop).unwrap_err().is_timeout());

        let (a, b) = pipe(Manner::GOOD, Manner::GOOD);
        let endless = || upgrader().1.with_timeout(Duration::MAX).with_stream_timeout(Duration::MAX);
        let (dialed, accepted) = upgrade(&executor, endless(), a, None, endless(), b).await;
        let ((dialer, _a), (listener, _b)) = (dialed.unwrap(), accepted.unwrap());
        let open = async {
            let mut stream = dialer.open(["/echo/1"]).await.unwrap();
            stream.write_all(b"x").await.unwrap();
            stream
        };
        let (_opened, accepted) = zip(open, listener.accept()).await;
        accepted.unwrap();
    });
}

#[test]
fn a_peer_without_our_security_is_told_from_one_that_fails_it() {
    run(async |_| {
        let (a, b) = pipe(Manner::GOOD, Manner::GOOD);
        let other = async { listener_select_proto(b, ["/tls/1.0.0"]).await.map(drop) };
        let ours = upgrader().1;
        let (dialed, _) = zip(ours.dial(a, None), other).await;
        assert_eq!(dialed.map(drop).unwrap_err().stage(), Stage::SecurityNegotiation);
    });
    run(async |_| {
        let (a, b) = pipe(Manner::GOOD, Manner::GOOD);
        let other = async { dialer_select_proto(a, ["/plaintext/2.0.0"], Version::V1).await.map(drop) };
        let ours = upgrader().1;
        let (accepted, _) = zip(ours.accept(b), other).await;
        assert_eq!(accepted.map(drop).unwrap_err().stage(), Stage::SecurityNegotiation);
    });
    run(async |_| {
        let (a, b) = pipe(Manner::GOOD, Manner::GOOD);
        let other = async {
            let (_, mut io) = listener_select_proto(b, ["/noise"]).await.unwrap();
            io.write_all(&[0, 3, 1, 2, 3]).await.unwrap();
            io.flush().await.unwrap();
            let _ = io.read_to_end(&mut Vec::new()).await;
        };
        let ours = upgrader().1;
        let (dialed, ()) = zip(ours.dial(a, None), other).await;
        assert_eq!(dialed.map(drop).unwrap_err().stage(), Stage::Security);
    });
}

#[test]
fn a_listener_waits_for_the_dialer_to_speak() {
    run(async |_| {
        let (mut a, b) = pipe(Manner::GOOD, Manner::GOOD);
        let ours = upgrader().1;
        let mut accept = Box::pin(ours.accept(b));
        assert!(poll_once(accept.as_mut()).await.is_none());
        assert!(a.take_all().is_empty());
    });
}

/// Answers a proposal by hand, after a header that nobody has asked for.
async fn agree_unasked(io: &mut (impl Io + ?Sized), protocol: &str) {
    io.write_all(b"\x13/multistream/1.0.0\n").await.unwrap();
    io.flush().await.unwrap();
    let mut asked = vec![0; proposal(protocol).len()];
    io.read_exact(&mut asked).await.unwrap();
    assert_eq!(asked, proposal(protocol));
    let answer = &proposal(protocol)["_/multistream/1.0.0\n".len()..];
    io.write_all(answer).await.unwrap();
    io.flush().await.unwrap();
}

#[test]
fn a_listener_that_speaks_unasked_is_understood() {
    run(async |executor| {
        let (a, mut b) = pipe(Manner::GOOD, Manner::GOOD);
        // As go and py do, before they have heard anything.
        let accept = async {
            agree_unasked(&mut b, "/noise").await;
            let noise = libp2p_noise::Config::new(&Keypair::generate_ed25519()).unwrap();
            let (_, mut io) = InboundConnectionUpgrade::upgrade_inbound(noise, b, "/noise").await.unwrap();
            agree_unasked(&mut io, "/yamux/1.0.0").await;
            let mut ping = [0; 12];
            io.read_exact(&mut ping).await.unwrap();
            assert_eq!(ping[..4], [0, 2, 0, 1]);
            // Answered, so that the dialer knows its muxer to be agreed on.
            ping[3] = 2;
            io.write_all(&ping).await.unwrap();
            io.flush().await.unwrap();
            let mut head = [0; 12];
            io.read_exact(&mut head).await.unwrap();
            assert_eq!(head[1..4], [0, 0, 1]);
        };
        let dial = async {
            let (session, driver) = upgrader().1.dial(a, None).await.unwrap();
            executor.spawn(driver).detach();
            let mut stream = session.open(["/echo/1"]).await.unwrap();
            stream.write_all(b"x").await.unwrap();
            hold((stream, session)).await
        };
        future::or(accept, dial).await;
    });
}

/// Upgrades and sends some bytes over a stream and back; how far it comes is told by the bytes that passed.
async fn a_whole_session(executor: &Arc<Executor<'static>>, a: End, b: End, keys: &[Upgrader; 2]) -> bool {
    let [dialer, listener] = keys.clone();
    let dial = async {
        let (session, driver) = dialer.dial(a, None).await?;
        let driver = executor.spawn(driver);
        let mut stream = session.open(["/echo/1"]).await?;
        stream.write_all(b"there").await?;
        stream.close().await?;
        let mut back = String::new();
        stream.read_to_string(&mut back).await?;
        assert_eq!(back, "and back");
        session.close().await?;
        driver.await?;
        Ok::<_, Box<dyn Error>>(())
    };
    let accept = async {
        let (session, driver) = listener.accept(b).await?;
        let driver = executor.spawn(driver);
        let mut stream = session.accept().await?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await?;
        assert_eq!(text, "there");
        stream.write_all(b"and back").await?;
        stream.close().await?;
        driver.await?;
        Ok::<_, Box<dyn Error>>(())
    };
    let (dialed, accepted) = zip(dial, accept).await;
    dialed.is_ok() && accepted.is_ok()
}

/// A security layer that says who it is and secures nothing.
struct Named(PeerId);

impl Security for Named {
    fn protocol(&self) -> &str {
        "/named"
    }

    fn secure_outbound(&self, io: BoxedIo, _: Option<PeerId>) -> Handshake {
        self.secure_inbound(io, &[])
    }

    fn secure_inbound(&self, mut io: BoxedIo, _: &'static [&'static str]) -> Handshake {
        let name = self.0.to_bytes();
        Box::pin(async move {
            io.write_all(&name).await?;
            io.flush().await?;
            let mut theirs = name;
            io.read_exact(&mut theirs).await?;
            Ok(Secured::new(PeerId::from_bytes(&theirs)?, io))
        })
    }
}

fn named() -> (PeerId, Upgrader) {
    let peer = PeerId::random();
    (peer, Upgrader::with_security(Named(peer)).with_protocols(["/echo/1"]))
}

#[test]
fn another_security_layer_takes_the_place_of_noise() {
    run(async |executor| {
        let ((alice, dialer), (bob, listener)) = (named(), named());
        let (a, b) = pipe(Manner::HOSTILE, Manner::HOSTILE);
        let (dialed, accepted) = upgrade(&executor, dialer.clone(), a, Some(bob), listener.clone(), b).await;
        assert_eq!((dialed.unwrap().0.peer(), accepted.unwrap().0.peer()), (bob, alice));

        let (a, b) = pipe(Manner::GOOD, Manner::GOOD);
        assert!(a_whole_session(&executor, a, b, &[dialer, listener]).await);

        let (a, b) = pipe(Manner::GOOD, Manner::GOOD);
        let (dialed, _) = upgrade(&executor, named().1, a, None, upgrader().1, b).await;
        assert_eq!(dialed.map(drop).unwrap_err().stage(), Stage::SecurityNegotiation);
    });
}

/// Runs a whole session again and again, with the first `0`, `step`, `2 * step`… bytes of one end let through, until it
/// succeeds.
fn cut(step: usize, least: usize, keys: &[Upgrader; 2]) {
    for (write, dialer) in [(true, true), (true, false), (false, true), (false, false)] {
        let mut cut = 0;
        loop {
            let whole = run(async |executor| {
                let mut manners = [Manner::GOOD; 2];
                let manner = &mut manners[usize::from(dialer)];
                *(if write { &mut manner.fail_write_at } else { &mut manner.fail_read_at }) = Some(cut);
                let (b, a) = pipe(manners[0], manners[1]);
                a_whole_session(&executor, a, b, keys).await
            });
            if whole {
                break;
            }
            cut += step;
        }
        assert!(cut > least, "{cut} bytes");
    }
}

#[test]
fn a_session_cut_at_any_byte_fails_at_both_ends() {
    cut(1, 200, &[named().1, named().1]);
    // Noise's steps are slow while nothing is optimised.
    cut(11, 400, &[upgrader().1, upgrader().1]);
}
