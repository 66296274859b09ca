//! Dialer and listener against each other, by multiaddr, over ws and wss with every pair of TLS backends compiled in.

#[path = "tls/certs.rs"]
#[allow(dead_code, unreachable_pub)]
mod certs;
#[path = "common/patience.rs"]
mod patience;

use std::error::Error as _;
use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use certs::Authority;
use futures_lite::future::{self, block_on};
use futures_lite::{AsyncReadExt, AsyncWriteExt, StreamExt};
use patience::patient;
use ws_transport::handshake::http::StatusCode;
use ws_transport::tls::{Acceptor, Backend, Connector, TlsError};
use ws_transport::{Connection, Dialer, Error, ListenOptions, Listener, Phase, Tcp, ToWsAddr};

const MIB: usize = 1024 * 1024;

/// A listener's and a dialer's backend, in all combinations compiled in.
fn backends() -> impl Iterator<Item = (Backend, Backend)> {
    let all = Backend::compiled_in();
    all.iter().flat_map(move |&server| all.iter().map(move |&client| (server, client)))
}

fn acceptor(backend: Backend, authority: &Authority, name: &str) -> Acceptor {
    let leaf = authority.issue(name);
    Acceptor::builder(leaf.chain.as_str(), leaf.key.as_str()).build_with(backend).unwrap()
}

fn connector(backend: Backend, authority: &Authority) -> Connector {
    Connector::builder().pem_roots(authority.pem()).build_with(backend).unwrap()
}

/// The port of a listener, which its addresses and the dialed ones share.
fn port(listener: &Listener) -> u16 {
    listener.local_addrs().unwrap()[0].port()
}

async fn both(
    dialer: &Dialer,
    addr: impl ToWsAddr,
    listener: &Listener,
) -> (Result<Connection, Error>, Result<Connection, Error>) {
    let accept = async { listener.accept().await?.await };
    future::zip(dialer.dial(addr), accept).await
}

/// Sends a MiB from the dialer and back again, then closes from both ends.
async fn echo((client, server): (Connection, Connection)) {
    let data: Vec<u8> = (0..MIB).map(|i| (i % 251) as u8).collect();
    let serve = async move {
        let mut server = server;
        let mut buf = vec![0; 10_000];
        loop {
            match server.read(&mut buf).await.unwrap() {
                0 => break server.close().await.unwrap(),
                n => server.write_all(&buf[..n]).await.unwrap(),
            }
        }
    };
    let (mut reader, mut writer) = futures_lite::io::split(client);
    let talk = async {
        let send = async {
            writer.write_all(&data).await.unwrap();
            writer.flush().await.unwrap();
        };
        let mut got = vec![0; MIB];
        future::zip(send, async { reader.read_exact(&mut got).await.unwrap() }).await;
        assert!(got == data);
        writer.close().await.unwrap();
        assert_eq!(reader.read(&mut [0]).await.unwrap(), 0);
    };
    future::zip(serve, talk).await;
}

#[test]
fn a_mebibyte_comes_back_over_ws() {
    block_on(async {
        for host in ["ip4/127.0.0.1", "ip6/::1", "dns4/localhost"] {
            let listener = Listener::bind(format!("/{host}/tcp/0/ws")).await.unwrap();
            let addr = listener.addresses().unwrap().remove(0);
            let (client, server) = both(&Dialer::new(), &addr, &listener).await;
            echo((client.unwrap(), server.unwrap())).await;
        }
    });
}

#[test]
fn a_mebibyte_comes_back_over_wss() {
    let authority = Authority::new("authority");
    for (server, client) in backends() {
        let options = ListenOptions::new().with_tls(acceptor(server, &authority, "localhost"));
        let dialer = Dialer::new().with_tls(connector(client, &authority));
        for (listen, dial) in [
            ("/dns4/localhost/tcp/0/tls/ws", "/dns4/localhost/tcp/{}/tls/ws"),
            ("/ip4/127.0.0.1/tcp/0/wss", "/dns4/localhost/tcp/{}/wss"),
            ("/ip4/127.0.0.1/tcp/0/tls/sni/localhost/ws", "/ip4/127.0.0.1/tcp/{}/tls/sni/localhost/ws"),
        ] {
            block_on(async {
                let listener = options.bind(listen).await.unwrap();
                let dial = dial.replace("{}", &port(&listener).to_string());
                let (client, server) = both(&dialer, &dial, &listener).await;
                let (client, server) = (client.unwrap(), server.unwrap());
                assert!(client.get_ref().is_tls() && server.get_ref().is_tls());
                echo((client, server)).await;
            });
        }
    }
}

