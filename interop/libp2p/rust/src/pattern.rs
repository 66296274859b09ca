/// A xorshift generator, so that no part of a stream looks like another.
pub struct Pattern(u64);

impl Pattern {
    pub fn new(index: u64) -> Self {
        Self(index ^ 0x9e37_79b9_7f4a_7c15)
    }

    pub fn fill(&mut self, buf: &mut [u8]) {
        for part in buf.chunks_exact_mut(8) {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            part.copy_from_slice(&self.0.to_le_bytes());
        }
    }
}
