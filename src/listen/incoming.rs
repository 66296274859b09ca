//! `Incoming`: a connection accepted and not yet shaken hands with.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::io::{self, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;

use multiaddr::Multiaddr;

use super::options::Shared;
use crate::Connection;
use crate::addr::WsAddr;
use crate::deadline::Deadline;
use crate::dial::step;
use crate::error::{Error, Phase};
use crate::handshake;
use crate::proto::Role;
use crate::stream::WsStream;
use crate::tcp::Tcp;
use crate::tls::MaybeTls;

/// Most input that [`Incoming::refuse`] throws away, in bytes: four times the default cap of a request's head.
const MAX_DISCARDED: usize = 64 * 1024;

/// A TCP connection that a [`Listener`](super::Listener) accepted: the client's address is known, nothing is read yet.
///
/// Awaiting it, or [`handshake`](Self::handshake), runs TLS and the upgrade. The time for both counts from the accept,
/// so it also passes while an `Incoming` lies about. Dropping it closes the connection without a word;
/// [`refuse`](Self::refuse) says why. Neither waits.
pub struct Incoming {
    tcp: Tcp,
    remote: SocketAddr,
    shared: Arc<Shared>,
    deadline: Deadline,
}

impl Incoming {
    /// A connection accepted just now.
    pub(super) fn new(tcp: Tcp, remote: SocketAddr, shared: Arc<Shared>) -> Self {
        // It fails on a connection that is gone already only, and reading will tell.
        if let Some(Err(error)) = shared.keepalive.map(|keepalive| keepalive.apply(tcp.get_ref())) {
            log::debug!("{remote}: keepalive: {error}");
        }
        // What a dual-stack socket shows of an IPv4 client is `::ffff:a.b.c.d` (RFC 4291 §2.5.5.2).
        let remote = match remote.ip().to_canonical() {
            ip @ IpAddr::V4(_) => SocketAddr::new(ip, remote.port()),
            IpAddr::V6(_) => remote,
        };
        let deadline = Deadline::after(shared.timeout);
        Incoming { tcp, remote, shared, deadline }
    }

    /// The client's address, or that of the proxy before it.
    pub fn remote_addr(&self) -> SocketAddr {
        self.remote
    }

    /// The client's address with the protocols it came by: `/ip4/<addr>/tcp/<port>/ws` or `.../tls/ws`.
    pub fn remote_multiaddr(&self) -> Multiaddr {
        WsAddr::for_socket(self.remote, self.shared.tls.is_some()).to_multiaddr()
    }

    /// The address that the client connected to.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }

    /// Runs TLS, where the listen address has it, and answers the upgrade request (RFC 6455 §4.2).
    ///
    /// The error has [`Phase::Tls`] or [`Phase::Handshake`], and the client's address. A request that is refused is
    /// answered first. Dropping the future closes the connection.
    pub async fn handshake(self) -> Result<Connection, Error> {
        let (remote, is_tls) = (self.remote, self.shared.tls.is_some());
        let done = self.run().await;
        let done = done.map_err(|error| error.with_address(WsAddr::for_socket(remote, is_tls).to_multiaddr()));
        match &done {
            Ok(_) => log::debug!("{remote}: open"),
            Err(error) => log::debug!("{error}"),
        }
        done
    }

    async fn run(self) -> Result<Connection, Error> {
        let Incoming { tcp, remote, shared, deadline } = self;
        let mut io = match &shared.tls {
            Some(acceptor) => {
                log::debug!("{remote}: beginning TLS");
                // Boxed, or every handshake without TLS would carry the room for it along.
                step(Phase::Tls, deadline, Box::pin(acceptor.accept_unflushed(tcp))).await?
            }
            None => MaybeTls::plain(tcp),
        };
        log::debug!("{remote}: awaiting the upgrade request");
        // It looks at the deadline itself, so that a refusal can still be sent.
        let early = handshake::respond_until(&mut io, &shared.server, deadline).await;
        let early = early.map_err(|error| Error::new(Phase::Handshake, error))?;
        // Only here is the stream made: every future that gives it on copies it, and it is some 500 bytes long.
        Ok(WsStream::new(io, Role::Server, early, shared.server.stream()).borrow_from_tls())
    }

    /// Turns the client away: `503 Service Unavailable` where there is no TLS, and close. It never waits.
    ///
    /// The answer is sent if the socket takes it at once. It is lost if the client sends its request only after this
    /// (the request then meets a closed socket, which resets the connection); one that is here already is read first.
    pub fn refuse(self) {
        log::debug!("{}: refused", self.remote);
        let socket = self.tcp.get_ref();
        // Closing with unread input resets the connection, and the answer with it (RFC 9112 §9.6).
        discard_input(socket);
        if self.shared.tls.is_none() {
            let _ = (&*socket).write(handshake::unavailable());
        }
        let _ = socket.shutdown(Shutdown::Write);
        discard_input(socket);
    }
}

/// Reads what is there and throws it away; errors and EOF end it.
fn discard_input(mut socket: &std::net::TcpStream) {
    let mut buf = [0; 4096];
    let mut left = MAX_DISCARDED;
    while let Ok(n @ 1..) = socket.read(&mut buf) {
        left = left.saturating_sub(n);
        if left == 0 {
            return;
        }
    }
}

impl IntoFuture for Incoming {
    type Output = Result<Connection, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.handshake())
    }
}

impl fmt::Debug for Incoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming").field("remote_addr", &self.remote).finish_non_exhaustive()
    }
}
