//! Memory that a peer must not be able to take, counted by the allocator.

use futures_lite::future::{block_on, poll_once, zip};
use futures_lite::{AsyncReadExt, AsyncWriteExt};
use ws_transport::handshake::{self, ClientRequest};
use ws_transport::tls::MaybeTls;
use ws_transport::{ListenOptions, Tcp};

use crate::heap::{Since, apart};

/// Connections that claim more than there is.
const CONNECTIONS: usize = 100;

#[test]
fn a_hundred_connections_that_claim_2_to_the_62_bytes_and_fall_silent_stay_small() {
    const EACH: isize = 32 * 1024;
    for claimed in [256 << 20, 1u64 << 62] {
        apart(move || silent_after_a_header(claimed, EACH));
    }
}

fn silent_after_a_header(claimed: u64, each: isize) {
    let mut tls = vec![(None, ListenOptions::new(), "ws")];
    for (connector, acceptor) in crate::backends() {
        tls.push((Some(connector), ListenOptions::new().with_tls(acceptor), "tls/ws"));
    }
    for (connector, options, rest) in tls {
        block_on(async {
            let listener = options.bind(format!("/ip4/127.0.0.1/tcp/0/{rest}")).await.unwrap();
            let addr = listener.local_addrs().unwrap()[0];
            let request = ClientRequest::new("localhost", "/").unwrap();
            let mut ends = Vec::with_capacity(CONNECTIONS);
            for _ in 0..CONNECTIONS {
                let dial = async {
                    let io = Tcp::new(std::net::TcpStream::connect(addr).unwrap()).unwrap();
                    let mut io = match &connector {
                        Some(connector) => connector.connect("localhost", io).await.unwrap(),
                        None => MaybeTls::plain(io),
                    };
                    handshake::request(&mut io, &request).await.unwrap();
                    io
                };
                ends.push(zip(dial, async { listener.accept().await.unwrap().await.unwrap() }).await);
            }
            let header = [&[0x82, 0xff][..], &claimed.to_be_bytes(), &[0; 4], &[b'x'; 1000]].concat();
            let since = Since::now();
            for (client, server) in &mut ends {
                client.write_all(&header).await.unwrap();
                client.flush().await.unwrap();
                let mut got = [0; 1000];
                server.read_exact(&mut got).await.unwrap();
                assert_eq!(got, [b'x'; 1000]);
                // And now it waits for what never comes.
                assert!(poll_once(server.read(&mut got)).await.is_none());
            }
            // Of both ends, the drained buffers that the thread keeps for the next use included.
            let grown = since.growth() / CONNECTIONS as isize;
            println!("{rest}: {grown} bytes a connection");
            assert!(grown < each, "{grown} bytes a connection over {rest}");
            assert!(since.peak() < each * CONNECTIONS as isize, "{} bytes at most", since.peak());
        });
    }
}

#[cfg(feature = "upgrade")]
mod upgraded {
    use futures_lite::future::zip;
    use ws_transport::upgrade::{SessionError, Stage};

    use crate::common::pipe::{Manner, pipe};
    use crate::ends::{run, upgrader};
    use crate::heap::{Since, apart};
    use crate::scripted::{Peer, SYN, WINDOW_UPDATE, proposal};

    const BIG: Manner = Manner { capacity: 16 << 20, ..Manner::GOOD };

    #[test]
    fn ten_thousand_streams_from_a_peer_that_does_not_read_stay_within_a_budget() {
        for speaks in [false, true] {
            apart(move || {
                run(async |executor| {
                    let (mut a, b) = pipe(BIG, BIG);
                    a.reserve(16 << 20);
                    let accept = async { upgrader().1.accept(b).await.unwrap() };
                    let (mut peer, (session, driver)) = zip(Peer::dial(a), accept).await;
                    let since = Since::now();
                    let driver = executor.spawn(driver);
                    for i in 0..10_000 {
                        let stream = 2 * i + 1;
                        let sent = match speaks {
                            // Half a proposal each, so that every one is held as long as it may.
                            true => {
                                let half = &proposal("/echo/1")[..20];
                                peer.try_send(0, SYN, stream, half.len() as u32, half).await
                            }
                            false => peer.try_send(WINDOW_UPDATE, SYN, stream, 0, &[]).await,
                        };
                        if sent.is_err() {
                            break;
                        }
                        futures_lite::future::yield_now().await;
                    }
                    let ended = driver.await;
                    assert!(matches!(ended, Err(SessionError::Flood)), "{ended:?}");
                    assert!(session.ended().is_some());
                    println!("10,000 streams: {} bytes at most", since.peak());
                    assert!(since.peak() < 2 << 20, "{} bytes at most", since.peak());
                });
            });
        }
    }

    #[test]
    fn ten_thousand_proposals_before_security_stay_within_a_budget() {
        apart(|| {
            run(async |_| {
                // The peer takes no answer, or as many as it is given.
                for capacity in [1000, 16 << 20] {
                    let (a, b) = pipe(BIG, Manner { capacity, ..BIG });
                    let mut a = a;
                    a.reserve(16 << 20);
                    let mut wire = b"\x13/multistream/1.0.0\n".to_vec();
                    wire.extend(b"\x04/xx\n".repeat(10_000));
                    a.put(&wire);
                    let since = Since::now();
                    let ours = upgrader().1.with_timeout(std::time::Duration::from_secs(2));
                    let error = ours.accept(b).await.map(drop).unwrap_err();
                    assert_eq!(error.stage(), Stage::SecurityNegotiation, "{error}");
                    println!("10,000 proposals: {} bytes at most: {error}", since.peak());
                    assert!(since.peak() < 128 << 10, "{} bytes at most", since.peak());
                }
            });
        });
    }
}
