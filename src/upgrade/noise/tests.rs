use std::os::unix::net::UnixStream;

use async_io::Async;
use futures_lite::future::{block_on, or, zip};
use futures_lite::{AsyncReadExt, AsyncWriteExt};
use libp2p_identity::Keypair;
use multistream_select::{Version, dialer_select_proto};

use super::*;
use crate::upgrade::Upgrader;

type Ended = Result<(PeerId, NoiseStream<Async<UnixStream>>), NoiseError>;

const YAMUX: &str = "/yamux/1.0.0";

fn keys() -> Keys {
    Keys::new(&Keypair::generate_ed25519()).unwrap()
}

/// Shakes hands; what the dialer and the listener make of it.
fn shake(dialer: &Keys, listener: &Keys) -> (Ended, Ended) {
    let (dialed, accepted) = shake_for(dialer, listener, &[]);
    (dialed, accepted.map(|(peer, _, io)| (peer, io)))
}

type Accepted<'a> = Result<(PeerId, Option<&'a str>, NoiseStream<Async<UnixStream>>), NoiseError>;

/// The same with a listener that has these muxers.
fn shake_for<'a>(dialer: &Keys, listener: &Keys, muxers: &[&'a str]) -> (Ended, Accepted<'a>) {
    let (a, b) = Async::<UnixStream>::pair().unwrap();
    // Who fails drops his end, and who waits for him hears of it.
    block_on(zip(handshake::initiate(a, dialer), handshake::respond(b, listener, muxers)))
}

/// The keys of a dialer that offers these muxers, as ours does not.
fn offering(muxers: &[&str]) -> Keys {
    let keys = keys();
    Keys { payload: payload::offering(&keys.payload, muxers), ..keys }
}

#[test]
fn a_key_that_its_identity_has_not_signed_is_refused_by_either_side() {
    let good = keys();
    // The signature is one for another key.
    let stolen = || Keys { payload: good.payload.clone(), ..keys() };
    let (_, refused) = shake(&stolen(), &keys());
    assert!(matches!(refused, Err(NoiseError::Signature)), "{refused:?}");
    let (refused, _) = shake(&keys(), &stolen());
    assert!(matches!(refused, Err(NoiseError::Signature)), "{refused:?}");
}

#[test]
fn a_payload_without_an_identity_is_refused() {
    let good = keys().payload;
    for payload in [&[][..], b"garbage", good.get(..10).unwrap(), good.get(..38).unwrap(), b"\x0a\x02\x08\x01\x12\x00"]
    {
        let (_, refused) = shake(&Keys { payload: payload.to_vec(), ..keys() }, &keys());
        assert!(matches!(refused, Err(NoiseError::Payload(_))), "{payload:?}: {refused:?}");
    }
}

#[test]
fn extensions_and_fields_nobody_knows_are_passed_over() {
    let mut extended = keys();
    // Extensions with a muxer (field 4), and a field 9.
    extended.payload.extend_from_slice(b"\x22\x0e\x12\x0c/yamux/1.0.0\x4a\x01x");
    let (dialed, accepted) = shake(&extended, &keys());
    assert!(dialed.is_ok() && accepted.is_ok(), "{dialed:?} {accepted:?}");
}

#[test]
fn the_first_muxer_of_the_dialer_that_the_listener_has_is_agreed_on() {
    let both: &[&str] = &[YAMUX, "/mplex/6.7.0"];
    for (dialer, listener, expected) in [
        (&[YAMUX][..], &[YAMUX][..], Some(YAMUX)),
        (&["/mplex/6.7.0", YAMUX], &[YAMUX], Some(YAMUX)),
        (&["/mplex/6.7.0", YAMUX], both, Some("/mplex/6.7.0")),
        (&["/mplex/6.7.0"], &[YAMUX], None),
        (&["", "/yamux"], &[YAMUX], None),
        (&[], &[YAMUX], None),
        (&[YAMUX], &[], None),
    ] {
        let (_, accepted) = shake_for(&offering(dialer), &keys(), listener);
        assert_eq!(accepted.unwrap().1, expected, "{dialer:?}, {listener:?}");
    }
    let (_, accepted) = shake_for(&keys(), &keys(), both);
    assert_eq!(accepted.unwrap().1, None, "nothing was offered");
}

