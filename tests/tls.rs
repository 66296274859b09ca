//! Both TLS backends, against each other, over pleasant and unpleasant IOs.
//!
//! Tables go over `Backend::compiled_in()`, so that each combination of features tests what it has.

#[cfg(feature = "rustls")]
#[path = "tls/borrowed.rs"]
mod borrowed;
#[path = "tls/certs.rs"]
mod certs;
mod common;
#[cfg(feature = "native-tls")]
#[path = "tls/native_only.rs"]
mod native_only;
#[path = "tls/refusals.rs"]
mod refusals;
#[cfg(feature = "rustls")]
#[path = "tls/rustls_only.rs"]
mod rustls_only;
#[path = "tls/stream.rs"]
mod stream;

use std::error::Error;
use std::net::{TcpListener, TcpStream};

use async_io::Async;
use certs::{Authority, Leaf};
use common::pipe::{End, Manner};
use futures_lite::future::{block_on, zip};
use futures_lite::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use ws_transport::tls::{Acceptor, Backend, Connector, MaybeTls, TlsError};

const GOOD: Manner = Manner { capacity: 64 << 10, vectored: false, ..Manner::GOOD };

/// One byte at a time, `Pending` every other poll.
const DRIPPING: Manner = Manner { capacity: 8 << 10, chunk: 1, stutter: true, ..GOOD };

/// Nothing before a flush.
const HOLDING: Manner = Manner { chunk: 1000, stutter: true, until_flush: true, ..GOOD };

/// Two ends that behave alike.
fn pipe(manner: Manner) -> (End, End) {
    common::pipe::pipe(manner, manner)
}

/// A client's and a server's backend, in all combinations compiled in.
fn combinations() -> impl Iterator<Item = (Backend, Backend)> {
    let all = Backend::compiled_in();
    all.iter().flat_map(move |&client| all.iter().map(move |&server| (client, server)))
}

fn connector(backend: Backend, authority: &Authority) -> Connector {
    Connector::builder().pem_roots(authority.pem()).build_with(backend).unwrap()
}

fn acceptor(backend: Backend, leaf: &Leaf) -> Acceptor {
    Acceptor::builder(leaf.chain.as_str(), leaf.key.as_str()).build_with(backend).unwrap()
}

type Both = (Result<MaybeTls<End>, TlsError>, Result<MaybeTls<End>, TlsError>);

/// What client and server get from a handshake over a pipe.
async fn shake_hands(connector: &Connector, name: &str, acceptor: &Acceptor, manners: Manner) -> Both {
    let (client, server) = pipe(manners);
    zip(connector.connect(name, client), acceptor.accept(server)).await
}

/// Client and server after a handshake that has to succeed.
async fn connected(client: Backend, server: Backend, manners: Manner) -> (MaybeTls<End>, MaybeTls<End>) {
    let authority = Authority::new("authority");
    let leaf = authority.issue("localhost");
    let (connector, acceptor) = (connector(client, &authority), acceptor(server, &leaf));
    let (client, server) = shake_hands(&connector, "localhost", &acceptor, manners).await;
    (client.unwrap(), server.unwrap())
}

fn noise(len: usize, seed: u32) -> Vec<u8> {
    let next = |state: &mut u32| {
        *state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        Some((*state >> 24) as u8)
    };
    std::iter::repeat_n((), len).scan(seed, |state, ()| next(state)).collect()
}

/// Sends and receives at once, closes, and sees the other end's close.
async fn exchange<IO: AsyncRead + AsyncWrite + Unpin>(stream: MaybeTls<IO>, send: &[u8], expect: &[u8]) {
    let (mut reader, mut writer) = futures_lite::io::split(stream);
    let write = async {
        writer.write_all(send).await.unwrap();
        writer.close().await.unwrap();
    };
    let read = async {
        let mut got = Vec::new();
        reader.read_to_end(&mut got).await.unwrap();
        assert!(got == expect, "the bytes are not those that were sent");
    };
    zip(write, read).await;
}

/// A handshake, then data both ways; each end goes on as soon as its own handshake is over.
fn converse(client: Backend, server: Backend, manners: Manner, len: usize) {
    let authority = Authority::new("authority");
    let leaf = authority.issue("localhost");
    let (connector, acceptor) = (connector(client, &authority), acceptor(server, &leaf));
    let (client, server) = pipe(manners);
    let (there, back) = (noise(len, 1), noise(len, 2));
    let dial = async { exchange(connector.connect("localhost", client).await.unwrap(), &there, &back).await };
    let serve = async { exchange(acceptor.accept(server).await.unwrap(), &back, &there).await };
    block_on(zip(dial, serve));
}

#[test]
fn the_backends_move_data_both_ways_in_all_combinations() {
    for (client, server) in combinations() {
        converse(client, server, GOOD, 2 << 20);
    }
}

#[test]
fn pipes_that_drip_or_hold_or_are_narrow_change_nothing() {
    // rustls reads nothing while a message of its handshake is stuck, so that the smallest has to fit.
    let narrow = Manner { capacity: 20, chunk: 7, ..DRIPPING };
    for (client, server) in combinations() {
        for manners in [DRIPPING, HOLDING, narrow] {
            converse(client, server, manners, 20_000);
        }
    }
}

