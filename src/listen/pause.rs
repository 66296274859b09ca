//! How long accepting rests when the process has run out of descriptors or memory.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// First rest: 100 ms. The kernel keeps the connections queued meanwhile.
const SHORTEST: Duration = Duration::from_millis(100);

/// Each rest is twice as long as the one before, up to 1 s.
const LONGEST: Duration = Duration::from_secs(1);

/// Until when a listener does not try to accept.
///
/// It belongs to the listener and not to one `accept`, so that a caller who drops and repeats that future does not spin.
#[derive(Debug, Default)]
pub(super) struct Pause(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    until: Option<Instant>,
    /// Zero if the last accept went well.
    length: Duration,
}

impl Pause {
    /// When to try again, if that is not now.
    pub(super) fn until(&self) -> Option<Instant> {
        self.state().until.filter(|until| *until > Instant::now())
    }

    /// An accept failed for want of something; returns how long to rest.
    pub(super) fn begin(&self) -> Duration {
        let mut state = self.state();
        state.length = (state.length * 2).clamp(SHORTEST, LONGEST);
        state.until = Instant::now().checked_add(state.length);
        state.length
    }

    /// An accept went well.
    pub(super) fn end(&self) {
        *self.state() = State::default();
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rests_grow_to_a_second_and_start_over_after_a_success() {
        let pause = Pause::default();
        assert!(pause.until().is_none());
        let rests: Vec<_> = (0..6).map(|_| pause.begin().as_millis()).collect();
        assert_eq!(rests, [100, 200, 400, 800, 1000, 1000]);
        assert!(pause.until().is_some());
        pause.end();
        assert!(pause.until().is_none());
        assert_eq!(pause.begin(), SHORTEST);
    }
}
