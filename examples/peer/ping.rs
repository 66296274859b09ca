//! `/ipfs/ping/1.0.0`: 32 bytes there and back, again and again (libp2p's ping specification).

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use futures_lite::{AsyncReadExt, AsyncWriteExt, io};
use ws_transport::upgrade::identity::PeerId;
use ws_transport::upgrade::{Session, Stream};

use crate::echo::Numbers;
use crate::failure::Result;

pub(crate) const PROTOCOL: &str = "/ipfs/ping/1.0.0";

const LENGTH: usize = 32;

/// Most streams that a peer may ping us on at a time (ping specification).
const MAX_STREAMS: usize = 2;

/// How many streams each peer pings us on.
#[derive(Clone, Default)]
pub(crate) struct Streams(Rc<RefCell<HashMap<PeerId, usize>>>);

impl Streams {
    /// Room for one more; `None` if the peer has as many as it may.
    fn take(&self, peer: PeerId) -> Option<Taken> {
        let mut streams = self.0.borrow_mut();
        let count = streams.entry(peer).or_default();
        (*count < MAX_STREAMS).then(|| {
            *count += 1;
            Taken { streams: self.clone(), peer }
        })
    }
}

struct Taken {
    streams: Streams,
    peer: PeerId,
}

impl Drop for Taken {
    fn drop(&mut self) {
        let mut streams = self.streams.0.borrow_mut();
        match streams.get_mut(&self.peer) {
            Some(count @ 2..) => *count -= 1,
            _ => _ = streams.remove(&self.peer),
        }
    }
}

/// Sends back what comes, until the peer closes its half.
pub(crate) async fn serve(mut stream: Stream, peer: PeerId, streams: &Streams) -> io::Result<()> {
    let Some(_taken) = streams.take(peer) else {
        return Err(io::Error::other(format!("{peer} pings on more than {MAX_STREAMS} streams")));
    };
    let mut payload = [0; LENGTH];
    loop {
        match stream.read(&mut payload[..1]).await? {
            0 => return stream.close().await,
            len => stream.read_exact(&mut payload[len..]).await?,
        }
        stream.write_all(&payload).await?;
        stream.flush().await?;
    }
}

/// Round trip times of so many pings, one after the other.
pub(crate) async fn ask(session: &Session, pings: u32) -> Result<Vec<Duration>> {
    let mut stream = session.open([PROTOCOL]).await?;
    let mut numbers = Numbers::new(0);
    let mut times = Vec::new();
    for _ in 0..pings {
        let (mut sent, mut received) = ([0; LENGTH], [0; LENGTH]);
        numbers.fill(&mut sent);
        let start = Instant::now();
        stream.write_all(&sent).await?;
        stream.flush().await?;
        stream.read_exact(&mut received).await?;
        times.push(start.elapsed());
        if received != sent {
            return Err("other bytes came back".into());
        }
    }
    stream.close().await?;
    Ok(times)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_may_ping_on_two_streams_at_a_time() {
        let (streams, peer) = (Streams::default(), PeerId::random());
        let first = streams.take(peer);
        let second = streams.take(peer);
        assert!(first.is_some() && second.is_some());
        assert!(streams.take(peer).is_none());
        assert!(streams.take(PeerId::random()).is_some());
        drop(first);
        assert!(streams.take(peer).is_some());
        drop(second);
        assert!(streams.0.borrow().is_empty());
    }
}
