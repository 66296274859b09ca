//! Dialing: resolve, connect, TLS, upgrade, under one deadline.

mod happy_eyeballs;
mod resolve;

use std::error::Error as StdError;
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use crate::Connection;
use crate::addr::WsAddr;
use crate::config::StreamConfig;
use crate::deadline::Deadline;
use crate::error::{Error, Phase};
use crate::handshake::{self, ClientRequest, InvalidRequest};
use crate::proto::Role;
use crate::stream::WsStream;
use crate::tcp::{KeepAlive, Tcp};
use crate::tls::{Connector, MaybeTls, TlsError};
use crate::to_ws_addr::ToWsAddr;

pub use happy_eyeballs::ConnectError;
pub(crate) use resolve::resolve;

/// Default time for a whole dial, from the look-up to the stream: 15 s, as in go-libp2p.
const TIMEOUT: Duration = Duration::from_secs(15);

/// Dials WebSocket multiaddrs. Cheap to clone; clones share their TLS settings.
///
/// A dial resolves the name (on a thread of the `blocking` pool), connects to its addresses with happy eyeballs
/// (RFC 8305) and TCP_NODELAY, runs TLS for `/tls/ws` and `/wss`, and asks for the upgrade (RFC 6455 §4.1), all under
/// one absolute deadline of 15 s. TLS is by [`Connector::system`] unless [`with_tls`](Self::with_tls) says otherwise;
/// it is built once, at the first dial that needs it.
///
/// * The `Host` field is the address's `/sni` name, else its DNS name or IP address; SNI and the name in the server's
///   certificate go by the same rule.
/// * A trailing `/p2p/<id>` is accepted and not checked: only the security layer above learns who the peer is.
/// * RFC 6455 §4.1 wants at most one connection per IP address to be connecting at a time. Dials do not wait for each
///   other, as in every libp2p implementation; who dials one host many times may want to.
///
/// ```no_run
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use futures_lite::{AsyncReadExt, AsyncWriteExt};
/// use ws_transport::Dialer;
///
/// futures_lite::future::block_on(async {
///     let mut connection = Dialer::new().dial("/dns/example.com/tcp/443/tls/ws").await?;
///     connection.write_all(b"hello").await?;
///     let mut answer = [0; 5];
///     connection.read_exact(&mut answer).await?;
///     Ok(())
/// })
/// # }
/// ```
#[derive(Clone)]
pub struct Dialer {
    timeout: Duration,
    tls: Tls,
    headers: Vec<(String, String)>,
    path: Option<String>,
    keepalive: Option<KeepAlive>,
    stream: StreamConfig,
}

impl Dialer {
    /// A dialer with the defaults: 15 s, the system's TLS roots, no further header fields, no keepalive.
    pub fn new() -> Self {
        Dialer {
            timeout: TIMEOUT,
            tls: Tls::System(Arc::default()),
            headers: Vec::new(),
            path: None,
            keepalive: None,
            stream: StreamConfig::new(),
        }
    }

    /// Time for a whole dial; `Duration::MAX` is no limit, zero fails what cannot be had without waiting.
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// TLS for `/tls/ws` and `/wss`, in place of [`Connector::system`].
    pub fn with_tls(mut self, connector: Connector) -> Self {
        self.tls = Tls::Given(connector);
        self
    }

    /// A further header field of every request, after those added before.
    ///
    /// Refused are the fields of the handshake itself, and names and values that would break out of their line.
    pub fn with_header(mut self, name: &str, value: &str) -> Result<Self, InvalidRequest> {
        ClientRequest::new("localhost", "/")?.with_header(name, value)?;
        self.headers.push((name.into(), value.into()));
        Ok(self)
    }

    /// The request target (`/path?query`) for addresses that have no `/http-path`; the default is `/`.
    ///
    /// Dialing an address whose `/http-path` is another one fails: which of the two was meant is not for us to guess.
    pub fn with_path(mut self, target: &str) -> Result<Self, InvalidRequest> {
        ClientRequest::new("localhost", target)?;
        self.path = Some(target.into());
        Ok(self)
    }

    /// TCP keepalive on every connection; off by default.
    #[cfg(unix)]
    pub fn with_keepalive(mut self, keepalive: KeepAlive) -> Self {
        self.keepalive = Some(keepalive);
        self
    }

    /// Buffers and limits of the streams.
    pub fn with_stream_config(mut self, config: StreamConfig) -> Self {
        self.stream = config;
        self
    }

    /// Buffers and limits of the streams.
    pub fn stream_config(&self) -> StreamConfig {
        self.stream
    }

