//! What must not be accepted, on whatever backend.

use std::io;

use futures_lite::AsyncReadExt;
use futures_lite::future::block_on;
use rcgen::{CertificateParams, date_time_ymd};
use ws_transport::tls::{Acceptor, Backend, Connector, TlsError};

use crate::certs::{Authority, Leaf};
use crate::{DRIPPING, GOOD, acceptor, combinations, connector, pipe, shake_hands};

#[test]
fn a_server_that_is_not_the_one_is_refused() {
    let (authority, stranger) = (Authority::new("authority"), Authority::new("stranger"));
    let expired = |params: &mut CertificateParams| {
        (params.not_before, params.not_after) = (date_time_ymd(2000, 1, 1), date_time_ymd(2001, 1, 1));
    };
    let not_yet_valid = |params: &mut CertificateParams| {
        (params.not_before, params.not_after) = (date_time_ymd(2999, 1, 1), date_time_ymd(3000, 1, 1));
    };
    let cases: [(&str, Leaf, &str); 10] = [
        ("wrong name", authority.issue("example.com"), "localhost"),
        ("name of a subdomain", authority.issue("a.localhost"), "localhost"),
        ("expired", authority.issue_with("localhost", expired), "localhost"),
        ("not yet valid", authority.issue_with("localhost", not_yet_valid), "localhost"),
        ("unknown authority", stranger.issue("localhost"), "localhost"),
        ("the authority's namesake", Authority::new("authority").issue("localhost"), "localhost"),
        ("no IP address in it", authority.issue("localhost"), "127.0.0.1"),
        ("another IP address in it", authority.issue("127.0.0.2"), "127.0.0.1"),
        ("another IPv6 address in it", authority.issue("::2"), "::1"),
        ("an IP address instead of the name", authority.issue("127.0.0.1"), "localhost"),
    ];
    for (case, leaf, name) in &cases {
        for (client, server) in combinations() {
            let (connector, acceptor) = (connector(client, &authority), acceptor(server, leaf));
            let (client_got, server_got) = block_on(shake_hands(&connector, name, &acceptor, GOOD));
            let error = client_got.err().unwrap_or_else(|| panic!("{client} accepted: {case}"));
            let TlsError::Handshake(io) = &error else { panic!("{client}, {case}: {error:?}") };
            assert_eq!(io.kind(), io::ErrorKind::InvalidData, "{client}, {case}: {error}");
            assert_eq!(cause_of(&error), client, "{client}, {case}: {error:?}");
            assert!(server_got.is_err(), "{server} did not learn of it: {case}");

            let insecure = Connector::builder().dangerously_skip_verification().build_with(client).unwrap();
            let (client_got, server_got) = block_on(shake_hands(&insecure, name, &acceptor, GOOD));
            client_got.unwrap_or_else(|error| panic!("{client} verified although told not to: {case}: {error}"));
            server_got.unwrap();
        }
    }
}

/// The backend whose own error type is the source.
fn cause_of(error: &TlsError) -> Backend {
    let source = std::error::Error::source(error).unwrap();
    #[cfg(feature = "rustls")]
    if source.is::<ws_transport::tls::rustls::Error>() {
        return Backend::Rustls;
    }
    #[cfg(feature = "native-tls")]
    if source.is::<ws_transport::tls::native_tls::Error>() {
        return Backend::NativeTls;
    }
    panic!("no backend's error: {source:?}")
}

#[test]
fn a_client_shows_its_certificate_to_a_server_that_requires_one() {
    let (authority, clients) = (Authority::new("servers"), Authority::new("clients"));
    let (leaf, me) = (authority.issue("localhost"), clients.issue("me"));
    for (client, server) in combinations() {
        let builder = Acceptor::builder(leaf.chain.as_str(), leaf.key.as_str());
        let built = builder.require_client_certificates(clients.pem()).build_with(server);
        if server == Backend::NativeTls {
            assert!(matches!(built, Err(TlsError::Unsupported { backend: Backend::NativeTls, .. })));
            continue;
        }
        let acceptor = built.unwrap();
        for manners in [GOOD, DRIPPING] {
            let builder = Connector::builder().pem_roots(authority.pem());
            let connector = builder.client_certificate(me.chain.as_str(), me.key.as_str()).build_with(client).unwrap();
            let (dialed, accepted) = block_on(shake_hands(&connector, "localhost", &acceptor, manners));
            dialed.unwrap();
            assert_eq!(accepted.unwrap().peer_certificates(), Some(vec![me.der.clone()]));
        }
    }
}

#[test]
fn a_client_without_the_right_certificate_is_refused() {
    let (authority, clients) = (Authority::new("servers"), Authority::new("clients"));
    let leaf = authority.issue("localhost");
    let stranger = Authority::new("strangers").issue("me");
    for (client, server) in combinations().filter(|(_, server)| *server == Backend::Rustls) {
        let builder = Acceptor::builder(leaf.chain.as_str(), leaf.key.as_str());
        let acceptor = builder.require_client_certificates(clients.pem()).build_with(server).unwrap();
        let nobody = Connector::builder().pem_roots(authority.pem());
        let wrong = nobody.clone().client_certificate(stranger.chain.as_str(), stranger.key.as_str());
        for builder in [nobody, wrong] {
            let connector = builder.build_with(client).unwrap();
            let (dialed, accepted) = block_on(shake_hands(&connector, "localhost", &acceptor, GOOD));
            let error = accepted.unwrap_err();
            assert!(matches!(&error, TlsError::Handshake(io) if io.kind() == io::ErrorKind::InvalidData), "{error:?}");
            // TLS 1.3: the client's handshake was over before the server looked at its certificate.
            let refused = block_on(async { dialed?.read(&mut [0; 1]).await.map_err(TlsError::Handshake) });
            let error = refused.unwrap_err();
            assert!(matches!(&error, TlsError::Handshake(io) if io.kind() == io::ErrorKind::InvalidData), "{error:?}");
        }
    }
}

