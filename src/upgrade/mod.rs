//! The libp2p upgrade, without rust-libp2p's `Swarm`: security and a stream muxer on any byte stream.
//!
//! A WebSocket by itself reaches nobody in libp2p: both ends first agree on a security protocol (multistream-select),
//! shake hands with it (noise), agree on a muxer (multistream-select again), and then speak over its streams (yamux),
//! each of which begins by agreeing on a protocol of its own.
//!
//! * [`Upgrader`] does that as dialer or listener, and yields a [`Session`] and a [`Driver`].
//! * [`Session`] opens and accepts [`Stream`]s.
//! * [`Driver`] is the future in which all the work is done; the caller runs it, as one runs hyper's connections.
//!
//! ```
//! use futures_lite::future::{block_on, try_zip, zip};
//! use futures_lite::{AsyncReadExt, AsyncWriteExt};
//! use libp2p_identity::Keypair;
//! use ws_transport::multiaddr::Protocol;
//! use ws_transport::upgrade::Upgrader;
//! use ws_transport::{Dialer, Listener};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (alice, bob) = (Keypair::generate_ed25519(), Keypair::generate_ed25519());
//! block_on(async {
//!     let listener = Listener::bind("/ip4/127.0.0.1/tcp/0/ws").await?;
//!     let address = listener.addresses()?.remove(0).with(Protocol::P2p(bob.public().to_peer_id()));
//!
//!     let server = async {
//!         let connection = listener.accept().await?.await?;
//!         let (session, driver) = Upgrader::new(&bob)?.with_protocols(["/upper/1"]).accept(connection).await?;
//!         let serve = async {
//!             let mut stream = session.accept().await?;
//!             assert_eq!(stream.protocol(), "/upper/1");
//!             let mut text = String::new();
//!             stream.read_to_string(&mut text).await?;
//!             stream.write_all(text.to_uppercase().as_bytes()).await?;
//!             stream.close().await?;
//!             Ok(())
//!         };
//!         let (ended, served) = zip(driver, serve).await;
//!         ended?;
//!         served
//!     };
//!     let client = async {
//!         let (session, driver) = Upgrader::new(&alice)?.dial_address(&Dialer::new(), &address).await?;
//!         let ask = async {
//!             let mut stream = session.open(["/upper/1"]).await?;
//!             stream.write_all(b"hello").await?;
//!             stream.close().await?;
//!             let mut answer = String::new();
//!             stream.read_to_string(&mut answer).await?;
//!             session.close().await?;
//!             Ok::<_, Box<dyn std::error::Error>>(answer)
//!         };
//!         let (ended, answer) = zip(driver, ask).await;
//!         ended?;
//!         answer
//!     };
//!     let (answer, ()) = try_zip(client, server).await?;
//!     assert_eq!(answer, "HELLO");
//!     Ok(())
//! })
//! # }
//! ```

mod driver;
mod error;
mod fate;
mod frames;
mod inbound;
mod limits;
mod link;
mod noise;
mod opening;
mod security;
mod session;
mod shared;
mod stream;
mod substream;
mod wire;

use std::error::Error as StdError;
use std::fmt;
use std::future::Future;
use std::iter;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use libp2p_identity::{Keypair, PeerId};
use multistream_select::{Version, dialer_select_proto, listener_select_proto};

use crate::Dialer;
use crate::deadline::Deadline;
use crate::heap;
use crate::to_ws_addr::ToWsAddr;
use limits::Limits;
use shared::Shared;
use wire::Wire;

pub use driver::Driver;
pub use error::{SessionError, Stage, StreamError, UpgradeError, WrongPeer};
pub use noise::{Noise, NoiseError, NoiseStream};
pub use security::{BoxedIo, Handshake, Io, Secured, Security};
pub use session::Session;
pub use stream::Stream;

/// The identities of this module's public interface.
pub use libp2p_identity as identity;

