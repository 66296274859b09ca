//! Listening: sockets, addresses, accepting, and handshakes apart from each other. Loopback only.

#[path = "common/patience.rs"]
mod patience;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::pin::pin;
use std::time::Duration;

use futures_lite::StreamExt;
use futures_lite::future::{self, block_on};
use patience::patient;
use ws_transport::handshake::http::StatusCode;
use ws_transport::multiaddr::{Multiaddr, Protocol};
use ws_transport::{Connection, Connections, Dialer, Error, Incoming, ListenOptions, Listener, Phase};

/// Time after which a test is considered to hang.
const LONG: Duration = Duration::from_secs(60);

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

fn listen(addr: &str) -> Listener {
    block_on(Listener::bind(addr)).unwrap()
}

/// A listener on 127.0.0.1, and its socket address.
fn listen_v4(options: &ListenOptions) -> (Listener, SocketAddr) {
    let listener = block_on(options.bind("/ip4/127.0.0.1/tcp/0/ws")).unwrap();
    let addr = listener.local_addrs().unwrap()[0];
    (listener, addr)
}

fn connect(addr: SocketAddr) -> TcpStream {
    let socket = TcpStream::connect_timeout(&addr, LONG).unwrap();
    socket.set_read_timeout(Some(LONG)).unwrap();
    socket
}

fn port(listener: &Listener) -> u16 {
    listener.local_addrs().unwrap()[0].port()
}

#[test]
fn the_public_types_are_send_and_the_listener_is_sync() {
    fn send<T: Send>(_: Option<T>) {}
    fn send_sync<T: Send + Sync + 'static>() {}
    send_sync::<Listener>();
    send_sync::<ListenOptions>();
    send_sync::<Dialer>();
    send_sync::<Error>();
    send::<Incoming>(None);
    send::<Connections>(None);
    send::<Connection>(None);
    fn futures(options: &ListenOptions, dialer: &Dialer, listener: &Listener, incoming: Incoming) {
        send(Some(options.bind("")));
        send(Some(dialer.dial("")));
        send(Some(listener.accept()));
        send(Some(incoming.handshake()));
    }
    let _ = futures;
}

#[test]
fn ipv4_and_ipv6_listeners_share_a_port() {
    // The port that the system gives the first may be somebody else's in the other family.
    let pair = (0..20).find_map(|_| {
        let v6 = listen("/ip6/::/tcp/0/ws");
        let v4 = block_on(Listener::bind(format!("/ip4/0.0.0.0/tcp/{}/ws", port(&v6)))).ok()?;
        Some((v4, v6))
    });
    let (v4, v6) = pair.unwrap();
    let port = port(&v6);
    let _to_v4 = connect(([127, 0, 0, 1], port).into());
    let _to_v6 = connect(format!("[::1]:{port}").parse().unwrap());
    assert!(block_on(v4.accept()).unwrap().remote_addr().is_ipv4());
    assert!(block_on(v6.accept()).unwrap().remote_addr().is_ipv6());
}

#[test]
fn port_zero_is_reported_as_the_port_it_became() {
    let listener = listen("/ip4/127.0.0.1/tcp/0/ws");
    let port = port(&listener);
    assert_ne!(port, 0);
    let expected: Multiaddr = format!("/ip4/127.0.0.1/tcp/{port}/ws").parse().unwrap();
    assert_eq!(listener.addresses().unwrap(), [expected]);
}

#[test]
fn a_wildcard_reports_the_addresses_of_all_interfaces_of_its_family() {
    let interfaces = if_addrs::get_if_addrs().unwrap();
    for (wildcard, is_v4) in [("/ip4/0.0.0.0/tcp/0/ws", true), ("/ip6/::/tcp/0/ws", false)] {
        let listener = listen(wildcard);
        let port = port(&listener);
        let mut reported = Vec::new();
        for addr in listener.addresses().unwrap() {
            assert!(addr.iter().any(|part| part == Protocol::Tcp(port)), "{addr}");
            reported.extend(addr.iter().find_map(|part| match part {
                Protocol::Ip4(ip) => Some(std::net::IpAddr::from(ip)),
                Protocol::Ip6(ip) => Some(ip.into()),
                _ => None,
            }));
        }
        let mut expected: Vec<_> = interfaces.iter().map(|i| i.ip()).filter(|ip| ip.is_ipv4() == is_v4).collect();
        expected.sort();
        expected.dedup();
        reported.sort();
        assert_eq!(reported, expected);
        assert!(reported.iter().any(|ip| ip.is_loopback()));
    }
}

