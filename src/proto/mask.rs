//! Masking (RFC 6455 §5.3): every byte is XORed with the byte of a four-byte key whose turn it is.

use crate::wide::wide;

/// Bytes masked per step of the long stretches; the compiler unrolls a step into vector instructions.
///
/// The longer, the less a step's own bookkeeping weighs: per 16 KiB 3.9 thousand instructions at 64, 3.3 at 256.
const LONG: usize = 256;

/// Bytes masked per step of what is left over.
const SHORT: usize = 32;

/// A masking key and how far along it we are.
///
/// ```
/// use ws_transport::proto::Mask;
///
/// // RFC 6455 §5.7: a masked "Hello".
/// let mut payload = *b"\x7f\x9f\x4d\x51\x58";
/// Mask::new([0x37, 0xfa, 0x21, 0x3d]).apply(&mut payload);
/// assert_eq!(&payload, b"Hello");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mask {
    /// Turned so that its first byte is for the next byte of the payload.
    key: [u8; 4],
}

impl Mask {
    /// A mask at the start of its payload.
    pub const fn new(key: [u8; 4]) -> Self {
        Mask { key }
    }

    /// Masks or unmasks the next bytes of the payload in place.
    pub fn apply(&mut self, payload: &mut [u8]) {
        let word = self.word();
        let len = payload.len();
        let (long, rest) = payload.as_chunks_mut::<LONG>();
        if !long.is_empty() {
            wide(
                #[inline(always)]
                || long.iter_mut().for_each(|block| xor(block, word)),
            );
        }
        let (short, tail) = rest.as_chunks_mut::<SHORT>();
        short.iter_mut().for_each(|block| xor(block, word));
        xor_tail(tail, word);
        self.advance(len);
    }

    /// Masks or unmasks the next bytes of the payload from `from` to `to`, as many as the shorter of the two holds.
    pub fn copy(&mut self, from: &[u8], to: &mut [u8]) {
        let word = self.word();
        let len = from.len().min(to.len());
        let (Some(mut from), Some(mut to)) = (from.get(..len), to.get_mut(..len)) else { return };
        if len >= LONG {
            (from, to) = wide(
                #[inline(always)]
                || copy_blocks::<LONG>(from, to, word),
            );
        }
        if !from.is_empty() {
            copy_rest(from, to, word);
        }
        self.advance(len);
    }

    /// Masks or unmasks the next `len` bytes of the payload, which begin at `from` in `buf`, and moves them down to `to`.
    ///
    /// What does not lie inside `buf`, or would be moved up, is left alone.
    pub fn shift(&mut self, buf: &mut [u8], from: usize, to: usize, len: usize) {
        let word = self.word();
        // The gap between the two stays the same, so the walk is that of one window.
        let Some(gap) = from.checked_sub(to) else { return };
        let Some(mut area) = buf.get_mut(to..).and_then(|area| area.get_mut(..gap.saturating_add(len))) else { return };
        if len >= LONG {
            area = wide(
                #[inline(always)]
                || shift_blocks::<LONG>(area, gap, word),
            );
        }
        let area = shift_blocks::<SHORT>(area, gap, word);
        let left = area.len().saturating_sub(gap);
        area.copy_within(gap.min(area.len()).., 0);
        if let Some(tail) = area.get_mut(..left) {
            xor_tail(tail, word);
        }
        self.advance(len);
    }

    /// The key twice, as it lies in memory.
    fn word(self) -> u64 {
        let half = u64::from(u32::from_ne_bytes(self.key));
        half | half << 32
    }

    fn advance(&mut self, len: usize) {
        // In registers; turning the bytes as a slice is a call.
        let bits = u32::try_from(len & 3).unwrap_or_default().saturating_mul(8);
        self.key = u32::from_le_bytes(self.key).rotate_right(bits).to_le_bytes();
    }
}

