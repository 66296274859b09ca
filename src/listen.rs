//! Listening.

/// A listening WebSocket.
#[derive(Debug)]
pub struct Listener {}
/// stub
pub struct ListenOptions {}
/// stub
pub struct Incoming {}
/// stub
pub struct Connections {}