#[test]
fn a_name_is_bound_and_announced() {
    let listener = listen("/dns/localhost/tcp/0/ws");
    let expected: Multiaddr = format!("/dns/localhost/tcp/{}/ws", port(&listener)).parse().unwrap();
    assert_eq!(listener.addresses().unwrap(), [expected]);
    for addr in listener.local_addrs().unwrap() {
        assert!(addr.ip().is_loopback());
        let client = connect(addr);
        let incoming = block_on(listener.accept()).unwrap();
        assert_eq!(incoming.remote_addr(), client.local_addr().unwrap());
        assert_eq!(incoming.local_addr().unwrap(), addr);
    }
}

#[test]
fn a_socket_bound_elsewhere_is_listened_on() {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = socket.local_addr().unwrap();
    let listener = Listener::from_std(socket, "/ip4/0.0.0.0/tcp/0/ws/http-path/chat").unwrap();
    let expected: Multiaddr = format!("/ip4/127.0.0.1/tcp/{}/ws/http-path/chat", addr.port()).parse().unwrap();
    assert_eq!(listener.addresses().unwrap(), [expected]);
    let client = connect(addr);
    assert_eq!(block_on(listener.accept()).unwrap().remote_addr(), client.local_addr().unwrap());
}

/// std's `[::]` takes IPv4 as well on Linux.
#[cfg(target_os = "linux")]
#[test]
fn a_dual_stack_socket_reports_both_families_and_shows_ipv4_clients_as_such() {
    let socket = TcpListener::bind("[::]:0").unwrap();
    let port = socket.local_addr().unwrap().port();
    let listener = Listener::from_std(socket, "/ip6/::/tcp/0/ws").unwrap();
    let addresses = listener.addresses().unwrap();
    for expected in [format!("/ip4/127.0.0.1/tcp/{port}/ws"), format!("/ip6/::1/tcp/{port}/ws")] {
        assert!(addresses.contains(&expected.parse().unwrap()), "{addresses:?}");
    }
    let client = connect(([127, 0, 0, 1], port).into());
    assert_eq!(block_on(listener.accept()).unwrap().remote_addr(), client.local_addr().unwrap());
}

#[test]
fn the_remote_address_has_the_protocols_of_the_listener() {
    let (listener, addr) = listen_v4(&ListenOptions::new());
    let client = connect(addr);
    let incoming = block_on(listener.accept()).unwrap();
    let expected = format!("/ip4/127.0.0.1/tcp/{}/ws", client.local_addr().unwrap().port());
    assert_eq!(incoming.remote_multiaddr().to_string(), expected);
}

#[test]
fn dropping_the_listener_frees_the_port() {
    // An address that no other test uses, so that none takes the port meanwhile.
    let text = if cfg!(target_os = "linux") { "/ip4/127.0.0.77/tcp/0/ws" } else { "/ip4/127.0.0.1/tcp/0/ws" };
    let listener = listen(text);
    let announced = listener.addresses().unwrap().remove(0);
    let addr = listener.local_addrs().unwrap()[0];
    // The end that closes first keeps the port in TIME_WAIT.
    let mut client = connect(addr);
    drop(block_on(listener.accept()).unwrap());
    assert_eq!(client.read(&mut [0; 1]).unwrap(), 0);
    drop((client, listener));
    assert_eq!(block_on(Listener::bind(&announced)).unwrap().local_addrs().unwrap(), [addr]);
}

