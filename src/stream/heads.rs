//! Guessing where the next header lies, so that payload can be received where it belongs.

use super::trial::Trial;
use crate::proto::{Header, Role};

/// What is known of the headers that come in.
///
/// A vectored read can put the header of the next frame aside, and payload before and after it where it belongs: then
/// nothing has to move up to fill the gap. That takes headers of one length, as a peer's are who sends full buffers; an IO
/// whose vectored reads fill more than the first slice; and payload that is not masked, for of what is masked every byte is
/// written again anyway.
#[derive(Debug)]
pub(super) struct Heads {
    /// Bytes of the last header of a data frame, and of the one before it.
    last: u8,
    before: u8,
    vectored: Trial,
}

impl Heads {
    /// Before the first one that this role receives.
    pub(super) fn new(role: Role) -> Self {
        let vectored = match role {
            Role::Client => Trial::Untried,
            Role::Server => Trial::DoesNotPay,
        };
        Heads { last: 0, before: 0, vectored }
    }

    /// Notes the header of a data frame.
    pub(super) fn note(&mut self, header: &Header) {
        if self.vectored == Trial::DoesNotPay {
            return;
        }
        let len = header.encode(&mut [0; Header::MAX_LEN]);
        (self.before, self.last) = (self.last, u8::try_from(len).unwrap_or_default());
    }

    /// How long the next header is likely to be, if it is worth reading aside.
    pub(super) fn expected(&self) -> Option<usize> {
        (self.vectored != Trial::DoesNotPay && self.last == self.before && self.last > 0).then_some(self.last.into())
    }

    /// Notes how much a vectored read gave whose first slice was so long.
    pub(super) fn read(&mut self, got: usize, first: usize) {
        if got >= first {
            self.vectored = self.vectored.after(got > first);
        }
    }
}
