//! Flushes that are put off, for layers above that flush after every message of theirs.

use std::task::Context;

use crate::config::MAX_UNFLUSHED;

/// Puts a flush off until it is asked for again with nothing written in between, for at most 96 KiB.
///
/// A flush that is put off is `Pending`, which promises nothing, and its task is woken at once to ask again: what it, or
/// who runs before it, writes until then leaves with the rest.
///
/// Every stream has one, idle ones too: hence the short counters, which end at their largest value. Where nothing is put off
/// they stand still, for one comparison.
#[derive(Debug)]
pub(crate) struct PutOff {
    /// Bytes that passed since a flush was last done.
    passed: u32,
    /// How many had been written when one was last put off; [`NEVER`](Self::NEVER) where none is.
    at: u32,
}

impl PutOff {
    /// No more than this can have been written.
    const NEVER: u32 = u32::MAX;

    pub(crate) const fn new(on: bool) -> Self {
        PutOff { passed: 0, at: if on { 0 } else { Self::NEVER } }
    }

    /// Whether flushes are put off at all.
    pub(crate) const fn is_on(&self) -> bool {
        self.at != Self::NEVER
    }

    /// Notes that so many bytes have passed.
    pub(crate) fn pass(&mut self, len: usize) {
        if self.is_on() {
            self.passed = self.written(len);
        }
    }

    /// Whether a flush is put off that is asked for while so many bytes are held besides those that have passed.
    ///
    /// Wakes the task if it is.
    pub(crate) fn puts_off(&mut self, held: usize, cx: &Context<'_>) -> bool {
        if !self.is_on() {
            return false;
        }
        let written = self.written(held);
        let too_much = usize::try_from(written).is_ok_and(|written| written >= MAX_UNFLUSHED);
        let puts_off = written > self.at && !too_much;
        if puts_off {
            self.at = written;
            cx.waker().wake_by_ref();
        }
        puts_off
    }

    /// Notes that a flush was done.
    pub(crate) fn done(&mut self) {
        if self.is_on() {
            *self = PutOff::new(true);
        }
    }

    fn written(&self, held: usize) -> u32 {
        self.passed.saturating_add(u32::try_from(held).unwrap_or(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::woken::Woken;

    #[test]
    fn a_flush_is_put_off_while_something_is_written_in_between_up_to_a_bound() {
        let (woken, waker) = Woken::new();
        let cx = &Context::from_waker(&waker);
        let mut put_off = PutOff::new(true);
        assert!(!put_off.puts_off(0, cx), "nothing was written");
        assert!(put_off.puts_off(1, cx));
        put_off.pass(1);
        assert!(!put_off.puts_off(0, cx), "nothing was written in between");
        assert!(put_off.puts_off(1, cx));
        assert!(put_off.puts_off(MAX_UNFLUSHED - 2, cx));
        for too_much in [MAX_UNFLUSHED - 1, usize::MAX] {
            assert!(!put_off.puts_off(too_much, cx));
        }
        put_off.done();
        assert!(put_off.puts_off(1, cx));
        assert_eq!(woken.count(), 4, "as often as one was put off");
        put_off.pass(usize::MAX);
        put_off.pass(usize::MAX);
        assert!(!put_off.puts_off(usize::MAX, cx));

        assert!(!PutOff::new(false).puts_off(1, cx));
        assert_eq!(woken.count(), 4);
    }
}
