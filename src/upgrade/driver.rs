//! `Driver`: the future in which a session's work is done.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::error::SessionError;

/// The work of a session: a future for the caller to run, in a task of its own or beside the code that uses the session.
///
/// It resolves when the session has ended: `Ok` if that was in order, by [`Session::close`](super::Session::close), by
/// the last handle and stream being dropped, or by the peer's GoAway or the end of the byte stream; the reason
/// otherwise. Dropping it ends the session at once and drops the byte stream. Polling it after its end gives the same
/// again.
#[must_use = "a session does nothing unless its driver is polled"]
#[derive(Debug)]
pub struct Driver {
    _private: (),
}

impl Future for Driver {
    type Output = Result<(), SessionError>;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        todo!()
    }
}