#[test]
fn connections_come_ready_over_wss() {
    let authority = Authority::new("authority");
    for (server, client) in backends() {
        let options = ListenOptions::new().with_tls(acceptor(server, &authority, "localhost"));
        let dialer = Dialer::new().with_tls(connector(client, &authority));
        block_on(async {
            let listener = options.bind("/ip4/127.0.0.1/tcp/0/tls/ws").await.unwrap();
            let addr = format!("/dns4/localhost/tcp/{}/tls/ws", port(&listener));
            let _silent = TcpStream::connect(listener.local_addrs().unwrap()[0]).unwrap();
            let mut connections = listener.connections();
            for _ in 0..3 {
                let (client, server) = future::zip(dialer.dial(&addr), connections.next()).await;
                assert!(client.unwrap().get_ref().is_tls() && server.unwrap().unwrap().get_ref().is_tls());
            }
        });
    }
}

#[test]
fn host_and_sni_of_the_address_reach_the_listener() {
    let authority = Authority::new("authority");
    for (server, client) in backends() {
        let (sink, seen) = std::sync::mpsc::channel();
        let options = ListenOptions::new().with_tls(acceptor(server, &authority, "node.example.com")).with_policy(
            move |request| {
                let _ = sink.send((request.path().to_owned(), request.host().map(str::to_owned)));
                Ok(())
            },
        );
        let dialer = Dialer::new().with_tls(connector(client, &authority));
        block_on(async {
            let listener = options.bind("/ip4/127.0.0.1/tcp/0/tls/ws").await.unwrap();
            let port = port(&listener);
            let addr = format!("/ip4/127.0.0.1/tcp/{port}/tls/sni/node.example.com/ws/http-path/a%2Fb");
            let (client, server) = both(&dialer, &addr, &listener).await;
            client.and(server).unwrap();
            assert_eq!(seen.recv().unwrap(), ("/a/b".to_owned(), Some(format!("node.example.com:{port}"))));
        });
    }
}

#[test]
fn a_certificate_of_an_unknown_authority_or_another_name_is_an_error_of_tls() {
    let (authority, stranger) = (Authority::new("authority"), Authority::new("stranger"));
    for (server, client) in backends() {
        let options = ListenOptions::new().with_tls(acceptor(server, &authority, "localhost"));
        let trusting = Dialer::new().with_tls(connector(client, &authority));
        let distrusting = Dialer::new().with_tls(connector(client, &stranger));
        block_on(async {
            let listener = options.bind("/ip4/127.0.0.1/tcp/0/tls/ws").await.unwrap();
            let port = port(&listener);
            for (dialer, addr) in [
                (&distrusting, format!("/dns4/localhost/tcp/{port}/tls/ws")),
                (&trusting, format!("/ip4/127.0.0.1/tcp/{port}/tls/ws")),
                (&trusting, format!("/dns4/localhost/tcp/{port}/tls/sni/other.example.com/ws")),
            ] {
                let (client, server) = both(dialer, &addr, &listener).await;
                let (client, server) = (client.unwrap_err(), server.unwrap_err());
                assert_eq!(client.phase(), Phase::Tls, "{client}");
                assert_eq!(client.address().unwrap().to_string(), addr);
                assert!(client.source().unwrap().is::<TlsError>());
                // With TLS 1.3 the listener's part may be done before the dialer refuses the certificate.
                assert!([Phase::Tls, Phase::Handshake].contains(&server.phase()), "{server}");
                assert!(server.address().unwrap().to_string().ends_with("/tls/ws"));
            }
        });
    }
}

#[test]
fn another_path_is_404_over_wss() {
    let authority = Authority::new("authority");
    for (server, client) in backends() {
        let options = ListenOptions::new().with_tls(acceptor(server, &authority, "localhost"));
        let dialer = Dialer::new().with_tls(connector(client, &authority));
        block_on(async {
            let listener = options.bind("/ip4/127.0.0.1/tcp/0/tls/ws/http-path/here").await.unwrap();
            let addr = format!("/dns4/localhost/tcp/{}/tls/ws/http-path/there", port(&listener));
            let (client, server) = both(&dialer, &addr, &listener).await;
            for error in [client.unwrap_err(), server.unwrap_err()] {
                assert_eq!(error.phase(), Phase::Handshake);
                assert_eq!(error.refusal().unwrap().status, StatusCode::NOT_FOUND);
            }
        });
    }
}

