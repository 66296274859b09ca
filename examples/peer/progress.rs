//! A bar on a terminal.

use std::cell::Cell;
use std::io::{IsTerminal, Write, stderr};

/// A bar on standard error, if that is a terminal, which goes when this is dropped.
pub(crate) struct Progress {
    name: &'static str,
    is_shown: bool,
    done: Cell<u64>,
    total: u64,
}

impl Progress {
    pub(crate) fn new(name: &'static str, total: u64) -> Self {
        Progress { name, is_shown: total > 0 && stderr().is_terminal(), done: Cell::new(0), total }
    }

    /// One that nobody sees.
    pub(crate) fn hidden() -> Self {
        Progress { name: "", is_shown: false, done: Cell::new(0), total: 0 }
    }

    /// So many bytes more are done.
    pub(crate) fn add(&self, bytes: u64) {
        let before = self.done.replace(self.done.get().saturating_add(bytes));
        if self.is_shown && self.hundredth(before) != self.hundredth(self.done.get()) {
            self.draw();
        }
    }

    fn hundredth(&self, done: u64) -> u64 {
        done.saturating_mul(100) / self.total.max(1)
    }

    fn draw(&self) {
        let full = self.hundredth(self.done.get()).min(100) as usize * 40 / 100;
        let (done, total) = (self.done.get() >> 20, self.total >> 20);
        let _ = write!(stderr(), "\r{} [{:<40}] {done}/{total} MiB", self.name, "#".repeat(full));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.is_shown {
            let _ = write!(stderr(), "\r\x1b[K");
        }
    }
}
