//! Who a peer says it is: keys that cost too much, keys and ids that are none, security that is none.

use futures_lite::future::{block_on, poll_once, zip};
use multistream_select::{Version, dialer_select_proto};
use proptest::prelude::*;
use ws_transport::multiaddr::{Multiaddr, Protocol};
use ws_transport::upgrade::Stage;
use ws_transport::upgrade::identity::{PeerId, PublicKey};

use crate::common::pipe::{Manner, pipe};
use crate::ends::upgrader;

/// A public key as libp2p's protobuf has it: type 0 is RSA, 1 is Ed25519.
fn public_key(kind: u8, key: &[u8]) -> Vec<u8> {
    let mut bytes = vec![8, kind, 18];
    let mut len = key.len();
    while len > 0x7f {
        bytes.push(len as u8 | 0x80);
        len >>= 7;
    }
    bytes.push(len as u8);
    bytes.extend(key);
    bytes
}

/// The subject public key info of an RSA key with a modulus of so many bits.
fn rsa(bits: usize) -> Vec<u8> {
    let nested = |tag: u8, content: &[u8]| {
        let len = u16::try_from(content.len()).unwrap().to_be_bytes();
        [&[tag, 0x82], &len[..], content].concat()
    };
    let modulus = nested(2, &[&[0], &vec![0xff; bits / 8][..]].concat());
    let key = nested(0x30, &[&modulus[..], &[2, 3, 1, 0, 1]].concat());
    let algorithm = [0x30, 13, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 13, 1, 1, 1, 5, 0];
    nested(0x30, &[&algorithm[..], &nested(3, &[&[0], &key[..]].concat())].concat())
}

/// The features that this crate asks of libp2p-identity hold Ed25519 alone, so that every other key is refused unread.
///
/// (Whoever turns RSA on for all of a program gets ring's bounds, 2,048 to 8,192 bits.)
#[test]
fn an_rsa_key_of_any_size_is_refused_before_anything_is_verified() {
    for bits in [2048, 8192, 16_384] {
        let error = PublicKey::try_decode_protobuf(&public_key(0, &rsa(bits))).unwrap_err();
        assert!(error.to_string().contains("rsa"), "{bits}: {error}");
    }
    for kind in [2, 3, 4, 99] {
        assert!(PublicKey::try_decode_protobuf(&public_key(kind, &[7; 33])).is_err(), "{kind}");
    }
    let (id, _) = upgrader();
    assert!(PeerId::from_bytes(&id.to_bytes()).is_ok());
}

proptest! {
    #[test]
    fn no_bytes_as_key_or_peer_id_or_address_panic(
        bytes in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..80),
            (0..5u8, prop::collection::vec(any::<u8>(), 0..70)).prop_map(|(kind, key)| public_key(kind, &key)),
            // The multihashes of ids: the key itself, SHA-256 and others, of any length that they say.
            (prop::sample::select(vec![0u8, 0x12, 0x13, 0x1e, 0xff]), any::<u8>(), prop::collection::vec(any::<u8>(), 0..70))
                .prop_map(|(code, len, digest)| [&[code, len], &digest[..]].concat()),
        ],
        text in "[1-9A-HJ-NP-Za-km-z/.:%]{0,60}",
    ) {
        if let Ok(key) = PublicKey::try_decode_protobuf(&bytes) {
            let again = PublicKey::try_decode_protobuf(&key.encode_protobuf()).unwrap();
            prop_assert_eq!(again.to_peer_id(), key.to_peer_id());
            prop_assert!(!key.verify(b"noise-libp2p-static-key:", &bytes));
        }
        if let Ok(id) = PeerId::from_bytes(&bytes) {
            prop_assert_eq!(PeerId::from_bytes(&id.to_bytes()).unwrap(), id);
            prop_assert_eq!(id.to_string().parse::<PeerId>().unwrap(), id);
        }
        // The same behind `/p2p/`, in both forms of an address.
        let mut binary = Multiaddr::empty().with(Protocol::Ip4([127, 0, 0, 1].into())).to_vec();
        binary.extend([0xa5, 3, bytes.len() as u8]);
        binary.extend(&bytes);
        let _ = Multiaddr::try_from(binary).map(|address| ws_transport::WsAddr::try_from(&address).map(drop));
        let _ = format!("/ip4/127.0.0.1/tcp/1/ws/p2p/{text}").parse::<ws_transport::WsAddr>();
        let _ = text.parse::<PeerId>();
    }
}

#[test]
fn plaintext_is_neither_offered_nor_taken() {
    block_on(async {
        let (a, mut b) = pipe(Manner::GOOD, Manner::GOOD);
        let ours = upgrader().1;
        let mut dial = Box::pin(ours.dial(a, None));
        assert!(poll_once(dial.as_mut()).await.is_none());
        // All that is offered before the peer has said anything, and all that follows when it says no.
        let mut offered = b.take_all();
        b.put(b"\x13/multistream/1.0.0\n\x03na\n");
        let error = dial.await.map(drop).unwrap_err();
        assert_eq!(error.stage(), Stage::SecurityNegotiation, "{error}");
        offered.extend(b.take_all());
        assert!(offered.starts_with(b"\x13/multistream/1.0.0\n\x07/noise\n"));
        let text = String::from_utf8_lossy(&offered);
        assert_eq!((text.matches("/plaintext").count(), text.matches("/noise").count()), (0, 1), "{text}");
    });
    for insecure in ["/plaintext/2.0.0", "/plaintext/1.0.0", "/insecure", "/"] {
        block_on(async {
            let (a, b) = pipe(Manner::GOOD, Manner::GOOD);
            let ours = upgrader().1;
            let other = async { dialer_select_proto(a, [insecure], Version::V1).await.map(drop) };
            let (accepted, refused) = zip(ours.accept(b), other).await;
            assert_eq!(accepted.map(drop).unwrap_err().stage(), Stage::SecurityNegotiation, "{insecure}");
            assert!(refused.is_err(), "{insecure}");
        });
    }
}
