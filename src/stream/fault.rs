//! How a stream ends, and errors that can be given again and again.

use std::fmt;
use std::io;
use std::sync::Arc;

use crate::proto::{CloseCode, CloseFrame, Violation};

/// Who sent the first Close frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Initiator {
    /// This end: by closing, or because the peer broke the protocol.
    Local,
    /// The peer.
    Remote,
}

/// Who closed a connection and why; as an error, the cause inside a `ConnectionAborted`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closed {
    initiator: Initiator,
    frame: Option<CloseFrame>,
}

impl Closed {
    pub(super) fn new(initiator: Initiator, frame: Option<CloseFrame>) -> Self {
        Closed { initiator, frame }
    }

    /// Who sent the first Close frame.
    pub fn initiator(&self) -> Initiator {
        self.initiator
    }

    /// Its code; `None` if it had none (which RFC 6455 §7.1.5 calls 1005).
    pub fn code(&self) -> Option<CloseCode> {
        self.frame.as_ref().map(CloseFrame::code)
    }

    /// Its reason, in the words of who closed; often empty.
    pub fn reason(&self) -> &str {
        self.frame.as_ref().map_or("", CloseFrame::reason)
    }

    /// Whether this is the ordinary end of a connection: 1000, 1001, or no code.
    pub fn is_clean(&self) -> bool {
        matches!(self.code(), None | Some(CloseCode::NORMAL | CloseCode::GOING_AWAY))
    }
}

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.initiator {
            Initiator::Local => "connection was closed by this end",
            Initiator::Remote => "connection was closed by the peer",
        })?;
        match self.code() {
            None => f.write_str(" without a code"),
            Some(code) if self.reason().is_empty() => write!(f, " with code {code}"),
            Some(code) => write!(f, " with code {code} ({:?})", self.reason()),
        }
    }
}

impl std::error::Error for Closed {}

/// Why there is nothing more to read.
#[derive(Clone, Debug)]
pub(super) enum ReadEnd {
    /// The peer closed and there is nothing wrong with that.
    Closed,
    /// The peer closed with a code that speaks of trouble.
    Aborted(Box<Closed>),
    /// The IO ended without a Close.
    Truncated,
    /// The peer broke the protocol.
    Violated(Violation),
    /// The IO failed.
    Failed(Failure),
}

impl ReadEnd {
    /// What a read returns from now on: the end, or an error.
    pub(super) fn result(&self) -> io::Result<()> {
        match self {
            ReadEnd::Closed => Ok(()),
            ReadEnd::Aborted(closed) => Err(io::Error::new(io::ErrorKind::ConnectionAborted, *closed.clone())),
            ReadEnd::Truncated => {
                Err(io::Error::new(io::ErrorKind::UnexpectedEof, "connection ended without a close frame"))
            }
            ReadEnd::Violated(violation) => Err(io::Error::new(io::ErrorKind::InvalidData, *violation)),
            ReadEnd::Failed(failure) => Err(failure.to_error()),
        }
    }
}

/// An IO error that can be given more than once, with its cause each time.
#[derive(Clone, Debug)]
pub(super) enum Failure {
    /// One of the operating system.
    Os(i32),
    /// One that is nothing but a kind.
    Kind(io::ErrorKind),
    /// One with a cause of its own.
    Custom(Arc<io::Error>),
}

impl Failure {
    pub(super) fn new(error: io::Error) -> Self {
        match (error.raw_os_error(), error.get_ref()) {
            (Some(code), _) => Failure::Os(code),
            (None, None) => Failure::Kind(error.kind()),
            (None, Some(_)) => Failure::Custom(Arc::new(error)),
        }
    }

    pub(super) fn to_error(&self) -> io::Error {
        match self {
            Failure::Os(code) => io::Error::from_raw_os_error(*code),
            Failure::Kind(kind) => (*kind).into(),
            Failure::Custom(error) => io::Error::new(error.kind(), Shared(Arc::clone(error))),
        }
    }

    /// Whether the peer is gone: nothing that is still to be sent can arrive.
    pub(super) fn is_disconnect(&self) -> bool {
        matches!(
            self.to_error().kind(),
            io::ErrorKind::BrokenPipe
                | io::ErrorKind::ConnectionReset
                | io::ErrorKind::ConnectionAborted
                | io::ErrorKind::NotConnected
        )
    }
}

/// The text of a shared error, with that error as its source.
#[derive(Debug)]
struct Shared(Arc<io::Error>);

impl fmt::Display for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Shared {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.0)
    }
}
