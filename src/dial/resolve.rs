//! From the host of an address to socket addresses.

use std::io;
use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6, ToSocketAddrs};

use crate::addr::{DnsFamily, Host};

/// The socket addresses of `host`, at least one, in the system's order of preference (RFC 6724).
///
/// An IP address needs no look-up. Names, and zones that are names, are looked up on a thread of the `blocking` pool;
/// dropping the future leaves a look-up that has begun to end there by itself.
pub(crate) async fn resolve(host: &Host, port: u16) -> io::Result<Vec<SocketAddr>> {
    match host {
        Host::Ip4(addr) => Ok(vec![SocketAddrV4::new(*addr, port).into()]),
        Host::Ip6 { addr, zone: None } => Ok(vec![SocketAddrV6::new(*addr, port, 0, 0).into()]),
        Host::Ip6 { addr, zone: Some(zone) } => {
            let scope = match zone.parse() {
                Ok(number) => number,
                Err(_) => {
                    let zone = zone.clone();
                    blocking::unblock(move || interface_index(&zone)).await?
                }
            };
            Ok(vec![SocketAddrV6::new(*addr, port, 0, scope).into()])
        }
        Host::Dns { name, family } => {
            let (name, family) = (name.clone(), *family);
            blocking::unblock(move || look_up(&name, family, port)).await
        }
    }
}

fn look_up(name: &str, family: DnsFamily, port: u16) -> io::Result<Vec<SocketAddr>> {
    let mut addrs = Vec::new();
    for addr in (name, port).to_socket_addrs()? {
        let wanted = match family {
            DnsFamily::Any => true,
            DnsFamily::V4 => addr.is_ipv4(),
            DnsFamily::V6 => addr.is_ipv6(),
        };
        if wanted && !addrs.contains(&addr) {
            addrs.push(addr);
        }
    }
    if addrs.is_empty() {
        let kind = match family {
            DnsFamily::Any => "",
            DnsFamily::V4 => "IPv4 ",
            DnsFamily::V6 => "IPv6 ",
        };
        return Err(io::Error::new(io::ErrorKind::NotFound, format!("{name} has no {kind}address")));
    }
    Ok(addrs)
}

/// The number of the interface with this name (RFC 4007 §11.2).
fn interface_index(name: &str) -> io::Result<u32> {
    if_addrs::get_if_addrs()?
        .into_iter()
        .find(|interface| interface.name == name)
        .and_then(|interface| interface.index)
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("there is no interface {name}")))
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use futures_lite::future::{Future, block_on};

    use super::*;

    #[test]
    fn ip_addresses_are_ready_without_a_look_up() {
        let hosts = [
            Host::Ip4(Ipv4Addr::LOCALHOST),
            Host::Ip6 { addr: Ipv6Addr::LOCALHOST, zone: None },
            Host::Ip6 { addr: Ipv6Addr::LOCALHOST, zone: Some("7".into()) },
        ];
        for host in hosts {
            let future = pin!(resolve(&host, 80));
            let Poll::Ready(addrs) = future.poll(&mut Context::from_waker(Waker::noop())) else {
                panic!("{host:?} waits");
            };
            assert_eq!(addrs.unwrap().len(), 1);
        }
    }

    #[test]
    fn a_zone_becomes_the_number_of_its_interface() {
        let interfaces = if_addrs::get_if_addrs().unwrap();
        let loopback = interfaces.iter().find(|interface| interface.is_loopback()).unwrap();
        for zone in [loopback.name.clone(), loopback.index.unwrap().to_string()] {
            let host = Host::Ip6 { addr: Ipv6Addr::LOCALHOST, zone: Some(zone) };
            let addrs = block_on(resolve(&host, 80)).unwrap();
            assert!(matches!(addrs[..], [SocketAddr::V6(v6)] if v6.scope_id() == loopback.index.unwrap()));
        }
        let host = Host::Ip6 { addr: Ipv6Addr::LOCALHOST, zone: Some("no-such-interface".into()) };
        assert_eq!(block_on(resolve(&host, 80)).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn only_the_family_asked_for_is_returned() {
        let localhost = |family| Host::Dns { name: "localhost".into(), family };
        let addrs = block_on(resolve(&localhost(DnsFamily::V4), 80)).unwrap();
        assert!(addrs.iter().all(SocketAddr::is_ipv4), "{addrs:?}");
        // Whether localhost has an IPv6 address is up to the machine.
        if let Ok(addrs) = block_on(resolve(&localhost(DnsFamily::V6), 80)) {
            assert!(addrs.iter().all(SocketAddr::is_ipv6), "{addrs:?}");
        }
    }

    #[test]
    fn a_name_that_is_none_is_an_error() {
        let host = Host::Dns { name: "a\0b".into(), family: DnsFamily::Any };
        assert!(block_on(resolve(&host, 80)).is_err());
    }
}
