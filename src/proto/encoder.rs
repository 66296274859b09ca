//! Bytes and control frames into frames, in a buffer of fixed size.

use std::fmt;

use super::{Header, Mask, OpCode, Role};

/// Longest payload we put in one frame, in bytes.
///
/// The most that a two-byte length can say (RFC 6455 §5.2); some peers refuse frames above 64 KiB.
const MAX_PAYLOAD: usize = 0xffff;

/// Puts what is written into frames, in a buffer that is lent to it.
///
/// Adjacent writes share a frame until it is sealed: by [`seal`](Self::seal), by a control frame, or because it is full.
/// A header is written when its frame is sealed, so no byte is ever promised that was not taken.
///
/// ```
/// use ws_transport::proto::{Encoder, Role};
///
/// let mut encoder = Encoder::new(Role::Server);
/// encoder.attach(vec![0; 1024].into());
/// let key = || unreachable!("a server does not mask");
/// encoder.write(b"Hel", key);
/// encoder.write(b"lo", key);
/// encoder.seal();
/// assert_eq!(encoder.output(), b"\x82\x05Hello");
/// ```
pub struct Encoder {
    role: Role,
    /// Empty while none is attached.
    buf: Box<[u8]>,
    /// First byte that was not sent: `sent <= sealed <= end <= buf.len()`.
    sent: usize,
    /// End of what may be sent.
    sealed: usize,
    /// End of what was written; behind `sealed` lies the frame that is still open, its header left blank.
    end: usize,
    /// Where the open frame has to end, for want of room or because it may not be longer; zero while none is open.
    bound: usize,
    /// Mask of the open frame, turned to its next byte, and the key for its header.
    mask: Option<(Mask, [u8; 4])>,
}

impl Encoder {
    /// Smallest buffer, in bytes: the largest control frame.
    pub const MIN_BUFFER: usize = 2 + 4 + Header::MAX_CONTROL;

    /// An encoder for what the end of this role sends; it has no buffer yet.
    pub fn new(role: Role) -> Self {
        Encoder { role, buf: Box::default(), sent: 0, sealed: 0, end: 0, bound: 0, mask: None }
    }

    /// Bytes at the end of the buffer that only [`append`](Self::append) and control frames use: room for the header of a
    /// frame whose payload would fill the rest.
    pub const RESERVE: usize = 4;

    /// Lends it a buffer, of at least [`MIN_BUFFER`](Self::MIN_BUFFER) bytes, if it has none; its contents do not matter.
    pub fn attach(&mut self, buf: Box<[u8]>) {
        if self.buf.is_empty() {
            self.buf = buf;
        }
    }

    /// Takes the buffer back, if there is one and all of it was sent.
    pub fn detach(&mut self) -> Option<Box<[u8]>> {
        (self.is_empty() && self.is_attached()).then(|| std::mem::take(&mut self.buf))
    }

    /// Whether it has a buffer.
    pub fn is_attached(&self) -> bool {
        !self.buf.is_empty()
    }

    /// Whether a frame is open: begun by [`write`](Self::write) and not sealed.
    pub fn is_open(&self) -> bool {
        self.end > self.sealed
    }

    /// How many bytes there are to be sent, sealed or not; the header of an open frame included.
    pub(crate) fn len(&self) -> usize {
        self.end.saturating_sub(self.sent)
    }

    /// Whether there is nothing to be sent, sealed or not.
    pub fn is_empty(&self) -> bool {
        self.sent == self.end
    }

    /// Appends bytes to the open frame, beginning one if there is none, and says how many were taken; zero if it is full.
    ///
    /// `key` is asked once per frame, and only where the role masks; its answers must be unpredictable (RFC 6455 §5.3).
    pub fn write(&mut self, bytes: &[u8], key: impl FnOnce() -> [u8; 4]) -> usize {
        if bytes.is_empty() || !self.open(key) {
            return 0;
        }
        let room = self.bound.saturating_sub(self.end);
        let (taken, _) = bytes.split_at_checked(room).unwrap_or((bytes, &[]));
        let len = taken.len();
        if !self.put(taken) {
            return 0;
        }
        if self.end == self.longest() {
            self.seal();
        }
        len
    }

