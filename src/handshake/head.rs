//! Reading HTTP heads from an IO.

use std::io;

use futures_lite::{AsyncRead, AsyncReadExt};

use crate::proto::http::{HeadError, HeadScanner};

/// Size of the first read, in bytes; heads of browsers have 400 to 700.
const FIRST_READ: usize = 1024;

/// What was received while heads are read, the bytes after the last one included.
///
/// Each byte is scanned once, and the buffer grows by doubling, so that the work is linear however the bytes arrive.
#[derive(Debug)]
pub(super) struct HeadReader {
    /// `buf.len() <= limit`
    buf: Vec<u8>,
    /// Where the current head begins; `start <= scanned <= filled <= buf.len()`.
    start: usize,
    scanned: usize,
    filled: usize,
    /// Most bytes read in total, against a head that never ends.
    limit: usize,
}

impl HeadReader {
    pub(super) fn new(limit: usize) -> Self {
        HeadReader { buf: Vec::new(), start: 0, scanned: 0, filled: 0, limit }
    }

    /// Reads until `scanner` has seen a whole head or refuses.
    pub(super) async fn next<IO>(&mut self, io: &mut IO, scanner: &mut HeadScanner) -> io::Result<Result<(), HeadError>>
    where
        IO: AsyncRead + Unpin,
    {
        self.start = self.scanned;
        loop {
            let unseen = self.buf.get(self.scanned..self.filled).unwrap_or_default();
            match scanner.feed(unseen) {
                Ok(Some(n)) => {
                    self.scanned += n;
                    return Ok(Ok(()));
                }
                Ok(None) => self.scanned = self.filled,
                Err(error) => return Ok(Err(error)),
            }
            if self.filled >= self.limit {
                return Ok(Err(HeadError::TooLarge { limit: self.limit }));
            }
            if self.filled == self.buf.len() {
                let grown = self.buf.len().saturating_mul(2).max(FIRST_READ).min(self.limit);
                self.buf.resize(grown, 0);
            }
            let n = io.read(self.buf.get_mut(self.filled..).unwrap_or_default()).await?;
            if n == 0 {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "connection ended within the http head"));
            }
            self.filled = self.filled.saturating_add(n).min(self.buf.len());
        }
    }

    /// The head that was read last, as far as it was scanned.
    pub(super) fn head(&self) -> &[u8] {
        self.buf.get(self.start..self.scanned).unwrap_or_default()
    }

    /// What was received after the last head: the first bytes of the stream.
    pub(super) fn into_early(self) -> Vec<u8> {
        self.buf.get(self.scanned..self.filled).unwrap_or_default().to_vec()
    }
}
