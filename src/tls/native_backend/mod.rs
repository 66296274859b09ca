//! TLS by the system's library through native-tls.
//!
//! async-native-tls serves the acceptor. Its connector builds a native-tls one in every `connect`, which reads the
//! system's roots each time (some 50 ms), so dialing keeps one [`native_tls::TlsConnector`] and drives it itself.

mod blocking;
mod outbox;
mod proof;

use std::error::Error as StdError;
use std::future::poll_fn;
use std::io::{self, IoSlice, Read, Write};
use std::pin::Pin;
use std::sync::{Arc, PoisonError, RwLock};
use std::task::{Context, Poll, ready};

use futures_lite::{AsyncRead, AsyncWrite};
use native_tls::{Certificate, HandshakeError, Protocol};

use self::blocking::Blocking;
use self::outbox::{Outbox, Stage};
use super::builder::Identity;
use super::name::ServerName;
use super::stream::Session;
use super::wire::total;
use super::{ALPN, AcceptorOf, Backend, ClientBuilder, ConnectorOf, ServerBuilder, TlsError};
use crate::config::{MAX_RECORD, TLS_WRITE_BUFFER};
use crate::pool;

pub(super) const COMPILED_IN: bool = true;

#[derive(Clone)]
pub(super) struct Connector(native_tls::TlsConnector);

impl Connector {
    pub(super) fn new(options: &ClientBuilder) -> Result<Self, TlsError> {
        if options.webpki_roots {
            return Err(unsupported("the roots of webpki-roots"));
        }
        let no_roots = options.pem_roots.is_empty() && options.der_roots.is_empty() && !options.system_roots;
        if no_roots && !options.skip_verification {
            return Err(TlsError::NoRoots);
        }
        let mut builder = native_tls::TlsConnector::builder();
        builder
            .min_protocol_version(Some(Protocol::Tlsv12))
            .request_alpns(&[ALPN])
            .disable_built_in_roots(!options.system_roots)
            .danger_accept_invalid_certs(options.skip_verification)
            .danger_accept_invalid_hostnames(options.skip_verification);
        for pem in &options.pem_roots {
            for certificate in certificates(pem, "root certificates")? {
                builder.add_root_certificate(certificate);
            }
        }
        for der in &options.der_roots {
            builder.add_root_certificate(Certificate::from_der(der).map_err(unreadable("root certificate"))?);
        }
        if let Some(given) = &options.identity {
            // The proof is an acceptor's work, whoever will show the certificate later.
            proven_acceptor(given)?;
            builder.identity(identity(given)?);
        }
        Ok(Connector(builder.build().map_err(setup)?))
    }

    pub(super) async fn connect<IO>(&self, name: ServerName, io: IO) -> Result<Stream<IO>, TlsError>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let mut io = Some(Blocking::new(Outbox::new(io)));
        let mut parked = None;
        let stream = poll_fn(|cx| {
            let step = match (io.take(), parked.take()) {
                (Some(mut io), _) => {
                    io.enter(Stage::Handshaking, cx);
                    self.0.connect(name.as_str(), io)
                }
                (None, Some(handshake)) => {
                    let mut handshake: native_tls::MidHandshakeTlsStream<Blocking<IO>> = handshake;
                    handshake.get_mut().enter(Stage::Handshaking, cx);
                    handshake.handshake()
                }
                (None, None) => return Poll::Pending,
            };
            match step {
                Ok(stream) => Poll::Ready(Ok(stream)),
                Err(HandshakeError::Failure(error)) => Poll::Ready(Err(failed(error))),
                Err(HandshakeError::WouldBlock(handshake)) => {
                    parked = Some(handshake);
                    Poll::Pending
                }
            }
        });
        Stream::established(Side::Client(stream.await?)).await
    }
}

impl From<native_tls::TlsConnector> for super::Connector {
    /// The connector as it is, its ALPN protocols included.
    fn from(connector: native_tls::TlsConnector) -> Self {
        super::Connector(ConnectorOf::Native(Connector(connector)))
    }
}

#[derive(Clone)]
pub(super) struct Acceptor {
    current: Arc<RwLock<async_native_tls::TlsAcceptor>>,
    /// Whether the configuration is ours, so that we can make it again with another certificate.
    ours: bool,
}

impl Acceptor {
    pub(super) fn new(options: &ServerBuilder) -> Result<Self, TlsError> {
        if options.client_roots.is_some() {
            return Err(unsupported("requiring client certificates"));
        }
        let acceptor = proven_acceptor(&options.identity)?;
        Ok(Acceptor { current: Arc::new(RwLock::new(acceptor.into())), ours: true })
    }

    pub(super) fn replace(&self, chain: &[u8], key: &[u8]) -> Result<(), TlsError> {
        if !self.ours {
            return Err(unsupported("exchanging the certificate of a configuration of the user's"));
        }
        let acceptor = proven_acceptor(&Identity { chain: chain.to_vec(), key: key.to_vec() })?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = acceptor.into();
        Ok(())
    }

