//! What a session's handles, its streams, its driver and its link have in common.

mod watch;

use std::collections::{HashMap, VecDeque};
use std::future::poll_fn;
use std::mem;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use libp2p_identity::PeerId;

use crate::upgrade::error::SessionError;
use crate::upgrade::fate::Fate;
use crate::upgrade::limits::Limits;
use crate::upgrade::opening::Opening;
use crate::upgrade::stream::Stream;

/// No code has been seen.
const NONE: u32 = u32::MAX;

/// The state of a session.
///
/// The lock is never held while a future or a stream is polled, nor while a waker is woken or a stream dropped.
pub(in crate::upgrade) struct Shared {
    pub(in crate::upgrade) peer: PeerId,
    pub(in crate::upgrade) limits: Limits,
    state: Mutex<State>,
    /// Polls of the driver so far.
    driver_polls: AtomicUsize,
    /// The peer's muxer has spoken.
    confirmed: AtomicBool,
    /// Code of the GoAway that our muxer sent because the peer broke the rules.
    violated: AtomicU32,
    /// Code of the GoAway that the peer has sent.
    gone: AtomicU32,
    /// The GoAway that goes out tells the peer that it broke the rules.
    blame: AtomicBool,
    /// The session has ended; see [`State::ended`].
    over: AtomicBool,
}

#[derive(Default)]
struct State {
    driver: Option<Waker>,
    /// Handles, that is clones of the session.
    handles: usize,
    /// Streams that are open or being opened; by [`Direction`].
    streams: [usize; 2],
    fates: HashMap<u32, Arc<Fate>>,
    /// The inbound stream whose first frame was its last.
    born_finished: Option<u32>,
    opens: VecDeque<Arc<Opening>>,
    /// Inbound streams that nobody has accepted yet.
    ready: VecDeque<Stream>,
    /// Who waits for a stream to accept, or for the end; by their tickets.
    waiting: HashMap<u64, Waker>,
    last_ticket: u64,
    /// Streams that wait for the reason of an end which they have seen.
    asking: Vec<Waker>,
    /// The session is to be closed.
    closing: bool,
    /// The session is over for its streams and handles.
    ended: Option<SessionError>,
    /// The driver has nothing more to do.
    finished: bool,
}

/// Who opened a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::upgrade) enum Direction {
    Inbound = 0,
    Outbound = 1,
}

/// For the handles.
impl Shared {
    pub(in crate::upgrade) fn new(peer: PeerId, limits: Limits) -> Self {
        Shared {
            peer,
            limits,
            state: Mutex::default(),
            driver_polls: AtomicUsize::new(0),
            confirmed: AtomicBool::new(false),
            violated: AtomicU32::new(NONE),
            gone: AtomicU32::new(NONE),
            blame: AtomicBool::new(false),
            over: AtomicBool::new(false),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake_driver(&self) {
        let driver = self.state().driver.clone();
        if let Some(driver) = driver {
            driver.wake();
        }
    }

    pub(in crate::upgrade) fn add_handle(&self) {
        self.state().handles += 1;
    }

    /// Notes that a handle is gone; with the last one go the streams that nobody will accept.
    pub(in crate::upgrade) fn drop_handle(&self) {
        let unclaimed = {
            let mut state = self.state();
            state.handles = state.handles.saturating_sub(1);
            if state.handles > 0 {
                return;
            }
            mem::take(&mut state.ready)
        };
        drop(unclaimed);
        self.wake_driver();
    }

    /// Takes a place for a stream, if there is one and the session goes on.
    pub(in crate::upgrade) fn take_place(
        self: &Arc<Self>,
        direction: Direction,
    ) -> Result<Place, Option<SessionError>> {
        let mut state = self.state();
        if let Some(ended) = state.ended.clone() {
            return Err(Some(ended));
        }
        if state.closing {
            return Err(Some(SessionError::Closed));
        }
        match state.streams.get_mut(direction as usize) {
            Some(streams) if *streams < self.limits.max_streams => *streams += 1,
            _ => return Err(None),
        }
        Ok(Place { shared: Arc::clone(self), direction })
    }

    /// Asks the driver for a stream.
    pub(in crate::upgrade) fn ask(&self) -> Arc<Opening> {
        let opening = Opening::new();
        self.state().opens.push_back(Arc::clone(&opening));
        self.wake_driver();
        opening
    }

    /// The stream asked for, when it is there.
    pub(in crate::upgrade) async fn opened(&self, opening: &Opening) -> Result<yamux::Stream, SessionError> {
        // The driver wakes the opening's own waker; the ticket's is for the end of the session.
        let mut ticket = Ticket { shared: self, number: None };
        poll_fn(|cx| match opening.take(cx.waker()) {
            Some(stream) => Poll::Ready(Ok(stream)),
            None => ticket.poll(cx, |state| state.ended.clone().map(Err)),
        })
        .await
    }

    /// The next inbound stream.
    pub(in crate::upgrade) async fn accepted(&self) -> Result<Stream, SessionError> {
        self.wait(|state| match state.ready.pop_front() {
            Some(stream) => Some(Ok(stream)),
            None => state.ended.clone().map(Err),
        })
        .await
    }

    /// The reason for which the session ended, when the driver is done too.
    pub(in crate::upgrade) async fn finished(&self) -> SessionError {
        self.wait(|state| state.ended.clone().filter(|_| state.finished)).await
    }

    /// What is looked for in the state, when it is there.
    async fn wait<T>(&self, mut look: impl FnMut(&mut State) -> Option<T>) -> T {
        let mut ticket = Ticket { shared: self, number: None };
        poll_fn(|cx| ticket.poll(cx, &mut look)).await
    }

    pub(in crate::upgrade) fn ended(&self) -> Option<SessionError> {
        self.state().ended.clone()
    }

    pub(in crate::upgrade) fn close(&self) {
        self.state().closing = true;
        self.wake_driver();
    }
}

impl State {
    fn count(&self) -> usize {
        self.streams.iter().sum()
    }
}

/// A future's place among those that wait for a change of the state; dropping it gives the place up.
struct Ticket<'a> {
    shared: &'a Shared,
    number: Option<u64>,
}

impl Ticket<'_> {
    fn poll<T>(&mut self, cx: &Context<'_>, mut look: impl FnMut(&mut State) -> Option<T>) -> Poll<T> {
        let mut state = self.shared.state();
        if let Some(found) = look(&mut state) {
            return Poll::Ready(found);
        }
        let number = *self.number.get_or_insert_with(|| {
            state.last_ticket = state.last_ticket.wrapping_add(1);
            state.last_ticket
        });
        let before = state.waiting.insert(number, cx.waker().clone());
        drop(state);
        drop(before);
        Poll::Pending
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            let waker = self.shared.state().waiting.remove(&number);
            drop(waker);
        }
    }
}

