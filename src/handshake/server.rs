//! The server's side of the opening handshake.

use std::fmt;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_lite::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::HandshakeError;
use super::head::HeadReader;
use super::http::header::{self, HeaderMap};
use super::http::{Request, StatusCode};
use crate::config::{DRAIN_BYTES, DRAIN_TIME, StreamConfig};
use crate::deadline::Deadline;
use crate::proto::Role;
use crate::proto::http::upgrade::{accept_request, encode_refusal, encode_switching_protocols};
use crate::proto::http::{HeadScanner, RequestError, parse_request};
use crate::stream::WsStream;

/// Default for the longest request head, in bytes: 16 KiB, twice what common servers take.
const MAX_REQUEST_HEAD: usize = 16 * 1024;

/// Default time for the whole handshake, against clients that send it drop by drop.
const TIMEOUT: Duration = Duration::from_secs(15);

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
    let mut io = io;
    let early = respond(&mut io, options).await?;
    Ok(WsStream::new(io, Role::Server, early, options.stream))
}

/// As [`server`], but leaves the frames to the caller: gives the bytes received behind the request, which begin them.
///
/// For programs that need messages rather than a byte stream, and read them with [`proto`](crate::proto). Errors are
/// those of [`server`]; after one, or when the future is dropped, `io` is of no more use.
pub async fn respond<IO>(io: &mut IO, options: &ServerOptions) -> Result<Vec<u8>, HandshakeError>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    respond_until(io, options, Deadline::after(options.timeout)).await
}

/// The complete text of a `503 Service Unavailable` answer, for a connection that is refused unread.
pub(crate) fn unavailable() -> &'static [u8] {
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 24\r\n\
      Connection: close\r\n\r\n503 Service Unavailable\n"
}

/// As [`respond`], under a deadline that began earlier (TLS shares it); the options' own timeout is not looked at.
pub(crate) async fn respond_until<IO>(
    io: &mut IO,
    options: &ServerOptions,
    deadline: Deadline,
) -> Result<Vec<u8>, HandshakeError>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let outcome = answer(io, options, deadline).await;
    outcome.inspect_err(|error| log::debug!("websocket upgrade failed: {error}"))
}

