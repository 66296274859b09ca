//! Drained buffers, kept for the next stream of the same thread.
//!
//! A stream holds a buffer only while there is data in it, so an idle one costs nothing; the pool saves the price of
//! allocating and zeroing one for every message.

use std::cell::RefCell;

/// Most bytes that a thread keeps: the read and the write buffer of a stream, the four of noise above, and some more.
const MAX_BYTES: usize = 384 * 1024;

/// Most buffers that a thread keeps, however small they are: looking for one is a walk along them.
const MAX_BUFFERS: usize = 32;

#[derive(Default)]
struct Pool {
    buffers: Vec<Box<[u8]>>,
    /// Sum of the buffers' lengths.
    bytes: usize,
}

thread_local! {
    static POOL: RefCell<Pool> = RefCell::default();
}

/// A buffer of exactly `len` bytes; its contents are arbitrary.
pub(crate) fn take(len: usize) -> Box<[u8]> {
    let pooled = POOL.try_with(|pool| {
        let mut pool = pool.try_borrow_mut().ok()?;
        let at = pool.buffers.iter().rposition(|buf| buf.len() == len)?;
        pool.bytes -= len;
        Some(pool.buffers.remove(at))
    });
    pooled.ok().flatten().unwrap_or_else(|| vec![0; len].into_boxed_slice())
}

/// Keeps a buffer for the next [`take`] of its size; the ones kept for longest are freed where it would be too much.
///
/// One without bytes is none.
pub(crate) fn give(buf: Box<[u8]>) {
    if buf.is_empty() || buf.len() > MAX_BYTES {
        return;
    }
    // Where the thread is ending and the pool gone, the buffer is freed.
    let _ = POOL.try_with(|pool| {
        let Ok(mut pool) = pool.try_borrow_mut() else { return };
        while pool.bytes + buf.len() > MAX_BYTES || pool.buffers.len() == MAX_BUFFERS {
            pool.bytes -= pool.buffers.remove(0).len();
        }
        pool.bytes += buf.len();
        pool.buffers.push(buf);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_keeps_a_bounded_number_of_bytes() {
        std::thread::spawn(|| {
            for _ in 0..100 {
                give(vec![1; 16 * 1024].into());
                give(vec![1; MAX_BYTES + 1].into());
                give(Box::default());
            }
            POOL.with_borrow(|pool| assert_eq!((pool.bytes, pool.buffers.len()), (MAX_BYTES, 24)));
            assert_eq!(take(16 * 1024)[0], 1, "a kept one");
            assert_eq!(take(1024)[0], 0, "a new one, of another size");
            POOL.with_borrow(|pool| assert_eq!(pool.buffers.len(), 23));

            for len in 512..1024 {
                give(vec![2; len].into());
            }
            POOL.with_borrow(|pool| {
                assert_eq!(pool.buffers.len(), MAX_BUFFERS);
                assert_eq!(pool.bytes, pool.buffers.iter().map(|buf| buf.len()).sum::<usize>());
            });
            assert_eq!(take(1023)[0], 2, "the newest are kept");
        })
        .join()
        .unwrap();
    }
}
