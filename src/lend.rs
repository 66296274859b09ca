//! Reading from an IO that holds what it received in memory of its own, without a copy in between.

use std::io;
use std::task::{Context, Poll, ready};

/// An IO that may lend what it received, as a TLS session does, whose decrypted records lie in it until they are read.
pub(crate) trait Lend {
    /// Whether it lends; one that does not is to be read.
    fn lends(&self) -> bool;

    /// Receives until there is something, and lends it; nothing is the end. Errors are those of reading.
    fn poll_lend(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>>;

    /// Takes back so much of what was lent; the rest will be lent again.
    fn consume(&mut self, len: usize);

    /// Lends once, nothing at the end, and takes back as much as `borrower` says it has used.
    fn poll_with(&mut self, cx: &mut Context<'_>, borrower: &mut dyn FnMut(&[u8]) -> usize) -> Poll<io::Result<()>> {
        let used = borrower(ready!(self.poll_lend(cx))?);
        self.consume(used);
        Poll::Ready(Ok(()))
    }
}

/// [`Lend::poll_with`], for who holds an `IO` that may have it or not: one word in a connection that is idle mostly.
pub(crate) struct Lending<IO>(PollWith<IO>);

type PollWith<IO> = fn(&mut IO, &mut Context<'_>, &mut dyn FnMut(&[u8]) -> usize) -> Poll<io::Result<()>>;

impl<IO> Lending<IO> {
    /// That of this IO, if it lends.
    pub(crate) fn of(io: &IO) -> Option<Self>
    where
        IO: Lend,
    {
        io.lends().then_some(Lending(IO::poll_with))
    }

    pub(crate) fn poll_with(
        &self,
        io: &mut IO,
        cx: &mut Context<'_>,
        mut borrower: impl FnMut(&[u8]) -> usize,
    ) -> Poll<io::Result<()>> {
        (self.0)(io, cx, &mut borrower)
    }
}
