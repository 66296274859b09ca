//! A stream on its way from the driver to whoever wants to open it.

use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

/// A stream that somebody wants to open.
pub(super) struct Opening(Mutex<OpeningState>);

enum OpeningState {
    Waiting(Option<Waker>),
    Opened(yamux::Stream),
}

impl Opening {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Opening(Mutex::new(OpeningState::Waiting(None))))
    }

    fn state(&self) -> MutexGuard<'_, OpeningState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands the stream over.
    pub(super) fn fulfil(&self, stream: yamux::Stream) {
        let before = mem::replace(&mut *self.state(), OpeningState::Opened(stream));
        if let OpeningState::Waiting(Some(waker)) = before {
            waker.wake();
        }
    }

    /// The stream, once; `None` while it is not there.
    pub(super) fn take(&self, waker: &Waker) -> Option<yamux::Stream> {
        let before = mem::replace(&mut *self.state(), OpeningState::Waiting(Some(waker.clone())));
        match before {
            OpeningState::Opened(stream) => Some(stream),
            OpeningState::Waiting(_) => None,
        }
    }
}
