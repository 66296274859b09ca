//! The listening side of the soak: one of each kind, and what is done there with a connection.

use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;
use std::{array, io};

use rustix::net::sockopt::set_socket_linger;
use rustix::net::{self, AddressFamily, SocketType};
use smol::io::{AsyncReadExt, AsyncWriteExt};
use smol::{Async, Executor, Timer};
use ws_transport::handshake::http::StatusCode;
use ws_transport::multiaddr::{Multiaddr, Protocol};
use ws_transport::tls::{Acceptor, Backend, Connector};
use ws_transport::upgrade::identity::Keypair;
use ws_transport::upgrade::{Session, Upgrader};
use ws_transport::{Connection, Dialer, Incoming, ListenOptions, Listener};

use crate::certs::{Authority, Leaf};
use crate::{Claim, Why};

/// The name in the certificates.
const NAME: &str = "localhost";

/// Time that the impatient listeners give to a handshake.
const IMPATIENT: Duration = Duration::from_millis(500);

/// What the first byte of a connection asks the listener for; with any other it stays silent for two seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Ask {
    /// To send back what comes, and to close when the client has.
    Echo = b'e',
    /// To close at once.
    Close = b'c',
    /// To close at once with the code 4000.
    CloseWithCode = b'k',
    /// To drop the connection at once.
    Drop = b'd',
    /// To reset the TCP connection at once.
    Reset = b'r',
    /// To end its half of the TCP connection without a Close.
    HalfClose = b'h',
    /// To send without end.
    Flood = b'f',
    /// To do nothing for two seconds, then drop it.
    Silence = b's',
}

const ASKS: [Ask; 8] =
    [Ask::Echo, Ask::Close, Ask::CloseWithCode, Ask::Drop, Ask::Reset, Ask::HalfClose, Ask::Flood, Ask::Silence];

/// All listeners, which run on the executor, and a dialer that trusts them.
pub(super) struct Site {
    pub(super) executor: Arc<Executor<'static>>,
    /// Tasks of the listeners that are not done yet.
    pub(super) tasks: Arc<AtomicUsize>,
    /// ws, wss by rustls, wss by native-tls.
    pub(super) good: [Multiaddr; 3],
    /// As `good`; their handshakes may take half a second.
    pub(super) impatient: [Multiaddr; 3],
    /// Turns everybody away, or drops the connection, in turns.
    pub(super) refusing: Multiaddr,
    /// Refuses the path `/forbidden` with 403, and has the path `/here` only.
    pub(super) choosy: Multiaddr,
    /// ws with libp2p sessions on top, that send every stream back.
    pub(super) upgraded: Multiaddr,
    /// Takes connections and never says a word.
    pub(super) silent: Multiaddr,
    /// Nobody listens there: the port is bound, so that no other listener gets it.
    pub(super) closed: Multiaddr,
    reserved: OwnedFd,
    pub(super) dialer: [Dialer; 3],
    pub(super) untrusting: [Dialer; 3],
    pub(super) client: Upgrader,
    acceptors: [Acceptor; 2],
    leaves: [Leaf; 2],
}

