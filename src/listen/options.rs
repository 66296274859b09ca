//! `ListenOptions`: how a listener binds and shakes hands.

use std::fmt;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use super::{Listener, socket};
use crate::addr::{Host, WsAddr};
use crate::config::StreamConfig;
use crate::dial::resolve;
use crate::error::{Error, Phase};
use crate::handshake::http::StatusCode;
use crate::handshake::{ServerOptions, UpgradeRequest};
use crate::tcp::KeepAlive;
use crate::tls::{Acceptor, TlsError};
use crate::to_ws_addr::ToWsAddr;

/// Default time for TLS and upgrade together: 15 s, as for dialing.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(15);

/// Default length of the kernel's queue of connections not yet accepted.
///
/// std's 128 overflows when a node comes back and all its peers redial; the kernel may allow fewer
/// (`net.core.somaxconn`, 4,096 on Linux).
const BACKLOG: u32 = 1024;

/// How a [`Listener`] binds its sockets and shakes hands.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use ws_transport::ListenOptions;
/// use ws_transport::handshake::http::StatusCode;
///
/// let options = ListenOptions::new().with_max_head(8 * 1024).with_policy(|request| match request.origin() {
///     None | Some("https://example.com") => Ok(()),
///     Some(_) => Err(StatusCode::FORBIDDEN),
/// });
/// let listener = futures_lite::future::block_on(options.bind("/ip4/127.0.0.1/tcp/0/ws"))?;
/// println!("{}", listener.addresses()?[0]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct ListenOptions {
    tls: Option<Acceptor>,
    server: ServerOptions,
    timeout: Duration,
    backlog: u32,
    keepalive: Option<KeepAlive>,
}

/// What all connections of a listener share.
pub(super) struct Shared {
    /// Set exactly if the listen address has TLS.
    pub(super) tls: Option<Acceptor>,
    pub(super) server: ServerOptions,
    pub(super) timeout: Duration,
    pub(super) keepalive: Option<KeepAlive>,
}

impl ListenOptions {
    /// The defaults: no TLS, no policy, heads of at most 16 KiB, 15 s to shake hands, a backlog of 1,024, no keepalive.
    pub fn new() -> Self {
        ListenOptions {
            tls: None,
            server: ServerOptions::new(),
            timeout: HANDSHAKE_TIMEOUT,
            backlog: BACKLOG,
            keepalive: None,
        }
    }

    /// The certificate for `/tls/ws` and `/wss`, which cannot be listened on without; `/ws` does not use it.
    pub fn with_tls(mut self, acceptor: Acceptor) -> Self {
        self.tls = Some(acceptor);
        self
    }

    /// Asks `policy` about every valid upgrade request; its `Err` is the status of the refusal (403, 404, ...).
    ///
    /// Any web page may open a WebSocket to any address its browser reaches, a loopback one too; the `Origin` field
    /// tells which page it was (RFC 6455 §10.2). Without a policy, every origin is accepted.
    pub fn with_policy(
        mut self,
        policy: impl Fn(&UpgradeRequest<'_>) -> Result<(), StatusCode> + Send + Sync + 'static,
    ) -> Self {
        self.server = self.server.with_policy(policy);
        self
    }

    /// Longest request head, in bytes; a longer one is answered with 431.
    pub fn with_max_head(mut self, bytes: usize) -> Self {
        self.server = self.server.with_max_head(bytes);
        self
    }

    /// Time for TLS and upgrade together, counted from the accept; no byte that arrives extends it.
    pub fn with_handshake_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Length of the kernel's queue of connections not yet accepted; it may allow fewer. Not heeded on Windows.
    pub fn with_backlog(mut self, connections: u32) -> Self {
        self.backlog = connections;
        self
    }

    /// TCP keepalive on every connection; off by default.
    #[cfg(unix)]
    pub fn with_keepalive(mut self, keepalive: KeepAlive) -> Self {
        self.keepalive = Some(keepalive);
        self
    }

    /// Buffers and limits of the streams.
    pub fn with_stream_config(mut self, config: StreamConfig) -> Self {
        self.server = self.server.with_stream(config);
        self
    }

    /// Buffers and limits of the streams.
    pub fn stream_config(&self) -> StreamConfig {
        self.server.stream()
    }

    /// Listens on `addr`; see [`Listener`] for what the parts of an address mean here.
    ///
    /// The error has the phase `Address`; `Tls` if the address asks for it and there is no acceptor; `Resolve`; or
    /// `Listen`.
    pub async fn bind(&self, addr: impl ToWsAddr) -> Result<Listener, Error> {
        let addr = addr.to_ws_addr()?;
        self.bind_ws(&addr).await.map_err(|error| error.with_address(addr.to_multiaddr()))
    }

    async fn bind_ws(&self, addr: &WsAddr) -> Result<Listener, Error> {
        let shared = self.shared(addr)?;
        let addrs = resolve(addr.host(), addr.port()).await.map_err(|error| Error::new(Phase::Resolve, error))?;
        let sockets = socket::bind_all(&addrs, self.backlog).map_err(|error| Error::new(Phase::Listen, error))?;
        Listener::new(sockets, addr.clone(), shared)
    }

    /// Listens on a socket that was bound elsewhere, by a supervisor or an earlier process.
    ///
    /// Of `addr`, whether it has TLS, its path and its DNS name count; IP address and port are those of the socket. The
    /// socket is set to non-blocking mode, the rest of it (its backlog, or whether it takes IPv4 on `::`) is left alone.
    pub fn listen(&self, socket: TcpListener, addr: impl ToWsAddr) -> Result<Listener, Error> {
        let addr = addr.to_ws_addr()?;
        let multiaddr = addr.to_multiaddr();
        self.listen_ws(socket, addr).map_err(|error| error.with_address(multiaddr))
    }

    fn listen_ws(&self, socket: TcpListener, addr: WsAddr) -> Result<Listener, Error> {
        let shared = self.shared(&addr)?;
        let bound = socket.local_addr().map_err(|error| Error::new(Phase::Listen, error))?;
        let addr = match addr.host() {
            Host::Dns { .. } => addr,
            _ => addr.with_socket(bound),
        };
        Listener::new(vec![socket], addr, shared)
    }

    pub(super) fn shared(&self, addr: &WsAddr) -> Result<Arc<Shared>, Error> {
        let tls = match addr.is_tls() {
            true => Some(self.tls.clone().ok_or_else(|| Error::new(Phase::Tls, TlsError::Unavailable))?),
            false => None,
        };
        let server = match addr.http_path() {
            Some(path) => self.server.clone().with_path(path),
            None => self.server.clone(),
        };
        Ok(Arc::new(Shared { tls, server, timeout: self.timeout, keepalive: self.keepalive }))
    }
}

impl Default for ListenOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for ListenOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ListenOptions")
            .field("tls", &self.tls.is_some())
            .field("timeout", &self.timeout)
            .field("backlog", &self.backlog)
            .field("keepalive", &self.keepalive)
            .finish_non_exhaustive()
    }
}
