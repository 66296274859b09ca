//! Against rust-libp2p's own upgrade: libp2p-core's, with libp2p-yamux, and libp2p-noise or ours in its place.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_lite::future::{poll_fn, zip};
use futures_lite::{AsyncReadExt, AsyncWriteExt};
use libp2p_core::muxing::{StreamMuxerBox, StreamMuxerExt, SubstreamBox};
use libp2p_core::transport::{DialOpts, ListenerId, PortUse, TransportError, TransportEvent};
use libp2p_core::upgrade::Version;
use libp2p_core::{Endpoint, Transport};
use libp2p_identity::{Keypair, PeerId};
use multistream_select::{dialer_select_proto, listener_select_proto};
use ws_transport::multiaddr::Multiaddr;
use ws_transport::upgrade::Noise;

use crate::common::pattern;
use crate::common::pipe::{End, Manner, pipe};
use crate::ends::{run, upgrader};

/// A transport whose one connection is a pipe's end.
struct Once(Option<End>);

impl Transport for Once {
    type Output = End;
    type Error = std::io::Error;
    type ListenerUpgrade = std::future::Ready<Result<End, std::io::Error>>;
    type Dial = std::future::Ready<Result<End, std::io::Error>>;

    fn listen_on(&mut self, _: ListenerId, _: Multiaddr) -> Result<(), TransportError<Self::Error>> {
        Ok(())
    }

    fn remove_listener(&mut self, _: ListenerId) -> bool {
        false
    }

    fn dial(&mut self, _: Multiaddr, _: DialOpts) -> Result<Self::Dial, TransportError<Self::Error>> {
        Ok(std::future::ready(Ok(self.0.take().unwrap())))
    }

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<TransportEvent<Self::ListenerUpgrade, Self::Error>> {
        match self.0.take() {
            Some(end) => Poll::Ready(TransportEvent::Incoming {
                listener_id: ListenerId::next(),
                upgrade: std::future::ready(Ok(end)),
                local_addr: Multiaddr::empty(),
                send_back_addr: Multiaddr::empty(),
            }),
            None => Poll::Pending,
        }
    }
}

/// Whose noise a `Swarm` is given.
#[derive(Clone, Copy)]
enum Security {
    Reference,
    Ours,
}

/// Upgrades as a `Swarm` does.
async fn reference(end: End, endpoint: Endpoint, version: Version, security: Security) -> (PeerId, StreamMuxerBox) {
    let keypair = Keypair::generate_ed25519();
    let (upgrade, yamux) = (Once(Some(end)).upgrade(version), libp2p_yamux::Config::default());
    let mut transport = match security {
        Security::Reference => {
            upgrade.authenticate(libp2p_noise::Config::new(&keypair).unwrap()).multiplex(yamux).boxed()
        }
        Security::Ours => upgrade.authenticate(Noise::new(&keypair).unwrap()).multiplex(yamux).boxed(),
    };
    match endpoint {
        Endpoint::Dialer => {
            let opts = DialOpts { role: Endpoint::Dialer, port_use: PortUse::Reuse };
            transport.dial(Multiaddr::empty(), opts).unwrap().await.unwrap()
        }
        Endpoint::Listener => {
            let event = poll_fn(|cx| Pin::new(&mut transport).poll(cx)).await;
            event.into_incoming().unwrap().0.await.unwrap()
        }
    }
}

