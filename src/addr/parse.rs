//! The grammar of an address:
//!
//! ```text
//! host [ /tcp ] ( /ws | /tls [ /sni ] /ws | /wss ) [ /http-path ] [ /p2p ]
//! host = /ip4 | [ /ip6zone ] /ip6 | /dns | /dns4 | /dns6
//! ```

use std::iter::Peekable;

use multiaddr::{Multiaddr, Protocol};

use super::host::{DnsFamily, Host, check_sni};
use super::path::HttpPath;
use super::{AddrError, Scheme, WsAddr};

pub(super) fn parse(address: &Multiaddr) -> Result<WsAddr, AddrError> {
    let mut components = Components { rest: address.iter().peekable(), last: None };
    let host = host(&mut components)?;
    let port = components.take_if(|component| match component {
        Protocol::Tcp(port) => Some(*port),
        _ => None,
    });
    let scheme = scheme(&mut components, port.is_some())?;
    let path = http_path(&mut components)?;
    let peer = components.take_if(|component| match component {
        Protocol::P2p(peer) => Some(*peer),
        _ => None,
    });
    if components.rest.peek().is_some() {
        return Err(components.refuse(match (&path, &peer) {
            (_, Some(_)) => "the end",
            (Some(_), None) => "/p2p or the end",
            (None, None) => "/http-path, /p2p or the end",
        }));
    }
    Ok(WsAddr { host, port, scheme, path, peer })
}

fn host(components: &mut Components<'_>) -> Result<Host, AddrError> {
    if let Some(dnsaddr @ Protocol::Dnsaddr(_)) = components.rest.peek() {
        return Err(AddrError::unsupported(dnsaddr, "it stands for other addresses, and is not resolved here yet"));
    }
    let zone = components.take_if(|component| match component {
        Protocol::Ip6zone(zone) => Some(zone.to_string()),
        _ => None,
    });
    let zoned = zone.is_some();
    let host = components.take_if(|component| match component {
        Protocol::Ip6(addr) => Some(Host::Ip6 { addr: *addr, zone }),
        _ if zoned => None,
        Protocol::Ip4(addr) => Some(Host::Ip4(*addr)),
        Protocol::Dns(name) => Some(Host::Dns { name: name.to_string(), family: DnsFamily::Any }),
        Protocol::Dns4(name) => Some(Host::Dns { name: name.to_string(), family: DnsFamily::V4 }),
        Protocol::Dns6(name) => Some(Host::Dns { name: name.to_string(), family: DnsFamily::V6 }),
        _ => None,
    });
    let Some(host) = host else {
        return Err(components.refuse(if zoned { "/ip6" } else { "/ip4, /ip6, /ip6zone, /dns, /dns4 or /dns6" }));
    };
    host.check()?;
    Ok(host)
}

fn scheme(components: &mut Components<'_>, after_port: bool) -> Result<Scheme, AddrError> {
    if components.take_if(is_ws).is_some() {
        return Ok(Scheme::Ws);
    }
    if components.take_if(|component| matches!(component, Protocol::Wss(path) if path == "/").then_some(())).is_some() {
        return Ok(Scheme::Wss);
    }
    if components.take_if(|component| matches!(component, Protocol::Tls).then_some(())).is_none() {
        return Err(components.refuse(if after_port { "/ws, /tls or /wss" } else { "/tcp, /ws, /tls or /wss" }));
    }
    let sni = components.take_if(|component| match component {
        Protocol::Sni(name) => Some(name.to_string()),
        _ => None,
    });
    if let Some(name) = &sni {
        check_sni(name).map_err(|reason| AddrError::invalid(&Protocol::Sni(name.into()), reason))?;
    }
    match components.take_if(is_ws) {
        Some(()) => Ok(Scheme::TlsWs { sni }),
        None => Err(components.refuse(if sni.is_some() { "/ws" } else { "/sni or /ws" })),
    }
}

/// With any other path the multiaddr crate means `/x-parity-ws`, which is not standard.
fn is_ws(component: &Protocol<'_>) -> Option<()> {
    matches!(component, Protocol::Ws(path) if path == "/").then_some(())
}

fn http_path(components: &mut Components<'_>) -> Result<Option<HttpPath>, AddrError> {
    let path = components.take_if(|component| match component {
        Protocol::HttpPath(path) => Some(HttpPath::new(path).map_err(|reason| AddrError::invalid(component, reason))),
        _ => None,
    });
    path.transpose()
}

