//! `WsAddr`: a libp2p WebSocket multiaddr, understood.

mod error;
mod host;
mod parse;
mod path;

use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use multiaddr::{Multiaddr, PeerId, Protocol};

pub use error::AddrError;
pub use host::{DnsFamily, Host};
use path::HttpPath;

/// A libp2p WebSocket address, to dial or to listen on, read from a [`Multiaddr`] or from text.
///
/// The specification is libp2p's `websockets/README.md`; what it allows is this, and nothing else is accepted:
///
/// ```text
/// host [ /tcp/<port> ] ( /ws | /tls [ /sni/<name> ] /ws | /wss ) [ /http-path/<path> ] [ /p2p/<id> ]
/// host = /ip4/<addr> | [ /ip6zone/<zone> ] /ip6/<addr> | /dns/<name> | /dns4/<name> | /dns6/<name>
/// ```
///
/// - **Port**: without `/tcp` it is 443 with TLS and 80 without. Port 0 lets a listener choose.
/// - **Names** are ASCII, 253 bytes at most, no IP addresses. The one in `/sni` may not end in a dot (RFC 6066 §3).
/// - **Path**: the decoded `/http-path` is the text of a URI path, its first `/` left out or not. What no request
///   target may contain is percent-encoded (as UTF-8), what was encoded stays, and a `?` begins a query. Control
///   characters, spaces and `#` are refused.
///
/// An address prints as it was spelled. **Two are equal** (and hash alike) if they mean the same: `/wss` equals
/// `/tls/ws`, an omitted port the default written out, and paths are compared as request targets. Names are compared as
/// written, and `/dns` differs from `/dns4`.
///
/// ```
/// use ws_transport::WsAddr;
///
/// let addr: WsAddr = "/ip4/192.0.2.0/tcp/8443/tls/sni/foo.example.com/ws/http-path/path%2Fto%2Fendpoint".parse()?;
/// assert_eq!(addr.port(), 8443);
/// assert_eq!(addr.server_name(), "foo.example.com");
/// assert_eq!(addr.host_header(), "foo.example.com:8443");
/// assert_eq!(addr.request_target(), "/path/to/endpoint");
///
/// let short: WsAddr = "/dns/example.com/wss".parse()?;
/// assert_eq!(short, "/dns/example.com/tcp/443/tls/ws".parse()?);
/// assert_eq!(short.to_string(), "/dns/example.com/wss");
///
/// let error = "/ip4/192.0.2.0/tcp/443/quic-v1".parse::<WsAddr>().unwrap_err();
/// assert!(error.to_string().starts_with("unexpected component /quic-v1 after /tcp/443"));
/// # Ok::<(), ws_transport::AddrError>(())
/// ```
#[derive(Clone)]
pub struct WsAddr {
    /// Passes `Host::check`.
    host: Host,
    /// As written; `None` where `/tcp` was omitted.
    port: Option<u16>,
    scheme: Scheme,
    path: Option<HttpPath>,
    peer: Option<PeerId>,
}

/// The spellings of a WebSocket, plain or inside TLS.
#[derive(Clone, Debug)]
enum Scheme {
    /// `/ws`
    Ws,
    /// `/tls/ws` or `/tls/sni/<name>/ws`; the name passes `check_sni`.
    TlsWs { sni: Option<String> },
    /// `/wss`
    Wss,
}

impl WsAddr {
    /// The host to connect to or listen on.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The TCP port: as written, else 443 with TLS and 80 without.
    pub fn port(&self) -> u16 {
        self.port.unwrap_or(self.default_port())
    }

    /// Whether TLS runs below the WebSocket.
    pub fn is_tls(&self) -> bool {
        !matches!(self.scheme, Scheme::Ws)
    }

    /// Whether the host is this machine by definition, so that the address is of no use to others.
    ///
    /// That is `127.0.0.0/8`, `::1` or a `localhost` name (RFC 6761 §6.3); nothing is resolved.
    pub fn is_loopback(&self) -> bool {
        self.host.is_loopback()
    }