#[test]
fn a_port_in_use_is_an_error_of_the_listen_phase() {
    let (_listener, addr) = listen_v4(&ListenOptions::new());
    let text = format!("/ip4/127.0.0.1/tcp/{}/ws", addr.port());
    let error = block_on(Listener::bind(&text)).unwrap_err();
    assert_eq!(error.phase(), Phase::Listen);
    assert_eq!(error.address().unwrap().to_string(), text);
    assert_eq!(std::io::Error::from(error).kind(), std::io::ErrorKind::AddrInUse);
}

#[test]
fn what_cannot_be_listened_on_is_told_by_phase_and_address() {
    for (text, phase) in [
        ("/ip4/127.0.0.1/tcp/0/tls/ws", Phase::Tls),
        ("/ip4/127.0.0.1/tcp/0/wss", Phase::Tls),
        ("/ip4/127.0.0.1/tcp/0", Phase::Address),
        // RFC 5737: nobody's address.
        ("/ip4/198.51.100.7/tcp/0/ws", Phase::Listen),
    ] {
        let error = block_on(Listener::bind(text)).unwrap_err();
        assert_eq!(error.phase(), phase, "{error}");
        assert_eq!(error.address().unwrap().to_string(), text);
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        match Listener::from_std(socket, text) {
            Err(error) => assert_eq!(error.phase(), phase, "{error}"),
            Ok(_) => assert_eq!(phase, Phase::Listen),
        }
    }
    assert!(block_on(Listener::bind("no multiaddr")).unwrap_err().address().is_none());
}

#[cfg(target_os = "linux")]
#[test]
fn hundreds_of_clients_queue_before_anything_is_accepted() {
    let limit = std::fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap();
    if limit.trim().parse::<usize>().unwrap() < 512 {
        return;
    }
    let (listener, addr) = listen_v4(&ListenOptions::new());
    // Beyond a full queue the kernel drops the SYN, and connecting would time out.
    let clients: Vec<_> = (0..500).map(|_| connect(addr)).collect();
    for client in clients {
        assert_eq!(block_on(listener.accept()).unwrap().remote_addr(), client.local_addr().unwrap());
    }
}

#[test]
fn dropping_accept_futures_loses_no_connection() {
    const CLIENTS: usize = 50;
    let (listener, addr) = listen_v4(&ListenOptions::new());
    let clients = std::thread::spawn(move || (0..CLIENTS).map(|_| connect(addr)).collect::<Vec<_>>());
    let mut accepted = Vec::new();
    while accepted.len() < CLIENTS {
        // One future per poll, all but the last for each connection dropped while it waits.
        match block_on(future::poll_once(listener.accept())) {
            Some(incoming) => accepted.push(incoming.unwrap().remote_addr()),
            None => std::thread::yield_now(),
        }
    }
    let clients: Vec<_> = clients.join().unwrap().iter().map(|client| client.local_addr().unwrap()).collect();
    assert_eq!(accepted, clients);
}

#[test]
fn several_tasks_may_wait_for_connections() {
    let (listener, addr) = listen_v4(&ListenOptions::new());
    let both = future::zip(listener.accept(), listener.accept());
    let mut both = pin!(both);
    assert!(block_on(future::poll_once(both.as_mut())).is_none());
    let _clients = [connect(addr), connect(addr)];
    let (one, other) = block_on(both);
    assert_ne!(one.unwrap().remote_addr(), other.unwrap().remote_addr());
}

#[test]
fn poll_accept_wakes_its_task() {
    let (mut listener, addr) = listen_v4(&ListenOptions::new());
    let mut accept = pin!(future::poll_fn(|cx| listener.poll_accept(cx)));
    assert!(block_on(future::poll_once(accept.as_mut())).is_none());
    let client = connect(addr);
    assert_eq!(block_on(accept).unwrap().remote_addr(), client.local_addr().unwrap());
}

