//! Who it is that shakes hands: the payload of the handshake's second and third message.

use libp2p_identity::{Keypair, PeerId, PublicKey, SigningError};
use prost::Message;

use super::error::NoiseError;

/// What is signed is this and the static Diffie-Hellman key.
const DOMAIN: &[u8] = b"noise-libp2p-static-key:";

/// `NoiseHandshakePayload`.
#[derive(Clone, PartialEq, Message)]
struct Payload {
    /// The public key of the identity, as protobuf.
    #[prost(bytes = "vec", optional, tag = "1")]
    identity_key: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "2")]
    identity_sig: Option<Vec<u8>>,
    #[prost(message, optional, tag = "4")]
    extensions: Option<Extensions>,
}

/// `NoiseExtensions`; those of WebTransport are of no use here.
#[derive(Clone, PartialEq, Message)]
struct Extensions {
    /// Names, the preferred ones first. Not as strings: one that is none is a muxer nobody has.
    #[prost(bytes = "vec", repeated, tag = "2")]
    stream_muxers: Vec<Vec<u8>>,
}

/// The payload by which an identity vouches for a static key.
pub(super) fn signed(identity: &Keypair, key: &[u8; 32]) -> Result<Vec<u8>, SigningError> {
    let payload = Payload {
        identity_key: Some(identity.public().encode_protobuf()),
        identity_sig: Some(identity.sign(&[DOMAIN, key].concat())?),
        extensions: None,
    };
    Ok(payload.encode_to_vec())
}

/// The payload with an offer of these muxers behind it, which nobody signs: the message around it is authentic.
pub(super) fn offering(payload: &[u8], muxers: &[&str]) -> Vec<u8> {
    let stream_muxers = muxers.iter().map(|muxer| muxer.as_bytes().to_vec()).collect();
    // In protobuf a message may be cut between any two of its fields.
    let offer = Payload { extensions: Some(Extensions { stream_muxers }), ..Payload::default() };
    [payload, &offer.encode_to_vec()].concat()
}

/// What the other side says of itself.
pub(super) struct Remote {
    /// Who it is.
    pub(super) peer: PeerId,
    /// The muxers it would take without being asked again, the preferred ones first.
    pub(super) muxers: Vec<Vec<u8>>,
}

/// Who vouches for a static key by this payload, and what else it says.
pub(super) fn verified(payload: &[u8], key: &[u8]) -> Result<Remote, NoiseError> {
    let payload = Payload::decode(payload).map_err(|error| NoiseError::Payload(Box::new(error)))?;
    let (Some(identity), Some(signature)) = (payload.identity_key, payload.identity_sig) else {
        return Err(NoiseError::Payload("identity or signature is missing".into()));
    };
    let identity = PublicKey::try_decode_protobuf(&identity).map_err(|error| NoiseError::Payload(Box::new(error)))?;
    if !identity.verify(&[DOMAIN, key].concat(), &signature) {
        return Err(NoiseError::Signature);
    }
    let muxers = payload.extensions.unwrap_or_default().stream_muxers;
    Ok(Remote { peer: identity.to_peer_id(), muxers })
}
