//! The libp2p upgrade: any bytes of the peer at any stage end it, or the session, in bounded steps.

use std::future::Future;
use std::pin::pin;
use std::sync::LazyLock;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_lite::AsyncReadExt;
use futures_lite::future::zip;
use ws_transport::upgrade::identity::{Keypair, PeerId};
use ws_transport::upgrade::{BoxedIo, Handshake, Secured, Security, Upgrader};

use super::script::{Pieces, Script};

/// Polls within which it has to end, whatever the peer says: its bytes are all there, and then comes the end.
///
/// Bounded work per poll means more polls for more bytes; a byte can open and end no more than one stream.
fn max_polls(bytes: usize) -> usize {
    1000 + 4 * bytes
}

/// One key for all runs, so that a run depends on nothing but its bytes as far as it can.
static NOISE: LazyLock<Upgrader> = LazyLock::new(|| {
    let keypair = Keypair::ed25519_from_bytes([7; 32]).expect("a key");
    Upgrader::new(&keypair).expect("it can sign").with_protocols(["/echo/1"]).with_timeout(Duration::MAX)
});

static PLAIN: LazyLock<Upgrader> = LazyLock::new(|| {
    Upgrader::with_security(Plain).with_protocols(["/echo/1"]).with_timeout(Duration::MAX).with_max_streams(4)
});

/// One byte for the role and the security, one for how to cut the rest, which is what the peer sends.
pub fn run(data: &[u8]) {
    let [mode, seed, wire @ ..] = data else { return };
    let upgrader = if mode & 2 == 0 { &*PLAIN } else { &*NOISE };
    let io = Script::new(wire, Pieces::new(*seed));
    let upgraded = async {
        let upgraded = match mode & 1 {
            0 => upgrader.accept(io).await,
            _ => upgrader.dial(io, None).await,
        };
        let (session, driver) = match upgraded {
            Ok(upgraded) => upgraded,
            Err(error) => {
                assert!(!error.to_string().is_empty());
                return;
            }
        };
        let listen = async {
            let opened = session.open(["/echo/1"]).await;
            while let Ok(mut stream) = session.accept().await {
                assert_eq!(stream.protocol(), "/echo/1");
                let _ = stream.read(&mut [0; 100]).await;
            }
            drop(opened);
            assert!(session.ended().is_some());
        };
        let (_ended, ()) = zip(driver, listen).await;
    };
    let mut upgraded = pin!(upgraded);
    let mut cx = Context::from_waker(Waker::noop());
    for _ in 0..max_polls(wire.len()) {
        if let Poll::Ready(()) = upgraded.as_mut().poll(&mut cx) {
            return;
        }
    }
    panic!("no end after {} polls", max_polls(wire.len()));
}

/// No security at all: lets bytes through to what comes after it.
struct Plain;

impl Security for Plain {
    fn protocol(&self) -> &str {
        "/plain"
    }

    fn secure_outbound(&self, io: BoxedIo, _: Option<PeerId>) -> Handshake {
        self.secure_inbound(io, &[])
    }

    fn secure_inbound(&self, io: BoxedIo, _: &'static [&'static str]) -> Handshake {
        Box::pin(async move { Ok(Secured::new(*PEER, io)) })
    }
}

static PEER: LazyLock<PeerId> = LazyLock::new(PeerId::random);
