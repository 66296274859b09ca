//! Rules of the HTTP/1.1 heads of the opening handshake (RFC 6455 §4, RFC 9112), without IO.
//!
//! [`HeadScanner`] finds the end of a head and refuses, at the first wrong byte, what a lenient parser would take;
//! [`parse_request`] and [`parse_response`] then parse the complete head, once; [`upgrade`] holds it against RFC 6455.

mod error;
mod fields;
pub(crate) mod upgrade;

pub use error::{FieldError, HeadError, RequestError, ResponseError};
pub(crate) use fields::Fields;

use async_tungstenite::tungstenite::handshake::headers::MAX_HEADERS;
use async_tungstenite::tungstenite::http::uri::PathAndQuery;
use async_tungstenite::tungstenite::http::{Method, Request, StatusCode, Uri, Version};

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
    /// Within `HTTP/`, of which this is still to come.
    Status(&'static [u8]),
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
        HeadScanner { state: State::Status(b"HTTP/"), scanned: 0 }
    }

    /// Takes the next bytes; `Some(n)` says that the head ends with the first `n` of them.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Result<Option<usize>, HeadError> {
        let mut rest = bytes;
        while let [byte, after @ ..] = rest {
            let byte = *byte;
            self.state = match (self.state, byte) {
                (State::Method, b' ') if self.scanned > 0 => State::Line,
                (State::Method, _) if is_token_byte(byte) => State::Method,
                (State::Status([last]), _) if byte == *last => State::Line,
                (State::Status([next, rest @ ..]), _) if byte == *next => State::Status(rest),
                (State::Line, b'\r') => State::Cr,
                (State::Cr, b'\n') => State::LineStart,
                (State::LineStart, b'\r') => State::LastCr,
                (State::LastCr, b'\n') => {
                    self.scanned = self.scanned.saturating_add(1);
                    return Ok(Some(bytes.len().saturating_sub(after.len())));
                }
                // RFC 9112 §5.2: a server MUST refuse a folded line or unfold it.
                (State::LineStart, b' ' | b'\t') => return Err(HeadError::FoldedLine),
                (State::Line | State::LineStart, _) if is_line_byte(byte) => State::Line,
                _ => return Err(HeadError::Byte { byte, at: self.scanned }),
            };
            // Most of a head is the inside of lines, which is looked through without a state.
            let inside = if matches!(self.state, State::Line) { line_len(after) } else { 0 };
            self.scanned = self.scanned.saturating_add(inside).saturating_add(1);
            rest = after.get(inside..).unwrap_or_default();
        }
        Ok(None)
    }
}

/// The head of a request, parsed.
#[derive(Debug)]
pub(crate) struct RequestHead<'a> {
    pub(crate) method: Method,
    pub(crate) target: Uri,
    pub(crate) version: Version,
    pub(crate) fields: Fields<'a>,
}

/// The head of a response, parsed; the reason phrase means nothing (RFC 9112 §4).
#[derive(Debug)]
pub(crate) struct ResponseHead<'a> {
    pub(crate) status: StatusCode,
    pub(crate) version: Version,
    pub(crate) fields: Fields<'a>,
}

impl RequestHead<'_> {
    /// The same for those outside, with copies of its fields.
    pub(crate) fn into_request(self) -> Result<Request<()>, HeadError> {
        let mut request = Request::new(());
        *request.headers_mut() = self.fields.to_map()?;
        *request.method_mut() = self.method;
        *request.uri_mut() = self.target;
        *request.version_mut() = self.version;
        Ok(request)
    }
}

/// Parses a complete request head, as the scanner found it.
pub(crate) fn parse_request(head: &[u8]) -> Result<RequestHead<'_>, RequestError> {
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
    Ok(RequestHead { method, target, version, fields: Fields::parse(fields)? })
}

/// Parses a complete response head, as the scanner found it.
pub(crate) fn parse_response(head: &[u8]) -> Result<ResponseHead<'_>, ResponseError> {
    let (line, fields) = split_start_line(head)?;
    let mut parts = line.splitn(3, |&byte| byte == b' ');
    // The reason phrase may be empty, and some leave out the space before it as well.
    let (version, status) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let version = parse_version(version)?.ok_or(ResponseError::HttpVersion)?;
    let status = StatusCode::from_bytes(status).map_err(|_| HeadError::StartLine)?;
    Ok(ResponseHead { status, version, fields: Fields::parse(fields)? })
}

/// Whether this is a host with an optional port, in the characters of RFC 3986 §3.2; user information is not allowed.
pub(crate) fn is_authority(host: &[u8]) -> bool {
    let is_allowed = |byte: &u8| {
        byte.is_ascii_alphanumeric()
            || matches!(byte, b'!' | b'$'..=b'.' | b':' | b';' | b'=' | b'[' | b']' | b'_' | b'~')
    };
    !host.is_empty() && host.iter().all(is_allowed)
}

