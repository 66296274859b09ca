//! TLS by value, by feature: the one place where the backends meet.
//!
//! A [`Connector`] or an [`Acceptor`] is a value made for one backend: rustls (feature `rustls`: ring, TLS 1.3 and 1.2)
//! or the system's library (feature `native-tls`: OpenSSL on Linux). Both may be compiled in at once. With neither, the
//! types are still there and every way to make one ends in [`TlsError::Unavailable`].
//!
//! ```
//! use ws_transport::tls::{Acceptor, Backend, Connector};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
//! let (chain, key) = (made.cert.pem(), made.signing_key.serialize_pem());
//! for &backend in Backend::compiled_in() {
//!     let acceptor = Acceptor::builder(chain.as_str(), key.as_str()).build_with(backend)?;
//!     let connector = Connector::builder().pem_roots(chain.as_str()).build_with(backend)?;
//!     assert_eq!(connector.backend(), acceptor.backend());
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # What the backends cannot do
//!
//! Asked for one of these, a builder answers [`TlsError::Unsupported`]; the lines marked * have nothing to refuse.
//!
//! | | rustls | native-tls (OpenSSL) |
//! |---|---|---|
//! | Mozilla's roots ([`ClientBuilder::webpki_roots`]) | yes | no |
//! | keys | PKCS#8, SEC1, PKCS#1 | PKCS#8 |
//! | client certificates asked for by a server | yes | no |
//! | * TLS versions | 1.3, 1.2 | dialing 1.3, 1.2; listening 1.2 |
//! | * cipher suites, the first first | AES-128-GCM, AES-256-GCM, ChaCha20-Poly1305; without AES instructions ChaCha20-Poly1305 first | OpenSSL's |
//! | * a client that offers only foreign ALPN protocols (`h2`) | refused | served |
//! | * session resumption | both sides | as server only, until the certificate is exchanged |
//! | * [`MaybeTls::alpn`], [`MaybeTls::peer_certificates`] | yes | dialing; the peer's own certificate only |
//!
//! Which suite is taken is up to the client, which knows its own processor, unless a rustls server here has no AES
//! instructions: then it is ChaCha20-Poly1305 for all clients that have it. rustls by itself would begin with AES-256.

#[cfg_attr(not(any(feature = "rustls", feature = "native-tls")), allow(dead_code))]
mod builder;
mod error;
mod name;
#[cfg_attr(not(feature = "rustls"), allow(dead_code))]
mod stream;

#[cfg(not(all(feature = "rustls", feature = "native-tls")))]
mod absent;
#[cfg(feature = "native-tls")]
mod native_backend;
#[cfg(feature = "rustls")]
mod rustls_backend;
#[cfg(any(feature = "rustls", feature = "native-tls"))]
mod wire;

use std::fmt;

use futures_lite::{AsyncRead, AsyncWrite, AsyncWriteExt};

pub use builder::{ClientBuilder, ServerBuilder};
pub use error::TlsError;
pub use stream::MaybeTls;

/// The crate whose [`TlsConnector`](native_tls::TlsConnector) and [`TlsAcceptor`](native_tls::TlsAcceptor) can be used.
#[cfg(feature = "native-tls")]
pub use ::native_tls;
/// The crate whose [`ClientConfig`](rustls::ClientConfig) and [`ServerConfig`](rustls::ServerConfig) can be used.
#[cfg(feature = "rustls")]
pub use futures_rustls::rustls;

#[cfg(not(feature = "native-tls"))]
use absent as native_backend;
#[cfg(not(feature = "rustls"))]
use absent as rustls_backend;
use name::ServerName;

/// The protocol that a WebSocket handshake speaks inside TLS (RFC 7301; RFC 6455 needs HTTP/1.1).
#[cfg(any(feature = "rustls", feature = "native-tls"))]
const ALPN: &str = "http/1.1";

/// The library that does TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Backend {
    /// rustls with ring (feature `rustls`).
    Rustls,
    /// The system's library by native-tls (feature `native-tls`).
    NativeTls,
}

impl Backend {
    /// The backends compiled in, the preferred one first: rustls, then native-tls.
    pub fn compiled_in() -> &'static [Backend] {
        match (rustls_backend::COMPILED_IN, native_backend::COMPILED_IN) {
            (true, true) => &[Backend::Rustls, Backend::NativeTls],
            (true, false) => &[Backend::Rustls],
            (false, true) => &[Backend::NativeTls],
            (false, false) => &[],
        }
    }

    fn preferred() -> Result<Self, TlsError> {
        Self::compiled_in().first().copied().ok_or(TlsError::Unavailable)
    }

    fn required(self) -> Result<Self, TlsError> {
        match Self::preferred()? {
            _ if Self::compiled_in().contains(&self) => Ok(self),
            _ => Err(TlsError::NotCompiledIn(self)),
        }
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Backend::Rustls => "rustls",
            Backend::NativeTls => "native-tls",
        })
    }
}

/// The client's side of TLS: a backend, its roots and its certificate.
///
/// Cheap to clone; clones share what is kept for the resumption of sessions (rustls: the last 256, in memory).
///
/// Besides [`builder`](Self::builder) there are `From<Arc<rustls::ClientConfig>>` and
/// `From<native_tls::TlsConnector>`. Such a configuration is taken as it is: it is up to its author to offer the ALPN
/// protocol `http/1.1`, or none.
#[derive(Clone)]
pub struct Connector(ConnectorOf);

#[derive(Clone)]
enum ConnectorOf {
    Rustls(rustls_backend::Connector),
    Native(native_backend::Connector),
}

impl Connector {
    /// A connector of one's own making: begin here.
    pub fn builder() -> ClientBuilder {
        ClientBuilder::new()
    }