#[test]
fn a_client_certificate_that_is_no_good_is_refused_when_built() {
    let clients = Authority::new("clients");
    let (me, other) = (clients.issue("me"), clients.issue("other"));
    for &backend in Backend::compiled_in() {
        let build = |chain: &str, key: &str| {
            let builder = Connector::builder().pem_roots(clients.pem());
            builder.client_certificate(chain, key).build_with(backend).unwrap_err()
        };
        assert!(matches!(build(&me.chain, &other.key), TlsError::KeyMismatch(_)));
        assert!(matches!(build("", &me.key), TlsError::NoCertificate { .. }));
        assert!(matches!(build(&me.chain, ""), TlsError::NoKey));
    }
}

#[test]
fn roots_that_are_none_are_refused() {
    for &backend in Backend::compiled_in() {
        let error = Connector::builder().build_with(backend).unwrap_err();
        assert!(matches!(error, TlsError::NoRoots), "{error:?}");
        let error = Connector::builder().pem_roots("").build_with(backend).unwrap_err();
        assert!(matches!(error, TlsError::NoCertificate { .. }), "{error:?}");
        let torn = "-----BEGIN CERTIFICATE-----\nMII-\n-----END CERTIFICATE-----\n";
        let error = Connector::builder().pem_roots(torn).build_with(backend).unwrap_err();
        assert!(matches!(error, TlsError::Unreadable { .. }), "{error:?}");
        let error = Connector::builder().der_root(*b"not DER").build_with(backend).unwrap_err();
        assert!(matches!(error, TlsError::Unreadable { .. }), "{error:?}");
    }
}

#[test]
fn the_systems_roots_and_own_ones_add_up() {
    let authority = Authority::new("authority");
    for &backend in Backend::compiled_in() {
        let both = Connector::builder().system_roots().pem_roots(authority.pem()).build_with(backend);
        let acceptor = acceptor(backend, &authority.issue("localhost"));
        let (client, server) = block_on(shake_hands(&both.unwrap(), "localhost", &acceptor, GOOD));
        client.unwrap();
        server.unwrap();
    }
}

#[test]
fn webpki_roots_are_for_rustls_only() {
    for &backend in Backend::compiled_in() {
        let built = Connector::builder().webpki_roots().build_with(backend);
        match backend {
            Backend::Rustls => assert!(built.is_ok()),
            _ => assert!(matches!(built, Err(TlsError::Unsupported { .. }))),
        }
    }
}

#[test]
fn a_name_that_is_none_is_refused_before_anything_is_sent() {
    let authority = Authority::new("authority");
    for &backend in Backend::compiled_in() {
        let connector = connector(backend, &authority);
        for name in ["", "a b", "a\0b", "*.example.com", "256.0.0.1"] {
            let (client, server) = pipe(GOOD);
            let error = block_on(connector.connect(name, client)).unwrap_err();
            assert!(matches!(&error, TlsError::InvalidName(text) if text == name), "{error:?}");
            assert_eq!(server.readable(), 0);
        }
    }
}

#[test]
fn garbage_and_silence_end_the_handshake() {
    use futures_lite::AsyncWriteExt;
    let authority = Authority::new("authority");
    let leaf = authority.issue("localhost");
    for &backend in Backend::compiled_in() {
        let (connector, acceptor) = (connector(backend, &authority), acceptor(backend, &leaf));
        block_on(async {
            let (client, mut server) = pipe(GOOD);
            server.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
            let error = connector.connect("localhost", client).await.unwrap_err();
            assert!(matches!(&error, TlsError::Handshake(io) if io.kind() == io::ErrorKind::InvalidData), "{error:?}");

            let (mut client, server) = pipe(GOOD);
            client.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
            let error = acceptor.accept(server).await.unwrap_err();
            assert!(matches!(&error, TlsError::Handshake(io) if io.kind() == io::ErrorKind::InvalidData), "{error:?}");

            let (client, server) = pipe(GOOD);
            drop(server);
            let error = connector.connect("localhost", client).await.unwrap_err();
            let TlsError::Handshake(io) = &error else { panic!("{error:?}") };
            assert!([io::ErrorKind::BrokenPipe, io::ErrorKind::UnexpectedEof].contains(&io.kind()), "{error:?}");

            let (client, server) = pipe(GOOD);
            drop(client);
            let error = acceptor.accept(server).await.unwrap_err();
            assert!(
                matches!(&error, TlsError::Handshake(io) if io.kind() == io::ErrorKind::UnexpectedEof),
                "{error:?}"
            );
        });
    }
}
