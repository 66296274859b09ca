//! The host of an address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use multiaddr::Protocol;

use super::AddrError;

/// Which addresses of a DNS name are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DnsFamily {
    /// `/dns`: A and AAAA.
    Any,
    /// `/dns4`: A.
    V4,
    /// `/dns6`: AAAA.
    V6,
}

/// The host of an address.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Host {
    /// `/ip4/<addr>`
    Ip4(Ipv4Addr),
    /// `/ip6/<addr>`, with its zone if `/ip6zone/<zone>` stands before it (RFC 4007 §11).
    Ip6 {
        /// The address.
        addr: Ipv6Addr,
        /// The zone, an interface's name or number.
        zone: Option<String>,
    },
    /// `/dns/<name>`, `/dns4/<name>`, `/dns6/<name>`
    Dns {
        /// The name, as written; a dot at its end keeps a resolver from trying its search list.
        name: String,
        /// The families asked for.
        family: DnsFamily,
    },
}

impl Host {
    /// Whether the host is this machine by definition: `127.0.0.0/8`, `::1`, or a `localhost` name (RFC 6761 §6.3).
    pub fn is_loopback(&self) -> bool {
        match self {
            Host::Ip4(addr) => addr.is_loopback(),
            Host::Ip6 { addr, .. } => addr.to_canonical().is_loopback(),
            Host::Dns { name, .. } => {
                let top = name.trim_end_matches('.').rsplit('.').next();
                top.is_some_and(|label| label.eq_ignore_ascii_case("localhost"))
            }
        }
    }

    /// The components that spell this host, in their order.
    pub(super) fn components(&self) -> impl Iterator<Item = Protocol<'_>> {
        let (zone, host) = match self {
            Host::Ip4(addr) => (None, Protocol::Ip4(*addr)),
            Host::Ip6 { addr, zone } => (zone.as_deref(), Protocol::Ip6(*addr)),
            Host::Dns { name, family: DnsFamily::Any } => (None, Protocol::Dns(name.into())),
            Host::Dns { name, family: DnsFamily::V4 } => (None, Protocol::Dns4(name.into())),
            Host::Dns { name, family: DnsFamily::V6 } => (None, Protocol::Dns6(name.into())),
        };
        zone.map(|zone| Protocol::Ip6zone(zone.into())).into_iter().chain([host])
    }

    /// Refuses what would not survive printing, or would break out of a header field.
    pub(super) fn check(&self) -> Result<(), AddrError> {
        let verdict = match self {
            Host::Ip4(_) | Host::Ip6 { zone: None, .. } => Ok(()),
            Host::Ip6 { zone: Some(zone), .. } => check_zone(zone),
            Host::Dns { name, .. } => check_name(name.strip_suffix('.').unwrap_or(name)),
        };
        match (verdict, self.components().next()) {
            (Err(reason), Some(component)) => Err(AddrError::invalid(&component, reason)),
            _ => Ok(()),
        }
    }
}

impl From<IpAddr> for Host {
    fn from(addr: IpAddr) -> Self {
        match addr {
            IpAddr::V4(addr) => Host::Ip4(addr),
            IpAddr::V6(addr) => Host::Ip6 { addr, zone: None },
        }
    }
}

/// The socket's IP address, with its scope id, unless that is 0, as the zone.
impl From<SocketAddr> for Host {
    fn from(addr: SocketAddr) -> Self {
        match addr {
            SocketAddr::V4(addr) => Host::Ip4(*addr.ip()),
            SocketAddr::V6(addr) => {
                let zone = (addr.scope_id() != 0).then(|| addr.scope_id().to_string());
                Host::Ip6 { addr: *addr.ip(), zone }
            }
        }
    }
}

/// Longest zone, in bytes: interface names have at most 15 on Linux and 256 on Windows.
const MAX_ZONE: usize = 256;

fn check_zone(zone: &str) -> Result<(), &'static str> {
    if zone.is_empty() {
        return Err("the zone is empty");
    }
    if zone.len() > MAX_ZONE {
        return Err("the zone is longer than 256 bytes");
    }
    // The slash would begin another component, the percent sign another zone (RFC 4007 §11.2).
    if !zone.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/' && byte != b'%') {
        return Err("a zone has visible ASCII characters only, but neither a slash nor a percent sign");
    }
    Ok(())
}

