//! rust-libp2p `Swarm`s on smol over the transport. Loopback only.
#![cfg(feature = "libp2p")]

#[path = "tls/certs.rs"]
#[allow(dead_code)]
mod certs;
#[path = "common/patience.rs"]
mod patience;

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::task::{Context, Poll};
use std::time::Duration;

use async_io::Timer;
use futures_lite::StreamExt;
use futures_lite::future::{self, Future, block_on};
use libp2p_core::transport::{ListenerId, PortUse};
use libp2p_core::upgrade::Version;
use libp2p_core::{Endpoint, Multiaddr};
use libp2p_identity::{Keypair, PeerId};
use libp2p_kad::store::MemoryStore;
use libp2p_kad::{GetRecordOk, QueryResult, Quorum, Record};
use libp2p_swarm::behaviour::{FromSwarm, ToSwarm};
use libp2p_swarm::derive_prelude as prelude;
use libp2p_swarm::{
    Config, ConnectionDenied, ConnectionId, DialError, NetworkBehaviour, StreamProtocol, Swarm, SwarmEvent, THandler,
    THandlerInEvent, THandlerOutEvent, dummy,
};
use patience::patient;
use ws_transport::libp2p::WsTransport;
use ws_transport::libp2p::libp2p_core::{self, Transport};
use ws_transport::multiaddr::Protocol;
use ws_transport::tls::{Acceptor, Backend, Connector};
use ws_transport::{Dialer, ListenOptions, WsAddr};

/// Time after which a test is considered to hang.
const LONG: Duration = Duration::from_secs(60);

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

/// What a node of a network has.
#[derive(NetworkBehaviour)]
#[behaviour(prelude = "prelude")]
struct Node {
    identify: libp2p_identify::Behaviour,
    ping: libp2p_ping::Behaviour,
    kad: libp2p_kad::Behaviour<MemoryStore>,
}

impl Node {
    fn new(key: &Keypair) -> Self {
        let id = key.public().to_peer_id();
        let identify = libp2p_identify::Config::new("/test/1.0.0".into(), key.public());
        let kad = libp2p_kad::Config::new(StreamProtocol::new("/test/kad/1.0.0"));
        let mut kad = libp2p_kad::Behaviour::with_config(id, MemoryStore::new(id), kad);
        kad.set_mode(Some(libp2p_kad::Mode::Server));
        Node { identify: libp2p_identify::Behaviour::new(identify), ping: libp2p_ping::Behaviour::default(), kad }
    }
}

fn swarm<B: NetworkBehaviour>(transport: WsTransport, behaviour: impl FnOnce(&Keypair) -> B) -> Swarm<B> {
    swarm_within(LONG, transport, behaviour)
}

/// A swarm whose connections have so much time until they are ready for streams.
fn swarm_within<B: NetworkBehaviour>(
    upgrade_time: Duration,
    transport: WsTransport,
    behaviour: impl FnOnce(&Keypair) -> B,
) -> Swarm<B> {
    let key = Keypair::generate_ed25519();
    let mut yamux = libp2p_yamux::Config::default();
    yamux.set_max_num_streams(4096);
    let upgrade = transport.upgrade(Version::V1Lazy);
    let transport = match ours(&key) {
        Some(noise) => upgrade.authenticate(noise).multiplex(yamux).timeout(upgrade_time).boxed(),
        None => {
            let noise = libp2p_noise::Config::new(&key).unwrap();
            upgrade.authenticate(noise).multiplex(yamux).timeout(upgrade_time).boxed()
        }
    };
    let config = Config::with_executor(|task| smol::spawn(task).detach()).with_idle_connection_timeout(LONG);
    Swarm::new(transport, behaviour(&key), key.public().to_peer_id(), config)
}

/// Our noise for every other node, where it is compiled in; the others have the reference's.
#[cfg(feature = "upgrade")]
fn ours(key: &Keypair) -> Option<ws_transport::upgrade::Noise> {
    use std::sync::atomic::{AtomicBool, Ordering};
    static LAST: AtomicBool = AtomicBool::new(false);
    (!LAST.fetch_xor(true, Ordering::Relaxed)).then(|| ws_transport::upgrade::Noise::new(key).unwrap())
}

#[cfg(not(feature = "upgrade"))]
fn ours(_: &Keypair) -> Option<libp2p_noise::Config> {
    None
}

