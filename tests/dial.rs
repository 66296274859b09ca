//! Dialing: addresses, phases, errors, the deadline. Loopback only.

#[path = "common/patience.rs"]
mod patience;

use std::error::Error as _;
use std::io::{self, Read};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_lite::future::{self, block_on};
use futures_lite::{AsyncWriteExt, StreamExt};
use patience::patient;
use ws_transport::handshake::http::StatusCode;
use ws_transport::multiaddr::Multiaddr;
use ws_transport::{ConnectError, Connection, Dialer, Error, ListenOptions, Listener, Phase, ToWsAddr, WsAddr};

/// A listener on 127.0.0.1, and its address.
fn listen() -> (Listener, Multiaddr) {
    let listener = block_on(Listener::bind("/ip4/127.0.0.1/tcp/0/ws")).unwrap();
    let addr = listener.addresses().unwrap().remove(0);
    (listener, addr)
}

/// A TCP server of the test's own, and its multiaddr with `rest` behind the port.
fn raw(rest: &str) -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = format!("/ip4/127.0.0.1/tcp/{}/{rest}", listener.local_addr().unwrap().port());
    (listener, addr)
}

fn dial_and_accept(dialer: &Dialer, addr: impl ToWsAddr, listener: &Listener) -> Result<Connection, Error> {
    block_on(async {
        let accept = async { listener.accept().await.unwrap().await };
        let (dialed, _) = future::zip(dialer.dial(addr), accept).await;
        dialed
    })
}

#[test]
fn every_form_of_an_address_is_dialed() {
    let (listener, addr) = listen();
    let dialer = Dialer::new();
    let ws_addr = WsAddr::try_from(&addr).unwrap();
    dial_and_accept(&dialer, addr.to_string(), &listener).unwrap();
    dial_and_accept(&dialer, addr.to_string().as_str(), &listener).unwrap();
    dial_and_accept(&dialer, &addr, &listener).unwrap();
    dial_and_accept(&dialer, addr, &listener).unwrap();
    dial_and_accept(&dialer, &ws_addr, &listener).unwrap();
    dial_and_accept(&dialer, ws_addr, &listener).unwrap();
}

#[test]
fn ipv6_with_and_without_a_zone_is_dialed() {
    let listener = block_on(Listener::bind("/ip6/::1/tcp/0/ws")).unwrap();
    let port = listener.local_addrs().unwrap()[0].port();
    let interfaces = if_addrs::get_if_addrs().unwrap();
    let loopback = interfaces.iter().find(|interface| interface.is_loopback()).unwrap();
    for zone in [String::new(), format!("/ip6zone/{}", loopback.name), format!("/ip6zone/{}", loopback.index.unwrap())]
    {
        let connection = dial_and_accept(&Dialer::new(), format!("{zone}/ip6/::1/tcp/{port}/ws"), &listener).unwrap();
        assert!(connection.get_ref().get_ref().peer_addr().unwrap().is_ipv6());
    }
}

#[test]
fn a_name_and_a_peer_id_are_dialed() {
    let (listener, addr) = listen();
    let port = WsAddr::try_from(&addr).unwrap().port();
    let id = "12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA";
    for name in ["dns", "dns4"] {
        let text = format!("/{name}/localhost/tcp/{port}/ws/p2p/{id}");
        dial_and_accept(&Dialer::new(), text, &listener).unwrap();
    }
}

#[test]
fn host_path_and_header_fields_arrive() {
    let seen = Arc::new(Mutex::new(None));
    let sink = seen.clone();
    let options = ListenOptions::new().with_policy(move |request| {
        let field = |name: &str| request.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        *sink.lock().unwrap() = Some((request.path().to_owned(), field("host"), field("x-one"), field("x-two")));
        Ok(())
    });
    let listener = block_on(options.bind("/ip4/127.0.0.1/tcp/0/ws")).unwrap();
    let port = listener.local_addrs().unwrap()[0].port();
    let dialer = Dialer::new().with_header("X-One", "1").unwrap().with_header("x-two", "2").unwrap();
    let with_path = dialer.clone().with_path("/by/dialer").unwrap();
    for (dialer, addr, path, host) in [
        (&dialer, format!("/ip4/127.0.0.1/tcp/{port}/ws"), "/", "127.0.0.1"),
        (&dialer, format!("/dns4/localhost/tcp/{port}/ws/http-path/by%2Faddress"), "/by/address", "localhost"),
        (&with_path, format!("/dns4/localhost/tcp/{port}/ws"), "/by/dialer", "localhost"),
        (&with_path, format!("/dns4/localhost/tcp/{port}/ws/http-path/by%2Fdialer"), "/by/dialer", "localhost"),
    ] {
        dial_and_accept(dialer, &addr, &listener).unwrap();
        let expected = (path.to_owned(), Some(format!("{host}:{port}")), Some("1".to_owned()), Some("2".to_owned()));
        assert_eq!(seen.lock().unwrap().take().unwrap(), expected, "{addr}");
    }
}

