//! The command `listen`.

use std::time::Duration;

use smol::Timer;
use ws_transport::multiaddr::{Multiaddr, Protocol};
use ws_transport::tls::Acceptor;
use ws_transport::upgrade::identity::Keypair;
use ws_transport::{Incoming, ListenOptions, Listener};

use crate::arguments::Arguments;
use crate::failure::{Context, Result, chain};
use crate::report::Quoted;
use crate::serve::{ALL, Node};
use crate::{Executor, note, process, say};

/// How long a listening socket that fails is left alone.
const PAUSE: Duration = Duration::from_secs(1);

/// Serves until SIGTERM.
pub(crate) async fn listen(executor: Executor, arguments: &Arguments) -> Result<()> {
    // Before anybody knows that there is something to end.
    let signals = process::signals()?;
    for address in start(executor, arguments).await? {
        say(&format!("{{\"addr\": {}}}", Quoted(&address.to_string())))?;
    }
    process::terminated(signals).await
}

/// Listens on all addresses; returns those to dial.
async fn start(executor: Executor, arguments: &Arguments) -> Result<Vec<Multiaddr>> {
    let mut options = ListenOptions::new();
    if let Some((chain, key)) = &arguments.tls {
        let read = |file| std::fs::read(file).during(file);
        options = options.with_tls(Acceptor::builder(read(chain)?, read(key)?).build()?);
    }
    let (mut listeners, mut addresses) = (Vec::new(), Vec::new());
    for address in &arguments.addresses {
        let listener = options.bind(address).await?;
        addresses.extend(listener.addresses()?);
        listeners.push(listener);
    }
    let keypair = Keypair::generate_ed25519();
    let node = Node::new(executor, &keypair, &ALL, &addresses)?;
    for listener in listeners {
        executor.spawn(accept(node.clone(), listener)).detach();
    }
    let peer = Protocol::P2p(keypair.public().to_peer_id());
    Ok(addresses.into_iter().map(|address| address.with(peer.clone())).collect())
}

/// Every connection, from its handshake on, in a task of its own: whatever is wrong with one ends no other.
async fn accept(node: Node, listener: Listener) {
    let executor = node.executor;
    loop {
        match listener.accept().await {
            Ok(incoming) => {
                let node = node.clone();
                let serve = async move {
                    let address = incoming.remote_multiaddr();
                    if let Err(error) = serve(&node, incoming, &address).await {
                        note(&format!("{address}: {}", chain(&*error)));
                    }
                };
                executor.spawn(serve).detach();
            }
            Err(error) => {
                note(&chain(&error));
                Timer::after(PAUSE).await;
            }
        }
    }
}

async fn serve(node: &Node, incoming: Incoming, address: &Multiaddr) -> Result<()> {
    let (session, driver) = node.upgrader.accept(incoming.await?).await?;
    let driver = node.executor.spawn(driver);
    node.serve(&session, address).await;
    Ok(driver.await?)
}
