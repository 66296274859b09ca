//! What is particular to native-tls.

use futures_lite::future::block_on;
use ws_transport::tls::native_tls::{self, Identity};
use ws_transport::tls::{Acceptor, Backend, Connector, TlsError};

use crate::certs::Authority;
use crate::{GOOD, pipe, shake_hands};

#[test]
fn a_configuration_of_the_users_is_taken_as_it_is() {
    let authority = Authority::new("authority");
    let leaf = authority.issue("localhost");
    let connector = native_tls::TlsConnector::builder()
        .add_root_certificate(native_tls::Certificate::from_der(&authority.der()).unwrap())
        .disable_built_in_roots(true)
        .request_alpns(&["own/1"])
        .build()
        .unwrap();
    let identity = Identity::from_pkcs8(leaf.chain.as_bytes(), leaf.key.as_bytes()).unwrap();
    let acceptor = native_tls::TlsAcceptor::builder(identity).accept_alpn(&["own/1"]).build().unwrap();
    let (connector, acceptor) = (Connector::from(connector), Acceptor::from(acceptor));
    assert_eq!((connector.backend(), acceptor.backend()), (Backend::NativeTls, Backend::NativeTls));
    let (client, server) = block_on(shake_hands(&connector, "localhost", &acceptor, GOOD));
    assert_eq!(client.unwrap().alpn().as_deref(), Some(&b"own/1"[..]));
    server.unwrap();

    let error = acceptor.replace(leaf.chain.as_bytes(), leaf.key.as_bytes()).unwrap_err();
    assert!(matches!(error, TlsError::Unsupported { backend: Backend::NativeTls, .. }), "{error:?}");
}

#[test]
fn the_failed_connection_is_told_from_the_failed_handshake() {
    use std::io;
    let authority = Authority::new("authority");
    let connector = crate::connector(Backend::NativeTls, &authority);
    let (client, server) = pipe(GOOD);
    drop(server);
    let error = block_on(connector.connect("localhost", client)).unwrap_err();
    assert!(matches!(&error, TlsError::Handshake(io) if io.kind() == io::ErrorKind::BrokenPipe), "{error:?}");
}
