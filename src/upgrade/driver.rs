//! `Driver`: the future in which a session's work is done.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use futures_lite::future;

use super::error::{SessionError, is_negotiation};
use super::inbound::{Negotiations, Patience};
use super::limits;
use super::link::Link;
use super::security::BoxedIo;
use super::shared::{Direction, Shared};
use super::substream::Substream;
use crate::deadline::{Deadline, TimedOut};

/// The work of a session: a future for the caller to run, in a task of its own or beside the code that uses the session.
///
/// It resolves when the session has ended: `Ok` if that was in order, by [`Session::close`](super::Session::close), by
/// the last handle and stream being dropped, or by the peer's GoAway or the end of the byte stream; the reason
/// otherwise. Dropping it ends the session at once and drops the byte stream. Polling it after its end gives the same
/// again.
#[must_use = "a session does nothing unless its driver is polled"]
pub struct Driver {
    /// `None` when the session is over.
    connection: Option<yamux::Connection<Link<BoxedIo>>>,
    shared: Arc<Shared>,
    protocols: Arc<[String]>,
    negotiations: Negotiations,
    patience: Patience,
    /// Resolves when the upgrade's time is up; `None` once the peer's muxer has spoken.
    upgrade_expired: Option<Expired>,
    /// Why the session is being closed, and when that has to be done.
    closing: Option<(SessionError, Expired)>,
    ended: Option<SessionError>,
}

/// Resolves when a deadline has passed.
type Expired = Pin<Box<dyn Future<Output = TimedOut> + Send + Sync>>;

fn expired(deadline: Deadline) -> Expired {
    Box::pin(async move {
        loop {
            if let Err(late) = deadline.run(future::pending::<()>()).await {
                return late;
            }
        }
    })
}

impl Driver {
    pub(super) fn new(
        io: BoxedIo,
        mode: yamux::Mode,
        shared: Arc<Shared>,
        protocols: Arc<[String]>,
        deadline: Deadline,
    ) -> Self {
        let link = Link::new(io, Arc::clone(&shared));
        let config = limits::muxer(shared.limits.window_growth);
        Driver {
            connection: Some(yamux::Connection::new(link, config, mode)),
            shared,
            protocols,
            negotiations: Negotiations::new(),
            patience: Patience::new(Instant::now()),
            upgrade_expired: Some(expired(deadline)),
            closing: None,
            ended: None,
        }
    }

    /// Works until there is nothing to do, or the session has ended.
    fn poll_work(&mut self, cx: &mut Context<'_>) -> Poll<SessionError> {
        loop {
            if self.closing.is_some() {
                return self.poll_closing(cx);
            }
            if !self.shared.has_handles() {
                self.negotiations.clear();
            }
            if self.shared.is_closing() {
                self.begin_closing(SessionError::Closed);
                continue;
            }
            if let Poll::Ready(reason) = self.poll_opens(cx) {
                return Poll::Ready(reason);
            }
            let Some(connection) = &mut self.connection else { return Poll::Ready(SessionError::Closed) };
            match connection.poll_next_inbound(cx) {
                Poll::Ready(Some(Ok(stream))) => {
                    self.inbound(stream);
                    continue;
                }
                Poll::Ready(Some(Err(error))) => return Poll::Ready(self.reason(error)),
                Poll::Ready(None) => return Poll::Ready(self.reason(yamux::ConnectionError::Closed)),
                Poll::Pending => {}
            }
            if let Some(code) = self.shared.violation() {
                self.begin_closing(SessionError::Violation(code));
                continue;
            }
            if let Poll::Ready(negotiated) = self.negotiations.poll_next(cx) {
                match negotiated {
                    Some(stream) => self.shared.deliver(stream),
                    None => self.came_to_nothing(),
                }
                continue;
            }
            return self.poll_unconfirmed(cx);
        }
    }