#[test]
fn two_different_paths_are_an_error_of_the_address() {
    let dialer = Dialer::new().with_path("/one").unwrap();
    let error = block_on(dialer.dial("/ip4/127.0.0.1/tcp/1/ws/http-path/two")).unwrap_err();
    assert_eq!(error.phase(), Phase::Address);
    assert!(error.to_string().contains("/one") && error.to_string().contains("/two"), "{error}");
}

#[test]
fn what_would_split_the_request_is_refused() {
    for (name, value) in [
        ("X-A", "a\r\nHost: evil"),
        ("X-A", "a\nb"),
        ("X-A\r\nHost", "evil"),
        ("X A", "a"),
        ("", "a"),
        ("Host", "evil"),
        ("Upgrade", "h2c"),
        ("Sec-WebSocket-Key", "mine"),
        ("Transfer-Encoding", "chunked"),
    ] {
        assert!(Dialer::new().with_header(name, value).is_err(), "{name:?}: {value:?}");
    }
    for path in ["", "no-slash", "/a b", "/a\r\nHost: evil", "/a#b", "/ä"] {
        assert!(Dialer::new().with_path(path).is_err(), "{path:?}");
    }
}

#[test]
fn what_is_no_websocket_address_is_an_error_of_the_address() {
    for text in ["/ip4/127.0.0.1/tcp/1", "/ip4/127.0.0.1/udp/1/quic-v1", "/ip4/127.0.0.1/tcp/1/ws/tls"] {
        let multiaddr: Multiaddr = text.parse().unwrap();
        let errors = [block_on(Dialer::new().dial(text)), block_on(Dialer::new().dial(&multiaddr))];
        for error in errors.map(Result::unwrap_err) {
            assert_eq!(error.phase(), Phase::Address);
            assert_eq!(error.address(), Some(&multiaddr));
            assert!(error.source().unwrap().is::<ws_transport::AddrError>());
        }
    }
}

#[test]
fn a_zone_that_is_no_interface_is_an_error_of_the_look_up() {
    let addr = "/ip6zone/no-such-if/ip6/fe80::1/tcp/1/ws";
    let error = block_on(Dialer::new().dial(addr)).unwrap_err();
    assert_eq!(error.phase(), Phase::Resolve);
    assert_eq!(error.address().unwrap().to_string(), addr);
}

#[test]
fn a_closed_port_is_an_error_of_the_connection_with_its_address() {
    // On Linux all of 127.0.0.0/8 is loopback, and no other test listens on this one.
    let ip = if cfg!(target_os = "linux") { [127, 0, 0, 78] } else { [127, 0, 0, 1] };
    let closed = TcpListener::bind(SocketAddr::new(ip.into(), 0)).unwrap().local_addr().unwrap();
    let addr = format!("/ip4/{}/tcp/{}/ws", closed.ip(), closed.port());
    let error = block_on(Dialer::new().dial(&addr)).unwrap_err();
    assert_eq!(error.phase(), Phase::Connect);
    assert_eq!(error.address().unwrap().to_string(), addr);
    let attempts = error.source().unwrap().downcast_ref::<ConnectError>().unwrap().attempts();
    assert_eq!(attempts.iter().map(|(addr, _)| *addr).collect::<Vec<SocketAddr>>(), [closed]);
    assert_eq!(io::Error::from(error).kind(), io::ErrorKind::ConnectionRefused);
}

#[test]
fn a_refusal_is_told_with_its_status_and_fields() {
    let listener = block_on(Listener::bind("/ip4/127.0.0.1/tcp/0/ws/http-path/here")).unwrap();
    let port = listener.local_addrs().unwrap()[0].port();
    let mut connections = listener.connections();
    let elsewhere = format!("/ip4/127.0.0.1/tcp/{port}/ws/http-path/there");
    let (error, _) = block_on(future::zip(Dialer::new().dial(&elsewhere), connections.next()));
    let error = error.unwrap_err();
    assert_eq!(error.phase(), Phase::Handshake);
    let refusal = error.refusal().unwrap();
    assert_eq!(refusal.status, StatusCode::NOT_FOUND);
    assert!(refusal.headers.contains_key("content-length"));
    assert!(!error.is_timeout());
}

#[test]
fn a_silent_server_costs_the_time_allowed_and_the_error_tells_the_phase() {
    let (_silent, addr) = raw("ws");
    let error = block_on(Dialer::new().with_timeout(patient(Duration::from_secs(1))).dial(&addr)).unwrap_err();
    assert_eq!(error.phase(), Phase::Handshake);
    assert!(error.is_timeout());
    assert_eq!(error.address().unwrap().to_string(), addr);
    assert_eq!(io::Error::from(error).kind(), io::ErrorKind::TimedOut);
}

