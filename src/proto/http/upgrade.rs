//! The rules of RFC 6455 §4 for a request and a response that are good HTTP, and the text of ours.

use async_tungstenite::tungstenite::handshake::derive_accept_key;
use async_tungstenite::tungstenite::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use async_tungstenite::tungstenite::http::{Method, StatusCode, Version};

use super::{FieldError, RequestError, RequestHead, ResponseError, ResponseHead, is_authority, is_token_byte};

/// The only version of the protocol (RFC 6455 §4.1).
pub(super) const WEBSOCKET_VERSION: &str = "13";

/// Room for a request head at first, in bytes: enough where host and path are short and no fields were added.
const USUAL_HEAD: usize = 256;

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
pub(crate) fn accept_request(request: &RequestHead<'_>, path: Option<&str>) -> Result<String, RequestError> {
    let fields = &request.fields;
    // HTTP/1.0 has no `Host`; such a request ends below, as it cannot upgrade.
    if request.version != Version::HTTP_10 && !is_authority(fields.one(header::HOST)?) {
        return Err(FieldError::Invalid(header::HOST).into());
    }
    if request.method != Method::GET {
        return Err(RequestError::Method);
    }
    let uri = &request.target;
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
    if fields.has(&header::TRANSFER_ENCODING) || fields.all(&header::CONTENT_LENGTH).any(is_not_zero) {
        return Err(RequestError::Content);
    }
    // "A server MUST ignore an Upgrade header field that is received in an HTTP/1.0 request." (RFC 9110 §7.8)
    // What is left is a plain GET of a resource that can only be had by an upgrade.
    if request.version == Version::HTTP_10 {
        return Err(RequestError::NoUpgrade);
    }
    match fields.one(header::UPGRADE) {
        Ok(upgrade) if has_token([upgrade], "websocket") => {}
        Ok(_) | Err(FieldError::Missing(_)) => return Err(RequestError::NoUpgrade),
        Err(error) => return Err(error.into()),
    }
    if !has_token(fields.all(&header::CONNECTION), "upgrade") {
        return Err(match fields.has(&header::CONNECTION) {
            true => FieldError::Invalid(header::CONNECTION).into(),
            false => FieldError::Missing(header::CONNECTION).into(),
        });
    }
    // A version we do not speak is answered with the one we do (RFC 6455 §4.4); none at all is a malformed request.
    if fields.one(header::SEC_WEBSOCKET_VERSION)? != WEBSOCKET_VERSION.as_bytes() {
        return Err(RequestError::WebSocketVersion);
    }
    let key = fields.one(header::SEC_WEBSOCKET_KEY)?;
    if !is_key(key) {
        return Err(FieldError::Invalid(header::SEC_WEBSOCKET_KEY).into());
    }
    // A policy that looks at the origin must see all of it.
    if fields.has(&header::ORIGIN) && !fields.one(header::ORIGIN)?.is_ascii() {
        return Err(FieldError::Invalid(header::ORIGIN).into());
    }
    Ok(derive_accept_key(key))
}

/// Holds a 101 response to a request with `key` against RFC 6455 §4.1.
pub(crate) fn check_response(response: &ResponseHead<'_>, key: &str) -> Result<(), ResponseError> {
    let fields = &response.fields;
    if response.version != Version::HTTP_11 {
        return Err(ResponseError::HttpVersion);
    }
    if !fields.one(header::UPGRADE)?.eq_ignore_ascii_case(b"websocket") {
        return Err(FieldError::Invalid(header::UPGRADE).into());
    }
    if !has_token(fields.all(&header::CONNECTION), "upgrade") {
        return Err(match fields.has(&header::CONNECTION) {
            true => FieldError::Invalid(header::CONNECTION).into(),
            false => FieldError::Missing(header::CONNECTION).into(),
        });
    }
    if fields.one(header::SEC_WEBSOCKET_ACCEPT)? != derive_accept_key(key.as_bytes()).as_bytes() {
        return Err(FieldError::Invalid(header::SEC_WEBSOCKET_ACCEPT).into());
    }
    for unasked in [header::SEC_WEBSOCKET_EXTENSIONS, header::SEC_WEBSOCKET_PROTOCOL] {
        if fields.has(&unasked) {
            return Err(ResponseError::Unasked(unasked));
        }
    }
    Ok(())
}

