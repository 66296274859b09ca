//! What is known of streams beyond what the muxer tells: by the link, which sees their frames, for the streams.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};

use super::Shared;
use crate::upgrade::error::SessionError;
use crate::upgrade::fate::{Fate, Side};
use crate::upgrade::frames::{FIN, GO_AWAY, Header, RST, SYN};

/// Code of a GoAway that ends a session in order (yamux specification, "Go Away").
const NORMAL: u32 = 0;

/// Code of a GoAway that tells the peer that it broke the rules.
const PROTOCOL_ERROR: u32 = 1;

/// For the link, which is polled by the driver alone.
impl Shared {
    pub(in crate::upgrade) fn driver_polls(&self) -> usize {
        self.driver_polls.load(Ordering::Relaxed)
    }

    pub(in crate::upgrade) fn is_violated(&self) -> bool {
        self.violation().is_some()
    }

    pub(in crate::upgrade) fn is_confirmed(&self) -> bool {
        self.confirmed.load(Ordering::Relaxed)
    }

    /// The peer's muxer has spoken.
    pub(in crate::upgrade) fn confirm(&self) {
        self.confirmed.store(true, Ordering::Relaxed);
    }

    /// A frame has come, with its whole body, and goes to the muxer next.
    pub(in crate::upgrade) fn received(&self, header: Header) {
        if header.kind == GO_AWAY {
            self.gone.store(header.length, Ordering::Relaxed);
        }
        if !header.is_of_stream() || header.flags & (FIN | RST) == 0 {
            return;
        }
        let mut state = self.state();
        let Some(fate) = state.fates.get(&header.stream) else {
            if header.flags & (SYN | RST) == SYN {
                state.born_finished = Some(header.stream);
            }
            return;
        };
        if header.flags & RST == 0 {
            fate.finished.store(true, Ordering::Release);
            return;
        }
        fate.reset.store(true, Ordering::Release);
        if fate.abandoned.load(Ordering::Relaxed) {
            // Our muxer has nothing to say about it any more.
            let fate = state.fates.remove(&header.stream);
            drop(state);
            drop(fate);
        }
    }

    /// A frame is about to go out; as it is to go.
    pub(in crate::upgrade) fn sending(&self, mut header: Header) -> Header {
        if header.kind == GO_AWAY {
            if self.blame.load(Ordering::Relaxed) {
                header.length = PROTOCOL_ERROR;
            } else if header.length != NORMAL {
                self.violated.store(header.length, Ordering::Relaxed);
            }
        }
        if !header.is_of_stream() || header.flags & (FIN | RST) == 0 {
            return header;
        }
        let mut state = self.state();
        let abandoned = |fate: &Arc<Fate>| fate.abandoned.load(Ordering::Relaxed);
        if state.fates.get(&header.stream).is_some_and(abandoned) {
            // The muxer closes a dropped stream in order if the peer has closed its half before: what was cut off
            // would look complete.
            header.flags = header.flags & !FIN | RST;
            let fate = state.fates.remove(&header.stream);
            drop(state);
            drop(fate);
        }
        header
    }
}

/// For the streams.
impl Shared {
    /// The reason for which the session ended, of a stream that has seen it end.
    pub(in crate::upgrade) fn poll_ended(&self, cx: &Context<'_>) -> Poll<SessionError> {
        let mut state = self.state();
        match &state.ended {
            Some(ended) => Poll::Ready(ended.clone()),
            None => {
                if !state.asking.iter().any(|known| known.will_wake(cx.waker())) {
                    state.asking.push(cx.waker().clone());
                }
                Poll::Pending
            }
        }
    }

    /// Remembers who waits with a stream, to wake them when the session ends.
    pub(in crate::upgrade) fn waits(&self, fate: &Fate, side: Side, waker: &Waker) {
        fate.waits(side, waker);
        if self.over.load(Ordering::SeqCst) {
            waker.wake_by_ref();
        }
    }

    /// A stream is about to be dropped; `closed` tells whether our half of it was closed.
    pub(in crate::upgrade) fn forget(&self, stream: u32, fate: &Fate, closed: bool) {
        fate.forget();
        let mut state = self.state();
        if closed || fate.is_reset() {
            let fate = state.fates.remove(&stream);
            drop(state);
            drop(fate);
        } else {
            fate.abandoned.store(true, Ordering::Relaxed);
        }
    }
}