    /// The name in `/sni/<name>`.
    pub fn sni(&self) -> Option<&str> {
        match &self.scheme {
            Scheme::TlsWs { sni } => sni.as_deref(),
            Scheme::Ws | Scheme::Wss => None,
        }
    }

    /// The name the server's certificate has to be valid for, and that goes into SNI unless it is an IP address:
    /// `/sni`, else the DNS name (without a dot at its end), else the IP address (without brackets or zone).
    pub fn server_name(&self) -> String {
        match (self.sni(), &self.host) {
            (Some(name), _) => name.to_owned(),
            (None, Host::Dns { name, .. }) => name.strip_suffix('.').unwrap_or(name).to_owned(),
            (None, Host::Ip4(addr)) => addr.to_string(),
            (None, Host::Ip6 { addr, .. }) => addr.to_string(),
        }
    }

    /// The value of the `Host` header: the server name, and `:port` unless it is the scheme's default.
    ///
    /// An IPv6 address stands in brackets, without its zone, which means nothing to another machine (RFC 6874 §4).
    pub fn host_header(&self) -> String {
        let mut host = self.server_name();
        if self.sni().is_none() && matches!(self.host, Host::Ip6 { .. }) {
            host = format!("[{host}]");
        }
        match self.port() {
            port if port == self.default_port() => host,
            port => host + ":" + &port.to_string(),
        }
    }

    /// The decoded `/http-path`, starting with `/`, percent-encoded as a request target; `/` if there is none.
    ///
    /// It is in origin form (RFC 9112 §3.2.1), made only of what RFC 3986 allows in a path and a query, and short
    /// enough for a request line of 8,000 bytes.
    pub fn request_target(&self) -> &str {
        self.http_path().unwrap_or("/")
    }

    /// The request target, if the address has an `/http-path`.
    pub fn http_path(&self) -> Option<&str> {
        self.path.as_ref().map(HttpPath::target)
    }

    /// The peer id of a trailing `/p2p/<id>`.
    pub fn peer_id(&self) -> Option<&PeerId> {
        self.peer.as_ref()
    }

    /// The same address with this host in place of its own; `/sni` and all else stay.
    ///
    /// A name or zone that no address could contain is refused.
    pub fn with_host(self, host: Host) -> Result<Self, AddrError> {
        host.check()?;
        Ok(WsAddr { host, ..self })
    }

    /// The same address with this IP address as its host; `/sni` and all else stay.
    ///
    /// ```
    /// use ws_transport::WsAddr;
    ///
    /// let wildcard: WsAddr = "/ip4/0.0.0.0/tcp/80/ws".parse()?;
    /// let outside = wildcard.with_ip([192, 0, 2, 7].into()).with_port(8080);
    /// assert_eq!(outside.to_string(), "/ip4/192.0.2.7/tcp/8080/ws");
    /// # Ok::<(), ws_transport::AddrError>(())
    /// ```
    pub fn with_ip(self, ip: IpAddr) -> Self {
        WsAddr { host: ip.into(), ..self }
    }

    /// The same address with this port, written out.
    pub fn with_port(self, port: u16) -> Self {
        WsAddr { port: Some(port), ..self }
    }

    /// The same address with this peer id at its end, or none.
    pub fn with_peer_id(self, peer: Option<PeerId>) -> Self {
        WsAddr { peer, ..self }
    }

    /// The same address with the host (its scope id as zone) and the port of a socket.
    pub(crate) fn with_socket(self, addr: SocketAddr) -> Self {
        WsAddr { host: addr.into(), port: Some(addr.port()), ..self }
    }

    /// The address of a socket somebody else bound: `/ip4/…/tcp/…/ws`, or `/tls/ws`.
    pub(crate) fn for_socket(addr: SocketAddr, tls: bool) -> Self {
        let scheme = if tls { Scheme::TlsWs { sni: None } } else { Scheme::Ws };
        WsAddr { host: addr.into(), port: Some(addr.port()), scheme, path: None, peer: None }
    }

