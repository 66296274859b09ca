//! The transport for rust-libp2p by itself, as a `Swarm` or a combinator sees it. Loopback only.
#![cfg(feature = "libp2p")]

#[path = "tls/certs.rs"]
#[allow(dead_code)]
mod certs;
mod common;
#[path = "libp2p/listeners.rs"]
mod listeners;

use std::collections::BTreeSet;
use std::error::Error as _;
use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_lite::future::{self, block_on};
use futures_lite::{AsyncReadExt, AsyncWrite as _, AsyncWriteExt};
use libp2p_core::Endpoint;
use libp2p_core::transport::dummy::DummyTransport;
use libp2p_core::transport::{Boxed, DialOpts, ListenerId, MemoryTransport, PortUse, TransportError, TransportEvent};
use ws_transport::libp2p::libp2p_core::{self, Transport};
use ws_transport::libp2p::{ListenerUpgrade, WsTransport};
use ws_transport::multiaddr::{Multiaddr, Protocol};
use ws_transport::tls::{Acceptor, Backend, Connector, TlsError};
use ws_transport::{Connection, Dialer, Error, ListenOptions, Phase, StreamConfig, WsAddr};

/// Time after which a test is considered to hang.
const LONG: Duration = Duration::from_secs(60);

const PEER: &str = "12D3KooWHFKTMzwerBtsVmtz4ZZEQy2heafxzWw6wNn5PPYkBxJ5";

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

type Event = TransportEvent<ListenerUpgrade, Error>;

fn addr(text: &str) -> Multiaddr {
    text.parse().unwrap()
}

const OPTS: DialOpts = DialOpts { role: Endpoint::Dialer, port_use: PortUse::Reuse };

fn next(transport: &mut WsTransport) -> Event {
    block_on(next_event(transport))
}

async fn next_event<T: Transport + Unpin>(transport: &mut T) -> TransportEvent<T::ListenerUpgrade, T::Error> {
    future::poll_fn(|cx| Pin::new(&mut *transport).poll(cx)).await
}

/// What a poll yields, if anything happened.
fn poll(transport: &mut WsTransport) -> Option<Event> {
    match Pin::new(transport).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(event) => Some(event),
        Poll::Pending => None,
    }
}

/// Listens on `text`; returns the one address that is announced.
fn listen(transport: &mut WsTransport, text: &str) -> (ListenerId, Multiaddr) {
    let id = ListenerId::next();
    transport.listen_on(id, addr(text)).unwrap();
    match next(transport) {
        TransportEvent::NewAddress { listener_id, listen_addr } if listener_id == id => (id, listen_addr),
        event => panic!("{event:?}"),
    }
}

fn socket_addr(addr: &Multiaddr) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, WsAddr::try_from(addr).unwrap().port()).into()
}

fn connect(addr: &Multiaddr) -> TcpStream {
    let socket = TcpStream::connect_timeout(&socket_addr(addr), LONG).unwrap();
    socket.set_read_timeout(Some(LONG)).unwrap();
    socket
}

/// Dials and accepts on one transport; returns both ends, local address and send-back address.
async fn pair(
    transport: &mut WsTransport,
    addr: &Multiaddr,
) -> (Result<Connection, Error>, Result<Connection, Error>, Multiaddr, Multiaddr) {
    let dial = transport.dial(addr.clone(), OPTS).unwrap();
    let accept = async {
        match next_event(transport).await {
            TransportEvent::Incoming { upgrade, local_addr, send_back_addr, .. } => {
                (upgrade.await, local_addr, send_back_addr)
            }
            event => panic!("{event:?}"),
        }
    };
    let (dialed, (accepted, local_addr, send_back_addr)) = future::zip(dial, accept).await;
    (dialed, accepted, local_addr, send_back_addr)
}

