//! The full stack, noise and yamux on a WebSocket or on TCP: ours and rust-libp2p's, both ends on one thread.
//!
//! Everything is a task of one `LocalExecutor` for each connection: the two muxers, the writer and the reader. What
//! differs is what waits for the sockets: smol's reactor (async-io) for ours, a current-thread Tokio runtime for
//! rust-libp2p's TCP, which runs on no other. The two do not cost the same, so each side is there on the other's reactor
//! too: rust-libp2p's WebSocket on a TCP transport on async-io, and `Upgrader` on Tokio's sockets.
//!
//! TCP_NODELAY is set everywhere. The muxers are driven as a `Swarm` drives them, but without a `Swarm`, the same for
//! all; streams are negotiated lazily, as the layers below them are.
#![allow(dead_code, unreachable_pub, reason = "each program uses its part")]

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::net::Ipv4Addr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Poll, ready};

use futures_util::AsyncReadExt as _;
use libp2p_core::muxing::{StreamMuxerBox, StreamMuxerExt as _};
use libp2p_core::transport::{Boxed, DialOpts, ListenerId, PortUse, TransportEvent};
use libp2p_core::upgrade::Version;
use libp2p_core::{Endpoint, Transport};
use libp2p_identity::{Keypair, PeerId};
use multistream_select::{dialer_select_proto, listener_select_proto};
use smol::LocalExecutor;
use smol::future;
use smol::io::AsyncWriteExt as _;
use tokio_util::compat::TokioAsyncReadCompatExt as _;
use ws_transport::handshake::{self, ClientRequest, ServerOptions};
use ws_transport::libp2p::WsTransport;
use ws_transport::multiaddr::{Multiaddr, Protocol};
use ws_transport::upgrade::{Noise, Upgrader};
use ws_transport::{Dialer, Listener, StreamConfig};

use crate::common::{Direction, Stream};
use crate::smol_tcp::SmolTcp;

const PROTOCOL: &str = "/bench/1.0.0";

/// Bytes per read.
const READ: usize = 64 * 1024;

const PAGE: usize = 4096;

thread_local! {
    /// What bulk is written from and read into: the same memory for every row.
    static MEMORY: Cell<(Vec<u8>, Vec<u8>)> = const { Cell::new((Vec::new(), Vec::new())) };
}

/// An implementation of the full stack: a listener, and a dialer that dials it.
pub struct Stack {
    runtime: Rc<Runtime>,
    nodes: Nodes,
}

#[expect(clippy::large_enum_variant, reason = "there is one for each row")]
enum Nodes {
    Upgrader { listener: Listener, server: Upgrader, dialer: Dialer, client: Upgrader, addr: Multiaddr },
    OnTokio { listener: tokio::net::TcpListener, server: Upgrader, client: Upgrader },
    Transport { server: RefCell<Node>, client: RefCell<Node>, addr: Multiaddr },
}

/// What a `Swarm` is given.
type Node = Boxed<(PeerId, StreamMuxerBox)>;

/// What waits for the sockets.
enum Runtime {
    Smol,
    Tokio(tokio::runtime::Runtime),
}

impl Runtime {
    fn block_on<T>(&self, work: impl Future<Output = T>) -> T {
        match self {
            Runtime::Smol => smol::block_on(work),
            Runtime::Tokio(runtime) => runtime.block_on(work),
        }
    }

    fn tokio() -> Self {
        Runtime::Tokio(tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap())
    }
}

impl Stack {
    /// Ours without rust-libp2p's transports.
    pub fn upgrader() -> Self {
        let keys = [Keypair::generate_ed25519(), Keypair::generate_ed25519()];
        let [server, client] = keys.each_ref().map(|key| Upgrader::new(key).unwrap().with_protocols([PROTOCOL]));
        let listener = smol::block_on(Listener::bind("/ip4/127.0.0.1/tcp/0/ws")).unwrap();
        let addr = listener.addresses().unwrap().remove(0).with(Protocol::P2p(keys[0].public().to_peer_id()));
        let nodes = Nodes::Upgrader { listener, server, dialer: Dialer::new(), client, addr };
        Stack { runtime: Rc::new(Runtime::Smol), nodes }
    }