/// Upgrades byte streams to libp2p sessions: multistream-select, noise, multistream-select, yamux.
///
/// Cheap to clone; clones share the keys. Works over any `AsyncRead + AsyncWrite + Unpin + Send + 'static`, a
/// [`Connection`](crate::Connection) or another.
///
/// As dialer it proposes and does not wait for the answer where the specification allows it (lazy negotiation, as there
/// is one security protocol and one muxer to propose): the first byte of an application is on the wire one round trip
/// after the byte stream was open. As listener it waits for the dialer to speak, and agrees on the muxer inside noise with
/// one that offers it there (libp2p's specification of inlined muxer negotiation), as go-libp2p and js-libp2p do.
///
/// # Memory
///
/// The first one in a process frees a block of 1 MiB, from which glibc learns to keep up to 2 MiB that are free at the end of a
/// heap (448 and 896 KiB on 32 bits). By default it keeps 128 KiB, and yamux's frames would go back to the kernel and come
/// again with every window, for a third more CPU time. `MALLOC_TRIM_THRESHOLD_=131072` in the environment leaves it at that.
#[derive(Clone)]
pub struct Upgrader {
    security: Arc<dyn Security>,
    protocols: Arc<[String]>,
    timeout: Duration,
    limits: Limits,
}

impl Upgrader {
    /// An upgrader that is secured by [`Noise`] with this identity, with the default limits, that serves no protocol.
    ///
    /// Fails if the identity cannot sign.
    pub fn new(keypair: &Keypair) -> Result<Self, UpgradeError> {
        Noise::new(keypair).map(Upgrader::with_security)
    }

    /// An upgrader with another security layer in noise's place.
    pub fn with_security(security: impl Security) -> Self {
        heap::expect_bursts();
        Upgrader {
            security: Arc::new(security),
            protocols: Arc::default(),
            timeout: limits::UPGRADE_TIMEOUT,
            limits: Limits::new(),
        }
    }

    /// The protocols that the remote may open streams for, in the place of those given before; by default none.
    ///
    /// Every name begins with `/`. A proposal of any other is answered with `na`.
    pub fn with_protocols(mut self, protocols: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.protocols = protocols.into_iter().map(Into::into).collect();
        self
    }

    /// Time for the whole upgrade: 10 s by default, from the first byte to the answer to our muxer.
    ///
    /// One absolute deadline over all of it, that a peer which sends a byte now and then cannot stretch. A dialer's
    /// session is there before the answer to the muxer is; its driver goes on to watch the deadline, and ends the session
    /// if it passes. `Duration::MAX` is no limit.
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Time to agree on the protocol of a stream: 10 s by default, for the streams of either side.
    ///
    /// It bounds how long a silent inbound stream holds its place, and how long [`Session::open`] waits with several
    /// protocols to choose from. `Duration::MAX` is no limit.
    pub fn with_stream_timeout(mut self, timeout: Duration) -> Self {
        self.limits.stream_timeout = timeout;
        self
    }

    /// Most streams of a session that are open at a time in each direction: 256 by default, at most 4,096.
    ///
    /// Further inbound streams are reset; a peer that opens them faster than 32 a second for long, however it does it,
    /// ends its session ([`SessionError::Flood`]). [`Session::open`] fails at once when as many are open, and
    /// waits while the peer has not acknowledged 256 of them (yamux's own limit).
    ///
    /// Every inbound or outbound stream may hold 256 KiB that nobody has read (yamux's initial window, which cannot be
    /// smaller), and the whole session [`with_receive_window`](Self::with_receive_window) more. So a session holds
    /// at most `2 × streams × 256 KiB` and that: 128.75 MiB by default, 4.75 MiB with 8 streams.
    pub fn with_max_streams(mut self, streams: usize) -> Self {
        self.limits.max_streams = streams.clamp(1, limits::MAX_STREAMS);
        self
    }

    /// Bytes by which the receive windows of a session's streams may grow together beyond their 256 KiB: 768 KiB by
    /// default, which is also the most; 0 freezes them.
    ///
    /// A stream moves at most a window per round trip: 1 MiB at 100 ms is 10 MiB/s, 256 KiB is 2.5 MiB/s. The window of
    /// a stream that is read as fast as it fills grows up to 1 MiB by itself, while there is allowance left. It may not
    /// grow further because some implementations (js) send frames as large as the window, and yamux as we have it ends
    /// the session over a frame of more than 1 MiB.
    pub fn with_receive_window(mut self, bytes: usize) -> Self {
        self.limits.window_growth = bytes.min(limits::WINDOW_GROWTH);
        self
    }

    /// The protocols that inbound streams may be opened for.
    pub fn protocols(&self) -> &[String] {
        &self.protocols
    }

    /// Upgrades a byte stream that we dialed.
    ///
    /// `expected` is the peer that was dialed, mostly from the `/p2p/…` of the address; another one is an error that
    /// names both ([`UpgradeError::wrong_peer`]). Without it whoever answers is fine, and [`Session::peer`] tells who it
    /// is.
    ///
    /// The future resolves when the peer has proven its identity. Dropping it drops `io`.
    pub async fn dial<IO>(&self, io: IO, expected: Option<PeerId>) -> Result<(Session, Driver), UpgradeError>
    where
        IO: Io + 'static,
    {
        self.dial_boxed(Box::new(io), expected).await
    }