/// Whether this is a request target in origin form, complete and in ASCII (RFC 9112 §3.2.1).
pub(crate) fn is_origin_form(target: &str) -> bool {
    // `http` drops a fragment without a word: what it gives back must be what went in.
    let is_kept = || PathAndQuery::try_from(target).is_ok_and(|parsed| parsed.as_str() == target);
    target == "/" || target.starts_with('/') && target.is_ascii() && is_kept()
}

/// Whether this may stand in a token (RFC 9110 §5.6.2).
fn is_token_byte(byte: u8) -> bool {
    TOKEN_BYTES.get(usize::from(byte)).is_some_and(|&is_one| is_one)
}

/// By byte: nothing else is asked so often while a head is read.
#[expect(clippy::indexing_slicing, reason = "by a byte, and while it is compiled")]
static TOKEN_BYTES: [bool; 256] = {
    let mut is_one = [false; 256];
    let mut byte: u8 = 0;
    loop {
        is_one[byte as usize] = byte.is_ascii_alphanumeric()
            || matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~');
        if byte == u8::MAX {
            break is_one;
        }
        byte += 1;
    }
};

/// How many bytes come first that may stand within a line; eight are looked at together.
fn line_len(bytes: &[u8]) -> usize {
    const EACH: u64 = u64::from_le_bytes([1; 8]);
    let mut rest = bytes;
    while let Some((block, after)) = rest.split_first_chunk::<8>() {
        let block = u64::from_le_bytes(*block);
        // The lowest top bit that this leaves is that of the first byte below 0x20, or of the first 0x7f.
        let delete = block ^ (EACH * 0x7f);
        let found = (block.wrapping_sub(EACH * 0x20) & !block | delete.wrapping_sub(EACH) & !delete) & (EACH << 7);
        if found == 0 {
            rest = after;
            continue;
        }
        let (_, from) = rest.split_at_checked(found.trailing_zeros() as usize / 8).unwrap_or_default();
        match from {
            [b'\t', after @ ..] => rest = after,
            _ => return bytes.len().saturating_sub(from.len()),
        }
    }
    let rest = rest.iter().position(|&byte| !is_line_byte(byte)).map_or(0, |at| rest.len().saturating_sub(at));
    bytes.len().saturating_sub(rest)
}

/// What may stand within a line: all but control characters, of which a tab may.
fn is_line_byte(byte: u8) -> bool {
    matches!(byte, b'\t' | b' '..=b'~' | 0x80..)
}

/// The start line without its end, and the fields with the empty line that ends them.
fn split_start_line(head: &[u8]) -> Result<(&[u8], &[u8]), HeadError> {
    let (line, rest) = head.split_at_checked(line_len(head)).ok_or(HeadError::StartLine)?;
    Ok((line, rest.strip_prefix(b"\r\n").ok_or(HeadError::StartLine)?))
}

