//! A TCP socket whose close shuts its write half down.

/// A TCP connection.
#[derive(Debug)]
pub struct Tcp {}