impl Site {
    pub(super) fn new(executor: Arc<Executor<'static>>) -> Result<Self, Why> {
        let (authority, stranger) = (Authority::new("soak"), Authority::new("somebody else"));
        let leaves = [authority.issue(NAME), authority.issue(NAME)];
        let acceptor = |backend| Acceptor::builder(&*leaves[0].chain, &*leaves[0].key).build_with(backend);
        let acceptors = [acceptor(Backend::Rustls)?, acceptor(Backend::NativeTls)?];
        let dialers = |pem: String| -> Result<_, ws_transport::tls::TlsError> {
            let tls = |backend| Connector::builder().pem_roots(&*pem).build_with(backend);
            let dialer = |tls| Dialer::new().with_timeout(super::LONG).with_tls(tls);
            let rustls = dialer(tls(Backend::Rustls)?);
            Ok([rustls.clone(), rustls, dialer(tls(Backend::NativeTls)?)])
        };
        let server = Keypair::generate_ed25519();
        let mut site = Site {
            tasks: Arc::default(),
            good: array::from_fn(|_| Multiaddr::empty()),
            impatient: array::from_fn(|_| Multiaddr::empty()),
            refusing: Multiaddr::empty(),
            choosy: Multiaddr::empty(),
            upgraded: Multiaddr::empty(),
            silent: Multiaddr::empty(),
            closed: Multiaddr::empty(),
            reserved: net::socket(AddressFamily::INET, SocketType::STREAM, None)?,
            dialer: dialers(authority.pem())?,
            untrusting: dialers(stranger.pem())?,
            client: Upgrader::new(&Keypair::generate_ed25519())?,
            executor,
            acceptors,
            leaves,
        };
        let patient = ListenOptions::new().with_handshake_timeout(super::LONG);
        site.good = site.serve_all(&patient)?;
        site.impatient = site.serve_all(&ListenOptions::new().with_handshake_timeout(IMPATIENT))?;
        let turn = AtomicUsize::new(0);
        site.refusing = site.listen(&patient, "ws", move |incoming| match turn.fetch_add(1, SeqCst) % 2 {
            0 => {
                incoming.refuse();
                None
            }
            _ => None,
        })?;
        let policy = patient.clone().with_policy(|request| match request.path() {
            "/forbidden" => Err(StatusCode::FORBIDDEN),
            "/here" => Ok(()),
            _ => Err(StatusCode::NOT_FOUND),
        });
        site.choosy = site.listen(&policy, "ws", Some)?;
        let address = site.upgrade(&patient, Upgrader::new(&server)?.with_protocols(["/echo/1"]))?;
        site.upgraded = address.with(Protocol::P2p(server.public().to_peer_id()));
        site.silent = site.silence()?;
        net::bind(&site.reserved, &SocketAddr::from(([127, 0, 0, 1], 0)))?;
        site.closed = address_of(SocketAddr::try_from(net::getsockname(&site.reserved)?)?.port(), "ws")?;
        Ok(site)
    }

    /// Exchanges the certificates of all listeners.
    pub(super) fn exchange_certificates(&self, which: usize) -> Claim {
        let leaf = &self.leaves[which % self.leaves.len()];
        for acceptor in &self.acceptors {
            acceptor.replace(leaf.chain.as_bytes(), leaf.key.as_bytes())?;
        }
        Ok(())
    }

    fn serve_all(&self, options: &ListenOptions) -> Result<[Multiaddr; 3], Why> {
        let tls = |i: usize| options.clone().with_tls(self.acceptors[i].clone());
        let rest = format!("tls/sni/{NAME}/ws");
        Ok([self.listen(options, "ws", Some)?, self.listen(&tls(0), &rest, Some)?, self.listen(&tls(1), &rest, Some)?])
    }

    /// Listens, and does what is asked for with what `admit` lets through.
    fn listen(
        &self,
        options: &ListenOptions,
        rest: &str,
        admit: impl Fn(Incoming) -> Option<Incoming> + Send + 'static,
    ) -> Result<Multiaddr, Why> {
        let (listener, address) = bind(options, rest)?;
        let (executor, tasks) = (Arc::clone(&self.executor), Arc::clone(&self.tasks));
        let accepting = async move {
            while let Ok(incoming) = listener.accept().await {
                let Some(incoming) = admit(incoming) else { continue };
                let counted = Counted::new(&tasks);
                let serving = async move {
                    let _counted = counted;
                    // How it ends is the client's to judge.
                    if let Ok(connection) = incoming.await {
                        let _ = serve(connection).await;
                    }
                };
                executor.spawn(serving).detach();
            }
        };
        self.executor.spawn(accepting).detach();
        Ok(address)
    }

