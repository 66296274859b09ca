//! What comes in: deframing in place, into the caller's slice or the read buffer.

use std::io::{self, IoSliceMut};
use std::ops::ControlFlow;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_lite::AsyncRead;

use super::fault::{Failure, ReadEnd};
use super::heads::Heads;
use crate::config::{DIRECT_READ, StreamConfig, TextFrames};
use crate::lend::Lending;
use crate::pool;
use crate::proto::{CloseFrame, Decoder, Event, Header, OpCode, Role, Violation};

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
    heads: Heads,
    text: TextFrames,
    /// Empty data frames since the last byte of data.
    empties: u16,
    /// Payload of the last Ping that was not answered (RFC 6455 §5.5.3: the last one is enough).
    pong: Option<Box<[u8]>>,
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
                heads: Heads::new(role),
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

    /// Least length of a slice that is read into directly.
    pub(super) fn direct_read(&self) -> usize {
        DIRECT_READ.min(self.size)
    }

    /// Payload that waits for the reader.
    pub(super) fn plain(&self) -> &[u8] {
        self.buf.bytes.get(self.buf.start..self.buf.plain).unwrap_or_default()
    }

    /// Marks payload as read, and gives the buffer back when nothing is left in it.
    pub(super) fn consume(&mut self, len: usize) {
        self.buf.start = self.buf.start.saturating_add(len).min(self.buf.plain);
        self.buf.release(self.size);
    }

    /// Why there is nothing more to receive, if so.
    pub(super) fn end(&self) -> Option<&ReadEnd> {
        self.receiver.end.as_ref()
    }

    /// Notes that there is nothing more to receive; the first reason stands.
    pub(super) fn finish(&mut self, end: ReadEnd) {
        self.receiver.end.get_or_insert(end);
    }

    /// Notes that a read of the IO gave its end, or an error; one that was only interrupted means nothing.
    pub(super) fn finish_read(&mut self, error: Option<io::Error>) {
        match error {
            None => self.finish(ReadEnd::Truncated),
            Some(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Some(error) => self.finish(ReadEnd::Failed(Failure::new(error))),
        }
    }

    /// The Pong that is owed.
    pub(super) fn take_pong(&mut self) -> Option<Box<[u8]>> {
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
        self.buf.release(self.size);
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
            buf.release(self.size);
        }
        result
    }

    /// Deframes what the IO lends into `slice`; says how much payload that begins with, or `None` at the end of the IO.
    ///
    /// What was not looked at stays with the IO.
    pub(super) fn poll_lent<IO>(
        &mut self,
        io: &mut IO,
        lending: &Lending<IO>,
        cx: &mut Context<'_>,
        slice: &mut [u8],
        budget: &mut u32,
    ) -> Poll<io::Result<Option<usize>>> {
        let mut received = None;
        ready!(lending.poll_with(io, cx, |lent| {
            if lent.is_empty() {
                return 0;
            }
            let (used, plain) = self.receiver.deframe_into(lent, slice, budget);
            received = Some(plain);
            used
        }))?;
        Poll::Ready(Ok(received))
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
        let received = match self.receiver.next_head(size) {
            Some((at, head_len)) => ready!(self.receiver.poll_around(io, cx, slice, at, head_len, budget))?,
            None => {
                Some(ready!(Pin::new(io).poll_read(cx, slice))?.min(size)).filter(|len| *len > 0).map(|len| (0, len))
            }
        };
        let Some((from, end)) = received else { return Poll::Ready(Ok(None)) };
        let (plain, raw) = self.receiver.deframe(slice, from, from, end, budget);
        let rest = slice.get(raw..end).unwrap_or_default();
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
    /// Gives the buffer back if nothing is in it; one that is not of this size held early bytes and is of no more use.
    fn release(&mut self, size: usize) {
        if self.start == self.plain && self.raw == self.end && !self.bytes.is_empty() {
            let bytes = std::mem::take(self).bytes;
            if bytes.len() == size {
                pool::give(bytes);
            }
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
    /// Where in the next `len` bytes a header is expected, and how long it is, if it is worth reading aside.
    fn next_head(&self, len: usize) -> Option<(usize, usize)> {
        let head_len = self.heads.expected()?;
        let at = self.decoder.remaining()?;
        at.checked_add(head_len).is_some_and(|end| end < len).then_some((at, head_len))
    }

    /// Reads once into `slice`, with the header that is expected at `at` aside; says from where to where it has to be deframed
    /// still, with payload before that, or `None` at the end of the IO.
    ///
    /// Where the guess was wrong, what was read aside is put back, for which there is room.
    fn poll_around<IO: AsyncRead + Unpin>(
        &mut self,
        io: &mut IO,
        cx: &mut Context<'_>,
        slice: &mut [u8],
        at: usize,
        head_len: usize,
        budget: &mut u32,
    ) -> Poll<io::Result<Option<(usize, usize)>>> {
        let mut head = [0; Header::MAX_LEN];
        let (size, room) = (slice.len(), slice.len().saturating_sub(head_len));
        let (before, after) = slice.get_mut(..room).unwrap_or_default().split_at_mut_checked(at).unwrap_or_default();
        let mut bufs = [before, head.get_mut(..head_len).unwrap_or_default(), after].map(IoSliceMut::new);
        // Some IO reads into the first slice alone, whether or not there is room in it.
        let bufs = bufs.get_mut(usize::from(at == 0)..).unwrap_or_default();
        let first = bufs.first().map_or(0, |buf| buf.len());
        let len = ready!(Pin::new(io).poll_read_vectored(cx, bufs))?.min(size);
        self.heads.read(len, first);
        let Some(beyond) = len.checked_sub(at).filter(|beyond| *beyond > 0) else {
            return Poll::Ready(Ok((len > 0).then_some((0, len))));
        };

        let head = head.get_mut(..head_len.min(beyond)).unwrap_or_default();
        let end = len.saturating_sub(head.len());
        if matches!(Header::decode(head), Ok(Some((header, used))) if used == head_len && !header.opcode.is_control()) {
            self.deframe(slice, 0, 0, at, budget);
            self.deframe(head, 0, 0, head_len, budget);
            return Poll::Ready(Ok(Some((at, end))));
        }
        if let Some(behind) = slice.get_mut(at..len) {
            behind.copy_within(..end.saturating_sub(at), head.len());
            if let Some(gap) = behind.get_mut(..head.len()) {
                gap.copy_from_slice(head);
            }
        }
        Poll::Ready(Ok(Some((0, len))))
    }

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
            let (used, event) = self.decode(buf.get(raw..end).unwrap_or_default());
            raw = raw.saturating_add(used);
            match event {
                None => break,
                Some(Event::Payload(len)) => {
                    self.decoder.unmask_down(buf, raw, plain, len);
                    raw = raw.saturating_add(len);
                    plain = plain.saturating_add(len);
                    self.empties = 0;
                }
                Some(event) => {
                    *budget = budget.saturating_sub(1);
                    if self.note(event).is_break() {
                        break;
                    }
                }
            }
        }
        (plain, end)
    }

    /// Deframes `from`, with its payload into `to`, and says how much of each was used.
    ///
    /// It stops as [`deframe`](Self::deframe) does, and where `to` is full.
    fn deframe_into(&mut self, from: &[u8], to: &mut [u8], budget: &mut u32) -> (usize, usize) {
        let (mut raw, mut plain) = (0usize, 0usize);
        while raw < from.len() && self.end.is_none() {
            if *budget == 0 && self.decoder.is_between_frames() {
                return (raw, plain);
            }
            let (used, event) = self.decode(from.get(raw..).unwrap_or_default());
            raw = raw.saturating_add(used);
            match event {
                None => break,
                Some(Event::Payload(_)) => {
                    let room = to.get_mut(plain..).unwrap_or_default();
                    if room.is_empty() {
                        return (raw, plain);
                    }
                    let len = self.decoder.unmask_into(from.get(raw..).unwrap_or_default(), room);
                    raw = raw.saturating_add(len);
                    plain = plain.saturating_add(len);
                    self.empties = 0;
                }
                Some(event) => {
                    *budget = budget.saturating_sub(1);
                    if self.note(event).is_break() {
                        break;
                    }
                }
            }
        }
        (from.len(), plain)
    }

    /// The decoder's next event, and how many bytes are before it; a violation is the end.
    fn decode(&mut self, input: &[u8]) -> (usize, Option<Event>) {
        self.decoder.decode(input).unwrap_or_else(|violation| {
            self.end = Some(ReadEnd::Violated(violation));
            (input.len(), None)
        })
    }

    /// Takes note of an event that is no payload; nothing is received after a Close.
    fn note(&mut self, event: Event) -> ControlFlow<()> {
        if let Event::Frame(header) = &event {
            self.heads.note(header);
        }
        match event {
            Event::Frame(header) if header.opcode == OpCode::Text && self.text == TextFrames::Refuse => {
                self.end = Some(ReadEnd::Violated(Violation::Text));
            }
            Event::Frame(header) if header.len == 0 => {
                self.empties = self.empties.saturating_add(1);
                if self.empties > MAX_EMPTY {
                    self.end = Some(ReadEnd::Violated(Violation::EmptyFrames));
                }
            }
            Event::Frame(_) | Event::Payload(_) | Event::Pong(_) => {}
            Event::Ping(payload) => self.pong = Some(payload.into()),
            // What this means depends on who closed first: the stream decides.
            Event::Close(frame) => {
                self.close = Some(Box::new(frame));
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::Mask;
    use proptest::prelude::*;

    fn receiver() -> Receiver {
        Input::new(Role::Server, Vec::new(), &StreamConfig::new()).receiver
    }

    /// A client's frame.
    fn frame(fin: bool, opcode: OpCode, key: [u8; 4], mut payload: Vec<u8>) -> Vec<u8> {
        let mut head = [0; Header::MAX_LEN];
        let len = Header { fin, opcode, mask: Some(key), len: payload.len() as u64 }.encode(&mut head);
        Mask::new(key).apply(&mut payload);
        [&head[..len], &payload].concat()
    }

    fn any_wire() -> impl Strategy<Value = Vec<u8>> {
        let opcode = prop_oneof![
            8 => Just(OpCode::Binary),
            3 => Just(OpCode::Ping),
            1 => Just(OpCode::Pong),
            1 => Just(OpCode::Close),
            1 => Just(OpCode::Text),
        ];
        let payload = prop_oneof![
            Just(Vec::new()),
            proptest::collection::vec(any::<u8>(), 0..125),
            proptest::collection::vec(any::<u8>(), 126..700),
        ];
        let frame = (opcode, any::<[u8; 4]>(), payload).prop_map(|(opcode, key, mut payload)| {
            if opcode.is_control() {
                payload.truncate(125);
            }
            frame(true, opcode, key, payload)
        });
        proptest::collection::vec(frame, 0..8).prop_map(|frames| frames.concat())
    }

    /// All that is noticed while receiving.
    fn noticed(receiver: Receiver) -> String {
        format!("{receiver:?}")
    }

    proptest! {
        #[test]
        fn deframing_into_slices_of_any_size_means_the_same_as_deframing_in_place(
            wire in any_wire(),
            chunks in proptest::collection::vec(1usize..400, 1..40),
            rooms in proptest::collection::vec(1usize..300, 1..40),
            patience in 1u32..6,
        ) {
            let (mut in_place, mut into) = (receiver(), receiver());
            let mut all = wire.clone();
            let (plain, _) = in_place.deframe(&mut all, 0, 0, wire.len(), &mut u32::MAX.clone());

            let (mut rooms, mut got) = (rooms.iter().cycle(), Vec::new());
            let mut rest = &wire[..];
            for chunk in chunks.iter().cycle() {
                if rest.is_empty() || into.end.is_some() || into.close.is_some() {
                    break;
                }
                let (mut chunk, later) = rest.split_at((*chunk).min(rest.len()));
                rest = later;
                while !chunk.is_empty() && into.close.is_none() {
                    let mut room = vec![0xEE; *rooms.next().unwrap()];
                    let mut budget = patience;
                    let (used, plain) = into.deframe_into(chunk, &mut room, &mut budget);
                    prop_assert!(used > 0 || plain > 0, "it goes on");
                    prop_assert!(room[plain..].iter().all(|byte| *byte == 0xEE), "it keeps to what it says");
                    got.extend_from_slice(&room[..plain]);
                    chunk = &chunk[used..];
                }
            }
            prop_assert_eq!(&got, &all[..plain]);
            prop_assert_eq!(noticed(into), noticed(in_place));
        }
    }

    #[test]
    fn deframing_into_a_slice_stops_between_frames_when_the_budget_is_used_up() {
        let wire = frame(true, OpCode::Binary, [1; 4], vec![7; 10]).repeat(3);
        let (mut receiver, mut room, mut budget) = (receiver(), [0; 100], 2);
        let (used, plain) = receiver.deframe_into(&wire, &mut room, &mut budget);
        assert_eq!((used, plain, budget), (2 * wire.len() / 3, 20, 0));
    }
}
