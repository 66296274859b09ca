//! The WebSocket protocol apart from IO: bytes into events, events into bytes (RFC 6455).

pub(crate) mod http;

/// Which end of the connection we are; the client masks what it sends (RFC 6455 §5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// The end that dialed.
    Client,
    /// The end that listened.
    Server,
}