/// On Linux what arrived before a reset can still be read.
#[cfg(target_os = "linux")]
#[test]
fn a_dialer_that_is_refused_is_told_503() {
    block_on(async {
        let listener = Listener::bind("/ip4/127.0.0.1/tcp/0/ws").await.unwrap();
        let addr = listener.addresses().unwrap().remove(0);
        // Both ends run at once: the request comes before, within and after the refusal.
        const DIALS: usize = 100;
        let refuse = std::thread::spawn(move || {
            block_on(async {
                for _ in 0..DIALS {
                    listener.accept().await.unwrap().refuse();
                }
            })
        });
        let dialer = Dialer::new();
        for _ in 0..DIALS {
            let error = dialer.dial(&addr).await.unwrap_err();
            assert_eq!(error.refusal().map(|refusal| refusal.status), Some(StatusCode::SERVICE_UNAVAILABLE), "{error}");
        }
        refuse.join().unwrap();
    });
}

#[test]
fn silence_within_tls_costs_the_time_allowed_on_either_side() {
    let authority = Authority::new("authority");
    let time = patient(Duration::from_secs(1));
    for backend in Backend::compiled_in() {
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = format!("/dns4/localhost/tcp/{}/tls/ws", silent.local_addr().unwrap().port());
        let dialer = Dialer::new().with_timeout(time).with_tls(connector(*backend, &authority));
        let error = block_on(dialer.dial(&addr)).unwrap_err();
        assert_eq!(error.phase(), Phase::Tls);
        assert!(error.is_timeout(), "{error}");

        let options = ListenOptions::new().with_handshake_timeout(time);
        let options = options.with_tls(acceptor(*backend, &authority, "localhost"));
        block_on(async {
            let listener = options.bind("/ip4/127.0.0.1/tcp/0/tls/ws").await.unwrap();
            let mut silent = TcpStream::connect(listener.local_addrs().unwrap()[0]).unwrap();
            let error = listener.accept().await.unwrap().await.unwrap_err();
            assert_eq!(error.phase(), Phase::Tls);
            assert!(error.is_timeout(), "{error}");
            assert_eq!(silent.read(&mut [0]).unwrap(), 0);
        });
    }
}

#[test]
fn silence_after_tls_costs_what_is_left_of_the_same_time() {
    let authority = Authority::new("authority");
    let options = ListenOptions::new().with_handshake_timeout(patient(Duration::from_secs(3)));
    let half_shaken = async |server, client| {
        let options = options.clone().with_tls(acceptor(server, &authority, "localhost"));
        let connector = connector(client, &authority);
        let listener = options.bind("/ip4/127.0.0.1/tcp/0/tls/ws").await.unwrap();
        let tcp = Tcp::new(TcpStream::connect(listener.local_addrs().unwrap()[0]).unwrap()).unwrap();
        // It shakes hands in TLS and then asks for nothing.
        let half = async { connector.connect("localhost", tcp).await.unwrap() };
        let accept = async { listener.accept().await.unwrap().await };
        future::zip(half, accept).await.1.unwrap_err()
    };
    std::thread::scope(|scope| {
        for (server, client) in backends() {
            let half_shaken = &half_shaken;
            scope.spawn(move || {
                let error = block_on(half_shaken(server, client));
                assert_eq!(error.phase(), Phase::Handshake);
                assert!(error.is_timeout(), "{error}");
            });
        }
    });
}

#[test]
fn without_a_backend_a_tls_address_is_a_clear_error() {
    if !Backend::compiled_in().is_empty() {
        return;
    }
    let error = block_on(Dialer::new().dial("/ip4/127.0.0.1/tcp/1/tls/ws")).unwrap_err();
    assert_eq!(error.phase(), Phase::Tls);
    assert!(matches!(error.source().unwrap().downcast_ref(), Some(TlsError::Unavailable)));
}

#[test]
fn the_systems_roots_are_the_default() {
    let authority = Authority::new("authority");
    for backend in Backend::compiled_in() {
        let options = ListenOptions::new().with_tls(acceptor(*backend, &authority, "localhost"));
        block_on(async {
            let listener = options.bind("/ip4/127.0.0.1/tcp/0/tls/ws").await.unwrap();
            let addr = format!("/dns4/localhost/tcp/{}/tls/ws", port(&listener));
            // Several dials at a time share one connector in the making.
            let dialer = Dialer::new();
            let mut connections = listener.connections();
            let dials = future::zip(dialer.dial(&addr), dialer.dial(&addr));
            let serve = async { while connections.next().await.unwrap().is_err() {} };
            let (one, other) = future::or(dials, async {
                serve.await;
                unreachable!("nobody's system trusts this authority");
            })
            .await;
            for error in [one.unwrap_err(), other.unwrap_err()] {
                assert_eq!(error.phase(), Phase::Tls, "{error}");
            }
        });
    }
}
