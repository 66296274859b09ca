//! Time for slow machines.

use std::time::Duration;

/// `time`, multiplied by the whole number in `WS_TRANSPORT_TEST_PATIENCE`, for machines as slow as an emulated one.
///
/// For times within which something else has to happen first; whatever a test only waits out needs no patience.
pub fn patient(time: Duration) -> Duration {
    time * std::env::var("WS_TRANSPORT_TEST_PATIENCE").map_or(1, |factor| factor.parse().expect("a whole number"))
}
