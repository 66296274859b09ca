//! Ways to get two connected ends: ours by multiaddr, and the limits that ours are held against.

use std::io;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::rc::Rc;
use std::sync::Arc;

use futures_rustls::pki_types::pem::PemObject;
use futures_rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use futures_rustls::rustls::crypto::{CryptoProvider, ring};
use futures_rustls::rustls::{CipherSuite, ClientConfig, RootCertStore, ServerConfig, client::Resumption};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P384_SHA384,
};
use smol::Async;
use ws_transport::multiaddr::{Multiaddr, Protocol};
use ws_transport::tls::{Acceptor, Backend, Connector, MaybeTls};
use ws_transport::{Connection, Dialer, ListenOptions, Listener};

use super::{Pair, buffered, try_both};

/// The name in the certificate.
pub const NAME: &str = "localhost";

/// A throw-away certificate with its chain, its key and the root to trust, PEM.
pub struct Certificate {
    pub chain: String,
    pub key: String,
    pub root: String,
}

impl Certificate {
    /// P-256, signed by itself.
    pub fn generate() -> Self {
        let made = rcgen::generate_simple_self_signed([NAME.to_owned()]).unwrap();
        Certificate { chain: made.cert.pem(), key: made.signing_key.serialize_pem(), root: made.cert.pem() }
    }

    /// P-256, signed by an intermediate authority with P-384, as Let's Encrypt issues them; its root has P-384 too.
    pub fn issued() -> Self {
        let authority = || {
            let mut params = CertificateParams::default();
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
            (params, KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap())
        };
        let (params, key) = authority();
        let root = CertifiedIssuer::self_signed(params, key).unwrap();
        let (mut params, key) = authority();
        params.distinguished_name.push(DnType::CommonName, "intermediate");
        let intermediate = CertifiedIssuer::signed_by(params, key, &root).unwrap();
        let key = KeyPair::generate().unwrap();
        let leaf = CertificateParams::new([NAME.to_owned()]).unwrap().signed_by(&key, &intermediate).unwrap();
        let chain = leaf.pem() + &intermediate.pem();
        Certificate { chain, key: key.serialize_pem(), root: root.pem() }
    }

    /// Chain and key as rustls takes them.
    pub fn der(&self) -> io::Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)> {
        let chain = CertificateDer::pem_slice_iter(self.chain.as_bytes()).collect::<Result<_, _>>();
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).map_err(io::Error::other)?;
        Ok((chain.map_err(io::Error::other)?, key))
    }
}

/// Raw TCP: what no byte stream on top of it can beat, but for small writes.
pub async fn tcp_pair(listener: &Async<TcpListener>) -> io::Result<Pair> {
    let (client, server) = tcp(listener).await?;
    Ok((Box::new(client), Box::new(server)))
}

pub async fn tcp(listener: &Async<TcpListener>) -> io::Result<(Async<TcpStream>, Async<TcpStream>)> {
    let addr = listener.get_ref().local_addr()?;
    let (client, server) = try_both(Async::<TcpStream>::connect(addr), listener.accept()).await?;
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
    pub client: Arc<ClientConfig>,
    pub server: Arc<ServerConfig>,
}

/// One end of TLS over TCP.
pub type Rustls = futures_rustls::TlsStream<Async<TcpStream>>;

impl RawRustls {
    /// Set up as ours are: ring, TLS 1.3 and 1.2, a ticket, and the cipher suite that ours agree on.
    pub fn new(certificate: &Certificate, resume: bool) -> io::Result<Self> {
        let mut provider = ring::default_provider();
        provider.cipher_suites.sort_by_key(|suite| suite.suite() != CipherSuite::TLS13_AES_128_GCM_SHA256);
        let mut raw = Self::by(provider, certificate, resume)?;
        Arc::make_mut(&mut raw.server).send_tls13_tickets = 1;
        Ok(raw)
    }

    /// Set up as rustls does it by itself: AES-256 first.
    pub fn by_default(certificate: &Certificate) -> io::Result<Self> {
        Self::by(ring::default_provider(), certificate, true)
    }

