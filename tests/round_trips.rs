//! Round trips, from nothing, until the dialer's first byte of an application is on the wire.

#[path = "common/round_trips.rs"]
mod long_link;

use futures_lite::future::{block_on, or};
use futures_lite::{AsyncReadExt, AsyncWriteExt};
use libp2p_identity::Keypair;
use long_link::{LongLink, wss};
use ws_transport::upgrade::Upgrader;
use ws_transport::{Dialer, ListenOptions};

/// Counts them with an [`Upgrader`] at both ends, and looks that every further question and answer takes one more.
fn with_upgrader(suffix: &str, options: ListenOptions, dialer: Dialer) -> usize {
    let upgrader = || Upgrader::new(&Keypair::generate_ed25519()).unwrap().with_protocols(["/app/1"]);
    block_on(async {
        let listener = options.bind(format!("/ip4/127.0.0.1/tcp/0{suffix}")).await.unwrap();
        let link = LongLink::to(listener.local_addrs().unwrap()[0]);
        let listen = async {
            let connection = listener.accept().await.unwrap().await.unwrap();
            let (session, driver) = upgrader().accept(connection).await.unwrap();
            let hear = async {
                let mut stream = session.accept().await.unwrap();
                stream.read_exact(&mut [0; 1]).await.unwrap();
                let first = link.round_trips();
                for further in 1..3 {
                    stream.write_all(b"y").await.unwrap();
                    stream.read_exact(&mut [0; 1]).await.unwrap();
                    assert_eq!(link.round_trips(), first + further);
                }
                first
            };
            or(hear, async {
                driver.await.unwrap();
                panic!("the session ended");
            })
            .await
        };
        let dial = async {
            let address = format!("/ip4/127.0.0.1/tcp/{}{suffix}", link.address().port());
            let (session, driver) = upgrader().dial_address(&dialer, address).await.unwrap();
            let speak = async {
                let mut stream = session.open(["/app/1"]).await.unwrap();
                loop {
                    stream.write_all(b"x").await.unwrap();
                    stream.read_exact(&mut [0; 1]).await.unwrap();
                }
            };
            let _ = or(async { _ = driver.await }, speak).await;
        };
        or(listen, async {
            dial.await;
            std::future::pending().await
        })
        .await
    })
}

#[test]
fn the_first_byte_over_ws_leaves_after_three() {
    // TCP; the WebSocket; noise's first two messages.
    assert_eq!(with_upgrader("/ws", ListenOptions::new(), Dialer::new()), 3);
}

#[test]
fn the_first_byte_over_wss_leaves_after_four() {
    let Some((options, dialer)) = wss() else { return };
    // TCP; TLS 1.3; the WebSocket; noise's first two messages.
    assert_eq!(with_upgrader("/tls/sni/localhost/ws", options, dialer), 4);
}
