//! Inbound streams on their way to a protocol, and the account of those that never got to one.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use multistream_select::listener_select_proto;

use super::stream::Stream;
use super::substream::Substream;
use crate::crowd::Crowd;
use crate::deadline::Deadline;

/// Negotiations under way.
pub(super) struct Negotiations(Crowd<Option<Stream>>);

impl Negotiations {
    pub(super) fn new() -> Self {
        Negotiations(Crowd::new())
    }

    /// Waits for the remote to propose, until it proposes one of `protocols` or `allowed` is over.
    pub(super) fn push(&mut self, stream: Substream, protocols: Arc<[String]>, allowed: Duration) {
        let (shared, fate) = (stream.shared(), stream.fate());
        let work = Box::pin(async move {
            let names = (0..protocols.len()).map(|at| Name { all: Arc::clone(&protocols), at });
            let select = listener_select_proto(stream, names);
            let (name, io) = Deadline::after(allowed).run(pin!(select)).await.ok()?.ok()?;
            fate.negotiated.store(true, Ordering::Relaxed);
            Some(Stream::new(name.as_ref().to_owned(), io, shared, fate))
        });
        self.0.push(work);
    }

    /// The next that ends: with its stream, or with none if nothing came of it. Its waker is that of `cx`.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Stream>> {
        self.0.poll_next(cx)
    }

    /// Drops all of them.
    pub(super) fn clear(&mut self) {
        self.0 = Crowd::new();
    }
}

/// One of the protocols that are served, cheap to clone.
#[derive(Clone)]
struct Name {
    all: Arc<[String]>,
    at: usize,
}

impl AsRef<str> for Name {
    fn as_ref(&self) -> &str {
        self.all.get(self.at).map_or("", String::as_str)
    }
}

/// Inbound streams that may come to nothing at once before the peer is taken to flood us.
///
/// As many as a peer with our muxer may have under way unacknowledged, so that none which only hit a limit is.
const BURST: u32 = 256;

/// And how often one more from then on: 32 in a second.
const INTERVAL: Duration = Duration::from_micros(31_250);

/// How many more inbound streams may come to nothing: refused, reset, silent, or of no protocol that is served.
pub(super) struct Patience {
    /// At most [`BURST`].
    left: u32,
    /// The time up to which `left` was raised.
    at: Instant,
}

impl Patience {
    pub(super) fn new(now: Instant) -> Self {
        Patience { left: BURST, at: now }
    }

    /// One more came to nothing; `false` if that was one too many.
    pub(super) fn try_one_more(&mut self, now: Instant) -> bool {
        let gained = now.saturating_duration_since(self.at).as_nanos() / INTERVAL.as_nanos();
        match u32::try_from(gained).ok().filter(|gained| *gained < BURST - self.left) {
            Some(gained) => {
                self.left += gained;
                self.at += INTERVAL * gained;
            }
            None => (self.left, self.at) = (BURST, now),
        }
        match self.left.checked_sub(1) {
            Some(left) => {
                self.left = left;
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_ends_and_comes_back_slowly() {
        let mut now = Instant::now();
        let mut patience = Patience::new(now);
        assert!((0..BURST).all(|_| patience.try_one_more(now)));
        assert!(!patience.try_one_more(now));

        now += Duration::from_secs(1);
        assert!((0..32).all(|_| patience.try_one_more(now)));
        assert!(!patience.try_one_more(now));

        now += Duration::from_secs(3600);
        assert!((0..BURST).all(|_| patience.try_one_more(now)));
        assert!(!patience.try_one_more(now));
    }

    #[test]
    fn patience_comes_back_however_often_it_is_tried() {
        let mut now = Instant::now();
        let mut patience = Patience::new(now);
        while patience.try_one_more(now) {}
        let mut given = 0;
        for _ in 0..1000 {
            now += Duration::from_millis(10);
            given += u32::from(patience.try_one_more(now));
        }
        assert!(given == 320, "{given} in 10 s");
    }
}
