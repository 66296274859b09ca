//! `Session`: the handle to a connection with a peer.

use libp2p_identity::{PeerId, PublicKey};

use super::error::{SessionError, StreamError};
use super::stream::Stream;

/// A connection with a peer that is secured and multiplexed: opens streams and accepts them.
///
/// A handle: cheap to clone, shared freely between tasks. All of its work is done in the [`Driver`](super::Driver) that
/// came with it, so that nothing here gets on while nobody polls that.
///
/// Dropping the last handle ends the session in order as soon as no stream is open either: nobody could open or accept
/// another. Inbound streams are refused from then on.
#[derive(Clone, Debug)]
pub struct Session {
    _private: (),
}

impl Session {
    /// Who the peer has proven to be.
    pub fn peer(&self) -> PeerId {
        todo!()
    }

    /// The peer's public key, if its id contains it: ids of Ed25519 and secp256k1 keys do (libp2p's peer id
    /// specification).
    pub fn public_key(&self) -> Option<PublicKey> {
        todo!()
    }

    /// Opens a stream for one of `protocols`, the first in the list that the peer speaks.
    ///
    /// With a single protocol it returns without waiting for the peer, so that the first bytes written leave together
    /// with the proposal. If the peer refuses, that is an error ([`io::ErrorKind::ConnectionRefused`]
    /// (std::io::ErrorKind::ConnectionRefused), with a [`StreamError::Refused`] inside) of the stream at its first read,
    /// or of the first flush after the answer is there: the bytes have left already. With several it waits for each
    /// answer.
    ///
    /// Waits while the peer has not acknowledged 256 streams. Dropping the future resets the stream.
    pub async fn open(&self, protocols: impl IntoIterator<Item = impl Into<String>>) -> Result<Stream, StreamError> {
        let _: Vec<String> = protocols.into_iter().map(Into::into).collect();
        todo!()
    }

    /// The next stream that the peer has opened, with its protocol agreed on ([`Stream::protocol`]).
    ///
    /// Streams are negotiated apart from each other: one on which the peer is silent holds up no other. Streams come in
    /// the order in which their negotiations end; each goes to one caller. Dropping the future loses none.
    ///
    /// After the session has ended the streams that were ready before are still handed out, and then the error that
    /// says why it ended.
    pub async fn accept(&self) -> Result<Stream, SessionError> {
        todo!()
    }

    /// Ends the session: what the streams have written is sent, then yamux's GoAway, then the byte stream is closed.
    ///
    /// Resolves when that is done, after 10 s at most; `Ok` also if the session had already ended in order. Streams
    /// still open end as if the peer had reset them. Dropping the future does not take it back.
    pub async fn close(&self) -> Result<(), SessionError> {
        todo!()
    }

    /// Whether the session has ended.
    pub fn is_ended(&self) -> bool {
        todo!()
    }
}
