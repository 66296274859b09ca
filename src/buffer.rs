//! A buffer that is there while something is in it.

use std::fmt;

use crate::pool;

/// Bytes of which the first were used up already, in memory from the thread's pool that goes back there.
#[derive(Default)]
pub(crate) struct Buffer {
    /// Empty while nothing is held.
    bytes: Box<[u8]>,
    /// What is in it: `start..end`, with `end <= bytes.len()`.
    start: usize,
    end: usize,
}

impl Buffer {
    pub(crate) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// What is in it.
    pub(crate) fn filled(&self) -> &[u8] {
        self.bytes.get(self.start..self.end).unwrap_or_default()
    }

    /// The room behind that, in `capacity` bytes in all: which are taken from the pool if there are none.
    pub(crate) fn room(&mut self, capacity: usize) -> &mut [u8] {
        if self.bytes.is_empty() {
            (self.bytes, self.start, self.end) = (pool::take(capacity), 0, 0);
        }
        self.bytes.get_mut(self.end..).unwrap_or_default()
    }

    /// Notes that the first `len` bytes of the room were filled.
    pub(crate) fn fill(&mut self, len: usize) {
        self.end = self.end.saturating_add(len).min(self.bytes.len());
    }

    /// Notes that the first `len` bytes were used up.
    pub(crate) fn consume(&mut self, len: usize) {
        self.start = self.start.saturating_add(len).min(self.end);
    }

    /// Moves what is in it to the front, where all the room is behind it.
    pub(crate) fn compact(&mut self) {
        if self.start > 0 && self.end <= self.bytes.len() {
            self.bytes.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
    }

    /// Gives the memory back if nothing is in it.
    pub(crate) fn release(&mut self) {
        if self.is_empty() && !self.bytes.is_empty() {
            pool::give(std::mem::take(self).bytes);
        }
    }

    /// Copies as much as the other holds, and uses that up.
    pub(crate) fn read(&mut self, to: &mut [u8]) -> usize {
        let from = self.filled();
        let len = from.len().min(to.len());
        if let (Some(from), Some(to)) = (from.get(..len), to.get_mut(..len)) {
            to.copy_from_slice(from);
        }
        self.consume(len);
        len
    }

    /// Copies as much as it has room for, in `capacity` bytes in all.
    pub(crate) fn write(&mut self, from: &[u8], capacity: usize) -> usize {
        let room = self.room(capacity);
        let len = from.len().min(room.len());
        if let (Some(from), Some(room)) = (from.get(..len), room.get_mut(..len)) {
            room.copy_from_slice(from);
        }
        self.fill(len);
        len
    }

    /// Whether it holds memory.
    #[cfg(all(test, unix))]
    pub(crate) fn is_attached(&self) -> bool {
        !self.bytes.is_empty()
    }
}

impl fmt::Debug for Buffer {
    /// Shows how full it is, and no payload.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Buffer").field("capacity", &self.bytes.len()).field("filled", &self.filled().len()).finish()
    }
}
