//! Two connected ends over loopback TCP, ours and the limits that ours are held against, and loops that move bytes.
//!
//! TCP_NODELAY is set everywhere. Both ends are driven by one thread, as tasks of a `LocalExecutor`: what is measured is
//! the work of both together, and not how fast one CPU wakes another.
#![allow(dead_code, unreachable_pub, reason = "each bench uses its part")]

use std::cell::Cell;
use std::io;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_rustls::pki_types::ServerName;
use futures_rustls::pki_types::pem::PemObject;
use futures_rustls::pki_types::{CertificateDer, PrivateKeyDer};
use futures_rustls::rustls::crypto::ring;
use futures_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig, client::Resumption};
use smol::future;
use smol::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufWriter};
use smol::{Async, LocalExecutor};
use ws_transport::multiaddr::{Multiaddr, Protocol};
use ws_transport::tls::{Acceptor, Backend, Connector};
use ws_transport::{Connection, Dialer, ListenOptions, Listener};

/// Buffer of the limit for small writes, in bytes.
const WRITE: usize = 64 * 1024;

/// The name in the certificate.
pub const NAME: &str = "localhost";

/// Bytes per read: enough for every row to take as much as it can at a time.
const READ: usize = 64 * 1024;

const PAGE: usize = 4096;

thread_local! {
    /// What bulk is written from and read into: the same memory for every row, for how a slice lies in its pages can make
    /// the kernel's copies a tenth dearer.
    static MEMORY: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// A byte stream of any kind; the indirect call costs every row the same.
pub trait Stream: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Stream for T {}

/// The dialing end and the listening end.
pub type Pair = (Box<dyn Stream>, Box<dyn Stream>);

/// Who writes and who reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    ClientToServer,
    ServerToClient,
}

impl Direction {
    pub const BOTH: [Direction; 2] = [Direction::ClientToServer, Direction::ServerToClient];

    pub fn name(self) -> &'static str {
        match self {
            Direction::ClientToServer => "c2s",
            Direction::ServerToClient => "s2c",
        }
    }
}

/// Both ends with a [`BufWriter`]: the limit for small writes.
pub fn buffered((client, server): Pair) -> Pair {
    let buffer = |stream| Box::new(Buffered(BufWriter::with_capacity(WRITE, stream)));
    (buffer(client), buffer(server))
}

/// A `BufWriter` that can be read from.
struct Buffered(BufWriter<Box<dyn Stream>>);

impl AsyncRead for Buffered {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        Pin::new(self.0.get_mut()).poll_read(cx, buf)
    }
}

impl AsyncWrite for Buffered {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_close(cx)
    }
}

/// A throw-away certificate and its key, PEM.
pub struct Certificate {
    pub chain: String,
    pub key: String,
}

impl Certificate {
    pub fn new() -> Self {
        let made = rcgen::generate_simple_self_signed([NAME.to_owned()]).unwrap();
        Certificate { chain: made.cert.pem(), key: made.signing_key.serialize_pem() }
    }
}

/// Raw TCP: what no byte stream on top of it can beat, but for small writes.
pub async fn tcp_pair(listener: &Async<TcpListener>) -> io::Result<Pair> {
    let (client, server) = tcp(listener).await?;
    Ok((Box::new(client), Box::new(server)))
}

async fn tcp(listener: &Async<TcpListener>) -> io::Result<(Async<TcpStream>, Async<TcpStream>)> {
    let addr = listener.get_ref().local_addr()?;
    let (client, server) = future::try_zip(Async::<TcpStream>::connect(addr), listener.accept()).await?;
    client.get_ref().set_nodelay(true)?;
    server.0.get_ref().set_nodelay(true)?;
    Ok((client, server.0))
}

pub fn tcp_listener() -> io::Result<Async<TcpListener>> {
    Async::<TcpListener>::bind((Ipv4Addr::LOCALHOST, 0))
}

/// Raw TLS: futures-rustls itself on TCP.
pub struct RawRustls {
    listener: Async<TcpListener>,
    connector: futures_rustls::TlsConnector,
    acceptor: futures_rustls::TlsAcceptor,
}

impl RawRustls {
    /// Set up as ours are: ring, TLS 1.3 and 1.2, tickets.
    pub fn new(certificate: &Certificate, resume: bool) -> io::Result<Self> {
        let chain = CertificateDer::from_pem_slice(certificate.chain.as_bytes()).map_err(io::Error::other)?;
        let key = PrivateKeyDer::from_pem_slice(certificate.key.as_bytes()).map_err(io::Error::other)?;
        let mut roots = RootCertStore::empty();
        roots.add(chain.clone()).map_err(io::Error::other)?;
        let provider = Arc::new(ring::default_provider());
        let mut client = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        if !resume {
            client.resumption = Resumption::disabled();
        }
        let mut server = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_no_client_auth()
            .with_single_cert(vec![chain], key)
            .map_err(io::Error::other)?;
        server.ticketer = ring::Ticketer::new().map_err(io::Error::other)?;
        Ok(RawRustls {
            listener: tcp_listener()?,
            connector: Arc::new(client).into(),
            acceptor: Arc::new(server).into(),
        })
    }

    pub async fn pair(&self) -> io::Result<Pair> {
        let (client, server) = tcp(&self.listener).await?;
        let name = ServerName::try_from(NAME).map_err(io::Error::other)?;
        let connect = async { self.connector.connect(name, client).await };
        let accept = async { self.acceptor.accept(server).await };
        let (client, server) = future::try_zip(connect, accept).await?;
        Ok((Box::new(client), Box::new(server)))
    }
}

