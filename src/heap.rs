//! What a muxer's frames ask of the system's allocator.

use std::hint::black_box;
use std::sync::Once;

/// Size of the block that is freed, in bytes: 1 MiB, as large as a window grows; glibc learns from no more than 512 KiB where
/// words have 32 bits, its own share included.
const BLOCK: usize = if usize::BITS < 64 { 448 * 1024 } else { 1024 * 1024 };

/// Has glibc keep up to 2 MiB that are free at the end of a heap (896 KiB on 32 bits), where it would keep 128 KiB.
///
/// yamux takes a `Vec` for each frame, and they come in bursts of a window, 256 KiB to 1 MiB. Where those happen to lie at
/// the end of the heap they go back to the kernel and come again, page by page, with every burst. glibc keeps twice the
/// largest block that was mapped by itself and freed (mallopt(3), `M_MMAP_THRESHOLD`), so one is: once in a process, and
/// without touching its pages. Whoever sets `MALLOC_TRIM_THRESHOLD_` has the last word. Other allocators do not mind.
pub(crate) fn expect_bursts() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| drop(black_box(Vec::<u8>::with_capacity(BLOCK))));
}
