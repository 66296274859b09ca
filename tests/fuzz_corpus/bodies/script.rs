//! A peer that says what it has to say, in pieces, and then ends.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_lite::{AsyncRead, AsyncWrite};

/// Makes the input of what was written before the first read.
type Respond = Box<dyn FnOnce(&[u8]) -> Vec<u8> + Send>;

/// An IO that is never `Pending`: it gives its input in pieces and then the end, and takes everything.
pub struct Script {
    input: Vec<u8>,
    respond: Option<Respond>,
    pieces: Pieces,
    /// How much of the input was read.
    pub read: usize,
    /// Everything that was written.
    pub output: Vec<u8>,
}

impl Script {
    pub fn new(input: &[u8], pieces: Pieces) -> Self {
        Script { input: input.to_vec(), respond: None, pieces, read: 0, output: Vec::new() }
    }

    /// Input that depends on what was written before the first read.
    pub fn responding(respond: impl FnOnce(&[u8]) -> Vec<u8> + Send + 'static, pieces: Pieces) -> Self {
        Script { respond: Some(Box::new(respond)), ..Script::new(&[], pieces) }
    }
}

impl AsyncRead for Script {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        if let Some(respond) = self.respond.take() {
            self.input = respond(&self.output);
        }
        let len = self.pieces.next_len().min(buf.len()).min(self.input.len() - self.read);
        buf[..len].copy_from_slice(&self.input[self.read..self.read + len]);
        self.read += len;
        Poll::Ready(Ok(len))
    }
}

impl AsyncWrite for Script {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.output.extend_from_slice(buf);
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Lengths of pieces, which look random, from one byte of seed: 0 is the whole, 1 byte by byte.
#[derive(Clone, Copy)]
pub struct Pieces {
    most: usize,
    state: u32,
}

impl Pieces {
    pub const WHOLE: Pieces = Pieces::new(0);

    pub const fn new(seed: u8) -> Self {
        Pieces { most: seed as usize, state: seed as u32 }
    }

    /// The next length, at least 1.
    pub fn next_len(&mut self) -> usize {
        self.state = self.state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        match self.most {
            0 => usize::MAX,
            most => 1 + (self.state >> 16) as usize % most,
        }
    }
}
