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

/// Time that closing a session may take: 10 s, the time that a peer is given for anything else.
pub(super) const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);

/// The muxer's own limit of streams, which is out of reach.
///
/// The muxer ends the whole session over one stream too many, of either side. Our limits refuse the one stream before
/// that; the muxer may still have some on its books that we have dropped. All their windows have to fit into 32 bits,
/// for the boards' sake.
const MUXER_STREAMS: usize = 4 * MAX_STREAMS - 8;

/// Smallest window of a stream in bytes (yamux specification, "Flow Control").
const INITIAL_WINDOW: usize = yamux::DEFAULT_CREDIT as usize;

/// The muxer's configuration, if the windows of its streams may grow by so many bytes together.
pub(super) fn muxer(window_growth: usize) -> yamux::Config {
    let mut config = yamux::Config::default();
    // Whatever this is above the initial windows of all streams is what the windows may grow by.
    let windows = MUXER_STREAMS * INITIAL_WINDOW + window_growth.min(WINDOW_GROWTH);
    config.set_max_connection_receive_window(None);
    config.set_max_num_streams(MUXER_STREAMS);
    config.set_max_connection_receive_window(Some(windows));
    config
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_windows_fit_into_32_bits() {
        let windows = (MUXER_STREAMS as u64) * u64::from(yamux::DEFAULT_CREDIT) + WINDOW_GROWTH as u64;
        assert!(u32::try_from(windows).is_ok(), "{windows}");
        const { assert!(MUXER_STREAMS > 2 * MAX_STREAMS) };
        muxer(WINDOW_GROWTH);
    }
}
