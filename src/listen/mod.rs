//! Listening: accept, then TLS and upgrade, one connection apart from the other.

mod connections;
mod incoming;
mod interfaces;
mod options;
mod pause;
mod socket;

use std::fmt;
use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use async_io::Async;
use futures_lite::future;
use multiaddr::Multiaddr;

use crate::addr::{Host, WsAddr};
use crate::error::{Error, Phase};
use crate::sleep::Sleep;
use crate::to_ws_addr::ToWsAddr;
use options::Shared;
use pause::Pause;
use socket::AcceptError;

pub use connections::Connections;
pub use incoming::Incoming;
pub use options::ListenOptions;

/// Listens on a WebSocket multiaddr. Dropping it closes its sockets and frees the port.
///
/// Of the address listened on:
/// * `/ip4` and `/ip6` are bound as they are; `0.0.0.0` and `::` mean all interfaces of their own family, so a listener
///   of each can share a port. `/dns`, `/dns4` and `/dns6` bind every address of the name that is this machine's, and
///   the name is announced.
/// * Port 0 lets the system choose; [`addresses`](Self::addresses) tells what it chose.
/// * `/tls/ws` and `/wss` need [`ListenOptions::with_tls`]. `/sni/<name>` is announced; clients that name another host
///   get the same certificate.
/// * With an `/http-path`, requests for any other are answered with 404; without, every path is accepted, as by all
///   libp2p implementations.
///
/// Accepting gives an [`Incoming`] at once, whose handshake runs where it is awaited: in a task of its own, or many of
/// them in one task by [`connections`](Self::connections). A client that is silent holds up nobody else.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use ws_transport::Listener;
///
/// futures_lite::future::block_on(async {
///     let listener = Listener::bind("/ip4/127.0.0.1/tcp/0/ws").await?;
///     println!("listening on {:?}", listener.addresses()?);
///     # let _client = std::net::TcpStream::connect(listener.local_addrs()?[0])?;
///     let incoming = listener.accept().await?;
///     println!("{} is here", incoming.remote_addr());
///     // To go on: `let connection = incoming.await?`, best in a task of its own.
///     incoming.refuse();
///     Ok(())
/// })
/// # }
/// ```
pub struct Listener {
    /// Never empty; more than one where a name has several addresses here. All have one port.
    sockets: Vec<Async<TcpListener>>,
    /// The socket asked first by the next accept, modulo their count, so that a busy one does not starve the others.
    turn: AtomicUsize,
    /// What was asked for, with the port it became.
    addr: WsAddr,
    shared: Arc<Shared>,
    pause: Pause,
    /// Fires when `pause` ends; for [`poll_accept`](Self::poll_accept), which cannot keep it anywhere else.
    rest: Option<Sleep>,
}

impl Listener {
    /// Listens on `addr` with the default [`ListenOptions`], which have no certificate and so serve `/ws`.
    pub async fn bind(addr: impl ToWsAddr) -> Result<Self, Error> {
        ListenOptions::new().bind(addr).await
    }

    /// Listens on a socket that was bound elsewhere, with the default [`ListenOptions`]; see [`ListenOptions::listen`].
    pub fn from_std(socket: TcpListener, addr: impl ToWsAddr) -> Result<Self, Error> {
        ListenOptions::new().listen(socket, addr)
    }

    fn new(sockets: Vec<TcpListener>, addr: WsAddr, shared: Arc<Shared>) -> Result<Self, Error> {
        let listen = |error| Error::new(Phase::Listen, error);
        let sockets: Vec<_> = sockets.into_iter().map(Async::new).collect::<io::Result<_>>().map_err(listen)?;
        sockets.iter().for_each(|socket| socket::prepare(socket.get_ref()));
        let port = match sockets.first() {
            Some(socket) => socket.get_ref().local_addr().map_err(listen)?.port(),
            None => addr.port(),
        };
        let addr = addr.with_port(port);
        log::debug!("listening on {addr}");
        Ok(Listener { sockets, turn: AtomicUsize::new(0), addr, shared, pause: Pause::default(), rest: None })
    }

