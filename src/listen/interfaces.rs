//! The addresses behind `0.0.0.0` and `::`.

use std::io;
use std::net::IpAddr;

use crate::addr::Host;

/// Which families a wildcard socket takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Families {
    pub(super) v4: bool,
    pub(super) v6: bool,
}

/// The hosts of all interfaces, loopback included; link-local IPv6 addresses with their zone (RFC 4007 §11).
pub(super) fn hosts(families: Families) -> io::Result<Vec<Host>> {
    let mut hosts = Vec::new();
    for interface in if_addrs::get_if_addrs()? {
        let host = match interface.ip() {
            IpAddr::V4(addr) if families.v4 => Host::Ip4(addr),
            IpAddr::V6(addr) if families.v6 => {
                Host::Ip6 { addr, zone: addr.is_unicast_link_local().then(|| interface.name.clone()) }
            }
            _ => continue,
        };
        if !hosts.contains(&host) {
            hosts.push(host);
        }
    }
    Ok(hosts)
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    #[test]
    fn only_the_families_asked_for_are_reported() {
        let v4 = hosts(Families { v4: true, v6: false }).unwrap();
        assert!(v4.contains(&Host::Ip4(Ipv4Addr::LOCALHOST)), "{v4:?}");
        assert!(v4.iter().all(|host| matches!(host, Host::Ip4(_))), "{v4:?}");
        let v6 = hosts(Families { v4: false, v6: true }).unwrap();
        assert!(v6.contains(&Host::Ip6 { addr: Ipv6Addr::LOCALHOST, zone: None }), "{v6:?}");
        for host in &v6 {
            let Host::Ip6 { addr, zone } = host else { panic!("{host:?}") };
            assert_eq!(addr.is_unicast_link_local(), zone.is_some(), "{host:?}");
        }
    }
}