/// Writes the request head of RFC 6455 §4.1; the parts are valid already.
pub(crate) fn encode_request(host: &str, target: &str, key: &str, fields: &[(String, HeaderValue)]) -> Vec<u8> {
    let lines = [
        ["GET ", target, " HTTP/1.1\r\n"],
        ["Host: ", host, "\r\n"],
        ["Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: ", key, "\r\n"],
        ["Sec-WebSocket-Version: ", WEBSOCKET_VERSION, "\r\n"],
    ];
    let mut head = Vec::with_capacity(USUAL_HEAD);
    for part in lines.as_flattened() {
        head.extend_from_slice(part.as_bytes());
    }
    for (name, value) in fields {
        put_field(&mut head, name, value);
    }
    head.extend_from_slice(b"\r\n");
    head
}

/// Writes the head that accepts an upgrade: no extension, no subprotocol, whatever was offered.
pub(crate) fn encode_switching_protocols(accept: &str) -> Vec<u8> {
    let before = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                  Sec-WebSocket-Accept: ";
    [before, accept, "\r\n\r\n"].concat().into_bytes()
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

/// Whether one of these values of a field, each a comma-separated list, has the token (RFC 9110 §5.6.1).
///
/// Not if anything in them is neither a token nor a protocol with its version (RFC 9110 §7.6.1, §7.8).
fn has_token<'a>(lists: impl IntoIterator<Item = &'a [u8]>, token: &str) -> bool {
    let items = lists.into_iter().flat_map(|list| list.split(|&byte| byte == b','));
    let mut found = false;
    for item in items.map(<[u8]>::trim_ascii) {
        if item.eq_ignore_ascii_case(token.as_bytes()) {
            found = true;
        } else if !item.iter().all(|&byte| is_token_byte(byte) || byte == b'/') {
            return false;
        }
    }
    found
}

/// Whether this looks like 16 bytes in base64.
///
/// The four bits that pad the last digit are not looked at: RFC 6455 §4.2.2 does not ask a server to decode the key.
fn is_key(key: &[u8]) -> bool {
    let is_digit = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    key.len() == 24 && key.strip_suffix(b"==").is_some_and(|digits| digits.iter().all(is_digit))
}

