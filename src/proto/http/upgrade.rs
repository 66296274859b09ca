//! The rules of RFC 6455 §4 for a request and a response that are good HTTP, and the text of ours.

use async_tungstenite::tungstenite::handshake::derive_accept_key;
use async_tungstenite::tungstenite::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use async_tungstenite::tungstenite::http::{Method, Request, Response, StatusCode, Version};

use super::{FieldError, RequestError, ResponseError, is_authority};

/// The only version of the protocol (RFC 6455 §4.1).
pub(super) const WEBSOCKET_VERSION: &str = "13";

/// An HTTP answer that is not `101 Switching Protocols`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Refusal {
    /// The status code.
    pub status: StatusCode,
    /// The header fields of the answer.
    pub headers: HeaderMap,
}

/// Holds a request against RFC 6455 §4.2.1 and gives the value of `Sec-WebSocket-Accept`.
///
/// With `path`, every other path is refused; its query counts only if `path` has one.
pub(crate) fn accept_request(request: &Request<()>, path: Option<&str>) -> Result<String, RequestError> {
    let headers = request.headers();
    // HTTP/1.0 has no `Host`; such a request ends below, as it cannot upgrade.
    if request.version() != Version::HTTP_10 && !is_authority(one(headers, header::HOST)?.as_bytes()) {
        return Err(FieldError::Invalid(header::HOST).into());
    }
    if request.method() != Method::GET {
        return Err(RequestError::Method);
    }
    let uri = request.uri();
    if !uri.path().starts_with('/') {
        return Err(RequestError::Target);
    }
    if let Some(path) = path {
        let target = match uri.path_and_query() {
            Some(target) if path.contains('?') => target.as_str(),
            _ => uri.path(),
        };
        if !is_same_path(target, path) {
            return Err(RequestError::Path);
        }
    }
    if headers.contains_key(header::TRANSFER_ENCODING)
        || headers.get_all(header::CONTENT_LENGTH).iter().any(is_not_zero)
    {
        return Err(RequestError::Content);
    }
    // "A server MUST ignore an Upgrade header field that is received in an HTTP/1.0 request." (RFC 9110 §7.8)
    // What is left is a plain GET of a resource that can only be had by an upgrade.
    if request.version() == Version::HTTP_10 || !headers.contains_key(header::UPGRADE) {
        return Err(RequestError::NoUpgrade);
    }
    one(headers, header::UPGRADE)?;
    if !has_token(headers, header::UPGRADE, "websocket") {
        return Err(RequestError::NoUpgrade);
    }
    if !has_token(headers, header::CONNECTION, "upgrade") {
        return Err(match headers.contains_key(header::CONNECTION) {
            true => FieldError::Invalid(header::CONNECTION).into(),
            false => FieldError::Missing(header::CONNECTION).into(),
        });
    }
    // A version we do not speak is answered with the one we do (RFC 6455 §4.4); none at all is a malformed request.
    if one(headers, header::SEC_WEBSOCKET_VERSION)?.as_bytes() != WEBSOCKET_VERSION.as_bytes() {
        return Err(RequestError::WebSocketVersion);
    }
    let key = one(headers, header::SEC_WEBSOCKET_KEY)?.as_bytes();
    if !is_key(key) {
        return Err(FieldError::Invalid(header::SEC_WEBSOCKET_KEY).into());
    }
    // A policy that looks at the origin must see all of it.
    if headers.contains_key(header::ORIGIN) && one(headers, header::ORIGIN)?.to_str().is_err() {
        return Err(FieldError::Invalid(header::ORIGIN).into());
    }
    Ok(derive_accept_key(key))
}

/// Holds a 101 response to a request with `key` against RFC 6455 §4.1.
pub(crate) fn check_response(response: &Response<()>, key: &str) -> Result<(), ResponseError> {
    let headers = response.headers();
    if response.version() != Version::HTTP_11 {
        return Err(ResponseError::HttpVersion);
    }
    if !one(headers, header::UPGRADE)?.as_bytes().eq_ignore_ascii_case(b"websocket") {
        return Err(FieldError::Invalid(header::UPGRADE).into());
    }
    if !has_token(headers, header::CONNECTION, "upgrade") {
        return Err(match headers.contains_key(header::CONNECTION) {
            true => FieldError::Invalid(header::CONNECTION).into(),
            false => FieldError::Missing(header::CONNECTION).into(),
        });
    }
    if one(headers, header::SEC_WEBSOCKET_ACCEPT)?.as_bytes() != derive_accept_key(key.as_bytes()).as_bytes() {
        return Err(FieldError::Invalid(header::SEC_WEBSOCKET_ACCEPT).into());
    }
    for unasked in [header::SEC_WEBSOCKET_EXTENSIONS, header::SEC_WEBSOCKET_PROTOCOL] {
        if headers.contains_key(&unasked) {
            return Err(ResponseError::Unasked(unasked));
        }
    }
    Ok(())
}

