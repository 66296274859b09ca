//! Rules of the HTTP/1.1 heads of the opening handshake (RFC 6455 §4, RFC 9112), without IO.
//!
//! [`HeadScanner`] finds the end of a head and refuses, at the first wrong byte, what a lenient parser would take;
//! [`parse_request`] and [`parse_response`] then parse the complete head, once; [`upgrade`] holds it against RFC 6455.

mod error;
pub(crate) mod upgrade;

pub use error::{FieldError, HeadError, RequestError, ResponseError};

use async_tungstenite::tungstenite::error::{CapacityError, Error as TungsteniteError};
use async_tungstenite::tungstenite::handshake::headers::MAX_HEADERS;
use async_tungstenite::tungstenite::handshake::machine::TryParse;
use async_tungstenite::tungstenite::http::uri::PathAndQuery;
use async_tungstenite::tungstenite::http::{HeaderMap, Method, Request, Response, StatusCode, Uri, Version};

/// Finds the end of a head, one pass over the bytes however they are cut into pieces.
///
/// A head that goes wrong is refused at its first wrong byte: a TLS record, a bare LF, a NUL or a folded line is not
/// waited out. Field names and values are left to the parser.
///
/// ```text
/// Method ──SP──► Line ◄──other── LineStart ──CR──► LastCr ──LF──► complete
/// Status ──"/"──►  └──CR──► Cr ──LF──►┘
/// ```
#[derive(Debug)]
pub(crate) struct HeadScanner {
    state: State,
    /// Bytes looked at, this head's only.
    scanned: usize,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// Within the method, a token (RFC 9112 §3.1).
    Method,
    /// Within `HTTP/`, of which this many bytes are there.
    Status(usize),
    Line,
    Cr,
    LineStart,
    LastCr,
}

impl HeadScanner {
    /// Scans a request head.
    pub(crate) fn request() -> Self {
        HeadScanner { state: State::Method, scanned: 0 }
    }

    /// Scans a response head.
    pub(crate) fn response() -> Self {
        HeadScanner { state: State::Status(0), scanned: 0 }
    }

    /// Takes the next bytes; `Some(n)` says that the head ends with the first `n` of them.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Result<Option<usize>, HeadError> {
        const NAME: &[u8] = b"HTTP/";
        for (i, &byte) in bytes.iter().enumerate() {
            self.state = match (self.state, byte) {
                (State::Method, b' ') if self.scanned > 0 => State::Line,
                (State::Method, _) if is_token_byte(byte) => State::Method,
                (State::Status(n), _) if NAME.get(n) == Some(&byte) => match n + 1 {
                    n if n == NAME.len() => State::Line,
                    n => State::Status(n),
                },
                (State::Line, b'\r') => State::Cr,
                (State::Cr, b'\n') => State::LineStart,
                (State::LineStart, b'\r') => State::LastCr,
                (State::LastCr, b'\n') => {
                    self.scanned += 1;
                    return Ok(Some(i + 1));
                }
                // RFC 9112 §5.2: a server MUST refuse a folded line or unfold it.
                (State::LineStart, b' ' | b'\t') => return Err(HeadError::FoldedLine),
                (State::Line | State::LineStart, b'\t' | b' '..=b'~' | 0x80..) => State::Line,
                _ => return Err(HeadError::Byte { byte, at: self.scanned }),
            };
            self.scanned += 1;
        }
        Ok(None)
    }
}

/// Parses a complete request head, as the scanner found it.
pub(crate) fn parse_request(head: &[u8]) -> Result<Request<()>, RequestError> {
    let (line, fields) = split_start_line(head)?;
    let mut parts = line.split(|&byte| byte == b' ');
    let (Some(method), Some(target), Some(version), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(HeadError::StartLine.into());
    };
    // The version goes first: what the rest means depends on it, as in HTTP/2's preface `PRI * HTTP/2.0`.
    let version = parse_version(version)?.ok_or(RequestError::HttpVersion)?;
    let method = Method::from_bytes(method).map_err(|_| HeadError::StartLine)?;
    let target = parse_target(target).ok_or(RequestError::Target)?;

    let mut request = Request::new(());
    *request.method_mut() = method;
    *request.uri_mut() = target;
    *request.version_mut() = version;
    *request.headers_mut() = parse_fields(fields)?;
    Ok(request)
}

/// Parses a complete response head, as the scanner found it.
pub(crate) fn parse_response(head: &[u8]) -> Result<Response<()>, ResponseError> {
    let (line, fields) = split_start_line(head)?;
    let mut parts = line.splitn(3, |&byte| byte == b' ');
    // The reason phrase may be empty, and some leave out the space before it as well.
    let (version, status) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let version = parse_version(version)?.ok_or(ResponseError::HttpVersion)?;
    let status = StatusCode::from_bytes(status).map_err(|_| HeadError::StartLine)?;

    let mut response = Response::new(());
    *response.status_mut() = status;
    *response.version_mut() = version;
    *response.headers_mut() = parse_fields(fields)?;
    Ok(response)
}

/// Whether this is a host with an optional port, in the characters of RFC 3986 §3.2; user information is not allowed.
pub(crate) fn is_authority(host: &[u8]) -> bool {
    !host.is_empty() && host.iter().all(|&byte| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=:[]".contains(&byte))
}

/// Whether this is a request target in origin form, complete and in ASCII (RFC 9112 §3.2.1).
pub(crate) fn is_origin_form(target: &str) -> bool {
    // `http` drops a fragment without a word: what it gives back must be what went in.
    let parsed = PathAndQuery::try_from(target);
    target.starts_with('/') && target.is_ascii() && parsed.is_ok_and(|parsed| parsed.as_str() == target)
}

/// RFC 9110 §5.6.2.
fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// The start line without its end, and the fields with the empty line that ends them.
fn split_start_line(head: &[u8]) -> Result<(&[u8], &[u8]), HeadError> {
    let end = head.iter().position(|&byte| byte == b'\r').ok_or(HeadError::StartLine)?;
    let (line, rest) = head.split_at(end);
    Ok((line, rest.strip_prefix(b"\r\n").ok_or(HeadError::StartLine)?))
}

/// `None` is an HTTP version that is neither 1.1 nor 1.0.
fn parse_version(version: &[u8]) -> Result<Option<Version>, HeadError> {
    match version {
        b"HTTP/1.1" => Ok(Some(Version::HTTP_11)),
        b"HTTP/1.0" => Ok(Some(Version::HTTP_10)),
        [b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9'] => Ok(None),
        _ => Err(HeadError::StartLine),
    }
}

/// A target in any form of RFC 9112 §3.2: a server MUST accept the absolute form, which names the path as well.
fn parse_target(target: &[u8]) -> Option<Uri> {
    if !target.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'#') {
        return None;
    }
    let uri = Uri::try_from(target).ok()?;
    match uri.scheme_str() {
        Some(scheme) if !["http", "https", "ws", "wss"].iter().any(|known| known.eq_ignore_ascii_case(scheme)) => None,
        _ => Some(uri),
    }
}

fn parse_fields(fields: &[u8]) -> Result<HeaderMap, HeadError> {
    match HeaderMap::try_parse(fields) {
        Ok(Some((length, headers))) if length == fields.len() => Ok(headers),
        Ok(_) => Err(HeadError::Field(None)),
        Err(TungsteniteError::Capacity(CapacityError::TooManyHeaders)) => Err(HeadError::TooManyFields),
        Err(error) => Err(HeadError::Field(Some(Box::new(error)))),
    }
}
