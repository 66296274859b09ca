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
                Err(error) => {
                    // Nothing comes after a head that went wrong, however it was cut.
                    self.scanned = self.filled;
                    return Ok(Err(error));
                }
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

    /// The head that was read last; one that was refused as far as it was received.
    pub(super) fn head(&self) -> &[u8] {
        self.buf.get(self.start..self.scanned).unwrap_or_default()
    }

    /// What was received after the last head: the first bytes of the stream.
    pub(super) fn into_early(self) -> Vec<u8> {
        self.buf.get(self.scanned..self.filled).unwrap_or_default().to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::super::wire::{Then, Wire};
    use super::*;
    use futures_lite::future::block_on;
    use proptest::prelude::*;

    /// One request head, the bytes scanned for it, and the buffer's capacity in the end.
    fn read(wire: &mut Wire, limit: usize) -> (Result<Vec<u8>, HeadError>, usize, usize) {
        let mut reader = HeadReader::new(limit);
        let mut scanner = HeadScanner::request();
        let read = block_on(reader.next(wire, &mut scanner)).expect("no IO error");
        (read.map(|()| reader.head().to_vec()), scanner.scanned(), reader.buf.capacity())
    }

    /// A head of so many bytes.
    fn head_of(length: usize) -> Vec<u8> {
        let (start, end) = ("GET / HTTP/1.1\r\nA: ", "\r\n\r\n");
        format!("{start}{}{end}", "a".repeat(length - start.len() - end.len())).into_bytes()
    }

    #[test]
    fn a_head_is_read_up_to_the_cap_and_not_beyond() {
        for limit in [100, 1023, 1024, 1025, 16 * 1024, 100_000] {
            let head = head_of(limit);
            assert_eq!(read(&mut Wire::new([&head[..]], Then::Silence), limit).0.expect("fits"), head);

            let mut wire = Wire::new([head_of(limit + 1)], Then::Silence);
            let (refused, scanned, capacity) = read(&mut wire, limit);
            assert!(matches!(refused, Err(HeadError::TooLarge { limit: found }) if found == limit));
            assert_eq!((scanned, wire.received), (limit, limit));
            assert!(capacity <= 2 * limit, "{capacity}");
        }
    }

    #[test]
    fn drops_of_one_byte_cost_one_look_each() {
        let limit = 64 * 1024;
        for length in [limit, limit + 1, 2 * limit] {
            let mut wire = Wire::new(head_of(length).chunks(1), Then::Silence);
            let (outcome, scanned, _) = read(&mut wire, limit);
            assert_eq!(outcome.is_ok(), length <= limit);
            assert_eq!((scanned, wire.reads), (limit, limit));
        }
    }

    #[test]
    fn a_limit_of_nothing_refuses_unread() {
        let mut wire = Wire::new([head_of(100)], Then::Silence);
        assert!(matches!(read(&mut wire, 0).0, Err(HeadError::TooLarge { limit: 0 })));
        assert_eq!(wire.reads, 0);
    }

    #[test]
    fn garbage_is_refused_with_its_first_byte() {
        let mut wire = Wire::new([[0x16]], Then::Silence);
        assert!(matches!(read(&mut wire, usize::MAX).0, Err(HeadError::Byte { byte: 0x16, at: 0 })));
    }

    #[test]
    fn the_end_within_a_head_is_unexpected_and_an_error_is_passed_on() {
        let read = |then| {
            let mut wire = Wire::new([b"GET / HTTP/1.1\r\n"], then);
            let read = block_on(HeadReader::new(1024).next(&mut wire, &mut HeadScanner::request())).map(drop);
            read.expect_err("no head").kind()
        };
        assert_eq!(read(Then::Eof), io::ErrorKind::UnexpectedEof);
        assert_eq!(read(Then::Error(io::ErrorKind::ConnectionReset)), io::ErrorKind::ConnectionReset);
    }

    proptest! {
        #[test]
        fn any_chunking_gives_the_same_heads_and_the_same_rest(
            size in 40..3000_usize,
            tail in prop::collection::vec(any::<u8>(), 0..100),
            chunks in prop::collection::vec(1..1500_usize, 1..20),
        ) {
            let mut text = [head_of(size), head_of(50), tail.clone()].concat();
            let total = text.len();
            let mut pieces = Vec::new();
            for size in chunks.iter().cycle() {
                let rest = text.split_off((*size).min(text.len()));
                pieces.push(std::mem::replace(&mut text, rest));
                if text.is_empty() { break }
            }
            let mut wire = Wire::new(pieces, Then::Flood);
            let mut reader = HeadReader::new(total);
            for expected in [head_of(size), head_of(50)] {
                block_on(reader.next(&mut wire, &mut HeadScanner::request())).expect("no IO error").expect("good");
                prop_assert_eq!(reader.head(), expected);
            }
            let early = reader.into_early();
            prop_assert_eq!(&early[..], &tail[..early.len()]);
            prop_assert_eq!(early.len() + size + 50, wire.received);
        }
    }
}
