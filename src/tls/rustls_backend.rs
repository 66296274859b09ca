//! TLS by rustls with ring.
//!
//! The provider is always passed explicitly: a process default may be missing, or be another one.

mod suites;
#[cfg(test)]
mod tests;

use std::fmt;
use std::future::poll_fn;
use std::io::{self, BufRead, IoSlice, Read, Write};
use std::ops::DerefMut;
use std::pin::Pin;
use std::sync::{Arc, PoisonError, RwLock};
use std::task::{Context, Poll, ready};

use futures_lite::{AsyncRead, AsyncWrite};
use futures_rustls::pki_types::pem::{Error as PemError, PemObject};
use futures_rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName as PkiName};
use futures_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use futures_rustls::rustls::crypto::{CryptoProvider, ring};
use futures_rustls::rustls::pki_types::UnixTime;
use futures_rustls::rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert, WebPkiClientVerifier};
use futures_rustls::rustls::sign::{CertifiedKey, SingleCertAndKey};
use futures_rustls::rustls::{
    ClientConfig, CommonState, ConnectionCommon, DigitallySignedStruct, Error, InconsistentKeys, RootCertStore,
    ServerConfig, SideData, SignatureScheme, crypto,
};

use super::builder::Identity;
use super::name::ServerName;
use super::stream::{LendingSession, MaybeTls, Session};
use super::wire::Wire;
use super::{ALPN, AcceptorOf, ClientBuilder, ConnectorOf, ServerBuilder, TlsError};

pub(super) const COMPILED_IN: bool = true;

/// Tickets for a client of TLS 1.3: one for its next connection, which brings the one after (rustls sends two).
const TICKETS: usize = 1;

#[derive(Clone)]
pub(super) struct Connector(futures_rustls::TlsConnector);

impl Connector {
    pub(super) fn new(options: &ClientBuilder) -> Result<Self, TlsError> {
        let provider = Arc::new(suites::provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(setup)?;
        let builder = if options.skip_verification {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(NoVerification(provider.clone())))
        } else {
            builder.with_root_certificates(roots(options)?)
        };
        let mut config = match &options.identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let certified = certified_key(identity, &provider)?;
                builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(certified)))
            }
        };
        config.alpn_protocols = vec![ALPN.into()];
        Ok(Connector(Arc::new(config).into()))
    }

    pub(super) async fn connect<IO>(&self, name: ServerName, io: IO) -> Result<Stream<IO>, TlsError>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let invalid = |_| TlsError::InvalidName(name.as_str().to_owned());
        let name = PkiName::try_from(name.as_str().to_owned()).map_err(invalid)?;
        let stream = self.0.connect(name, Wire::new(io, true)).into_fallible().await;
        Stream::established(stream.map(Into::into)).await
    }
}

impl From<Arc<ClientConfig>> for super::Connector {
    /// The configuration as it is, its ALPN protocols included.
    fn from(config: Arc<ClientConfig>) -> Self {
        super::Connector(ConnectorOf::Rustls(Connector(config.into())))
    }
}

