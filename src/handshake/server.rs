//! The server's side of the opening handshake.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_lite::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::HandshakeError;
use super::head::HeadReader;
use super::http::header::{self, HeaderMap};
use super::http::{Request, StatusCode};
use crate::config::StreamConfig;
use crate::deadline::Deadline;
use crate::proto::Role;
use crate::proto::http::upgrade::{accept_request, encode_refusal, encode_switching_protocols};
use crate::proto::http::{HeadScanner, RequestError, parse_request};
use crate::stream::WsStream;

/// Default for the longest request head, in bytes: 16 KiB, twice what common servers take.
const MAX_REQUEST_HEAD: usize = 16 * 1024;

/// Default time for the whole handshake, against clients that send it drop by drop.
const TIMEOUT: Duration = Duration::from_secs(15);

/// Most bytes thrown away after a refusal.
const DRAIN_BYTES: usize = 256 * 1024;

/// Longest time spent on throwing them away.
const DRAIN_TIME: Duration = Duration::from_secs(1);

/// Answers the upgrade request at the other end of `io`.
///
/// What the client sends right behind its request, which it should not, is kept for the reader.
///
/// # Errors
///
/// A request that is not accepted is answered with its HTTP status and is
/// [`Rejected`](HandshakeError::Rejected). So that the answer arrives, the write half is then shut and at most
/// 256 KiB are read and thrown away, for at most 1 s, before `io` is dropped (RFC 9112 §9.6). A client that leaves
/// before its request is complete is an `UnexpectedEof`; one that takes too long for it is
/// [`TimedOut`](HandshakeError::TimedOut), without an answer. Dropping the future drops `io` as it is.
pub async fn server<IO>(io: IO, options: &ServerOptions) -> Result<WsStream<IO>, HandshakeError>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    server_until(io, options, Deadline::after(options.timeout)).await
}

/// As [`server`], under a deadline that began earlier (TLS shares it); the options' own timeout is not looked at.
pub(crate) async fn server_until<IO>(
    io: IO,
    options: &ServerOptions,
    deadline: Deadline,
) -> Result<WsStream<IO>, HandshakeError>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let mut io = io;
    let early = negotiate(&mut io, options, deadline).await.inspect_err(|error| {
        log::debug!("websocket upgrade failed: {error}");
    })?;
    Ok(WsStream::new(io, Role::Server, early, options.stream))
}

/// The complete text of a `503 Service Unavailable` answer, for a connection that is refused unread.
pub(crate) fn unavailable() -> &'static [u8] {
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 24\r\n\
      Connection: close\r\n\r\n503 Service Unavailable\n"
}

/// The handshake; gives the bytes that came after the request.
async fn negotiate<IO>(io: &mut IO, options: &ServerOptions, deadline: Deadline) -> Result<Vec<u8>, HandshakeError>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    log::debug!("waiting for the websocket upgrade request");
    let mut reader = HeadReader::new(options.max_head);
    let read = deadline.run(reader.next(io, &mut HeadScanner::request())).await??;
    let accepted = read.map_err(RequestError::from).and_then(|()| options.judge(reader.head()));
    match accepted {
        Ok(accept) => {
            deadline.run(send(io, &encode_switching_protocols(&accept))).await??;
            log::debug!("websocket upgrade granted to the client");
            Ok(reader.into_early())
        }
        Err(cause) => {
            let (refusal, answer) = encode_refusal(&cause, reader.head().starts_with(b"HEAD "));
            refuse(io, &answer, deadline).await;
            Err(HandshakeError::Rejected { refusal, cause })
        }
    }
}

/// Sends a refusal so that it arrives.
///
/// Closing a TCP connection with unread input resets it, and the reset takes the answer away from the client
/// (RFC 9112 §9.6). What goes wrong here does not matter any more: the handshake has failed already.
async fn refuse<IO>(io: &mut IO, answer: &[u8], deadline: Deadline)
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let answered = async {
        send(io, answer).await?;
        io.close().await
    };
    match deadline.run(answered).await {
        Ok(Ok(())) => {
            let _ = deadline.at_most(DRAIN_TIME).run(drain(io)).await;
        }
        Ok(Err(error)) => log::debug!("refusal could not be sent: {error}"),
        Err(late) => log::debug!("refusal could not be sent: {late}"),
    }
}

async fn send<IO: AsyncWrite + Unpin>(io: &mut IO, bytes: &[u8]) -> io::Result<()> {
    io.write_all(bytes).await?;
    io.flush().await
}

async fn drain<IO: AsyncRead + Unpin>(io: &mut IO) -> io::Result<()> {
    let mut discarded = vec![0; 8 * 1024];
    let mut left = DRAIN_BYTES;
    while left > 0 {
        match io.read(&mut discarded).await? {
            0 => break,
            n => left = left.saturating_sub(n),
        }
    }
    Ok(())
}

/// The head of an upgrade request, as a policy sees it: complete and valid.
#[derive(Debug)]
pub struct UpgradeRequest<'a> {
    request: &'a Request<()>,
}

