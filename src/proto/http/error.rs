//! What can be wrong with a request or a response of the opening handshake.

use std::error::Error as StdError;
use std::fmt;

use async_tungstenite::tungstenite::http::StatusCode;
use async_tungstenite::tungstenite::http::header::HeaderName;

use super::MAX_HEADERS;
use super::upgrade::WEBSOCKET_VERSION;

/// Why bytes are not the head of an HTTP/1.1 message.
#[derive(Debug)]
#[non_exhaustive]
pub enum HeadError {
    /// The head did not end within this many bytes.
    TooLarge {
        /// Longest head allowed, in bytes.
        limit: usize,
    },
    /// There are more header fields than the parser takes, which is 124.
    TooManyFields,
    /// A byte stands where none of its kind can: a control character, an LF without a CR, or no HTTP at all.
    Byte {
        /// The byte.
        byte: u8,
        /// How many bytes of the head came before it.
        at: usize,
    },
    /// A header field goes on in the next line (RFC 9112 §5.2, `obs-fold`).
    FoldedLine,
    /// The request line or the status line is malformed.
    StartLine,
    /// A header field is malformed; the parser's error is the source.
    Field(Option<Box<dyn StdError + Send + Sync>>),
}

impl fmt::Display for HeadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HeadError::TooLarge { limit } => write!(f, "head is longer than {limit} bytes"),
            HeadError::TooManyFields => write!(f, "head has more than {MAX_HEADERS} fields"),
            // An alert, or a handshake record as in ClientHello (RFC 8446 §5.1).
            HeadError::Byte { byte: 0x15 | 0x16, at: 0 } => f.write_str("peer speaks TLS, not plain HTTP"),
            HeadError::Byte { byte, at } => write!(f, "byte 0x{byte:02x} at offset {at} does not belong in a head"),
            HeadError::FoldedLine => f.write_str("header field is folded"),
            HeadError::StartLine => f.write_str("start line is malformed"),
            HeadError::Field(_) => f.write_str("header field is malformed"),
        }
    }
}

impl StdError for HeadError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            HeadError::Field(Some(cause)) => Some(&**cause),
            _ => None,
        }
    }
}

/// What is wrong with a header field that the handshake needs.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FieldError {
    /// It is not there.
    Missing(HeaderName),
    /// It is there more than once.
    Repeated(HeaderName),
    /// Its value is not what it has to be.
    Invalid(HeaderName),
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FieldError::Missing(name) => write!(f, "header field {name} is missing"),
            FieldError::Repeated(name) => write!(f, "header field {name} is there more than once"),
            FieldError::Invalid(name) => write!(f, "header field {name} is invalid"),
        }
    }
}

impl StdError for FieldError {}

/// Why a server refuses a request.
#[derive(Debug)]
#[non_exhaustive]
pub enum RequestError {
    /// It is not an HTTP/1.1 request: 400, or 431 if it is too large.
    Head(HeadError),
    /// The HTTP version is neither 1.1 nor 1.0: 505.
    HttpVersion,
    /// The method is not GET: 405.
    Method,
    /// The request target names no path: 400.
    Target,
    /// The path is not the one that is served: 404.
    Path,
    /// A header field is missing, repeated or invalid: 400.
    Field(FieldError),
    /// Content is announced, which an upgrade cannot have: 400.
    Content,
    /// It is a good request, but none for a WebSocket, as every one of HTTP/1.0 is: 426.
    NoUpgrade,
    /// The version of the WebSocket protocol is not 13: 426.
    WebSocketVersion,
    /// The policy said no, with this status.
    Policy(StatusCode),
}

impl RequestError {
    /// The status a request is answered with that fails for this reason.
    pub fn status(&self) -> StatusCode {
        match self {
            RequestError::Head(HeadError::TooLarge { .. } | HeadError::TooManyFields) => {
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
            }
            RequestError::Head(_) | RequestError::Target | RequestError::Field(_) | RequestError::Content => {
                StatusCode::BAD_REQUEST
            }
            RequestError::HttpVersion => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            RequestError::Method => StatusCode::METHOD_NOT_ALLOWED,
            RequestError::Path => StatusCode::NOT_FOUND,
            RequestError::NoUpgrade | RequestError::WebSocketVersion => StatusCode::UPGRADE_REQUIRED,
            RequestError::Policy(status) => *status,
        }
    }
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RequestError::Head(error) => error.fmt(f),
            RequestError::Field(error) => error.fmt(f),
            RequestError::HttpVersion => f.write_str("http version is not 1.1"),
            RequestError::Method => f.write_str("method is not GET"),
            RequestError::Target => f.write_str("request target names no path"),
            RequestError::Path => f.write_str("nothing is served at this path"),
            RequestError::Content => f.write_str("request announces content"),
            RequestError::NoUpgrade => f.write_str("request asks for no websocket"),
            RequestError::WebSocketVersion => write!(f, "websocket version is not {WEBSOCKET_VERSION}"),
            RequestError::Policy(_) => f.write_str("policy does not allow it"),
        }
    }
}

impl StdError for RequestError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            RequestError::Head(error) => Some(error),
            RequestError::Field(error) => Some(error),
            _ => None,
        }
    }
}

impl From<HeadError> for RequestError {
    fn from(error: HeadError) -> Self {
        RequestError::Head(error)
    }
}

impl From<FieldError> for RequestError {
    fn from(error: FieldError) -> Self {
        RequestError::Field(error)
    }
}

/// Why a client does not take a response for an answer.
#[derive(Debug)]
#[non_exhaustive]
pub enum ResponseError {
    /// It is not an HTTP/1.1 response, or its head is too large.
    Head(HeadError),
    /// The HTTP version is not 1.1.
    HttpVersion,
    /// A header field of the 101 response is missing, repeated or invalid.
    Field(FieldError),
    /// The 101 response settles on an extension or a subprotocol, and none was offered.
    Unasked(HeaderName),
}

impl fmt::Display for ResponseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ResponseError::Head(error) => error.fmt(f),
            ResponseError::HttpVersion => f.write_str("http version is not 1.1"),
            ResponseError::Field(error) => error.fmt(f),
            ResponseError::Unasked(name) => write!(f, "header field {name} was not asked for"),
        }
    }
}

impl StdError for ResponseError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            ResponseError::Head(error) => Some(error),
            ResponseError::Field(error) => Some(error),
            _ => None,
        }
    }
}

impl From<HeadError> for ResponseError {
    fn from(error: HeadError) -> Self {
        ResponseError::Head(error)
    }
}

impl From<FieldError> for ResponseError {
    fn from(error: FieldError) -> Self {
        ResponseError::Field(error)
    }
}
