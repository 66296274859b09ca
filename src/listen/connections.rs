//! `Connections`: many handshakes in one task.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use futures_lite::Stream;

use super::Listener;
use crate::Connection;
use crate::error::Error;

/// Default number of handshakes that run at a time.
const AT_ONCE: usize = 16;

/// A stream of connections that are ready to use, which accepts and shakes hands as it is polled; nothing is spawned.
///
/// At most 16 handshakes run at a time, or as many as [`with_handshakes`](Self::with_handshakes) says. While that many
/// are under way none is accepted, and further clients wait in the kernel's queue; as each handshake has a deadline,
/// silent clients hold a place for 15 s at most by default. Who expects attackers gives more places, or runs each
/// [`Incoming`](super::Incoming) in a task of its own.
///
/// A handshake that failed is an `Err` with the client's address, and a listening socket that failed one of
/// [`Phase::Listen`](crate::Phase::Listen); neither ends the stream, which has no end. Handshakes stand still while
/// nobody polls. Dropping it closes the listener and the connections under way.
///
/// ```no_run
/// # async fn run() -> Result<(), ws_transport::Error> {
/// use futures_lite::StreamExt;
/// use ws_transport::Listener;
///
/// let mut connections = Listener::bind("/ip4/127.0.0.1/tcp/8080/ws").await?.connections();
/// while let Some(connection) = connections.next().await {
///     match connection {
///         Ok(connection) => println!("{connection:?}"),
///         Err(error) => eprintln!("{error}"),
///     }
/// }
/// # Ok(())
/// # }
/// ```
pub struct Connections {
    listener: Listener,
    /// At least 1.
    at_once: usize,
    handshakes: Vec<Handshake>,
    /// The waker of the task that polls us.
    task: Arc<Mutex<Waker>>,
}

impl Connections {
    pub(super) fn new(listener: Listener) -> Self {
        let task = Arc::new(Mutex::new(Waker::noop().clone()));
        Connections { listener, at_once: AT_ONCE, handshakes: Vec::new(), task }
    }

    /// Most handshakes that run at a time; at least 1.
    pub fn with_handshakes(mut self, at_once: usize) -> Self {
        self.at_once = at_once.max(1);
        self
    }

    /// The listener, to ask for its addresses.
    pub fn listener(&self) -> &Listener {
        &self.listener
    }

    /// Starts handshakes until all places are taken or nobody waits.
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Result<(), Error> {
        while self.handshakes.len() < self.at_once {
            let Poll::Ready(incoming) = self.listener.poll_accept(cx) else { break };
            let bell = Arc::new(Bell { rung: AtomicBool::new(true), task: self.task.clone() });
            self.handshakes.push(Handshake { work: incoming?.into_future(), bell });
        }
        Ok(())
    }

    /// Goes on with the handshakes whose bell has rung, up to the first that ends.
    fn poll_handshakes(&mut self) -> Poll<Result<Connection, Error>> {
        for i in 0..self.handshakes.len() {
            let Some(handshake) = self.handshakes.get_mut(i) else { break };
            if !handshake.bell.rung.swap(false, Ordering::AcqRel) {
                continue;
            }
            let waker = Waker::from(handshake.bell.clone());
            let polled = handshake.work.as_mut().poll(&mut Context::from_waker(&waker));
            if polled.is_ready() {
                self.handshakes.remove(i);
                return polled;
            }
        }
        Poll::Pending
    }
}

impl Stream for Connections {
    type Item = Result<Connection, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        // Before any bell is looked at: one that rings from here on wakes this task.
        self.task.lock().unwrap_or_else(PoisonError::into_inner).clone_from(cx.waker());
        loop {
            if let Poll::Ready(done) = self.poll_handshakes() {
                return Poll::Ready(Some(done));
            }
            let before = self.handshakes.len();
            if let Err(error) = self.poll_accept(cx) {
                return Poll::Ready(Some(Err(error)));
            }
            // Those accepted just now are to be polled; the rest, and a listener with places free, hold a waker.
            if self.handshakes.len() == before {
                return Poll::Pending;
            }
        }
    }
}

/// A handshake under way, polled only when it was woken: with many silent clients, one that speaks costs one poll.
struct Handshake {
    work: Pin<Box<dyn Future<Output = Result<Connection, Error>> + Send>>,
    bell: Arc<Bell>,
}

/// Remembers that its handshake was woken, and wakes the task of the stream.
struct Bell {
    rung: AtomicBool,
    task: Arc<Mutex<Waker>>,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.rung.swap(true, Ordering::AcqRel) {
            let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).clone();
            task.wake();
        }
    }
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connections")
            .field("listener", &self.listener)
            .field("at_once", &self.at_once)
            .field("handshakes", &self.handshakes.len())
            .finish_non_exhaustive()
    }
}
