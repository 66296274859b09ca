//! A scripted other end for this module's tests.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_lite::{AsyncRead, AsyncWrite};

/// What comes after the script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// The end of the connection.
    Eof,
    /// Nothing, for ever.
    Silence,
    /// Zeros without end.
    Flood,
    /// An IO error of this kind.
    Error(io::ErrorKind),
}

type Respond = Box<dyn FnOnce(&str) -> Vec<Vec<u8>> + Send>;

/// A connection whose every other poll is `Pending`, and that takes seven bytes a write.
pub(super) struct Wire {
    input: VecDeque<Vec<u8>>,
    then: Then,
    respond: Option<Respond>,
    pause: bool,
    /// Everything that was written.
    pub(super) output: Vec<u8>,
    /// How much of it was flushed.
    pub(super) flushed: usize,
    /// Whether the write half was shut.
    pub(super) closed: bool,
    /// Bytes and calls of `poll_read`, those that were `Pending` aside.
    pub(super) received: usize,
    pub(super) reads: usize,
}

impl Wire {
    /// Sends the pieces, one a read, then what is asked for.
    pub(super) fn new(pieces: impl IntoIterator<Item = impl Into<Vec<u8>>>, then: Then) -> Self {
        let input = pieces.into_iter().map(Into::into).filter(|piece: &Vec<u8>| !piece.is_empty()).collect();
        Wire {
            input,
            then,
            respond: None,
            pause: false,
            output: Vec::new(),
            flushed: 0,
            closed: false,
            received: 0,
            reads: 0,
        }
    }

    /// Sends what `respond` makes of the request, which must be flushed before the first read.
    pub(super) fn responding(respond: impl FnOnce(&str) -> Vec<Vec<u8>> + Send + 'static, then: Then) -> Self {
        Wire { respond: Some(Box::new(respond)), ..Wire::new([[]; 0], then) }
    }

    pub(super) fn text(&self) -> &str {
        std::str::from_utf8(&self.output).expect("text")
    }

    /// How many bytes of the script were not read.
    pub(super) fn input_left(&self) -> usize {
        self.input.iter().map(Vec::len).sum()
    }

    fn pauses(&mut self, cx: &mut Context<'_>) -> bool {
        self.pause = !self.pause;
        if self.pause {
            cx.waker().wake_by_ref();
        }
        self.pause
    }
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        assert!(!buf.is_empty(), "a read into nothing looks like the end");
        if self.pauses(cx) {
            return Poll::Pending;
        }
        if let Some(respond) = self.respond.take() {
            assert_eq!(self.flushed, self.output.len());
            self.input = respond(self.text()).into();
        }
        let Some(mut piece) = self.input.pop_front() else {
            return match self.then {
                Then::Eof => Poll::Ready(Ok(0)),
                Then::Silence => Poll::Pending,
                Then::Flood => {
                    self.reads += 1;
                    self.received += buf.len();
                    Poll::Ready(Ok(buf.len()))
                }
                Then::Error(kind) => Poll::Ready(Err(kind.into())),
            };
        };
        let n = piece.len().min(buf.len());
        buf[..n].copy_from_slice(&piece[..n]);
        let rest = piece.split_off(n);
        if !rest.is_empty() {
            self.input.push_front(rest);
        }
        self.reads += 1;
        self.received += n;
        Poll::Ready(Ok(n))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        assert!(!self.closed, "written after close");
        if self.pauses(cx) {
            return Poll::Pending;
        }
        let n = buf.len().min(7);
        self.output.extend_from_slice(&buf[..n]);
        Poll::Ready(Ok(n))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.pauses(cx) {
            return Poll::Pending;
        }
        self.flushed = self.output.len();
        Poll::Ready(Ok(()))
    }

    fn poll_close(mut self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.closed = true;
        Poll::Ready(Ok(()))
    }
}
