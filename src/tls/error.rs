//! Why TLS failed or could not be set up.

use std::error::Error as StdError;
use std::fmt;
use std::io;

use super::Backend;

type Cause = Box<dyn StdError + Send + Sync>;

/// Why TLS failed or could not be set up.
#[derive(Debug)]
#[non_exhaustive]
pub enum TlsError {
    /// No TLS backend was compiled in.
    Unavailable,
    /// This backend was asked for by name, and only the other one is compiled in.
    NotCompiledIn(Backend),
    /// The backend cannot do this.
    Unsupported {
        /// The backend.
        backend: Backend,
        /// What was asked of it.
        what: &'static str,
    },
    /// The server's name is neither a DNS name nor an IP address.
    InvalidName(String),
    /// A certificate or key given by the caller cannot be read.
    Unreadable {
        /// Which one.
        what: &'static str,
        /// Why; the backend's own error.
        cause: Cause,
    },
    /// There is no certificate where one has to be.
    NoCertificate {
        /// Where.
        what: &'static str,
    },
    /// There is no private key in the PEM text given as one.
    NoKey,
    /// The private key does not belong to the certificate.
    ///
    /// The cause is rustls' verdict, or how a handshake of the pair with itself failed (native-tls).
    KeyMismatch(Cause),
    /// There are no roots to verify a server with: none were asked for, or the system has none.
    NoRoots,
    /// The backend refused the configuration.
    Setup(Cause),
    /// The handshake failed: the connection, the peer, or what it showed of itself.
    ///
    /// The backend's error (`rustls::Error`, `native_tls::Error`) is inside, see [`io::Error::get_ref`]; the kind is the
    /// connection's own if that failed, `InvalidData` otherwise.
    Handshake(io::Error),
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TlsError::Unavailable => f.write_str("no TLS backend: enable feature `rustls` or `native-tls`"),
            TlsError::NotCompiledIn(backend) => {
                write!(f, "TLS backend {backend} is not compiled in: enable feature `{backend}`")
            }
            TlsError::Unsupported { backend, what } => write!(f, "{backend} does not support {what}"),
            TlsError::InvalidName(name) => write!(f, "{name:?} is neither a DNS name nor an IP address"),
            TlsError::Unreadable { what, cause } => write!(f, "cannot read the {what}: {cause}"),
            TlsError::NoCertificate { what } => write!(f, "no certificate in the {what}"),
            TlsError::NoKey => f.write_str("no private key in the PEM text"),
            TlsError::KeyMismatch(cause) => write!(f, "the private key does not fit the certificate: {cause}"),
            TlsError::NoRoots => f.write_str("no root certificates to verify a server with"),
            TlsError::Setup(cause) => write!(f, "the TLS configuration was refused: {cause}"),
            TlsError::Handshake(error) => write!(f, "the TLS handshake failed: {error}"),
        }
    }
}

impl StdError for TlsError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            TlsError::Unreadable { cause, .. } | TlsError::KeyMismatch(cause) | TlsError::Setup(cause) => {
                Some(&**cause)
            }
            // `io::Error::source` would skip the error that it wraps.
            TlsError::Handshake(error) => Some(match error.get_ref() {
                Some(inner) => inner,
                None => error,
            }),
            _ => None,
        }
    }
}

impl From<TlsError> for io::Error {
    fn from(error: TlsError) -> Self {
        let kind = match &error {
            TlsError::Handshake(error) => error.kind(),
            TlsError::Unavailable | TlsError::NotCompiledIn(_) | TlsError::Unsupported { .. } => {
                io::ErrorKind::Unsupported
            }
            _ => io::ErrorKind::InvalidInput,
        };
        io::Error::new(kind, error)
    }
}