    pub(super) async fn accept<IO>(&self, io: IO) -> Result<Stream<IO>, TlsError>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let acceptor = self.current.read().unwrap_or_else(PoisonError::into_inner).clone();
        let stream = acceptor.accept(Outbox::new(io)).await.map_err(failed)?;
        Stream::established(Side::Server(stream)).await
    }
}

impl From<native_tls::TlsAcceptor> for super::Acceptor {
    /// The acceptor as it is, its ALPN protocols included.
    fn from(acceptor: native_tls::TlsAcceptor) -> Self {
        let current = Arc::new(RwLock::new(acceptor.into()));
        super::Acceptor(AcceptorOf::Native(Acceptor { current, ours: false }))
    }
}

/// An acceptor whose key fits its certificate: OpenSSL drops a key that does not, without a word.
fn proven_acceptor(given: &Identity) -> Result<native_tls::TlsAcceptor, TlsError> {
    let mut builder = native_tls::TlsAcceptor::builder(identity(given)?);
    builder.min_protocol_version(Some(Protocol::Tlsv12)).accept_alpn(&[ALPN]);
    let acceptor = builder.build().map_err(setup)?;
    proof::shake_hands_with_itself(&acceptor)?;
    Ok(acceptor)
}

fn identity(given: &Identity) -> Result<native_tls::Identity, TlsError> {
    let what = "certificate chain";
    certificates(&given.chain, what)?;
    let key = pkcs8(&given.key)?;
    native_tls::Identity::from_pkcs8(&given.chain, key).map_err(unreadable("private key"))
}

/// The PEM text from its PKCS#8 key on; native-tls wants it to begin there, and knows no other format.
fn pkcs8(pem: &[u8]) -> Result<&[u8], TlsError> {
    let find = |label: &str| pem.windows(label.len()).position(|window| window == label.as_bytes());
    if let Some(key) = find("-----BEGIN PRIVATE KEY-----").and_then(|start| pem.get(start..)) {
        return Ok(key);
    }
    for (label, what) in [
        ("-----BEGIN EC PRIVATE KEY-----", "a SEC1 private key (convert it to PKCS#8: openssl pkcs8 -topk8 -nocrypt)"),
        (
            "-----BEGIN RSA PRIVATE KEY-----",
            "a PKCS#1 private key (convert it to PKCS#8: openssl pkcs8 -topk8 -nocrypt)",
        ),
        ("-----BEGIN ENCRYPTED PRIVATE KEY-----", "an encrypted private key"),
    ] {
        if find(label).is_some() {
            return Err(unsupported(what));
        }
    }
    Err(TlsError::NoKey)
}

fn certificates(pem: &[u8], what: &'static str) -> Result<Vec<Certificate>, TlsError> {
    let certificates = Certificate::stack_from_pem(pem).map_err(unreadable(what))?;
    if certificates.is_empty() { Err(TlsError::NoCertificate { what }) } else { Ok(certificates) }
}

fn unsupported(what: &'static str) -> TlsError {
    TlsError::Unsupported { backend: Backend::NativeTls, what }
}

fn unreadable(what: &'static str) -> impl FnOnce(native_tls::Error) -> TlsError {
    move |error| TlsError::Unreadable { what, cause: Box::new(error) }
}

fn setup(error: native_tls::Error) -> TlsError {
    TlsError::Setup(Box::new(error))
}

/// A failed handshake, by the connection's own kind of error if that is what failed.
fn failed(error: native_tls::Error) -> TlsError {
    let mut kind = io::ErrorKind::InvalidData;
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(error) = cause.downcast_ref::<io::Error>() {
            kind = error.kind();
        }
        source = cause.source();
    }
    TlsError::Handshake(io::Error::new(kind, error))
}

pub(super) struct Stream<IO> {
    side: Side<IO>,
    /// Asked a second time, the library would read, to wait for the peer's.
    sent_close_notify: bool,
}