impl<'a> UpgradeRequest<'a> {
    /// The path of the request target, as it was sent: percent-encoded.
    pub fn path(&self) -> &'a str {
        self.request.uri().path()
    }

    /// The query of the request target, without its question mark.
    pub fn query(&self) -> Option<&'a str> {
        self.request.uri().query()
    }

    /// The host and port that the client means: those of an absolute request target, else of the `Host` field.
    ///
    /// A page whose DNS name was rebound to our address names a host that is not ours.
    pub fn host(&self) -> Option<&'a str> {
        let authority = self.request.uri().authority().map(|authority| authority.as_str());
        authority.or_else(|| self.text(header::HOST))
    }

    /// The origin of the page that asks (RFC 6454 §7); browsers send it always, other clients seldom.
    pub fn origin(&self) -> Option<&'a str> {
        self.text(header::ORIGIN)
    }

    /// All header fields.
    pub fn headers(&self) -> &'a HeaderMap {
        self.request.headers()
    }

    fn text(&self, name: header::HeaderName) -> Option<&'a str> {
        self.request.headers().get(name)?.to_str().ok()
    }
}

/// Decides about an upgrade request: `Err` answers with that status (403, 404, ...).
pub type Policy = Arc<dyn Fn(&UpgradeRequest<'_>) -> Result<(), StatusCode> + Send + Sync>;

/// How a server answers upgrade requests.
///
/// ```
/// use ws_transport::handshake::ServerOptions;
/// use ws_transport::handshake::http::StatusCode;
///
/// let options = ServerOptions::new().with_path("/chat").with_policy(|request| match request.origin() {
///     None | Some("https://example.com") => Ok(()),
///     Some(_) => Err(StatusCode::FORBIDDEN),
/// });
/// # let _ = options;
/// ```
#[derive(Clone)]
pub struct ServerOptions {
    path: Option<String>,
    policy: Option<Policy>,
    max_head: usize,
    timeout: Duration,
    stream: StreamConfig,
}

impl ServerOptions {
    /// The defaults: every path, no policy, heads of at most 16 KiB, 15 s.
    pub const fn new() -> Self {
        ServerOptions {
            path: None,
            policy: None,
            max_head: MAX_REQUEST_HEAD,
            timeout: TIMEOUT,
            stream: StreamConfig::new(),
        }
    }

    /// Serves this path only, and answers 404 to others.
    ///
    /// Paths are compared without regard to how they are percent-encoded, `%2F` and the like apart (RFC 3986 §6.2.2);
    /// a query counts only if `path` has one.
    pub fn with_path(mut self, path: impl Into<String>) -> Self {
        let path = path.into();
        self.path = Some(if path.starts_with('/') { path } else { format!("/{path}") });
        self
    }

    /// Asks `policy` about every request that is otherwise accepted.
    ///
    /// It is called on the task that drives the handshake and must not block. A status that is no error (4xx, 5xx) is
    /// replaced by 403.
    pub fn with_policy<P>(mut self, policy: P) -> Self
    where
        P: Fn(&UpgradeRequest<'_>) -> Result<(), StatusCode> + Send + Sync + 'static,
    {
        self.policy = Some(Arc::new(policy));
        self
    }

    /// Longest request head, in bytes; a longer one is answered with 431, as is one of more than 124 fields.
    ///
    /// No more than this is read before the answer is sent.
    pub const fn with_max_head(mut self, bytes: usize) -> Self {
        self.max_head = bytes;
        self
    }

    /// Longest time for the whole handshake, however the bytes drip in.
    pub const fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Buffers and limits of the stream.
    pub const fn with_stream(mut self, config: StreamConfig) -> Self {
        self.stream = config;
        self
    }

    /// The path that is served, if not every one.
    pub fn path(&self) -> Option<&str> {
        self.path.as_deref()
    }

    /// Longest request head, in bytes.
    pub const fn max_head(&self) -> usize {
        self.max_head
    }

    /// Longest time for the whole handshake.
    pub const fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Buffers and limits of the stream.
    pub const fn stream(&self) -> StreamConfig {
        self.stream
    }

    /// Accepts or refuses a complete head.
    fn judge(&self, head: &[u8]) -> Result<String, RequestError> {
        let request = parse_request(head)?;
        let accept = accept_request(&request, self.path())?;
        if let Some(policy) = &self.policy {
            policy(&UpgradeRequest { request: &request }).map_err(|status| {
                let is_error = status.is_client_error() || status.is_server_error();
                RequestError::Policy(if is_error { status } else { StatusCode::FORBIDDEN })
            })?;
        }
        Ok(accept)
    }
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for ServerOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerOptions")
            .field("path", &self.path)
            .field("policy", &self.policy.as_ref().map(|_| "Fn"))
            .field("max_head", &self.max_head)
            .field("timeout", &self.timeout)
            .field("stream", &self.stream)
            .finish()
    }
}
