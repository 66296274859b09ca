//! The opening handshake (RFC 6455 §4) over any IO.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_lite::{AsyncRead, AsyncWrite};

use crate::config::StreamConfig;
use crate::deadline::{Deadline, TimedOut};
use crate::stream::WsStream;

/// The HTTP types of this module's interface.
pub use async_tungstenite::tungstenite::http;

use http::{HeaderMap, StatusCode, Uri};

/// An HTTP answer that is not `101 Switching Protocols`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Refusal {
    /// The status code.
    pub status: StatusCode,
    /// The header fields of the answer.
    pub headers: HeaderMap,
}

/// Why the opening handshake failed.
#[derive(Debug)]
#[non_exhaustive]
pub enum HandshakeError {
    /// The connection failed or ended within the handshake.
    Io(io::Error),
    /// As client: the server answered, and it was not 101.
    Refused(Refusal),
    /// As server: the request was answered with this, and why.
    Rejected {
        /// What we answered.
        refusal: Refusal,
        /// Why, for the log.
        reason: String,
    },
    /// The time allowed ran out.
    TimedOut(TimedOut),
}
impl fmt::Display for HandshakeError {
    fn fmt(&self, _f: &mut fmt::Formatter<'_>) -> fmt::Result {
        todo!()
    }
}
impl std::error::Error for HandshakeError {}

/// What a client asks for: host, request target and further header fields.
#[derive(Clone, Debug)]
pub struct ClientRequest {}
/// Why a request or header field cannot be sent.
#[derive(Debug)]
pub struct InvalidRequest {}
impl fmt::Display for InvalidRequest {
    fn fmt(&self, _f: &mut fmt::Formatter<'_>) -> fmt::Result {
        todo!()
    }
}
impl std::error::Error for InvalidRequest {}

impl ClientRequest {
    /// A request for `target` (origin form, `/path?query`) of `host` (the value of the `Host` field).
    pub fn new(_host: &str, _target: &str) -> Result<Self, InvalidRequest> {
        todo!()
    }
    /// Adds a header field. Those of the handshake itself, and anything that would split the request, are refused.
    pub fn header(self, _name: &str, _value: &str) -> Result<Self, InvalidRequest> {
        todo!()
    }
}

/// The head of an upgrade request, as a policy sees it.
#[derive(Debug)]
pub struct UpgradeRequest<'a> {
    #[allow(missing_docs)]
    pub uri: &'a Uri,
    #[allow(missing_docs)]
    pub headers: &'a HeaderMap,
}

/// Decides about an upgrade request: `Err` answers with that status (403, 404, ...).
pub type Policy = Arc<dyn Fn(&UpgradeRequest<'_>) -> Result<(), StatusCode> + Send + Sync>;

/// How a server answers upgrade requests.
#[derive(Clone)]
pub struct ServerOptions {}
impl ServerOptions {
    /// The defaults: every path, no policy, heads of at most 16 KiB, 15 s.
    pub fn new() -> Self {
        todo!()
    }
    /// Accept this request target only, and answer 404 to others; `None` accepts all.
    pub fn path(self, _path: Option<String>) -> Self {
        todo!()
    }
    /// Ask `policy` about every valid upgrade request.
    pub fn policy(self, _policy: Policy) -> Self {
        todo!()
    }
    /// Longest request head, in bytes; a longer one is answered with 431.
    pub fn max_head(self, _bytes: usize) -> Self {
        todo!()
    }
    /// Time for the whole handshake.
    pub fn timeout(self, _timeout: Duration) -> Self {
        todo!()
    }
    /// Buffers and limits of the stream.
    pub fn stream(self, _config: StreamConfig) -> Self {
        todo!()
    }
}

/// Asks the server at the other end of `io` for the upgrade.
pub async fn client<IO>(
    _io: IO,
    _request: &ClientRequest,
    _config: StreamConfig,
) -> Result<WsStream<IO>, HandshakeError>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    todo!()
}

/// Answers the upgrade request at the other end of `io`.
pub async fn server<IO>(_io: IO, _options: &ServerOptions) -> Result<WsStream<IO>, HandshakeError>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    todo!()
}

/// As [`server`], under a deadline that began earlier (TLS shares it); the options' own timeout is not looked at.
pub(crate) async fn server_until<IO>(
    _io: IO,
    _options: &ServerOptions,
    _deadline: Deadline,
) -> Result<WsStream<IO>, HandshakeError>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    todo!()
}

/// The complete text of a `503 Service Unavailable` answer, for a connection that is refused unread.
pub(crate) fn unavailable() -> &'static [u8] {
    todo!()
}
