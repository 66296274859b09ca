//! A session over noise whose bytes are tampered with on the way: it ends, and nobody believes a byte that was not sent.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::LazyLock;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_lite::future::{yield_now, zip};
use futures_lite::{AsyncReadExt, AsyncWriteExt};
use ws_transport::upgrade::identity::Keypair;
use ws_transport::upgrade::{Driver, Session, UpgradeError, Upgrader};

use super::common::pattern;
use super::common::pipe::{End, Manner, pipe};

/// Rounds without a byte on the way, after which the connection is cut: what waits for more waits in vain.
const IDLE: usize = 20;

/// Rounds within which everything has to end.
const MAX_ROUNDS: usize = 5_000;

/// Bytes that go there, and back again.
const DATA: usize = 700;

/// Something that happens to a byte.
#[derive(Debug)]
struct Edit {
    /// Whose byte: the dialer's or the listener's.
    dialers: bool,
    /// Which one, counted from its first.
    at: usize,
    change: Change,
}

#[derive(Debug)]
enum Change {
    Xor(u8),
    Insert(u8),
    Drop,
    /// With everything behind it.
    Cut,
}

impl Edit {
    /// Whose and what, where (two bytes), and the byte that it takes.
    fn read([what, high, low, byte]: [u8; 4]) -> Self {
        let change = match what >> 1 & 3 {
            0 => Change::Xor(byte),
            1 => Change::Insert(byte),
            2 => Change::Drop,
            _ => Change::Cut,
        };
        Edit { dialers: what & 1 == 0, at: usize::from(u16::from_be_bytes([high, low])), change }
    }
}

/// One key of each end for all runs.
static ENDS: LazyLock<[Upgrader; 2]> = LazyLock::new(|| {
    [1, 2].map(|seed| {
        let keypair = Keypair::ed25519_from_bytes([seed; 32]).expect("a key");
        Upgrader::new(&keypair).expect("it can sign").with_protocols(["/echo/1"]).with_timeout(Duration::MAX)
    })
});

/// What happens on the way, four bytes each, at most 16 of them.
pub fn run(data: &[u8]) {
    let edits: Vec<Edit> = data.as_chunks().0.iter().take(16).copied().map(Edit::read).collect();
    let ((a, to_dialer), (to_listener, b)) = (pipe(Manner::GOOD, Manner::GOOD), pipe(Manner::GOOD, Manner::GOOD));
    let mut dial = pin!(dial(a));
    let mut accept = pin!(accept(b));
    let (mut dialed, mut accepted) = (None, None);
    let mut lanes = Some([Lane::new(to_dialer, &edits, true), Lane::new(to_listener, &edits, false)]);
    let (mut idle, mut tampered) = (0, false);
    for _ in 0..MAX_ROUNDS {
        poll(dial.as_mut(), &mut dialed);
        poll(accept.as_mut(), &mut accepted);
        if let (Some(dialed), Some(accepted)) = (dialed, accepted) {
            assert!(tampered || dialed && accepted, "nobody has touched it");
            return;
        }
        let Some([near, far]) = &mut lanes else { continue };
        let moved = near.pass(far, &mut tampered) | far.pass(near, &mut tampered);
        idle = if moved { 0 } else { idle + 1 };
        if idle > IDLE {
            assert!(tampered, "it waits for nothing");
            lanes = None;
        }
    }
    panic!("no end: {dialed:?}, {accepted:?}");
}

fn poll(work: Pin<&mut impl Future<Output = bool>>, done: &mut Option<bool>) {
    if done.is_none()
        && let Poll::Ready(fine) = work.poll(&mut Context::from_waker(Waker::noop()))
    {
        *done = Some(fine);
    }
}

/// What one end sends, on its way to the other.
struct Lane<'a> {
    io: End,
    edits: Vec<&'a Edit>,
    passed: usize,
    cut: bool,
}

impl<'a> Lane<'a> {
    fn new(io: End, edits: &'a [Edit], dialers: bool) -> Self {
        let edits = edits.iter().filter(|edit| edit.dialers == dialers).collect();
        Lane { io, edits, passed: 0, cut: false }
    }

    /// Takes what this end has sent and brings it to the other, as far as it is let through.
    fn pass(&mut self, to: &mut Lane<'_>, tampered: &mut bool) -> bool {
        let sent = self.io.take_all();
        let mut bytes = Vec::with_capacity(sent.len());
        for byte in &sent {
            let mut kept = Some(*byte);
            for edit in self.edits.iter().filter(|edit| edit.at == self.passed) {
                *tampered |= !matches!(edit.change, Change::Xor(0));
                match edit.change {
                    Change::Xor(mask) => kept = kept.map(|byte| byte ^ mask),
                    Change::Insert(byte) if !self.cut => bytes.push(byte),
                    Change::Insert(_) => {}
                    Change::Drop => kept = None,
                    Change::Cut => self.cut = true,
                }
            }
            self.passed += 1;
            bytes.extend(kept.filter(|_| !self.cut));
        }
        to.io.put(&bytes);
        !sent.is_empty()
    }
}

async fn dial(io: End) -> bool {
    together(ENDS[0].dial(io, None).await, async |session| {
        let data = pattern(DATA);
        let Ok(mut stream) = session.open(["/echo/1"]).await else { return false };
        if stream.write_all(&data).await.is_err() || stream.close().await.is_err() {
            return false;
        }
        let mut back = Vec::new();
        let read = stream.read_to_end(&mut back).await;
        assert!(data.starts_with(&back), "the dialer believes a byte that was not sent");
        assert!(read.is_err() || back == data, "cut off, it looks complete");
        read.is_ok()
    })
    .await
}

async fn accept(io: End) -> bool {
    together(ENDS[1].accept(io).await, async |session| {
        let data = pattern(DATA);
        let Ok(mut stream) = session.accept().await else { return false };
        let mut there = Vec::new();
        let read = stream.read_to_end(&mut there).await;
        assert!(data.starts_with(&there), "the listener believes a byte that was not sent");
        assert!(read.is_err() || there == data, "cut off, it looks complete");
        if read.is_err() {
            return false;
        }
        let answered = stream.write_all(&there).await.is_ok() && stream.close().await.is_ok();
        // The dialer is the one to go first.
        while session.ended().is_none() {
            yield_now().await;
        }
        answered
    })
    .await
}

/// Runs the driver beside what is done with the session, which is closed then.
async fn together(upgraded: Result<(Session, Driver), UpgradeError>, work: impl AsyncFnOnce(&Session) -> bool) -> bool {
    let Ok((session, driver)) = upgraded else { return false };
    let work = async {
        let fine = work(&session).await;
        let _ = session.close().await;
        fine
    };
    zip(work, driver).await.0
}
