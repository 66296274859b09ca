//! What becomes of a stream.

use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;

/// What has become of a stream, beyond what the muxer tells.
#[derive(Debug, Default)]
pub(super) struct Fate {
    /// The peer's last byte has come.
    pub(super) finished: AtomicBool,
    /// The peer has reset it.
    pub(super) reset: AtomicBool,
    /// It was dropped here before our half was closed.
    pub(super) abandoned: AtomicBool,
    /// Its protocol is agreed on.
    pub(super) negotiated: AtomicBool,
    /// Who waits to read and who waits to write. The muxer has them too, but forgets them when it closes.
    wakers: Mutex<[Option<Waker>; 2]>,
}

/// What a task waits for with a stream.
#[derive(Clone, Copy, Debug)]
pub(super) enum Side {
    Read = 0,
    Write = 1,
}

impl Fate {
    pub(super) fn is_finished(&self) -> bool {
        self.finished.load(Ordering::Acquire)
    }

    pub(super) fn is_reset(&self) -> bool {
        self.reset.load(Ordering::Acquire)
    }

    fn wakers(&self) -> MutexGuard<'_, [Option<Waker>; 2]> {
        self.wakers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers who waits. A waker that was woken is kept: it is woken once more at most, when the session ends.
    pub(super) fn waits(&self, side: Side, waker: &Waker) {
        let mut wakers = self.wakers();
        let Some(place) = wakers.get_mut(side as usize) else { return };
        let before = match place {
            Some(known) if known.will_wake(waker) => None,
            _ => place.replace(waker.clone()),
        };
        drop(wakers);
        drop(before);
    }

    /// Who waits to read, or did so last.
    pub(super) fn reader(&self) -> Option<Waker> {
        self.wakers().get(Side::Read as usize).cloned().flatten()
    }

    /// Nobody waits any longer.
    pub(super) fn forget(&self) {
        let wakers = mem::take(&mut *self.wakers());
        drop(wakers);
    }

    /// Wakes whoever waits.
    pub(super) fn wake(&self) {
        let wakers = mem::take(&mut *self.wakers());
        wakers.into_iter().flatten().for_each(Waker::wake);
    }
}
