//! An asynchronous IO with the face of a non-blocking one.

use std::io::{self, Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use futures_lite::{AsyncRead, AsyncWrite};

use super::outbox::{Outbox, Stage};

/// The IO as native-tls calls it: `Read` and `Write` that say `WouldBlock`, and wake whoever called.
#[derive(Debug)]
pub(super) struct Blocking<IO> {
    outbox: Outbox<IO>,
    callers: Callers,
}

/// The wakers of reader and writer, kept, for a borrowed `Context` cannot be. Two, which saves cloning them whenever the
/// tasks that hold the halves of a split stream take turns.
#[derive(Debug)]
struct Callers {
    reader: Waker,
    writer: Waker,
}

impl Callers {
    fn at(&mut self, stage: Stage) -> &mut Waker {
        match stage {
            Stage::Reading => &mut self.reader,
            Stage::Handshaking | Stage::Writing | Stage::Gathering => &mut self.writer,
        }
    }
}

impl<IO> Blocking<IO> {
    pub(super) fn new(outbox: Outbox<IO>) -> Self {
        let nobody = Waker::noop();
        Blocking { outbox, callers: Callers { reader: nobody.clone(), writer: nobody.clone() } }
    }

    pub(super) fn io(&self) -> &IO {
        self.outbox.io()
    }

    pub(super) fn outbox(&mut self) -> &mut Outbox<IO> {
        &mut self.outbox
    }

    /// Says what the library will be called for next, and by whom; goes before every call.
    pub(super) fn enter(&mut self, stage: Stage, cx: &mut Context<'_>) {
        self.outbox.enter(stage);
        // Does nothing if it is the same task's.
        self.callers.at(stage).clone_from(cx.waker());
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Blocking<IO> {
    fn poll_with<T>(
        &mut self,
        poll: impl FnOnce(Pin<&mut Outbox<IO>>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> io::Result<T> {
        let caller = self.callers.at(self.outbox.stage());
        match poll(Pin::new(&mut self.outbox), &mut Context::from_waker(caller)) {
            Poll::Ready(result) => result,
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Read for Blocking<IO> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.poll_with(|outbox, cx| outbox.poll_read(cx, buf))
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Write for Blocking<IO> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.poll_with(|outbox, cx| outbox.poll_write(cx, buf))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.poll_with(|outbox, cx| outbox.poll_flush(cx))
    }
}