/// For the driver.
impl Shared {
    /// Begins a poll of the driver: from here on whoever wants something of it wakes this task.
    pub(in crate::upgrade) fn begin_poll(&self, waker: &Waker) {
        self.driver_polls.fetch_add(1, Ordering::Relaxed);
        let mut state = self.state();
        let before = match &mut state.driver {
            Some(known) if known.will_wake(waker) => None,
            place => place.replace(waker.clone()),
        };
        drop(state);
        drop(before);
    }

    /// The next stream to open, past those that nobody waits for any longer.
    pub(in crate::upgrade) fn next_open(&self) -> Option<Arc<Opening>> {
        let mut dropped = Vec::new();
        let mut state = self.state();
        while let Some(opening) = state.opens.front() {
            if Arc::strong_count(opening) > 1 {
                return Some(Arc::clone(opening));
            }
            dropped.extend(state.opens.pop_front());
        }
        None
    }

    /// The stream asked for first is there.
    pub(in crate::upgrade) fn opened_next(&self) {
        let opening = self.state().opens.pop_front();
        drop(opening);
    }

    /// Begins to watch what becomes of a stream.
    pub(in crate::upgrade) fn watch(&self, stream: u32) -> Arc<Fate> {
        let fate = Arc::<Fate>::default();
        let mut state = self.state();
        if state.born_finished == Some(stream) {
            state.born_finished = None;
            fate.finished.store(true, Ordering::Release);
        }
        state.fates.insert(stream, Arc::clone(&fate));
        fate
    }

    /// Hands an inbound stream to whoever accepts it next, or drops it if nobody can.
    pub(in crate::upgrade) fn deliver(&self, stream: Stream) {
        let mut state = self.state();
        if state.handles == 0 {
            drop(state);
            drop(stream);
            return;
        }
        state.ready.push_back(stream);
        let waiting = mem::take(&mut state.waiting);
        drop(state);
        waiting.into_values().for_each(Waker::wake);
    }

    /// Whether somebody could accept a stream.
    pub(in crate::upgrade) fn has_handles(&self) -> bool {
        self.state().handles > 0
    }

    /// Whether the session is to be closed: it was asked to, or nobody can use it any longer.
    pub(in crate::upgrade) fn is_closing(&self) -> bool {
        let state = self.state();
        state.closing || (state.handles == 0 && state.count() == 0)
    }

    /// The session is over for its handles and streams.
    pub(in crate::upgrade) fn end(&self, reason: SessionError) {
        self.over.store(true, Ordering::SeqCst);
        let (waiting, asking, fates, opens) = {
            let mut state = self.state();
            state.ended.get_or_insert(reason);
            let (waiting, asking) = (mem::take(&mut state.waiting), mem::take(&mut state.asking));
            (waiting, asking, mem::take(&mut state.fates), mem::take(&mut state.opens))
        };
        drop(opens);
        waiting.into_values().chain(asking).for_each(Waker::wake);
        fates.into_values().for_each(|fate| fate.wake());
    }

    /// The driver is done, and with it everything.
    pub(in crate::upgrade) fn finish(&self, reason: SessionError) {
        self.end(reason);
        let waiting = {
            let mut state = self.state();
            state.finished = true;
            state.driver = None;
            mem::take(&mut state.waiting)
        };
        waiting.into_values().for_each(Waker::wake);
    }

    /// The code of the GoAway that told the peer of its violation.
    pub(in crate::upgrade) fn violation(&self) -> Option<u32> {
        Some(self.violated.load(Ordering::Relaxed)).filter(|&code| code != NONE)
    }

    /// The code of the peer's GoAway.
    pub(in crate::upgrade) fn gone(&self) -> Option<u32> {
        Some(self.gone.load(Ordering::Relaxed)).filter(|&code| code != NONE)
    }

    /// The GoAway that ends the session is to tell the peer that it broke the rules.
    pub(in crate::upgrade) fn blame(&self) {
        self.blame.store(true, Ordering::Relaxed);
    }
}

/// A stream's place among those that may be open.
pub(in crate::upgrade) struct Place {
    pub(in crate::upgrade) shared: Arc<Shared>,
    direction: Direction,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        if let Some(streams) = state.streams.get_mut(self.direction as usize) {
            *streams = streams.saturating_sub(1);
        }
        let last = state.handles == 0 && state.count() == 0;
        drop(state);
        if last {
            self.shared.wake_driver();
        }
    }
}
