//! Round trips, from nothing, until the first byte of an application is on the wire, dialing with the adapter.
#![cfg(feature = "libp2p")]

#[path = "common/round_trips.rs"]
mod long_link;

use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;

use futures_lite::future::{block_on, or, poll_fn, zip};
use futures_lite::{AsyncReadExt, AsyncWriteExt};
use libp2p_core::muxing::{StreamMuxerBox, StreamMuxerExt};
use libp2p_core::transport::{Boxed, DialOpts, ListenerId, PortUse};
use libp2p_core::upgrade::Version;
use libp2p_core::{Endpoint, Transport};
use libp2p_identity::{Keypair, PeerId};
use long_link::{LongLink, wss};
use ws_transport::libp2p::{WsTransport, libp2p_core};
use ws_transport::{Dialer, ListenOptions, WsAddr};

/// What a lazy dialer sends first on a stream: both lines of its proposal, and the byte of the application.
const FIRST: &[u8] = b"\x13/multistream/1.0.0\n\x07/app/1\nx";

fn upgraded(transport: WsTransport) -> Boxed<(PeerId, StreamMuxerBox)> {
    transport
        .upgrade(Version::V1Lazy)
        .authenticate(libp2p_noise::Config::new(&Keypair::generate_ed25519()).unwrap())
        .multiplex(libp2p_yamux::Config::default())
        .boxed()
}

/// Counts them between two transports.
fn count(suffix: &str, dialer: Dialer, options: ListenOptions) -> usize {
    let mut here = upgraded(WsTransport::new(dialer, ListenOptions::new()));
    let mut there = upgraded(WsTransport::new(Dialer::new(), options));
    block_on(async {
        there.listen_on(ListenerId::next(), format!("/ip4/127.0.0.1/tcp/0{suffix}").parse().unwrap()).unwrap();
        let address = poll_fn(|cx| Pin::new(&mut there).poll(cx)).await.into_new_address().unwrap();
        let socket_addr = SocketAddr::from((Ipv4Addr::LOCALHOST, WsAddr::try_from(&address).unwrap().port()));
        let link = LongLink::to(socket_addr);

        let listen = async {
            let event = poll_fn(|cx| Pin::new(&mut there).poll(cx)).await;
            let (_, mut muxer) = event.into_incoming().unwrap().0.await.unwrap();
            let mut stream = poll_fn(|cx| muxer.poll_inbound_unpin(cx)).await.unwrap();
            let hear = async {
                stream.read_exact(&mut [0; FIRST.len()]).await.unwrap();
                link.round_trips()
            };
            or(hear, async {
                let error = poll_fn(|cx| muxer.poll_unpin(cx)).await.unwrap_err();
                panic!("{error}")
            })
            .await
        };
        let dial = async {
            let address = format!("/ip4/127.0.0.1/tcp/{}{suffix}", link.address().port());
            let opts = DialOpts { role: Endpoint::Dialer, port_use: PortUse::New };
            let (_, mut muxer) = here.dial(address.parse().unwrap(), opts).unwrap().await.unwrap();
            let mut stream = poll_fn(|cx| muxer.poll_outbound_unpin(cx)).await.unwrap();
            let speak = async {
                stream.write_all(FIRST).await.unwrap();
                stream.flush().await.unwrap();
                stream
            };
            let drive = poll_fn(|cx| muxer.poll_unpin(cx));
            let _ = zip(drive, speak).await;
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
    assert_eq!(count("/ws", Dialer::new(), ListenOptions::new()), 3);
}

#[test]
fn the_first_byte_over_wss_leaves_after_four() {
    let Some((options, dialer)) = wss() else { return };
    // TCP; TLS 1.3; the WebSocket; noise's first two messages.
    assert_eq!(count("/tls/sni/localhost/ws", dialer, options), 4);
}
