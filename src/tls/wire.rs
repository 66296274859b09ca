//! The IO below TLS, with the manners that both backends need.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_lite::{AsyncRead, AsyncWrite};

/// An IO that TLS runs over.
///
/// A write that takes nothing is an error, rather than tried for ever. While shaking hands it does two things more:
///
/// * Reading first sends and flushes what was written, since the peer will not answer what it has not got. (futures-rustls
///   does not try a flush again that was `Pending`, and OpenSSL takes one for a failure.)
/// * A write that fails is not reported before what the peer has sent is read: there may be the alert that says why.
///
/// One that [holds](Self::new) sends nothing before it is read from. So the handshake's last messages stay here when it is
/// over, and leave together with what is written first: the client's `Finished` with its HTTP request, the server's
/// session tickets with its answer. That is one packet less each way.
#[derive(Debug)]
pub(super) struct Wire<IO> {
    io: IO,
    /// The IO took something after its last flush.
    unflushed: bool,
    /// `None` once the handshake is over and all of it has left.
    beginning: Option<Box<Beginning>>,
}

/// What there is to know until the handshake has left.
#[derive(Debug, Default)]
struct Beginning {
    /// Whether what is written is held back.
    holds: bool,
    /// Whether the handshake is over.
    over: bool,
    /// What is held back, the first `sent` bytes of which the IO took.
    held: Vec<u8>,
    sent: usize,
    /// How a write failed; nothing more is sent then.
    failed: Option<io::Error>,
}

impl Beginning {
    fn left(&self) -> &[u8] {
        self.held.get(self.sent..).unwrap_or_default()
    }
}

impl<IO> Wire<IO> {
    /// `holds`: whether what is written is held back until it is read from, or has more to send after the handshake.
    pub(super) fn new(io: IO, holds: bool) -> Self {
        Wire { io, unflushed: false, beginning: Some(Box::new(Beginning { holds, ..Beginning::default() })) }
    }

    pub(super) fn io(&self) -> &IO {
        &self.io
    }

    pub(super) fn io_mut(&mut self) -> &mut IO {
        &mut self.io
    }

    /// Ends the handshake, which has failed after all if a write has.
    pub(super) fn established(&mut self) -> io::Result<()> {
        let Some(beginning) = &mut self.beginning else { return Ok(()) };
        beginning.over = true;
        let failed = self.take_failure();
        self.forget_beginning();
        failed.map_or(Ok(()), Err)
    }

    fn take_failure(&mut self) -> Option<io::Error> {
        self.beginning.as_mut()?.failed.take()
    }

    /// Lets go of the handshake, if it is over, nothing of it is left, and nobody has to be told of a failure.
    fn forget_beginning(&mut self) {
        self.beginning = self.beginning.take().filter(|beginning| {
            let Beginning { over, failed, .. } = &**beginning;
            !over || failed.is_some() || !beginning.left().is_empty()
        });
    }

    /// Whether a write of `len` bytes, which ended so, may go on.
    fn written(&mut self, len: usize, written: io::Result<usize>) -> io::Result<usize> {
        match written {
            Ok(0) if len > 0 => Err(io::ErrorKind::WriteZero.into()),
            written => {
                self.unflushed = true;
                written
            }
        }
    }
}