/// A host name that SNI can carry: no IP address, no dot at the end. See RFC 6066 §3.
pub(super) fn check_sni(name: &str) -> Result<(), &'static str> {
    if name.ends_with('.') {
        return Err("a server name has no dot at its end (RFC 6066)");
    }
    if name.parse::<IpAddr>().is_ok() {
        return Err("a server name is no IP address (RFC 6066)");
    }
    check_name(name)
}

/// A host name without the dot at its end. See RFC 1123 §2.1 and RFC 1035 §2.3.4; underscores occur.
fn check_name(name: &str) -> Result<(), &'static str> {
    if name.is_empty() {
        return Err("the name is empty");
    }
    if !name.is_ascii() {
        return Err("the name is not ASCII: write it in its xn-- form (RFC 5890)");
    }
    if name.parse::<IpAddr>().is_ok() {
        return Err("an IP address is no name: write /ip4 or /ip6");
    }
    if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)) {
        return Err("a name has letters, digits, hyphens, underscores and dots only");
    }
    if name.len() > 253 {
        return Err("the name is longer than 253 bytes");
    }
    for label in name.split('.') {
        if label.is_empty() || label.len() > 63 {
            return Err("a label between dots has 1 to 63 characters");
        }
        if label.starts_with('-') || label.ends_with('-') {
            return Err("a label neither begins nor ends with a hyphen");
        }
    }
    if name.rsplit('.').next().is_some_and(is_number) {
        return Err("resolvers read a name that ends in a number as an IPv4 address");
    }
    Ok(())
}

/// A number to inet_aton: `/dns/127.1` and `/dns/0x7f000001` would be 127.0.0.1.
fn is_number(label: &str) -> bool {
    match label.strip_prefix("0x").or_else(|| label.strip_prefix("0X")) {
        Some(digits) => digits.bytes().all(|byte| byte.is_ascii_hexdigit()),
        None => label.bytes().all(|byte| byte.is_ascii_digit()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_resolvers_and_certificates_take_are_taken() {
        let longest = ["a".repeat(63), "b".repeat(63), "c".repeat(63), "d".repeat(61)].join(".");
        assert_eq!(longest.len(), 253);
        for name in [
            "a",
            "localhost",
            "example.com",
            "_dnsaddr.Example.com",
            "1-2-3-4.k51.libp2p.direct",
            "xn--bcher-kva.example",
        ] {
            assert_eq!(check_name(name), Ok(()), "{name}");
            assert_eq!(check_sni(name), Ok(()), "{name}");
        }
        assert_eq!(check_name(&longest), Ok(()));
    }

    #[test]
    fn names_that_would_mean_something_else_are_refused() {
        let long_label = "a".repeat(64);
        let long_name = ["a".repeat(63), "b".repeat(63), "c".repeat(63), "d".repeat(62)].join(".");
        for name in [
            "",
            ".",
            "..",
            ".a",
            "a..b",
            "a b",
            "a\r\nb",
            "a\0",
            "a/b",
            "a:80",
            "a@b",
            "[::1]",
            "::1",
            "fe80::1",
            "a%b",
            "bücher.example",
            "-a",
            "a-.b",
            "192.0.2.1",
            "127.1",
            "1",
            "0x7f000001",
            "a.0x",
            "*.a",
            &long_label,
            &long_name,
        ] {
            assert!(check_name(name).is_err(), "{name}");
            assert!(check_sni(name).is_err(), "{name}");
        }
        assert!(check_sni("example.com.").is_err());
    }

    #[test]
    fn zones_are_names_or_numbers_of_interfaces() {
        for zone in ["eth0", "1", "br-lan.7", "eth0:1", "\\Device\\x"] {
            assert_eq!(check_zone(zone), Ok(()), "{zone}");
        }
        for zone in ["", "a b", "a/b", "a%b", "a\r\nb", "a\0", "é", &"a".repeat(257)] {
            assert!(check_zone(zone).is_err(), "{zone:?}");
        }
    }

    #[test]
    fn loopback_is_known_by_address_and_by_name() {
        let name = |name: &str| Host::Dns { name: name.into(), family: DnsFamily::Any };
        let ip = |ip: &str| Host::from(ip.parse::<IpAddr>().unwrap());
        for host in [
            ip("127.0.0.1"),
            ip("127.9.9.9"),
            ip("::1"),
            ip("::ffff:127.0.0.1"),
            name("LocalHost."),
            name("a.localhost"),
        ] {
            assert!(host.is_loopback(), "{host:?}");
        }
        for host in [ip("0.0.0.0"), ip("::"), ip("192.168.0.1"), name("localhost.example"), name("notlocalhost")] {
            assert!(!host.is_loopback(), "{host:?}");
        }
    }
}
