//! `Connections`: many handshakes in one task.

use std::fmt;
use std::future::IntoFuture;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_lite::Stream;

use super::Listener;
use crate::Connection;
use crate::crowd::Crowd;
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
    handshakes: Crowd<Result<Connection, Error>>,
}

impl Connections {
    pub(super) fn new(listener: Listener) -> Self {
        Connections { listener, at_once: AT_ONCE, handshakes: Crowd::new() }
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
            self.handshakes.push(incoming?.into_future());
        }
        Ok(())
    }
}

impl Stream for Connections {
    type Item = Result<Connection, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Poll::Ready(done) = self.handshakes.poll_next(cx) {
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

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connections")
            .field("listener", &self.listener)
            .field("at_once", &self.at_once)
            .field("handshakes", &self.handshakes.len())
            .finish_non_exhaustive()
    }
}