    /// The address as a multiaddr, in the spelling it was given.
    pub fn to_multiaddr(&self) -> Multiaddr {
        // With another path than "/" the multiaddr crate would write /x-parity-ws: a path goes into /http-path only.
        let ws = || Protocol::Ws("/".into());
        let (tls, sni, ws) = match &self.scheme {
            Scheme::Ws => (None, None, ws()),
            Scheme::TlsWs { sni } => (Some(Protocol::Tls), sni.as_deref(), ws()),
            Scheme::Wss => (None, None, Protocol::Wss("/".into())),
        };
        self.host
            .components()
            .chain(self.port.map(Protocol::Tcp))
            .chain(tls)
            .chain(sni.map(|name| Protocol::Sni(name.into())))
            .chain([ws])
            .chain(self.path.as_ref().map(|path| Protocol::HttpPath(path.decoded().into())))
            .chain(self.peer.map(Protocol::P2p))
            .collect()
    }

    fn default_port(&self) -> u16 {
        if self.is_tls() { 443 } else { 80 }
    }

    /// What equality and hash look at.
    fn meaning(&self) -> impl Eq + Hash {
        (&self.host, self.port(), self.is_tls(), self.sni(), self.http_path(), self.peer)
    }
}

impl PartialEq for WsAddr {
    fn eq(&self, other: &Self) -> bool {
        self.meaning() == other.meaning()
    }
}

impl Eq for WsAddr {}

impl Hash for WsAddr {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.meaning().hash(state);
    }
}

impl TryFrom<&Multiaddr> for WsAddr {
    type Error = AddrError;

    fn try_from(address: &Multiaddr) -> Result<Self, AddrError> {
        parse::parse(address)
    }
}

impl TryFrom<Multiaddr> for WsAddr {
    type Error = AddrError;

    fn try_from(address: Multiaddr) -> Result<Self, AddrError> {
        parse::parse(&address)
    }
}

impl FromStr for WsAddr {
    type Err = AddrError;

    fn from_str(text: &str) -> Result<Self, AddrError> {
        let address: Multiaddr = text.parse().map_err(|source| AddrError::malformed(text, source))?;
        parse::parse(&address)
    }
}

impl fmt::Display for WsAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_multiaddr().fmt(f)
    }
}

impl fmt::Debug for WsAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WsAddr({self})")
    }
}

impl From<WsAddr> for Multiaddr {
    fn from(addr: WsAddr) -> Multiaddr {
        addr.to_multiaddr()
    }
}

impl From<&WsAddr> for Multiaddr {
    fn from(addr: &WsAddr) -> Multiaddr {
        addr.to_multiaddr()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV6};

    use proptest::option;
    use proptest::prelude::*;

    use super::*;

    const PEER: &str = "/p2p/12D3KooWHFKTMzwerBtsVmtz4ZZEQy2heafxzWw6wNn5PPYkBxJ5";