/// The components of an address, and where in it we are.
struct Components<'a> {
    rest: Peekable<multiaddr::Iter<'a>>,
    /// The component taken last.
    last: Option<Protocol<'a>>,
}

impl<'a> Components<'a> {
    /// Takes the next component if `want` finds in it what it wants.
    fn take_if<T>(&mut self, want: impl FnOnce(&Protocol<'a>) -> Option<T>) -> Option<T> {
        let wanted = want(self.rest.peek()?)?;
        self.last = self.rest.next();
        Some(wanted)
    }

    /// Why the next component, or the end, cannot stand where it does.
    fn refuse(&mut self, expected: &'static str) -> AddrError {
        match self.rest.peek() {
            Some(component @ (Protocol::Ws(path) | Protocol::Wss(path))) if path != "/" => {
                AddrError::unsupported(component, "write the path as /http-path after /ws or /wss")
            }
            Some(component) => AddrError::unexpected(component, self.last.as_ref(), expected),
            None => AddrError::missing(self.last.as_ref(), expected),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: &str = "/p2p/12D3KooWHFKTMzwerBtsVmtz4ZZEQy2heafxzWw6wNn5PPYkBxJ5";

    fn refusal(text: &str) -> String {
        text.parse::<WsAddr>().expect_err(text).to_string()
    }

    #[test]
    fn whatever_does_not_fit_is_refused_by_name_and_place() {
        for (text, message) in [
            (
                "/ip4/192.0.2.0/tcp/443/quic-v1",
                "unexpected component /quic-v1 after /tcp/443 (expected /ws, /tls or /wss)",
            ),
            (
                "/ip4/192.0.2.0/udp/443/quic-v1",
                "unexpected component /udp/443 after /ip4/192.0.2.0 (expected /tcp, /ws, /tls or /wss)",
            ),
            (
                "/tcp/80/ws",
                "unexpected component /tcp/80 at the start (expected /ip4, /ip6, /ip6zone, /dns, /dns4 or /dns6)",
            ),
            (
                "/memory/7/ws",
                "unexpected component /memory/7 at the start (expected /ip4, /ip6, /ip6zone, /dns, /dns4 or /dns6)",
            ),
            ("/ip4/192.0.2.0", "the address ends after /ip4/192.0.2.0 (expected /tcp, /ws, /tls or /wss)"),
            ("/ip4/192.0.2.0/tcp/80", "the address ends after /tcp/80 (expected /ws, /tls or /wss)"),
            ("/ip4/192.0.2.0/tls", "the address ends after /tls (expected /sni or /ws)"),
            ("/ip4/192.0.2.0/tls/wss", "unexpected component /wss after /tls (expected /sni or /ws)"),
            ("/ip4/192.0.2.0/tls/tls/ws", "unexpected component /tls after /tls (expected /sni or /ws)"),
            ("/ip4/192.0.2.0/tls/sni/a.example", "the address ends after /sni/a.example (expected /ws)"),
            ("/ip4/192.0.2.0/tls/sni/a.example/wss", "unexpected component /wss after /sni/a.example (expected /ws)"),
            (
                "/ip4/192.0.2.0/sni/a.example/ws",
                "unexpected component /sni/a.example after /ip4/192.0.2.0 (expected /tcp, /ws, /tls or /wss)",
            ),
            (
                "/ip4/192.0.2.0/ws/sni/a.example",
                "unexpected component /sni/a.example after /ws (expected /http-path, /p2p or the end)",
            ),
            (
                "/ip4/192.0.2.0/wss/sni/a.example",
                "unexpected component /sni/a.example after /wss (expected /http-path, /p2p or the end)",
            ),
            (
                "/ip4/192.0.2.0/tcp/80/tcp/81/ws",
                "unexpected component /tcp/81 after /tcp/80 (expected /ws, /tls or /wss)",
            ),
            (
                "/ip4/192.0.2.0/tcp/80/ws/tcp/81",
                "unexpected component /tcp/81 after /ws (expected /http-path, /p2p or the end)",
            ),
            (
                "/ip4/192.0.2.0/tcp/80/ws/ws",
                "unexpected component /ws after /ws (expected /http-path, /p2p or the end)",
            ),
            (
                "/ip4/192.0.2.0/http-path/a/ws",
                "unexpected component /http-path/a after /ip4/192.0.2.0 (expected /tcp, /ws, /tls or /wss)",
            ),
            (
                "/ip4/192.0.2.0/ws/http-path/a/http-path/b",
                "unexpected component /http-path/b after /http-path/a (expected /p2p or the end)",
            ),
            (
                "/ip6zone/eth0/ip4/192.0.2.0/ws",
                "unexpected component /ip4/192.0.2.0 after /ip6zone/eth0 (expected /ip6)",
            ),
            ("/ip6zone/eth0", "the address ends after /ip6zone/eth0 (expected /ip6)"),
            (
                "/ip6/fe80::1/ip6zone/eth0/ws",
                "unexpected component /ip6zone/eth0 after /ip6/fe80::1 (expected /tcp, /ws, /tls or /wss)",
            ),
            ("/dns/a.example/tcp/80/http", "unexpected component /http after /tcp/80 (expected /ws, /tls or /wss)"),
            (
                "/dnsaddr/a.example",
                "unsupported component /dnsaddr/a.example: it stands for other addresses, and is not resolved here yet",
            ),
            (
                "/dnsaddr/a.example/tcp/80/ws",
                "unsupported component /dnsaddr/a.example: it stands for other addresses, and is not resolved here yet",
            ),
            (
                "/ip4/192.0.2.0/tcp/80/x-parity-ws/%2Fa",
                "unsupported component /x-parity-ws/%2Fa: write the path as /http-path after /ws or /wss",
            ),
            (
                "/ip4/192.0.2.0/tls/x-parity-ws/a",
                "unsupported component /x-parity-ws/a: write the path as /http-path after /ws or /wss",
            ),
            (
                "/ip4/192.0.2.0/x-parity-wss/%2Fa",
                "unsupported component /x-parity-wss/%2Fa: write the path as /http-path after /ws or /wss",
            ),
        ] {
            assert_eq!(refusal(text), message, "{text}");
        }
        let relayed = format!("/ip4/192.0.2.0/ws{PEER}/p2p-circuit");
        assert_eq!(refusal(&relayed), format!("unexpected component /p2p-circuit after {PEER} (expected the end)"));
        let early = format!("/ip4/192.0.2.0/ws{PEER}/http-path/a");
        assert_eq!(refusal(&early), format!("unexpected component /http-path/a after {PEER} (expected the end)"));
        let twice = format!("/ip4/192.0.2.0/ws{PEER}{PEER}");
        assert_eq!(refusal(&twice), format!("unexpected component {PEER} after {PEER} (expected the end)"));
        let empty = WsAddr::try_from(Multiaddr::empty()).unwrap_err().to_string();
        assert_eq!(empty, "the address is empty (expected /ip4, /ip6, /ip6zone, /dns, /dns4 or /dns6)");
    }

    #[test]
    fn injection_through_any_text_is_refused() {
        for evil in ["a\r\nX: y", "a\r", "a\n", "a\0", "a b", "a\u{85}b"] {
            let addresses = [
                vec![Protocol::Dns(evil.into()), Protocol::Ws("/".into())],
                vec![Protocol::Dns4(evil.into()), Protocol::Ws("/".into())],
                vec![Protocol::Dns6(evil.into()), Protocol::Ws("/".into())],
                vec![
                    Protocol::Ip4([192, 0, 2, 0].into()),
                    Protocol::Tls,
                    Protocol::Sni(evil.into()),
                    Protocol::Ws("/".into()),
                ],
                vec![Protocol::Ip6zone(evil.into()), Protocol::Ip6([0; 8].into()), Protocol::Ws("/".into())],
                vec![Protocol::Ip4([192, 0, 2, 0].into()), Protocol::Ws("/".into()), Protocol::HttpPath(evil.into())],
            ];
            for components in addresses {
                let address: Multiaddr = components.into_iter().collect();
                let error = WsAddr::try_from(&address).unwrap_err();
                assert!(matches!(error, AddrError::Invalid { .. }), "{address:?}: {error}");
                assert!(!error.to_string().contains(|c: char| c.is_control()), "{error:?}");
            }
        }
        for text in ["/ip4/192.0.2.0/ws/http-path/%0d%0aX:%20y", "/ip4/192.0.2.0/ws/http-path/a%00", "/dns/a%0d%0a/ws"]
        {
            assert!(refusal(text).starts_with("invalid component /"), "{text}");
        }
    }

    #[test]
    fn an_ip_address_is_refused_as_server_name() {
        for name in ["192.0.2.1", "::1", "fe80::1", "127.1"] {
            let message = refusal(&format!("/ip4/192.0.2.0/tls/sni/{name}/ws"));
            assert!(message.starts_with(&format!("invalid component /sni/{name}: ")), "{message}");
        }
    }
}
