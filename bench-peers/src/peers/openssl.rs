//! OpenSSL itself on smol's sockets, set up as native-tls does it: what our adapter to native-tls is held against.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use openssl::pkey::PKey;
use openssl::ssl::{HandshakeError, MidHandshakeSslStream, SslAcceptor, SslConnector, SslMethod, SslStream};
use openssl::x509::X509;
use openssl::x509::store::X509StoreBuilder;
use smol::Async;
use smol::io::{AsyncRead, AsyncWrite};

use crate::common::{self, Certificate, NAME, Pair, both};

pub struct OpenSsl {
    listener: Async<TcpListener>,
    connector: SslConnector,
    acceptor: SslAcceptor,
}

impl OpenSsl {
    pub fn new(certificate: &Certificate) -> Self {
        let chain = X509::from_pem(certificate.chain.as_bytes()).unwrap();
        let mut roots = X509StoreBuilder::new().unwrap();
        roots.add_cert(chain.clone()).unwrap();
        let mut connector = SslConnector::builder(SslMethod::tls()).unwrap();
        connector.set_cert_store(roots.build());
        let mut acceptor = SslAcceptor::mozilla_intermediate(SslMethod::tls()).unwrap();
        acceptor.set_certificate(&chain).unwrap();
        acceptor.set_private_key(&PKey::private_key_from_pem(certificate.key.as_bytes()).unwrap()).unwrap();
        let listener = common::tcp_listener().unwrap();
        OpenSsl { listener, connector: connector.build(), acceptor: acceptor.build() }
    }

    pub async fn pair(&self) -> Pair {
        let (client, server) = common::tcp(&self.listener).await.unwrap();
        let connect = shake_hands(self.connector.connect(NAME, Blocking(client)));
        let accept = shake_hands(self.acceptor.accept(Blocking(server)));
        let (client, server) = both(connect, accept).await;
        (Box::new(Tls(client)), Box::new(Tls(server)))
    }
}

type Shaken = Result<SslStream<Blocking>, HandshakeError<Blocking>>;

async fn shake_hands(mut result: Shaken) -> SslStream<Blocking> {
    loop {
        let middle: MidHandshakeSslStream<Blocking> = match result {
            Ok(stream) => return stream,
            Err(HandshakeError::WouldBlock(middle)) => middle,
            Err(error) => panic!("{error}"),
        };
        middle.get_ref().0.readable().await.unwrap();
        result = middle.handshake();
    }
}

/// What OpenSSL reads from and writes to.
#[derive(Debug)]
struct Blocking(Async<TcpStream>);

impl Read for Blocking {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.get_ref().read(buf)
    }
}

impl Write for Blocking {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.0.get_ref().write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Tls(SslStream<Blocking>);

impl AsyncRead for Tls {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        loop {
            match self.0.read(buf) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    ready!(self.0.get_ref().0.poll_readable(cx))?
                }
                result => return Poll::Ready(result),
            }
        }
    }
}

impl AsyncWrite for Tls {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            match self.0.write(buf) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    ready!(self.0.get_ref().0.poll_writable(cx))?
                }
                result => return Poll::Ready(result),
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