    fn addr(text: &str) -> WsAddr {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    fn ip(text: &str) -> Host {
        text.parse::<IpAddr>().unwrap().into()
    }

    fn dns(name: &str, family: DnsFamily) -> Host {
        Host::Dns { name: name.into(), family }
    }

    /// An address and what has to be read from it.
    struct Case {
        text: &'static str,
        host: Host,
        port: u16,
        tls: bool,
        sni: Option<&'static str>,
        server_name: &'static str,
        host_header: &'static str,
        target: &'static str,
    }

    impl Case {
        fn check(&self) {
            let Case { text, .. } = self;
            let multiaddr: Multiaddr = text.parse().unwrap();
            for suffix in ["", PEER] {
                let text = format!("{text}{suffix}");
                let addr = addr(&text);
                assert_eq!(addr.host(), &self.host, "{text}");
                assert_eq!(addr.port(), self.port, "{text}");
                assert_eq!(addr.is_tls(), self.tls, "{text}");
                assert_eq!(addr.sni(), self.sni, "{text}");
                assert_eq!(addr.server_name(), self.server_name, "{text}");
                assert_eq!(addr.host_header(), self.host_header, "{text}");
                assert_eq!(addr.request_target(), self.target, "{text}");
                assert_eq!(addr.http_path().is_some(), text.contains("/http-path/"), "{text}");
                assert_eq!(addr.peer_id().map(|id| format!("/p2p/{id}")).unwrap_or_default(), suffix);
                assert_eq!(addr.to_string(), text);
                assert_eq!(addr.to_multiaddr(), text.parse().unwrap());
                assert_eq!(addr.clone().with_peer_id(None).to_multiaddr(), multiaddr);
                assert_eq!(WsAddr::try_from(addr.to_multiaddr()).unwrap(), addr);
            }
        }
    }

    #[test]
    fn every_example_of_the_specification_is_understood_and_printed_back() {
        let test_net = || ip("192.0.2.0");
        let example = || dns("example.com", DnsFamily::Any);
        let cases = [
            Case {
                text: "/ip4/192.0.2.0/tcp/1234/ws",
                host: test_net(),
                port: 1234,
                tls: false,
                sni: None,
                server_name: "192.0.2.0",
                host_header: "192.0.2.0:1234",
                target: "/",
            },
            Case {
                text: "/ip4/192.0.2.0/tcp/1234/tls/ws",
                host: test_net(),
                port: 1234,
                tls: true,
                sni: None,
                server_name: "192.0.2.0",
                host_header: "192.0.2.0:1234",
                target: "/",
            },
            Case {
                text: "/ip4/192.0.2.0/tcp/1234/tls/sni/foo.example.com/ws",
                host: test_net(),
                port: 1234,
                tls: true,
                sni: Some("foo.example.com"),
                server_name: "foo.example.com",
                host_header: "foo.example.com:1234",
                target: "/",
            },
            Case {
                text: "/ip4/192.0.2.0/ws",
                host: test_net(),
                port: 80,
                tls: false,
                sni: None,
                server_name: "192.0.2.0",
                host_header: "192.0.2.0",
                target: "/",
            },
            Case {
                text: "/ip4/192.0.2.0/tls/ws",
                host: test_net(),
                port: 443,
                tls: true,
                sni: None,
                server_name: "192.0.2.0",
                host_header: "192.0.2.0",
                target: "/",
            },
            Case {
                text: "/ip4/192.0.2.0/wss",
                host: test_net(),
                port: 443,
                tls: true,
                sni: None,
                server_name: "192.0.2.0",
                host_header: "192.0.2.0",
                target: "/",
            },
            Case {
                text: "/dns/example.com/wss",
                host: example(),
                port: 443,
                tls: true,
                sni: None,
                server_name: "example.com",
                host_header: "example.com",
                target: "/",
            },
            Case {
                text: "/dns/example.com/wss/http-path/path%2Fto%2Fendpoint",
                host: example(),
                port: 443,
                tls: true,
                sni: None,
                server_name: "example.com",
                host_header: "example.com",
                target: "/path/to/endpoint",
            },
        ];
        cases.iter().for_each(Case::check);
    }

    #[test]
    fn forms_beyond_the_examples_are_understood_and_printed_back() {
        let link_local = |zone: &str| Host::Ip6 { addr: "fe80::1".parse().unwrap(), zone: Some(zone.into()) };
        let cases = [
            Case {
                text: "/dns/example.com/tcp/443/tls/ws",
                host: dns("example.com", DnsFamily::Any),
                port: 443,
                tls: true,
                sni: None,
                server_name: "example.com",
                host_header: "example.com",
                target: "/",
            },
            Case {
                text: "/dns4/Example.COM./tcp/443/ws",
                host: dns("Example.COM.", DnsFamily::V4),
                port: 443,
                tls: false,
                sni: None,
                server_name: "Example.COM",
                host_header: "Example.COM:443",
                target: "/",
            },
            Case {
                text: "/dns6/example.com/tcp/80/tls/sni/a.example/ws/http-path/%2Fchat%3Froom=1",
                host: dns("example.com", DnsFamily::V6),
                port: 80,
                tls: true,
                sni: Some("a.example"),
                server_name: "a.example",
                host_header: "a.example:80",
                target: "/chat?room=1",
            },
            Case {
                text: "/ip6/2001:db8::1/tcp/80/ws/http-path/gr%C3%BC%C3%9Fe%2Fa%2520b",
                host: ip("2001:db8::1"),
                port: 80,
                tls: false,
                sni: None,
                server_name: "2001:db8::1",
                host_header: "[2001:db8::1]",
                target: "/gr%C3%BC%C3%9Fe/a%20b",
            },
            Case {
                text: "/ip6zone/eth0/ip6/fe80::1/tcp/0/ws",
                host: link_local("eth0"),
                port: 0,
                tls: false,
                sni: None,
                server_name: "fe80::1",
                host_header: "[fe80::1]:0",
                target: "/",
            },
            Case {
                text: "/ip6zone/2/ip6/fe80::1/tcp/65535/tls/sni/a.example/ws",
                host: link_local("2"),
                port: 65535,
                tls: true,
                sni: Some("a.example"),
                server_name: "a.example",
                host_header: "a.example:65535",
                target: "/",
            },
        ];
        cases.iter().for_each(Case::check);
    }

    #[test]
    fn different_spellings_of_one_address_are_equal_and_hash_alike() {
        for same in [
            ["/ip4/192.0.2.0/wss", "/ip4/192.0.2.0/tls/ws", "/ip4/192.0.2.0/tcp/443/wss"],
            ["/ip6/::1/ws", "/ip6/::1/tcp/80/ws", "/ip6/0:0:0:0:0:0:0:1/ws"],
            [
                "/dns/a.example/ws/http-path/a",
                "/dns/a.example/ws/http-path/%2Fa",
                "/dns/a.example/tcp/80/ws/http-path/%61",
            ],
        ] {
            let set: HashSet<WsAddr> = same.iter().map(|text| addr(text)).collect();
            assert_eq!(set.len(), 1, "{same:?}");
        }
    }

    #[test]
    fn addresses_that_differ_in_meaning_are_not_equal() {
        let all = [
            "/dns/a.example/ws",
            "/dns/b.example/ws",
            "/dns4/a.example/ws",
            "/dns/a.example/tcp/443/ws",
            "/dns/a.example/wss",
            "/dns/a.example/tcp/80/wss",
            "/dns/a.example/tls/sni/b.example/ws",
            "/dns/a.example/ws/http-path/%2F",
            "/ip6/fe80::1/ws",
            "/ip6zone/1/ip6/fe80::1/ws",
        ];
        let mut set: HashSet<WsAddr> = all.iter().map(|text| addr(text)).collect();
        set.insert(addr(&format!("/dns/a.example/ws{PEER}")));
        assert_eq!(set.len(), all.len() + 1);
    }

    #[test]
    fn a_part_can_be_exchanged_and_the_rest_keeps_its_spelling() {
        let given = addr(&format!("/dns/a.example/tls/sni/b.example/ws/http-path/c{PEER}"));
        let bound = given.clone().with_socket("[fe80::1%3]:4001".parse().unwrap());
        let sni = "tls/sni/b.example/ws/http-path/c";
        assert_eq!(bound.to_string(), format!("/ip6zone/3/ip6/fe80::1/tcp/4001/{sni}{PEER}"));
        let ip = given.clone().with_ip(Ipv4Addr::LOCALHOST.into()).with_peer_id(None);
        assert_eq!(ip.to_string(), format!("/ip4/127.0.0.1/{sni}"));
        assert!(ip.is_loopback() && !given.is_loopback());
        let renamed = given.clone().with_host(dns("c.example", DnsFamily::V6)).unwrap().with_port(443);
        assert_eq!(renamed.to_string(), format!("/dns6/c.example/tcp/443/{sni}{PEER}"));
        assert!(given.with_host(dns("c.example\r\nX: y", DnsFamily::Any)).is_err());
    }

    #[test]
    fn sockets_have_addresses() {
        let v4: SocketAddr = "192.0.2.7:4001".parse().unwrap();
        let v6 = |scope| SocketAddr::V6(SocketAddrV6::new("fe80::1".parse().unwrap(), 4001, 0, scope));
        assert_eq!(WsAddr::for_socket(v4, false).to_string(), "/ip4/192.0.2.7/tcp/4001/ws");
        assert_eq!(WsAddr::for_socket(v6(0), true).to_string(), "/ip6/fe80::1/tcp/4001/tls/ws");
        assert_eq!(WsAddr::for_socket(v6(2), false).to_string(), "/ip6zone/2/ip6/fe80::1/tcp/4001/ws");
    }

    fn dns_name() -> impl Strategy<Value = String> {
        "([a-zA-Z0-9_]([a-zA-Z0-9_-]{0,10}[a-zA-Z0-9_])?\\.){0,4}[a-zA-Z]([a-zA-Z0-9-]{0,10}[a-zA-Z])?"
    }

    fn any_host() -> impl Strategy<Value = Host> {
        let family = prop_oneof![Just(DnsFamily::Any), Just(DnsFamily::V4), Just(DnsFamily::V6)];
        let zone = option::of("[a-zA-Z0-9._:-]{1,15}");
        prop_oneof![
            any::<Ipv4Addr>().prop_map(Host::Ip4),
            (any::<Ipv6Addr>(), zone).prop_map(|(addr, zone)| Host::Ip6 { addr, zone }),
            (dns_name(), any::<bool>(), family).prop_map(|(name, dot, family)| {
                let name = if dot { name + "." } else { name };
                Host::Dns { name, family }
            }),
        ]
    }

    fn any_peer() -> impl Strategy<Value = PeerId> {
        // Multihashes of the two kinds a peer id has: sha2-256 and, of short keys, identity.
        any::<([u8; 32], bool)>().prop_map(|(digest, short)| {
            let bytes = [if short { &[0x00, 32] } else { &[0x12, 32] }, digest.as_slice()].concat();
            PeerId::from_bytes(&bytes).unwrap()
        })
    }

    fn any_addr() -> impl Strategy<Value = WsAddr> {
        let scheme = prop_oneof![
            Just(Scheme::Ws),
            Just(Scheme::Wss),
            option::of(dns_name()).prop_map(|sni| Scheme::TlsWs { sni }),
        ];
        let path = option::of("[^\\pC #]{1,20}".prop_map(|decoded| HttpPath::new(&decoded).unwrap()));
        (any_host(), any::<Option<u16>>(), scheme, path, option::of(any_peer()))
            .prop_map(|(host, port, scheme, path, peer)| WsAddr { host, port, scheme, path, peer })
    }

    /// Components in any order, with values from anywhere.
    fn any_component() -> impl Strategy<Value = Protocol<'static>> {
        let text = || prop_oneof![4 => dns_name(), 1 => "\\PC{0,20}", 1 => any::<String>()];
        prop_oneof![
            any::<Ipv4Addr>().prop_map(Protocol::Ip4),
            any::<Ipv6Addr>().prop_map(Protocol::Ip6),
            text().prop_map(|name| Protocol::Dns(name.into())),
            text().prop_map(|name| Protocol::Dns4(name.into())),
            text().prop_map(|name| Protocol::Dnsaddr(name.into())),
            text().prop_map(|zone| Protocol::Ip6zone(zone.into())),
            any::<u16>().prop_map(Protocol::Tcp),
            any::<u16>().prop_map(Protocol::Udp),
            Just(Protocol::QuicV1),
            Just(Protocol::Tls),
            text().prop_map(|name| Protocol::Sni(name.into())),
            Just(Protocol::Ws("/".into())),
            text().prop_map(|path| Protocol::Ws(path.into())),
            Just(Protocol::Wss("/".into())),
            text().prop_map(|path| Protocol::HttpPath(path.into())),
            any_peer().prop_map(Protocol::P2p),
            Just(Protocol::P2pCircuit),
        ]
    }