impl<IO: AsyncWrite + Unpin> Wire<IO> {
    /// Sends what is held back, and flushes the IO. Until the handshake has left, a failure is kept for the reader.
    pub(super) fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.beginning.as_ref().is_some_and(|beginning| beginning.failed.is_some()) {
            return Poll::Ready(Ok(()));
        }
        let sent = ready!(self.poll_send_held(cx));
        let Some(beginning) = &mut self.beginning else { return Poll::Ready(sent) };
        if let Err(error) = sent {
            beginning.held.clear();
            beginning.failed.get_or_insert(error);
        }
        self.forget_beginning();
        Poll::Ready(Ok(()))
    }

    fn poll_send_held(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(failed) = self.take_failure() {
            return Poll::Ready(Err(failed));
        }
        while let Some(beginning) = &mut self.beginning
            && let rest @ [_, ..] = beginning.left()
        {
            let len = rest.len();
            let written = ready!(Pin::new(&mut self.io).poll_write(cx, rest));
            let taken = self.written(len, written)?;
            self.took(taken);
        }
        if self.unflushed {
            ready!(Pin::new(&mut self.io).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Counts bytes off what is held back; says how many were of what follows it.
    fn took(&mut self, taken: usize) -> usize {
        let Some(beginning) = &mut self.beginning else { return taken };
        let left = beginning.left().len();
        beginning.sent = beginning.sent.saturating_add(taken.min(left));
        if taken >= left {
            beginning.held.clear();
            beginning.sent = 0;
        }
        taken.saturating_sub(left)
    }

    /// Writes after the handshake, what is left of it first and in one with the rest.
    fn poll_write_after(&mut self, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        if let Some(failed) = self.take_failure() {
            return Poll::Ready(Err(failed));
        }
        let len = total(bufs);
        loop {
            let written = match &mut self.beginning {
                None => write_slices(&mut self.io, cx, bufs),
                Some(beginning) => {
                    let mut all = Vec::with_capacity(bufs.len().saturating_add(1));
                    all.push(IoSlice::new(beginning.left()));
                    all.extend_from_slice(bufs);
                    write_slices(&mut self.io, cx, &all)
                }
            };
            let taken = self.written(len, ready!(written))?;
            let taken = self.took(taken);
            self.forget_beginning();
            if taken > 0 || len == 0 {
                return Poll::Ready(Ok(taken));
            }
        }
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncRead for Wire<IO> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        if self.beginning.is_none() {
            return Pin::new(&mut self.io).poll_read(cx, buf);
        }
        // Pending leaves the same task's waker with the IO.
        _ = self.poll_send(cx)?;
        let read = Pin::new(&mut self.io).poll_read(cx, buf);
        if matches!(read, Poll::Ready(Ok(1..))) {
            return read;
        }
        self.take_failure().map_or(read, |failed| Poll::Ready(Err(failed)))
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Wire<IO> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.beginning.is_some() {
            return self.poll_write_vectored(cx, &[IoSlice::new(buf)]);
        }
        let written = ready!(Pin::new(&mut self.io).poll_write(cx, buf));
        Poll::Ready(self.written(buf.len(), written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let Some(beginning) = self.beginning.as_mut().filter(|beginning| !beginning.over) else {
            return self.poll_write_after(cx, bufs);
        };
        let len = total(bufs);
        if beginning.failed.is_some() {
            return Poll::Ready(Ok(len));
        }
        if beginning.holds {
            bufs.iter().for_each(|buf| beginning.held.extend_from_slice(buf));
            return Poll::Ready(Ok(len));
        }
        let written = ready!(write_slices(&mut self.io, cx, bufs));
        match (self.written(len, written), &mut self.beginning) {
            (Err(error), Some(beginning)) => {
                beginning.failed = Some(error);
                Poll::Ready(Ok(len))
            }
            (written, _) => Poll::Ready(written),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &self.beginning {
            Some(beginning) if !beginning.over && beginning.holds => Poll::Ready(Ok(())),
            Some(beginning) if !beginning.over => self.poll_send(cx),
            _ => {
                ready!(self.poll_send_held(cx))?;
                self.forget_beginning();
                Poll::Ready(Ok(()))
            }
        }
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send_held(cx))?;
        Pin::new(&mut self.io).poll_close(cx)
    }
}

/// Bytes in all slices together.
pub(super) fn total(bufs: &[IoSlice<'_>]) -> usize {
    bufs.iter().fold(0, |len: usize, buf| len.saturating_add(buf.len()))
}

/// Writes slices together, or one after the other on an IO that looks at the first only.
///
/// The alert that ends a handshake is often the last of several slices, and rustls' sender gives it one call.
fn write_slices<IO: AsyncWrite + Unpin>(
    io: &mut IO,
    cx: &mut Context<'_>,
    mut bufs: &[IoSlice<'_>],
) -> Poll<io::Result<usize>> {
    let mut taken: usize = 0;
    loop {
        match Pin::new(&mut *io).poll_write_vectored(cx, bufs) {
            Poll::Ready(Ok(n)) => {
                taken = taken.saturating_add(n);
                match bufs.split_first() {
                    Some((first, rest)) if n == first.len() && !rest.is_empty() => bufs = rest,
                    _ => return Poll::Ready(Ok(taken)),
                }
            }
            // An error comes again.
            _ if taken > 0 => return Poll::Ready(Ok(taken)),
            nothing => return nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    use futures_lite::future::{block_on, poll_fn};
    use futures_lite::{AsyncReadExt, AsyncWriteExt};

    /// Takes at most `room` bytes of each write, and notes them; gives `input`, then says `Pending`.
    #[derive(Default)]
    struct Below {
        writes: Vec<Vec<u8>>,
        room: Option<usize>,
        fails: bool,
        flushed: bool,
        input: VecDeque<u8>,
    }

    impl AsyncRead for Below {
        fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
            match self.input.is_empty() {
                true => Poll::Pending,
                false => Poll::Ready(io::Read::read(&mut self.input, buf)),
            }
        }
    }

    impl AsyncWrite for Below {
        fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
            self.poll_write_vectored(cx, &[IoSlice::new(buf)])
        }

        fn poll_write_vectored(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bufs: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            if self.fails {
                return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
            }
            let mut bytes = bufs.iter().flat_map(|buf| buf.iter().copied()).collect::<Vec<_>>();
            bytes.truncate(self.room.unwrap_or(usize::MAX));
            let len = bytes.len();
            if len == 0 {
                return Poll::Pending;
            }
            self.writes.push(bytes);
            self.flushed = false;
            Poll::Ready(Ok(len))
        }

        fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.flushed = true;
            Poll::Ready(Ok(()))
        }

        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    /// A wire whose handshake is over but for `last`, which has not left.
    fn over(below: Below) -> Wire<Below> {
        let mut wire = Wire::new(below, true);
        block_on(wire.write_all(b"last")).unwrap();
        block_on(wire.flush()).unwrap();
        wire.established().unwrap();
        assert!(wire.io.writes.is_empty());
        wire
    }

    #[test]
    fn what_is_held_leaves_in_one_with_the_first_write() {
        let mut wire = over(Below::default());
        assert_eq!(block_on(wire.write(b" words")).unwrap(), 6);
        assert_eq!(wire.io.writes, [b"last words"]);
        assert!(wire.beginning.is_none());
        block_on(wire.flush()).unwrap();
        assert!(wire.io.flushed);
    }

    #[test]
    fn a_narrow_io_gets_every_byte_once_and_in_order() {
        for room in 1..12 {
            let mut wire = over(Below { room: Some(room), ..Below::default() });
            block_on(wire.write_all(b" words")).unwrap();
            assert_eq!(wire.io.writes.concat(), b"last words", "{room}");
            assert!(wire.beginning.is_none());
        }
    }

    #[test]
    fn reading_and_flushing_send_what_is_held() {
        let mut wire = Wire::new(Below { input: VecDeque::from(*b"answer"), ..Below::default() }, true);
        block_on(wire.write_all(b"hello")).unwrap();
        block_on(wire.read_exact(&mut [0; 2])).unwrap();
        assert_eq!(wire.io.writes, [b"hello"]);
        assert!(wire.io.flushed);

        let mut wire = over(Below { input: VecDeque::from(*b"answer"), ..Below::default() });
        block_on(wire.read_exact(&mut [0; 2])).unwrap();
        assert_eq!(wire.io.writes, [b"last"]);
        assert!(wire.io.flushed && wire.beginning.is_none());

        let mut wire = over(Below::default());
        block_on(wire.flush()).unwrap();
        assert_eq!(wire.io.writes, [b"last"]);
        assert!(wire.io.flushed && wire.beginning.is_none());
    }

    #[test]
    fn a_full_io_is_waited_for_by_writers_and_not_by_readers() {
        let full = || Below { room: Some(0), input: VecDeque::from(*b"answer"), ..Below::default() };
        let mut wire = over(full());
        let written = poll_fn(|cx| Poll::Ready(Pin::new(&mut wire).poll_write(cx, b" words").is_pending()));
        assert!(block_on(written));
        assert_eq!(block_on(wire.read(&mut [0; 9])).unwrap(), 6);
        wire.io.room = None;
        block_on(wire.write_all(b" words")).unwrap();
        assert_eq!(wire.io.writes, [b"last words"]);
    }

    #[test]
    fn a_failed_send_is_told_after_what_the_peer_has_said() {
        for shaking_hands in [true, false] {
            let mut wire = over(Below { fails: true, input: VecDeque::from(*b"alert"), ..Below::default() });
            wire.beginning.as_mut().unwrap().over = !shaking_hands;
            assert_eq!(block_on(wire.read(&mut [0; 9])).unwrap(), 5);
            assert_eq!(block_on(wire.read(&mut [0; 9])).unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        }
        // Whoever asks first after a reader that was told nothing yet.
        let mut wire = over(Below { fails: true, input: VecDeque::from(*b"alert"), ..Below::default() });
        assert_eq!(block_on(wire.read(&mut [0; 9])).unwrap(), 5);
        assert_eq!(block_on(wire.flush()).unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        let mut wire = over(Below { fails: true, ..Below::default() });
        assert_eq!(block_on(wire.write(b"x")).unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        let mut wire = over(Below { fails: true, ..Below::default() });
        assert_eq!(block_on(wire.flush()).unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    }
}