#[test]
fn real_sockets_work() {
    let listener = Async::<TcpListener>::bind(([127, 0, 0, 1], 0)).unwrap();
    let address = listener.get_ref().local_addr().unwrap();
    let authority = Authority::new("authority");
    let leaf = authority.issue("127.0.0.1");
    for (client, server) in combinations() {
        let (connector, acceptor) = (connector(client, &authority), acceptor(server, &leaf));
        block_on(async {
            let dial = async {
                let io = Async::<TcpStream>::connect(address).await.unwrap();
                connector.connect("127.0.0.1", io).await.unwrap()
            };
            let listen = async {
                let (io, _) = listener.accept().await.unwrap();
                acceptor.accept(io).await.unwrap()
            };
            let (mut client, mut server) = zip(dial, listen).await;
            client.write_all(b"there").await.unwrap();
            client.flush().await.unwrap();
            let mut buf = [0; 5];
            server.read_exact(&mut buf).await.unwrap();
            assert_eq!(&buf, b"there");
            server.write_all(b"back!").await.unwrap();
            server.flush().await.unwrap();
            client.read_exact(&mut buf).await.unwrap();
            assert_eq!(&buf, b"back!");
        });
    }
}

#[test]
fn a_stream_tells_what_it_is() {
    let authority = Authority::new("authority");
    let leaf = authority.issue("localhost");
    for (client, server) in combinations() {
        let (connector, acceptor) = (connector(client, &authority), acceptor(server, &leaf));
        assert_eq!((connector.backend(), acceptor.backend()), (client, server));
        let (dialed, accepted) = block_on(shake_hands(&connector, "localhost", &acceptor, GOOD));
        let (dialed, accepted) = (dialed.unwrap(), accepted.unwrap());
        assert!(dialed.is_tls() && accepted.is_tls());
        assert_eq!((dialed.backend(), accepted.backend()), (Some(client), Some(server)));
        assert_eq!(dialed.alpn().as_deref(), Some(&b"http/1.1"[..]));
        assert_eq!(dialed.peer_certificates(), Some(vec![leaf.der.clone()]));
        assert_eq!(accepted.peer_certificates(), None);
        if server == Backend::Rustls {
            assert_eq!(accepted.alpn().as_deref(), Some(&b"http/1.1"[..]));
        }
    }
}

#[test]
fn ip_addresses_are_looked_for_in_the_certificate() {
    let authority = Authority::new("authority");
    for address in ["127.0.0.1", "::1", "2001:db8::7"] {
        let leaf = authority.issue(address);
        for (client, server) in combinations() {
            let (connector, acceptor) = (connector(client, &authority), acceptor(server, &leaf));
            let (client, server) = block_on(shake_hands(&connector, address, &acceptor, GOOD));
            client.unwrap();
            server.unwrap();
        }
    }
}

#[test]
fn roots_may_be_several_and_der() {
    let (first, second, third) = (Authority::new("first"), Authority::new("second"), Authority::new("third"));
    for (client, server) in combinations() {
        let builder = Connector::builder().pem_roots(first.pem() + &second.pem()).der_root(third.der());
        let connector = builder.build_with(client).unwrap();
        for authority in [&first, &second, &third] {
            let acceptor = acceptor(server, &authority.issue("localhost"));
            let (client, server) = block_on(shake_hands(&connector, "localhost", &acceptor, GOOD));
            client.unwrap();
            server.unwrap();
        }
    }
}

#[test]
fn keys_are_read_in_every_format_the_backend_knows() {
    let authority = Authority::new("authority");
    for (format, leaf) in authority.issue_in_all_key_formats("localhost") {
        for (client, server) in combinations() {
            let built = Acceptor::builder(leaf.chain.as_str(), leaf.key.as_str()).build_with(server);
            if server == Backend::NativeTls && !format.ends_with("PKCS#8") {
                let error = built.unwrap_err();
                assert!(matches!(error, TlsError::Unsupported { backend: Backend::NativeTls, .. }), "{error}");
                assert!(error.to_string().contains("PKCS#8"), "{error}");
                continue;
            }
            let (acceptor, connector) = (built.unwrap(), connector(client, &authority));
            let (client, server) = block_on(shake_hands(&connector, "localhost", &acceptor, GOOD));
            client.unwrap_or_else(|error| panic!("{format}: {error}"));
            server.unwrap();
        }
    }
}

#[test]
fn a_key_may_stand_behind_other_text() {
    let authority = Authority::new("authority");
    let leaf = authority.issue("localhost");
    for &backend in Backend::compiled_in() {
        let key = format!("The key:\n\n{}{}", leaf.chain, leaf.key);
        Acceptor::builder(leaf.chain.as_str(), key).build_with(backend).unwrap();
    }
}

