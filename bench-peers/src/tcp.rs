//! TCP transports for rust-libp2p: its own, on Tokio, and one on smol, which rust-libp2p has no more, so that its WebSocket
//! can be measured on the reactor that ours runs on.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_util::future::{self, BoxFuture, Ready};
use libp2p_core::transport::{DialOpts, ListenerId, TransportError, TransportEvent};
use libp2p_core::{Multiaddr, Transport};
use smol::Async;
use ws_transport::multiaddr::Protocol;

/// rust-libp2p's own. TCP_NODELAY is set.
pub fn tokio_tcp() -> libp2p_tcp::tokio::Transport {
    libp2p_tcp::tokio::Transport::new(libp2p_tcp::Config::new().nodelay(true))
}

/// One listener at most, on an IPv4 address. TCP_NODELAY is set.
#[derive(Default)]
pub struct SmolTcp {
    listener: Option<(ListenerId, Async<TcpListener>, Multiaddr)>,
    is_announced: bool,
}

impl Transport for SmolTcp {
    type Output = Async<TcpStream>;
    type Error = io::Error;
    type ListenerUpgrade = Ready<io::Result<Async<TcpStream>>>;
    type Dial = BoxFuture<'static, io::Result<Async<TcpStream>>>;

    fn listen_on(&mut self, id: ListenerId, addr: Multiaddr) -> Result<(), TransportError<io::Error>> {
        let listener = Async::<TcpListener>::bind(socket_addr(&addr)?).map_err(TransportError::Other)?;
        let port = listener.get_ref().local_addr().map_err(TransportError::Other)?.port();
        let addr = Multiaddr::empty().with(Protocol::Ip4(Ipv4Addr::LOCALHOST)).with(Protocol::Tcp(port));
        self.listener = Some((id, listener, addr));
        Ok(())
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        self.listener.take_if(|listener| listener.0 == id).is_some()
    }

    fn dial(&mut self, addr: Multiaddr, _: DialOpts) -> Result<Self::Dial, TransportError<io::Error>> {
        let addr = socket_addr(&addr)?;
        Ok(Box::pin(async move { nodelay(Async::<TcpStream>::connect(addr).await?) }))
    }

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<TransportEvent<Self::ListenerUpgrade, Self::Error>> {
        let this = self.get_mut();
        let Some((listener_id, listener, addr)) = &this.listener else { return Poll::Pending };
        let (listener_id, local_addr) = (*listener_id, addr.clone());
        if !this.is_announced {
            this.is_announced = true;
            return Poll::Ready(TransportEvent::NewAddress { listener_id, listen_addr: local_addr });
        }
        loop {
            match listener.get_ref().accept() {
                Ok((stream, _)) => {
                    let upgrade = future::ready(Async::new(stream).and_then(nodelay));
                    let send_back_addr = local_addr.clone();
                    return Poll::Ready(TransportEvent::Incoming { listener_id, upgrade, local_addr, send_back_addr });
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready!(listener.poll_readable(cx)).unwrap(),
                Err(error) => return Poll::Ready(TransportEvent::ListenerError { listener_id, error }),
            }
        }
    }
}

fn nodelay(stream: Async<TcpStream>) -> io::Result<Async<TcpStream>> {
    stream.get_ref().set_nodelay(true)?;
    Ok(stream)
}

fn socket_addr(addr: &Multiaddr) -> Result<SocketAddr, TransportError<io::Error>> {
    let mut parts = addr.iter();
    match (parts.next(), parts.next(), parts.next()) {
        (Some(Protocol::Ip4(ip)), Some(Protocol::Tcp(port)), None) => Ok((ip, port).into()),
        _ => Err(TransportError::MultiaddrNotSupported(addr.clone())),
    }
}
