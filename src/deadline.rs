//! One absolute point in time by which a chain of steps has to end.

use std::error::Error as StdError;
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_lite::future;

use crate::sleep::Sleep;

/// The time allowed for an operation ran out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimedOut {
    /// The time that was allowed.
    pub after: Duration,
}

impl fmt::Display for TimedOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "timed out after {:?}", self.after)
    }
}

impl std::error::Error for TimedOut {}

impl From<TimedOut> for io::Error {
    fn from(error: TimedOut) -> Self {
        io::Error::new(io::ErrorKind::TimedOut, error)
    }
}

/// An absolute deadline: steps that run under the same one share its time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline {
    /// `None` lies beyond the end of the clock, as `Duration::MAX` from now does: never.
    at: Option<Instant>,
    allowed: Duration,
}

impl Deadline {
    pub(crate) fn after(allowed: Duration) -> Self {
        // Who sets no limit need not know the time.
        let at = if allowed == Duration::MAX { None } else { Instant::now().checked_add(allowed) };
        Deadline { at, allowed }
    }

    /// The earlier of this deadline and `allowed` from now.
    pub(crate) fn at_most(self, allowed: Duration) -> Self {
        let other = Deadline::after(allowed);
        match (self.at, other.at) {
            (Some(ours), Some(theirs)) if ours <= theirs => self,
            (Some(_), None) => self,
            _ => other,
        }
    }

    fn sleep(self) -> Sleep {
        self.at.map_or_else(Sleep::never, Sleep::at)
    }

    /// Runs `work` until it is done or the deadline has passed; `work` is asked first.
    ///
    /// It is pinned by who calls, where it lies, and no `async fn` here has it pass through: such a future has room for
    /// what it is given twice, and a chain of them for twice as much at every link.
    pub(crate) fn run<F: Future + Unpin>(self, work: F) -> Within<F> {
        Within { work, sleep: self.sleep(), allowed: self.allowed }
    }

    /// As [`run`](Self::run), for work that may fail: `wrap` is given its error, or [`TimedOut`].
    pub(crate) fn try_run<T, E, X>(
        self,
        work: impl Future<Output = Result<T, E>> + Unpin,
        wrap: impl Fn(Box<dyn StdError + Send + Sync>) -> X,
    ) -> impl Future<Output = Result<T, X>>
    where
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        let mut within = self.run(work);
        future::poll_fn(move |cx| {
            Pin::new(&mut within).poll(cx).map(|done| match done {
                Ok(done) => done.map_err(|error| wrap(error.into())),
                Err(late) => Err(wrap(late.into())),
            })
        })
    }
}

/// The future of [`Deadline::run`]. Dropping it drops the work.
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub(crate) struct Within<F> {
    work: F,
    sleep: Sleep,
    allowed: Duration,
}

impl<F: Future + Unpin> Future for Within<F> {
    type Output = Result<F::Output, TimedOut>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match Pin::new(&mut self.work).poll(cx) {
            Poll::Ready(done) => Poll::Ready(Ok(done)),
            Poll::Pending => Pin::new(&mut self.sleep).poll(cx).map(|()| Err(TimedOut { after: self.allowed })),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_lite::future::block_on;
    use std::pin::pin;

    #[test]
    fn an_endless_deadline_does_not_overflow() {
        let deadline = Deadline::after(Duration::MAX);
        assert_eq!(block_on(deadline.run(pin!(async { 7 }))), Ok(7));
        assert!(deadline.at.is_none());
    }

    #[test]
    fn zero_time_still_lets_finished_work_through() {
        let deadline = Deadline::after(Duration::ZERO);
        assert_eq!(block_on(deadline.run(pin!(async { 7 }))), Ok(7));
        let late = block_on(deadline.run(future::pending::<()>()));
        assert_eq!(late, Err(TimedOut { after: Duration::ZERO }));
    }

    #[test]
    fn the_earlier_of_two_deadlines_counts() {
        let short = Deadline::after(Duration::from_secs(1));
        let long = Deadline::after(Duration::MAX);
        assert_eq!(short.at_most(Duration::MAX).at, short.at);
        assert!(long.at_most(Duration::from_secs(1)).at.is_some());
    }
}