/// A transport that listens on and dials TLS with certificates of its own authority, for a backend; without one
/// it has no TLS.
fn with_tls(backend: Option<Backend>) -> WsTransport {
    let Some(backend) = backend else { return WsTransport::default() };
    let authority = certs::Authority::new("libp2p");
    let leaf = authority.issue("127.0.0.1");
    let connector = Connector::builder().pem_roots(authority.pem()).build_with(backend).unwrap();
    let acceptor = Acceptor::builder(leaf.chain, leaf.key).build_with(backend).unwrap();
    WsTransport::new(Dialer::new().with_tls(connector), ListenOptions::new().with_tls(acceptor))
}

#[test]
fn it_can_be_boxed_and_its_types_are_send() {
    fn send<T: Send + 'static>(value: T) -> T {
        value
    }
    let mut transport = send(WsTransport::default());
    drop(send(transport.dial(addr("/ip4/127.0.0.1/tcp/1/ws"), OPTS).unwrap()));
    let upgrade: Option<ListenerUpgrade> = None;
    send(upgrade);
    send(transport.map(|connection, _| ((), send(connection))).boxed());
}

#[test]
fn foreign_addresses_are_given_back_at_once() {
    let mut transport = WsTransport::default();
    let relayed = format!("/ip4/192.0.2.1/tcp/4001/ws/p2p/{PEER}/p2p-circuit");
    let foreign = [
        "/ip4/192.0.2.1/tcp/4001",
        "/ip4/192.0.2.1/udp/4001/quic-v1",
        "/memory/7",
        "/unix/tmp%2Fsocket",
        "/dnsaddr/bootstrap.libp2p.io",
        "/ip4/192.0.2.1/tcp/4001/x-parity-ws/%2Fpath",
        &relayed,
        "/p2p-circuit",
    ];
    for text in foreign {
        let not_supported =
            |error| matches!(error, Err(TransportError::MultiaddrNotSupported(back)) if back == addr(text));
        assert!(not_supported(transport.dial(addr(text), OPTS).map(drop)), "{text}");
        assert!(not_supported(transport.listen_on(ListenerId::next(), addr(text))), "{text}");
    }
    for nowhere in ["/ip4/0.0.0.0/tcp/80/ws", "/ip6/::/tcp/80/ws", "/ip4/127.0.0.1/tcp/0/ws", "/dns/localhost/tcp/0/ws"]
    {
        let refused = transport.dial(addr(nowhere), OPTS).map(drop);
        assert!(matches!(refused, Err(TransportError::MultiaddrNotSupported(back)) if back == addr(nowhere)));
    }
    assert!(poll(&mut transport).is_none());
}

#[test]
fn it_stands_beside_other_transports_in_either_order() {
    fn both_kinds<O>(mut transport: Boxed<O>) {
        block_on(async {
            for (text, is_ws) in [("/memory/0", false), ("/ip4/127.0.0.1/tcp/0/ws", true)] {
                let id = ListenerId::next();
                transport.listen_on(id, addr(text)).unwrap();
                let listen_addr = next_event(&mut transport).await.into_new_address().unwrap();
                assert_eq!(WsAddr::try_from(&listen_addr).is_ok(), is_ws, "{listen_addr}");

                let dial = transport.dial(listen_addr, OPTS).unwrap();
                let accept = async { next_event(&mut transport).await.into_incoming().unwrap().0.await };
                let (dialed, accepted) = future::zip(dial, accept).await;
                assert!(dialed.is_ok() && accepted.is_ok(), "{text}");

                assert!(transport.remove_listener(id));
                let closed = next_event(&mut transport).await;
                assert!(
                    matches!(closed, TransportEvent::ListenerClosed { listener_id, reason: Ok(()) } if listener_id == id)
                );
            }
            let foreign = addr("/ip4/127.0.0.1/udp/1/quic-v1");
            let refused = transport.dial(foreign.clone(), OPTS).map(drop);
            assert!(matches!(refused, Err(TransportError::MultiaddrNotSupported(back)) if back == foreign));
        });
    }
    let ws = WsTransport::default;
    let memory = MemoryTransport::default;
    both_kinds(ws().or_transport(memory()).boxed());
    both_kinds(memory().or_transport(ws()).boxed());
    both_kinds(DummyTransport::<Connection>::new().or_transport(ws()).or_transport(memory()).boxed());
}

