//! Reading from an IO that holds what it received in memory of its own, without a copy in between.

use std::io;
use std::task::{Context, Poll};

/// An IO that may lend what it received, as a TLS session does, whose decrypted records lie in it until they are read.
pub(crate) trait Lend {
    /// Whether it lends; one that does not is to be read.
    fn lends(&self) -> bool;

    /// Receives until there is something, and lends it; nothing is the end. Errors are those of reading.
    fn poll_lend(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>>;

    /// Takes back so much of what was lent; the rest will be lent again.
    fn consume(&mut self, len: usize);
}

/// The functions of [`Lend`], for who holds an `IO` that may have them or not.
pub(crate) struct Lending<IO> {
    poll: Lent<IO>,
    consume: fn(&mut IO, usize),
}

type Lent<IO> = for<'a> fn(&'a mut IO, &mut Context<'_>) -> Poll<io::Result<&'a [u8]>>;

impl<IO> Lending<IO> {
    /// Those of this IO, if it lends.
    pub(crate) fn of(io: &IO) -> Option<Self>
    where
        IO: Lend,
    {
        io.lends().then_some(Lending { poll: IO::poll_lend, consume: IO::consume })
    }

    pub(crate) fn poll<'a>(&self, io: &'a mut IO, cx: &mut Context<'_>) -> Poll<io::Result<&'a [u8]>> {
        (self.poll)(io, cx)
    }

    pub(crate) fn consume(&self, io: &mut IO, len: usize) {
        (self.consume)(io, len);
    }
}