/// `None` is an HTTP version that is not 1.x; a higher minor version is taken for the highest known (RFC 9110 §6.2).
fn parse_version(version: &[u8]) -> Result<Option<Version>, HeadError> {
    match version {
        b"HTTP/1.0" => Ok(Some(Version::HTTP_10)),
        [b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'1'..=b'9'] => Ok(Some(Version::HTTP_11)),
        [b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9'] => Ok(None),
        _ => Err(HeadError::StartLine),
    }
}

/// A target in any form of RFC 9112 §3.2: a server MUST accept the absolute form, which names the path as well.
fn parse_target(target: &[u8]) -> Option<Uri> {
    // As most ask for, without a copy.
    if target == b"/" {
        return Some(Uri::from_static("/"));
    }
    if !target.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'#') {
        return None;
    }
    let uri = Uri::try_from(target).ok()?;
    match uri.scheme_str() {
        Some(scheme) if !["http", "https", "ws", "wss"].iter().any(|known| known.eq_ignore_ascii_case(scheme)) => None,
        _ => Some(uri),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use async_tungstenite::tungstenite::handshake::machine::TryParse;
    use async_tungstenite::tungstenite::handshake::server::Request as TungsteniteRequest;
    use async_tungstenite::tungstenite::http::HeaderMap;
    use proptest::prelude::*;

    /// RFC 6455 §1.2, without the subprotocols.
    pub(super) const RFC_REQUEST: &[u8] = b"GET /chat HTTP/1.1\r\nHost: server.example.com\r\nUpgrade: websocket\r\n\
        Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nOrigin: http://example.com\r\n\
        Sec-WebSocket-Version: 13\r\n\r\n";

    impl HeadScanner {
        /// How many bytes were looked at: the work done.
        pub(crate) fn scanned(&self) -> usize {
            self.scanned
        }
    }

    /// The outcome of a scan: where the head ends, if it does, or the error, and how many bytes were looked at.
    fn scan(mut scanner: HeadScanner, pieces: &[&[u8]]) -> (Result<Option<usize>, String>, usize) {
        let mut before = 0;
        for piece in pieces {
            match scanner.feed(piece) {
                Ok(Some(n)) => return (Ok(Some(before + n)), scanner.scanned()),
                Ok(None) => before += piece.len(),
                Err(error) => return (Err(error.to_string()), scanner.scanned()),
            }
        }
        (Ok(None), scanner.scanned())
    }

    fn scan_request(head: &[u8]) -> Result<Option<usize>, String> {
        scan(HeadScanner::request(), &[head]).0
    }

    #[test]
    fn a_head_ends_at_its_empty_line() {
        let with_tail = [RFC_REQUEST, b"\r\n\r\ntail"].concat();
        assert_eq!(scan_request(&with_tail), Ok(Some(RFC_REQUEST.len())));
        assert_eq!(scan_request(b"GET / HTTP/1.1\r\n\r\n"), Ok(Some(18)));
        assert_eq!(scan(HeadScanner::response(), &[b"HTTP/1.1 101\r\n\r\n\x82"]).0, Ok(Some(16)));
    }

    #[test]
    fn every_prefix_of_a_head_is_incomplete() {
        for end in 0..RFC_REQUEST.len() {
            assert_eq!(scan_request(&RFC_REQUEST[..end]), Ok(None), "{end}");
        }
    }

    #[test]
    fn wrong_bytes_are_refused_where_they_stand() {
        for (head, at) in [
            (&b"\x16\x03\x01\x02\x00"[..], 0),
            (b"\x13/multistream/1.0.0\n", 0),
            (b" GET / HTTP/1.1\r\n", 0),
            (b"\r\nGET / HTTP/1.1\r\n", 0),
            (b"\0", 0),
            (b"GE\xc3\x89 / HTTP/1.1\r\n", 2),
            (b"GET / HTTP/1.1\n", 14),
            (b"GET / HTTP/1.1\rHost: a", 15),
            (b"GET / HTTP/1.1\r\r\n", 15),
            (b"GET / HTTP/1.1\r\nHost: a\n", 23),
            (b"GET / HTTP/1.1\r\nHost: \0", 22),
            (b"GET / HTTP/1.1\r\nHost: \x7f", 22),
            (b"GET / HTTP/1.1\r\n\rHost", 17),
            (b"GET / HTTP/1.1\r\n\n", 16),
        ] {
            let mut scanner = HeadScanner::request();
            let error = scanner.feed(head).expect_err("refused");
            assert!(matches!(error, HeadError::Byte { at: found, .. } if found == at), "{head:?}: {error}");
        }
        for head in [&b"GET / HTTP/1.1\r\nA: b\r\n c"[..], b"GET / HTTP/1.1\r\n\tA"] {
            assert!(matches!(HeadScanner::request().feed(head), Err(HeadError::FoldedLine)), "{head:?}");
        }
        for head in [&b"SSH-2.0-x\r\n"[..], b"\x15\x03", b"http/1.1 101", b"HTTP 101"] {
            assert!(matches!(HeadScanner::response().feed(head), Err(HeadError::Byte { .. })), "{head:?}");
        }
    }

    #[test]
    fn a_wrong_byte_is_found_wherever_in_a_long_line_it_stands() {
        let line = [b"GET /\t\xff".as_slice(), &[b'a'; 60]].concat();
        for at in 7..line.len() {
            for wrong in [b'\0', b'\n', 0x1f, 0x7f] {
                let mut line = line.clone();
                line[at] = wrong;
                let error = HeadScanner::request().feed(&line).expect_err("refused");
                assert!(
                    matches!(error, HeadError::Byte { byte, at: found } if (byte, found) == (wrong, at)),
                    "{error}"
                );
            }
        }
    }

    #[test]
    fn a_peer_that_speaks_tls_is_called_by_its_name() {
        let error = HeadScanner::request().feed(b"\x16\x03\x01").expect_err("no token");
        assert_eq!(error.to_string(), "peer speaks TLS, not plain HTTP");
    }

    #[test]
    fn targets_come_in_four_forms() {
        let path = |target: &str| parse_target(target.as_bytes()).map(|uri| uri.path().to_owned());
        assert_eq!(path("/a%2Fb?c").as_deref(), Some("/a%2Fb"));
        assert_eq!(path("http://example.com/a?b").as_deref(), Some("/a"));
        assert_eq!(path("WSS://example.com").as_deref(), Some("/"));
        for pathless in ["*", "example.com:80", "example.com"] {
            assert!(!path(pathless).is_some_and(|path| path.starts_with('/')), "{pathless}");
        }
        for wrong in ["", "/a#b", "/\u{e9}", "/\t", "ftp://example.com/", "/a\u{7f}"] {
            assert_eq!(path(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn origin_form_is_a_path_and_nothing_that_would_be_lost_or_split() {
        for good in ["/", "/a/b%20c?d=e&f", "/~x"] {
            assert!(is_origin_form(good), "{good}");
        }
        for wrong in ["", "a", "*", "http://a/", "/a b", "/a#b", "/a\r\nHost: b", "/\0", "/\u{e9}"] {
            assert!(!is_origin_form(wrong), "{wrong}");
        }
    }

    #[test]
    fn an_authority_is_a_host_and_a_port() {
        for good in ["example.com", "example.com:80", "[::1]:8080", "192.0.2.1", "[fe80::1%25eth0]:80"] {
            assert!(is_authority(good.as_bytes()), "{good}");
        }
        for wrong in ["", "a b", "user@a", "a/b", "a\r\nb", "a?b", "\u{e9}"] {
            assert!(!is_authority(wrong.as_bytes()), "{wrong}");
        }
    }

    /// Bytes that heads are made of, and some they are not: short texts of them hit the scanner's branches often.
    fn head_like() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            8 => Just(&b"\r\n"[..]),
            4 => Just(&b"GET / HTTP/1.1\r\n"[..]),
            4 => Just(&b"HTTP/1.1 101 x\r\n"[..]),
            4 => Just(&b"Host: a\r\n"[..]),
            1 => Just(&b": "[..]),
            1 => Just(&b"x"[..]),
            1 => Just(&b" "[..]),
            1 => Just(&b"\n"[..]),
            1 => Just(&b"\r"[..]),
            1 => Just(&b"\t"[..]),
            1 => Just(&b"\0"[..]),
            1 => Just(&b"\xff"[..]),
        ];
        prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn a_line_ends_at_its_first_byte_that_may_not_stand_in_one(
            bytes in prop::collection::vec(prop_oneof![4 => b' '..=b'~', 1 => Just(b'\t'), 1 => any::<u8>()], 0..60),
        ) {
            let first = bytes.iter().position(|&byte| !is_line_byte(byte));
            prop_assert_eq!(line_len(&bytes), first.unwrap_or(bytes.len()));
        }

        #[test]
        fn chunking_does_not_matter_and_each_byte_is_looked_at_once(
            text in head_like(),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
            response in any::<bool>(),
        ) {
            let scanner = || if response { HeadScanner::response() } else { HeadScanner::request() };
            let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
            cuts.sort_unstable();
            let mut pieces = Vec::new();
            let mut start = 0;
            for cut in cuts {
                pieces.push(&text[start..cut]);
                start = cut;
            }
            pieces.push(&text[start..]);

            let whole = scan(scanner(), &[&text]);
            prop_assert!(whole.1 <= text.len());
            prop_assert_eq!(scan(scanner(), &pieces), whole);
        }

        #[test]
        fn what_we_take_another_parser_takes_for_the_same(
            fields in prop::collection::vec("[A-Za-z!-]{1,4}:[ \t]{0,2}[ -~\t]{0,8}\r\n|[ -~]{1,4}\r\n", 0..4),
            tail in head_like(),
        ) {
            let text = [b"GET /x HTTP/1.1\r\n", fields.concat().as_bytes(), b"\r\n", &tail].concat();
            let Ok(Some(end)) = scan_request(&text) else { return Ok(()) };
            if let Ok(ours) = parse_request(&text[..end]) {
                let (length, theirs) = TungsteniteRequest::try_parse(&text).expect("good").expect("complete");
                prop_assert_eq!(length, end);
                prop_assert_eq!(&ours.target, theirs.uri());
                prop_assert_eq!(&ours.fields.to_map().expect("good"), theirs.headers());
            } else if let Ok(Some((_, theirs))) = HeaderMap::try_parse(&text[b"GET /x HTTP/1.1\r\n".len()..end]) {
                prop_assert!(false, "fields are refused that another parser takes: {theirs:?}");
            }
        }

        #[test]
        fn no_bytes_make_a_parser_panic(text in prop_oneof![head_like(), prop::collection::vec(any::<u8>(), 0..64)]) {
            let _ = parse_request(&text);
            let _ = parse_response(&text);
        }
    }
}