    /// Dials `addr`: a [`WsAddr`], a [`Multiaddr`](crate::multiaddr::Multiaddr), or the text of one.
    ///
    /// The error tells the phase that failed, or that was running when the time was up, and the address; its `source()`
    /// is the cause, for [`Phase::Connect`] a [`ConnectError`]. Nothing is sent before the address, the header fields
    /// and TLS are known to be good. Dropping the future at any point closes what was opened; a look-up that has begun
    /// ends by itself on its own thread.
    pub async fn dial(&self, addr: impl ToWsAddr) -> Result<Connection, Error> {
        let addr = addr.to_ws_addr()?;
        let deadline = Deadline::after(self.timeout);
        self.dial_until(&addr, deadline).await.map_err(|error| {
            let error = error.with_address(addr.to_multiaddr());
            log::debug!("{error}");
            error
        })
    }

    async fn dial_until(&self, addr: &WsAddr, deadline: Deadline) -> Result<Connection, Error> {
        let request = self.request(addr)?;
        let connector = match addr.is_tls() {
            true => Some(step(Phase::Tls, deadline, pin!(self.tls.connector())).await?),
            false => None,
        };

        log::debug!("{addr}: resolving");
        let addrs = step(Phase::Resolve, deadline, pin!(resolve(addr.host(), addr.port()))).await?;

        log::debug!("{addr}: connecting to {addrs:?}");
        let tcp = step(Phase::Connect, deadline, happy_eyeballs::connect_any(addrs, Tcp::connect)).await?;
        if let Some(keepalive) = self.keepalive {
            keepalive.apply(tcp.get_ref()).map_err(|error| Error::new(Phase::Connect, error))?;
        }

        // TLS is boxed: every dial would carry the room for it along, as it is moved.
        let mut io = match connector {
            Some(connector) => {
                log::debug!("{addr}: connected, beginning TLS");
                step(Phase::Tls, deadline, Box::pin(connector.connect_unflushed(&addr.server_name(), tcp))).await?
            }
            None => MaybeTls::plain(tcp),
        };

        log::debug!("{addr}: asking for the upgrade");
        let early = step(Phase::Handshake, deadline, pin!(handshake::ask(&mut io, &request))).await?;
        log::debug!("{addr}: open");
        // Only here is the stream made: every future that gives it on copies it, and it is some 500 bytes long.
        Ok(WsStream::new(io, Role::Client, early, self.stream).borrow_from_tls())
    }

    fn request(&self, addr: &WsAddr) -> Result<ClientRequest, Error> {
        let target = match (addr.http_path(), &self.path) {
            (Some(theirs), Some(ours)) if theirs != ours => {
                let text = format!("the address's path {theirs} is not the dialer's, {ours}");
                return Err(Error::new(Phase::Address, io::Error::new(io::ErrorKind::InvalidInput, text)));
            }
            (None, Some(ours)) => ours,
            _ => addr.request_target(),
        };
        let mut request = ClientRequest::new(&addr.host_header(), target);
        for (name, value) in &self.headers {
            request = request.and_then(|request| request.with_header(name, value));
        }
        request.map_err(|error| Error::new(Phase::Address, error))
    }
}

impl Default for Dialer {
    fn default() -> Self {
        Self::new()
    }
}

/// Leaves out the values of header fields, which may be secrets.
impl fmt::Debug for Dialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dialer")
            .field("timeout", &self.timeout)
            .field("headers", &self.headers.iter().map(|(name, _)| name).collect::<Vec<_>>())
            .field("path", &self.path)
            .field("keepalive", &self.keepalive)
            .field("stream", &self.stream)
            .finish_non_exhaustive()
    }
}

/// Runs one phase under the deadline of all.
pub(crate) fn step<T, E>(
    phase: Phase,
    deadline: Deadline,
    work: impl Future<Output = Result<T, E>> + Unpin,
) -> impl Future<Output = Result<T, Error>>
where
    E: Into<Box<dyn StdError + Send + Sync>>,
{
    deadline.try_run(work, move |cause| Error::new(phase, cause))
}

/// Where a dialer's [`Connector`] comes from.
#[derive(Clone)]
enum Tls {
    Given(Connector),
    System(Arc<SystemTls>),
}

impl Tls {
    async fn connector(&self) -> Result<Connector, TlsError> {
        match self {
            Tls::Given(connector) => Ok(connector.clone()),
            Tls::System(system) => system.connector().await,
        }
    }
}

/// [`Connector::system`], built at the first use. A failure is not kept: the next use tries again.
#[derive(Default)]
struct SystemTls {
    built: OnceLock<Connector>,
    /// Held, on a thread of the `blocking` pool, by who builds it, so that simultaneous dials read the roots once.
    building: Mutex<()>,
}

impl SystemTls {
    async fn connector(self: &Arc<Self>) -> Result<Connector, TlsError> {
        if let Some(connector) = self.built.get() {
            return Ok(connector.clone());
        }
        let this = self.clone();
        blocking::unblock(move || {
            let _building = this.building.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(connector) = this.built.get() {
                return Ok(connector.clone());
            }
            let connector = Connector::system()?;
            Ok(this.built.get_or_init(|| connector).clone())
        })
        .await
    }
}