    /// Ours without rust-libp2p's transports, on Tokio's sockets.
    pub fn upgrader_tokio() -> Self {
        let new = || Upgrader::new(&Keypair::generate_ed25519()).unwrap().with_protocols([PROTOCOL]);
        let runtime = Runtime::tokio();
        let listener = runtime.block_on(tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).unwrap();
        Stack { runtime: Rc::new(runtime), nodes: Nodes::OnTokio { listener, server: new(), client: new() } }
    }

    /// Ours under rust-libp2p's noise and yamux.
    pub fn adapter() -> Self {
        Self::transports(Runtime::Smol, "/ip4/127.0.0.1/tcp/0/ws", || secured(WsTransport::default()))
    }

    /// Ours under our noise and rust-libp2p's yamux.
    pub fn adapter_noise() -> Self {
        Self::transports(Runtime::Smol, "/ip4/127.0.0.1/tcp/0/ws", || {
            let noise = Noise::new(&Keypair::generate_ed25519()).unwrap();
            let transport = WsTransport::default().upgrade(Version::V1Lazy);
            transport.authenticate(noise).multiplex(libp2p_yamux::Config::default()).boxed()
        })
    }

    /// rust-libp2p's TCP.
    pub fn rust_tcp() -> Self {
        Self::transports(Runtime::tokio(), "/ip4/127.0.0.1/tcp/0", || secured(tcp()))
    }

    /// rust-libp2p's WebSocket.
    pub fn rust_websocket() -> Self {
        let websocket = || secured(libp2p_websocket::Config::new(tcp()));
        Self::transports(Runtime::tokio(), "/ip4/127.0.0.1/tcp/0/ws", websocket)
    }

    /// rust-libp2p's noise and yamux on TCP, on async-io.
    pub fn rust_tcp_smol() -> Self {
        Self::transports(Runtime::Smol, "/ip4/127.0.0.1/tcp/0", || secured(SmolTcp::default()))
    }

    /// rust-libp2p's WebSocket, on async-io.
    pub fn rust_websocket_smol() -> Self {
        let websocket = || secured(libp2p_websocket::Config::new(SmolTcp::default()));
        Self::transports(Runtime::Smol, "/ip4/127.0.0.1/tcp/0/ws", websocket)
    }

    fn transports(runtime: Runtime, addr: &str, new: impl Fn() -> Node) -> Self {
        let (mut server, client) = (new(), new());
        let addr = runtime.block_on(async {
            server.listen_on(ListenerId::next(), addr.parse().unwrap()).unwrap();
            poll_fn(|cx| Pin::new(&mut server).poll(cx)).await.into_new_address().unwrap()
        });
        let nodes = Nodes::Transport { server: RefCell::new(server), client: RefCell::new(client), addr };
        Stack { runtime: Rc::new(runtime), nodes }
    }

    /// A connection with a stream over which a byte was echoed.
    pub fn connect(&self) -> Ends {
        self.runtime.block_on(self.connected())
    }

    /// Connects so many times, one after the other, and drops the connections.
    ///
    /// In one `block_on`, as in a program that runs: after each, async-io's own thread looks at the reactor for a while.
    pub fn set_up(&self, times: u64) {
        self.runtime.block_on(async {
            for _ in 0..times {
                drop(self.connected().await);
            }
        });
    }

    async fn connected(&self) -> Ends {
        let executor = LocalExecutor::new();
        let both = executor.run(async {
            let dial = async {
                let mut stream = self.dial(&executor).await;
                stream.write_all(b"?").await.unwrap();
                stream.flush().await.unwrap();
                let mut answer = [0];
                stream.read_exact(&mut answer).await.unwrap();
                assert_eq!(&answer, b"?");
                stream
            };
            let accept = async {
                let mut stream = self.accept(&executor).await;
                let mut question = [0];
                stream.read_exact(&mut question).await.unwrap();
                stream.write_all(&question).await.unwrap();
                stream.flush().await.unwrap();
                stream
            };
            future::zip(dial, accept).await
        });
        let (client, server) = both.await;
        Ends { runtime: self.runtime.clone(), client: Some(client), server: Some(server), executor }
    }