fn roots(options: &ClientBuilder) -> Result<RootCertStore, TlsError> {
    let mut store = RootCertStore::empty();
    if options.system_roots {
        let found = rustls_native_certs::load_native_certs();
        for error in &found.errors {
            log::debug!("system roots: {error}");
        }
        // A system's store has its oddities; one bad certificate shall not cost all the others.
        store.add_parsable_certificates(found.certs);
    }
    if options.webpki_roots {
        store.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    for pem in &options.pem_roots {
        add_pem_roots(&mut store, pem)?;
    }
    for der in &options.der_roots {
        store.add(CertificateDer::from(der.as_slice())).map_err(unreadable("root certificate"))?;
    }
    if store.is_empty() { Err(TlsError::NoRoots) } else { Ok(store) }
}

fn add_pem_roots(store: &mut RootCertStore, pem: &[u8]) -> Result<(), TlsError> {
    for certificate in certificates(pem, "root certificates")? {
        store.add(certificate).map_err(unreadable("root certificates"))?;
    }
    Ok(())
}

fn certificates(pem: &[u8], what: &'static str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let certificates: Result<Vec<_>, PemError> = CertificateDer::pem_slice_iter(pem).collect();
    let certificates = certificates.map_err(unreadable(what))?;
    if certificates.is_empty() { Err(TlsError::NoCertificate { what }) } else { Ok(certificates) }
}

fn certified_key(identity: &Identity, provider: &CryptoProvider) -> Result<CertifiedKey, TlsError> {
    let chain = certificates(&identity.chain, "certificate chain")?;
    for certificate in &chain {
        ParsedCertificate::try_from(certificate).map_err(unreadable("certificate chain"))?;
    }
    let key = PrivateKeyDer::from_pem_slice(&identity.key).map_err(|error| match error {
        PemError::NoItemsFound => TlsError::NoKey,
        error => unreadable("private key")(error),
    })?;
    let key = provider.key_provider.load_private_key(key).map_err(unreadable("private key"))?;
    let certified = CertifiedKey::new(chain, key);
    match certified.keys_match() {
        Ok(()) => Ok(certified),
        Err(error @ Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => {
            Err(TlsError::KeyMismatch(Box::new(error)))
        }
        Err(error) => Err(setup(error)),
    }
}

fn unreadable<E: std::error::Error + Send + Sync + 'static>(what: &'static str) -> impl FnOnce(E) -> TlsError {
    move |error| TlsError::Unreadable { what, cause: Box::new(error) }
}

fn setup(error: impl std::error::Error + Send + Sync + 'static) -> TlsError {
    TlsError::Setup(Box::new(error))
}

/// Believes every certificate; the handshake's signatures are still checked with the key it shows.
#[derive(Debug)]
struct NoVerification(Arc<CryptoProvider>);

impl ServerCertVerifier for NoVerification {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &PkiName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[derive(Clone)]
pub(super) struct Acceptor {
    acceptor: futures_rustls::TlsAcceptor,
    /// `None` if the configuration is the user's.
    certificate: Option<Arc<Exchangeable>>,
}

impl Acceptor {
    pub(super) fn new(options: &ServerBuilder) -> Result<Self, TlsError> {
        let provider = Arc::new(suites::provider());
        let certified = certified_key(&options.identity, &provider)?;
        let certificate = Arc::new(Exchangeable(RwLock::new(Arc::new(certified))));
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(setup)?;
        let builder = match &options.client_roots {
            None => builder.with_no_client_auth(),
            Some(pem) => {
                let mut roots = RootCertStore::empty();
                add_pem_roots(&mut roots, pem)?;
                let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
                builder.with_client_cert_verifier(verifier.build().map_err(setup)?)
            }
        };
        let mut config = builder.with_cert_resolver(certificate.clone());
        config.alpn_protocols = vec![ALPN.into()];
        // Tickets keep the sessions at the clients: no memory here, however many there are.
        config.ticketer = ring::Ticketer::new().map_err(setup)?;
        config.send_tls13_tickets = TICKETS;
        // The client's order counts, as it may be the one without AES instructions; unless that is us.
        config.ignore_client_order = !suites::has_aes();
        Ok(Acceptor { acceptor: Arc::new(config).into(), certificate: Some(certificate) })
    }

    pub(super) fn replace(&self, chain: &[u8], key: &[u8]) -> Result<(), TlsError> {
        let Some(certificate) = &self.certificate else {
            let what = "exchanging the certificate of a configuration of the user's";
            return Err(TlsError::Unsupported { backend: super::Backend::Rustls, what });
        };
        let identity = Identity { chain: chain.to_vec(), key: key.to_vec() };
        let certified = certified_key(&identity, &suites::provider())?;
        *certificate.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(certified);
        Ok(())
    }

    pub(super) async fn accept<IO>(&self, io: IO) -> Result<Stream<IO>, TlsError>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let stream = self.acceptor.accept(Wire::new(io, true)).into_fallible().await;
        Stream::established(stream.map(Into::into)).await
    }
}

impl From<Arc<ServerConfig>> for super::Acceptor {
    /// The configuration as it is, its ALPN protocols included.
    fn from(config: Arc<ServerConfig>) -> Self {
        super::Acceptor(AcceptorOf::Rustls(Acceptor { acceptor: config.into(), certificate: None }))
    }
}

/// The certificate that the next handshake shows.
struct Exchangeable(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for Exchangeable {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.read().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

impl fmt::Debug for Exchangeable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchangeable").finish_non_exhaustive()
    }
}

impl<IO> MaybeTls<IO> {
    /// The state of the rustls session: protocol version, cipher suite, whether it was resumed.
    ///
    /// `None` on a plain one and with another backend.
    pub fn rustls_state(&self) -> Option<&CommonState> {
        self.as_rustls().map(|stream| stream.0.get_ref().1)
    }
}

pub(super) struct Stream<IO>(futures_rustls::TlsStream<Wire<IO>>);

impl<IO: AsyncRead + AsyncWrite + Unpin> Stream<IO> {
    /// The session after its handshake, the last messages of which wait for what is sent next. Of one that has failed the
    /// alert is sent, if the IO takes it at once.
    async fn established(
        handshake: Result<futures_rustls::TlsStream<Wire<IO>>, (io::Error, Wire<IO>)>,
    ) -> Result<Self, TlsError> {
        match handshake {
            Ok(mut stream) => {
                stream.get_mut().0.established().map_err(TlsError::Handshake)?;
                Ok(Stream(stream))
            }
            Err((error, mut wire)) => {
                poll_fn(|cx| Poll::Ready(_ = wire.poll_send(cx))).await;
                Err(TlsError::Handshake(error))
            }
        }
    }

    /// Sends what rustls has queued, also an alert after a failure, which futures-rustls' flush would leave.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.0.get_ref().1.wants_write() {
            let sent = match &mut self.0 {
                futures_rustls::TlsStream::Client(stream) => {
                    let (io, session) = stream.get_mut();
                    session.write_tls(&mut Wired { io, cx })
                }
                futures_rustls::TlsStream::Server(stream) => {
                    let (io, session) = stream.get_mut();
                    session.write_tls(&mut Wired { io, cx })
                }
            };
            match sent {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Session<IO> for Stream<IO> {
    fn io(&self) -> &IO {
        self.0.get_ref().0.io()
    }

    fn io_mut(&mut self) -> &mut IO {
        self.0.get_mut().0.io_mut()
    }

    fn alpn(&self) -> Option<Vec<u8>> {
        self.0.get_ref().1.alpn_protocol().map(<[u8]>::to_vec)
    }

    fn peer_certificates(&self) -> Option<Vec<Vec<u8>>> {
        let certificates = self.0.get_ref().1.peer_certificates()?;
        Some(certificates.iter().map(|certificate| certificate.to_vec()).collect())
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let lent = ready!(self.poll_lend(cx))?;
        let len = lent.len().min(buf.len());
        if let (Some(to), Some(from)) = (buf.get_mut(..len), lent.get(..len)) {
            to.copy_from_slice(from);
        }
        self.consume(len);
        Poll::Ready(Ok(len))
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_write_vectored(&mut self, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, bufs)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(cx))?;
        Pin::new(self.0.get_mut().0).poll_flush(cx)
    }

    fn poll_close_notify(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Queued once, however often it is asked for.
        self.0.get_mut().1.send_close_notify();
        self.poll_flush(cx)
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> LendingSession for Stream<IO> {
    fn poll_lend(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        match &mut self.0 {
            futures_rustls::TlsStream::Client(stream) => lend(stream.get_mut(), cx),
            futures_rustls::TlsStream::Server(stream) => lend(stream.get_mut(), cx),
        }
    }

    fn consume(&mut self, len: usize) {
        match &mut self.0 {
            futures_rustls::TlsStream::Client(stream) => stream.get_mut().1.reader().consume(len),
            futures_rustls::TlsStream::Server(stream) => stream.get_mut().1.reader().consume(len),
        }
    }
}

/// Receives until there is plaintext, and gives the first piece of it, of at most one record.
fn lend<'a, IO, Session, Data>(
    (io, session): (&mut Wire<IO>, &'a mut Session),
    cx: &mut Context<'_>,
) -> Poll<io::Result<&'a [u8]>>
where
    IO: AsyncRead + AsyncWrite + Unpin,
    Session: DerefMut<Target = ConnectionCommon<Data>>,
    Data: SideData + 'a,
{
    let session = &mut **session;
    while session.wants_read() {
        match session.read_tls(&mut Wired { io, cx }) {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
            Err(error) => return Poll::Ready(Err(error)),
        }
        if let Err(error) = session.process_new_packets() {
            // The alert that tells the peer; the error is what counts.
            let _ = session.write_tls(&mut Wired { io, cx });
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, error)));
        }
    }
    match session.reader().into_first_chunk() {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            // It wants nothing more and has nothing to give, which is not foreseen.
            cx.waker().wake_by_ref();
            Poll::Pending
        }
        lent => Poll::Ready(lent),
    }
}

/// The IO as rustls reads from it and writes to it.
struct Wired<'a, 'b, IO> {
    io: &'a mut Wire<IO>,
    cx: &'a mut Context<'b>,
}

impl<IO> Wired<'_, '_, IO> {
    fn done<T>(result: Poll<io::Result<T>>) -> io::Result<T> {
        match result {
            Poll::Ready(result) => result,
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Read for Wired<'_, '_, IO> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        Self::done(Pin::new(&mut *self.io).poll_read(self.cx, buf))
    }
}

impl<IO: AsyncWrite + Unpin> Write for Wired<'_, '_, IO> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        Self::done(Pin::new(&mut *self.io).poll_write(self.cx, buf))
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        Self::done(Pin::new(&mut *self.io).poll_write_vectored(self.cx, bufs))
    }

    fn flush(&mut self) -> io::Result<()> {
        Self::done(Pin::new(&mut *self.io).poll_flush(self.cx))
    }
}