    /// Appends all of `bytes` to the open frame, or nothing: where none is open, or it has no room for one byte more.
    ///
    /// As [`write`](Self::write) otherwise, and a shorter way for the many small writes between the first and the last.
    pub(crate) fn extend(&mut self, bytes: &[u8]) -> bool {
        self.end.saturating_add(bytes.len()) < self.bound && self.put(bytes)
    }

    /// Ends the open frame, if there is one, so that it can be sent.
    pub fn seal(&mut self) {
        let room = self.header_room();
        let payload = self.end.saturating_sub(self.sealed).saturating_sub(room);
        if payload == 0 {
            return;
        }
        let key = self.mask.take().map(|(_, key)| key);
        let header = Header { fin: true, opcode: OpCode::Binary, mask: key, len: payload as u64 };
        let mut bytes = [0; Header::MAX_LEN];
        let len = header.encode(&mut bytes);

        // A payload of up to 125 bytes has a shorter header than was left room for: what is in front moves up to it,
        // and there is nothing in front but what was sent; else the payload, being short, moves down.
        let spare = room.saturating_sub(len);
        let mut start = self.sealed;
        if spare > 0 && self.sent == self.sealed {
            start = start.saturating_add(spare);
            self.sent = start;
        } else if spare > 0 {
            let from = self.sealed.saturating_add(room);
            if from <= self.end && self.end <= self.buf.len() {
                self.buf.copy_within(from..self.end, from.saturating_sub(spare));
            }
            self.end = self.end.saturating_sub(spare);
        }
        if let (Some(to), Some(header)) = (self.buf.get_mut(start..start.saturating_add(len)), bytes.get(..len)) {
            to.copy_from_slice(header);
        }
        (self.sealed, self.bound) = (self.end, 0);
    }

    /// Appends a control frame, behind the open frame, which is sealed; `false` if there is no room for it now.
    ///
    /// Of the payload the first 125 bytes are taken, which is all that such a frame can have.
    pub fn control(&mut self, opcode: OpCode, payload: &[u8], key: impl FnOnce() -> [u8; 4]) -> bool {
        self.seal();
        self.rewind();
        let payload = payload.get(..Header::MAX_CONTROL).unwrap_or(payload);
        let mask = self.masks().then(key);
        let mut head = [0; Header::MAX_LEN];
        let head_len = Header { fin: true, opcode, mask, len: payload.len() as u64 }.encode(&mut head);
        let head = head.get(..head_len).unwrap_or_default();
        let Some((to_head, to_payload)) = self
            .buf
            .get_mut(self.end..)
            .and_then(|room| room.get_mut(..head_len.saturating_add(payload.len())))
            .and_then(|room| room.split_at_mut_checked(head_len))
        else {
            return false;
        };
        to_head.copy_from_slice(head);
        match mask {
            Some(key) => Mask::new(key).copy(payload, to_payload),
            None => to_payload.copy_from_slice(payload),
        }
        self.end = self.end.saturating_add(head_len).saturating_add(payload.len());
        self.sealed = self.end;
        true
    }

    /// Appends bytes that are frames, or the rest of one, already; the number that found room is returned.
    pub fn append(&mut self, frames: &[u8]) -> usize {
        self.seal();
        self.rewind();
        let Some(room) = self.buf.get_mut(self.end..) else { return 0 };
        let len = room.len().min(frames.len());
        if let (Some(room), Some(frames)) = (room.get_mut(..len), frames.get(..len)) {
            room.copy_from_slice(frames);
        }
        self.end = self.end.saturating_add(len);
        self.sealed = self.end;
        len
    }

    /// The sealed frames that were not sent yet.
    pub fn output(&self) -> &[u8] {
        self.buf.get(self.sent..self.sealed).unwrap_or_default()
    }

    /// Marks the first `len` bytes of [`output`](Self::output) as sent.
    pub fn advance(&mut self, len: usize) {
        self.sent = self.sent.saturating_add(len).min(self.sealed);
        self.rewind();
    }

    /// Throws away what was not sent.
    pub fn clear(&mut self) {
        (self.sent, self.sealed, self.end, self.bound, self.mask) = (0, 0, 0, 0, None);
    }