    async fn dial(&self, executor: &LocalExecutor<'static>) -> Box<dyn Stream> {
        match &self.nodes {
            Nodes::Upgrader { client, dialer, addr, .. } => {
                let (session, driver) = client.dial_address(dialer, addr).await.unwrap();
                executor.spawn(driver).detach();
                Box::new(session.open([PROTOCOL]).await.unwrap())
            }
            Nodes::OnTokio { listener, client, .. } => {
                let addr = listener.local_addr().unwrap();
                let stream = tokio::net::TcpStream::connect(addr).await.unwrap();
                stream.set_nodelay(true).unwrap();
                let request = ClientRequest::new(&addr.to_string(), "/").unwrap();
                let io = handshake::client(stream.compat(), &request, StreamConfig::new()).await.unwrap();
                let (session, driver) = client.dial(io, None).await.unwrap();
                executor.spawn(driver).detach();
                Box::new(session.open([PROTOCOL]).await.unwrap())
            }
            Nodes::Transport { client, addr, .. } => {
                let options = DialOpts { role: Endpoint::Dialer, port_use: PortUse::New };
                let dial = client.borrow_mut().dial(addr.clone(), options).unwrap();
                let (_, mut muxer) = dial.await.unwrap();
                let stream = poll_fn(|cx| muxer.poll_outbound_unpin(cx)).await.unwrap();
                executor.spawn(drive(muxer)).detach();
                let (_, stream) = dialer_select_proto(stream, [PROTOCOL], Version::V1Lazy).await.unwrap();
                Box::new(stream)
            }
        }
    }

    async fn accept(&self, executor: &LocalExecutor<'static>) -> Box<dyn Stream> {
        match &self.nodes {
            Nodes::Upgrader { listener, server, .. } => {
                let connection = listener.accept().await.unwrap().await.unwrap();
                let (session, driver) = server.accept(connection).await.unwrap();
                executor.spawn(driver).detach();
                Box::new(session.accept().await.unwrap())
            }
            Nodes::OnTokio { listener, server, .. } => {
                let (stream, _) = listener.accept().await.unwrap();
                stream.set_nodelay(true).unwrap();
                let io = handshake::server(stream.compat(), &ServerOptions::new()).await.unwrap();
                let (session, driver) = server.accept(io).await.unwrap();
                executor.spawn(driver).detach();
                Box::new(session.accept().await.unwrap())
            }
            Nodes::Transport { server, .. } => {
                let incoming = poll_fn(|cx| {
                    loop {
                        match ready!(Pin::new(&mut *server.borrow_mut()).poll(cx)) {
                            TransportEvent::Incoming { upgrade, .. } => return Poll::Ready(upgrade),
                            TransportEvent::NewAddress { .. } => {}
                            other => panic!("{other:?}"),
                        }
                    }
                });
                let (_, mut muxer) = incoming.await.await.unwrap();
                let stream = poll_fn(|cx| muxer.poll_inbound_unpin(cx)).await.unwrap();
                executor.spawn(drive(muxer)).detach();
                let (_, stream) = listener_select_proto(stream, [PROTOCOL]).await.unwrap();
                Box::new(stream)
            }
        }
    }
}

fn tcp() -> libp2p_tcp::tokio::Transport {
    libp2p_tcp::tokio::Transport::new(libp2p_tcp::Config::new().nodelay(true))
}

/// Noise and yamux with their defaults on top, as a `Swarm` wants them, with an identity of its own.
fn secured<T>(transport: T) -> Node
where
    T: Transport + Send + Unpin + 'static,
    T::Output: Stream + Send + 'static,
    T::Error: Send + Sync,
    T::Dial: Send,
    T::ListenerUpgrade: Send,
{
    let noise = libp2p_noise::Config::new(&Keypair::generate_ed25519()).unwrap();
    transport.upgrade(Version::V1Lazy).authenticate(noise).multiplex(libp2p_yamux::Config::default()).boxed()
}

