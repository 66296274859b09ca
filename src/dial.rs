//! Dialing.

/// Dials WebSocket multiaddrs.
#[derive(Clone, Debug)]
pub struct Dialer {}