    /// The addresses to dial: those of all interfaces where a wildcard was bound, the name where a name was.
    ///
    /// Loopback addresses are among them, and link-local IPv6 ones with their zone; neither is of use on other machines.
    /// The interfaces are asked at every call, which may fail.
    pub fn addresses(&self) -> Result<Vec<Multiaddr>, Error> {
        match self.interfaces() {
            Some(ask) => Ok(self.addresses_at(ask().map_err(|error| self.error(error))?)),
            None => Ok(vec![self.addr.to_multiaddr()]),
        }
    }

    /// What asks for the hosts behind the wildcard that was bound; `None` where none was.
    ///
    /// It reads the system's table, which blocks for a moment.
    pub(crate) fn interfaces(&self) -> Option<impl Fn() -> io::Result<Vec<Host>> + Send + Sync + use<>> {
        let families = match self.addr.host() {
            Host::Ip4(addr) if addr.is_unspecified() => interfaces::Families { v4: true, v6: false },
            Host::Ip6 { addr, .. } if addr.is_unspecified() => {
                let v4 = self.sockets.iter().any(|socket| socket::is_dual_stack(socket.get_ref()));
                interfaces::Families { v4, v6: true }
            }
            _ => return None,
        };
        Some(move || interfaces::hosts(families))
    }

    /// The address listened on with each of these hosts in place of its wildcard.
    pub(crate) fn addresses_at(&self, hosts: Vec<Host>) -> Vec<Multiaddr> {
        let of = |host| self.addr.clone().with_host(host).ok().map(|addr| addr.to_multiaddr());
        // An interface whose name no multiaddr can carry is left out.
        hosts.into_iter().filter_map(of).collect()
    }

    /// The addresses that the sockets are bound to, wildcards as they are.
    pub fn local_addrs(&self) -> io::Result<Vec<SocketAddr>> {
        self.sockets.iter().map(|socket| socket.get_ref().local_addr()).collect()
    }

    /// Waits for the next connection. Several tasks may wait at a time.
    ///
    /// Nothing is read from the connection. Dropping the future loses none: they stay queued in the kernel. Out of file
    /// descriptors or memory it rests, 100 ms at first and 1 s at most, and tries again; errors of one connection are
    /// passed over. What is left is an error of the listening socket itself, of [`Phase::Listen`], and it may be asked
    /// again.
    pub async fn accept(&self) -> Result<Incoming, Error> {
        loop {
            if let Some(until) = self.pause.until() {
                Sleep::at(until).await;
            }
            match self.try_accept() {
                Attempt::Accepted(incoming) => return Ok(incoming),
                Attempt::Failed(error) => return Err(error),
                Attempt::Paused => {}
                Attempt::Passed => future::yield_now().await,
                Attempt::Empty => self.readable().await.map_err(|error| self.error(error))?,
            }
        }
    }