    /// Opens the streams that were asked for.
    fn poll_opens(&mut self, cx: &mut Context<'_>) -> Poll<SessionError> {
        let Some(connection) = &mut self.connection else { return Poll::Pending };
        while let Some(opening) = self.shared.next_open() {
            match ready!(connection.poll_new_outbound(cx)) {
                Ok(stream) => {
                    self.shared.opened_next();
                    opening.fulfil(stream);
                }
                Err(error) => return Poll::Ready(self.reason(error)),
            }
        }
        Poll::Pending
    }

    /// The peer has opened a stream.
    fn inbound(&mut self, stream: yamux::Stream) {
        let place = match self.shared.has_handles() {
            true => self.shared.take_place(Direction::Inbound).ok(),
            false => None,
        };
        match place {
            Some(place) => {
                let stream = Substream::new(place, stream);
                self.negotiations.push(stream, Arc::clone(&self.protocols), self.shared.limits.stream_timeout);
            }
            None => {
                drop(stream);
                self.came_to_nothing();
            }
        }
    }

    /// A stream of the peer was refused, or nothing came of it.
    fn came_to_nothing(&mut self) {
        if !self.patience.try_one_more(Instant::now()) {
            self.shared.blame();
            self.begin_closing(SessionError::Flood);
        }
    }

    /// Watches the upgrade's deadline until the peer's muxer has spoken.
    fn poll_unconfirmed(&mut self, cx: &mut Context<'_>) -> Poll<SessionError> {
        if self.shared.is_confirmed() {
            self.upgrade_expired = None;
        }
        match &mut self.upgrade_expired {
            Some(expired) => expired.as_mut().poll(cx).map(SessionError::TimedOut),
            None => Poll::Pending,
        }
    }

    fn begin_closing(&mut self, reason: SessionError) {
        self.closing.get_or_insert_with(|| (reason, expired(Deadline::after(limits::CLOSE_TIMEOUT))));
    }

    fn poll_closing(&mut self, cx: &mut Context<'_>) -> Poll<SessionError> {
        let (Some((reason, expired)), Some(connection)) = (&mut self.closing, &mut self.connection) else {
            return Poll::Ready(SessionError::Closed);
        };
        let closed = connection.poll_close(cx);
        // Only now does the muxer tell its streams that nothing more can be written.
        self.negotiations.clear();
        self.shared.end(reason.clone());
        match closed {
            Poll::Ready(Ok(())) => Poll::Ready(reason.clone()),
            Poll::Ready(Err(error)) => Poll::Ready(match reason {
                SessionError::Closed => SessionError::Connection(Arc::new(error)),
                _ => reason.clone(),
            }),
            Poll::Pending => expired.as_mut().poll(cx).map(|late| match reason {
                SessionError::Closed => SessionError::TimedOut(late),
                _ => reason.clone(),
            }),
        }
    }

    /// Why the muxer has ended.
    fn reason(&self, error: yamux::ConnectionError) -> SessionError {
        match error {
            yamux::ConnectionError::Closed => match self.shared.gone() {
                None | Some(0) => SessionError::Closed,
                Some(code) => SessionError::GoneAway(code),
            },
            error if !self.shared.is_confirmed() && is_negotiation(&error) => SessionError::NoMuxer,
            error => SessionError::Connection(Arc::new(error)),
        }
    }

    /// The session is over: nothing below is needed any more.
    fn end(&mut self, reason: SessionError) {
        self.connection = None;
        self.negotiations.clear();
        self.shared.finish(reason.clone());
        self.upgrade_expired = None;
        self.closing = None;
        self.ended = Some(reason);
    }
}

impl Future for Driver {
    type Output = Result<(), SessionError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if this.ended.is_none() {
            this.shared.begin_poll(cx.waker());
            let reason = ready!(this.poll_work(cx));
            this.end(reason);
        }
        Poll::Ready(match &this.ended {
            None | Some(SessionError::Closed) => Ok(()),
            Some(reason) => Err(reason.clone()),
        })
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        if self.ended.is_none() {
            self.end(SessionError::Closed);
        }
    }
}

impl fmt::Debug for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver").field("peer", &self.shared.peer).field("ended", &self.ended).finish_non_exhaustive()
    }
}