#[test]
fn a_silent_client_holds_up_nobody_whose_handshake_runs_beside_it() {
    let (listener, addr) = listen_v4(&ListenOptions::new());
    let _silent = connect(addr);
    let mut good = connect(addr);
    good.write_all(REQUEST).unwrap();
    block_on(async {
        let silent = listener.accept().await.unwrap();
        let good = listener.accept().await.unwrap();
        let silent = async {
            silent.await.map(drop).unwrap_err();
            unreachable!("the silent client is done first");
        };
        future::or(async { drop(good.await.unwrap()) }, silent).await;
    });
    let mut answer = [0; 12];
    good.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 101");
}

#[test]
fn silent_clients_leave_the_last_place_of_connections_to_a_good_one() {
    let (listener, addr) = listen_v4(&ListenOptions::new().with_handshake_timeout(Duration::MAX));
    let mut connections = listener.connections().with_handshakes(4);
    let _silent = [connect(addr), connect(addr), connect(addr)];
    for _ in 0..10 {
        let mut good = connect(addr);
        good.write_all(REQUEST).unwrap();
        let connection = block_on(connections.next()).unwrap().unwrap();
        let remote = connection.get_ref().get_ref().peer_addr().unwrap();
        assert_eq!(remote, good.local_addr().unwrap());
    }
}

#[test]
fn failed_handshakes_do_not_end_the_stream_and_free_their_places() {
    let (listener, addr) = listen_v4(&ListenOptions::new().with_handshake_timeout(patient(Duration::from_millis(200))));
    let mut connections = listener.connections().with_handshakes(1);
    let _silent = connect(addr);
    let mut garbage = connect(addr);
    garbage.write_all(b"garbage\r\n\r\n").unwrap();
    drop(connect(addr));
    let errors = [(); 3].map(|()| block_on(connections.next()).unwrap().unwrap_err());
    assert!(errors[0].is_timeout(), "{}", errors[0]);
    assert_eq!(errors[1].refusal().unwrap().status, StatusCode::BAD_REQUEST);
    for error in errors {
        assert_eq!(error.phase(), Phase::Handshake);
        assert!(error.address().unwrap().to_string().starts_with("/ip4/127.0.0.1/tcp/"));
    }
    let mut good = connect(addr);
    good.write_all(REQUEST).unwrap();
    block_on(connections.next()).unwrap().unwrap();
}

#[test]
fn a_full_set_of_handshakes_accepts_no_more() {
    let (listener, addr) = listen_v4(&ListenOptions::new().with_handshake_timeout(Duration::MAX));
    let mut connections = listener.connections().with_handshakes(2);
    let (_first, mut second) = (connect(addr), connect(addr));
    assert!(block_on(future::poll_once(connections.next())).is_none());
    let mut third = connect(addr);
    third.write_all(REQUEST).unwrap();
    // Without a wake-up nothing happens; polling in vain shows that the third stays in the queue.
    for _ in 0..100 {
        assert!(block_on(future::poll_once(connections.next())).is_none());
    }
    second.write_all(REQUEST).unwrap();
    for expected in [&second, &third] {
        let connection = block_on(connections.next()).unwrap().unwrap();
        assert_eq!(connection.get_ref().get_ref().peer_addr().unwrap(), expected.local_addr().unwrap());
    }
}

