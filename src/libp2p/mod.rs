//! [`WsTransport`]: `libp2p_core::Transport` over this crate, for a rust-libp2p `Swarm` without Tokio.
//!
//! A `Swarm` wants security and a stream muxer on top. With `Version::V1Lazy` the first byte of an application leaves
//! after three round trips over ws and four over wss:
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Duration;
//!
//! use futures_lite::{StreamExt, future::block_on};
//! use libp2p_core::{Transport, upgrade::Version};
//! use libp2p_identity::Keypair;
//! use libp2p_swarm::{Config, Swarm, SwarmEvent, dummy};
//! use ws_transport::libp2p::WsTransport;
//!
//! let key = Keypair::generate_ed25519();
//! let mut yamux = libp2p_yamux::Config::default();
//! yamux.set_max_num_streams(4096); // keeps its windows at 256 KiB, see below
//! let transport = WsTransport::default()
//!     .upgrade(Version::V1Lazy)
//!     .authenticate(libp2p_noise::Config::new(&key)?)
//!     .multiplex(yamux)
//!     .timeout(Duration::from_secs(20)) // for all of it, dialing and listening
//!     .boxed();
//!
//! let config = Config::with_executor(|task| smol::spawn(task).detach());
//! let mut swarm = Swarm::new(transport, dummy::Behaviour, key.public().to_peer_id(), config);
//! swarm.listen_on("/ip4/127.0.0.1/tcp/0/ws".parse()?)?;
//! let Some(SwarmEvent::NewListenAddr { address, .. }) = block_on(swarm.next()) else { panic!() };
//! println!("listening on {address}");
//! # Ok(())
//! # }
//! ```
//!
//! # Limits
//!
//! The deadlines of [`Dialer`] and [`ListenOptions`] end with the WebSocket's
//! handshake. Without the `timeout` above, a client that says nothing after it would stay. Nor does a `Swarm` limit how
//! many connections it takes; libp2p-connection-limits does, and clients that it denies are answered with 503.
//!
//! # yamux and its windows
//!
//! libp2p-yamux lets the window of a stream grow with the round-trip time, far beyond the 1 MiB that it takes in one
//! frame. js-libp2p sends frames as large as the window it was given, so a fast transfer from it ends with an error. Of
//! yamux's settings libp2p-yamux shows `set_max_num_streams` only, and 4,096 is the value that helps: so many streams of
//! 256 KiB use up the 1 GiB that yamux grants a connection, and nothing is left for a window to grow by. The price is
//! speed over long links: 256 KiB for each stream and round trip, 2.5 MiB/s at 100 ms. Who never meets js-libp2p leaves
//! the setting alone.
//!
//! # Flushes
//!
//! Noise and muxers flush after every message of theirs. Connections of this transport put such a flush off: it is `Pending`,
//! wakes its task, and is done when it is asked for again, or by a read that waits, so that the messages of one turn leave in
//! one frame and one send. With 4 KiB writes through libp2p-noise and libp2p-yamux that saves a third of the CPU time.
//! [`StreamConfig::with_flushes_put_off`] with `false`, given to the [`Dialer`] and the [`ListenOptions`], makes every flush
//! a send.
//!
//! # Memory
//!
//! The first [`WsTransport`] in a process frees a block of 1 MiB, from which glibc learns to keep up to 2 MiB that are free at the
//! end of a heap (448 and 896 KiB on 32 bits). By default it keeps 128 KiB, and a muxer's frames would go back to the kernel
//! and come again with every window. `MALLOC_TRIM_THRESHOLD_=131072` in the environment leaves it at that.
//!
//! # With other transports
//!
//! An address that is no `/ws`, `/tls/ws` or `/wss` one is answered with `MultiaddrNotSupported` at once, dialing as well
//! as listening, so `or_transport` works in either order. Do not wrap this transport in `libp2p-dns`: names are looked up
//! here, while behind it the IP address would take the place of the name, and with it of SNI, of the name in the
//! certificate and of the `Host` field. `/dnsaddr` is not resolved.

mod handshakes;
mod interfaces;
mod listening;

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use libp2p_core::transport::{DialOpts, ListenerId, Transport, TransportError, TransportEvent};
use multiaddr::Multiaddr;