/// Writes the request head of RFC 6455 §4.1; the parts are valid already.
pub(crate) fn encode_request(host: &str, target: &str, key: &str, fields: &[(String, HeaderValue)]) -> Vec<u8> {
    let mut head = format!(
        "GET {target} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: {WEBSOCKET_VERSION}\r\n"
    )
    .into_bytes();
    for (name, value) in fields {
        put_field(&mut head, name, value);
    }
    head.extend_from_slice(b"\r\n");
    head
}

/// Writes the head that accepts an upgrade: no extension, no subprotocol, whatever was offered.
pub(crate) fn encode_switching_protocols(accept: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    )
    .into_bytes()
}

/// Writes the answer to a request that is refused, and says what it holds; the answer to HEAD has no content.
pub(crate) fn encode_refusal(cause: &RequestError, to_head: bool) -> (Refusal, Vec<u8>) {
    let status = cause.status();
    let content = format!("{status}: {cause}\n");
    let mut fields = vec![
        ("Content-Type", header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8")),
        ("Content-Length", header::CONTENT_LENGTH, HeaderValue::from(content.len())),
    ];
    match status {
        // RFC 9110 §15.5.22 asks for `Upgrade`, its §7.8 for the connection option, RFC 6455 §4.4 for the version.
        StatusCode::UPGRADE_REQUIRED => fields.extend([
            ("Upgrade", header::UPGRADE, HeaderValue::from_static("websocket")),
            ("Connection", header::CONNECTION, HeaderValue::from_static("Upgrade, close")),
            ("Sec-WebSocket-Version", header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static(WEBSOCKET_VERSION)),
        ]),
        // RFC 9110 §15.5.6.
        StatusCode::METHOD_NOT_ALLOWED => fields.extend([
            ("Allow", header::ALLOW, HeaderValue::from_static("GET")),
            ("Connection", header::CONNECTION, HeaderValue::from_static("close")),
        ]),
        _ => fields.push(("Connection", header::CONNECTION, HeaderValue::from_static("close"))),
    }

    let mut answer = format!("HTTP/1.1 {status}\r\n").into_bytes();
    let mut headers = HeaderMap::with_capacity(fields.len());
    for (name, key, value) in fields {
        put_field(&mut answer, name, &value);
        headers.insert(key, value);
    }
    answer.extend_from_slice(b"\r\n");
    if !to_head {
        answer.extend_from_slice(content.as_bytes());
    }
    (Refusal { status, headers }, answer)
}

fn put_field(head: &mut Vec<u8>, name: &str, value: &HeaderValue) {
    head.extend_from_slice(name.as_bytes());
    head.extend_from_slice(b": ");
    head.extend_from_slice(value.as_bytes());
    head.extend_from_slice(b"\r\n");
}

/// Whether a client may add this field itself: not those that carry the handshake, nor those that announce content.
pub(crate) fn is_reserved(name: &HeaderName) -> bool {
    [header::HOST, header::UPGRADE, header::CONNECTION, header::CONTENT_LENGTH, header::TRANSFER_ENCODING]
        .contains(name)
        || name.as_str().starts_with("sec-websocket-")
}

/// The one field of this name.
fn one(headers: &HeaderMap, name: HeaderName) -> Result<&HeaderValue, FieldError> {
    let mut values = headers.get_all(&name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => Ok(value),
        (None, _) => Err(FieldError::Missing(name)),
        _ => Err(FieldError::Repeated(name)),
    }
}

/// Whether one of the fields of this name, each a comma-separated list, has the token (RFC 9110 §5.6.1).
fn has_token(headers: &HeaderMap, name: HeaderName, token: &str) -> bool {
    let lists = headers.get_all(name);
    let mut items = lists.iter().flat_map(|list| list.as_bytes().split(|&byte| byte == b','));
    items.any(|item| item.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
}

/// Whether this looks like 16 bytes in base64.
///
/// The four bits that pad the last digit are not looked at: RFC 6455 §4.2.2 does not ask a server to decode the key.
fn is_key(key: &[u8]) -> bool {
    let is_digit = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    key.len() == 24 && key.strip_suffix(b"==").is_some_and(|digits| digits.iter().all(is_digit))
}

fn is_not_zero(length: &HeaderValue) -> bool {
    length.is_empty() || length.as_bytes().iter().any(|&byte| byte != b'0')
}

/// Compares paths as RFC 3986 §6.2.2 does: `%7e` is `%7E` is `~`, but `%2F` is not `/`.
fn is_same_path(a: &str, b: &str) -> bool {
    normalized(a.as_bytes()).eq(normalized(b.as_bytes()))
}

/// The bytes of a path, and of each whether it is reserved and percent-encoded.
fn normalized(path: &[u8]) -> impl Iterator<Item = (u8, bool)> + '_ {
    let mut rest = path;
    std::iter::from_fn(move || match rest {
        [b'%', high, low, tail @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
            rest = tail;
            let byte = hex_value(*high) << 4 | hex_value(*low);
            Some((byte, b":/?#[]@!$&'()*+,;=%".contains(&byte)))
        }
        [byte, tail @ ..] => {
            rest = tail;
            Some((*byte, false))
        }
        [] => None,
    })
}

fn hex_value(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20).wrapping_sub(b'a' - 10),
    }
}
