//! Noise, as libp2p speaks it (libp2p's noise specification, `Noise_XX_25519_ChaChaPoly_SHA256`).
//!
//! The cryptography is snow's, ring's and x25519-dalek's. What is ours is what stands between them and a byte stream: the
//! messages' lengths, the identity in their payload, and buffers that are held only while there is something in them.

mod error;
mod handshake;
mod keys;
mod payload;
mod stream;

use std::fmt;
use std::future::Future;
use std::iter;
use std::pin::Pin;
use std::sync::Arc;

use libp2p_core::upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade, UpgradeInfo};
use libp2p_identity::{Keypair, PeerId};

use super::error::{Stage, UpgradeError};
use super::security::{BoxedIo, Handshake, Io, Secured, Security};
use keys::Keys;

pub use error::NoiseError;
pub use stream::NoiseStream;

/// Name of the protocol in multistream-select.
const PROTOCOL: &str = "/noise";

/// Noise: an XX handshake in which either side proves its libp2p identity, and ChaCha20-Poly1305 after it.
///
/// The static Diffie-Hellman key is made and signed once, in [`new`](Self::new), and serves every connection. Cheap to
/// clone; clones share the keys.
///
/// [`Upgrader`](super::Upgrader) uses it by itself. It is also an upgrade of libp2p-core, in the place of libp2p-noise, for
/// a rust-libp2p `Swarm`: `transport.upgrade(Version::V1Lazy).authenticate(Noise::new(&keypair)?)`.
///
/// Keys of remotes may be of any type that `libp2p-identity` was built with: Ed25519 always, others if a crate in the
/// tree turns its features on.
///
/// ```
/// use futures_lite::future::{block_on, try_zip};
/// use futures_lite::{AsyncReadExt, AsyncWriteExt};
/// use libp2p_core::upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade};
/// use ws_transport::upgrade::{Noise, identity::Keypair};
/// use ws_transport::{Dialer, Listener};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (alice, bob) = (Keypair::generate_ed25519(), Keypair::generate_ed25519());
/// block_on(async {
///     let listener = Listener::bind("/ip4/127.0.0.1/tcp/0/ws").await?;
///     let address = listener.addresses()?.remove(0);
///     let dial = async { Dialer::new().dial(&address).await };
///     let accept = async { listener.accept().await?.await };
///     let (a, b) = try_zip(dial, accept).await?;
///
///     let (noise, info) = (Noise::new(&alice)?, "/noise");
///     let dial = noise.upgrade_outbound(a, info);
///     let accept = Noise::new(&bob)?.upgrade_inbound(b, info);
///     let ((peer, mut a), (_, mut b)) = try_zip(dial, accept).await?;
///     assert_eq!(peer, bob.public().to_peer_id());
///
///     a.write_all(b"hello").await?;
///     a.flush().await?;
///     let mut text = [0; 5];
///     b.read_exact(&mut text).await?;
///     assert_eq!(&text, b"hello");
///     Ok(())
/// })
/// # }
/// ```
#[derive(Clone)]
pub struct Noise(Arc<Keys>);

impl Noise {
    /// Noise with this identity.
    ///
    /// Fails if the identity cannot sign.
    pub fn new(keypair: &Keypair) -> Result<Self, UpgradeError> {
        let keys = Keys::new(keypair).map_err(|cause| UpgradeError::new(Stage::Keys, cause))?;
        Ok(Noise(Arc::new(keys)))
    }
}

impl Security for Noise {
    fn protocol(&self) -> &str {
        PROTOCOL
    }

    /// The last message stays unflushed: it leaves with the muxer's first words.
    fn secure_outbound(&self, io: BoxedIo, _: Option<PeerId>) -> Handshake {
        let keys = Arc::clone(&self.0);
        Box::pin(async move {
            let (peer, io) = handshake::initiate(io, &keys).await?;
            Ok(Secured::new(peer, io))
        })
    }

    /// Agrees on the muxer with a dialer that offers one as well, as go-libp2p and js-libp2p do: it need not ask again.
    fn secure_inbound(&self, io: BoxedIo, muxers: &'static [&'static str]) -> Handshake {
        let keys = Arc::clone(&self.0);
        Box::pin(async move {
            let (peer, muxer, io) = handshake::respond(io, &keys, muxers).await?;
            let secured = Secured::new(peer, io);
            Ok(match muxer {
                Some(muxer) => secured.with_muxer(muxer),
                None => secured,
            })
        })
    }
}

impl UpgradeInfo for Noise {
    type Info = &'static str;
    type InfoIter = iter::Once<&'static str>;

    fn protocol_info(&self) -> Self::InfoIter {
        iter::once(PROTOCOL)
    }
}

/// A handshake under way.
type Upgrading<IO> = Pin<Box<dyn Future<Output = Result<(PeerId, NoiseStream<IO>), NoiseError>> + Send>>;

impl<IO: Io + 'static> OutboundConnectionUpgrade<IO> for Noise {
    type Output = (PeerId, NoiseStream<IO>);
    type Error = NoiseError;
    type Future = Upgrading<IO>;

    fn upgrade_outbound(self, io: IO, _: Self::Info) -> Self::Future {
        Box::pin(async move {
            let (peer, mut io) = handshake::initiate(io, &self.0).await?;
            // Who is above may well wait for the other side to speak first.
            futures_lite::AsyncWriteExt::flush(&mut io).await?;
            Ok((peer, io.put_flushes_off()))
        })
    }
}

impl<IO: Io + 'static> InboundConnectionUpgrade<IO> for Noise {
    type Output = (PeerId, NoiseStream<IO>);
    type Error = NoiseError;
    type Future = Upgrading<IO>;

    fn upgrade_inbound(self, io: IO, _: Self::Info) -> Self::Future {
        Box::pin(async move {
            // What is above agrees on a muxer by itself.
            let (peer, _, io) = handshake::respond(io, &self.0, &[]).await?;
            Ok((peer, io.put_flushes_off()))
        })
    }
}

impl fmt::Debug for Noise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Noise").finish_non_exhaustive()
    }
}

#[cfg(all(test, unix))]
mod tests;
