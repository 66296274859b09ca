//! The client's side of the opening handshake.

use std::fmt;
use std::pin::pin;
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

/// As [`client`], but leaves the frames to the caller: gives the bytes received behind the response, which begin them.
///
/// For programs that need messages rather than a byte stream, and read them with [`proto`](crate::proto). Errors are
/// those of [`client`]; after one, or when the future is dropped, `io` is of no more use.
pub async fn request<IO>(io: &mut IO, request: &ClientRequest) -> Result<Vec<u8>, HandshakeError>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    negotiate(io, request).await
}

/// The handshake; gives the bytes that came after it.
async fn negotiate<IO>(io: &mut IO, request: &ClientRequest) -> Result<Vec<u8>, HandshakeError>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let outcome = Deadline::after(request.timeout).run(pin!(ask(io, request))).await;
    let outcome = outcome.unwrap_or_else(|late| Err(late.into()));
    outcome.inspect_err(|error| log::debug!("websocket upgrade failed: {error}"))
}

/// As [`request`], for callers with a deadline of their own: the request's timeout is not looked at.
pub(crate) async fn ask<IO>(io: &mut IO, request: &ClientRequest) -> Result<Vec<u8>, HandshakeError>
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
        match response.status {
            StatusCode::SWITCHING_PROTOCOLS => {
                check_response(&response, &key).map_err(HandshakeError::InvalidResponse)?;
                log::debug!("websocket upgrade granted by the server");
                return Ok(reader.into_early());
            }
            // A client MUST be able to parse interim responses, even unexpected ones (RFC 9110 §15.2).
            status if status.is_informational() => {}
            status => {
                let headers =
                    response.fields.to_map().map_err(|error| HandshakeError::InvalidResponse(error.into()))?;
                return Err(HandshakeError::Refused(Box::new(Refusal { status, headers })));
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

#[cfg(test)]
mod tests {
    use super::super::http::header;
    use super::super::wire::{Then, Wire};
    use super::super::{HeadError, ResponseError};
    use super::*;
    use crate::proto::http::parse_request;
    use crate::proto::http::upgrade::{accept_request, encode_switching_protocols};
    use futures_lite::future::block_on;
    use proptest::prelude::*;
    use std::io;

    fn request() -> ClientRequest {
        ClientRequest::new("example.com", "/chat").expect("good")
    }

    /// A 101 that answers `request`.
    fn granted(request: &str) -> Vec<u8> {
        let request = parse_request(request.as_bytes()).expect("good");
        encode_switching_protocols(&accept_request(&request, Some("/chat")).expect("accepted"))
    }

    fn refused_by(response: &'static [u8], then: Then) -> HandshakeError {
        let mut wire = Wire::responding(|_| vec![response.to_vec()], then);
        block_on(negotiate(&mut wire, &request())).expect_err("refused")
    }

    #[test]
    fn what_comes_in_the_segment_of_the_101_is_kept() {
        let mut wire = Wire::responding(|request| vec![[granted(request), b"early".to_vec()].concat()], Then::Silence);
        assert_eq!(block_on(negotiate(&mut wire, &request())).expect("granted"), b"early");
        assert!(!wire.closed);
    }

    #[test]
    fn every_request_has_a_fresh_key() {
        let key = || {
            let mut wire = Wire::new([b"HTTP/1.1 404 x\r\n\r\n"], Then::Silence);
            block_on(negotiate(&mut wire, &request())).expect_err("refused");
            let request = parse_request(&wire.output).expect("good");
            request.fields.one(header::SEC_WEBSOCKET_KEY).expect("one").to_owned()
        };
        let (first, second) = (key(), key());
        assert_eq!(first.len(), 24);
        assert_ne!(first, second);
    }

    #[test]
    fn interim_responses_are_skipped_within_the_cap() {
        let interim = "HTTP/1.1 103 Early Hints\r\nLink: </>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n";
        let respond = move |request: &str| vec![interim.into(), granted(request), b"early".to_vec()];
        let mut wire = Wire::responding(respond, Then::Silence);
        assert_eq!(block_on(negotiate(&mut wire, &request())).expect("granted"), b"");

        let endless = interim.repeat(1000);
        let mut wire = Wire::responding(move |_| vec![endless.into()], Then::Silence);
        let error = block_on(negotiate(&mut wire, &request())).expect_err("endless");
        assert!(matches!(error, HandshakeError::InvalidResponse(ResponseError::Head(HeadError::TooLarge { .. }))));
        assert_eq!(wire.received, MAX_RESPONSE_HEAD);
    }

    #[test]
    fn an_answer_that_is_not_101_is_refused_with_status_and_fields() {
        for (response, status) in [
            (&b"HTTP/1.1 403 Forbidden\r\nRetry-After: 7\r\nContent-Length: 2\r\n\r\nno"[..], 403),
            (b"HTTP/1.0 404 Not Found\r\nRetry-After: 7\r\n\r\n", 404),
            (b"HTTP/1.1 200 OK\r\nRetry-After: 7\r\n\r\n", 200),
            (b"HTTP/1.1 302\r\nRetry-After: 7\r\n\r\n", 302),
        ] {
            let HandshakeError::Refused(refusal) = refused_by(response, Then::Silence) else { panic!("{status}") };
            assert_eq!(refusal.status, status);
            assert_eq!(refusal.headers["retry-after"], "7");
        }
    }

    #[test]
    fn what_is_no_answer_is_an_invalid_response() {
        for response in [
            &b"\x15\x03\x03\x00\x02\x02\x46"[..],
            b"SSH-2.0-OpenSSH\r\n",
            b"HTTP/1.1 101 Switching Protocols\n",
            b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\
              Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
        ] {
            let error = refused_by(response, Then::Silence);
            assert!(matches!(error, HandshakeError::InvalidResponse(_)), "{response:?}: {error}");
            assert!(std::error::Error::source(&error).is_some());
            assert_eq!(io::Error::from(error).kind(), io::ErrorKind::InvalidData);
        }
    }

    #[test]
    fn a_head_beyond_the_cap_ends_at_it() {
        let mut wire = Wire::new(b"HTTP/1.1 101 x\r\nA: ".chunks(1).chain([&[b'a'; 1 << 20][..]]), Then::Silence);
        let error = block_on(negotiate(&mut wire, &request())).expect_err("too large");
        assert!(matches!(error, HandshakeError::InvalidResponse(ResponseError::Head(HeadError::TooLarge { .. }))));
        assert_eq!(wire.received, MAX_RESPONSE_HEAD);
    }

    #[test]
    fn the_end_of_the_connection_is_unexpected() {
        for response in [&b""[..], b"HTTP/1.1 101 Swi"] {
            let HandshakeError::Io(error) = refused_by(response, Then::Eof) else { panic!("an IO error") };
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        }
    }

    #[test]
    fn a_silent_server_is_given_up_and_extreme_times_do_not_panic() {
        for timeout in [Duration::ZERO, Duration::from_millis(1)] {
            let mut wire = Wire::new([b"HTTP/1.1 101 "], Then::Silence);
            let error = block_on(negotiate(&mut wire, &request().with_timeout(timeout))).expect_err("silent");
            assert!(matches!(error, HandshakeError::TimedOut(late) if late.after == timeout), "{error}");
        }
        let mut wire = Wire::responding(|request| vec![granted(request)], Then::Silence);
        block_on(negotiate(&mut wire, &request().with_timeout(Duration::MAX))).expect("granted");
    }

    #[test]
    fn a_request_cannot_be_split_and_the_handshake_not_be_overridden() {
        for (host, target) in [("", "/"), ("a\r\nb: c", "/"), ("a b", "/"), ("u@a", "/"), ("a", ""), ("a", "b")] {
            assert!(ClientRequest::new(host, target).is_err(), "{host} {target}");
        }
        for target in ["/ HTTP/1.1\r\nHost: b", "/a b", "/a#b", "/a\0", "http://a/"] {
            assert!(matches!(ClientRequest::new("a", target), Err(InvalidRequest::Target)), "{target}");
        }
        for name in ["", "a b", "a:", "a\r\nb", "\u{e9}"] {
            assert!(matches!(request().with_header(name, "x"), Err(InvalidRequest::HeaderName(_))), "{name}");
        }
        for value in ["a\r\nb: c", "a\n", "\0", "\u{7f}"] {
            assert!(matches!(request().with_header("X", value), Err(InvalidRequest::HeaderValue(_))), "{value}");
        }
        for name in ["host", "Upgrade", "CONNECTION", "Content-Length", "transfer-encoding", "Sec-WebSocket-Extensions"]
        {
            assert!(matches!(request().with_header(name, "x"), Err(InvalidRequest::Reserved(_))), "{name}");
        }
    }

    #[test]
    fn own_fields_are_sent_as_given_and_shown_to_nobody_else() {
        let request = request().with_header("X-Token", "s3cret").and_then(|request| request.with_header("x-token", ""));
        let request = request.expect("good");
        let mut wire = Wire::new([b"HTTP/1.1 404 x\r\n\r\n"], Then::Silence);
        block_on(negotiate(&mut wire, &request)).expect_err("refused");
        assert!(wire.text().ends_with("\r\nX-Token: s3cret\r\nx-token: \r\n\r\n"), "{}", wire.text());
        assert!(!format!("{request:?}").contains("s3cret"));
    }

    proptest! {
        #[test]
        fn any_chunking_of_the_response_gives_the_same(chunk in 1..200_usize, early in "[a-z]{0,40}") {
            let expected = early.clone();
            let respond = move |request: &str| {
                let response = [granted(request), early.into_bytes()].concat();
                response.chunks(chunk).map(<[u8]>::to_vec).collect()
            };
            let mut wire = Wire::responding(respond, Then::Silence);
            let early = block_on(negotiate(&mut wire, &request())).expect("granted");
            prop_assert_eq!(&early[..], &expected.as_bytes()[..early.len()]);
            prop_assert_eq!(wire.input_left() + early.len(), expected.len());
        }
    }
}