fn is_not_zero(length: &[u8]) -> bool {
    length.is_empty() || length.iter().any(|&byte| byte != b'0')
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
        b'0'..=b'9' => digit & 0x0f,
        // The letters of either case end in 1 to 6.
        _ => (digit & 0x0f).saturating_add(9),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::RFC_REQUEST;
    use super::super::{parse_request, parse_response};
    use super::*;

    /// RFC 6455 §1.3.
    const RFC_KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
    const RFC_ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

    const FIELDS: &str = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                          Sec-WebSocket-Version: 13\r\n";

    fn judge(head: &str) -> Result<String, u16> {
        let request = parse_request(head.as_bytes());
        request.and_then(|request| accept_request(&request, None)).map_err(|error| error.status().as_u16())
    }

    /// The answer to a good request in which one text is replaced.
    fn judge_with(old: &str, new: &str) -> Result<String, u16> {
        let good = format!("GET / HTTP/1.1\r\nHost: a\r\n{FIELDS}\r\n");
        assert!(good.contains(old), "{old}");
        judge(&good.replacen(old, new, 1))
    }

    #[test]
    fn the_example_of_the_rfc_is_accepted() {
        let request = parse_request(RFC_REQUEST).expect("good");
        assert_eq!(accept_request(&request, None).expect("good"), RFC_ACCEPT);
        assert_eq!(accept_request(&request, Some("/chat")).expect("good"), RFC_ACCEPT);

        let response = encode_switching_protocols(RFC_ACCEPT);
        let response = parse_response(&response).expect("good");
        assert_eq!(response.status, 101);
        check_response(&response, RFC_KEY).expect("good");
    }

    #[test]
    fn good_requests_are_accepted_however_they_are_written() {
        for (old, new) in [
            ("", ""),
            ("Connection: Upgrade", "Connection: keep-alive, Upgrade"),
            ("Connection: Upgrade", "connection:keep-alive\r\nCONNECTION:\t,, uPGRADE ,"),
            ("Upgrade: websocket", "Upgrade: WebSocket"),
            ("Upgrade: websocket", "Upgrade: h2c, websocket"),
            ("GET /", "GET http://a/"),
            ("GET / ", "GET /?q "),
            ("Host: a", "Host: [::1]:80\r\nSec-WebSocket-Extensions: permessage-deflate"),
            ("Host: a", "Host: a\r\nContent-Length: 0"),
            ("Host: a", "Host: a\r\nSec-WebSocket-Protocol: chat"),
            ("Host: a", "Host: a\r\nX-Latin: caf\u{e9}"),
            // A key whose last digit has padding bits.
            ("ZQ==", "ZR=="),
        ] {
            assert!(judge_with(old, new).is_ok(), "{new}");
        }
    }

    #[test]
    fn every_mistake_has_its_status() {
        for (old, new, status) in [
            ("GET / HTTP/1.1", "GET / HTTP/1.0", 426),
            ("GET / HTTP/1.1\r\nHost: a", "GET / HTTP/1.0", 426),
            ("GET / HTTP/1.1", "GET / HTTP/2.0", 505),
            ("GET / HTTP/1.1", "PRI * HTTP/2.0", 505),
            ("GET / HTTP/1.1", "GET / HTTP/1.10", 400),
            ("GET / HTTP/1.1", "GET / http/1.1", 400),
            ("GET / HTTP/1.1", "GET /", 400),
            ("GET / HTTP/1.1", "GET  / HTTP/1.1", 400),
            ("GET / HTTP/1.1", "GET / x HTTP/1.1", 400),
            ("GET / HTTP/1.1", "GET /#x HTTP/1.1", 400),
            ("GET / HTTP/1.1", "GET * HTTP/1.1", 400),
            ("GET / HTTP/1.1", "GET a:80 HTTP/1.1", 400),
            ("GET / HTTP/1.1", "GET ftp://a/ HTTP/1.1", 400),
            ("GET", "POST", 405),
            ("GET", "HEAD", 405),
            ("GET", "get", 405),
            ("GET", "BREW", 405),
            ("GET / ", "OPTIONS * ", 405),
            ("GET / ", "CONNECT a:80 ", 405),
            ("Host: a\r\n", "", 400),
            ("Host: a", "Host: a\r\nHost: a", 400),
            ("Host: a", "Host:", 400),
            ("Host: a", "Host: user@a", 400),
            ("Host: a", "Host : a", 400),
            ("Host: a", "Host: a\r\n: b", 400),
            ("Host: a", "Host: a\r\nb", 400),
            ("Host: a", "Host: a\r\nA(b): c", 400),
            ("Host: a", "Host: a\r\nTransfer-Encoding: chunked", 400),
            ("Host: a", "Host: a\r\nContent-Length: 1", 400),
            ("Host: a", "Host: a\r\nContent-Length: 0\r\nContent-Length: 5", 400),
            ("Host: a", "Host: a\r\nContent-Length:", 400),
            ("Host: a", "Host: a\r\nOrigin: http://a\r\nOrigin: http://b", 400),
            ("Host: a", "Host: a\r\nOrigin: http://caf\u{e9}", 400),
            (FIELDS, "", 426),
            ("Upgrade: websocket\r\n", "", 426),
            ("Upgrade: websocket", "Upgrade: h2c", 426),
            ("Upgrade: websocket", "Upgrade: websockets", 426),
            ("Upgrade: websocket", "Upgrade: websocket\r\nUpgrade: websocket", 400),
            ("Connection: Upgrade\r\n", "", 400),
            ("Connection: Upgrade", "Connection: keep-alive", 400),
            ("Connection: Upgrade", "Connection: keep-alive Upgrade", 400),
            ("Connection: Upgrade", "Connection: ke\u{e9}p-alive, Upgrade", 400),
            ("Connection: Upgrade", "Connection: \"x, Upgrade", 400),
            ("Sec-WebSocket-Version: 13\r\n", "", 400),
            ("Sec-WebSocket-Version: 13", "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Version: 13", 400),
            ("Sec-WebSocket-Version: 13", "Sec-WebSocket-Version: 8", 426),
            ("Sec-WebSocket-Version: 13", "Sec-WebSocket-Version: 13, 8", 426),
            ("Sec-WebSocket-Version: 13", "Sec-WebSocket-Version: 013", 426),
            (&format!("Sec-WebSocket-Key: {RFC_KEY}\r\n"), "", 400),
            (RFC_KEY, "", 400),
            (RFC_KEY, "dGhlIHNhbXBsZSBub25jZQ=", 400),
            (RFC_KEY, "dGhlIHNhbXBsZSBub25j", 400),
            (RFC_KEY, "dGhlIHNhbXBsZSBub25jZ!==", 400),
            (RFC_KEY, "AAAAAAAAAAAAAAAAAAAAAAAA", 400),
            (RFC_KEY, "dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", 400),
        ] {
            assert_eq!(judge_with(old, new), Err(status), "{new:?} for {old:?}");
        }
    }

    #[test]
    fn more_fields_than_the_parser_takes_are_too_large() {
        let fields = |count| format!("GET / HTTP/1.1\r\nHost: a\r\n{FIELDS}{}\r\n", "a: b\r\n".repeat(count));
        assert!(judge(&fields(119)).is_ok());
        assert_eq!(judge(&fields(120)), Err(431));
        assert_eq!(judge(&fields(2_000)), Err(431));
    }

    #[test]
    fn long_lists_are_searched_to_their_end() {
        for filler in [",".repeat(32 * 1024), " ".repeat(32 * 1024), ", ".repeat(16 * 1024)] {
            let long = format!("Connection: x{filler},upgrade");
            assert!(judge_with("Connection: Upgrade", &long).is_ok());
            assert_eq!(judge_with("Connection: Upgrade", &format!("Connection: x{filler}")), Err(400));
        }
    }

    #[test]
    fn paths_are_the_same_after_normalizing_their_encoding() {
        for (a, b) in [("/", "/"), ("/a~b", "/%61%7eb"), ("/%2fa", "/%2Fa"), ("/\u{e9}", "/%C3%a9"), ("/%zz", "/%zz")] {
            assert!(is_same_path(a, b) && is_same_path(b, a), "{a} {b}");
        }
        for (a, b) in [("/", ""), ("/a", "/A"), ("/a/b", "/a%2Fb"), ("/a", "/a/"), ("/%25zz", "/%zz"), ("/%6", "/%61")]
        {
            assert!(!is_same_path(a, b) && !is_same_path(b, a), "{a} {b}");
        }
    }

    #[test]
    fn another_path_is_not_found_and_a_query_counts_if_it_is_asked_for() {
        let status = |target: &str, path: &str| {
            let request = format!("GET {target} HTTP/1.1\r\nHost: a\r\n{FIELDS}\r\n");
            let request = parse_request(request.as_bytes()).expect("good");
            accept_request(&request, Some(path)).map(drop).map_err(|error| error.status().as_u16())
        };
        assert_eq!(status("/ws", "/ws"), Ok(()));
        assert_eq!(status("/%77s?a=b", "/ws"), Ok(()));
        assert_eq!(status("http://a/ws", "/ws"), Ok(()));
        assert_eq!(status("/ws?a", "/ws?a"), Ok(()));
        for (target, path) in [("/", "/ws"), ("/ws/", "/ws"), ("/ws?b", "/ws?a"), ("/ws", "/ws?a"), ("http://a", "/ws")]
        {
            assert_eq!(status(target, path), Err(404), "{target} {path}");
        }
    }

    #[test]
    fn every_wrong_response_is_refused() {
        let good = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {RFC_ACCEPT}\r\n\r\n"
        );
        let check = |old: &str, new: &str| {
            assert!(good.contains(old), "{old}");
            let text = good.replacen(old, new, 1);
            let response = parse_response(text.as_bytes());
            response.and_then(|response| check_response(&response, RFC_KEY)).map_err(|error| error.to_string())
        };
        for (old, new) in [
            ("Upgrade: websocket", "upgrade:WEBSOCKET"),
            ("Connection: Upgrade", "Connection: keep-alive\r\nConnection: x, upgrade"),
            ("101 Switching Protocols", "101"),
            ("101 Switching Protocols", "101 "),
            ("101 Switching Protocols", "101 caf\u{e9}\tx"),
            ("Connection", "Content-Length: 0\r\nConnection"),
        ] {
            assert_eq!(check(old, new), Ok(()), "{new}");
        }
        for (old, new, error) in [
            ("HTTP/1.1", "HTTP/1.0", "http version is not 1.1"),
            ("HTTP/1.1", "HTTP/2.0", "http version is not 1.1"),
            ("HTTP/1.1", "HTTP/11", "start line is malformed"),
            ("101", "1O1", "start line is malformed"),
            ("101", "1010", "start line is malformed"),
            (" 101", "  101", "start line is malformed"),
            ("Upgrade: websocket\r\n", "", "header field upgrade is missing"),
            ("Upgrade: websocket", "Upgrade: h2c", "header field upgrade is invalid"),
            ("Upgrade: websocket", "Upgrade: websocket, h2c", "header field upgrade is invalid"),
            ("Upgrade: w", "Upgrade: websocket\r\nUpgrade: w", "header field upgrade is there more than once"),
            ("Connection: Upgrade\r\n", "", "header field connection is missing"),
            ("Connection: Upgrade", "Connection: close", "header field connection is invalid"),
            ("Accept: s", "Accept: S", "header field sec-websocket-accept is invalid"),
            (RFC_ACCEPT, "", "header field sec-websocket-accept is invalid"),
            ("Sec-WebSocket-Accept", "Accept", "header field sec-websocket-accept is missing"),
            ("Sec-W", "Sec-WebSocket-Accept: x\r\nSec-W", "header field sec-websocket-accept is there more than once"),
            (
                "Upgrade:",
                "Sec-WebSocket-Extensions: permessage-deflate\r\nUpgrade:",
                "header field sec-websocket-extensions was not asked for",
            ),
            (
                "Upgrade:",
                "Sec-WebSocket-Protocol: chat\r\nUpgrade:",
                "header field sec-websocket-protocol was not asked for",
            ),
            ("Upgrade:", "Upgrade :", "header field is malformed"),
        ] {
            assert_eq!(check(old, new), Err(error.to_owned()), "{new}");
        }
    }

    #[test]
    fn refusals_say_what_their_status_asks_for() {
        let text = |cause: RequestError| String::from_utf8(encode_refusal(&cause, false).1).expect("text");
        let upgrade = text(RequestError::WebSocketVersion);
        assert!(upgrade.starts_with("HTTP/1.1 426 Upgrade Required\r\n"), "{upgrade}");
        for field in ["Sec-WebSocket-Version: 13\r\n", "Upgrade: websocket\r\n", "Connection: Upgrade, close\r\n"] {
            assert!(upgrade.contains(field), "{upgrade}");
        }
        assert!(text(RequestError::Method).contains("\r\nAllow: GET\r\n"));
        assert!(text(RequestError::Policy(StatusCode::FORBIDDEN)).starts_with("HTTP/1.1 403 Forbidden\r\n"));
    }

    #[test]
    fn every_refusal_has_its_length_and_closes_the_connection() {
        for cause in [RequestError::Path, RequestError::Method, RequestError::NoUpgrade, RequestError::HttpVersion] {
            let (refusal, answer) = encode_refusal(&cause, false);
            let end = answer.windows(4).position(|window| window == b"\r\n\r\n").expect("a head") + 4;
            let parsed = parse_response(&answer[..end]).expect("good");
            assert_eq!(parsed.status, refusal.status);
            assert_eq!(parsed.fields.to_map().expect("good"), refusal.headers);
            let length = (answer.len() - end).to_string();
            assert_eq!(parsed.fields.one(header::CONTENT_LENGTH).expect("one"), length.as_bytes());
            assert!(has_token(parsed.fields.all(&header::CONNECTION), "close"));
        }
        assert!(encode_refusal(&RequestError::Method, true).1.ends_with(b"\r\n\r\n"));
    }

    #[test]
    fn a_request_has_what_the_rfc_asks_for() {
        let fields = [("X-Case".to_owned(), HeaderValue::from_static("y"))];
        let head = encode_request("example.com:8080", "/chat?x", RFC_KEY, &fields);
        let text = String::from_utf8(head.clone()).expect("text");
        assert!(text.starts_with("GET /chat?x HTTP/1.1\r\nHost: example.com:8080\r\n"), "{text}");
        assert!(text.ends_with("\r\nX-Case: y\r\n\r\n"), "{text}");
        assert_eq!(accept_request(&parse_request(&head).expect("good"), Some("/chat")).expect("good"), RFC_ACCEPT);
    }
}