    /// Components in a likely order, each of them perhaps missing.
    fn likely_components() -> impl Strategy<Value = Vec<Protocol<'static>>> {
        let text = || prop_oneof![4 => dns_name(), 1 => "\\PC{0,20}", 1 => any::<String>()];
        let host = prop_oneof![
            any_host().prop_map(|host| host.components().map(Protocol::acquire).collect()),
            text().prop_map(|name| vec![Protocol::Dns(name.into())]),
            (text(), any::<Ipv6Addr>()).prop_map(|(zone, ip)| vec![Protocol::Ip6zone(zone.into()), Protocol::Ip6(ip)]),
        ];
        let scheme = prop_oneof![
            Just(vec![Protocol::Ws("/".into())]),
            Just(vec![Protocol::Wss("/".into())]),
            Just(vec![Protocol::Tls, Protocol::Ws("/".into())]),
            text().prop_map(|name| vec![Protocol::Tls, Protocol::Sni(name.into()), Protocol::Ws("/".into())]),
        ];
        let path = option::of(text().prop_map(|path| Protocol::HttpPath(path.into())));
        (host, any::<Option<u16>>(), scheme, path, option::of(any_peer()), option::weighted(0.1, any_component()))
            .prop_map(|(host, port, scheme, path, peer, more): (Vec<Protocol<'static>>, _, _, _, _, _)| {
                let mut all = host;
                all.extend(port.map(Protocol::Tcp));
                all.extend(scheme);
                all.extend(path);
                all.extend(peer.map(Protocol::P2p));
                all.extend(more);
                all
            })
    }

    /// What is accepted means the same after printing, and goes safely into a request; the rest is an error that prints.
    fn accepted_or_refused(address: &Multiaddr) -> Result<(), TestCaseError> {
        match WsAddr::try_from(address) {
            Ok(addr) => {
                prop_assert_eq!(&addr.to_multiaddr(), address);
                prop_assert_eq!(addr.to_string(), address.to_string());
                prop_assert_eq!(&addr.to_string().parse::<WsAddr>().unwrap(), &addr);
                let sent = [addr.host_header(), addr.server_name(), addr.request_target().to_owned()].concat();
                prop_assert!(sent.bytes().all(|byte| byte.is_ascii_graphic()), "{}", sent);
            }
            Err(error) => {
                let text = error.to_string();
                prop_assert!(!text.is_empty() && !text.ends_with('.') && !text.contains(char::is_control), "{}", text);
            }
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn an_address_prints_and_parses_back_as_text_and_as_bytes(addr in any_addr()) {
            let text = addr.to_string();
            let multiaddr = addr.to_multiaddr();
            let from_text: WsAddr = text.parse().unwrap();
            let from_bytes = WsAddr::try_from(Multiaddr::try_from(multiaddr.to_vec()).unwrap()).unwrap();
            for read in [from_text, from_bytes] {
                prop_assert_eq!(&read, &addr);
                prop_assert_eq!(read.to_multiaddr(), multiaddr.clone());
                prop_assert_eq!(read.to_string(), text.clone());
                prop_assert_eq!(read.request_target(), addr.request_target());
            }
        }

        #[test]
        fn likely_components_are_understood_or_refused(components in likely_components()) {
            accepted_or_refused(&components.into_iter().collect())?;
        }

        #[test]
        fn any_components_in_any_order_are_understood_or_refused(components in prop::collection::vec(any_component(), 0..7)) {
            accepted_or_refused(&components.into_iter().collect())?;
        }

        #[test]
        fn no_text_panics(text in "(/(ip4|ip6|ip6zone|dns|tcp|tls|sni|ws|wss|http-path|p2p|x-parity-ws|192.0.2.0|::1|80|%2F|%zz|\\PC{0,6})){0,8}") {
            if let Err(error) = text.parse::<WsAddr>() {
                prop_assert!(!error.to_string().contains(char::is_control));
            }
        }

        #[test]
        fn no_string_panics(text in any::<String>()) {
            if let Err(error) = text.parse::<WsAddr>() {
                prop_assert!(!error.to_string().contains(char::is_control));
            }
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(address) = Multiaddr::try_from(bytes) {
                let _ = WsAddr::try_from(address).map(|addr| addr.to_string());
            }
        }

        #[test]
        fn no_flipped_byte_panics(addr in any_addr(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
            let mut bytes = addr.to_multiaddr().to_vec();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            if let Ok(address) = Multiaddr::try_from(bytes) {
                accepted_or_refused(&address)?;
            }
        }
    }
}
