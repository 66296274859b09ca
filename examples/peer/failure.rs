//! Errors with what was being done, and how they are told.

use std::error::Error as StdError;
use std::fmt;

pub(crate) type Error = Box<dyn StdError>;
pub(crate) type Result<T> = std::result::Result<T, Error>;

/// An error and what was being done when it came up.
#[derive(Debug)]
struct During {
    what: String,
    cause: Error,
}

impl fmt::Display for During {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl StdError for During {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&*self.cause)
    }
}

pub(crate) trait Context<T> {
    /// Says what was being done when it failed.
    fn during(self, what: impl Into<String>) -> Result<T>;
}

impl<T, E: Into<Error>> Context<T> for std::result::Result<T, E> {
    fn during(self, what: impl Into<String>) -> Result<T> {
        self.map_err(|cause| During { what: what.into(), cause: cause.into() }.into())
    }
}

/// An error and its causes in one line. Many name their cause themselves: that is not said twice.
pub(crate) fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn every_cause_is_told_once() {
        let error = Err::<(), _>(io::Error::from(io::ErrorKind::TimedOut)).during("ping").during("dial").unwrap_err();
        assert_eq!(chain(&*error), "dial: ping: timed out");
        let wrapped = io::Error::other(io::Error::other("inside"));
        assert_eq!(chain(&wrapped), "inside");
    }
}
