//! Multiaddrs: what is understood prints, reads back the same, and makes a request that can be sent.

use ws_transport::WsAddr;
use ws_transport::handshake::ClientRequest;
use ws_transport::multiaddr::Multiaddr;

/// Text, or behind a byte of 0 the binary form.
pub fn run(data: &[u8]) {
    let multiaddr = match data {
        [0, bytes @ ..] => Multiaddr::try_from(bytes.to_vec()).ok(),
        text => {
            let text = String::from_utf8_lossy(text);
            let multiaddr = text.parse::<Multiaddr>().ok();
            assert_eq!(text.parse::<WsAddr>().ok(), multiaddr.as_ref().and_then(|addr| WsAddr::try_from(addr).ok()));
            multiaddr
        }
    };
    let Some(multiaddr) = multiaddr else { return };
    match WsAddr::try_from(&multiaddr) {
        Ok(addr) => check(&addr, &multiaddr),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

fn check(addr: &WsAddr, multiaddr: &Multiaddr) {
    let text = addr.to_string();
    let again: WsAddr = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
    assert_eq!((&again, again.to_string()), (addr, text));
    assert_eq!(WsAddr::try_from(addr.to_multiaddr()).expect("understood"), *addr);
    assert_eq!(addr.to_multiaddr().len(), multiaddr.len(), "nothing is left out or added");

    assert!(!addr.server_name().is_empty());
    assert!(addr.request_target().starts_with('/'));
    if let Err(error) = ClientRequest::new(&addr.host_header(), addr.request_target()) {
        panic!("{addr}: {error}");
    }
    let moved = addr.clone().with_ip([192, 0, 2, 7].into()).with_port(8080);
    assert_eq!(moved.to_string().parse::<WsAddr>().expect("understood"), moved);
}