#[test]
fn a_muxer_that_is_no_text_is_one_that_nobody_has() {
    let mut dialer = keys();
    dialer.payload.extend_from_slice(b"\x22\x12\x12\x02\xff\xfe\x12\x0c/yamux/1.0.0");
    let (_, accepted) = shake_for(&dialer, &keys(), &[YAMUX]);
    assert_eq!(accepted.unwrap().1, Some(YAMUX));
}

#[test]
fn a_dialer_that_agreed_on_the_muxer_is_not_asked_for_it_again() {
    /// A yamux Ping, or the answer to one, on the session itself.
    fn ping(flags: u8) -> [u8; 12] {
        [0, 2, 0, flags, 0, 0, 0, 0, 1, 2, 3, 4]
    }
    let listener = Upgrader::new(&Keypair::generate_ed25519()).unwrap();
    let (a, b) = Async::<UnixStream>::pair().unwrap();
    let dial = async {
        let (_, a) = dialer_select_proto(a, [PROTOCOL], Version::V1Lazy).await.unwrap();
        let (_, mut a) = handshake::initiate(a, &offering(&[YAMUX])).await.unwrap();
        a.write_all(&ping(1)).await.unwrap();
        a.flush().await.unwrap();
        // Frames from the first byte on: its own Pings and windows may come before the answer.
        let mut frame = [0; 12];
        while frame != ping(2) {
            a.read_exact(&mut frame).await.unwrap();
            assert_eq!(frame[0], 0, "yamux's version");
        }
    };
    let accept = async {
        let (_session, driver) = listener.accept(b).await.unwrap();
        driver.await.unwrap();
        unreachable!("the session goes on");
    };
    block_on(or(dial, accept));
}

#[test]
fn a_key_that_makes_every_secret_the_same_is_refused() {
    block_on(async {
        let (mut a, b) = Async::<UnixStream>::pair().unwrap();
        // A first message that is the point at infinity.
        a.write_all(&[&[0, 32][..], &[0; 32]].concat()).await.unwrap();
        let refused = handshake::respond(b, &keys(), &[]).await;
        assert!(matches!(&refused, Err(NoiseError::Message(cause)) if cause.is::<snow::Error>()), "{refused:?}");
    });
}

#[test]
fn a_first_message_that_says_something_is_refused() {
    block_on(async {
        let (mut a, b) = Async::<UnixStream>::pair().unwrap();
        let mut noise = keys().begin(true).unwrap();
        let mut message = [0; 100];
        let len = noise.write_message(b"early", &mut message[2..]).unwrap();
        message[1] = len as u8;
        a.write_all(&message[..2 + len]).await.unwrap();
        let refused = handshake::respond(b, &keys(), &[]).await;
        assert!(matches!(refused, Err(NoiseError::Payload(_))), "{refused:?}");
    });
}

#[test]
fn nothing_is_held_while_there_is_nothing_to_read_and_nothing_to_send() {
    let (dialed, accepted) = shake(&keys(), &keys());
    let ((_, mut a), (_, mut b)) = (dialed.unwrap(), accepted.unwrap());
    block_on(async {
        for len in [1, 100, 32_750, 40_000] {
            let data = vec![7; len];
            let mut got = vec![0; len];
            // A socket does not hold all of it: one writes while the other reads.
            let write = async {
                a.write_all(&data).await.unwrap();
                assert!(a.is_attached(), "what was written waits for a flush");
                a.flush().await.unwrap();
            };
            let read = async {
                let (first, rest) = got.split_at_mut(1);
                b.read_exact(first).await.unwrap();
                b.read_exact(rest).await.unwrap();
            };
            zip(write, read).await;
            assert!(got == data && !a.is_attached() && !b.is_attached(), "{a:?} {b:?}");
        }
    });
}