enum Side<IO> {
    Client(native_tls::TlsStream<Blocking<IO>>),
    Server(async_native_tls::TlsStream<Outbox<IO>>),
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Stream<IO> {
    /// The handshake is over as soon as its last message has left.
    async fn established(side: Side<IO>) -> Result<Self, TlsError> {
        let mut stream = Stream { side, sent_close_notify: false };
        poll_fn(|cx| stream.poll_flush(cx)).await.map_err(TlsError::Handshake)?;
        stream.outbox().established().map_err(TlsError::Handshake)?;
        Ok(stream)
    }

    /// Has the library encrypt a record, which then is on its way or waits in the outbox.
    fn seal(&mut self, stage: Stage, cx: &mut Context<'_>, record: &[u8]) -> Poll<io::Result<usize>> {
        let sealed = match &mut self.side {
            Side::Client(stream) => {
                stream.get_mut().enter(stage, cx);
                polled(stream.write(record))
            }
            Side::Server(stream) => {
                stream.get_mut().enter(stage);
                Pin::new(stream).poll_write(cx, record).map_err(ours)
            }
        };
        sealed.map_err(|error| self.outbox().take_failure().unwrap_or(error))
    }

    /// Seals what one write may take of the slices, a record at a time; `room` is for those that begin in one slice and end
    /// in another.
    fn seal_all(
        &mut self,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
        room: &mut Box<[u8]>,
    ) -> Poll<io::Result<usize>> {
        let most = total(bufs).min(TLS_WRITE_BUFFER);
        let stage = if most > MAX_RECORD { Stage::Gathering } else { Stage::Writing };
        let mut taken: usize = 0;
        while taken < most {
            let record = next_record(bufs, taken, most.saturating_sub(taken).min(MAX_RECORD), room);
            match self.seal(stage, cx, record) {
                Poll::Ready(Ok(len)) => taken = taken.saturating_add(len),
                // What was taken is told first; an error comes again with the next write.
                _ if taken > 0 => break,
                nothing => return nothing,
            }
        }
        Poll::Ready(Ok(taken))
    }

    fn outbox(&mut self) -> &mut Outbox<IO> {
        match &mut self.side {
            Side::Client(stream) => stream.get_mut().outbox(),
            Side::Server(stream) => stream.get_mut(),
        }
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Session<IO> for Stream<IO> {
    fn io(&self) -> &IO {
        match &self.side {
            Side::Client(stream) => stream.get_ref().io(),
            Side::Server(stream) => stream.get_ref().io(),
        }
    }

    fn io_mut(&mut self) -> &mut IO {
        self.outbox().io_mut()
    }

    fn alpn(&self) -> Option<Vec<u8>> {
        match &self.side {
            Side::Client(stream) => stream.negotiated_alpn().ok().flatten(),
            Side::Server(_) => None,
        }
    }

    fn peer_certificates(&self) -> Option<Vec<Vec<u8>>> {
        let certificate = match &self.side {
            Side::Client(stream) => stream.peer_certificate(),
            Side::Server(stream) => stream.peer_certificate(),
        };
        Some(vec![certificate.ok()??.to_der().ok()?])
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let read = match &mut self.side {
            Side::Client(stream) => {
                stream.get_mut().enter(Stage::Reading, cx);
                polled(stream.read(buf))
            }
            Side::Server(stream) => {
                stream.get_mut().enter(Stage::Reading);
                Pin::new(stream).poll_read(cx, buf).map_err(ours)
            }
        };
        if let Poll::Ready(Err(error)) = &read
            && error.kind() == io::ErrorKind::InvalidData
        {
            // Try to get the alert out; no writer can go on now, whose waker this might take.
            _ = self.outbox().poll_send_and_flush(cx);
        }
        read
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    /// Fills records from the slices, for each costs a header, a tag and a call to the IO, and sends them together.
    fn poll_write_vectored(&mut self, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        ready!(self.outbox().poll_send(cx))?;
        let mut room = Box::default();
        let taken = self.seal_all(cx, bufs, &mut room);
        pool::give(room);
        let taken = ready!(taken)?;
        // Pending is not passed on: the bytes are taken.
        if let Poll::Ready(sent) = self.outbox().poll_send(cx) {
            sent?;
        }
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.outbox().poll_send_and_flush(cx)
    }

    fn poll_close_notify(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.sent_close_notify {
            let sent = match &mut self.side {
                Side::Client(stream) => {
                    stream.get_mut().enter(Stage::Writing, cx);
                    polled(stream.shutdown())
                }
                Side::Server(stream) => {
                    stream.get_mut().enter(Stage::Writing);
                    Pin::new(stream).poll_close(cx).map_err(ours)
                }
            };
            ready!(sent).map_err(|error| self.outbox().take_failure().unwrap_or(error))?;
            self.sent_close_notify = true;
        }
        self.poll_flush(cx)
    }
}

/// The next `len` bytes of the slices after the first `at`: where they are, if one slice has them all, else put together.
fn next_record<'a>(bufs: &'a [IoSlice<'_>], at: usize, len: usize, room: &'a mut Box<[u8]>) -> &'a [u8] {
    let (mut skip, mut filled) = (at, 0);
    for buf in bufs {
        let rest = buf.get(skip.min(buf.len())..).unwrap_or_default();
        skip = skip.saturating_sub(buf.len());
        let part = rest.get(..len.saturating_sub(filled)).unwrap_or(rest);
        if part.len() == len {
            return part;
        }
        if room.is_empty() && !part.is_empty() {
            *room = pool::take(MAX_RECORD);
        }
        if let Some(to) = room.get_mut(filled..filled.saturating_add(part.len())) {
            to.copy_from_slice(part);
            filled = filled.saturating_add(part.len());
        }
    }
    room.get(..filled).unwrap_or_default()
}

fn polled<T>(result: io::Result<T>) -> Poll<io::Result<T>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
        result => Poll::Ready(result.map_err(ours)),
    }
}

/// The library's own errors are wrapped as `Other`: the peer broke TLS, or its alert says that we did.
fn ours(error: io::Error) -> io::Error {
    if error.kind() != io::ErrorKind::Other {
        return error;
    }
    match error.into_inner() {
        Some(inner) => io::Error::new(io::ErrorKind::InvalidData, inner),
        None => io::ErrorKind::InvalidData.into(),
    }
}
