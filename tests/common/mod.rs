//! What the integration tests share.
#![allow(dead_code)]

pub mod patience;
pub mod pipe;
pub mod wire;
mod woken;

#[allow(unused_imports)]
pub(crate) use woken::Woken;

/// Bytes that differ from their neighbours, so that a loss or a swap shows.
pub fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i as u32).wrapping_mul(2_654_435_761).to_be_bytes()[i % 3]).collect()
}
