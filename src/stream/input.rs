//! What comes in: deframing in place, into the caller's slice or the read buffer.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_lite::AsyncRead;

use super::fault::ReadEnd;
use super::pool;
use crate::config::{StreamConfig, TextFrames};
use crate::proto::{CloseFrame, Decoder, Event, OpCode, Role, Violation};

/// Empty data frames that are taken in a row; one more and the peer is playing games.
const MAX_EMPTY: u16 = 1024;

/// The receiving half of a stream.
#[derive(Debug)]
pub(super) struct Input {
    receiver: Receiver,
    buf: Buffer,
    size: usize,
}

/// Received bytes: payload that waits for the reader, then bytes that are not deframed yet.
#[derive(Default)]
struct Buffer {
    /// Empty while nothing is held.
    bytes: Box<[u8]>,
    /// Payload: `start..plain`.
    start: usize,
    plain: usize,
    /// Not deframed: `raw..end`, with `plain <= raw`.
    raw: usize,
    end: usize,
}

/// Turns frames into payload and remembers what else they said.
#[derive(Debug)]
struct Receiver {
    decoder: Decoder,
    text: TextFrames,
    /// Empty data frames since the last byte of data.
    empties: u16,
    /// Payload of the last Ping that was not answered (RFC 6455 §5.5.3: the last one is enough).
    pong: Option<Vec<u8>>,
    /// A Close that has just come. Boxed: that is once in a connection, which is idle for much longer.
    close: Option<Box<Option<CloseFrame>>>,
    /// Set once: nothing more is received after it.
    end: Option<ReadEnd>,
}

impl Input {
    pub(super) fn new(role: Role, early: Vec<u8>, config: &StreamConfig) -> Self {
        let end = early.len();
        Input {
            receiver: Receiver {
                decoder: Decoder::new(role),
                text: config.text_frames(),
                empties: 0,
                pong: None,
                close: None,
                end: None,
            },
            buf: Buffer { bytes: early.into_boxed_slice(), end, ..Buffer::default() },
            size: config.read_buffer(),
        }
    }

    /// Payload that waits for the reader.
    pub(super) fn plain(&self) -> &[u8] {
        self.buf.bytes.get(self.buf.start..self.buf.plain).unwrap_or_default()
    }

    /// Marks payload as read, and gives the buffer back when nothing is left in it.
    pub(super) fn consume(&mut self, len: usize) {
        self.buf.start = self.buf.start.saturating_add(len).min(self.buf.plain);
        self.buf.release();
    }

    /// Why there is nothing more to receive, if so.
    pub(super) fn end(&self) -> Option<&ReadEnd> {
        self.receiver.end.as_ref()
    }

    /// Notes that there is nothing more to receive; the first reason stands.
    pub(super) fn finish(&mut self, end: ReadEnd) {
        self.receiver.end.get_or_insert(end);
    }

    /// The Pong that is owed.
    pub(super) fn take_pong(&mut self) -> Option<Vec<u8>> {
        self.receiver.pong.take()
    }

    /// The Close that has come, the first time it is asked for.
    pub(super) fn take_close(&mut self) -> Option<Option<CloseFrame>> {
        self.receiver.close.take().map(|frame| *frame)
    }

    /// Whether there are received bytes that are not deframed.
    pub(super) fn has_raw(&self) -> bool {
        self.buf.raw < self.buf.end
    }

    /// Whether the buffer can hold more.
    pub(super) fn has_room(&self) -> bool {
        self.buf.bytes.is_empty() || self.buf.plain < self.buf.bytes.len()
    }

    /// Deframes what the buffer holds, at most `budget` frames of it.
    pub(super) fn deframe(&mut self, budget: &mut u32) {
        let Buffer { bytes, start, plain, raw, end } = &mut self.buf;
        if start == plain {
            (*start, *plain) = (0, 0);
        }
        (*plain, *raw) = self.receiver.deframe(bytes, *plain, *raw, *end, budget);
        self.buf.release();
    }

