//! Waiting until a point in time, for everything in the process by one timer of the reactor.
//!
//! Setting a timer of `async-io` wakes the reactor: three system calls, a tenth of an opening handshake on loopback.
//! Nearly all our deadlines pass unused, each later than the one before. So those who wait stand in one list, and the
//! reactor's timer is set for the first of them only; it is set again when it fires, or for one that has to be earlier.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use async_io::Timer;

/// A future that is ready at a point in time, never before it. Dropping it leaves nothing behind.
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub(crate) struct Sleep {
    /// `None` lies beyond the end of the clock: never.
    at: Option<Instant>,
    /// Its place in the list, once it has been waited for.
    id: Option<u64>,
}

impl Sleep {
    pub(crate) fn at(at: Instant) -> Self {
        Sleep { at: Some(at), id: None }
    }

    /// From now on; never, if that is beyond the end of the clock.
    pub(crate) fn after(duration: Duration) -> Self {
        Sleep { at: Instant::now().checked_add(duration), id: None }
    }

    pub(crate) fn never() -> Self {
        Sleep { at: None, id: None }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(at) = self.at else { return Poll::Pending };
        let (id, waits) = Clock::get().wait(at, self.id, cx.waker());
        self.id = Some(id);
        if waits { Poll::Pending } else { Poll::Ready(()) }
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let (Some(at), Some(id)) = (self.at, self.id) {
            Clock::get().forget(at, id);
        }
    }
}

/// All who wait, and the one timer. It is also the waker of that timer.
#[derive(Default)]
struct Clock(Mutex<State>);

#[derive(Default)]
struct State {
    /// In the order of time; the number tells those of one instant apart.
    waiting: BTreeMap<(Instant, u64), Waker>,
    next_id: u64,
    /// Set for an instant that is not after the first who waits; it may be earlier, for one who waits no more.
    timer: Option<(Instant, Timer)>,
}

// Wakers are other people's code: they are woken and dropped only after the lock is released.
impl Clock {
    fn get() -> &'static Arc<Clock> {
        static CLOCK: OnceLock<Arc<Clock>> = OnceLock::new();
        CLOCK.get_or_init(Arc::default)
    }

    /// Sees to it that `waker` is woken at `at`, in place of the one that was given under this number before.
    ///
    /// Gives the number, and whether there is something to wait for: who has left the list has been woken.
    fn wait(self: &Arc<Self>, at: Instant, id: Option<u64>, waker: &Waker) -> (u64, bool) {
        let mut state = self.lock();
        let Some(id) = id else {
            let id = state.next_id;
            state.next_id = id.wrapping_add(1);
            state.waiting.insert((at, id), waker.clone());
            let late = self.set_timer(&mut state);
            drop(state);
            if late {
                self.ring();
            }
            return (id, !late || self.lock().waiting.contains_key(&(at, id)));
        };
        let known = state.waiting.get_mut(&(at, id));
        let waits = known.is_some();
        let replaced =
            known.filter(|known| !known.will_wake(waker)).map(|known| std::mem::replace(known, waker.clone()));
        drop(state);
        drop(replaced);
        (id, waits)
    }

    fn forget(&self, at: Instant, id: u64) {
        let waker = self.lock().waiting.remove(&(at, id));
        drop(waker);
    }

    /// Wakes those whose time has come, and sets the timer for the next.
    fn ring(self: &Arc<Self>) {
        loop {
            let mut state = self.lock();
            state.timer = None;
            // The key after the last that is due.
            let due = (Instant::now(), u64::MAX);
            let later = state.waiting.split_off(&due);
            let due = std::mem::replace(&mut state.waiting, later);
            let late = self.set_timer(&mut state);
            drop(state);
            due.into_values().for_each(Waker::wake);
            if !late {
                return;
            }
        }
    }

    /// Sets the timer for the first who waits, unless it is set early enough; says whether that one's time has come.
    fn set_timer(self: &Arc<Self>, state: &mut State) -> bool {
        let Some((&(first, _), _)) = state.waiting.first_key_value() else { return false };
        if state.timer.as_ref().is_some_and(|(at, _)| *at <= first) {
            return false;
        }
        let (_, timer) = state.timer.insert((first, Timer::at(first)));
        let waker = Waker::from(self.clone());
        Pin::new(timer).poll(&mut Context::from_waker(&waker)).is_ready()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Clock {
    fn wake(self: Arc<Self>) {
        self.ring();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::woken::Woken;
    use futures_lite::future::{block_on, or, zip};

    fn waiting_at(at: Instant) -> usize {
        Clock::get().lock().waiting.keys().filter(|(instant, _)| *instant == at).count()
    }

    #[test]
    fn nobody_wakes_before_the_time_and_everybody_after_it() {
        let start = Instant::now();
        let ends = [30, 10, 20, 10].map(|ms| start + Duration::from_millis(ms));
        block_on(async {
            let [a, b, c, d] = ends.map(|at| async move {
                Sleep::at(at).await;
                assert!(Instant::now() >= at);
            });
            zip(zip(a, b), zip(c, d)).await;
        });
        assert_eq!(ends.map(waiting_at), [0; 4]);
    }

    #[test]
    fn an_earlier_one_is_woken_though_the_timer_stands_on_a_later_one() {
        let late = Instant::now() + Duration::from_secs(3600);
        block_on(or(
            async {
                Sleep::at(late).await;
                unreachable!("an hour");
            },
            Sleep::after(Duration::from_millis(10)),
        ));
        assert_eq!(waiting_at(late), 0);
    }

    #[test]
    fn one_that_is_dropped_leaves_nothing_behind_and_holds_up_nobody() {
        let soon = Instant::now() + Duration::from_millis(20);
        let mut dropped = Sleep::at(soon);
        assert!(block_on(futures_lite::future::poll_once(&mut dropped)).is_none());
        assert_eq!(waiting_at(soon), 1);
        drop(dropped);
        assert_eq!(waiting_at(soon), 0);
        block_on(Sleep::at(soon + Duration::from_millis(10)));
    }

    #[test]
    fn the_last_waker_given_is_the_one_that_is_woken() {
        let (first, second) = (Woken::new(), Woken::new());
        let at = Instant::now() + Duration::from_millis(20);
        let mut sleep = Sleep::at(at);
        for (_, waker) in [&first, &second] {
            assert!(Pin::new(&mut sleep).poll(&mut Context::from_waker(waker)).is_pending());
        }
        assert_eq!(waiting_at(at), 1);
        block_on(Sleep::at(at + Duration::from_millis(1)));
        assert_eq!(first.0.count(), 0);
        assert_eq!(second.0.count(), 1);
    }

    #[test]
    fn never_is_never_and_the_end_of_the_clock_does_not_overflow() {
        for mut sleep in [Sleep::never(), Sleep::after(Duration::MAX)] {
            assert!(block_on(futures_lite::future::poll_once(&mut sleep)).is_none());
            assert!(sleep.id.is_none());
        }
        let mut over = Sleep::after(Duration::ZERO);
        block_on(&mut over);
        assert!(block_on(futures_lite::future::poll_once(&mut over)).is_some(), "and stays ready");
    }

    #[test]
    fn many_threads_that_wait_and_drop_all_get_their_turn() {
        std::thread::scope(|scope| {
            for thread in 0..4 {
                scope.spawn(move || {
                    for i in 0..200u64 {
                        let short = Sleep::after(Duration::from_micros(i * 7 % 300));
                        let long = Sleep::after(Duration::from_millis(50 + thread));
                        block_on(or(short, long));
                    }
                });
            }
        });
    }
}