/// Copies whole blocks and masks them on the way; gives what is left.
#[inline(always)]
fn copy_blocks<'a, 'b, const N: usize>(from: &'a [u8], to: &'b mut [u8], word: u64) -> (&'a [u8], &'b mut [u8]) {
    let (from_blocks, from_rest) = from.as_chunks::<N>();
    let (to_blocks, to_rest) = to.as_chunks_mut::<N>();
    for (from, to) in from_blocks.iter().zip(to_blocks) {
        let mut block = *from;
        xor(&mut block, word);
        *to = block;
    }
    (from_rest, to_rest)
}

/// Copies less than a long block and masks it on the way. Not inlined: with it, the loop of the long ones is left with too
/// few registers.
#[inline(never)]
fn copy_rest(from: &[u8], to: &mut [u8], word: u64) {
    let (from, to) = copy_blocks::<SHORT>(from, to, word);
    if !from.is_empty() {
        to.copy_from_slice(from);
        xor_tail(to, word);
    }
}

/// Moves whole blocks down by `gap` and masks them on the way; gives what is left, its first `gap` bytes free again.
#[inline(always)]
fn shift_blocks<const N: usize>(mut area: &mut [u8], gap: usize, word: u64) -> &mut [u8] {
    while let Some(block) = area.get(gap..).and_then(|rest| rest.first_chunk::<N>()) {
        let mut block = *block;
        xor(&mut block, word);
        // There are `gap` more bytes than a block.
        let Some((target, rest)) = std::mem::take(&mut area).split_first_chunk_mut::<N>() else { break };
        *target = block;
        area = rest;
    }
    area
}

#[inline(always)]
fn xor<const N: usize>(block: &mut [u8; N], word: u64) {
    let (words, _) = block.as_chunks_mut::<8>();
    for bytes in words {
        *bytes = (u64::from_ne_bytes(*bytes) ^ word).to_ne_bytes();
    }
}

/// Masks fewer than [`SHORT`] bytes.
#[inline(always)]
fn xor_tail(tail: &mut [u8], word: u64) {
    let (words, rest) = tail.as_chunks_mut::<8>();
    for bytes in words {
        *bytes = (u64::from_ne_bytes(*bytes) ^ word).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(word.to_ne_bytes()) {
        *byte ^= key;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn byte_by_byte(key: [u8; 4], bytes: &[u8]) -> Vec<u8> {
        bytes.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key).collect()
    }

    proptest! {
        #[test]
        fn any_chunking_masks_alike(
            key: [u8; 4],
            bytes in proptest::collection::vec(any::<u8>(), 0..1200),
            cuts in proptest::collection::vec(0usize..1200, 0..6),
        ) {
            let expected = byte_by_byte(key, &bytes);
            let mut ends: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            ends.push(bytes.len());
            ends.sort_unstable();

            let (mut in_place, mut copied) = (bytes.clone(), vec![0; bytes.len()]);
            let (mut mask, mut copy_mask) = (Mask::new(key), Mask::new(key));
            let mut start = 0;
            for end in ends {
                mask.apply(&mut in_place[start..end]);
                copy_mask.copy(&bytes[start..end], &mut copied[start..end]);
                start = end;
            }
            prop_assert_eq!(&in_place, &expected);
            prop_assert_eq!(&copied, &expected);
            prop_assert_eq!(mask, copy_mask);
        }

        #[test]
        fn a_shift_masks_and_moves(key: [u8; 4], bytes in proptest::collection::vec(any::<u8>(), 0..1200), gap in 0usize..700, to in 0usize..9) {
            let mut buf = vec![0xEE; to + gap];
            buf.extend_from_slice(&bytes);
            buf.extend_from_slice(b"after");
            let mut mask = Mask::new(key);
            mask.shift(&mut buf, to + gap, to, bytes.len());
            prop_assert_eq!(&buf[to..to + bytes.len()], &byte_by_byte(key, &bytes)[..]);
            prop_assert!(buf.ends_with(b"after"));
            prop_assert!(buf[..to].iter().all(|byte| *byte == 0xEE));
        }
    }
}
