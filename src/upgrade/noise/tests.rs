use std::os::unix::net::UnixStream;

use async_io::Async;
use futures_lite::future::{block_on, zip};
use futures_lite::{AsyncReadExt, AsyncWriteExt};
use libp2p_identity::Keypair;

use super::*;

type Ended = Result<(PeerId, NoiseStream<Async<UnixStream>>), NoiseError>;

fn keys() -> Keys {
    Keys::new(&Keypair::generate_ed25519()).unwrap()
}

/// Shakes hands; what the dialer and the listener make of it.
fn shake(dialer: &Keys, listener: &Keys) -> (Ended, Ended) {
    let (a, b) = Async::<UnixStream>::pair().unwrap();
    // Who fails drops his end, and who waits for him hears of it.
    block_on(zip(handshake::initiate(a, dialer), handshake::respond(b, listener)))
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
fn a_key_that_makes_every_secret_the_same_is_refused() {
    block_on(async {
        let (mut a, b) = Async::<UnixStream>::pair().unwrap();
        // A first message that is the point at infinity.
        a.write_all(&[&[0, 32][..], &[0; 32]].concat()).await.unwrap();
        let refused = handshake::respond(b, &keys()).await;
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
        let refused = handshake::respond(b, &keys()).await;
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