    /// Upgrades a byte stream that we accepted.
    ///
    /// The future resolves when the peer has proven its identity and its muxer is agreed on. Dropping it drops `io`.
    pub async fn accept<IO>(&self, io: IO) -> Result<(Session, Driver), UpgradeError>
    where
        IO: Io + 'static,
    {
        self.accept_boxed(Box::new(io)).await
    }

    async fn dial_boxed(&self, io: BoxedIo, expected: Option<PeerId>) -> Result<(Session, Driver), UpgradeError> {
        let deadline = Deadline::after(self.timeout);
        let (io, allowance) = Wire::new(io);
        let select = dialer_select_proto(io, iter::once(self.security.protocol()), Version::V1Lazy);
        let (_, io) = step(Stage::SecurityNegotiation, deadline, pin!(select)).await?;

        let handshake = self.security.secure_outbound(Box::new(io), expected);
        let Secured { peer, io, .. } =
            step(Stage::Security, deadline, handshake).await.map_err(UpgradeError::relocated)?;
        if let Some(expected) = expected.filter(|&expected| expected != peer) {
            return Err(UpgradeError::new(Stage::Identity, WrongPeer { expected, actual: peer }));
        }

        let select = dialer_select_proto(io, iter::once(MUXER), Version::V1Lazy);
        let (_, io) = step(Stage::MuxerNegotiation, deadline, pin!(select)).await?;
        allowance.lift();
        Ok(self.session(peer, Box::new(io), yamux::Mode::Client, deadline))
    }

    async fn accept_boxed(&self, io: BoxedIo) -> Result<(Session, Driver), UpgradeError> {
        let deadline = Deadline::after(self.timeout);
        let (io, allowance) = Wire::new(io);
        let select = listener_select_proto(io, iter::once(self.security.protocol()));
        let (_, io) = step(Stage::SecurityNegotiation, deadline, pin!(select)).await?;

        let handshake = self.security.secure_inbound(Box::new(io), &[MUXER]);
        let Secured { peer, mut io, muxer } = step(Stage::Security, deadline, handshake).await?;

        if muxer != Some(MUXER) {
            let select = listener_select_proto(io, iter::once(MUXER));
            io = Box::new(step(Stage::MuxerNegotiation, deadline, pin!(select)).await?.1);
        }
        allowance.lift();
        Ok(self.session(peer, io, yamux::Mode::Server, deadline))
    }

    fn session(&self, peer: PeerId, io: BoxedIo, mode: yamux::Mode, deadline: Deadline) -> (Session, Driver) {
        let shared = Arc::new(Shared::new(peer, self.limits));
        let session = Session::new(Arc::clone(&shared));
        (session, Driver::new(io, mode, shared, Arc::clone(&self.protocols), deadline))
    }

    /// Dials a WebSocket address and upgrades the connection; the peer has to be the one of the address's `/p2p/…`.
    ///
    /// An error of the dial is one of [`Stage::Dial`] with the [`crate::Error`] as its `source()`; every error has the
    /// address. The dial and the upgrade each have their own deadline.
    pub async fn dial_address(
        &self,
        dialer: &Dialer,
        address: impl ToWsAddr,
    ) -> Result<(Session, Driver), UpgradeError> {
        let address = address.to_ws_addr().map_err(|error| UpgradeError::new(Stage::Dial, error))?;
        let upgraded = async {
            let io = dialer.dial(&address).await.map_err(|error| UpgradeError::new(Stage::Dial, error))?;
            self.dial(io, address.peer_id().copied()).await
        };
        upgraded.await.map_err(|error: UpgradeError| error.with_address(address.to_multiaddr()))
    }
}

/// Name of the muxer in multistream-select.
const MUXER: &str = "/yamux/1.0.0";

fn step<T, E>(
    stage: Stage,
    deadline: Deadline,
    work: impl Future<Output = Result<T, E>> + Unpin,
) -> impl Future<Output = Result<T, UpgradeError>>
where
    E: Into<Box<dyn StdError + Send + Sync>>,
{
    deadline.try_run(work, move |cause| UpgradeError::new(stage, cause))
}

impl fmt::Debug for Upgrader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upgrader")
            .field("security", &self.security.protocol())
            .field("protocols", &self.protocols)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}