/// TLS by the system's library on TCP, through our connector and acceptor: the crate's own adapter is the limit here.
pub struct RawNative {
    listener: Async<TcpListener>,
    connector: Connector,
    acceptor: Acceptor,
}

impl RawNative {
    pub fn new(certificate: &Certificate) -> Self {
        let acceptor = Acceptor::builder(certificate.chain.as_str(), certificate.key.as_str());
        RawNative {
            listener: tcp_listener().unwrap(),
            connector: connector(certificate, Backend::NativeTls),
            acceptor: acceptor.native_tls().unwrap(),
        }
    }

    pub async fn pair(&self) -> Pair {
        let (client, server) = tcp(&self.listener).await.unwrap();
        let (client, server) =
            future::try_zip(self.connector.connect(NAME, client), self.acceptor.accept(server)).await.unwrap();
        (Box::new(client), Box::new(server))
    }
}

/// Ours, by multiaddr: a listener on loopback and a dialer.
pub struct Ours {
    listener: Listener,
    dialer: Dialer,
    addr: Multiaddr,
}

impl Ours {
    pub fn ws() -> Self {
        let listener = smol::block_on(Listener::bind("/ip4/127.0.0.1/tcp/0/ws")).unwrap();
        let addr = listener.addresses().unwrap().remove(0);
        Ours { listener, dialer: Dialer::new(), addr }
    }

    pub fn wss(certificate: &Certificate, backend: Backend) -> Self {
        let acceptor = Acceptor::builder(certificate.chain.as_str(), certificate.key.as_str());
        let options = ListenOptions::new().with_tls(acceptor.build_with(backend).unwrap());
        let listener = smol::block_on(options.bind("/ip4/127.0.0.1/tcp/0/tls/ws")).unwrap();
        let addr = Multiaddr::empty()
            .with(Protocol::Ip4(Ipv4Addr::LOCALHOST))
            .with(Protocol::Tcp(listener.local_addrs().unwrap()[0].port()))
            .with(Protocol::Tls)
            .with(Protocol::Sni(NAME.into()))
            .with(Protocol::Ws("/".into()));
        let dialer = Dialer::new().with_tls(connector(certificate, backend));
        Ours { listener, dialer, addr }
    }

    /// A dialer without a session to resume.
    pub fn forget_sessions(&mut self, certificate: &Certificate, backend: Backend) {
        self.dialer = Dialer::new().with_tls(connector(certificate, backend));
    }

    pub async fn connections(&self) -> (Connection, Connection) {
        let accept = async { self.listener.accept().await?.await };
        future::try_zip(self.dialer.dial(&self.addr), accept).await.unwrap()
    }

    pub async fn pair(&self) -> Pair {
        let (client, server) = self.connections().await;
        (Box::new(client), Box::new(server))
    }
}

fn connector(certificate: &Certificate, backend: Backend) -> Connector {
    Connector::builder().pem_roots(certificate.chain.as_str()).build_with(backend).unwrap()
}

/// Moves `total` bytes in writes of `size` from one end to the other and says how many arrived.
pub fn transfer(pair: &mut Pair, direction: Direction, size: usize, total: u64) -> u64 {
    let (writer, reader) = match direction {
        Direction::ClientToServer => (&mut pair.0, &mut pair.1),
        Direction::ServerToClient => (&mut pair.1, &mut pair.0),
    };
    let mut memory = MEMORY.take();
    memory.resize(PAGE + READ + size.max(1 << 20), 0x5a);
    let aligned = memory.as_ptr().align_offset(PAGE).min(PAGE);
    let (buf, chunk) = memory[aligned..].split_at_mut(READ);
    let chunk = &chunk[..size];
    let executor = LocalExecutor::new();
    let write = executor.spawn(async move {
        let mut left = total;
        while left > 0 {
            let len = chunk.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            writer.write_all(&chunk[..len]).await.unwrap();
            left -= len as u64;
        }
        writer.flush().await.unwrap();
    });
    let read = executor.spawn(async move {
        let mut got = 0;
        while got < total {
            match reader.read(buf).await.unwrap() {
                0 => break,
                n => got += n as u64,
            }
        }
        got
    });
    let (_, got) = smol::block_on(executor.run(future::zip(write, read)));
    drop(executor);
    MEMORY.set(memory);
    got
}

/// Sends `size` bytes there and back, `times` times.
pub fn ping_pong(pair: &mut Pair, size: usize, times: u64) {
    let (client, server) = (&mut pair.0, &mut pair.1);
    let executor = LocalExecutor::new();
    let there = executor.spawn(async move {
        let (ping, mut pong) = (vec![0x5a; size], vec![0; size]);
        for _ in 0..times {
            client.write_all(&ping).await.unwrap();
            client.flush().await.unwrap();
            client.read_exact(&mut pong).await.unwrap();
        }
        assert_eq!(ping, pong);
    });
    let back = executor.spawn(async move {
        let mut buf = vec![0; size];
        for _ in 0..times {
            server.read_exact(&mut buf).await.unwrap();
            server.write_all(&buf).await.unwrap();
            server.flush().await.unwrap();
        }
    });
    smol::block_on(executor.run(future::zip(there, back)));
}

/// One byte each way: what shows that both ends of a raw connection are there.
pub async fn greet((client, server): &mut Pair) {
    let there = async {
        client.write_all(b"?").await?;
        client.flush().await?;
        client.read_exact(&mut [0]).await
    };
    let back = async {
        server.read_exact(&mut [0]).await?;
        server.write_all(b"!").await?;
        server.flush().await
    };
    future::try_zip(there, back).await.unwrap();
}