/// A listener whose queue is full drops further SYNs, as a host that is not there does.
#[cfg(target_os = "linux")]
#[test]
fn a_host_that_is_not_there_costs_the_time_allowed() {
    use rustix::net;

    let socket = net::socket(net::AddressFamily::INET, net::SocketType::STREAM, None).unwrap();
    net::bind(&socket, &"127.0.0.1:0".parse::<SocketAddr>().unwrap()).unwrap();
    net::listen(&socket, 0).unwrap();
    let hole = TcpListener::from(socket);
    let addr = hole.local_addr().unwrap();
    let _queued = std::net::TcpStream::connect(addr).unwrap();

    let dialer = Dialer::new().with_timeout(patient(Duration::from_millis(100)));
    let error = block_on(dialer.dial(format!("/ip4/127.0.0.1/tcp/{}/ws", addr.port()))).unwrap_err();
    assert_eq!(error.phase(), Phase::Connect);
    assert!(error.is_timeout(), "{error}");
}

#[test]
fn no_time_is_a_timeout_and_endless_time_is_none() {
    let (listener, addr) = listen();
    let error = block_on(Dialer::new().with_timeout(Duration::ZERO).dial(&addr)).unwrap_err();
    assert!(error.is_timeout());
    drop(listener);
    let (listener, addr) = listen();
    dial_and_accept(&Dialer::new().with_timeout(Duration::MAX), addr, &listener).unwrap();
}

#[test]
fn dropping_the_future_closes_the_connection() {
    let (server, addr) = raw("ws");
    server.set_nonblocking(true).unwrap();
    let dialer = Dialer::new();
    let mut dial = Box::pin(dialer.dial(&addr));
    // Polled until the request has arrived: the dial is in its last phase.
    let mut peer = None;
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        assert!(block_on(future::poll_once(&mut dial)).is_none());
        let peer = match &mut peer {
            Some(peer) => peer,
            None => match server.accept() {
                Ok((socket, _)) => {
                    socket.set_nonblocking(true).unwrap();
                    peer.insert(socket)
                }
                Err(_) => continue,
            },
        };
        let mut byte = [0];
        if peer.read(&mut byte).is_ok_and(|n| n == 1) {
            request.push(byte[0]);
        }
    }
    drop(dial);
    let mut peer = peer.unwrap();
    peer.set_nonblocking(false).unwrap();
    assert_eq!(peer.read(&mut [0]).unwrap(), 0);
}

#[cfg(unix)]
#[test]
fn connections_have_nodelay_and_keepalive_only_if_asked_for() {
    use rustix::net::sockopt;

    let (listener, addr) = listen();
    let plain = Dialer::new();
    let kept = Dialer::new().with_keepalive(ws_transport::KeepAlive::new().with_idle(Duration::from_secs(7)));
    for (dialer, keepalive) in [(plain, false), (kept, true)] {
        let connection = dial_and_accept(&dialer, &addr, &listener).unwrap();
        let socket = connection.get_ref().get_ref().get_ref();
        assert!(socket.nodelay().unwrap());
        assert_eq!(sockopt::socket_keepalive(socket).unwrap(), keepalive);
        if keepalive {
            assert_eq!(sockopt::tcp_keepidle(socket).unwrap(), Duration::from_secs(7));
        }
    }
}

#[cfg(any(target_os = "android", target_os = "linux"))]
#[test]
fn keepalive_ends_a_write_whose_data_nobody_takes() {
    let (listener, addr) = listen();
    let second = Duration::from_secs(1);
    let keepalive = ws_transport::KeepAlive::new().with_idle(second).with_interval(second).with_probes(1);
    let written = block_on(async {
        let accept = async { listener.accept().await.unwrap().await.unwrap() };
        let dialer = Dialer::new().with_keepalive(keepalive);
        let (dialed, _never_read) = future::zip(dialer.dial(&addr), accept).await;
        let mut connection = dialed.unwrap();
        let write = async {
            loop {
                if let Err(error) = connection.write_all(&[0; 64 * 1024]).await {
                    return error;
                }
            }
        };
        let late = async {
            async_io::Timer::after(Duration::from_secs(60)).await;
            panic!("the write waits for ever");
        };
        future::or(write, late).await
    });
    assert_eq!(written.kind(), io::ErrorKind::TimedOut);
}

#[test]
fn the_values_of_header_fields_are_not_printed() {
    let dialer = Dialer::new().with_header("Authorization", "Bearer secret").unwrap();
    let text = format!("{dialer:?}");
    assert!(text.contains("Authorization") && !text.contains("secret"), "{text}");
}
