//! yamux's frame headers, as far as a session has to know of them.
//!
//! The muxer does not tell whether a stream ended in order or was reset, nor that it has told the peer to go away. The
//! bytes do.

/// Length of a frame's header in bytes: version, type, flags, stream, length (yamux specification, "Framing").
pub(super) const HEADER: usize = 12;

/// Types.
pub(super) const DATA: u8 = 0;
pub(super) const WINDOW_UPDATE: u8 = 1;
pub(super) const GO_AWAY: u8 = 3;

/// Flags.
pub(super) const SYN: u16 = 1;
pub(super) const FIN: u16 = 4;
pub(super) const RST: u16 = 8;

/// A frame's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) kind: u8,
    pub(super) flags: u16,
    pub(super) stream: u32,
    /// The bytes of body that follow in a frame of data; credit, opaque value or code in the others.
    pub(super) length: u32,
}

impl Header {
    pub(super) fn decode(bytes: [u8; HEADER]) -> Self {
        let [_, kind, f0, f1, s0, s1, s2, s3, l0, l1, l2, l3] = bytes;
        Header {
            kind,
            flags: u16::from_be_bytes([f0, f1]),
            stream: u32::from_be_bytes([s0, s1, s2, s3]),
            length: u32::from_be_bytes([l0, l1, l2, l3]),
        }
    }

    pub(super) fn encode(self) -> [u8; HEADER] {
        let [f0, f1] = self.flags.to_be_bytes();
        let [s0, s1, s2, s3] = self.stream.to_be_bytes();
        let [l0, l1, l2, l3] = self.length.to_be_bytes();
        [0, self.kind, f0, f1, s0, s1, s2, s3, l0, l1, l2, l3]
    }

    /// Whether the frame belongs to a stream.
    pub(super) fn is_of_stream(self) -> bool {
        matches!(self.kind, DATA | WINDOW_UPDATE)
    }

    /// Bytes that follow the header.
    fn body(self) -> u32 {
        if self.kind == DATA { self.length } else { 0 }
    }
}

/// Follows frames in a stream of bytes, however it is cut.
///
/// Headers are buffered whole, so that one can be changed before it goes on.
#[derive(Debug, Default)]
pub(super) struct Frames {
    head: [u8; HEADER],
    /// Bytes of `head` that are there; at most [`HEADER`].
    filled: usize,
    /// Bytes of the body that are still to come; above 0 only while `filled` is [`HEADER`].
    body: u32,
}

/// What comes next in a stream of bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// So many bytes of a header, which is not complete yet.
    Head(usize),
    /// So many bytes of a header, which completes it.
    Header(usize, Header),
    /// So many bytes of a body, and whether it is complete with them.
    Body(usize, bool),
}

impl Frames {
    /// What `bytes` begin with, as far as it was not taken before. Takes it, and at least a byte unless there is none.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Part {
        if self.body > 0 {
            return self.take_body(self.remaining().min(bytes.len()));
        }
        if self.filled == HEADER {
            self.filled = 0;
        }
        let len = (HEADER - self.filled).min(bytes.len());
        for (to, from) in self.head.iter_mut().skip(self.filled).zip(bytes) {
            *to = *from;
        }
        self.filled += len;
        if self.filled < HEADER {
            return Part::Head(len);
        }
        let header = self.header();
        self.body = header.body();
        Part::Header(len, header)
    }

    /// The header last completed.
    pub(super) fn header(&self) -> Header {
        Header::decode(self.head)
    }

    /// Bytes of the current body that are still to come.
    pub(super) fn remaining(&self) -> usize {
        usize::try_from(self.body).unwrap_or(usize::MAX)
    }

    /// Takes `len` bytes of a body, at most what remains of it.
    pub(super) fn take_body(&mut self, len: usize) -> Part {
        self.body -= u32::try_from(len).unwrap_or(u32::MAX).min(self.body);
        Part::Body(len, self.body == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn header() -> impl Strategy<Value = Header> {
        (0..4u8, 0..16u16, any::<u32>(), 0..40u32).prop_map(|(kind, flags, stream, length)| Header {
            kind,
            flags,
            stream,
            length,
        })
    }

    proptest! {
        #[test]
        fn a_header_survives_the_wire(header in header()) {
            prop_assert_eq!(Header::decode(header.encode()), header);
        }

        #[test]
        fn any_cut_of_the_bytes_gives_the_same_frames(
            headers in prop::collection::vec(header(), 0..8),
            cuts in prop::collection::vec(1..30usize, 1..50),
        ) {
            let mut bytes = Vec::new();
            for header in &headers {
                bytes.extend(header.encode());
                bytes.resize(bytes.len() + header.body() as usize, 0xaa);
            }
            let (mut frames, mut seen, mut whole) = (Frames::default(), Vec::new(), 0);
            let (mut rest, mut cuts) = (&bytes[..], cuts.into_iter().cycle());
            while !rest.is_empty() {
                let (mut chunk, tail) = rest.split_at(cuts.next().unwrap().min(rest.len()));
                rest = tail;
                while !chunk.is_empty() {
                    let taken = match frames.take(chunk) {
                        Part::Head(len) => len,
                        Part::Header(len, header) => {
                            seen.push(header);
                            whole += usize::from(header.body() == 0);
                            len
                        }
                        Part::Body(len, complete) => {
                            whole += usize::from(complete);
                            len
                        }
                    };
                    prop_assert!(taken > 0);
                    chunk = &chunk[taken..];
                }
            }
            prop_assert_eq!(whole, headers.len());
            prop_assert_eq!(seen, headers);
        }
    }
}
