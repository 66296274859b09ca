//! The frame header (RFC 6455 §5.2).

use super::Violation;

/// What a frame carries (RFC 6455 §5.2, §11.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OpCode {
    /// More of the message begun before.
    Continuation = 0x0,
    /// UTF-8 text.
    Text = 0x1,
    /// Bytes.
    Binary = 0x2,
    /// The sender will send nothing more.
    Close = 0x8,
    /// Asks for a [`Pong`](Self::Pong) with the same payload.
    Ping = 0x9,
    /// Answers a [`Ping`](Self::Ping), or comes unasked.
    Pong = 0xA,
}

impl OpCode {
    /// The opcode of these four bits, unless they are reserved.
    pub const fn from_bits(bits: u8) -> Option<Self> {
        Some(match bits {
            0x0 => OpCode::Continuation,
            0x1 => OpCode::Text,
            0x2 => OpCode::Binary,
            0x8 => OpCode::Close,
            0x9 => OpCode::Ping,
            0xA => OpCode::Pong,
            _ => return None,
        })
    }

    /// Whether this is a control frame: Close, Ping or Pong (RFC 6455 §5.5).
    pub const fn is_control(self) -> bool {
        matches!(self, OpCode::Close | OpCode::Ping | OpCode::Pong)
    }
}

/// A frame header.
///
/// ```
/// use ws_transport::proto::{Header, OpCode};
///
/// // RFC 6455 §5.7: "Hello" as a single unmasked text frame.
/// let (header, len) = Header::decode(b"\x81\x05Hello").unwrap().unwrap();
/// assert_eq!(header, Header { fin: true, opcode: OpCode::Text, mask: None, len: 5 });
/// assert_eq!(len, 2);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Header {
    /// Whether this is the last frame of its message.
    pub fin: bool,
    /// What the frame carries.
    pub opcode: OpCode,
    /// The masking key, if the payload is masked.
    pub mask: Option<[u8; 4]>,
    /// Length of the payload in bytes, below 2^63.
    pub len: u64,
}

impl Header {
    /// Length of the longest header, in bytes: 2, an eight-byte length, a masking key.
    pub const MAX_LEN: usize = 14;

    /// Longest payload of a control frame, in bytes (RFC 6455 §5.5).
    pub const MAX_CONTROL: usize = 125;

    /// Reads the header at the start of `bytes` and says how long it is; `None` while it is incomplete.
    ///
    /// A violation that the bytes at hand already show is reported although the header is incomplete. A length that is
    /// not in its shortest form is one (RFC 6455 §5.2 demands the shortest).
    pub fn decode(bytes: &[u8]) -> Result<Option<(Header, usize)>, Violation> {
        let [first, rest @ ..] = bytes else { return Ok(None) };
        let reserved = first & 0x70;
        if reserved != 0 {
            return Err(Violation::ReservedBits(reserved >> 4));
        }
        let bits = first & 0x0f;
        let opcode = OpCode::from_bits(bits).ok_or(Violation::ReservedOpCode(bits))?;
        let fin = first & 0x80 != 0;
        if opcode.is_control() && !fin {
            return Err(Violation::FragmentedControl);
        }

        let [second, rest @ ..] = rest else { return Ok(None) };
        let (len, rest) = match second & 0x7f {
            short @ 0..=125 => (u64::from(short), rest),
            _ if opcode.is_control() => return Err(Violation::LongControl),
            126 => {
                let Some((bytes, rest)) = rest.split_first_chunk() else { return Ok(None) };
                match u16::from_be_bytes(*bytes) {
                    0..=125 => return Err(Violation::LengthNotMinimal),
                    len => (u64::from(len), rest),
                }
            }
            _ => {
                let Some((bytes, rest)) = rest.split_first_chunk() else { return Ok(None) };
                match u64::from_be_bytes(*bytes) {
                    0..=0xffff => return Err(Violation::LengthNotMinimal),
                    len if len >> 63 == 1 => return Err(Violation::LengthTopBit),
                    len => (len, rest),
                }
            }
        };
        let (mask, rest) = if second & 0x80 == 0 {
            (None, rest)
        } else {
            let Some((key, rest)) = rest.split_first_chunk() else { return Ok(None) };
            (Some(*key), rest)
        };
        Ok(Some((Header { fin, opcode, mask, len }, bytes.len().saturating_sub(rest.len()))))
    }

