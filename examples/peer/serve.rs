//! What a node answers its peers with, whichever end has dialed.

use futures_lite::io;
use ws_transport::multiaddr::Multiaddr;
use ws_transport::upgrade::identity::Keypair;
use ws_transport::upgrade::{Session, UpgradeError, Upgrader};

use crate::failure::chain;
use crate::identify::Info;
use crate::{Executor, echo, identify, note, perf, ping};

/// Protocols that every node serves.
pub(crate) const BASIC: [&str; 2] = [identify::PROTOCOL, ping::PROTOCOL];

/// Protocols of a node that listens.
pub(crate) const ALL: [&str; 4] = [identify::PROTOCOL, ping::PROTOCOL, echo::PROTOCOL, perf::PROTOCOL];

/// A node: its identity, its protocols, and what it tells of them.
#[derive(Clone)]
pub(crate) struct Node {
    pub(crate) executor: Executor,
    pub(crate) upgrader: Upgrader,
    info: Info,
    pings: ping::Streams,
}

impl Node {
    pub(crate) fn new(
        executor: Executor,
        keypair: &Keypair,
        protocols: &[&str],
        addresses: &[Multiaddr],
    ) -> Result<Self, UpgradeError> {
        let upgrader = Upgrader::new(keypair)?.with_protocols(protocols.iter().copied());
        let info = Info::new(&keypair.public(), addresses, upgrader.protocols());
        Ok(Node { executor, upgrader, info, pings: ping::Streams::default() })
    }

    /// Serves the streams that a peer at this address opens, until the session ends.
    pub(crate) async fn serve(&self, session: &Session, address: &Multiaddr) {
        let peer = session.peer();
        let info = self.info.observing(address);
        while let Ok(stream) = session.accept().await {
            let (info, pings) = (info.clone(), self.pings.clone());
            let serve = async move {
                let protocol = stream.protocol().to_owned();
                let served: io::Result<()> = match protocol.as_str() {
                    identify::PROTOCOL => identify::serve(stream, &info).await,
                    ping::PROTOCOL => ping::serve(stream, peer, &pings).await,
                    echo::PROTOCOL => echo::serve(stream).await,
                    perf::PROTOCOL => perf::serve(stream).await,
                    _ => Ok(()),
                };
                // It was dropped, and so reset; the session goes on.
                if let Err(error) = served {
                    note(&format!("{peer}: {protocol}: {}", chain(&error)));
                }
            };
            self.executor.spawn(serve).detach();
        }
    }
}
