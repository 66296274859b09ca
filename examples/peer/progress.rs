//! A bar on a terminal.

use std::cell::Cell;
use std::io::{IsTerminal, Write, stderr};
use std::rc::Rc;

/// A bar on standard error, if that is a terminal, which goes when this is dropped.
pub(crate) struct Bar(Progress);

impl Bar {
    /// A bar that is full after so many bytes.
    pub(crate) fn new(name: &'static str, total: u64) -> Self {
        let is_shown = total > 0 && stderr().is_terminal();
        Bar(Progress { name, is_shown, total, ..Progress::default() })
    }

    /// What fills it; clones fill the same.
    pub(crate) fn progress(&self) -> Progress {
        self.0.clone()
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if self.0.is_shown {
            let _ = write!(stderr(), "\r\x1b[K");
        }
    }
}

/// How much is done; by default nobody sees it.
#[derive(Clone, Default)]
pub(crate) struct Progress {
    name: &'static str,
    is_shown: bool,
    done: Rc<Cell<u64>>,
    total: u64,
}

impl Progress {
    /// So many bytes more are done.
    pub(crate) fn add(&self, bytes: u64) {
        let done = self.done.get().saturating_add(bytes);
        let before = self.done.replace(done);
        if self.is_shown && self.percent(before) != self.percent(done) {
            let full = "#".repeat(self.percent(done) * 40 / 100);
            let _ = write!(stderr(), "\r{} [{full:<40}] {}/{} MiB", self.name, done >> 20, self.total >> 20);
        }
    }

    fn percent(&self, done: u64) -> usize {
        usize::try_from(done.saturating_mul(100) / self.total.max(1)).map_or(100, |percent| percent.min(100))
    }
}