#[test]
fn the_certificate_can_be_exchanged_while_listening() {
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let (old_leaf, new_leaf) = (old.issue("localhost"), new.issue("localhost"));
    for (client, server) in combinations() {
        let (trusts_old, trusts_new) = (connector(client, &old), connector(client, &new));
        let acceptor = acceptor(server, &old_leaf);
        let listening = acceptor.clone();
        let served = |connector: &Connector| {
            let (client, server) = block_on(shake_hands(connector, "localhost", &listening, GOOD));
            assert_eq!(client.is_ok(), server.is_ok());
            client.is_ok()
        };
        assert_eq!((served(&trusts_old), served(&trusts_new)), (true, false));
        acceptor.replace(new_leaf.chain.as_bytes(), new_leaf.key.as_bytes()).unwrap();
        assert_eq!((served(&connector(client, &old)), served(&trusts_new)), (false, true));
    }
}

#[test]
fn a_certificate_that_is_no_good_leaves_the_old_one_in_place() {
    let authority = Authority::new("authority");
    let (leaf, other) = (authority.issue("localhost"), authority.issue("localhost"));
    let torn = leaf.chain.replace("MII", "M-I");
    let not_a_certificate = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let torn_key = leaf.key.replace("MI", "M-");
    let not_a_key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    let rsa = authority.issue_in_all_key_formats("localhost").remove(0).1;
    let chain = leaf.chain.as_str();
    let key = leaf.key.as_str();

    type Judge = fn(&TlsError) -> bool;
    let unreadable: Judge = |error| matches!(error, TlsError::Unreadable { .. });
    let none: Judge = |error| matches!(error, TlsError::NoCertificate { .. });
    let mismatch: Judge = |error| matches!(error, TlsError::KeyMismatch(_));
    let cases: [(&str, &str, Judge); 11] = [
        (&torn, key, unreadable),
        (not_a_certificate, key, unreadable),
        (&format!("{chain}{not_a_certificate}"), key, unreadable),
        ("", key, none),
        ("no certificate here\n", key, none),
        (chain, &torn_key, unreadable),
        (chain, not_a_key, unreadable),
        (chain, "", |error| matches!(error, TlsError::NoKey)),
        (chain, chain, |error| matches!(error, TlsError::NoKey)),
        (chain, &other.key, mismatch),
        // Another kind of key, which OpenSSL keeps in another place.
        (chain, &rsa.key, mismatch),
    ];
    for &backend in Backend::compiled_in() {
        let acceptor = acceptor(backend, &leaf);
        for (chain, key, judge) in cases {
            let error = acceptor.replace(chain.as_bytes(), key.as_bytes()).unwrap_err();
            assert!(judge(&error), "{backend}: {error:?}");
            let error = Acceptor::builder(chain, key).build_with(backend).unwrap_err();
            assert!(judge(&error), "{backend}: {error:?}");
            let needs_cause = !matches!(error, TlsError::NoKey | TlsError::NoCertificate { .. });
            assert_eq!(error.source().is_some(), needs_cause, "{backend}: {error:?}");
        }
        let connector = connector(backend, &authority);
        let (client, server) = block_on(shake_hands(&connector, "localhost", &acceptor, GOOD));
        assert_eq!(client.unwrap().peer_certificates(), Some(vec![leaf.der.clone()]));
        server.unwrap();
    }
}

#[test]
fn without_a_backend_there_is_a_clear_error() {
    let errors = [Connector::system().err(), Acceptor::builder("", "").build().err()];
    if Backend::compiled_in().is_empty() {
        for error in errors {
            let error = error.unwrap();
            assert!(matches!(error, TlsError::Unavailable), "{error:?}");
            assert_eq!(error.to_string(), "no TLS backend: enable feature `rustls` or `native-tls`");
        }
    } else {
        assert!(!matches!(errors[1], Some(TlsError::Unavailable)));
    }
    for backend in [Backend::Rustls, Backend::NativeTls] {
        if Backend::compiled_in().contains(&backend) || Backend::compiled_in().is_empty() {
            continue;
        }
        let error = Connector::builder().system_roots().build_with(backend).unwrap_err();
        assert!(matches!(error, TlsError::NotCompiledIn(missing) if missing == backend), "{error:?}");
        assert!(error.to_string().contains(&format!("enable feature `{backend}`")), "{error}");
    }
}

#[test]
fn everything_is_send_and_sync_when_the_io_is() {
    fn both<T: Send + Sync + 'static>() {}
    fn send<T: Send>(value: T) -> T {
        value
    }
    both::<Connector>();
    both::<Acceptor>();
    both::<TlsError>();
    both::<MaybeTls<End>>();
    let authority = Authority::new("authority");
    let leaf = authority.issue("localhost");
    for &backend in Backend::compiled_in() {
        let (connector, acceptor) = (connector(backend, &authority), acceptor(backend, &leaf));
        let (client, server) = pipe(GOOD);
        drop(send(connector.connect("localhost", client)));
        drop(send(acceptor.accept(server)));
    }
}

#[test]
fn a_plain_stream_is_as_small_as_its_io() {
    assert!(size_of::<MaybeTls<[u64; 4]>>() <= size_of::<[u64; 4]>() + 8);
}