#[test]
fn an_address_is_announced_as_it_was_listened_on() {
    let mut transport = with_tls(Backend::compiled_in().first().copied());
    let mut schemes = vec!["ws", "ws/http-path/libp2p"];
    if !Backend::compiled_in().is_empty() {
        schemes.extend(["tls/ws", "tls/sni/example.com/ws", "wss", "wss/http-path/libp2p"]);
    }
    for scheme in schemes {
        let (id, listen_addr) = listen(&mut transport, &format!("/ip4/127.0.0.1/tcp/0/{scheme}/p2p/{PEER}"));
        let port = WsAddr::try_from(&listen_addr).unwrap().port();
        assert_ne!(port, 0);
        assert_eq!(listen_addr, addr(&format!("/ip4/127.0.0.1/tcp/{port}/{scheme}")));
        assert!(transport.remove_listener(id));
        assert!(matches!(next(&mut transport), TransportEvent::ListenerClosed { .. }));
    }
}

#[test]
fn a_connection_tells_the_announced_address_and_where_it_came_from() {
    let mut transport = with_tls(Backend::compiled_in().first().copied());
    let mut schemes = vec![("ws", "ws"), ("ws/http-path/libp2p", "ws")];
    if !Backend::compiled_in().is_empty() {
        schemes.extend([("tls/ws", "tls/ws"), ("wss", "tls/ws")]);
    }
    for (scheme, back) in schemes {
        let (_, listen_addr) = listen(&mut transport, &format!("/ip4/127.0.0.1/tcp/0/{scheme}"));
        let (dialed, accepted, local_addr, send_back_addr) = block_on(pair(&mut transport, &listen_addr));
        assert_eq!(local_addr, listen_addr);
        let port = dialed.unwrap().get_ref().get_ref().local_addr().unwrap().port();
        assert_eq!(send_back_addr, addr(&format!("/ip4/127.0.0.1/tcp/{port}/{back}")));
        accepted.unwrap();
    }
}

#[test]
fn a_wildcard_is_announced_for_every_interface() {
    let mut transport = WsTransport::default();
    for (text, v4) in [("/ip4/0.0.0.0/tcp/0/ws", true), ("/ip6/::/tcp/0/ws", false)] {
        let interfaces = if_addrs::get_if_addrs().unwrap();
        let mut ips: BTreeSet<_> =
            interfaces.iter().map(|interface| interface.ip()).filter(|ip| ip.is_ipv4() == v4).collect();
        let id = ListenerId::next();
        transport.listen_on(id, addr(text)).unwrap();
        let mut announced = Vec::new();
        while !ips.is_empty() {
            let TransportEvent::NewAddress { listener_id, listen_addr } = next(&mut transport) else { panic!() };
            assert_eq!(listener_id, id);
            let ip = listen_addr.iter().find_map(|part| match part {
                Protocol::Ip4(ip) => Some(ip.into()),
                Protocol::Ip6(ip) => Some(ip.into()),
                _ => None,
            });
            assert!(ips.remove(&ip.unwrap()), "{listen_addr} is of no interface, or comes twice");
            announced.push(listen_addr);
        }
        if !v4 && announced.is_empty() {
            continue;
        }
        let loopback = announced.iter().find(|addr| WsAddr::try_from(*addr).unwrap().is_loopback()).unwrap();
        let (dialed, accepted, local_addr, _) = block_on(pair(&mut transport, loopback));
        assert_eq!(&local_addr, loopback);
        assert!(dialed.is_ok() && accepted.is_ok());
        assert!(transport.remove_listener(id));
        assert!(matches!(next(&mut transport), TransportEvent::ListenerClosed { reason: Ok(()), .. }));
    }
}

