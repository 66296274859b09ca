//! What the adapter's documentation says of yamux's windows: 4,096 streams keep them at 256 KiB, the default does not.
#![cfg(feature = "libp2p")]

use std::net::Ipv4Addr;
use std::pin::Pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use async_io::{Async, Timer};
use futures_lite::future::{self, block_on, poll_fn};
use futures_lite::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use libp2p_core::muxing::{StreamMuxerBox, StreamMuxerExt, SubstreamBox};
use libp2p_core::transport::{DialOpts, ListenerId, PortUse};
use libp2p_core::upgrade::Version;
use libp2p_core::{Endpoint, Transport};
use libp2p_identity::{Keypair, PeerId};
use smol::Executor;
use ws_transport::WsAddr;
use ws_transport::libp2p::{WsTransport, libp2p_core};
use ws_transport::multiaddr::Multiaddr;

/// Largest frame that rust-yamux takes, in bytes.
const MAX_FRAME: usize = 1024 * 1024;

const KIB: usize = 1024;

type Boxed = libp2p_core::transport::Boxed<(PeerId, StreamMuxerBox)>;

fn transport(max_num_streams: Option<usize>) -> Boxed {
    let mut yamux = libp2p_yamux::Config::default();
    if let Some(streams) = max_num_streams {
        yamux.set_max_num_streams(streams);
    }
    WsTransport::default()
        .upgrade(Version::V1Lazy)
        .authenticate(libp2p_noise::Config::new(&Keypair::generate_ed25519()).unwrap())
        .multiplex(yamux)
        .boxed()
}

/// Relays one connection to `port` of this machine; every byte takes 20 ms in either direction. Returns its own port.
fn far_away(executor: &Executor<'static>, port: u16) -> u16 {
    const DELAY: Duration = Duration::from_millis(20);
    let listener = Async::<std::net::TcpListener>::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let here = listener.get_ref().local_addr().unwrap().port();
    let relay = async move {
        let near = listener.accept().await.unwrap().0;
        let far = Async::<std::net::TcpStream>::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
        let one_way = |from: &'static Async<std::net::TcpStream>, to: &'static Async<std::net::TcpStream>| async move {
            let (sender, receiver) = smol::channel::unbounded();
            let read = async {
                let (mut from, mut buf) = (from, vec![0; 64 * KIB]);
                while let Ok(len @ 1..) = from.read(&mut buf).await {
                    sender.send((Instant::now() + DELAY, buf[..len].to_vec())).await.unwrap();
                }
                sender.close();
            };
            let write = async {
                let mut to = to;
                while let Ok((due, bytes)) = receiver.recv().await {
                    Timer::at(due).await;
                    if to.write_all(&bytes).await.is_err() {
                        break;
                    }
                }
            };
            future::zip(read, write).await;
        };
        let (near, far) = (Box::leak(Box::new(near)), Box::leak(Box::new(far)));
        future::zip(one_way(near, far), one_way(far, near)).await;
    };
    executor.spawn(relay).detach();
    here
}

/// The two ends of a connection over a long link: `streams` opened by the dialer, and the listener's as they come.
async fn connect(
    executor: &Executor<'static>,
    mut dialer: Boxed,
    mut listener: Boxed,
    streams: usize,
) -> (Vec<SubstreamBox>, smol::channel::Receiver<SubstreamBox>) {
    listener.listen_on(ListenerId::next(), "/ip4/127.0.0.1/tcp/0/ws".parse().unwrap()).unwrap();
    let event = poll_fn(|cx| Pin::new(&mut listener).poll(cx)).await;
    let port = WsAddr::try_from(&event.into_new_address().unwrap()).unwrap().port();
    let address: Multiaddr = format!("/ip4/127.0.0.1/tcp/{}/ws", far_away(executor, port)).parse().unwrap();

    // A lazy dialer's last proposal leaves with its first stream, so the listener is ready only after that.
    let (sender, receiver) = smol::channel::unbounded();
    let accept = async move {
        let event = poll_fn(|cx| Pin::new(&mut listener).poll(cx)).await;
        let (_, mut muxer) = event.into_incoming().unwrap().0.await.unwrap();
        while let Ok(stream) = poll_fn(|cx| muxer.poll_inbound_unpin(cx)).await {
            let _ = sender.send(stream).await;
        }
    };
    executor.spawn(accept).detach();

    let opts = DialOpts { role: Endpoint::Dialer, port_use: PortUse::New };
    let (_, mut muxer) = dialer.dial(address, opts).unwrap().await.unwrap();
    let mut opened = Vec::new();
    for _ in 0..streams {
        opened.push(poll_fn(|cx| muxer.poll_outbound_unpin(cx)).await.unwrap());
    }
    executor.spawn(async move { while poll_fn(|cx| muxer.poll_unpin(cx)).await.is_ok() {} }).detach();
    (opened, receiver)
}

/// Moves 8 MiB over one stream as fast as its reader takes them, then returns how much more its writer can send to a
/// reader that has stopped: the window, less what was read and not granted anew yet.
fn window_after_a_transfer(max_num_streams: Option<usize>) -> usize {
    const MIB: usize = 8;
    let executor = Executor::new();
    let late = async {
        Timer::after(Duration::from_secs(60)).await;
        panic!("hangs")
    };
    let work = executor.run(async {
        let ends = (transport(max_num_streams), transport(max_num_streams));
        let (mut ours, theirs) = connect(&executor, ends.0, ends.1, 2).await;
        let (mut probe, mut writer) = (ours.remove(1), ours.remove(0));

        let write = async {
            let block = vec![7; 64 * KIB];
            for _ in 0..MIB * 16 {
                writer.write_all(&block).await.unwrap();
            }
            writer.flush().await.unwrap();
        };
        let read = async {
            let mut reader = theirs.recv().await.unwrap();
            let mut left = vec![0; MIB * 1024 * KIB];
            reader.read_exact(&mut left).await.unwrap();
            reader
        };
        let (_reader, ()) = future::zip(read, write).await;

        // The echo of the second stream follows all that is under way on the first, in both directions.
        let mut round_trip = async || {
            probe.write_all(b"?").await.unwrap();
            probe.flush().await.unwrap();
            probe.read_exact(&mut [0]).await.unwrap();
        };
        let echo = async {
            let mut echo = theirs.recv().await.unwrap();
            let mut byte = [0];
            while echo.read_exact(&mut byte).await.is_ok() {
                echo.write_all(&byte).await.unwrap();
                echo.flush().await.unwrap();
            }
        };
        let measure = async {
            round_trip().await;
            let mut window = 0;
            loop {
                let more = poll_fn(|cx| {
                    let mut more = 0;
                    while let Poll::Ready(written) = Pin::new(&mut writer).poll_write(cx, &[7; 16 * KIB]) {
                        more += written.unwrap();
                    }
                    Poll::Ready(more)
                });
                match more.await {
                    0 => return window,
                    more => window += more,
                }
                round_trip().await;
            }
        };
        let echo = async {
            echo.await;
            panic!("the probe's stream ended")
        };
        future::or(measure, echo).await
    });
    block_on(future::or(work, late))
}

#[test]
fn four_thousand_streams_keep_the_windows_small_and_the_default_lets_them_outgrow_a_frame() {
    let frozen = window_after_a_transfer(Some(4096));
    assert!(frozen <= 256 * KIB, "{frozen}");
    // It grows with readers that are quick, for which a busy machine may need more than one attempt.
    let outgrown = (0..5).any(|_| window_after_a_transfer(None) > MAX_FRAME);
    assert!(outgrown, "the setting is not needed any more");
}