    fn by(provider: CryptoProvider, certificate: &Certificate, resume: bool) -> io::Result<Self> {
        let (chain, key) = certificate.der()?;
        let mut roots = RootCertStore::empty();
        let root = CertificateDer::from_pem_slice(certificate.root.as_bytes()).map_err(io::Error::other)?;
        roots.add(root).map_err(io::Error::other)?;
        let provider = Arc::new(provider);
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
            .with_single_cert(chain, key)
            .map_err(io::Error::other)?;
        server.ticketer = ring::Ticketer::new().map_err(io::Error::other)?;
        Ok(RawRustls { listener: tcp_listener()?, client: Arc::new(client), server: Arc::new(server) })
    }

    pub async fn ends(&self) -> io::Result<(Rustls, Rustls)> {
        let (client, server) = tcp(&self.listener).await?;
        let name = ServerName::try_from(NAME).map_err(io::Error::other)?;
        let connect = async { futures_rustls::TlsConnector::from(self.client.clone()).connect(name, client).await };
        let accept = async { futures_rustls::TlsAcceptor::from(self.server.clone()).accept(server).await };
        let (client, server) = try_both(connect, accept).await?;
        Ok((client.into(), server.into()))
    }

    pub async fn pair(&self) -> io::Result<Pair> {
        let (client, server) = self.ends().await?;
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

    pub async fn ends(&self) -> (MaybeTls<Async<TcpStream>>, MaybeTls<Async<TcpStream>>) {
        let (client, server) = tcp(&self.listener).await.unwrap();
        try_both(self.connector.connect(NAME, client), self.acceptor.accept(server)).await.unwrap()
    }

    pub async fn pair(&self) -> Pair {
        let (client, server) = self.ends().await;
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
        Ours { listener, dialer: dialer(certificate, backend), addr }
    }

    pub async fn connections(&self) -> (Connection, Connection) {
        self.dialed_by(&self.dialer).await
    }

    /// With a dialer of its own: one without a session to resume, if it is new.
    pub async fn dialed_by(&self, dialer: &Dialer) -> (Connection, Connection) {
        let accept = async { self.listener.accept().await?.await };
        try_both(dialer.dial(&self.addr), accept).await.unwrap()
    }

    pub async fn pair(&self) -> Pair {
        let (client, server) = self.connections().await;
        (Box::new(client), Box::new(server))
    }
}

/// Makes a fresh pair of connected ends.
pub type Connect = Box<dyn Fn() -> Pair>;

/// Ours and its limits, in groups that are compared: ws, and wss by the backends compiled in.
pub fn groups() -> Vec<(String, [(&'static str, Connect); 3])> {
    let tcp = tcp_listener().unwrap();
    let plain = rows("tcp", "tcp-buffered", move || smol::block_on(tcp_pair(&tcp)).unwrap(), Ours::ws());
    let certificate = Certificate::generate();
    let secure = Backend::compiled_in().iter().map(|&backend| {
        let ours = Ours::wss(&certificate, backend);
        let rows = match backend {
            Backend::Rustls => {
                let raw = RawRustls::new(&certificate, false).unwrap();
                rows("rustls", "rustls-buffered", move || smol::block_on(raw.pair()).unwrap(), ours)
            }
            _ => {
                let raw = RawNative::new(&certificate);
                rows("native-tls", "native-tls-buffered", move || smol::block_on(raw.pair()), ours)
            }
        };
        (format!("wss-{backend}"), rows)
    });
    [("ws".to_owned(), plain)].into_iter().chain(secure).collect()
}

fn rows(
    raw: &'static str,
    raw_buffered: &'static str,
    connect: impl Fn() -> Pair + 'static,
    ours: Ours,
) -> [(&'static str, Connect); 3] {
    let connect = Rc::new(connect);
    let again = connect.clone();
    [
        (raw, Box::new(move || connect())),
        (raw_buffered, Box::new(move || buffered(again()))),
        ("ours", Box::new(move || smol::block_on(ours.pair()))),
    ]
}

/// A dialer that has no session to resume.
pub fn dialer(certificate: &Certificate, backend: Backend) -> Dialer {
    Dialer::new().with_tls(connector(certificate, backend))
}

fn connector(certificate: &Certificate, backend: Backend) -> Connector {
    Connector::builder().pem_roots(certificate.root.as_str()).build_with(backend).unwrap()
}
