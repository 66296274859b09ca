//! The handshakes of a listener: how many may run, and each as a future.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::Connection;
use crate::error::Error;
use crate::listen::Incoming;

/// An incoming connection on its way to a [`Connection`]: TLS where the listen address has it, then the upgrade.
///
/// Each runs where it is polled, apart from the others, and has to be done 15 s after the accept, or within what
/// [`ListenOptions::with_handshake_timeout`](crate::ListenOptions::with_handshake_timeout) says. It goes on when its
/// listener is removed. Dropped before its first poll, as a `Swarm` does with a connection that a behaviour denies, it
/// turns the client away as [`Incoming::refuse`] does; dropped later it closes the connection.
pub struct ListenerUpgrade {
    state: State,
    /// Given back at the end of the handshake, which may be long before the drop.
    place: Option<Place>,
}

enum State {
    Accepted(Incoming),
    Running(Pin<Box<dyn Future<Output = Result<Connection, Error>> + Send>>),
    Done,
}

impl ListenerUpgrade {
    pub(super) fn new(incoming: Incoming, place: Place) -> Self {
        ListenerUpgrade { state: State::Accepted(incoming), place: Some(place) }
    }
}

impl Future for ListenerUpgrade {
    type Output = Result<Connection, Error>;

    /// Polled after its end it stays pending.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let mut work = match std::mem::replace(&mut this.state, State::Done) {
            State::Accepted(incoming) => incoming.into_future(),
            State::Running(work) => work,
            State::Done => return Poll::Pending,
        };
        let polled = work.as_mut().poll(cx);
        match polled {
            Poll::Pending => this.state = State::Running(work),
            Poll::Ready(_) => this.place = None,
        }
        polled
    }
}

impl Drop for ListenerUpgrade {
    fn drop(&mut self) {
        if let State::Accepted(incoming) = std::mem::replace(&mut self.state, State::Done) {
            incoming.refuse();
        }
    }
}

impl fmt::Debug for ListenerUpgrade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state: &dyn fmt::Debug = match &self.state {
            State::Accepted(incoming) => incoming,
            State::Running(_) => &"running",
            State::Done => &"done",
        };
        f.debug_tuple("ListenerUpgrade").field(state).finish()
    }
}

/// The places for the handshakes of one listener.
#[derive(Debug)]
pub(super) struct Places {
    /// At least 1.
    most: usize,
    state: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    places: usize,
    /// Who waits for one.
    waiting: Option<Waker>,
}

impl Places {
    pub(super) fn new(most: usize) -> Arc<Self> {
        Arc::new(Places { most: most.max(1), state: Mutex::default() })
    }

    /// Ready when a place is free; the last waker given is woken.
    ///
    /// It stays free until the caller takes it, who is the only one to do so.
    pub(super) fn poll_free(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut taken = self.taken();
        if taken.places < self.most {
            return Poll::Ready(());
        }
        taken.waiting = Some(cx.waker().clone());
        Poll::Pending
    }

    pub(super) fn take(self: &Arc<Self>) -> Place {
        self.taken().places += 1;
        Place(self.clone())
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One place taken; dropping it gives it back.
#[derive(Debug)]
pub(super) struct Place(Arc<Places>);

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.0.taken();
        taken.places = taken.places.saturating_sub(1);
        let waiting = taken.waiting.take();
        drop(taken);
        if let Some(waker) = waiting {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::woken::Woken;

    #[test]
    fn a_place_given_back_wakes_who_waits_for_one() {
        let places = Places::new(2);
        let (woken, waker) = Woken::new();
        let cx = &mut Context::from_waker(&waker);

        let first = places.take();
        assert!(places.poll_free(cx).is_ready());
        let second = places.take();
        assert!(places.poll_free(cx).is_pending());
        drop(first);
        assert_eq!(woken.count(), 1);
        assert!(places.poll_free(cx).is_ready());
        drop(second);
        assert_eq!(woken.count(), 1, "nobody waited");
    }

    #[test]
    fn there_is_always_one_place() {
        let places = Places::new(0);
        let cx = &mut Context::from_waker(Waker::noop());
        assert!(places.poll_free(cx).is_ready());
        let _place = places.take();
        assert!(places.poll_free(cx).is_pending());
    }
}
