//! The seam behind which the security layer stands.

use std::error::Error as StdError;
use std::fmt;
use std::future::Future;
use std::pin::Pin;

use futures_lite::{AsyncRead, AsyncWrite};
use libp2p_identity::PeerId;

/// A byte stream as the upgrade hands it from layer to layer; every type that fits is one.
pub trait Io: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

/// A byte stream of a type forgotten.
///
/// Layers pass whole buffers to each other, so that the indirect call costs nothing that could be measured.
pub type BoxedIo = Box<dyn Io>;

/// What a security layer makes of a byte stream: the remote's identity, proven, and the stream inside.
///
/// An error is the security layer's own; it becomes the `source()` of an [`UpgradeError`](super::UpgradeError).
pub type Handshake = Pin<Box<dyn Future<Output = Result<Secured, Box<dyn StdError + Send + Sync>>> + Send>>;

/// A security layer: what proves who the peer is and keeps the bytes secret.
///
/// [`Noise`](super::Noise) is one; another takes its place by
/// [`Upgrader::with_security`](super::Upgrader::with_security). Both
/// handshakes run under the upgrade's deadline and are dropped when it passes. A handshake may leave its last message
/// unflushed in `io` only if flushing what it returns flushes that too.
pub trait Security: Send + Sync + 'static {
    /// The protocol's name in multistream-select, such as `/noise`.
    fn protocol(&self) -> &str;

    /// The handshake of the side that dialed.
    ///
    /// `expected` is the peer that was dialed, if the address told. It is for layers that need to know it beforehand:
    /// the upgrade itself compares it with the identity that the handshake proves.
    fn secure_outbound(&self, io: BoxedIo, expected: Option<PeerId>) -> Handshake;

    /// The handshake of the side that was dialed.
    ///
    /// `muxers` are those that the upgrade has. A layer that can agree on one with the dialer in passing does so
    /// ([`Secured::with_muxer`]), and saves the dialer a round trip; others leave it to multistream-select.
    fn secure_inbound(&self, io: BoxedIo, muxers: &'static [&'static str]) -> Handshake;
}

/// The outcome of a security handshake.
#[non_exhaustive]
pub struct Secured {
    /// Who the remote has proven to be.
    pub peer: PeerId,
    /// The bytes inside.
    pub io: BoxedIo,
    /// The muxer that the handshake agreed on; only of the side that was dialed.
    pub muxer: Option<&'static str>,
}

impl Secured {
    /// A stream whose other end has proven to be `peer`.
    pub fn new(peer: PeerId, io: impl Io + 'static) -> Self {
        Secured { peer, io: Box::new(io), muxer: None }
    }

    /// With a muxer that the handshake agreed on, one of those that it was given: the remote's first bytes inside are the
    /// muxer's.
    pub fn with_muxer(mut self, muxer: &'static str) -> Self {
        self.muxer = Some(muxer);
        self
    }
}

impl fmt::Debug for Secured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secured").field("peer", &self.peer).finish_non_exhaustive()
    }
}