/// What the task of a connection in a `Swarm` does with its muxer.
async fn drive(mut muxer: StreamMuxerBox) {
    poll_fn(|cx| {
        if let Poll::Ready(event) = muxer.poll_unpin(cx) {
            panic!("the muxer ended: {event:?}");
        }
        match muxer.poll_inbound_unpin(cx) {
            Poll::Ready(stream) => panic!("nobody opens a second stream: {stream:?}"),
            Poll::Pending => Poll::<()>::Pending,
        }
    })
    .await;
}

/// How a row is made.
pub type New = fn() -> Stack;

/// All rows; what ours are compared with comes first.
pub const ROWS: [(&str, New); 8] = [
    ("libp2p-websocket", Stack::rust_websocket),
    ("libp2p-websocket-smol", Stack::rust_websocket_smol),
    ("libp2p-tcp", Stack::rust_tcp),
    ("libp2p-tcp-smol", Stack::rust_tcp_smol),
    ("upgrader", Stack::upgrader),
    ("upgrader-tokio", Stack::upgrader_tokio),
    ("adapter", Stack::adapter),
    ("adapter-noise", Stack::adapter_noise),
];

/// The two ends of a stream of the full stack.
pub struct Ends {
    runtime: Rc<Runtime>,
    client: Option<Box<dyn Stream>>,
    server: Option<Box<dyn Stream>>,
    /// Last, for it has the connections' tasks.
    executor: LocalExecutor<'static>,
}

impl Ends {
    /// Moves `total` bytes in writes of `size` from one end to the other and says how many arrived.
    pub fn transfer(&mut self, direction: Direction, size: usize, total: u64) -> u64 {
        let (client, server) = (self.client.take().unwrap(), self.server.take().unwrap());
        let (mut writer, mut reader) = match direction {
            Direction::ClientToServer => (client, server),
            Direction::ServerToClient => (server, client),
        };
        let (mut from, mut into) = MEMORY.take();
        from.resize(PAGE + size.max(1 << 20), 0x5a);
        into.resize(PAGE + READ, 0);
        let write = self.executor.spawn(async move {
            let chunk = &from[aligned(&from)..][..size];
            let mut left = total;
            while left > 0 {
                let len = chunk.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                writer.write_all(&chunk[..len]).await.unwrap();
                left -= len as u64;
            }
            writer.flush().await.unwrap();
            (writer, from)
        });
        let read = self.executor.spawn(async move {
            let at = aligned(&into);
            let buf = &mut into[at..][..READ];
            let mut got = 0;
            while got < total {
                match reader.read(buf).await.unwrap() {
                    0 => break,
                    n => got += n as u64,
                }
            }
            (reader, into, got)
        });
        let both = self.executor.run(future::zip(write, read));
        let ((writer, from), (reader, into, got)) = self.runtime.block_on(both);
        MEMORY.set((from, into));
        let (client, server) = match direction {
            Direction::ClientToServer => (writer, reader),
            Direction::ServerToClient => (reader, writer),
        };
        (self.client, self.server) = (Some(client), Some(server));
        got
    }

    /// Sends `size` bytes there and back, `times` times.
    pub fn ping_pong(&mut self, size: usize, times: u64) {
        let (mut client, mut server) = (self.client.take().unwrap(), self.server.take().unwrap());
        let there = self.executor.spawn(async move {
            let (ping, mut pong) = (vec![0x5a; size], vec![0; size]);
            for _ in 0..times {
                client.write_all(&ping).await.unwrap();
                client.flush().await.unwrap();
                client.read_exact(&mut pong).await.unwrap();
            }
            assert_eq!(ping, pong);
            client
        });
        let back = self.executor.spawn(async move {
            let mut buf = vec![0; size];
            for _ in 0..times {
                server.read_exact(&mut buf).await.unwrap();
                server.write_all(&buf).await.unwrap();
                server.flush().await.unwrap();
            }
            server
        });
        let (client, server) = self.runtime.block_on(self.executor.run(future::zip(there, back)));
        (self.client, self.server) = (Some(client), Some(server));
    }
}

/// Where the first page begins.
fn aligned(memory: &[u8]) -> usize {
    memory.as_ptr().align_offset(PAGE).min(PAGE)
}