/// Listens on `text`, which may be a wildcard; returns the loopback address announced.
async fn listen<B: NetworkBehaviour>(swarm: &mut Swarm<B>, text: &str) -> (ListenerId, Multiaddr) {
    let id = swarm.listen_on(text.parse().unwrap()).unwrap();
    loop {
        let SwarmEvent::NewListenAddr { listener_id, address } = swarm.next().await.unwrap() else { continue };
        if listener_id == id && WsAddr::try_from(&address).unwrap().is_loopback() {
            return (id, address);
        }
    }
}

/// Makes transports that trust each other.
type Maker = Box<dyn Fn() -> WsTransport>;

/// Every scheme there is, with TLS once for each backend.
fn schemes() -> Vec<(&'static str, Maker)> {
    let mut schemes: Vec<(_, Maker)> = vec![("ws", Box::new(WsTransport::default))];
    for &backend in Backend::compiled_in() {
        let authority = certs::Authority::new("swarm");
        let leaf = authority.issue("127.0.0.1");
        let connector = Connector::builder().pem_roots(authority.pem()).build_with(backend).unwrap();
        let acceptor = Acceptor::builder(leaf.chain, leaf.key).build_with(backend).unwrap();
        let transport = move || {
            let options = ListenOptions::new().with_tls(acceptor.clone());
            WsTransport::new(Dialer::new().with_tls(connector.clone()), options)
        };
        schemes.push(("tls/ws", Box::new(transport)));
    }
    schemes
}

async fn in_time<T>(work: impl Future<Output = T>) -> T {
    let late = async {
        Timer::after(LONG).await;
        panic!("hangs")
    };
    future::or(work, late).await
}

#[test]
fn nodes_identify_and_ping_each_other_and_exchange_a_record() {
    for (scheme, transport) in schemes() {
        block_on(in_time(async {
            let (mut a, mut b) = (swarm(transport(), Node::new), swarm(transport(), Node::new));
            let (_, address) = listen(&mut a, &format!("/ip4/127.0.0.1/tcp/0/{scheme}")).await;
            listen(&mut b, &format!("/ip4/0.0.0.0/tcp/0/{scheme}")).await;
            b.dial(address.clone().with_p2p(*a.local_peer_id()).unwrap()).unwrap();

            let mut left = BTreeSet::from(["a identify", "a ping", "b identify", "b ping", "b put", "b get"]);
            while !left.is_empty() {
                let (name, event) = future::or(async { ("a", a.next().await) }, async { ("b", b.next().await) }).await;
                let done = match event.unwrap() {
                    SwarmEvent::Behaviour(NodeEvent::Identify(libp2p_identify::Event::Received {
                        peer_id,
                        info,
                        ..
                    })) => {
                        let (this, other) = if name == "a" { (&mut a, &b) } else { (&mut b, &a) };
                        assert_eq!(peer_id, *other.local_peer_id());
                        // What identify tells are the addresses announced, and so can be dialed.
                        assert!(!info.listen_addrs.is_empty());
                        for address in info.listen_addrs {
                            assert!(address.to_string().contains(scheme), "{address}");
                            this.behaviour_mut().kad.add_address(&peer_id, address);
                        }
                        if name == "b" {
                            let record = Record::new(b"key".to_vec(), b"value".to_vec());
                            b.behaviour_mut().kad.put_record(record, Quorum::One).unwrap();
                        }
                        "identify"
                    }
                    SwarmEvent::Behaviour(NodeEvent::Ping(libp2p_ping::Event { result, .. })) => {
                        result.unwrap();
                        "ping"
                    }
                    SwarmEvent::Behaviour(NodeEvent::Kad(libp2p_kad::Event::OutboundQueryProgressed {
                        result,
                        ..
                    })) => {
                        let kad = &mut b.behaviour_mut().kad;
                        match result {
                            QueryResult::PutRecord(put) => {
                                let key = put.unwrap().key;
                                kad.remove_record(&key);
                                kad.get_record(key);
                                "put"
                            }
                            QueryResult::GetRecord(Ok(GetRecordOk::FoundRecord(found))) => {
                                assert_eq!(found.record.value, b"value");
                                assert_eq!(found.peer.as_ref(), Some(a.local_peer_id()));
                                "get"
                            }
                            QueryResult::GetRecord(Err(error)) => panic!("{error}"),
                            _ => continue,
                        }
                    }
                    SwarmEvent::ConnectionEstablished { endpoint, .. } => {
                        if name == "b" {
                            assert_eq!(
                                endpoint.get_remote_address().to_string().split("/p2p/").next().unwrap(),
                                address.to_string()
                            );
                        }
                        continue;
                    }
                    SwarmEvent::OutgoingConnectionError { error, .. } => panic!("{error}"),
                    SwarmEvent::IncomingConnectionError { error, .. } => panic!("{error}"),
                    _ => continue,
                };
                left.remove(format!("{name} {done}").as_str());
            }
        }));
    }
}