    /// Writes the header to the front of `out`, in its shortest form, and says how long it is.
    pub fn encode(&self, out: &mut [u8; Self::MAX_LEN]) -> usize {
        let masked = if self.mask.is_some() { 0x80 } else { 0 };
        let fin = if self.fin { 0x80 } else { 0 };
        let first = fin | self.opcode as u8;
        let mut len = match (u8::try_from(self.len), u16::try_from(self.len)) {
            (Ok(short @ 0..=125), _) => {
                put(out, 0, &[first, masked | short]);
                2
            }
            (_, Ok(medium)) => {
                put(out, 0, &[first, masked | 126]);
                put(out, 2, &medium.to_be_bytes());
                4
            }
            _ => {
                put(out, 0, &[first, masked | 127]);
                put(out, 2, &self.len.to_be_bytes());
                10
            }
        };
        if let Some(key) = &self.mask {
            put(out, len, key);
            len = len.saturating_add(4);
        }
        len
    }
}

/// Copies `bytes` to `out` from `at` on; what does not fit is left out, and with the constants above all fits.
fn put(out: &mut [u8; Header::MAX_LEN], at: usize, bytes: &[u8]) {
    if let Some(room) = out.get_mut(at..).and_then(|rest| rest.get_mut(..bytes.len())) {
        room.copy_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encoded(header: Header) -> Vec<u8> {
        let mut out = [0; Header::MAX_LEN];
        let len = header.encode(&mut out);
        out[..len].to_vec()
    }

    #[test]
    fn lengths_take_their_shortest_form_at_every_boundary() {
        for (len, size) in [
            (0, 2),
            (1, 2),
            (125, 2),
            (126, 4),
            (127, 4),
            (65_535, 4),
            (65_536, 10),
            (1 << 31, 10),
            ((1 << 32) + 5, 10),
            ((1 << 63) - 1, 10),
        ] {
            for mask in [None, Some([1, 2, 3, 4])] {
                let header = Header { fin: true, opcode: OpCode::Binary, mask, len };
                let bytes = encoded(header);
                assert_eq!(bytes.len(), size + if mask.is_some() { 4 } else { 0 }, "{len}");
                assert_eq!(Header::decode(&bytes), Ok(Some((header, bytes.len()))));
            }
        }
    }

    #[test]
    fn every_prefix_of_a_header_is_incomplete() {
        for len in [5, 300, 70_000] {
            let bytes = encoded(Header { fin: true, opcode: OpCode::Binary, mask: Some([9; 4]), len });
            for end in 0..bytes.len() {
                assert_eq!(Header::decode(&bytes[..end]), Ok(None), "{end} of {len}");
            }
        }
    }

    #[test]
    fn lengths_beyond_63_bits_and_padded_lengths_are_refused() {
        for (bytes, violation) in [
            (&b"\x82\x7f\x80\0\0\0\0\0\0\0"[..], Violation::LengthTopBit),
            (&[0x82, 0x7f, 255, 255, 255, 255, 255, 255, 255, 255], Violation::LengthTopBit),
            (b"\x82\x7f\0\0\0\0\0\0\xff\xff", Violation::LengthNotMinimal),
            (b"\x82\x7e\0\x7d", Violation::LengthNotMinimal),
            (b"\x82\x7e\0\0", Violation::LengthNotMinimal),
        ] {
            assert_eq!(Header::decode(bytes), Err(violation), "{bytes:?}");
        }
    }

    #[test]
    fn reserved_bits_and_opcodes_are_refused_at_the_first_byte() {
        for first in 0..=255u8 {
            let result = Header::decode(&[first]);
            let reserved = (first >> 4) & 7;
            let known = matches!(first & 15, 0 | 1 | 2 | 8 | 9 | 10);
            let control = first & 8 != 0;
            if reserved != 0 {
                assert_eq!(result, Err(Violation::ReservedBits(reserved)));
            } else if !known {
                assert_eq!(result, Err(Violation::ReservedOpCode(first & 15)));
            } else if control && first < 0x80 {
                assert_eq!(result, Err(Violation::FragmentedControl));
            } else {
                assert_eq!(result, Ok(None));
            }
        }
    }

    #[test]
    fn long_control_frames_are_refused_at_the_second_byte() {
        for first in [0x88, 0x89, 0x8a] {
            for len in [126, 127] {
                assert_eq!(Header::decode(&[first, len]), Err(Violation::LongControl));
                assert_eq!(Header::decode(&[first, 0x80 | len]), Err(Violation::LongControl));
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(fin: bool, opcode in 0usize..3, len in 0u64..1 << 63, mask: Option<[u8; 4]>) {
            let opcode = [OpCode::Continuation, OpCode::Text, OpCode::Binary][opcode];
            let header = Header { fin, opcode, mask, len };
            let bytes = encoded(header);
            prop_assert_eq!(Header::decode(&bytes), Ok(Some((header, bytes.len()))));
        }

        #[test]
        fn any_bytes_are_decoded_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..20)) {
            if let Ok(Some((header, len))) = Header::decode(&bytes) {
                prop_assert!(len <= bytes.len());
                prop_assert_eq!(&encoded(header)[..], &bytes[..len]);
            }
        }
    }
}
