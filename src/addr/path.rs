//! `/http-path`: from the decoded value to the request target.

/// Longest request target, in bytes, once percent-encoded.
///
/// What fits a request line of 8,000 octets, the least that every server should take (RFC 9112 §3).
const MAX_TARGET: usize = 8_000 - "GET  HTTP/1.1".len();

const TOO_LONG: &str = "the request target is too long (7987 bytes are the most)";

/// The value of an `/http-path` and the request target it stands for.
#[derive(Clone, Debug)]
pub(super) struct HttpPath {
    /// As the multiaddr has it: percent-decoded once.
    decoded: String,
    /// Starts with `/`; only what RFC 3986 lets stand in a path or a query, so no HTTP library has to repair it.
    target: String,
}

impl HttpPath {
    /// Reads the decoded value as the text of a URI path, with or without its first `/`, and perhaps a query.
    ///
    /// A `%` with two hexadecimal digits therefore is an escape, to be sent as it is; any other `%` means itself.
    pub(super) fn new(decoded: &str) -> Result<Self, &'static str> {
        if decoded.is_empty() {
            return Err("the path is empty");
        }
        if decoded.len() > MAX_TARGET {
            return Err(TOO_LONG);
        }
        for c in decoded.chars() {
            match c {
                ' ' => return Err("a request target has no spaces"),
                '#' => return Err("a request target has no fragment"),
                c if c.is_control() => return Err("a request target has no control characters"),
                _ => {}
            }
        }
        let target = encode(decoded);
        if target.len() > MAX_TARGET {
            return Err(TOO_LONG);
        }
        Ok(HttpPath { decoded: decoded.to_owned(), target })
    }

    pub(super) fn decoded(&self) -> &str {
        &self.decoded
    }

    pub(super) fn target(&self) -> &str {
        &self.target
    }
}

fn encode(decoded: &str) -> String {
    let bytes = decoded.as_bytes();
    let mut target = String::with_capacity(bytes.len() + 1);
    if !decoded.starts_with('/') {
        target.push('/');
    }
    for (at, &byte) in bytes.iter().enumerate() {
        let escape = || bytes.get(at + 1..at + 3).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        if is_literal(byte) || byte == b'%' && escape() {
            target.push(char::from(byte));
        } else {
            target.push_str(&format!("%{byte:02X}"));
        }
    }
    target
}

/// `pchar`, `/` and `?`, the percent sign aside. See RFC 3986 §3.3 and §3.4.
fn is_literal(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/?".contains(&byte)
}

#[cfg(test)]
mod tests {
    use async_tungstenite::tungstenite::http::Uri;
    use proptest::prelude::*;

    use super::*;

    fn target(decoded: &str) -> String {
        HttpPath::new(decoded).unwrap().target
    }

    #[test]
    fn a_path_gets_its_first_slash_if_it_has_none() {
        assert_eq!(target("path/to/endpoint"), "/path/to/endpoint");
        assert_eq!(target("/path/to/endpoint"), "/path/to/endpoint");
        assert_eq!(target("/"), "/");
        assert_eq!(target("//a"), "//a");
    }

    #[test]
    fn a_query_stays_a_query() {
        assert_eq!(target("chat?room=1&who=a?b"), "/chat?room=1&who=a?b");
        assert_eq!(target("?room=1"), "/?room=1");
    }

    #[test]
    fn escapes_are_kept_and_other_percent_signs_encoded() {
        assert_eq!(target("a%20b%2fc"), "/a%20b%2fc");
        assert_eq!(target("%0d%0a"), "/%0d%0a");
        assert_eq!(target("100%"), "/100%25");
        assert_eq!(target("%2"), "/%252");
        assert_eq!(target("%zz%%41"), "/%25zz%25%41");
        assert_eq!(target("%é9"), "/%25%C3%A99");
    }

    #[test]
    fn what_has_no_place_in_a_uri_is_encoded_as_utf_8() {
        assert_eq!(target("grüße/日本"), "/gr%C3%BC%C3%9Fe/%E6%97%A5%E6%9C%AC");
        assert_eq!(target("\"<>\\^`{|}[]"), "/%22%3C%3E%5C%5E%60%7B%7C%7D%5B%5D");
    }

    #[test]
    fn control_characters_space_and_fragment_are_refused() {
        for c in (0..=0x20).chain(0x7f..=0x9f).filter_map(char::from_u32).chain(['#']) {
            for decoded in [format!("{c}"), format!("a{c}b"), format!("/a?{c}")] {
                assert!(HttpPath::new(&decoded).is_err(), "{decoded:?}");
            }
        }
        assert!(HttpPath::new("").is_err());
    }

    #[test]
    fn a_target_is_limited_after_encoding() {
        assert!(TOO_LONG.contains(&format!("({MAX_TARGET} bytes")));
        assert_eq!(target(&"a".repeat(MAX_TARGET - 1)).len(), MAX_TARGET);
        assert!(HttpPath::new(&"a".repeat(MAX_TARGET)).is_err());
        assert!(HttpPath::new(&"é".repeat(MAX_TARGET / 6 + 1)).is_err());
        assert!(HttpPath::new(&"a".repeat(1 << 20)).is_err());
    }

    proptest! {
        #[test]
        fn an_http_library_takes_every_target_as_it_is(decoded in ".{1,40}") {
            if let Ok(path) = HttpPath::new(&decoded) {
                let uri: Uri = path.target.parse().unwrap();
                prop_assert_eq!(uri.to_string(), path.target.clone());
                prop_assert_eq!(uri.path_and_query().unwrap().as_str(), path.target.clone());
                prop_assert_eq!(encode(&path.target), path.target);
            }
        }
    }
}
