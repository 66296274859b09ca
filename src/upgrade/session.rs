//! `Session`: the handle to a connection with a peer.

use std::fmt;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use libp2p_identity::{PeerId, PublicKey};
use multistream_select::{NegotiationError, Version, dialer_select_proto};

use super::error::{SessionError, StreamError};
use super::shared::{Direction, Shared};
use super::stream::Stream;
use super::substream::Substream;
use crate::deadline::Deadline;

/// Longest name of a protocol, in bytes. Names are some dozens; the other end has a limit too.
const MAX_NAME: usize = 1024;

/// A connection with a peer that is secured and multiplexed: opens streams and accepts them.
///
/// A handle: cheap to clone, shared freely between tasks. All of its work is done in the [`Driver`](super::Driver) that
/// came with it, so that nothing here gets on while nobody polls that.
///
/// Dropping the last handle ends the session in order as soon as no stream is open either: nobody could open or accept
/// another. Inbound streams are refused from then on.
pub struct Session {
    shared: Arc<Shared>,
}

impl Session {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        shared.add_handle();
        Session { shared }
    }

    /// Who the peer has proven to be.
    pub fn peer(&self) -> PeerId {
        self.shared.peer
    }

    /// The peer's public key, if its id contains it: ids of Ed25519 and secp256k1 keys do (libp2p's peer id
    /// specification).
    pub fn public_key(&self) -> Option<PublicKey> {
        let id = self.shared.peer.to_bytes();
        // A multihash by the identity function: its code, the length of the key's protobuf, and that itself.
        match id.split_first_chunk()? {
            ([0, length], key) if usize::from(*length) == key.len() => PublicKey::try_decode_protobuf(key).ok(),
            _ => None,
        }
    }

    /// Opens a stream for one of `protocols`, the first in the list that the peer speaks.
    ///
    /// With a single protocol it returns without waiting for the peer, so that the first bytes written leave together
    /// with the proposal. If the peer refuses, that is an error of the stream
    /// ([`ConnectionRefused`](io::ErrorKind::ConnectionRefused), with a [`StreamError::Refused`] inside) at its first
    /// read, or at the first flush after the answer is there: the bytes have left already. With several it waits for
    /// each answer, within the time that [`Upgrader::with_stream_timeout`](super::Upgrader::with_stream_timeout) says.
    ///
    /// Waits while the peer has not acknowledged 256 streams, within the same time. Dropping the future resets the
    /// stream.
    pub async fn open(&self, protocols: impl IntoIterator<Item = impl Into<String>>) -> Result<Stream, StreamError> {
        let protocols: Vec<String> = protocols.into_iter().map(Into::into).collect();
        // No more generic than it has to be.
        self.open_one_of(protocols).await
    }

    async fn open_one_of(&self, protocols: Vec<String>) -> Result<Stream, StreamError> {
        match protocols.iter().find(|name| !is_name(name)) {
            Some(name) => return Err(StreamError::InvalidProtocol(name.clone())),
            None if protocols.is_empty() => return Err(StreamError::InvalidProtocol(String::new())),
            None => {}
        }
        let deadline = Deadline::after(self.shared.limits.stream_timeout);
        deadline.run(pin!(self.negotiate(protocols))).await.map_err(StreamError::TimedOut)?
    }

    async fn negotiate(&self, protocols: Vec<String>) -> Result<Stream, StreamError> {
        let place = self.shared.take_place(Direction::Outbound).map_err(|ended| match ended {
            Some(ended) => StreamError::Session(ended),
            None => StreamError::TooManyStreams(self.shared.limits.max_streams),
        })?;
        let opening = self.shared.ask();
        let opened = self.shared.opened(&opening).await?;

        let stream = Substream::new(place, opened);
        let fate = stream.fate();
        fate.negotiated.store(true, Ordering::Relaxed);
        let is_lazy = protocols.len() == 1;
        let version = if is_lazy { Version::V1Lazy } else { Version::V1 };
        match dialer_select_proto(stream, protocols.clone(), version).await {
            Ok((protocol, io)) => {
                let stream = Stream::new(protocol, io, Arc::clone(&self.shared), fate);
                Ok(if is_lazy { stream.unanswered() } else { stream })
            }
            // The end of the stream counts as a refusal too, but is none if the peer did not end it in order.
            Err(NegotiationError::Failed) if fate.is_reset() => {
                Err(StreamError::Negotiation(io::ErrorKind::ConnectionReset.into()))
            }
            Err(NegotiationError::Failed) => Err(match self.shared.ended() {
                Some(ended) => StreamError::Session(ended),
                None => StreamError::Refused(protocols),
            }),
            Err(error) => Err(match self.shared.ended() {
                Some(ended) => StreamError::Session(ended),
                None => StreamError::Negotiation(error.into()),
            }),
        }
    }

    /// The next stream that the peer has opened, with its protocol agreed on ([`Stream::protocol`]).
    ///
    /// Streams are negotiated apart from each other: one on which the peer is silent holds up no other. Streams come in
    /// the order in which their negotiations end; each goes to one caller. Dropping the future loses none.
    ///
    /// After the session has ended the streams that were ready before are still handed out, and then the error that
    /// says why it ended.
    pub async fn accept(&self) -> Result<Stream, SessionError> {
        self.shared.accepted().await
    }

    /// Ends the session: what the streams have written is sent, then yamux's GoAway, then the byte stream is closed.
    ///
    /// Resolves when that is done, after 10 s at most; `Ok` also if the session had already ended in order. Streams
    /// still open end as if the peer had reset them. Dropping the future does not take it back.
    pub async fn close(&self) -> Result<(), SessionError> {
        self.shared.close();
        match self.shared.finished().await {
            SessionError::Closed => Ok(()),
            error => Err(error),
        }
    }

    /// Why the session has ended, if it has.
    pub fn ended(&self) -> Option<SessionError> {
        self.shared.ended()
    }
}

/// Whether it can be proposed: what else there is in multistream-select does not begin with a slash, and lines end.
fn is_name(protocol: &str) -> bool {
    protocol.starts_with('/') && !protocol.contains('\n') && protocol.len() <= MAX_NAME
}

impl Clone for Session {
    fn clone(&self) -> Self {
        Session::new(Arc::clone(&self.shared))
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.shared.drop_handle();
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("peer", &self.peer()).field("ended", &self.ended()).finish_non_exhaustive()
    }
}
