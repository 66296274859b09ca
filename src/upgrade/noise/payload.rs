//! Who it is that shakes hands: the payload of the handshake's second and third message.

use libp2p_identity::{Keypair, PeerId, PublicKey, SigningError};
use prost::Message;

use super::error::NoiseError;

/// What is signed is this and the static Diffie-Hellman key.
const DOMAIN: &[u8] = b"noise-libp2p-static-key:";

/// `NoiseHandshakePayload`; we have no use for its extensions, and whoever offers some is understood without them.
#[derive(Clone, PartialEq, Message)]
struct Payload {
    /// The public key of the identity, as protobuf.
    #[prost(bytes = "vec", optional, tag = "1")]
    identity_key: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "2")]
    identity_sig: Option<Vec<u8>>,
}

/// The payload by which an identity vouches for a static key.
pub(super) fn signed(identity: &Keypair, key: &[u8; 32]) -> Result<Vec<u8>, SigningError> {
    let payload = Payload {
        identity_key: Some(identity.public().encode_protobuf()),
        identity_sig: Some(identity.sign(&[DOMAIN, key].concat())?),
    };
    Ok(payload.encode_to_vec())
}

/// Who vouches for a static key by this payload.
pub(super) fn verified(payload: &[u8], key: &[u8]) -> Result<PeerId, NoiseError> {
    let payload = Payload::decode(payload).map_err(|error| NoiseError::Payload(Box::new(error)))?;
    let (Some(identity), Some(signature)) = (payload.identity_key, payload.identity_sig) else {
        return Err(NoiseError::Payload("identity or signature is missing".into()));
    };
    let identity = PublicKey::try_decode_protobuf(&identity).map_err(|error| NoiseError::Payload(Box::new(error)))?;
    if !identity.verify(&[DOMAIN, key].concat(), &signature) {
        return Err(NoiseError::Signature);
    }
    Ok(identity.to_peer_id())
}