    fn upgrade(&self, options: &ListenOptions, upgrader: Upgrader) -> Result<Multiaddr, Why> {
        let (listener, address) = bind(options, "ws")?;
        let (executor, tasks) = (Arc::clone(&self.executor), Arc::clone(&self.tasks));
        let accepting = async move {
            while let Ok(incoming) = listener.accept().await {
                let (counted, upgrader) = (Counted::new(&tasks), upgrader.clone());
                let serving = async move {
                    let _counted = counted;
                    let Ok(connection) = incoming.await else { return };
                    let Ok((session, driver)) = upgrader.accept(connection).await else { return };
                    let _ = smol::future::zip(driver, echo_streams(session)).await;
                };
                executor.spawn(serving).detach();
            }
        };
        self.executor.spawn(accepting).detach();
        Ok(address)
    }

    fn silence(&self) -> Result<Multiaddr, Why> {
        let listener = Async::<TcpListener>::bind(([127, 0, 0, 1], 0))?;
        let address = address_of(listener.get_ref().local_addr()?.port(), "ws")?;
        let (executor, tasks) = (Arc::clone(&self.executor), Arc::clone(&self.tasks));
        let accepting = async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                let counted = Counted::new(&tasks);
                let waiting = async move {
                    let _counted = counted;
                    let mut buf = [0; 1024];
                    while socket.read(&mut buf).await.is_ok_and(|len| len > 0) {}
                };
                executor.spawn(waiting).detach();
            }
        };
        self.executor.spawn(accepting).detach();
        Ok(address)
    }
}

/// A task that has not ended yet.
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, SeqCst);
        Counted(Arc::clone(count))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

fn bind(options: &ListenOptions, rest: &str) -> Result<(Listener, Multiaddr), Why> {
    let listener = smol::block_on(options.bind(format!("/ip4/127.0.0.1/tcp/0/{rest}")))?;
    let port = listener.local_addrs()?[0].port();
    Ok((listener, address_of(port, rest)?))
}

fn address_of(port: u16, rest: &str) -> Result<Multiaddr, ws_transport::multiaddr::Error> {
    format!("/ip4/127.0.0.1/tcp/{port}/{rest}").parse()
}

/// Makes dropping this connection a reset.
pub(super) fn reset_on_drop(socket: &TcpStream) -> io::Result<()> {
    Ok(set_socket_linger(socket, Some(Duration::ZERO))?)
}

/// Does what the client asks for.
async fn serve(mut connection: Connection) -> io::Result<()> {
    let mut first = [0];
    connection.read_exact(&mut first).await?;
    let ask = ASKS.into_iter().find(|&ask| ask as u8 == first[0]).unwrap_or(Ask::Silence);
    let mut buf = vec![0; 16 * 1024];
    match ask {
        Ask::Echo => loop {
            let len = connection.read(&mut buf).await?;
            if len == 0 {
                return connection.close().await;
            }
            connection.write_all(&buf[..len]).await?;
        },
        Ask::Close => connection.close().await,
        Ask::CloseWithCode => connection.close_with(4000, "as asked").await,
        Ask::Drop => Ok(()),
        Ask::Reset => reset_on_drop(connection.get_ref().get_ref().get_ref()),
        Ask::HalfClose => {
            connection.get_ref().get_ref().get_ref().shutdown(Shutdown::Write)?;
            while connection.read(&mut buf).await? > 0 {}
            Ok(())
        }
        Ask::Flood => loop {
            connection.write_all(&buf).await?;
        },
        Ask::Silence => {
            Timer::after(Duration::from_secs(2)).await;
            Ok(())
        }
    }
}

/// Sends every stream of a session back until the session ends.
async fn echo_streams(session: Session) {
    let echoes = Executor::new();
    let accepting = async {
        while let Ok(stream) = session.accept().await {
            let echo = async move {
                let (reader, mut writer) = smol::io::split(stream);
                if smol::io::copy(reader, &mut writer).await.is_ok() {
                    let _ = writer.close().await;
                }
            };
            echoes.spawn(echo).detach();
        }
    };
    echoes.run(accepting).await;
}
