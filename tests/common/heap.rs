//! An allocator that counts, and what a test asks of it: `#[path = "common/heap.rs"] mod heap;` makes it the program's.
#![allow(dead_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// The system's allocator, counting for each thread by itself, so that tests do not disturb each other.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

thread_local! {
    static HEAP: Cell<Heap> = const { Cell::new(Heap { allocations: 0, live: 0, peak: 0 }) };
}

#[derive(Clone, Copy, Debug)]
struct Heap {
    /// Allocations so far; one that is moved to grow counts again.
    allocations: u64,
    /// Bytes held now.
    live: isize,
    /// Most bytes ever held.
    peak: isize,
}

fn count(allocations: u64, bytes: isize) {
    // Where the thread is ending and the counter gone, nobody asks any more.
    let _ = HEAP.try_with(|heap| {
        let Heap { allocations: before, live, peak } = heap.get();
        let live = live + bytes;
        heap.set(Heap { allocations: before + allocations, live, peak: peak.max(live) });
    });
}

// SAFETY: everything is passed on to the system's allocator as it is; counting neither allocates nor unwinds.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(1, layout.size() as isize);
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(1, layout.size() as isize);
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(1, size as isize - layout.size() as isize);
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(0, -(layout.size() as isize));
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// What has happened to this thread's heap since.
pub struct Since(Heap);

impl Since {
    pub fn now() -> Self {
        HEAP.with(|heap| {
            heap.set(Heap { peak: heap.get().live, ..heap.get() });
            Since(heap.get())
        })
    }

    pub fn allocations(&self) -> u64 {
        HEAP.get().allocations - self.0.allocations
    }

    pub fn growth(&self) -> isize {
        HEAP.get().live - self.0.live
    }

    pub fn peak(&self) -> isize {
        HEAP.get().peak - self.0.live
    }
}

/// Runs a test on a thread of its own: with its own counters, and its own pool of buffers, which is empty.
pub fn apart(test: impl FnOnce() + Send + 'static) {
    if let Err(panic) = std::thread::spawn(test).join() {
        std::panic::resume_unwind(panic);
    }
}
