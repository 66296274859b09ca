//! The client's side of the opening handshake.

use std::fmt;
use std::time::Duration;

use async_tungstenite::tungstenite::handshake::client::generate_key;
use futures_lite::{AsyncRead, AsyncWrite, AsyncWriteExt};

use super::HandshakeError;
use super::head::HeadReader;
use super::http::StatusCode;
use super::http::header::{HeaderName, HeaderValue, InvalidHeaderName, InvalidHeaderValue};
use crate::config::StreamConfig;
use crate::deadline::Deadline;
use crate::proto::Role;
use crate::proto::http::upgrade::{Refusal, check_response, encode_request, is_reserved};
use crate::proto::http::{HeadScanner, is_authority, is_origin_form, parse_response};
use crate::stream::WsStream;

/// Longest response head, in bytes, interim responses included: 16 KiB, against a server that never ends it.
const MAX_RESPONSE_HEAD: usize = 16 * 1024;

/// Asks the server at the other end of `io` for the upgrade.
///
/// The request is sent with a fresh key and nothing after it until the response is complete; what the server sends
/// right behind its 101 is kept for the reader. The time is that of [`ClientRequest::with_timeout`], by default
/// without end.
///
/// # Errors
///
/// Any final answer but 101 is [`Refused`](HandshakeError::Refused), redirects included: they are not followed.
/// Interim responses (100, 103) are skipped. A 101 that RFC 6455 §4.1 does not let a client accept, bytes that are no
/// HTTP, and more than 16 KiB of head are [`InvalidResponse`](HandshakeError::InvalidResponse). In every case, and when
/// the future is dropped, `io` is dropped as it is.
pub async fn client<IO>(io: IO, request: &ClientRequest, config: StreamConfig) -> Result<WsStream<IO>, HandshakeError>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let mut io = io;
    let early = negotiate(&mut io, request).await?;
    Ok(WsStream::new(io, Role::Client, early, config))
}

/// The handshake; gives the bytes that came after it.
async fn negotiate<IO>(io: &mut IO, request: &ClientRequest) -> Result<Vec<u8>, HandshakeError>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let outcome = Deadline::after(request.timeout).run(exchange(io, request)).await;
    let outcome = outcome.unwrap_or_else(|late| Err(late.into()));
    match &outcome {
        Ok(_) => log::debug!("websocket upgrade granted by the server"),
        Err(error) => log::debug!("websocket upgrade failed: {error}"),
    }
    outcome
}

async fn exchange<IO>(io: &mut IO, request: &ClientRequest) -> Result<Vec<u8>, HandshakeError>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    log::debug!("asking for the websocket upgrade");
    let key = generate_key();
    io.write_all(&request.encode(&key)).await?;
    io.flush().await?;

    let mut reader = HeadReader::new(MAX_RESPONSE_HEAD);
    loop {
        let read = reader.next(io, &mut HeadScanner::response()).await?;
        let response = read.map_err(Into::into).and_then(|()| parse_response(reader.head()));
        let response = response.map_err(HandshakeError::InvalidResponse)?;
        match response.status() {
            StatusCode::SWITCHING_PROTOCOLS => {
                check_response(&response, &key).map_err(HandshakeError::InvalidResponse)?;
                return Ok(reader.into_early());
            }
            // A client MUST be able to parse interim responses, even unexpected ones (RFC 9110 §15.2).
            status if status.is_informational() => {}
            status => {
                let headers = response.into_parts().0.headers;
                return Err(HandshakeError::Refused(Refusal { status, headers }));
            }
        }
    }
}

/// What a client asks for: host, request target and further header fields.
///
/// ```
/// use ws_transport::handshake::ClientRequest;
///
/// let request = ClientRequest::new("example.com:8080", "/chat?room=1")?.with_header("Origin", "https://example.com")?;
/// assert!(request.with_header("X-Split", "a\r\nHost: evil").is_err());
/// # Ok::<_, ws_transport::handshake::InvalidRequest>(())
/// ```
#[derive(Clone)]
pub struct ClientRequest {
    host: String,
    target: String,
    /// The names keep the case they were given in: some servers look at it, against the standard.
    fields: Vec<(String, HeaderValue)>,
    timeout: Duration,
}

impl ClientRequest {
    /// A request for `target` (origin form, `/path?query`) of `host` (the value of the `Host` field).
    ///
    /// Both are sent as they are: the default port is for the caller to leave out, what is not ASCII to encode.
    pub fn new(host: &str, target: &str) -> Result<Self, InvalidRequest> {
        if !is_authority(host.as_bytes()) {
            return Err(InvalidRequest::Host);
        }
        if !is_origin_form(target) {
            return Err(InvalidRequest::Target);
        }
        Ok(ClientRequest { host: host.into(), target: target.into(), fields: Vec::new(), timeout: Duration::MAX })
    }

    /// Adds a header field, after those of the same name.
    ///
    /// Refused are the fields of the handshake itself (`Host`, `Upgrade`, `Connection`, `Sec-WebSocket-*`), those that
    /// announce content (`Content-Length`, `Transfer-Encoding`), and anything that would split the request.
    pub fn with_header(mut self, name: &str, value: &str) -> Result<Self, InvalidRequest> {
        let parsed = HeaderName::from_bytes(name.as_bytes()).map_err(InvalidRequest::HeaderName)?;
        if is_reserved(&parsed) {
            return Err(InvalidRequest::Reserved(parsed));
        }
        let value = HeaderValue::from_bytes(value.as_bytes()).map_err(InvalidRequest::HeaderValue)?;
        self.fields.push((name.into(), value));
        Ok(self)
    }

    /// Longest time for the whole handshake; without end by default, for callers that have a deadline of their own.
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    fn encode(&self, key: &str) -> Vec<u8> {
        encode_request(&self.host, &self.target, key, &self.fields)
    }
}

/// Names the fields and leaves out their values, which may be credentials.
impl fmt::Debug for ClientRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.fields.iter().map(|(name, _)| name).collect();
        f.debug_struct("ClientRequest")
            .field("host", &self.host)
            .field("target", &self.target)
            .field("fields", &names)
            .field("timeout", &self.timeout)
            .finish()
    }
}

/// Why a request or header field cannot be sent.
#[derive(Debug)]
#[non_exhaustive]
pub enum InvalidRequest {
    /// The host is empty, or has characters that no host and port have.
    Host,
    /// The target does not begin with `/`, or holds a space, a control character, a `#` or what is not ASCII.
    Target,
    /// The name of a header field is not a token.
    HeaderName(InvalidHeaderName),
    /// The value of a header field holds a control character.
    HeaderValue(InvalidHeaderValue),
    /// The header field belongs to the handshake or announces content.
    Reserved(HeaderName),
}

impl fmt::Display for InvalidRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            InvalidRequest::Host => f.write_str("host is invalid"),
            InvalidRequest::Target => f.write_str("request target is invalid"),
            InvalidRequest::HeaderName(_) => f.write_str("header field name is invalid"),
            InvalidRequest::HeaderValue(_) => f.write_str("header field value is invalid"),
            InvalidRequest::Reserved(name) => write!(f, "header field {name} cannot be set"),
        }
    }
}

impl std::error::Error for InvalidRequest {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            InvalidRequest::HeaderName(error) => Some(error),
            InvalidRequest::HeaderValue(error) => Some(error),
            _ => None,
        }
    }
}
