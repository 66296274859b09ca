//! Options of a connector and of an acceptor, the same for both backends.

use std::fmt;

use super::{Acceptor, Backend, Connector, TlsError};

/// A certificate chain and its private key, PEM.
#[derive(Clone)]
pub(super) struct Identity {
    pub(super) chain: Vec<u8>,
    pub(super) key: Vec<u8>,
}

/// Options of a [`Connector`], from [`Connector::builder`].
///
/// Roots add up. With none of them, building is refused: there is no default trust.
///
/// ```no_run
/// use ws_transport::tls::{Connector, TlsError};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let connector = Connector::builder()
///     .system_roots()
///     .pem_roots(std::fs::read("our-own-ca.pem")?)
///     .client_certificate(std::fs::read("me.pem")?, std::fs::read("me.key.pem")?)
///     .build()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Default)]
#[must_use]
pub struct ClientBuilder {
    pub(super) system_roots: bool,
    pub(super) webpki_roots: bool,
    pub(super) pem_roots: Vec<Vec<u8>>,
    pub(super) der_roots: Vec<Vec<u8>>,
    pub(super) identity: Option<Identity>,
    pub(super) skip_verification: bool,
}

impl ClientBuilder {
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// Trusts what the system trusts.
    ///
    /// The environment variables `SSL_CERT_FILE` and `SSL_CERT_DIR` are honoured (by OpenSSL and rustls-native-certs).
    pub fn system_roots(mut self) -> Self {
        self.system_roots = true;
        self
    }

    /// Trusts Mozilla's roots as compiled in by the crate `webpki-roots` (rustls only).
    pub fn webpki_roots(mut self) -> Self {
        self.webpki_roots = true;
        self
    }

    /// Trusts the certificates, one or more, in this PEM text.
    pub fn pem_roots(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.pem_roots.push(pem.into());
        self
    }

    /// Trusts this certificate, in DER.
    pub fn der_root(mut self, der: impl Into<Vec<u8>>) -> Self {
        self.der_roots.push(der.into());
        self
    }

    /// Shows this certificate chain, proved with this key, to a server that asks for one (mTLS); both PEM.
    pub fn client_certificate(mut self, chain_pem: impl Into<Vec<u8>>, key_pem: impl Into<Vec<u8>>) -> Self {
        self.identity = Some(Identity { chain: chain_pem.into(), key: key_pem.into() });
        self
    }

    /// **Dangerous: for tests only.** Accepts every certificate for every name, so that whoever sits in between can read
    /// and change everything. The roots do not matter then.
    pub fn dangerously_skip_verification(mut self) -> Self {
        self.skip_verification = true;
        self
    }

    /// Builds it for the first backend compiled in (rustls before native-tls).
    ///
    /// Blocks: [`system_roots`](Self::system_roots) reads files (native-tls: always, some 50 ms).
    pub fn build(&self) -> Result<Connector, TlsError> {
        self.build_with(Backend::preferred()?)
    }

    /// Builds it for this backend. Blocks as [`build`](Self::build) does.
    ///
    /// What the backend cannot do is an error here ([`TlsError::Unsupported`]), as is a certificate, key or root that
    /// cannot be read, a key that does not belong to its certificate, and having no roots.
    pub fn build_with(&self, backend: Backend) -> Result<Connector, TlsError> {
        let connector = Connector::with(backend, self)?;
        log::debug!("{backend} connector built: {self:?}");
        Ok(connector)
    }

    /// Builds it for rustls: [`build_with`](Self::build_with)`(Backend::Rustls)`.
    pub fn rustls(&self) -> Result<Connector, TlsError> {
        self.build_with(Backend::Rustls)
    }

    /// Builds it for native-tls: [`build_with`](Self::build_with)`(Backend::NativeTls)`.
    pub fn native_tls(&self) -> Result<Connector, TlsError> {
        self.build_with(Backend::NativeTls)
    }
}

impl fmt::Debug for ClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientBuilder")
            .field("system_roots", &self.system_roots)
            .field("webpki_roots", &self.webpki_roots)
            .field("pem_roots", &self.pem_roots.len())
            .field("der_roots", &self.der_roots.len())
            .field("client_certificate", &self.identity.is_some())
            .field("skip_verification", &self.skip_verification)
            .finish()
    }
}

/// Options of an [`Acceptor`], from [`Acceptor::builder`].
///
/// ```no_run
/// use ws_transport::tls::Acceptor;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let acceptor = Acceptor::builder(std::fs::read("chain.pem")?, std::fs::read("key.pem")?).build()?;
/// // Later, when the certificate was renewed:
/// acceptor.replace(&std::fs::read("chain.pem")?, &std::fs::read("key.pem")?)?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use]
pub struct ServerBuilder {
    pub(super) identity: Identity,
    pub(super) client_roots: Option<Vec<u8>>,
}

impl ServerBuilder {
    pub(super) fn new(chain: Vec<u8>, key: Vec<u8>) -> Self {
        ServerBuilder { identity: Identity { chain, key }, client_roots: None }
    }

    /// Serves only clients that show a certificate signed by one of these roots, PEM (mTLS; rustls only).
    ///
    /// Such a client may then be known by [`MaybeTls::peer_certificates`](super::MaybeTls::peer_certificates). In
    /// TLS 1.3 a refused client learns it from its first read, since its own handshake is over by then (RFC 8446 §4.4.2).
    pub fn require_client_certificates(mut self, roots_pem: impl Into<Vec<u8>>) -> Self {
        self.client_roots = Some(roots_pem.into());
        self
    }

    /// Builds it for the first backend compiled in (rustls before native-tls).
    pub fn build(&self) -> Result<Acceptor, TlsError> {
        self.build_with(Backend::preferred()?)
    }

    /// Builds it for this backend.
    ///
    /// What the backend cannot do is an error here ([`TlsError::Unsupported`]), as is a chain that is empty or cannot be
    /// read, and a key that cannot be read or does not belong to the chain's first certificate. Blocks for some
    /// milliseconds (native-tls: for a handshake of the certificate with itself; the first time some 50 ms).
    pub fn build_with(&self, backend: Backend) -> Result<Acceptor, TlsError> {
        let acceptor = Acceptor::with(backend, self)?;
        log::debug!("{backend} acceptor built: {self:?}");
        Ok(acceptor)
    }

    /// Builds it for rustls: [`build_with`](Self::build_with)`(Backend::Rustls)`.
    pub fn rustls(&self) -> Result<Acceptor, TlsError> {
        self.build_with(Backend::Rustls)
    }

    /// Builds it for native-tls: [`build_with`](Self::build_with)`(Backend::NativeTls)`.
    pub fn native_tls(&self) -> Result<Acceptor, TlsError> {
        self.build_with(Backend::NativeTls)
    }
}

impl fmt::Debug for ServerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerBuilder")
            .field("chain", &format_args!("{} bytes", self.identity.chain.len()))
            .field("require_client_certificates", &self.client_roots.is_some())
            .finish_non_exhaustive()
    }
}
