//! The numbers of the upgrade: every one with its unit and its reason.

use std::time::Duration;

/// Default time for the whole upgrade: 10 s, as in rust-libp2p and go-libp2p's negotiation.
pub(super) const UPGRADE_TIMEOUT: Duration = Duration::from_secs(10);

/// Default time to agree on the protocol of a stream: 10 s, as in go-libp2p.
const STREAM_TIMEOUT: Duration = Duration::from_secs(10);

/// Default number of open streams in each direction.
///
/// A peer with rust-libp2p's muxer may have 256 streams under way that we have not acknowledged: no fewer, or such a
/// peer would be refused what its own limit allows.
const STREAMS: usize = 256;

/// Most streams in each direction that can be configured.
pub(super) const MAX_STREAMS: usize = 4096;

/// Bytes by which the windows of a session's streams may grow together: 768 KiB.
///
/// With its initial 256 KiB a single stream then has 1 MiB: the largest body of a frame that our yamux takes, and a
/// peer may send a frame as large as the window.
pub(super) const WINDOW_GROWTH: usize = 768 * 1024;

/// The limits of a session.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// 1 to [`MAX_STREAMS`], in each direction.
    pub(super) max_streams: usize,
    /// At most [`WINDOW_GROWTH`].
    pub(super) window_growth: usize,
    pub(super) stream_timeout: Duration,
}

impl Limits {
    pub(super) fn new() -> Self {
        Limits { max_streams: STREAMS, window_growth: WINDOW_GROWTH, stream_timeout: STREAM_TIMEOUT }
    }
}
