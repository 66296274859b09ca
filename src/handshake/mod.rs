//! The opening handshake (RFC 6455 §4) over any IO.
//!
//! [`client`] asks for the upgrade and [`server`] grants it; both yield a [`WsStream`](crate::WsStream). Neither opens
//! a connection, runs TLS or spawns anything: they take whatever carries bytes. [`request`] and [`respond`] are the same
//! for programs that read the frames themselves.
//!
//! ```
//! use futures_lite::future;
//! use smol::net::{TcpListener, TcpStream};
//! use ws_transport::StreamConfig;
//! use ws_transport::handshake::{self, ClientRequest, ServerOptions};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! smol::block_on(async {
//!     let listener = TcpListener::bind("127.0.0.1:0").await?;
//!     let address = listener.local_addr()?;
//!
//!     let options = ServerOptions::new().with_path("/chat");
//!     let serve = async {
//!         let (io, _) = listener.accept().await?;
//!         Ok::<_, Box<dyn std::error::Error>>(handshake::server(io, &options).await?)
//!     };
//!     let request = ClientRequest::new(&address.to_string(), "/chat")?.with_header("Origin", "https://example.com")?;
//!     let dial = async {
//!         let io = TcpStream::connect(address).await?;
//!         Ok(handshake::client(io, &request, StreamConfig::new()).await?)
//!     };
//!     let (_server, _client) = future::try_zip(serve, dial).await?;
//!     Ok(())
//! })
//! # }
//! ```

mod client;
mod head;
mod server;
#[cfg(test)]
mod wire;

pub(crate) use client::ask;
pub use client::{ClientRequest, InvalidRequest, client, request};
pub use server::{Policy, ServerOptions, UpgradeRequest, respond, server};
pub(crate) use server::{respond_until, unavailable};

use std::fmt;
use std::io;

use crate::deadline::TimedOut;

pub use crate::proto::http::upgrade::Refusal;
pub use crate::proto::http::{FieldError, HeadError, RequestError, ResponseError};
/// The HTTP types of this module's interface.
pub use async_tungstenite::tungstenite::http;

/// Why the opening handshake failed.
///
/// [`source`](std::error::Error::source) gives what the variant holds, where that is an error.
#[derive(Debug)]
#[non_exhaustive]
pub enum HandshakeError {
    /// The connection failed, or ended within the handshake (`UnexpectedEof`).
    Io(io::Error),
    /// As client: the server answered, and it was not 101.
    Refused(Box<Refusal>),
    /// As client: what the server answered is no HTTP, or a 101 that RFC 6455 §4.1 forbids to accept.
    InvalidResponse(ResponseError),
    /// As server: the request was refused.
    ///
    /// The answer was sent as far as the peer and the time allowed it.
    Rejected {
        /// What we answered.
        refusal: Box<Refusal>,
        /// Why.
        cause: RequestError,
    },
    /// The time allowed ran out.
    TimedOut(TimedOut),
}

impl fmt::Display for HandshakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HandshakeError::Io(error) => error.fmt(f),
            HandshakeError::Refused(refusal) => write!(f, "server answered {}", refusal.status),
            HandshakeError::InvalidResponse(error) => write!(f, "invalid response: {error}"),
            HandshakeError::Rejected { refusal, cause } => {
                write!(f, "request answered with {}: {cause}", refusal.status)
            }
            HandshakeError::TimedOut(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for HandshakeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            HandshakeError::Io(error) => Some(error),
            HandshakeError::Refused(_) => None,
            HandshakeError::InvalidResponse(error) => Some(error),
            HandshakeError::Rejected { cause, .. } => Some(cause),
            HandshakeError::TimedOut(error) => Some(error),
        }
    }
}

impl From<io::Error> for HandshakeError {
    fn from(error: io::Error) -> Self {
        HandshakeError::Io(error)
    }
}

impl From<TimedOut> for HandshakeError {
    fn from(error: TimedOut) -> Self {
        HandshakeError::TimedOut(error)
    }
}

/// With the kind that fits: `ConnectionRefused` for a refusal, `InvalidData` for what breaks the protocol.
impl From<HandshakeError> for io::Error {
    fn from(error: HandshakeError) -> Self {
        let kind = match error {
            HandshakeError::Io(error) => return error,
            HandshakeError::Refused(_) => io::ErrorKind::ConnectionRefused,
            HandshakeError::InvalidResponse(_) | HandshakeError::Rejected { .. } => io::ErrorKind::InvalidData,
            HandshakeError::TimedOut(_) => io::ErrorKind::TimedOut,
        };
        io::Error::new(kind, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn as_io_errors_failures_keep_their_kind_and_themselves() {
        let late = HandshakeError::TimedOut(TimedOut { after: Duration::ZERO });
        let reset = HandshakeError::Io(io::ErrorKind::ConnectionReset.into());
        let invalid = HandshakeError::InvalidResponse(ResponseError::HttpVersion);
        for (error, kind, ours) in [
            (late, io::ErrorKind::TimedOut, true),
            (reset, io::ErrorKind::ConnectionReset, false),
            (invalid, io::ErrorKind::InvalidData, true),
        ] {
            let error = io::Error::from(error);
            assert_eq!(error.kind(), kind);
            assert_eq!(error.get_ref().is_some_and(|inner| inner.is::<HandshakeError>()), ours);
        }
    }
}