async fn answer<IO>(io: &mut IO, options: &ServerOptions, deadline: Deadline) -> Result<Vec<u8>, HandshakeError>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    log::debug!("waiting for the websocket upgrade request");
    let mut reader = HeadReader::new(options.max_head);
    let read = deadline.run(pin!(reader.next(io, &mut HeadScanner::request()))).await??;
    let accepted = read.map_err(RequestError::from).and_then(|()| options.judge(reader.head()));
    match accepted {
        Ok(accept) => {
            deadline.run(pin!(send(io, &encode_switching_protocols(&accept)))).await??;
            log::debug!("websocket upgrade granted to the client");
            Ok(reader.into_early())
        }
        Err(cause) => {
            let (refusal, text) = encode_refusal(&cause, reader.head().starts_with(b"HEAD "));
            // Boxed, or every handshake would carry the room for it along.
            Box::pin(refuse(io, &text, deadline)).await;
            Err(HandshakeError::Rejected { refusal: Box::new(refusal), cause })
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
    let answered = deadline.run(pin!(answered)).await;
    match answered {
        Ok(Ok(())) => {
            let _ = deadline.at_most(DRAIN_TIME).run(pin!(drain(io))).await;
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
            policy(&UpgradeRequest { request: &request.into_request()? }).map_err(|status| {
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

#[cfg(test)]
mod tests {
    use super::super::wire::{Then, Wire};
    use super::super::{FieldError, HeadError};
    use super::*;
    use crate::proto::http::parse_response;
    use futures_lite::future::block_on;
    use proptest::prelude::*;

    const GOOD: &str = "GET /chat?room=1 HTTP/1.1\r\nHost: example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Origin: https://example.com\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Extensions: permessage-deflate\r\nSec-WebSocket-Protocol: chat\r\n\r\n";

    const GRANTED: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

    fn run(wire: &mut Wire, options: &ServerOptions) -> Result<Vec<u8>, HandshakeError> {
        block_on(respond_until(wire, options, Deadline::after(options.timeout)))
    }

    /// The cause of a rejection, after a look at the answer.
    fn rejected(wire: &mut Wire, options: &ServerOptions) -> (u16, RequestError) {
        match run(wire, options) {
            Err(HandshakeError::Rejected { refusal, cause }) => {
                assert_eq!(refusal.status, cause.status());
                assert!(wire.text().starts_with(&format!("HTTP/1.1 {}\r\n", refusal.status)), "{}", wire.text());
                assert_eq!(wire.flushed, wire.output.len());
                (refusal.status.as_u16(), cause)
            }
            other => panic!("not rejected: {other:?}"),
        }
    }

    #[test]
    fn an_upgrade_is_granted_without_extension_and_subprotocol() {
        let mut wire = Wire::new([GOOD], Then::Silence);
        assert_eq!(run(&mut wire, &ServerOptions::new()).expect("granted"), b"");
        assert_eq!(wire.text(), GRANTED);
        assert_eq!(wire.flushed, wire.output.len());
        assert!(!wire.closed);
    }

    #[test]
    fn what_comes_behind_the_request_is_kept() {
        let mut wire = Wire::new([[GOOD, "early"].concat()], Then::Silence);
        assert_eq!(run(&mut wire, &ServerOptions::new()).expect("granted"), b"early");
    }

    #[test]
    fn a_refusal_shuts_the_write_half_and_then_reads_to_the_end() {
        let mut wire = Wire::new(["GET / HTTP/1.1\n", "more", "and more"], Then::Eof);
        assert_eq!(rejected(&mut wire, &ServerOptions::new()).0, 400);
        assert!(wire.closed);
        assert_eq!(wire.received, 27);
    }

    #[test]
    fn no_more_than_the_bound_is_thrown_away_after_a_refusal() {
        let mut wire = Wire::new([[0x16]], Then::Flood);
        let (status, cause) = rejected(&mut wire, &ServerOptions::new());
        assert_eq!(status, 400);
        assert!(matches!(cause, RequestError::Head(HeadError::Byte { byte: 0x16, at: 0 })));
        assert_eq!(wire.received, 1 + DRAIN_BYTES);
    }

    #[test]
    fn a_refusal_stays_one_when_time_or_connection_ends_while_it_is_sent() {
        // Long enough for the request to be read on a slow machine; the rest of it is waited out.
        let options = ServerOptions::new().with_timeout(Duration::from_secs(1));
        let mut wire = Wire::new([GOOD.replace("GET", "PUT")], Then::Silence);
        assert_eq!(rejected(&mut wire, &options).0, 405);
        let mut wire = Wire::new([GOOD.replace("13", "8")], Then::Error(io::ErrorKind::ConnectionReset));
        assert_eq!(rejected(&mut wire, &options).0, 426);
    }

    #[test]
    fn two_thousand_fields_are_too_many() {
        let many = GOOD.replace("\r\n\r\n", &"\r\na: b".repeat(2_000)) + "\r\n\r\n";
        let mut wire = Wire::new([many.as_str()], Then::Eof);
        let (status, cause) = rejected(&mut wire, &ServerOptions::new());
        assert_eq!(status, 431);
        assert!(matches!(cause, RequestError::Head(HeadError::TooManyFields)));
    }

    #[test]
    fn a_head_beyond_the_cap_is_too_large_however_it_drips_in() {
        let long = GOOD.replace("\r\n\r\n", &format!("\r\nA: {}", "a".repeat(64 * 1024)));
        for chunk in [1, 1000, long.len()] {
            let mut wire = Wire::new(long.as_bytes().chunks(chunk), Then::Eof);
            let (status, cause) = rejected(&mut wire, &ServerOptions::new());
            assert_eq!(status, 431);
            assert!(matches!(cause, RequestError::Head(HeadError::TooLarge { limit: MAX_REQUEST_HEAD })));
        }
        let mut wire = Wire::new([GOOD], Then::Eof);
        assert_eq!(rejected(&mut wire, &ServerOptions::new().with_max_head(GOOD.len() - 1)).0, 431);
        let mut wire = Wire::new([GOOD], Then::Eof);
        run(&mut wire, &ServerOptions::new().with_max_head(GOOD.len())).expect("fits");
    }

    #[test]
    fn a_policy_sees_the_request_and_its_status_is_the_answer() {
        let options = ServerOptions::new().with_policy(|request| {
            assert_eq!((request.path(), request.query()), ("/chat", Some("room=1")));
            assert_eq!(request.host(), Some("example.com"));
            assert_eq!(request.origin(), Some("https://example.com"));
            assert_eq!(request.headers().len(), 8);
            Err(StatusCode::FORBIDDEN)
        });
        let mut wire = Wire::new([GOOD], Then::Eof);
        let (status, cause) = rejected(&mut wire, &options);
        assert_eq!(status, 403);
        assert!(matches!(cause, RequestError::Policy(StatusCode::FORBIDDEN)));

        for success in [StatusCode::OK, StatusCode::SWITCHING_PROTOCOLS, StatusCode::FOUND] {
            let options = ServerOptions::new().with_policy(move |_| Err(success));
            assert_eq!(rejected(&mut Wire::new([GOOD], Then::Eof), &options).0, 403);
        }
        let allowing = ServerOptions::new().with_policy(|_| Ok(()));
        run(&mut Wire::new([GOOD], Then::Eof), &allowing).expect("granted");
    }

    #[test]
    fn a_policy_is_not_asked_about_a_request_that_is_refused_anyway() {
        let options = ServerOptions::new().with_path("other").with_policy(|_| panic!("asked"));
        assert_eq!(options.path(), Some("/other"));
        assert_eq!(rejected(&mut Wire::new([GOOD], Then::Eof), &options).0, 404);
    }

    #[test]
    fn the_cause_of_a_rejection_is_its_source() {
        let mut wire = Wire::new([GOOD.replace("Host", "Nost")], Then::Eof);
        let error = run(&mut wire, &ServerOptions::new()).expect_err("rejected");
        assert_eq!(error.to_string(), "request answered with 400 Bad Request: header field host is missing");
        let cause = std::error::Error::source(&error).and_then(|cause| cause.source()).expect("a cause");
        assert_eq!(cause.downcast_ref(), Some(&FieldError::Missing(header::HOST)));
    }

    #[test]
    fn the_answer_to_head_has_no_content() {
        let mut wire = Wire::new(["HEAD / HTTP/1.1\r\nHost: a\r\n\r\n"], Then::Eof);
        assert_eq!(rejected(&mut wire, &ServerOptions::new()).0, 405);
        assert!(wire.text().ends_with("\r\n\r\n"), "{}", wire.text());
    }

    #[test]
    fn a_silent_client_is_given_up_and_extreme_times_do_not_panic() {
        for timeout in [Duration::ZERO, Duration::from_millis(1)] {
            let mut wire = Wire::new([&GOOD[..50]], Then::Silence);
            let error = run(&mut wire, &ServerOptions::new().with_timeout(timeout)).expect_err("silent");
            assert!(matches!(error, HandshakeError::TimedOut(late) if late.after == timeout), "{error}");
            assert_eq!(wire.text(), "");
        }
        let endless = ServerOptions::new().with_timeout(Duration::MAX);
        run(&mut Wire::new([GOOD], Then::Silence), &endless).expect("granted");
    }

    #[test]
    fn a_client_that_leaves_is_an_unexpected_end() {
        for end in [0, 1, GOOD.len() - 1] {
            match run(&mut Wire::new([&GOOD[..end]], Then::Eof), &ServerOptions::new()) {
                Err(HandshakeError::Io(error)) => assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn the_text_for_a_busy_listener_is_a_complete_answer() {
        let text = unavailable();
        let end = text.windows(4).position(|window| window == b"\r\n\r\n").expect("a head") + 4;
        let response = parse_response(&text[..end]).expect("good");
        assert_eq!(response.status, 503);
        let length = (text.len() - end).to_string();
        assert_eq!(response.fields.one(header::CONTENT_LENGTH).expect("one"), length.as_bytes());
    }

    #[test]
    fn options_show_what_they_are() {
        let options = ServerOptions::new().with_path("/x").with_policy(|_| Ok(()));
        let shown = format!("{options:?}");
        assert!(shown.contains("/x") && shown.contains("Fn"), "{shown}");
    }

    proptest! {
        #[test]
        fn any_chunking_of_the_request_gives_the_same(chunk in 1..400_usize, break_it in any::<bool>()) {
            let request = if break_it { GOOD.replace("websocket\r", "h2c\r") } else { GOOD.to_owned() };
            let mut wire = Wire::new(request.as_bytes().chunks(chunk), Then::Eof);
            match run(&mut wire, &ServerOptions::new()) {
                Ok(early) => prop_assert!(early.is_empty() && !break_it && wire.text() == GRANTED),
                Err(error) => prop_assert!(break_it && error.to_string().contains("426"), "{}", error),
            }
        }
    }
}
