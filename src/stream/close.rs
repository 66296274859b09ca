//! Closing in bounded time, whatever the peer does.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_lite::{AsyncRead, AsyncWrite};

use super::WsStream;
use super::fault::ReadEnd;
use crate::config::{DRAIN_BYTES, DRAIN_TIME};
use crate::deadline::TimedOut;
use crate::pool;
use crate::proto::CloseCode;
use crate::sleep::Sleep;

/// Bytes per read of what is thrown away after a violation.
const DRAIN_READ: usize = 16 * 1024;

/// Reads per poll of those.
const DRAIN_READS_PER_POLL: u32 = 64;

/// How far closing has come.
///
/// ```text
/// Open -> Sending -> ShuttingDown --------------> Done
///            |            |  `-> Discarding -----^      (after a violation)
///            `------------`-> Failed                    (the IO's error, or TimedOut)
/// ```
#[derive(Debug)]
pub(super) enum Closing {
    Open {
        /// Longest time that sending may take.
        timeout: Duration,
    },
    /// Boxed: a connection is closed once, and is idle for much longer.
    Running(Box<Running>),
    Done,
    /// The output keeps the error.
    Failed,
}

#[derive(Debug)]
pub(super) struct Running {
    step: Step,
    timeout: Duration,
    timer: Sleep,
    /// Whether the Close is all that is to be sent: then a peer that is gone already is no loss.
    nothing_unsent: bool,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    /// Sends what is buffered and the Close.
    Sending,
    /// Shuts the IO's write half down.
    ShuttingDown,
    /// Reads and throws away at most so many bytes.
    Discarding(usize),
}

impl<IO: AsyncRead + AsyncWrite + Unpin> WsStream<IO> {
    pub(super) fn poll_closing(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Closing::Open { timeout } = self.state.closing {
            let nothing_unsent = !self.state.output.holds_data();
            self.owe_close(CloseCode::NORMAL.into());
            let (step, timer) = (Step::Sending, Sleep::after(timeout));
            self.state.closing = Closing::Running(Box::new(Running { step, timeout, timer, nothing_unsent }));
        }
        loop {
            let step = match &self.state.closing {
                Closing::Running(running) => running.step,
                Closing::Open { .. } | Closing::Done => return Poll::Ready(Ok(())),
                Closing::Failed => return Poll::Ready(self.state.output.check_io()),
            };
            let polled = match step {
                Step::Sending => self.poll_send(cx, true),
                Step::ShuttingDown => {
                    Pin::new(&mut self.io).poll_close(cx).map_err(|error| self.state.output.fail(error))
                }
                Step::Discarding(left) => self.poll_discard(cx, left).map(Ok),
            };
            match polled {
                Poll::Ready(Ok(())) => self.next_step(step),
                Poll::Ready(Err(error)) => return Poll::Ready(self.close_failed(error)),
                Poll::Pending => return self.poll_close_timeout(cx, step),
            }
        }
    }

    fn next_step(&mut self, done: Step) {
        let Closing::Running(running) = &mut self.state.closing else { return };
        match done {
            Step::Sending => {
                running.step = Step::ShuttingDown;
                running.nothing_unsent = true;
            }
            Step::ShuttingDown if matches!(self.state.input.end(), Some(ReadEnd::Violated(_))) => {
                running.step = Step::Discarding(DRAIN_BYTES);
                running.timer = Sleep::after(DRAIN_TIME.min(running.timeout));
            }
            Step::ShuttingDown | Step::Discarding(_) => self.state.closing = Closing::Done,
        }
    }

    /// The peer may have gone after its own end of the stream: that is an error only if it missed data.
    fn close_failed(&mut self, error: io::Error) -> io::Result<()> {
        let harmless = matches!(&self.state.closing, Closing::Running(running) if running.nothing_unsent)
            && self.state.output.is_disconnected();
        if harmless {
            self.state.closing = Closing::Done;
            return Ok(());
        }
        self.state.closing = Closing::Failed;
        Err(error)
    }

    fn poll_close_timeout(&mut self, cx: &mut Context<'_>, step: Step) -> Poll<io::Result<()>> {
        let Closing::Running(running) = &mut self.state.closing else { return Poll::Pending };
        if Pin::new(&mut running.timer).poll(cx).is_pending() {
            return Poll::Pending;
        }
        self.state.wakers.unpark_writer();
        if let Step::Discarding(_) = step {
            self.state.closing = Closing::Done;
            return Poll::Ready(Ok(()));
        }
        let after = running.timeout;
        // The kernel sends what it has and then a FIN; it is asked once and not waited for.
        let _ = Pin::new(&mut self.io).poll_close(cx);
        self.state.closing = Closing::Failed;
        Poll::Ready(Err(self.state.output.fail(TimedOut { after }.into())))
    }

    /// Reads and throws away until the end, an error, or so many bytes.
    fn poll_discard(&mut self, cx: &mut Context<'_>, mut left: usize) -> Poll<()> {
        let mut buf = pool::take(DRAIN_READ);
        let mut reads = 0;
        let polled = loop {
            if reads == DRAIN_READS_PER_POLL {
                cx.waker().wake_by_ref();
                break Poll::Pending;
            }
            reads += 1;
            match Pin::new(&mut self.io).poll_read(cx, &mut buf) {
                Poll::Ready(Ok(len)) if len > 0 && len < left => left -= len,
                Poll::Ready(_) => break Poll::Ready(()),
                Poll::Pending => break Poll::Pending,
            }
        };
        pool::give(buf);
        if let Closing::Running(running) = &mut self.state.closing {
            running.step = Step::Discarding(left);
        }
        polled
    }
}