    /// Reads once into the free part of the buffer and deframes that; zero bytes are the end of the IO.
    ///
    /// Only while nothing in it waits to be deframed. Never keeps an empty buffer.
    pub(super) fn poll_fill<IO: AsyncRead + Unpin>(
        &mut self,
        io: &mut IO,
        cx: &mut Context<'_>,
        budget: &mut u32,
    ) -> Poll<io::Result<usize>> {
        let buf = &mut self.buf;
        if buf.bytes.is_empty() {
            *buf = Buffer { bytes: pool::take(self.size), ..Buffer::default() };
        }
        let free = buf.bytes.get_mut(buf.plain..).unwrap_or_default();
        let result = Pin::new(io).poll_read(cx, free);
        if let Poll::Ready(Ok(len)) = result {
            buf.raw = buf.plain;
            buf.end = buf.plain.saturating_add(len).min(buf.bytes.len());
            self.deframe(budget);
        } else {
            buf.release();
        }
        result
    }

    /// Reads once into `slice` and deframes there; says how much payload it begins with, or `None` at the end of the IO.
    ///
    /// What is left over when the budget is used up goes into the buffer, which must be empty.
    pub(super) fn poll_direct<IO: AsyncRead + Unpin>(
        &mut self,
        io: &mut IO,
        cx: &mut Context<'_>,
        slice: &mut [u8],
        budget: &mut u32,
    ) -> Poll<io::Result<Option<usize>>> {
        let size = self.size.min(slice.len());
        let slice = slice.get_mut(..size).unwrap_or_default();
        let len = ready!(Pin::new(io).poll_read(cx, slice))?.min(size);
        if len == 0 {
            return Poll::Ready(Ok(None));
        }
        let (plain, raw) = self.receiver.deframe(slice, 0, 0, len, budget);
        let rest = slice.get(raw..len).unwrap_or_default();
        if !rest.is_empty() {
            let mut bytes = pool::take(self.size);
            // It fits: `slice` was cut to the buffer's size.
            if let Some(to) = bytes.get_mut(..rest.len()) {
                to.copy_from_slice(rest);
            }
            self.buf = Buffer { bytes, end: rest.len(), ..Buffer::default() };
        }
        Poll::Ready(Ok(Some(plain)))
    }
}

impl Buffer {
    /// Gives the buffer back if nothing is in it.
    fn release(&mut self) {
        if self.start == self.plain && self.raw == self.end && !self.bytes.is_empty() {
            pool::give(std::mem::take(self).bytes);
        }
    }
}

impl std::fmt::Debug for Buffer {
    /// Shows how full it is, and no payload.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Buffer")
            .field("capacity", &self.bytes.len())
            .field("plain", &(self.plain - self.start))
            .field("raw", &(self.end - self.raw))
            .finish()
    }
}

impl Receiver {
    /// Deframes `buf[raw..end]`, with its payload moved down to `plain`, and says where payload and the rest end now.
    ///
    /// It stops between frames when the budget is used up, and for good at a Close or a violation.
    fn deframe(
        &mut self,
        buf: &mut [u8],
        mut plain: usize,
        mut raw: usize,
        end: usize,
        budget: &mut u32,
    ) -> (usize, usize) {
        while raw < end && self.end.is_none() {
            if *budget == 0 && self.decoder.is_between_frames() {
                return (plain, raw);
            }
            let (used, event) = match self.decoder.decode(buf.get(raw..end).unwrap_or_default()) {
                Ok(next) => next,
                Err(violation) => {
                    self.end = Some(ReadEnd::Violated(violation));
                    break;
                }
            };
            raw = raw.saturating_add(used);
            match event {
                None => break,
                Some(Event::Payload(len)) => {
                    self.decoder.unmask_down(buf, raw, plain, len);
                    raw = raw.saturating_add(len);
                    plain = plain.saturating_add(len);
                    self.empties = 0;
                    continue;
                }
                Some(Event::Frame(header)) if header.opcode == OpCode::Text && self.text == TextFrames::Refuse => {
                    self.end = Some(ReadEnd::Violated(Violation::Text));
                }
                Some(Event::Frame(header)) if header.len == 0 => {
                    self.empties = self.empties.saturating_add(1);
                    if self.empties > MAX_EMPTY {
                        self.end = Some(ReadEnd::Violated(Violation::EmptyFrames));
                    }
                }
                Some(Event::Frame(_) | Event::Pong(_)) => {}
                Some(Event::Ping(payload)) => self.pong = Some(payload),
                // What this means depends on who closed first: the stream decides.
                Some(Event::Close(frame)) => {
                    self.close = Some(Box::new(frame));
                    return (plain, end);
                }
            }
            *budget = budget.saturating_sub(1);
        }
        (plain, end)
    }
}
