//! The name that a server's certificate has to be valid for.

use std::net::IpAddr;

use super::TlsError;

/// A DNS name or an IP address, as text that both backends read alike.
///
/// Checked here, because OpenSSL takes an empty name for "any name" and panics on a NUL.
#[derive(Debug)]
pub(super) struct ServerName(String);

impl ServerName {
    pub(super) fn parse(name: &str) -> Result<Self, TlsError> {
        if let Ok(ip) = name.parse::<IpAddr>() {
            return Ok(ServerName(ip.to_string()));
        }
        // The root's dot is no part of the name in SNI (RFC 6066 §3) nor in a certificate.
        let relative = name.strip_suffix('.').unwrap_or(name);
        if !is_dns_name(relative) {
            return Err(TlsError::InvalidName(name.to_owned()));
        }
        Ok(ServerName(relative.to_owned()))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

/// Letters, digits, hyphen and underscore in labels of 1 to 63 bytes, 253 in all (RFC 1035 §2.3.1, RFC 1123 §2.1).
fn is_dns_name(name: &str) -> bool {
    // A last label of digits only is a mistyped IPv4 address.
    let numeric = name.rsplit('.').next().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit()));
    name.len() <= 253 && !numeric && name.split('.').all(is_label)
}

fn is_label(label: &str) -> bool {
    let fits = (1..=63).contains(&label.len());
    let hyphens_inside = !label.starts_with('-') && !label.ends_with('-');
    fits && hyphens_inside && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dns_names_and_addresses_are_read() {
        let cases = [
            ("example.com", "example.com"),
            ("example.com.", "example.com"),
            ("localhost", "localhost"),
            ("_srv.a-b.xn--bcher-kva.example", "_srv.a-b.xn--bcher-kva.example"),
            ("127.0.0.1", "127.0.0.1"),
            ("::1", "::1"),
            ("2001:DB8:0::1", "2001:db8::1"),
        ];
        for (given, read) in cases {
            assert_eq!(ServerName::parse(given).unwrap().0, read);
        }
        let longest = format!("{}.{}.{}.{}", "a".repeat(63), "b".repeat(63), "c".repeat(63), "d".repeat(61));
        assert!(ServerName::parse(&longest).is_ok());
        assert!(ServerName::parse(&format!("{longest}d")).is_err());
    }

    #[test]
    fn what_is_no_name_is_refused() {
        let label = "a".repeat(64);
        for name in [
            "",
            ".",
            "..",
            "a..b",
            ".a",
            "a.b..",
            "a b",
            "a\0b",
            "a\r\nb",
            "-a",
            "a-",
            "a.-b.c",
            "ü.example",
            "[::1]",
            "fe80::1%eth0",
            "1.2.3",
            "1.2.3.256",
            "a.7",
            "a/b",
            "a:443",
            "*.example.com",
            &label,
        ] {
            assert!(matches!(ServerName::parse(name), Err(TlsError::InvalidName(text)) if text == name), "{name:?}");
        }
    }
}
