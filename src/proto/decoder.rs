//! Received bytes into events.

use std::fmt;

use super::{CloseFrame, Header, Mask, OpCode, Role, Violation};

/// What received bytes mean.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A data frame begins: text, binary or continuation. Its payload follows as [`Payload`](Self::Payload) events.
    Frame(Header),
    /// The next so many bytes of the input are payload of the current data frame.
    ///
    /// Take them with [`Decoder::unmask`] or [`Decoder::unmask_down`] before the next call of [`Decoder::decode`].
    Payload(usize),
    /// A Ping with its payload, to be answered with a Pong that carries the same (RFC 6455 §5.5.2).
    Ping(Vec<u8>),
    /// A Pong with its payload.
    Pong(Vec<u8>),
    /// A Close; whatever follows it is thrown away (RFC 6455 §5.5.1).
    Close(Option<CloseFrame>),
}

/// Splits received bytes into headers, payload and control frames, whatever pieces they come in.
///
/// It holds no payload of data frames, so its memory does not depend on any length that the peer declares: at most one
/// control frame of 125 bytes.
///
/// ```
/// use ws_transport::proto::{Decoder, Event, Role};
///
/// // RFC 6455 §5.7: a fragmented unmasked "Hello", as a client receives it.
/// let mut wire = *b"\x02\x03Hel\x80\x02lo";
/// let (mut at, mut payload) = (0, Vec::new());
/// let mut decoder = Decoder::new(Role::Client);
/// loop {
///     let (used, event) = decoder.decode(&wire[at..])?;
///     at += used;
///     match event {
///         Some(Event::Payload(len)) => {
///             let bytes = &mut wire[at..at + len];
///             decoder.unmask(bytes);
///             payload.extend_from_slice(bytes);
///             at += len;
///         }
///         Some(_) => {}
///         None => break,
///     }
/// }
/// assert_eq!(payload, b"Hello");
/// # Ok::<(), ws_transport::proto::Violation>(())
/// ```
pub struct Decoder {
    role: Role,
    state: State,
    /// Start of a header whose rest has not come: `head[..head_len]`.
    head: [u8; Header::MAX_LEN],
    head_len: u8,
    /// Whether a fragmented message was begun and not ended (RFC 6455 §5.4).
    in_message: bool,
    /// Mask of the current frame, turned to its next byte; `None` if it is not masked.
    mask: Option<Mask>,
    /// Payload bytes of the current data frame that are still to come.
    remaining: u64,
    /// Payload of the control frame that is being received.
    control: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Waits for a header, or for payload of a data frame where some remains.
    Data,
    /// Waits for so many payload bytes in all of a control frame.
    Control { opcode: OpCode, len: usize },
    /// Received a Close: throws everything away.
    Closed,
    /// Received a violation: reports it again and again.
    Failed(Violation),
}

impl Decoder {
    /// A decoder for what the end of this role receives.
    pub const fn new(role: Role) -> Self {
        Decoder {
            role,
            state: State::Data,
            head: [0; Header::MAX_LEN],
            head_len: 0,
            in_message: false,
            mask: None,
            remaining: 0,
            control: Vec::new(),
        }
    }

    /// Says what comes next in `input`, and how many bytes in front of that are used up.
    ///
    /// With `None` all of `input` is used up and more is needed. After a violation it fails in the same way again.
    pub fn decode(&mut self, input: &[u8]) -> Result<(usize, Option<Event>), Violation> {
        match self.state {
            State::Data if self.remaining > 0 => {
                let remaining = usize::try_from(self.remaining).unwrap_or(usize::MAX);
                match input.len().min(remaining) {
                    0 => Ok((0, None)),
                    len => Ok((0, Some(Event::Payload(len)))),
                }
            }
            State::Data => self.header(input).inspect_err(|violation| self.state = State::Failed(*violation)),
            State::Control { opcode, len } => {
                self.control(opcode, len, input).inspect_err(|violation| self.state = State::Failed(*violation))
            }
            State::Closed => Ok((input.len(), None)),
            State::Failed(violation) => Err(violation),
        }
    }

