//! `Substream`: a muxer's stream that keeps its place and tells what became of it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};

use futures_lite::{AsyncRead, AsyncWrite};

use super::fate::{Fate, Side};
use super::shared::{Place, Shared};

/// Most bytes of negotiation that an inbound stream may send: 16 KiB.
///
/// Some two hundred proposals of usual length. A peer that goes on proposing what we do not speak is not served.
const MAX_NEGOTIATION: usize = 16 * 1024;

/// A stream of the muxer.
pub(super) struct Substream {
    /// Dropped first: what the muxer sends when its stream is dropped depends on it.
    lease: Lease,
    io: yamux::Stream,
    /// Bytes read so far, while the protocol is not agreed on.
    negotiation: usize,
}

/// A stream's entry in the session's books.
struct Lease {
    place: Place,
    id: u32,
    fate: Arc<Fate>,
    /// Our half is closed.
    closed: bool,
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.place.shared.forget(self.id, &self.fate, self.closed);
    }
}

impl Substream {
    pub(super) fn new(place: Place, io: yamux::Stream) -> Self {
        let id = io.id().val();
        let fate = place.shared.watch(id);
        Substream { lease: Lease { place, id, fate, closed: false }, io, negotiation: 0 }
    }

    pub(super) fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.lease.place.shared)
    }

    pub(super) fn fate(&self) -> Arc<Fate> {
        Arc::clone(&self.lease.fate)
    }

    fn waits<T>(&self, side: Side, cx: &Context<'_>, polled: Poll<T>) -> Poll<T> {
        if polled.is_pending() {
            self.lease.place.shared.waits(&self.lease.fate, side, cx.waker());
        }
        polled
    }
}

impl AsyncRead for Substream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let negotiated = this.lease.fate.negotiated.load(Ordering::Relaxed);
        if !negotiated && this.negotiation > MAX_NEGOTIATION {
            let text = format!("negotiation took more than {MAX_NEGOTIATION} bytes");
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, text)));
        }
        let polled = Pin::new(&mut this.io).poll_read(cx, buf);
        let len = ready!(this.waits(Side::Read, cx, polled))?;
        if !negotiated {
            this.negotiation = this.negotiation.saturating_add(len);
        }
        Poll::Ready(Ok(len))
    }
}

impl AsyncWrite for Substream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.io).poll_write(cx, buf);
        self.waits(Side::Write, cx, polled)
    }

    /// There is nothing to flush: the muxer has what was written, and its driver sends it as soon as it can.
    ///
    /// The muxer's own flush waits for room for the next write. The read of a lazily negotiated stream flushes first, and
    /// would then wait for as long as the same task finds more to write.
    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if !this.lease.closed {
            let polled = Pin::new(&mut this.io).poll_close(cx);
            ready!(this.waits(Side::Write, cx, polled))?;
            this.lease.closed = true;
        }
        Poll::Ready(Ok(()))
    }
}