#[test]
fn bytes_that_drip_in_do_not_extend_the_deadline() {
    let (listener, addr) = listen_v4(&ListenOptions::new().with_handshake_timeout(Duration::from_millis(300)));
    let mut client = connect(addr);
    let drip = std::thread::spawn(move || {
        client.set_nodelay(true).unwrap();
        // More than any head allowed: without an absolute deadline this would go on for long.
        for byte in REQUEST[..REQUEST.len() - 4].iter().copied().chain(std::iter::repeat_n(b'a', 16 * 1024)) {
            if client.write_all(&[byte]).is_err() {
                return true;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        false
    });
    let error = block_on(async { listener.accept().await.unwrap().await }).unwrap_err();
    assert_eq!(error.phase(), Phase::Handshake);
    assert!(error.is_timeout(), "{error}");
    assert!(drip.join().unwrap(), "the client could send all it had");
}

#[test]
fn the_time_for_a_handshake_counts_from_the_accept() {
    let (listener, addr) = listen_v4(&ListenOptions::new().with_handshake_timeout(Duration::from_millis(1)));
    let _silent = connect(addr);
    let incoming = block_on(listener.accept()).unwrap();
    std::thread::sleep(Duration::from_millis(50));
    let mut handshake = pin!(incoming.handshake());
    assert!(block_on(future::poll_once(handshake.as_mut())).unwrap().unwrap_err().is_timeout());
}

#[test]
fn a_refused_client_reads_503() {
    let (listener, addr) = listen_v4(&ListenOptions::new());
    for has_asked in [false, true] {
        let mut client = connect(addr);
        if has_asked {
            client.write_all(REQUEST).unwrap();
        }
        block_on(listener.accept()).unwrap().refuse();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer:?}");
    }
}

#[test]
fn a_dropped_incoming_is_closed() {
    let (listener, addr) = listen_v4(&ListenOptions::new());
    let mut client = connect(addr);
    drop(block_on(listener.accept()).unwrap());
    assert_eq!(client.read(&mut [0; 1]).unwrap(), 0);
}

#[test]
fn a_path_in_the_listen_address_is_announced_and_the_only_one_served() {
    let listener = listen("/ip4/127.0.0.1/tcp/0/ws/http-path/chat%2Froom");
    let announced = listener.addresses().unwrap().remove(0);
    assert!(announced.to_string().ends_with("/ws/http-path/chat%2Froom"), "{announced}");
    let other: Multiaddr = format!("/ip4/127.0.0.1/tcp/{}/ws", port(&listener)).parse().unwrap();
    let mut connections = listener.connections();
    block_on(async {
        let dialer = Dialer::new();
        let (ours, theirs) = future::zip(dialer.dial(&announced), connections.next()).await;
        ours.unwrap();
        theirs.unwrap().unwrap();
        let (ours, theirs) = future::zip(dialer.dial(&other), connections.next()).await;
        assert_eq!(ours.unwrap_err().refusal().unwrap().status, StatusCode::NOT_FOUND);
        assert_eq!(theirs.unwrap().unwrap_err().refusal().unwrap().status, StatusCode::NOT_FOUND);
    });
}

#[test]
fn the_policy_is_asked_and_its_status_arrives() {
    let options = ListenOptions::new().with_policy(|request| match request.origin() {
        Some("https://example.com") => Ok(()),
        _ => Err(StatusCode::FORBIDDEN),
    });
    let (listener, addr) = listen_v4(&options);
    let text = format!("/ip4/127.0.0.1/tcp/{}/ws", addr.port());
    let mut connections = listener.connections();
    block_on(async {
        let stranger = Dialer::new();
        let (refused, _) = future::zip(stranger.dial(&text), connections.next()).await;
        assert_eq!(refused.unwrap_err().refusal().unwrap().status, StatusCode::FORBIDDEN);
        let friend = Dialer::new().with_header("Origin", "https://example.com").unwrap();
        let (accepted, _) = future::zip(friend.dial(&text), connections.next()).await;
        accepted.unwrap();
    });
}

#[cfg(unix)]
#[test]
fn accepted_connections_have_nodelay_and_keepalive_only_if_asked_for() {
    use rustix::net::sockopt;

    for (options, keepalive) in
        [(ListenOptions::new(), false), (ListenOptions::new().with_keepalive(ws_transport::KeepAlive::new()), true)]
    {
        let bound = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = bound.local_addr().unwrap();
        let of_theirs = (options.listen(bound, "/ip4/127.0.0.1/tcp/0/ws").unwrap(), addr);
        for (listener, addr) in [listen_v4(&options), of_theirs] {
            connect(addr).write_all(REQUEST).unwrap();
            let connection = block_on(async { listener.accept().await.unwrap().await }).unwrap();
            let socket = connection.get_ref().get_ref().get_ref();
            assert!(socket.nodelay().unwrap());
            assert_eq!(sockopt::socket_keepalive(socket).unwrap(), keepalive);
        }
    }
}