    /// Unmasks payload announced by [`Event::Payload`] in place; `payload` may be the front part of it.
    pub fn unmask(&mut self, payload: &mut [u8]) {
        if let Some(mask) = &mut self.mask {
            mask.apply(payload);
        }
        self.take(payload.len());
    }

    /// Unmasks payload at the front of `from` into `to`, as much as is there and `to` holds, and says how much that was.
    ///
    /// What follows the payload of the current frame is left alone.
    pub fn unmask_into(&mut self, from: &[u8], to: &mut [u8]) -> usize {
        let remaining = usize::try_from(self.remaining).unwrap_or(usize::MAX);
        let len = from.len().min(to.len()).min(remaining);
        let (Some(from), Some(to)) = (from.get(..len), to.get_mut(..len)) else { return 0 };
        match &mut self.mask {
            Some(mask) => mask.copy(from, to),
            None => to.copy_from_slice(from),
        }
        self.take(len);
        len
    }

    /// Unmasks `len` bytes of payload at `from` in `buf` and moves them down to `to`.
    pub fn unmask_down(&mut self, buf: &mut [u8], from: usize, to: usize, len: usize) {
        match &mut self.mask {
            Some(mask) => mask.shift(buf, from, to, len),
            None if from == to => {}
            None => {
                if let Some(end) = from.checked_add(len).filter(|end| *end <= buf.len() && to < from) {
                    buf.copy_within(from..end, to);
                }
            }
        }
        self.take(len);
    }

    /// Whether all frames received so far are complete: the only place where a peer may end cleanly.
    pub fn is_between_frames(&self) -> bool {
        self.state == State::Data && self.remaining == 0 && self.head_len == 0
    }

    /// How much payload of the current data frame is still to come before the next header; `None` within anything else.
    pub(crate) fn remaining(&self) -> Option<usize> {
        (self.state == State::Data && self.head_len == 0).then(|| usize::try_from(self.remaining).unwrap_or(usize::MAX))
    }

    fn take(&mut self, len: usize) {
        self.remaining = self.remaining.saturating_sub(len as u64);
    }

    fn header(&mut self, input: &[u8]) -> Result<(usize, Option<Event>), Violation> {
        let (header, used) = if self.head_len == 0 {
            match Header::decode(input)? {
                Some(found) => found,
                None => {
                    self.keep_head(input);
                    return Ok((input.len(), None));
                }
            }
        } else {
            let had = usize::from(self.head_len);
            let kept = self.keep_head(input);
            match Header::decode(self.head.get(..usize::from(self.head_len)).unwrap_or_default())? {
                Some((header, len)) => (header, len.saturating_sub(had)),
                None => return Ok((kept, None)),
            }
        };
        self.head_len = 0;
        self.start(header).map(|event| (used, event)).and_then(|(used, event)| match event {
            Some(event) => Ok((used, Some(event))),
            None => self.after_control_header(used, input),
        })
    }

    /// Checks a header against what may come now; a data frame is an event at once, a control frame after its payload.
    fn start(&mut self, header: Header) -> Result<Option<Event>, Violation> {
        match (self.role, header.mask) {
            (Role::Server, None) => return Err(Violation::Unmasked),
            (Role::Client, Some(_)) => return Err(Violation::Masked),
            _ => self.mask = header.mask.map(Mask::new),
        }
        match header.opcode {
            OpCode::Continuation if !self.in_message => Err(Violation::UnexpectedContinuation),
            OpCode::Text | OpCode::Binary if self.in_message => Err(Violation::UnfinishedMessage),
            OpCode::Continuation | OpCode::Text | OpCode::Binary => {
                self.in_message = !header.fin;
                self.remaining = header.len;
                Ok(Some(Event::Frame(header)))
            }
            opcode => {
                // At most 125, as `Header::decode` made sure.
                let len = usize::try_from(header.len).map_err(|_| Violation::LongControl)?;
                self.control = Vec::with_capacity(len.min(Header::MAX_CONTROL));
                self.state = State::Control { opcode, len };
                Ok(None)
            }
        }
    }

