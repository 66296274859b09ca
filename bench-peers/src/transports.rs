//! Two ends of a `libp2p_core::Transport`: one that listens on loopback, and one that dials it.

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Poll, ready};

use libp2p_core::transport::{Boxed, DialOpts, ListenerId, PortUse, TransportEvent};
use libp2p_core::{Endpoint, Multiaddr, Transport as _};

pub struct Transports<O> {
    server: RefCell<Boxed<O>>,
    client: RefCell<Boxed<O>>,
    /// Those that dial once, before `client` does.
    fresh: RefCell<Vec<Boxed<O>>>,
    /// Those that have; they are dropped when there are new ones, and not while connecting is measured.
    used: RefCell<Vec<Boxed<O>>>,
    pub addr: Multiaddr,
}

impl<O: 'static> Transports<O> {
    /// Listens on the address; the one to dial is what the transport says of itself.
    pub async fn listen(mut server: Boxed<O>, client: Boxed<O>, addr: &str) -> Self {
        server.listen_on(ListenerId::next(), addr.parse().unwrap()).unwrap();
        let addr = poll_fn(|cx| Pin::new(&mut server).poll(cx)).await.into_new_address().unwrap();
        Transports {
            server: RefCell::new(server),
            client: RefCell::new(client),
            fresh: RefCell::default(),
            used: RefCell::default(),
            addr,
        }
    }

    /// Dials once with each of these from now on.
    pub fn add_fresh(&self, clients: impl Iterator<Item = Boxed<O>>) {
        self.used.borrow_mut().clear();
        self.fresh.borrow_mut().extend(clients);
    }

    pub async fn dial(&self) -> O {
        let options = DialOpts { role: Endpoint::Dialer, port_use: PortUse::New };
        let mut fresh = self.fresh.borrow_mut().pop();
        let dial = match &mut fresh {
            Some(client) => client.dial(self.addr.clone(), options),
            None => self.client.borrow_mut().dial(self.addr.clone(), options),
        };
        self.used.borrow_mut().extend(fresh);
        dial.unwrap().await.unwrap()
    }

    pub async fn accept(&self) -> O {
        let incoming = poll_fn(|cx| {
            loop {
                match ready!(Pin::new(&mut *self.server.borrow_mut()).poll(cx)) {
                    TransportEvent::Incoming { upgrade, .. } => return Poll::Ready(upgrade),
                    TransportEvent::NewAddress { .. } => {}
                    other => panic!("{other:?}"),
                }
            }
        });
        incoming.await.await.unwrap()
    }
}