/// Runs a muxer beside what is done with its streams.
async fn driven<T>(
    muxer: &mut StreamMuxerBox,
    mut work: impl FnMut(&mut StreamMuxerBox, &mut Context<'_>) -> Poll<T>,
) -> T {
    poll_fn(|cx| {
        let done = work(muxer, cx);
        if done.is_pending() {
            let _ = muxer.poll_unpin(cx);
        }
        done
    })
    .await
}

async fn echo(mut muxer: StreamMuxerBox) {
    let stream = driven(&mut muxer, |muxer, cx| muxer.poll_inbound_unpin(cx)).await.unwrap();
    let mut work = Box::pin(async move {
        let (protocol, mut stream) = listener_select_proto(stream, ["/echo/1"]).await.unwrap();
        assert_eq!(protocol, "/echo/1");
        let mut data = Vec::new();
        stream.read_to_end(&mut data).await.unwrap();
        stream.write_all(&data).await.unwrap();
        stream.close().await.unwrap();
    });
    driven(&mut muxer, |_, cx| work.as_mut().poll(cx)).await;
    // What was written is the muxer's to send, and the other end closes.
    let _ = driven(&mut muxer, |muxer, cx| muxer.poll_inbound_unpin(cx)).await;
}

async fn ask(mut muxer: StreamMuxerBox, version: Version, data: Vec<u8>) {
    let stream: SubstreamBox = driven(&mut muxer, |muxer, cx| muxer.poll_outbound_unpin(cx)).await.unwrap();
    let expected = data.clone();
    let mut work = Box::pin(async move {
        let (_, mut stream) = dialer_select_proto(stream, ["/echo/1"], version).await.unwrap();
        stream.write_all(&data).await.unwrap();
        stream.close().await.unwrap();
        let mut back = Vec::new();
        stream.read_to_end(&mut back).await.unwrap();
        back
    });
    let back = driven(&mut muxer, |_, cx| work.as_mut().poll(cx)).await;
    assert!(back == expected);
    driven(&mut muxer, |muxer, cx| muxer.poll_close_unpin(cx)).await.unwrap();
}

#[test]
fn we_dial_rust_libp2p() {
    let kinds = [
        (Manner::GOOD, Security::Reference),
        (Manner::HOSTILE, Security::Reference),
        (Manner::GOOD, Security::Ours),
        (Manner::HOSTILE, Security::Ours),
    ];
    for (manner, security) in kinds {
        run(async |executor| {
            let (a, b) = pipe(manner, manner);
            let (alice, ours) = upgrader();
            let data = pattern(if manner.chunk == 1 { 20_000 } else { 200_000 });
            let dial = async {
                let (session, driver) = ours.dial(a, None).await.unwrap();
                let driver = executor.spawn(driver);
                let mut stream = session.open(["/echo/1"]).await.unwrap();
                stream.write_all(&data).await.unwrap();
                stream.close().await.unwrap();
                let mut back = Vec::new();
                stream.read_to_end(&mut back).await.unwrap();
                assert!(back == data);
                session.close().await.unwrap();
                driver.await.unwrap();
            };
            let accept = async {
                let (peer, muxer) = reference(b, Endpoint::Listener, Version::V1, security).await;
                assert_eq!(peer, alice);
                echo(muxer).await;
            };
            zip(dial, accept).await;
        });
    }
}

#[test]
fn rust_libp2p_dials_us_lazily_and_not() {
    // Over a pipe that lets every other flush wait, the reference never gets to the end of closing.
    for manner in [Manner::GOOD, Manner { stutter: false, ..Manner::HOSTILE }] {
        let kinds = [
            (Version::V1, Security::Reference),
            (Version::V1Lazy, Security::Reference),
            (Version::V1, Security::Ours),
            (Version::V1Lazy, Security::Ours),
        ];
        for (version, security) in kinds {
            run(async |executor| {
                let (a, b) = pipe(manner, manner);
                let (bob, ours) = upgrader();
                let data = pattern(if manner.chunk == 1 { 20_000 } else { 200_000 });
                let dial = async {
                    let (peer, muxer) = reference(a, Endpoint::Dialer, version, security).await;
                    assert_eq!(peer, bob);
                    ask(muxer, version, data).await;
                };
                let accept = async {
                    let (session, driver) = ours.accept(b).await.unwrap();
                    let driver = executor.spawn(driver);
                    let mut stream = session.accept().await.unwrap();
                    let mut data = Vec::new();
                    stream.read_to_end(&mut data).await.unwrap();
                    stream.write_all(&data).await.unwrap();
                    stream.close().await.unwrap();
                    driver.await.unwrap();
                };
                zip(dial, accept).await;
            });
        }
    }
}
