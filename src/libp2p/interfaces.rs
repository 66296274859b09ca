//! The hosts behind a wildcard, asked for again and again.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use blocking::Task;

use crate::addr::Host;
use crate::sleep::Sleep;

/// Time between an answer and the next question: 10 s.
///
/// Asking is a system call or two on all systems, while being told of changes needs a watcher for each of them.
const EVERY: Duration = Duration::from_secs(10);

/// Asks for the hosts at once and every 10 s, on a thread of the `blocking` pool.
///
/// The system's table of interfaces can be long, and an executor should not wait for it.
pub(super) struct Interfaces {
    ask: Arc<dyn Fn() -> io::Result<Vec<Host>> + Send + Sync>,
    every: Duration,
    state: State,
}

enum State {
    Asking(Task<io::Result<Vec<Host>>>),
    Resting(Sleep),
}

impl Interfaces {
    pub(super) fn new(ask: impl Fn() -> io::Result<Vec<Host>> + Send + Sync + 'static) -> Self {
        Interfaces::with_period(ask, EVERY)
    }

    pub(super) fn with_period(
        ask: impl Fn() -> io::Result<Vec<Host>> + Send + Sync + 'static,
        every: Duration,
    ) -> Self {
        let ask = Arc::new(ask);
        let state = State::Asking(asking(ask.clone()));
        Interfaces { ask, every, state }
    }

    /// The next answer, whether it differs from the one before or not.
    pub(super) fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Vec<Host>>> {
        loop {
            match &mut self.state {
                State::Asking(task) => {
                    let answer = ready!(Pin::new(task).poll(cx));
                    self.state = State::Resting(Sleep::after(self.every));
                    return Poll::Ready(answer);
                }
                State::Resting(sleep) => {
                    ready!(Pin::new(sleep).poll(cx));
                    self.state = State::Asking(asking(self.ask.clone()));
                }
            }
        }
    }
}

fn asking(ask: Arc<dyn Fn() -> io::Result<Vec<Host>> + Send + Sync>) -> Task<io::Result<Vec<Host>>> {
    blocking::unblock(move || ask())
}
