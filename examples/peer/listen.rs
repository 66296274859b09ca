//! The command `listen`.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use futures_lite::future::or;
use smol::Timer;
use ws_transport::multiaddr::{Multiaddr, Protocol};
use ws_transport::tls::Acceptor;
use ws_transport::upgrade::Session;
use ws_transport::upgrade::identity::Keypair;
use ws_transport::{Incoming, ListenOptions, Listener};

use crate::arguments::Arguments;
use crate::failure::{Context, Result, chain};
use crate::report::Quoted;
use crate::serve::{ALL, Node};
use crate::{Executor, note, process, say};

/// How long a listening socket that fails is left alone.
const PAUSE: Duration = Duration::from_secs(1);

/// How long the peers may take to see their sessions out, when all ends.
const FAREWELL: Duration = Duration::from_secs(1);

/// Serves until SIGTERM.
pub(crate) async fn listen(executor: Executor, arguments: &Arguments) -> Result<()> {
    // Before anybody knows that there is something to end.
    let signals = process::signals()?;
    let server = Server::start(executor, arguments).await?;
    for address in &server.addresses {
        say(&format!("{{\"addr\": {}}}", Quoted(&address.to_string())))?;
    }
    process::terminated(signals).await?;
    server.close().await;
    Ok(())
}

/// A node that listens. Dropping it ends the accepting, and no session.
pub(crate) struct Server {
    /// Those to dial.
    pub(crate) addresses: Vec<Multiaddr>,
    executor: Executor,
    sessions: Sessions,
    accepting: Vec<smol::Task<()>>,
}

impl Server {
    /// Listens on all addresses.
    pub(crate) async fn start(executor: Executor, arguments: &Arguments) -> Result<Self> {
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
        let peer = Protocol::P2p(keypair.public().to_peer_id());
        let sessions = Sessions::default();
        let accept = |listener| executor.spawn(accept(node.clone(), listener, sessions.clone()));
        Ok(Server {
            addresses: addresses.into_iter().map(|address| address.with(peer.clone())).collect(),
            executor,
            accepting: listeners.into_iter().map(accept).collect(),
            sessions,
        })
    }

    /// Accepts no more, and ends all sessions in order.
    pub(crate) async fn close(self) {
        drop(self.accepting);
        let sessions = self.sessions.0.take().into_iter();
        let close = |session: Session| self.executor.spawn(async move { session.close().await });
        let closing: Vec<_> = sessions.map(close).collect();
        let closed = async {
            for session in closing {
                // It ends all the same.
                let _ = session.await;
            }
        };
        or(closed, async { _ = Timer::after(FAREWELL).await }).await;
    }
}

/// The sessions that there are.
#[derive(Clone, Default)]
struct Sessions(Rc<RefCell<Vec<Session>>>);

/// Every connection, from its handshake on, in a task of its own: whatever is wrong with one ends no other.
async fn accept(node: Node, listener: Listener, sessions: Sessions) {
    let executor = node.executor;
    loop {
        match listener.accept().await {
            Ok(incoming) => {
                let (node, sessions) = (node.clone(), sessions.clone());
                let serve = async move {
                    let address = incoming.remote_multiaddr();
                    if let Err(error) = serve(&node, incoming, &address, &sessions).await {
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

async fn serve(node: &Node, incoming: Incoming, address: &Multiaddr, sessions: &Sessions) -> Result<()> {
    let (session, driver) = node.upgrader.accept(incoming.await?).await?;
    let driver = node.executor.spawn(driver);
    sessions.0.borrow_mut().push(session.clone());
    node.serve(&session, address).await;
    sessions.0.borrow_mut().retain(|session| session.ended().is_none());
    Ok(driver.await?)
}
