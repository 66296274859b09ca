//! What can go wrong between an address and a byte stream.

use std::error::Error as StdError;
use std::fmt;
use std::io;

use multiaddr::Multiaddr;

use crate::deadline::TimedOut;
use crate::handshake::{HandshakeError, Refusal};

/// The step in which a dial, a listener or an incoming connection failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Phase {
    /// Understanding the address; nothing was sent.
    Address,
    /// Looking up the DNS name.
    Resolve,
    /// Opening the TCP connection.
    Connect,
    /// Binding or accepting on a listening socket.
    Listen,
    /// The TLS handshake, or finding out that TLS cannot be had.
    Tls,
    /// The HTTP upgrade (RFC 6455 §4).
    Handshake,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Phase::Address => "address",
            Phase::Resolve => "resolve",
            Phase::Connect => "connect",
            Phase::Listen => "listen",
            Phase::Tls => "tls",
            Phase::Handshake => "handshake",
        })
    }
}

/// Why a connection or a listener could not be had: the phase that failed, for which address, and the cause.
///
/// The cause is what [`source`](StdError::source) returns, in its own type: an [`AddrError`](crate::AddrError), an
/// [`io::Error`], a [`ConnectError`](crate::ConnectError), a [`TlsError`](crate::tls::TlsError), a [`HandshakeError`] or a [`TimedOut`].
#[derive(Debug)]
pub struct Error {
    phase: Phase,
    address: Option<Multiaddr>,
    cause: Box<dyn StdError + Send + Sync>,
}

impl Error {
    pub(crate) fn new(phase: Phase, cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Error { phase, address: None, cause: cause.into() }
    }

    pub(crate) fn with_address(mut self, address: Multiaddr) -> Self {
        self.address.get_or_insert(address);
        self
    }

    /// The phase that failed.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// The address dialed or listened on, or the remote address of an incoming connection.
    ///
    /// `None` where the text given was no multiaddr at all.
    pub fn address(&self) -> Option<&Multiaddr> {
        self.address.as_ref()
    }

    /// The HTTP answer, if the server refused the upgrade with one, or if we as a server did.
    pub fn refusal(&self) -> Option<&Refusal> {
        match self.cause.downcast_ref::<HandshakeError>()? {
            HandshakeError::Refused(refusal) | HandshakeError::Rejected { refusal, .. } => Some(refusal),
            _ => None,
        }
    }

    /// Whether the time allowed ran out.
    pub fn is_timeout(&self) -> bool {
        self.causes().any(|cause| cause.is::<TimedOut>()) || self.io_kind() == Some(io::ErrorKind::TimedOut)
    }

    /// The kind of the first IO error among the causes.
    fn io_kind(&self) -> Option<io::ErrorKind> {
        self.causes().find_map(|cause| cause.downcast_ref::<io::Error>()).map(io::Error::kind)
    }

    /// The cause, the cause of the cause, and so on.
    fn causes(&self) -> impl Iterator<Item = &(dyn StdError + 'static)> {
        std::iter::successors(self.source(), |&cause| cause.source())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.address {
            Some(address) => write!(f, "{} failed for {address}: {}", self.phase, self.cause),
            None => write!(f, "{} failed: {}", self.phase, self.cause),
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&*self.cause)
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        let kind = match error.phase {
            _ if error.is_timeout() => io::ErrorKind::TimedOut,
            Phase::Address => io::ErrorKind::InvalidInput,
            _ => error.io_kind().unwrap_or(io::ErrorKind::Other),
        };
        io::Error::new(kind, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_handshake_out_of_time_is_a_timeout() {
        let late = TimedOut { after: Duration::ZERO };
        let reset = io::Error::from(io::ErrorKind::ConnectionReset);
        for (cause, kind) in [
            (HandshakeError::TimedOut(late), io::ErrorKind::TimedOut),
            (HandshakeError::Io(late.into()), io::ErrorKind::TimedOut),
            (HandshakeError::Io(reset), io::ErrorKind::ConnectionReset),
        ] {
            let error = Error::new(Phase::Handshake, cause);
            assert_eq!(error.is_timeout(), kind == io::ErrorKind::TimedOut);
            assert_eq!(io::Error::from(error).kind(), kind);
        }
    }
}