    fn after_control_header(&mut self, used: usize, input: &[u8]) -> Result<(usize, Option<Event>), Violation> {
        let State::Control { opcode, len } = self.state else { return Ok((used, None)) };
        let (more, event) = self.control(opcode, len, input.get(used..).unwrap_or_default())?;
        Ok((used.saturating_add(more), event))
    }

    fn control(&mut self, opcode: OpCode, len: usize, input: &[u8]) -> Result<(usize, Option<Event>), Violation> {
        let missing = len.saturating_sub(self.control.len());
        let (part, _) = input.split_at_checked(missing).unwrap_or((input, &[]));
        self.control.extend_from_slice(part);
        if part.len() < missing {
            return Ok((part.len(), None));
        }

        let mut payload = std::mem::take(&mut self.control);
        if let Some(mask) = &mut self.mask {
            mask.apply(&mut payload);
        }
        self.state = State::Data;
        let event = match opcode {
            OpCode::Ping => Event::Ping(payload),
            OpCode::Pong => Event::Pong(payload),
            _ => {
                let close = CloseFrame::decode(&payload)?;
                self.state = State::Closed;
                Event::Close(close)
            }
        };
        Ok((part.len(), Some(event)))
    }

    /// Keeps as much of `input` as a header can have, and says how much that is.
    fn keep_head(&mut self, input: &[u8]) -> usize {
        let room = self.head.get_mut(usize::from(self.head_len)..).unwrap_or_default();
        let len = room.len().min(input.len());
        for (kept, byte) in room.iter_mut().zip(input) {
            *kept = *byte;
        }
        // At most `Header::MAX_LEN`.
        self.head_len = self.head_len.saturating_add(u8::try_from(len).unwrap_or(u8::MAX));
        len
    }
}

impl fmt::Debug for Decoder {
    /// Shows where it stands, and no payload.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoder")
            .field("role", &self.role)
            .field("state", &self.state)
            .field("in_message", &self.in_message)
            .field("remaining", &self.remaining)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::super::CloseCode;
    use super::*;
    use proptest::prelude::*;

    /// What a stream of bytes means once chunking is taken out of it: payload bytes are joined.
    #[derive(Clone, Debug, PartialEq)]
    enum Meaning {
        Frame(Header),
        Payload(Vec<u8>),
        Control(Event),
        Failed(Violation),
    }

    fn decode(role: Role, chunks: &[&[u8]]) -> Vec<Meaning> {
        let mut decoder = Decoder::new(role);
        let mut meanings = Vec::new();
        for chunk in chunks {
            let mut chunk = chunk.to_vec();
            let mut at = 0;
            loop {
                let (used, event) = match decoder.decode(&chunk[at..]) {
                    Ok(next) => next,
                    Err(violation) => {
                        meanings.push(Meaning::Failed(violation));
                        assert_eq!(decoder.decode(b"more"), Err(violation), "a violation is sticky");
                        return meanings;
                    }
                };
                at += used;
                match event {
                    None => break,
                    Some(Event::Payload(len)) => {
                        assert!(len > 0 && at + len <= chunk.len());
                        decoder.unmask(&mut chunk[at..at + len]);
                        match meanings.last_mut() {
                            Some(Meaning::Payload(payload)) => payload.extend_from_slice(&chunk[at..at + len]),
                            _ => meanings.push(Meaning::Payload(chunk[at..at + len].to_vec())),
                        }
                        at += len;
                    }
                    Some(Event::Frame(header)) => meanings.push(Meaning::Frame(header)),
                    Some(event) => meanings.push(Meaning::Control(event)),
                }
            }
            assert_eq!(at, chunk.len(), "everything is used up");
        }
        meanings
    }

