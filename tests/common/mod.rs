//! What the integration tests share.
#![allow(dead_code)]

pub mod patience;
pub mod pipe;
pub mod wire;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Wake, Waker};

/// Counts how often its waker is woken, so that a test can poll by hand.
#[derive(Default)]
pub struct Woken(AtomicUsize);

impl Woken {
    pub fn new() -> (Arc<Self>, Waker) {
        let woken = Arc::new(Woken::default());
        (Arc::clone(&woken), Waker::from(woken))
    }

    pub fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// Bytes that differ from their neighbours, so that a loss or a swap shows.
pub fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i as u32).wrapping_mul(2_654_435_761).to_be_bytes()[i % 3]).collect()
}
