//! What can go wrong with an upgrade, a session and a stream.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::sync::Arc;

use libp2p_identity::PeerId;
use multiaddr::Multiaddr;
use multistream_select::NegotiationError;

use crate::deadline::TimedOut;

/// The step in which an upgrade failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Stage {
    /// Making or signing our own keys; nothing was sent.
    Keys,
    /// Dialing, before the upgrade began ([`Upgrader::dial_address`](super::Upgrader::dial_address)).
    Dial,
    /// Agreeing on the security protocol (multistream-select).
    SecurityNegotiation,
    /// The security handshake (noise).
    Security,
    /// Comparing the peer's identity with the one that was dialed.
    Identity,
    /// Agreeing on the muxer (multistream-select).
    MuxerNegotiation,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Stage::Keys => "keys",
            Stage::Dial => "dial",
            Stage::SecurityNegotiation => "security negotiation",
            Stage::Security => "security",
            Stage::Identity => "identity",
            Stage::MuxerNegotiation => "muxer negotiation",
        })
    }
}

/// Another peer answered than the one that was dialed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WrongPeer {
    /// The peer that was dialed.
    pub expected: PeerId,
    /// The peer that answered, proven by its handshake.
    pub actual: PeerId,
}

impl fmt::Display for WrongPeer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "dialed {} but reached {}", self.expected, self.actual)
    }
}

impl StdError for WrongPeer {}

/// Why there is no session: the stage that failed, the address if one was dialed, and the cause.
///
/// The cause is what [`source`](StdError::source) returns, in its own type: a [`WrongPeer`], a [`TimedOut`], a
/// `multistream_select::NegotiationError`, a [`NoiseError`](super::NoiseError) (or the error of the security layer in its place) or
/// a [`crate::Error`].
#[derive(Debug)]
pub struct UpgradeError {
    stage: Stage,
    address: Option<Multiaddr>,
    cause: Box<dyn StdError + Send + Sync>,
}

impl UpgradeError {
    pub(crate) fn new(stage: Stage, cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        UpgradeError { stage, address: None, cause: cause.into() }
    }

    pub(crate) fn with_address(mut self, address: Multiaddr) -> Self {
        self.address.get_or_insert(address);
        self
    }

    /// The answer to a lazy proposal is read by the layer above: a refusal of security fails its handshake.
    pub(super) fn relocated(mut self) -> Self {
        if self.stage == Stage::Security && is_negotiation(&*self.cause) {
            self.stage = Stage::SecurityNegotiation;
        }
        self
    }

    /// The stage that failed, or that was running when the time was up.
    pub fn stage(&self) -> Stage {
        self.stage
    }

    /// The address dialed, where one was.
    pub fn address(&self) -> Option<&Multiaddr> {
        self.address.as_ref()
    }

    /// Both identities, if another peer answered than the one that was dialed.
    pub fn wrong_peer(&self) -> Option<&WrongPeer> {
        self.cause.downcast_ref()
    }

    /// Whether the time allowed ran out.
    pub fn is_timeout(&self) -> bool {
        causes(&*self.cause).any(|cause| {
            cause.is::<TimedOut>()
                || cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::TimedOut)
        })
    }
}

impl fmt::Display for UpgradeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.address {
            Some(address) => write!(f, "{} failed for {address}: {}", self.stage, self.cause),
            None => write!(f, "{} failed: {}", self.stage, self.cause),
        }
    }
}

impl StdError for UpgradeError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&*self.cause)
    }
}

/// An error, its cause, the cause of the cause, and so on.
fn causes<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |&cause| cause.source())
}