    fn frame(fin: bool, opcode: OpCode, mask: Option<[u8; 4]>, payload: &[u8]) -> Vec<u8> {
        let mut head = [0; Header::MAX_LEN];
        let len = Header { fin, opcode, mask, len: payload.len() as u64 }.encode(&mut head);
        let mut bytes = head[..len].to_vec();
        let mut payload = payload.to_vec();
        if let Some(key) = mask {
            Mask::new(key).apply(&mut payload);
        }
        bytes.extend_from_slice(&payload);
        bytes
    }

    /// Some bytes of each kind; what they mean is not looked at here.
    fn any_wire() -> impl Strategy<Value = Vec<u8>> {
        let opcode = prop_oneof![
            Just(OpCode::Binary),
            Just(OpCode::Continuation),
            Just(OpCode::Text),
            Just(OpCode::Ping),
            Just(OpCode::Pong),
            Just(OpCode::Close)
        ];
        let payload = prop_oneof![
            Just(Vec::new()),
            Just(vec![0x03, 0xe8]),
            proptest::collection::vec(any::<u8>(), 0..130),
            proptest::collection::vec(any::<u8>(), 0..800),
        ];
        let one = (any::<bool>(), opcode, any::<Option<[u8; 4]>>(), payload)
            .prop_map(|(fin, opcode, mask, payload)| frame(fin, opcode, mask, &payload));
        let garbage = proptest::collection::vec(any::<u8>(), 0..20);
        (proptest::collection::vec(one, 0..8), garbage).prop_map(|(frames, tail)| {
            let mut wire = frames.concat();
            wire.extend_from_slice(&tail);
            wire
        })
    }