use crate::Connection;
use crate::addr::{Host, WsAddr};
use crate::config::StreamConfig;
use crate::dial::Dialer;
use crate::error::Error;
use crate::heap;
use crate::listen::ListenOptions;
use handshakes::Places;
use listening::Listening;

pub use handshakes::ListenerUpgrade;

/// The version of rust-libp2p whose `Transport` is implemented.
pub use libp2p_core;

/// Default number of handshakes that a listener has under way at a time.
///
/// Each is a socket and, with TLS, some 10 KiB; 1,024 descriptors is what many systems give a process.
const HANDSHAKES: usize = 256;

/// A WebSocket transport for rust-libp2p: what a [`Dialer`] dials and [`ListenOptions`] listen on.
///
/// **Dialing** does nothing until the future is polled, then all that [`Dialer::dial`] does, under its deadline; dropping
/// the future closes what was opened. A trailing `/p2p/<id>` is accepted, and checked by the `Swarm` after security.
/// Refused with `MultiaddrNotSupported` are also port 0 and the addresses `0.0.0.0` and `::`, which are no destination.
/// Of the [`DialOpts`], the role matters to the upgrades above only: who opened the TCP connection asks for the
/// WebSocket. No port is reused, whatever the port use: a WebSocket cannot be opened from both ends at once, so hole
/// punching would gain nothing, and identify notices it by the port that the peer observed.
///
/// **Listening** is what [`ListenOptions::bind`] does. An IP address is bound when `listen_on` returns, and an
/// error is that of `listen_on`; a name, or a zone, is looked up first, and an error is the reason of a `ListenerClosed`.
/// * Addresses are announced as they were listened on (`/wss` stays `/wss`, and `/sni` and `/http-path` stay), with the
///   port that the system chose for port 0 and without `/p2p`. A name is announced as it is.
/// * A wildcard stands for the addresses of all interfaces of its family, loopback and link-local ones included, the
///   latter with their zone. They are asked for at once and every 10 s, on a thread of the `blocking` pool; what comes
///   and goes is a `NewAddress` and an `AddressExpired`. If asking fails, that is a `ListenerError`. Other listeners ask
///   nothing.
/// * Of an incoming connection, the local address is the one that was announced, and the send-back address
///   `/ip4/<addr>/tcp/<port>/ws`, or `/tls/ws`, with the port of the client's socket, which is none to dial.
/// * At most 256 handshakes of a listener run at a time ([`with_handshakes`](Self::with_handshakes)).
/// * An accept that fails is a `ListenerError`, and tried again after a second; the tenth failure in a row closes the
///   listener, with the error as its reason. Out of descriptors or memory it rests without an event, as
///   [`Listener::accept`](crate::Listener::accept) does.
/// * Removing a listener frees its port at once, and its addresses expire with its `ListenerClosed`. Its connections and
///   the handshakes under way go on, as they do when the transport is dropped.
///
/// Errors are this crate's [`Error`], with their causes. All runs where the transport is polled, except look-ups.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use ws_transport::libp2p::WsTransport;
/// use ws_transport::{Dialer, ListenOptions};
/// # use ws_transport::tls::Backend;
/// # if !Backend::compiled_in().contains(&Backend::Rustls) {
/// #     return Ok(());
/// # }
/// # let pem = rcgen::generate_simple_self_signed(["localhost".into()])?;
/// # let (chain, key, ca) = (pem.cert.pem(), pem.signing_key.serialize_pem(), pem.cert.pem());
/// use ws_transport::tls::{Acceptor, Connector};
///
/// let dialer = Dialer::new().with_tls(Connector::builder().pem_roots(ca).build()?);
/// let options = ListenOptions::new().with_tls(Acceptor::builder(chain, key).build()?);
/// let transport = WsTransport::new(dialer, options).with_handshakes(64);
/// # Ok(())
/// # }
/// ```
pub struct WsTransport {
    dialer: Dialer,
    options: ListenOptions,
    handshakes: usize,
    /// The first is asked first; one that had something to say goes to the end.
    listeners: VecDeque<Listening>,
    /// Of the task that polls us, for listeners that come or go meanwhile.
    waker: Option<Waker>,
}