    /// Makes sure that a frame is open with room for a byte of payload.
    #[inline(always)]
    fn open(&mut self, key: impl FnOnce() -> [u8; 4]) -> bool {
        if self.is_open() {
            return self.end < self.bound;
        }
        let start = self.end.saturating_add(self.header_room());
        if start >= self.limit() {
            return false;
        }
        self.mask = self.masks().then(|| {
            let key = key();
            (Mask::new(key), key)
        });
        self.bound = self.limit().min(self.longest());
        self.end = start;
        true
    }

    /// Starts over at the front of the buffer when all was sent.
    fn rewind(&mut self) {
        if self.sent == self.end {
            (self.sent, self.sealed, self.end) = (0, 0, 0);
        }
    }

    /// Where writes end.
    fn limit(&self) -> usize {
        self.buf.len().saturating_sub(Self::RESERVE)
    }

    /// Puts bytes at the end of the open frame, masked if it is; `false` if they do not fit into the buffer.
    #[inline(always)]
    fn put(&mut self, bytes: &[u8]) -> bool {
        let end = self.end.saturating_add(bytes.len());
        let Some(room) = self.buf.get_mut(self.end..end) else { return false };
        match &mut self.mask {
            Some((mask, _)) => mask.copy(bytes, room),
            None => room.copy_from_slice(bytes),
        }
        self.end = end;
        true
    }

    /// Where the open frame would be as long as one may be.
    fn longest(&self) -> usize {
        self.sealed.saturating_add(self.header_room()).saturating_add(MAX_PAYLOAD)
    }

    fn masks(&self) -> bool {
        self.role == Role::Client
    }

    /// Bytes left blank for the header of a frame: with a two-byte length, as most will need.
    fn header_room(&self) -> usize {
        if self.masks() { 8 } else { 4 }
    }
}

