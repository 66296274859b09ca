//! Who waits for the IO: a reader, a writer, or two tasks that share one stream.
//!
//! An IO remembers one waker per direction. A reader that has to send (a Pong, or what the writer left in the buffer)
//! would steal the writer's, and a writer that looks for Pings would steal the reader's. Where both may be waiting, the
//! IO is given a [`Signal`] that wakes the two.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Wake, Waker};

/// The two tasks that may wait, in whichever way a stream is shared between them.
#[derive(Debug, Default)]
pub(super) struct Wakers {
    /// The task whose read has to wait.
    reader: Option<Waker>,
    /// The task whose write, flush or close has to wait.
    writer: Option<Waker>,
    /// Made when first needed: a stream that one task reads and writes never does.
    signal: Option<Arc<Signal>>,
}

/// Wakes reader and writer, and remembers that it did.
#[derive(Debug, Default)]
struct Signal {
    fired: AtomicBool,
    /// Reader and writer.
    tasks: Mutex<[Option<Waker>; 2]>,
}

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.fired.store(true, Ordering::Release);
        // Not while holding the lock: waking may poll at once, and so come back here.
        let tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner).clone();
        tasks.into_iter().flatten().for_each(Waker::wake);
    }
}

impl Wakers {
    /// Notes that the reader has to wait.
    pub(super) fn park_reader(&mut self, cx: &Context<'_>) {
        park(&mut self.reader, cx);
    }

    /// Notes that the writer has to wait.
    pub(super) fn park_writer(&mut self, cx: &Context<'_>) {
        park(&mut self.writer, cx);
    }

    /// Notes that the writer does not wait any more.
    pub(super) fn unpark_writer(&mut self) {
        self.writer = None;
    }

    /// Notes that the reader does not wait any more. Its waker would keep the memory of a task that has ended.
    pub(super) fn unpark_reader(&mut self) {
        self.reader = None;
    }

    /// Whether a writer waits in another task than this one.
    pub(super) fn other_writer_waits(&self, cx: &Context<'_>) -> bool {
        self.writer.as_ref().is_some_and(|writer| !writer.will_wake(cx.waker()))
    }

    /// Whether the last waiting reader is another task than this one.
    pub(super) fn other_reader_waits(&self, cx: &Context<'_>) -> bool {
        self.reader.as_ref().is_some_and(|reader| !reader.will_wake(cx.waker()))
    }

    /// Wakes the writer: a reader has made room for it.
    pub(super) fn wake_writer(&mut self) {
        if let Some(writer) = self.writer.take() {
            writer.wake();
        }
    }

    /// Wakes the reader: a writer has found something for it.
    pub(super) fn wake_reader(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }

    /// A waker for both tasks as they were last parked.
    pub(super) fn both(&mut self) -> Waker {
        let signal = self.signal.get_or_insert_default();
        *signal.tasks.lock().unwrap_or_else(PoisonError::into_inner) = [self.reader.clone(), self.writer.clone()];
        Waker::from(Arc::clone(signal))
    }

    /// As [`both`](Self::both), with its memory of having fired wiped.
    pub(super) fn both_afresh(&mut self) -> Waker {
        let waker = self.both();
        if let Some(signal) = &self.signal {
            signal.fired.store(false, Ordering::Release);
        }
        waker
    }

    /// Brings the tasks that the signal wakes up to date, if there is one.
    pub(super) fn refresh(&mut self) {
        if self.signal.is_some() {
            self.both();
        }
    }

    /// Whether the signal has fired since it was last made afresh.
    pub(super) fn has_fired(&self) -> bool {
        self.signal.as_ref().is_none_or(|signal| signal.fired.load(Ordering::Acquire))
    }
}

fn park(slot: &mut Option<Waker>, cx: &Context<'_>) {
    match slot {
        Some(waker) => waker.clone_from(cx.waker()),
        None => *slot = Some(cx.waker().clone()),
    }
}
