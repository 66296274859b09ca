//! `WsAddr`: a libp2p WebSocket multiaddr, understood.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use multiaddr::{Multiaddr, PeerId};

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
pub enum Host {
    /// `/ip4/<addr>`
    Ip4(Ipv4Addr),
    /// `/ip6/<addr>`, with its zone if `/ip6zone/<zone>` stands before it.
    Ip6 {
        /// The address.
        addr: Ipv6Addr,
        /// The zone, an interface's name or number.
        zone: Option<String>,
    },
    /// `/dns/<name>`, `/dns4/<name>`, `/dns6/<name>`
    Dns {
        /// The name.
        name: String,
        /// The families asked for.
        family: DnsFamily,
    },
}

/// stub
#[derive(Clone, Debug)]
pub struct WsAddr;

/// stub
#[derive(Debug)]
#[non_exhaustive]
pub enum AddrError {
    /// stub
    Stub,
}

impl fmt::Display for AddrError {
    fn fmt(&self, _f: &mut fmt::Formatter<'_>) -> fmt::Result {
        todo!()
    }
}
impl std::error::Error for AddrError {}

impl WsAddr {
    /// The host to connect to or listen on.
    pub fn host(&self) -> &Host {
        todo!()
    }
    /// The TCP port: as written, else 443 with TLS and 80 without.
    pub fn port(&self) -> u16 {
        todo!()
    }
    /// Whether TLS runs below the WebSocket.
    pub fn is_tls(&self) -> bool {
        todo!()
    }
    /// The name in `/sni/<name>`.
    pub fn sni(&self) -> Option<&str> {
        todo!()
    }
    /// The name the server's certificate has to be valid for, and that goes into SNI unless it is an IP address:
    /// `/sni`, else the DNS name, else the IP address (without brackets or zone).
    pub fn server_name(&self) -> String {
        todo!()
    }
    /// The value of the `Host` header: server name, `:port` unless it is the scheme's default; IPv6 in brackets.
    pub fn host_header(&self) -> String {
        todo!()
    }
    /// The decoded `/http-path`, starting with `/`, percent-encoded as a request target; `/` if there is none.
    pub fn request_target(&self) -> &str {
        todo!()
    }
    /// The request target, if the address has an `/http-path`.
    pub fn http_path(&self) -> Option<&str> {
        todo!()
    }
    /// The peer id of a trailing `/p2p/<id>`.
    pub fn peer_id(&self) -> Option<&PeerId> {
        todo!()
    }
    /// The same address with this host in place of its own.
    pub fn with_host(self, _host: Host) -> Self {
        todo!()
    }
    /// The same address with this port, written out.
    pub fn with_port(self, _port: u16) -> Self {
        todo!()
    }
    /// The same address with this peer id at its end, or none.
    pub fn with_peer_id(self, _peer: Option<PeerId>) -> Self {
        todo!()
    }
    /// The address as a multiaddr, in the spelling it was given.
    pub fn to_multiaddr(&self) -> Multiaddr {
        todo!()
    }
}

impl TryFrom<&Multiaddr> for WsAddr {
    type Error = AddrError;
    fn try_from(_: &Multiaddr) -> Result<Self, AddrError> {
        todo!()
    }
}
impl TryFrom<Multiaddr> for WsAddr {
    type Error = AddrError;
    fn try_from(_: Multiaddr) -> Result<Self, AddrError> {
        todo!()
    }
}
impl FromStr for WsAddr {
    type Err = AddrError;
    fn from_str(_: &str) -> Result<Self, AddrError> {
        todo!()
    }
}
impl fmt::Display for WsAddr {
    fn fmt(&self, _f: &mut fmt::Formatter<'_>) -> fmt::Result {
        todo!()
    }
}
impl From<WsAddr> for Multiaddr {
    fn from(_: WsAddr) -> Multiaddr {
        todo!()
    }
}