    /// The system's roots, by the first backend compiled in (rustls before native-tls).
    ///
    /// [`TlsError::Unavailable`] if there is none. Blocks for some milliseconds: it reads files.
    pub fn system() -> Result<Self, TlsError> {
        Self::builder().system_roots().build()
    }

    /// The backend it was made for.
    pub fn backend(&self) -> Backend {
        match &self.0 {
            ConnectorOf::Rustls(_) => Backend::Rustls,
            ConnectorOf::Native(_) => Backend::NativeTls,
        }
    }

    /// Runs the client's handshake; the certificate must be valid for `server_name`, a DNS name or an IP address.
    ///
    /// An IP address is looked for among the certificate's IP addresses, and no SNI is sent for it (RFC 6066 §3). There
    /// is no deadline in here. Dropping the future drops `io`, as does a failure.
    pub async fn connect<IO>(&self, server_name: &str, io: IO) -> Result<MaybeTls<IO>, TlsError>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        flushed(self.connect_unflushed(server_name, io).await?).await
    }

    /// As [`connect`](Self::connect), but the last messages of the handshake may wait for the first write, read or flush.
    pub(crate) async fn connect_unflushed<IO>(&self, server_name: &str, io: IO) -> Result<MaybeTls<IO>, TlsError>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let name = ServerName::parse(server_name)?;
        log::debug!("TLS handshake with {} by {}", name.as_str(), self.backend());
        match &self.0 {
            ConnectorOf::Rustls(connector) => connector.connect(name, io).await.map(MaybeTls::over_rustls),
            ConnectorOf::Native(connector) => connector.connect(name, io).await.map(MaybeTls::over_native),
        }
    }

    fn with(backend: Backend, options: &ClientBuilder) -> Result<Self, TlsError> {
        Ok(Connector(match backend.required()? {
            Backend::Rustls => ConnectorOf::Rustls(rustls_backend::Connector::new(options)?),
            Backend::NativeTls => ConnectorOf::Native(native_backend::Connector::new(options)?),
        }))
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector").field("backend", &self.backend()).finish_non_exhaustive()
    }
}

/// The server's side of TLS: a backend and a certificate that can be exchanged while listening.
///
/// Cheap to clone; all clones serve the same certificate, and [`replace`](Self::replace) on one is seen by all.
///
/// Besides [`builder`](Self::builder) there are `From<Arc<rustls::ServerConfig>>` and `From<native_tls::TlsAcceptor>`.
/// Such a configuration is taken as it is, ALPN and resumption included, and its certificate is its author's to exchange.
#[derive(Clone)]
pub struct Acceptor(AcceptorOf);

#[derive(Clone)]
enum AcceptorOf {
    Rustls(rustls_backend::Acceptor),
    Native(native_backend::Acceptor),
}

impl Acceptor {
    /// An acceptor for a certificate chain and its private key, both PEM: begin here.
    ///
    /// The server's own certificate comes first in the chain. Nothing is read before [`ServerBuilder::build`].
    pub fn builder(chain_pem: impl Into<Vec<u8>>, key_pem: impl Into<Vec<u8>>) -> ServerBuilder {
        ServerBuilder::new(chain_pem.into(), key_pem.into())
    }

    /// The backend it was made for.
    pub fn backend(&self) -> Backend {
        match &self.0 {
            AcceptorOf::Rustls(_) => Backend::Rustls,
            AcceptorOf::Native(_) => Backend::NativeTls,
        }
    }

    /// Exchanges the certificate, for this acceptor and all its clones, from the next handshake on.
    ///
    /// What [`builder`](Self::builder) would refuse is refused here, and then the old certificate stays. Connections that
    /// stand are not touched. With rustls a session made under the old certificate can still be resumed, so that a
    /// renewal does not cost every client a full handshake; with native-tls it cannot. [`TlsError::Unsupported`] for an
    /// acceptor made from a configuration of the user's.
    ///
    /// Blocks for some milliseconds.
    pub fn replace(&self, chain_pem: &[u8], key_pem: &[u8]) -> Result<(), TlsError> {
        match &self.0 {
            AcceptorOf::Rustls(acceptor) => acceptor.replace(chain_pem, key_pem),
            AcceptorOf::Native(acceptor) => acceptor.replace(chain_pem, key_pem),
        }
    }

    /// Runs the server's handshake.
    ///
    /// There is no deadline in here. Dropping the future drops `io`, as does a failure.
    pub async fn accept<IO>(&self, io: IO) -> Result<MaybeTls<IO>, TlsError>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        flushed(self.accept_unflushed(io).await?).await
    }

    /// As [`accept`](Self::accept), but the last messages of the handshake may wait for the first write, read or flush.
    pub(crate) async fn accept_unflushed<IO>(&self, io: IO) -> Result<MaybeTls<IO>, TlsError>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        match &self.0 {
            AcceptorOf::Rustls(acceptor) => acceptor.accept(io).await.map(MaybeTls::over_rustls),
            AcceptorOf::Native(acceptor) => acceptor.accept(io).await.map(MaybeTls::over_native),
        }
    }

    fn with(backend: Backend, options: &ServerBuilder) -> Result<Self, TlsError> {
        Ok(Acceptor(match backend.required()? {
            Backend::Rustls => AcceptorOf::Rustls(rustls_backend::Acceptor::new(options)?),
            Backend::NativeTls => AcceptorOf::Native(native_backend::Acceptor::new(options)?),
        }))
    }
}

impl fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acceptor").field("backend", &self.backend()).finish_non_exhaustive()
    }
}

async fn flushed<IO: AsyncRead + AsyncWrite + Unpin>(mut stream: MaybeTls<IO>) -> Result<MaybeTls<IO>, TlsError> {
    stream.flush().await.map_err(TlsError::Handshake)?;
    Ok(stream)
}