#[test]
fn a_name_is_announced_and_dialed() {
    let mut transport = WsTransport::default();
    let (_, listen_addr) = listen(&mut transport, "/dns4/localhost/tcp/0/ws");
    assert!(listen_addr.to_string().starts_with("/dns4/localhost/tcp/"), "{listen_addr}");
    let (dialed, accepted, local_addr, _) = block_on(pair(&mut transport, &listen_addr));
    assert_eq!(local_addr, listen_addr);
    assert!(dialed.is_ok() && accepted.is_ok());
}

#[test]
fn a_port_in_use_is_the_error_of_listening_on_an_ip_address_and_closes_the_listener_of_a_name() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let mut transport = WsTransport::default();
    let check = |error: Error, text: &str| {
        assert_eq!((error.phase(), error.address()), (Phase::Listen, Some(&addr(text))));
        let cause = error.source().unwrap().downcast_ref::<io::Error>().unwrap();
        assert_eq!(cause.kind(), io::ErrorKind::AddrInUse);
    };

    let text = format!("/ip4/127.0.0.1/tcp/{port}/ws");
    match transport.listen_on(ListenerId::next(), addr(&text)) {
        Err(TransportError::Other(error)) => check(error, &text),
        other => panic!("{other:?}"),
    }
    assert!(poll(&mut transport).is_none());

    let text = format!("/dns4/localhost/tcp/{port}/ws");
    let id = ListenerId::next();
    transport.listen_on(id, addr(&text)).unwrap();
    match next(&mut transport) {
        TransportEvent::ListenerClosed { listener_id, reason: Err(error) } if listener_id == id => check(error, &text),
        event => panic!("{event:?}"),
    }
    assert!(!transport.remove_listener(id));
}

#[test]
fn tls_that_cannot_be_had_is_an_error_and_no_foreign_address() {
    let mut transport = WsTransport::default();
    let wss = addr("/ip4/127.0.0.1/tcp/0/tls/ws");
    let Err(TransportError::Other(error)) = transport.listen_on(ListenerId::next(), wss) else { panic!() };
    assert_eq!(error.phase(), Phase::Tls);
    assert!(matches!(error.source().unwrap().downcast_ref(), Some(TlsError::Unavailable)));
}

#[test]
fn a_certificate_of_a_stranger_is_refused_with_its_cause() {
    for &backend in Backend::compiled_in() {
        let mut transport = with_tls(Some(backend));
        let (_, listen_addr) = listen(&mut transport, "/ip4/127.0.0.1/tcp/0/tls/ws");
        let (dialed, accepted, ..) = block_on(pair(&mut transport, &listen_addr));
        assert!(dialed.is_ok() && accepted.is_ok());

        transport = with_tls(Some(backend));
        let mut stranger = with_tls(Some(backend));
        let (_, listen_addr) = listen(&mut transport, "/ip4/127.0.0.1/tcp/0/tls/ws");
        let dial = stranger.dial(listen_addr.clone(), OPTS).unwrap();
        let accept = async { next_event(&mut transport).await.into_incoming().unwrap().0.await };
        let (dialed, accepted) = block_on(future::zip(dial, accept));
        let error = dialed.unwrap_err();
        assert_eq!((error.phase(), error.address()), (Phase::Tls, Some(&listen_addr)));
        assert!(error.source().unwrap().is::<TlsError>(), "{error:?}");
        assert_eq!(accepted.unwrap_err().phase(), Phase::Tls);
    }
}

#[test]
fn a_dial_does_nothing_until_it_is_polled_and_dropping_it_closes() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    server.set_nonblocking(true).unwrap();
    let port = server.local_addr().unwrap().port();
    let mut transport = WsTransport::default();
    let mut dial = transport.dial(addr(&format!("/ip4/127.0.0.1/tcp/{port}/ws/p2p/{PEER}")), OPTS).unwrap();
    // A connection begun by `dial` would stand at once: to the loopback device it is one call.
    assert_eq!(server.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);

    let server = async_io::Async::new(server).unwrap();
    let mut accepted = block_on(async {
        let accept = async { server.accept().await.unwrap().0 };
        let dialing = async { panic!("nobody answered, but {:?}", (&mut dial).await) };
        let mut accepted = future::or(accept, dialing).await;
        let mut first = [0; 3];
        let dialing = async { panic!("nobody answered, but {:?}", (&mut dial).await) };
        future::or(async { accepted.read_exact(&mut first).await.unwrap() }, dialing).await;
        assert_eq!(&first, b"GET");
        accepted
    });
    drop(dial);
    let mut rest = Vec::new();
    match block_on(accepted.read_to_end(&mut rest)) {
        Ok(_) => assert!(rest.ends_with(b"\r\n\r\n")),
        Err(error) => assert_eq!(error.kind(), io::ErrorKind::ConnectionReset),
    }
}