impl fmt::Debug for Encoder {
    /// Shows how full it is, and no payload.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encoder")
            .field("role", &self.role)
            .field("capacity", &self.buf.len())
            .field("sealed", &self.sealed.saturating_sub(self.sent))
            .field("open", &self.end.saturating_sub(self.sealed))
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Decoder, Event};
    use super::*;
    use proptest::prelude::*;

    fn encoder(role: Role, size: usize) -> Encoder {
        let mut encoder = Encoder::new(role);
        encoder.attach(vec![0xEE; size].into());
        encoder
    }

    /// The payload and the control frames in `wire`, as the other end sees them, and the number of data frames.
    fn receive(sender: Role, wire: &[u8]) -> (Vec<u8>, Vec<Event>, usize) {
        let mut decoder = Decoder::new(if sender == Role::Client { Role::Server } else { Role::Client });
        let mut wire = wire.to_vec();
        let (mut payload, mut control, mut frames, mut at) = (Vec::new(), Vec::new(), 0, 0);
        loop {
            let (used, event) = decoder.decode(&wire[at..]).unwrap();
            at += used;
            match event {
                None => break,
                Some(Event::Frame(_)) => frames += 1,
                Some(Event::Payload(len)) => {
                    decoder.unmask(&mut wire[at..at + len]);
                    payload.extend_from_slice(&wire[at..at + len]);
                    at += len;
                }
                Some(event) => control.push(event),
            }
        }
        assert!(decoder.is_between_frames());
        (payload, control, frames)
    }

    #[derive(Clone, Debug)]
    enum Op {
        Write(Vec<u8>),
        Seal,
        Ping(Vec<u8>),
        Send(usize),
    }

    fn any_op() -> impl Strategy<Value = Op> {
        prop_oneof![
            4 => proptest::collection::vec(any::<u8>(), 0..700).prop_map(Op::Write),
            1 => Just(Op::Seal),
            1 => proptest::collection::vec(any::<u8>(), 0..126).prop_map(Op::Ping),
            3 => (0usize..900).prop_map(Op::Send),
        ]
    }

    proptest! {
        #[test]
        fn what_is_written_arrives(client: bool, size in 512usize..3000, ops in proptest::collection::vec(any_op(), 0..60)) {
            let role = if client { Role::Client } else { Role::Server };
            let mut encoder = encoder(role, size);
            let mut keys = 0u32;
            let mut key = || { keys += 1; keys.wrapping_mul(0x9E37_79B9).to_be_bytes() };
            let (mut wire, mut written, mut pings) = (Vec::new(), Vec::new(), Vec::new());
            let mut send = |encoder: &mut Encoder, len: usize| {
                let len = len.min(encoder.output().len());
                wire.extend_from_slice(&encoder.output()[..len]);
                encoder.advance(len);
            };
            for op in ops {
                match op {
                    Op::Write(bytes) => {
                        let whole = bytes.len() % 2 == 0 && encoder.extend(&bytes);
                        let taken = if whole { bytes.len() } else { encoder.write(&bytes, &mut key) };
                        written.extend_from_slice(&bytes[..taken]);
                    }
                    Op::Seal => encoder.seal(),
                    Op::Ping(payload) => {
                        if encoder.control(OpCode::Ping, &payload, &mut key) {
                            pings.push(Event::Ping(payload));
                        }
                    }
                    Op::Send(len) => send(&mut encoder, len),
                }
            }
            encoder.seal();
            send(&mut encoder, usize::MAX);
            prop_assert!(encoder.is_empty());
            let (payload, control, _) = receive(role, &wire);
            prop_assert_eq!(payload, written);
            prop_assert_eq!(control, pings);
        }
    }

    #[test]
    fn adjacent_writes_share_a_frame_and_headers_are_shortest() {
        for role in [Role::Client, Role::Server] {
            for len in [1, 2, 125, 126, 127, 4000] {
                let mut encoder = encoder(role, 8192);
                for _ in 0..len {
                    assert_eq!(encoder.write(b"x", || [1, 2, 3, 4]), 1);
                }
                assert!(encoder.output().is_empty(), "an open frame promises nothing");
                encoder.seal();
                let header = if len < 126 { 2 } else { 4 } + if role == Role::Client { 4 } else { 0 };
                assert_eq!(encoder.output().len(), header + len);
                assert_eq!(receive(role, encoder.output()), (vec![b'x'; len], vec![], 1));
            }
        }
    }

    #[test]
    fn a_buffer_is_filled_up_to_its_reserve_and_takes_no_more() {
        let mut encoder = encoder(Role::Client, 16 * 1024 + Encoder::RESERVE);
        assert_eq!(encoder.write(&[7; 20_000], || [1; 4]), 16 * 1024 - 8);
        assert_eq!(encoder.write(b"more", || [1; 4]), 0);
        encoder.seal();
        assert_eq!(encoder.output().len(), 16 * 1024);
        assert!(!encoder.control(OpCode::Pong, b"", || [1; 4]));
        encoder.advance(16 * 1024);
        assert!(encoder.control(OpCode::Pong, b"", || [1; 4]));
    }

    #[test]
    fn a_frame_has_at_most_65535_bytes() {
        let mut encoder = encoder(Role::Server, 200_000);
        assert_eq!(encoder.write(&[7; 100_000], || [0; 4]), 65_535);
        assert_eq!(encoder.write(&[7; 1], || [0; 4]), 1);
        encoder.seal();
        assert_eq!(receive(Role::Server, encoder.output()), (vec![7; 65_536], vec![], 2));
    }

    #[test]
    fn every_masked_frame_has_a_key_of_its_own() {
        let mut encoder = encoder(Role::Client, 1024);
        let mut next = 0;
        for _ in 0..3 {
            encoder.write(b"\0\0\0\0", || {
                next += 1;
                [next; 4]
            });
            encoder.write(b"\0", || unreachable!("one key per frame"));
            encoder.seal();
        }
        assert_eq!(encoder.output(), b"\x82\x85\x01\x01\x01\x01\x01\x01\x01\x01\x01\x82\x85\x02\x02\x02\x02\x02\x02\x02\x02\x02\x82\x85\x03\x03\x03\x03\x03\x03\x03\x03\x03");
    }

    #[test]
    fn the_buffer_is_given_back_only_when_all_was_sent() {
        let mut encoder = encoder(Role::Server, 512);
        encoder.write(b"a", || [0; 4]);
        assert!(encoder.detach().is_none());
        encoder.seal();
        let len = encoder.output().len();
        encoder.advance(len);
        assert_eq!(encoder.detach().map(|buf| buf.len()), Some(512));
        assert!(!encoder.is_attached());
        assert_eq!(encoder.write(b"a", || [0; 4]), 0);
    }
}
