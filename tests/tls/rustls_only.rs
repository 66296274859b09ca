//! What only rustls can do, or can show.

use std::error::Error as _;
use std::sync::Arc;

use futures_lite::future::{block_on, zip};
use futures_lite::{AsyncReadExt, AsyncWriteExt};
use ws_transport::tls::rustls::client::{ClientConfig, Resumption};
use ws_transport::tls::rustls::crypto::{CryptoProvider, ring};
use ws_transport::tls::rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use ws_transport::tls::rustls::server::{Acceptor as HelloReader, ServerConfig};
use ws_transport::tls::rustls::version::{TLS12, TLS13};
use ws_transport::tls::rustls::{
    AlertDescription, CipherSuite, Error, HandshakeKind, ProtocolVersion, RootCertStore, SupportedProtocolVersion,
};
use ws_transport::tls::{Acceptor, Backend, Connector, TlsError};

use crate::certs::{Authority, Leaf};
use crate::{GOOD, acceptor, connector, pipe, shake_hands};

fn client_config(authority: &Authority, versions: &[&'static SupportedProtocolVersion]) -> ClientConfig {
    client_config_of(ring::default_provider(), authority, versions)
}

fn client_config_of(
    provider: CryptoProvider,
    authority: &Authority,
    versions: &[&'static SupportedProtocolVersion],
) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(authority.der().into()).unwrap();
    ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth()
}

/// Connects, moves a byte each way (in TLS 1.3 tickets come after the handshake), and says how the client's session began.
fn session(connector: &Connector, acceptor: &Acceptor) -> (HandshakeKind, ProtocolVersion) {
    block_on(async {
        let (client, server) = shake_hands(connector, "localhost", acceptor, GOOD).await;
        let (mut client, mut server) = (client.unwrap(), server.unwrap());
        let serve = async {
            server.read_exact(&mut [0; 1]).await.unwrap();
            server.write_all(b"x").await.unwrap();
            server.close().await.unwrap();
        };
        let dial = async {
            client.write_all(b"x").await.unwrap();
            client.flush().await.unwrap();
            client.read_to_end(&mut Vec::new()).await.unwrap();
        };
        zip(serve, dial).await;
        let state = client.rustls_state().unwrap();
        (state.handshake_kind().unwrap(), state.protocol_version().unwrap())
    })
}

#[test]
fn sessions_are_resumed_in_both_versions_and_by_all_clones() {
    let authority = Authority::new("authority");
    let leaf = authority.issue("localhost");
    let acceptor = acceptor(Backend::Rustls, &leaf);
    for (versions, version) in [(&[&TLS13], ProtocolVersion::TLSv1_3), (&[&TLS12], ProtocolVersion::TLSv1_2)] {
        let connector = Connector::from(Arc::new(client_config(&authority, versions)));
        assert_eq!(session(&connector, &acceptor), (HandshakeKind::Full, version));
        assert_eq!(session(&connector.clone(), &acceptor), (HandshakeKind::Resumed, version));
        assert_eq!(session(&connector, &acceptor.clone()), (HandshakeKind::Resumed, version));
    }
    let ours = connector(Backend::Rustls, &authority);
    assert_eq!(session(&ours, &acceptor), (HandshakeKind::Full, ProtocolVersion::TLSv1_3));
    assert_eq!(session(&ours, &acceptor), (HandshakeKind::Resumed, ProtocolVersion::TLSv1_3));
}

#[test]
fn sessions_outlive_an_exchange_of_the_certificate() {
    let authority = Authority::new("authority");
    let (old, new) = (authority.issue("localhost"), authority.issue("localhost"));
    let (connector, acceptor) = (connector(Backend::Rustls, &authority), acceptor(Backend::Rustls, &old));
    assert_eq!(session(&connector, &acceptor).0, HandshakeKind::Full);
    acceptor.replace(new.chain.as_bytes(), new.key.as_bytes()).unwrap();
    assert_eq!(session(&connector, &acceptor).0, HandshakeKind::Resumed);
}

#[cfg(feature = "native-tls")]
#[test]
fn sessions_with_a_native_tls_server_are_resumed_until_its_certificate_is_exchanged() {
    let authority = Authority::new("authority");
    let (old, new) = (authority.issue("localhost"), authority.issue("localhost"));
    let (connector, acceptor) = (connector(Backend::Rustls, &authority), acceptor(Backend::NativeTls, &old));
    assert_eq!(session(&connector, &acceptor), (HandshakeKind::Full, ProtocolVersion::TLSv1_2));
    assert_eq!(session(&connector, &acceptor), (HandshakeKind::Resumed, ProtocolVersion::TLSv1_2));
    acceptor.replace(new.chain.as_bytes(), new.key.as_bytes()).unwrap();
    assert_eq!(session(&connector, &acceptor), (HandshakeKind::Full, ProtocolVersion::TLSv1_2));
}

/// The suite that a client offering these ones of ring's, in this order, and a server agree on.
fn agreed(suites: &[CipherSuite], authority: &Authority, acceptor: &Acceptor) -> CipherSuite {
    let mut provider = ring::default_provider();
    provider.cipher_suites = suites
        .iter()
        .map(|name| *provider.cipher_suites.iter().find(|suite| suite.suite() == *name).unwrap())
        .collect();
    let connector = Connector::from(Arc::new(client_config_of(provider, authority, &[&TLS13])));
    let (client, server) = block_on(shake_hands(&connector, "localhost", acceptor, GOOD));
    server.unwrap();
    client.unwrap().rustls_state().unwrap().negotiated_cipher_suite().unwrap().suite()
}

#[test]
fn cipher_suites_are_chosen_by_what_the_processors_are_fast_at() {
    let [aes_128, aes_256, chacha20] = [
        CipherSuite::TLS13_AES_128_GCM_SHA256,
        CipherSuite::TLS13_AES_256_GCM_SHA384,
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256,
    ];
    let authority = Authority::new("authority");
    let acceptor = acceptor(Backend::Rustls, &authority.issue("localhost"));
    for alone in [aes_128, aes_256, chacha20] {
        assert_eq!(agreed(&[alone], &authority, &acceptor), alone);
    }
    // What a client without AES instructions says; a server without them does not ask.
    assert_eq!(agreed(&[chacha20, aes_128, aes_256], &authority, &acceptor), chacha20);
    // rustls' own order: a server with AES instructions follows it, one without does not.
    assert_ne!(agreed(&[aes_256, aes_128, chacha20], &authority, &acceptor), aes_128);

    let ours = connector(Backend::Rustls, &authority);
    let (client, server) = block_on(shake_hands(&ours, "localhost", &acceptor, GOOD));
    server.unwrap();
    let suite = client.unwrap().rustls_state().unwrap().negotiated_cipher_suite().unwrap().suite();
    assert!([aes_128, chacha20].contains(&suite), "{suite:?}");
}

#[test]
fn a_client_that_offers_only_h2_gets_no_application_protocol() {
    let authority = Authority::new("authority");
    let leaf = authority.issue("localhost");
    let connect = |protocols: &[&[u8]], server| {
        let mut config = client_config(&authority, &[&TLS13, &TLS12]);
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        let acceptor = acceptor(server, &leaf);
        block_on(shake_hands(&Connector::from(Arc::new(config)), "localhost", &acceptor, GOOD))
    };
    let (client, server) = connect(&[b"h2"], Backend::Rustls);
    let error = client.unwrap_err();
    let cause = error.source().and_then(|source| source.downcast_ref::<Error>());
    assert!(matches!(cause, Some(Error::AlertReceived(AlertDescription::NoApplicationProtocol))), "{error:?}");
    assert!(server.is_err());

    for &backend in Backend::compiled_in() {
        let (client, server) = connect(&[b"h2", b"http/1.1"], backend);
        assert_eq!(client.unwrap().alpn().as_deref(), Some(&b"http/1.1"[..]));
        server.unwrap();
        let (client, server) = connect(&[], backend);
        assert_eq!(client.unwrap().alpn(), None);
        server.unwrap();
    }
    // native-tls cannot refuse: it agrees on nothing.
    if Backend::compiled_in().contains(&Backend::NativeTls) {
        let (client, server) = connect(&[b"h2"], Backend::NativeTls);
        assert_eq!(client.unwrap().alpn(), None);
        server.unwrap();
    }
}

#[test]
fn sni_names_the_server_but_never_an_ip_address() {
    let authority = Authority::new("authority");
    for &backend in Backend::compiled_in() {
        for (name, sni) in [
            ("example.com", Some("example.com")),
            ("example.com.", Some("example.com")),
            ("127.0.0.1", None),
            ("::1", None),
        ] {
            let connector = connector(backend, &authority);
            let (client, mut server) = pipe(GOOD);
            let read = async {
                let mut reader = HelloReader::default();
                let mut hello = [0; 4096];
                loop {
                    let n = server.read(&mut hello).await.unwrap();
                    reader.read_tls(&mut &hello[..n]).unwrap();
                    if let Some(accepted) = reader.accept().ok().flatten() {
                        let hello = accepted.client_hello();
                        let alpn: Vec<_> = hello.alpn().unwrap().map(<[u8]>::to_vec).collect();
                        assert_eq!(alpn, [b"http/1.1".to_vec()]);
                        break hello.server_name().map(str::to_owned);
                    }
                }
            };
            let connect = async {
                _ = connector.connect(name, client).await;
                None
            };
            assert_eq!(block_on(futures_lite::future::or(read, connect)).as_deref(), sni, "{backend}, {name}");
        }
    }
}

#[test]
fn a_configuration_of_the_users_is_taken_as_it_is() {
    let authority = Authority::new("authority");
    let Leaf { chain, key, .. } = authority.issue("localhost");
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&TLS12])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            CertificateDer::pem_slice_iter(chain.as_bytes()).collect::<Result<_, _>>().unwrap(),
            PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap(),
        )
        .unwrap();
    config.alpn_protocols = vec![b"own/1".to_vec()];
    let acceptor = Acceptor::from(Arc::new(config));
    let mut config = client_config(&authority, &[&TLS13, &TLS12]);
    config.alpn_protocols = vec![b"own/1".to_vec()];
    config.resumption = Resumption::disabled();
    let connector = Connector::from(Arc::new(config));
    assert_eq!(session(&connector, &acceptor), (HandshakeKind::Full, ProtocolVersion::TLSv1_2));
    assert_eq!(session(&connector, &acceptor), (HandshakeKind::Full, ProtocolVersion::TLSv1_2));
    let (client, _server) = block_on(shake_hands(&connector, "localhost", &acceptor, GOOD));
    assert_eq!(client.unwrap().alpn().as_deref(), Some(&b"own/1"[..]));

    let error = acceptor.replace(chain.as_bytes(), key.as_bytes()).unwrap_err();
    assert!(matches!(error, TlsError::Unsupported { backend: Backend::Rustls, .. }), "{error:?}");
}
