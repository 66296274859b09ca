//! `Wire`: the byte stream under the security layer.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use futures_lite::{AsyncRead, AsyncWrite};

use super::security::BoxedIo;

/// Most bytes that the peer may send before the upgrade is done: 256 KiB.
///
/// Two messages of a noise handshake have at most 64 KiB each; what remains is for negotiation, in which a peer could
/// otherwise propose for ever what we do not speak, and for frames that a hasty muxer sends after its proposal.
const MAX_UPGRADE: usize = 256 * 1024;

/// Says when the upgrade is done, and its limit is lifted.
#[derive(Clone)]
pub(super) struct Allowance(Arc<AtomicUsize>);

impl Allowance {
    fn new() -> Self {
        Allowance(Arc::new(AtomicUsize::new(MAX_UPGRADE)))
    }

    /// The upgrade is done.
    pub(super) fn lift(&self) {
        self.0.store(usize::MAX, Ordering::Relaxed);
    }
}

/// A byte stream that bounds what an upgrade reads, and that is flushed only if something was written.
///
/// Every layer above flushes before it closes, and begins with the first again whenever one is `Pending`: over an IO
/// that lets a flush wait each time, closing would never end.
pub(super) struct Wire {
    io: BoxedIo,
    allowance: Allowance,
    /// Something was written after the last flush.
    unflushed: bool,
}

impl Wire {
    pub(super) fn new(io: BoxedIo) -> (Self, Allowance) {
        let allowance = Allowance::new();
        (Wire { io, allowance: allowance.clone(), unflushed: false }, allowance)
    }
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let left = this.allowance.0.load(Ordering::Relaxed);
        if left == 0 {
            let text = format!("upgrade took more than {MAX_UPGRADE} bytes");
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, text)));
        }
        let len = ready!(Pin::new(&mut this.io).poll_read(cx, buf))?;
        if left != usize::MAX {
            this.allowance.0.store(left.saturating_sub(len), Ordering::Relaxed);
        }
        Poll::Ready(Ok(len))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.unflushed = true;
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.unflushed {
            ready!(Pin::new(&mut self.io).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_close(cx)
    }
}