    /// As [`accept`](Self::accept), for those who write a `poll` function; the last waker given is woken.
    pub fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Result<Incoming, Error>> {
        loop {
            if let Some(rest) = &mut self.rest {
                ready!(Pin::new(rest).poll(cx));
                self.rest = None;
            }
            if let Some(until) = self.pause.until() {
                self.rest = Some(Sleep::at(until));
                continue;
            }
            match self.try_accept() {
                Attempt::Accepted(incoming) => return Poll::Ready(Ok(incoming)),
                Attempt::Failed(error) => return Poll::Ready(Err(error)),
                Attempt::Paused => {}
                Attempt::Passed => {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Attempt::Empty => ready!(self.poll_readable(cx)).map_err(|error| self.error(error))?,
            }
        }
    }

    /// The connections, each after its handshake, of which 16 run at a time; see [`Connections`].
    pub fn connections(self) -> Connections {
        Connections::new(self)
    }

    /// Takes one connection out of the kernel's queues, if there is one.
    fn try_accept(&self) -> Attempt {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % self.sockets.len().max(1);
        let (later, first) = self.sockets.split_at(turn);
        for socket in first.iter().chain(later) {
            let error = match socket::accept(socket) {
                Ok((tcp, remote)) => {
                    self.pause.end();
                    log::debug!("{}: accepted {remote}", self.addr);
                    return Attempt::Accepted(Incoming::new(tcp, remote, self.shared.clone()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Err(error) => error,
            };
            match AcceptError::of(&error) {
                AcceptError::Connection => {
                    log::debug!("{}: a connection was lost before it was accepted: {error}", self.addr);
                    return Attempt::Passed;
                }
                AcceptError::Exhausted => {
                    let rest = self.pause.begin();
                    log::warn!("{}: accepting rests for {rest:?}: {error}", self.addr);
                    return Attempt::Paused;
                }
                AcceptError::Listener => return Attempt::Failed(self.error(error)),
            }
        }
        Attempt::Empty
    }

    /// Ready when one of the sockets may have a connection.
    async fn readable(&self) -> io::Result<()> {
        let mut waits: Vec<_> = self.sockets.iter().map(Async::readable).collect();
        future::poll_fn(|cx| {
            let ready = waits.iter_mut().map(|wait| Pin::new(wait).poll(cx));
            // All are asked, so that all hold the waker.
            ready.fold(Poll::Pending, |first, next| if first.is_ready() { first } else { next })
        })
        .await
    }

    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let ready = self.sockets.iter().map(|socket| socket.poll_readable(cx));
        ready.fold(Poll::Pending, |first, next| if first.is_ready() { first } else { next })
    }

    pub(crate) fn error(&self, error: io::Error) -> Error {
        Error::new(Phase::Listen, error).with_address(self.addr.to_multiaddr())
    }
}

/// What came of one attempt to accept.
enum Attempt {
    Accepted(Incoming),
    /// No connection is queued.
    Empty,
    /// A connection died in the queue; there may be more.
    Passed,
    /// Nothing can be accepted until the pause is over.
    Paused,
    Failed(Error),
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener").field("addr", &self.addr).field("sockets", &self.sockets).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use futures_lite::future::block_on;

    use super::*;

    /// A listener as a name makes it that has two addresses here.
    fn two_sockets() -> Listener {
        let sockets = socket::bind_all(&["127.0.0.1:0", "[::1]:0"].map(|addr| addr.parse().unwrap()), 8).unwrap();
        let shared = ListenOptions::new().shared(&"/dns/localhost/tcp/0/ws".parse().unwrap()).unwrap();
        Listener::new(sockets, "/dns/localhost/tcp/0/ws".parse().unwrap(), shared).unwrap()
    }

    #[test]
    fn every_socket_of_a_name_is_waited_for() {
        let mut listener = two_sockets();
        let addrs = listener.local_addrs().unwrap();
        assert_eq!(addrs.len(), 2);
        for addr in &addrs {
            let accept = async { listener.accept().await.unwrap().local_addr().unwrap() };
            let connect = async { TcpStream::connect(addr).unwrap() };
            assert_eq!(block_on(future::zip(accept, connect)).0, *addr);
        }
        for addr in &addrs {
            let accept = future::poll_fn(|cx| listener.poll_accept(cx));
            let accept = async { accept.await.unwrap().local_addr().unwrap() };
            let connect = async { TcpStream::connect(addr).unwrap() };
            assert_eq!(block_on(future::zip(accept, connect)).0, *addr);
        }
    }

    #[test]
    fn a_busy_socket_does_not_starve_the_others() {
        let listener = two_sockets();
        let addrs = listener.local_addrs().unwrap();
        let _clients: Vec<_> =
            (0..6).flat_map(|_| addrs.iter().map(|addr| TcpStream::connect(addr).unwrap())).collect();
        let accept = || block_on(listener.accept()).unwrap().local_addr().unwrap();
        for _ in 0..6 {
            assert_ne!(accept(), accept());
        }
    }
}