#[test]
fn another_peer_than_the_one_dialed_is_refused() {
    block_on(in_time(async {
        let mut a = swarm(WsTransport::default(), |_| dummy::Behaviour);
        let mut b = swarm(WsTransport::default(), |_| dummy::Behaviour);
        let (_, address) = listen(&mut a, "/ip4/127.0.0.1/tcp/0/ws").await;
        let wanted = PeerId::random();
        b.dial(address.with_p2p(wanted).unwrap()).unwrap();
        let serve = async { while a.next().await.is_some() {} };
        let dial = async {
            loop {
                if let SwarmEvent::OutgoingConnectionError { error, .. } = b.next().await.unwrap() {
                    return error;
                }
            }
        };
        let error = future::or(dial, async {
            serve.await;
            panic!()
        })
        .await;
        let DialError::WrongPeerId { obtained, .. } = error else { panic!("{error:?}") };
        assert_eq!(obtained, *a.local_peer_id());
    }));
}

#[test]
fn a_listener_removed_from_a_swarm_expires_with_its_addresses() {
    block_on(in_time(async {
        let mut swarm = swarm(WsTransport::default(), |_| dummy::Behaviour);
        let (id, address) = listen(&mut swarm, "/ip4/127.0.0.1/tcp/0/ws").await;
        assert_eq!(swarm.listeners().collect::<Vec<_>>(), [&address]);
        assert!(swarm.remove_listener(id));
        let Some(SwarmEvent::ListenerClosed { listener_id, addresses, reason: Ok(()) }) = swarm.next().await else {
            panic!()
        };
        assert_eq!((listener_id, addresses), (id, vec![address]));
        assert_eq!(swarm.listeners().count(), 0);
    }));
}

/// Denies every connection before its handshake.
struct Closed;

impl NetworkBehaviour for Closed {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_pending_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        Err(ConnectionDenied::new("nobody comes in"))
    }

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(dummy::ConnectionHandler)
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(dummy::ConnectionHandler)
    }

    fn on_swarm_event(&mut self, _: FromSwarm<'_>) {}

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Infallible, THandlerInEvent<Self>>> {
        Poll::Pending
    }
}

#[test]
fn a_client_that_a_behaviour_denies_reads_503() {
    block_on(in_time(async {
        let mut swarm = swarm(WsTransport::default(), |_| Closed);
        let (_, address) = listen(&mut swarm, "/ip4/127.0.0.1/tcp/0/ws").await;
        let Some(Protocol::Tcp(port)) = address.iter().nth(1) else { panic!("{address}") };
        let mut client = TcpStream::connect(("127.0.0.1", port)).unwrap();
        client.set_read_timeout(Some(LONG)).unwrap();
        client.write_all(REQUEST).unwrap();
        let event = swarm.next().await.unwrap();
        assert!(matches!(event, SwarmEvent::IncomingConnectionError { .. }), "{event:?}");
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer:?}");
    }));
}

#[test]
fn a_client_that_is_silent_after_the_handshake_is_gone_in_time() {
    block_on(in_time(async {
        let mut swarm = swarm_within(patient(Duration::from_millis(200)), WsTransport::default(), |_| dummy::Behaviour);
        let (_, address) = listen(&mut swarm, "/ip4/127.0.0.1/tcp/0/ws").await;
        let Some(Protocol::Tcp(port)) = address.iter().nth(1) else { panic!("{address}") };
        let mut client = TcpStream::connect(("127.0.0.1", port)).unwrap();
        client.set_read_timeout(Some(LONG)).unwrap();
        client.write_all(REQUEST).unwrap();
        while !matches!(swarm.next().await.unwrap(), SwarmEvent::IncomingConnectionError { .. }) {}
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&answer));
    }));
}