    proptest! {
        #[test]
        fn any_chunking_means_the_same(
            server: bool,
            wire in any_wire(),
            cuts in proptest::collection::vec(0usize..4000, 0..12),
        ) {
            let role = if server { Role::Server } else { Role::Client };
            let whole = decode(role, &[&wire]);
            let single: Vec<&[u8]> = wire.chunks(1).collect();
            prop_assert_eq!(&decode(role, &single), &whole);

            let mut ends: Vec<usize> = cuts.into_iter().map(|cut| cut.min(wire.len())).collect();
            ends.push(wire.len());
            ends.sort_unstable();
            let mut start = 0;
            let mut chunks = Vec::new();
            for end in ends {
                chunks.push(&wire[start..end]);
                start = end;
            }
            prop_assert_eq!(&decode(role, &chunks), &whole);
        }

        #[test]
        fn fragments_with_control_frames_between_give_their_bytes(
            parts in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 1..8),
            ping_at in 0usize..8,
            key: [u8; 4],
        ) {
            let mut wire = Vec::new();
            for (i, part) in parts.iter().enumerate() {
                if i == ping_at {
                    wire.extend(frame(true, OpCode::Ping, Some(key), b"between"));
                }
                let opcode = if i == 0 { OpCode::Binary } else { OpCode::Continuation };
                wire.extend(frame(i + 1 == parts.len(), opcode, Some(key), part));
            }
            let meanings = decode(Role::Server, &[&wire]);
            let bytes: Vec<u8> = meanings
                .iter()
                .filter_map(|meaning| if let Meaning::Payload(bytes) = meaning { Some(&bytes[..]) } else { None })
                .collect::<Vec<_>>()
                .concat();
            prop_assert_eq!(bytes, parts.concat());
            let pings = meanings.iter().filter(|meaning| **meaning == Meaning::Control(Event::Ping(b"between".to_vec())));
            prop_assert_eq!(pings.count(), usize::from(ping_at < parts.len()));
        }
    }

    #[test]
    fn the_examples_of_rfc_6455_section_5_7() {
        let hello = |opcode| {
            vec![Meaning::Frame(Header { fin: true, opcode, mask: None, len: 5 }), Meaning::Payload(b"Hello".to_vec())]
        };
        assert_eq!(decode(Role::Client, &[b"\x81\x05Hello"]), hello(OpCode::Text));

        let masked = b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";
        let meanings = decode(Role::Server, &[masked]);
        assert_eq!(meanings[1], Meaning::Payload(b"Hello".to_vec()));

        let fragmented = decode(Role::Client, &[b"\x01\x03Hel\x80\x02lo"]);
        assert_eq!(fragmented[1], Meaning::Payload(b"Hel".to_vec()));
        assert_eq!(fragmented[3], Meaning::Payload(b"lo".to_vec()));

        let ping = decode(Role::Client, &[b"\x89\x05Hello"]);
        assert_eq!(ping, [Meaning::Control(Event::Ping(b"Hello".to_vec()))]);
        let pong = decode(Role::Server, &[b"\x8a\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"]);
        assert_eq!(pong, [Meaning::Control(Event::Pong(b"Hello".to_vec()))]);

        for (head, len) in [(&b"\x82\x7e\x01\x00"[..], 256u64), (b"\x82\x7f\0\0\0\0\0\x01\0\0", 65_536)] {
            let header = Header { fin: true, opcode: OpCode::Binary, mask: None, len };
            assert_eq!(decode(Role::Client, &[head]), [Meaning::Frame(header)]);
        }
    }

    #[test]
    fn breaches_of_the_frame_sequence_are_told_apart() {
        let client = |wire: &[u8]| decode(Role::Client, &[wire]).pop().unwrap();
        assert_eq!(client(b"\x80\0"), Meaning::Failed(Violation::UnexpectedContinuation));
        assert_eq!(client(b"\x02\x01a\x82\x01b"), Meaning::Failed(Violation::UnfinishedMessage));
        assert_eq!(client(b"\x82\x80abcd"), Meaning::Failed(Violation::Masked));
        assert_eq!(client(b"\x88\x01\x03"), Meaning::Failed(Violation::CloseBody));
        assert_eq!(client(b"\x88\x02\x03\xed"), Meaning::Failed(Violation::CloseCode(1005)));
        assert_eq!(decode(Role::Server, &[b"\x82\x01a"]), [Meaning::Failed(Violation::Unmasked)]);
    }

    #[test]
    fn what_follows_a_close_is_thrown_away() {
        let wire = b"\x88\x02\x03\xe8\x82\x01a\xff\xff\xff";
        let close = Event::Close(Some(CloseCode::NORMAL.into()));
        assert_eq!(decode(Role::Client, &[wire]), [Meaning::Control(close)]);
    }

    #[test]
    fn a_declared_length_costs_nothing() {
        let mut decoder = Decoder::new(Role::Client);
        let (used, event) = decoder.decode(b"\x82\x7f\x3f\xff\xff\xff\xff\xff\xff\xff").unwrap();
        assert_eq!(used, 10);
        assert!(matches!(event, Some(Event::Frame(Header { len, .. })) if len == (1 << 62) - 1));
        assert_eq!(decoder.decode(b"abc"), Ok((0, Some(Event::Payload(3)))));
        assert_eq!(decoder.control.capacity(), 0);
    }

    #[test]
    fn a_length_of_just_over_32_bits_is_not_cut_off() {
        let mut decoder = Decoder::new(Role::Client);
        decoder.decode(b"\x82\x7f\0\0\0\x01\0\0\0\x05").unwrap();
        let mut bytes = *b"12345\x82\x01a";
        assert_eq!(decoder.decode(&bytes), Ok((0, Some(Event::Payload(bytes.len())))));
        decoder.unmask(&mut bytes);
        assert!(!decoder.is_between_frames());
    }

    #[test]
    fn unmasking_downwards_equals_unmasking_in_place() {
        for mask in [None, Some([7, 77, 17, 71])] {
            let payload: Vec<u8> = (0..=255).collect();
            let mut wire = frame(true, OpCode::Binary, mask, &payload);
            let role = if mask.is_some() { Role::Server } else { Role::Client };
            let mut decoder = Decoder::new(role);
            let (used, _) = decoder.decode(&wire).unwrap();
            let len = wire.len() - used;
            decoder.unmask_down(&mut wire, used, 0, len);
            assert_eq!(&wire[..256], &payload[..]);
            assert!(decoder.is_between_frames());
        }
    }
}