/// Whether an error has one of multistream-select among its causes.
pub(super) fn is_negotiation(error: &(dyn StdError + 'static)) -> bool {
    causes(error).any(|cause| {
        let inner = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        cause.is::<NegotiationError>() || inner.is_some_and(|inner| inner.is::<NegotiationError>())
    })
}

/// Why a session ended. Cheap to clone: everybody who asks is told the same.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum SessionError {
    /// It was closed in order, by either side, or its driver was dropped.
    Closed,
    /// The peer ended it with a yamux GoAway that tells of an error: 1 is a violation of the protocol, 2 an internal
    /// error.
    GoneAway(u32),
    /// The peer broke the rules of yamux; it was told so with this GoAway code.
    Violation(u32),
    /// The peer opened streams faster than they could be refused.
    Flood,
    /// The peer does not speak yamux.
    NoMuxer,
    /// The time to agree on the muxer ran out, or the time to close.
    TimedOut(TimedOut),
    /// The byte stream or what came over it failed: an IO error, a frame that is none.
    Connection(Arc<yamux::ConnectionError>),
}

impl fmt::Display for SessionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SessionError::Closed => f.write_str("session is closed"),
            SessionError::GoneAway(code) => write!(f, "peer ended the session with code {code}"),
            SessionError::Violation(code) => write!(f, "peer violated the muxer's protocol, ended with code {code}"),
            SessionError::Flood => f.write_str("peer opened too many streams too fast"),
            SessionError::NoMuxer => f.write_str("peer does not speak yamux"),
            SessionError::TimedOut(error) => write!(f, "session {error}"),
            SessionError::Connection(error) => write!(f, "connection failed: {error}"),
        }
    }
}

impl StdError for SessionError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            SessionError::TimedOut(error) => Some(error),
            SessionError::Connection(error) => Some(&**error),
            _ => None,
        }
    }
}

impl From<SessionError> for io::Error {
    fn from(error: SessionError) -> Self {
        let kind = match &error {
            SessionError::Closed => io::ErrorKind::NotConnected,
            SessionError::TimedOut(_) => io::ErrorKind::TimedOut,
            SessionError::Violation(_) => io::ErrorKind::InvalidData,
            _ => io::ErrorKind::ConnectionAborted,
        };
        io::Error::new(kind, error)
    }
}

/// Why a stream could not be opened.
#[derive(Debug)]
#[non_exhaustive]
pub enum StreamError {
    /// The session has ended.
    Session(SessionError),
    /// As many streams as the limit allows are open in this direction.
    TooManyStreams(usize),
    /// No protocol was given, or one that is not the name of a protocol: it begins with `/`, has no line feed and at
    /// most 1,024 bytes.
    InvalidProtocol(String),
    /// The peer speaks none of these protocols.
    Refused(Vec<String>),
    /// The negotiation failed otherwise; mostly the peer reset the stream.
    Negotiation(io::Error),
    /// The peer did not answer in time.
    TimedOut(TimedOut),
}

impl fmt::Display for StreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StreamError::Session(error) => error.fmt(f),
            StreamError::TooManyStreams(limit) => write!(f, "as many streams are open as may be ({limit})"),
            StreamError::InvalidProtocol(name) => write!(f, "{name:?} is not the name of a protocol"),
            StreamError::Refused(protocols) => write!(f, "peer speaks none of {}", protocols.join(", ")),
            StreamError::Negotiation(error) => write!(f, "protocol negotiation failed: {error}"),
            StreamError::TimedOut(error) => write!(f, "protocol negotiation {error}"),
        }
    }
}

impl StdError for StreamError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            StreamError::Session(error) => Some(error),
            StreamError::Negotiation(error) => Some(error),
            StreamError::TimedOut(error) => Some(error),
            _ => None,
        }
    }
}

impl From<SessionError> for StreamError {
    fn from(error: SessionError) -> Self {
        StreamError::Session(error)
    }
}

impl From<StreamError> for io::Error {
    fn from(error: StreamError) -> Self {
        let kind = match &error {
            StreamError::Session(SessionError::Closed) => io::ErrorKind::NotConnected,
            StreamError::InvalidProtocol(_) => io::ErrorKind::InvalidInput,
            StreamError::Refused(_) => io::ErrorKind::ConnectionRefused,
            StreamError::Negotiation(error) => error.kind(),
            StreamError::TimedOut(_) => io::ErrorKind::TimedOut,
            StreamError::Session(_) | StreamError::TooManyStreams(_) => io::ErrorKind::ConnectionAborted,
        };
        io::Error::new(kind, error)
    }
}