#[test]
fn a_peer_id_and_any_dial_options_are_taken() {
    let mut transport = WsTransport::default();
    let (_, listen_addr) = listen(&mut transport, "/ip4/127.0.0.1/tcp/0/ws");
    for role in [Endpoint::Dialer, Endpoint::Listener] {
        for port_use in [PortUse::New, PortUse::Reuse] {
            let dial = transport.dial(addr(&format!("{listen_addr}/p2p/{PEER}")), DialOpts { role, port_use }).unwrap();
            let accept = async { next_event(&mut transport).await.into_incoming().unwrap().0.await };
            let (dialed, accepted) = block_on(future::zip(dial, accept));
            assert!(dialed.is_ok() && accepted.is_ok());
        }
    }
}

#[test]
fn connections_put_flushes_off_unless_something_else_was_asked_for() {
    let asked = |put_off| StreamConfig::new().with_flushes_put_off(put_off);
    for (config, put_off) in [(StreamConfig::new(), true), (asked(true), true), (asked(false), false)] {
        let dialer = Dialer::new().with_stream_config(config);
        let mut transport = WsTransport::new(dialer, ListenOptions::new().with_stream_config(config));
        let (_, addr) = listen(&mut transport, "/ip4/127.0.0.1/tcp/0/ws");
        let (dialed, accepted, ..) = block_on(pair(&mut transport, &addr));
        let (mut dialed, mut accepted) = (dialed.unwrap(), accepted.unwrap());
        for connection in [&mut dialed, &mut accepted] {
            block_on(connection.write_all(b"message")).unwrap();
            let cx = &mut Context::from_waker(Waker::noop());
            assert_eq!(Pin::new(&mut *connection).poll_flush(cx).is_pending(), put_off, "{config:?}");
            block_on(connection.flush()).unwrap();
        }
        for connection in [&mut dialed, &mut accepted] {
            let mut message = [0; 7];
            block_on(connection.read_exact(&mut message)).unwrap();
            assert_eq!(&message, b"message");
        }
    }
}

#[test]
fn fifty_dials_at_once_all_arrive() {
    const DIALS: usize = 50;
    let mut transport = WsTransport::default();
    let (_, listen_addr) = listen(&mut transport, "/ip4/127.0.0.1/tcp/0/ws");
    let executor = smol::Executor::new();
    let dials: Vec<_> = (0..DIALS)
        .map(|i| {
            let dial = transport.dial(listen_addr.clone(), OPTS).unwrap();
            executor.spawn(async move {
                let mut connection = dial.await.unwrap();
                connection.write_all(&[i as u8]).await.unwrap();
                let mut echoed = [0];
                connection.read_exact(&mut echoed).await.unwrap();
                assert_eq!(echoed, [i as u8]);
            })
        })
        .collect();
    block_on(executor.run(async {
        for _ in 0..DIALS {
            let (upgrade, _) = next_event(&mut transport).await.into_incoming().unwrap();
            let echo = async {
                let mut connection = upgrade.await.unwrap();
                let mut byte = [0];
                connection.read_exact(&mut byte).await.unwrap();
                connection.write_all(&byte).await.unwrap();
                connection.flush().await.unwrap();
                let _ = connection.read(&mut byte).await;
            };
            executor.spawn(echo).detach();
        }
        for dial in dials {
            dial.await;
        }
    }));
}