impl WsTransport {
    /// A transport that dials as `dialer` and listens as `options` say.
    pub fn new(dialer: Dialer, options: ListenOptions) -> Self {
        heap::expect_bursts();
        let dialing = for_muxers(dialer.stream_config());
        let listening = for_muxers(options.stream_config());
        let (dialer, options) = (dialer.with_stream_config(dialing), options.with_stream_config(listening));
        WsTransport { dialer, options, handshakes: HANDSHAKES, listeners: VecDeque::new(), waker: None }
    }

    /// Most handshakes that each listener has under way at a time, from now on; at least 1, by default 256.
    ///
    /// While there are so many, clients wait in the kernel's queue; silent ones hold a place until the time that
    /// [`ListenOptions::with_handshake_timeout`] allows is up. Security and muxer, which come after, do not count here.
    pub fn with_handshakes(mut self, at_once: usize) -> Self {
        self.handshakes = at_once;
        self
    }

    /// Wakes who polls us, to find that something has changed.
    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl Transport for WsTransport {
    type Output = Connection;
    type Error = Error;
    type ListenerUpgrade = ListenerUpgrade;
    type Dial = Pin<Box<dyn Future<Output = Result<Connection, Error>> + Send>>;

    fn listen_on(&mut self, id: ListenerId, addr: Multiaddr) -> Result<(), TransportError<Error>> {
        let ws_addr = ours(addr)?;
        let multiaddr = ws_addr.to_multiaddr();
        let options = self.options.clone();
        let places = Places::new(self.handshakes);
        let listening = Listening::begin(id, options, ws_addr.with_peer_id(None), places)
            .map_err(|error| TransportError::Other(error.with_address(multiaddr)))?;
        self.listeners.push_back(listening);
        self.wake();
        Ok(())
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        let closed = self.listeners.iter_mut().any(|listening| listening.id() == id && listening.close(Ok(())));
        if closed {
            self.wake();
        }
        closed
    }

    fn dial(&mut self, addr: Multiaddr, _opts: DialOpts) -> Result<Self::Dial, TransportError<Error>> {
        let ws_addr = ours(addr)?;
        if is_nowhere(&ws_addr) {
            return Err(TransportError::MultiaddrNotSupported(ws_addr.into()));
        }
        let dialer = self.dialer.clone();
        Ok(Box::pin(async move { dialer.dial(ws_addr).await }))
    }

    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<TransportEvent<Self::ListenerUpgrade, Self::Error>> {
        for _ in 0..self.listeners.len() {
            let Some(mut listening) = self.listeners.pop_front() else { break };
            match listening.poll(cx) {
                Poll::Ready(None) => {}
                Poll::Ready(Some(event)) => {
                    self.listeners.push_back(listening);
                    return Poll::Ready(event);
                }
                Poll::Pending => self.listeners.push_back(listening),
            }
        }
        self.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

/// The defaults of [`Dialer`] and [`ListenOptions`]: TLS with the system's roots for dialing, none for listening.
impl Default for WsTransport {
    fn default() -> Self {
        Self::new(Dialer::default(), ListenOptions::default())
    }
}

impl fmt::Debug for WsTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WsTransport")
            .field("dialer", &self.dialer)
            .field("options", &self.options)
            .field("handshakes", &self.handshakes)
            .field("listeners", &self.listeners)
            .finish_non_exhaustive()
    }
}

/// Puts flushes off unless something else was asked for.
fn for_muxers(config: StreamConfig) -> StreamConfig {
    match config.flushes_put_off() {
        None => config.with_flushes_put_off(true),
        Some(_) => config,
    }
}

/// The address, if this transport understands it; else it is for another one.
fn ours(addr: Multiaddr) -> Result<WsAddr, TransportError<Error>> {
    WsAddr::try_from(&addr).map_err(|error| {
        log::debug!("not for the WebSocket transport: {error}");
        TransportError::MultiaddrNotSupported(addr)
    })
}

/// Whether there can be nobody at this address, although it can be listened on.
fn is_nowhere(addr: &WsAddr) -> bool {
    let unspecified = match addr.host() {
        Host::Ip4(ip) => ip.is_unspecified(),
        Host::Ip6 { addr, .. } => addr.is_unspecified(),
        Host::Dns { .. } => false,
    };
    unspecified || addr.port() == 0
}
