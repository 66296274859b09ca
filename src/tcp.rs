//! A TCP socket whose close shuts its write half down.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use async_io::Async;
use futures_lite::{AsyncRead, AsyncWrite};

/// A TCP connection.
///
/// Reads and writes are those of the socket; nothing is buffered, so `flush` has nothing to do. `close` sends FIN by
/// shutting the write half down and leaves the read half open; closing a connection that is gone already is no error.
/// Dropping closes the socket at once, and with unread input the peer sees a reset.
///
/// As everywhere in `async-io`, one task at a time may wait to read and one to write: the later one takes the place of
/// the earlier.
#[derive(Debug)]
pub struct Tcp(Async<TcpStream>);

impl Tcp {
    /// A connection made elsewhere, registered with the reactor and set to non-blocking mode.
    ///
    /// Its options (such as TCP_NODELAY) stay as they are. The error is that of the registration.
    pub fn new(socket: TcpStream) -> io::Result<Self> {
        Async::new(socket).map(Tcp)
    }

    /// Connects to `addr`, with TCP_NODELAY set.
    pub(crate) async fn connect(addr: SocketAddr) -> io::Result<Self> {
        let tcp = Tcp(Async::<TcpStream>::connect(addr).await?);
        // A local port that nobody listens on may be chosen as our own end; TCP then connects to itself (RFC 9293 §3.5).
        let local = tcp.local_addr()?;
        if local.port() == addr.port() && local == tcp.peer_addr()? {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        tcp.get_ref().set_nodelay(true)?;
        Ok(tcp)
    }

    /// The address of the other end.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.get_ref().peer_addr()
    }

    /// The address of this end.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.get_ref().local_addr()
    }

    /// The socket below, to read or set its options; it is in non-blocking mode and has to stay so.
    pub fn get_ref(&self) -> &TcpStream {
        self.0.get_ref()
    }
}

impl TryFrom<TcpStream> for Tcp {
    type Error = io::Error;

    fn try_from(socket: TcpStream) -> io::Result<Self> {
        Tcp::new(socket)
    }
}

impl From<Async<TcpStream>> for Tcp {
    fn from(socket: Async<TcpStream>) -> Self {
        Tcp(socket)
    }
}

#[cfg(unix)]
impl std::os::fd::AsFd for Tcp {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsyncRead for Tcp {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }

    fn poll_read_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_read_vectored(cx, bufs)
    }
}

impl AsyncWrite for Tcp {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, bufs)
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // `Async`'s own `poll_close` only flushes, and the peer would never see our end.
        Poll::Ready(match self.get_ref().shutdown(Shutdown::Write) {
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
            done => done,
        })
    }
}

/// Longest idle time and interval that Linux takes, in seconds (`MAX_TCP_KEEPIDLE`).
const MAX_KEEPALIVE_SECONDS: u64 = 32_767;

/// Most unanswered probes that Linux takes (`MAX_TCP_KEEPCNT`).
const MAX_KEEPALIVE_PROBES: u32 = 127;

/// TCP keepalive: probes sent on an idle connection to find out that the peer is gone (RFC 9293 §3.8.4).
///
/// By default the first probe leaves after 60 s without a byte, then one every 15 s; after 4 unanswered ones reads and
/// writes fail with `TimedOut`, so a dead peer is noticed within 2 minutes. Systems that lack a knob use their own value.
///
/// While data is on its way there are no probes. On Linux and Android sent data may remain unacknowledged for the same
/// time altogether (the user timeout of RFC 9293 §3.8.3); elsewhere the system gives up by itself, after many minutes.
/// **A peer that lives but takes no data for so long is given up as well**: its writer would wait otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeepAlive {
    idle: Duration,
    interval: Duration,
    probes: u32,
}

impl KeepAlive {
    /// The defaults: 60 s idle, then every 15 s, 4 times.
    pub const fn new() -> Self {
        KeepAlive { idle: Duration::from_secs(60), interval: Duration::from_secs(15), probes: 4 }
    }

    /// Idle time before the first probe; whole seconds, 1 to 32,767.
    pub const fn with_idle(mut self, idle: Duration) -> Self {
        self.idle = whole_seconds(idle);
        self
    }

    /// Time between probes; whole seconds, 1 to 32,767.
    pub const fn with_interval(mut self, interval: Duration) -> Self {
        self.interval = whole_seconds(interval);
        self
    }

    /// Unanswered probes after which the connection is given up; 1 to 127.
    pub const fn with_probes(mut self, probes: u32) -> Self {
        self.probes = match probes {
            0 => 1,
            1..=MAX_KEEPALIVE_PROBES => probes,
            _ => MAX_KEEPALIVE_PROBES,
        };
        self
    }

    #[cfg(unix)]
    pub(crate) fn apply(&self, socket: &TcpStream) -> io::Result<()> {
        use rustix::net::sockopt;

        #[cfg(not(any(target_os = "haiku", target_os = "nto", target_os = "openbsd")))]
        sockopt::set_tcp_keepidle(socket, self.idle)?;
        #[cfg(not(any(target_os = "haiku", target_os = "nto", target_os = "openbsd", target_os = "redox")))]
        {
            sockopt::set_tcp_keepintvl(socket, self.interval)?;
            sockopt::set_tcp_keepcnt(socket, self.probes)?;
        }
        #[cfg(any(target_os = "android", target_os = "linux"))]
        sockopt::set_tcp_user_timeout(socket, self.user_timeout())?;
        sockopt::set_socket_keepalive(socket, true)?;
        Ok(())
    }

    /// The time until the last probe remains unanswered, in milliseconds; at most what Linux takes, some 24 days.
    #[cfg(any(target_os = "android", target_os = "linux"))]
    fn user_timeout(&self) -> u32 {
        let time = self.idle.saturating_add(self.interval.saturating_mul(self.probes));
        u32::try_from(time.as_millis()).unwrap_or(u32::MAX).min(i32::MAX.unsigned_abs())
    }

    /// Never reached: only unix has the builder methods that take a `KeepAlive`.
    #[cfg(not(unix))]
    pub(crate) fn apply(&self, _socket: &TcpStream) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

impl Default for KeepAlive {
    fn default() -> Self {
        Self::new()
    }
}

const fn whole_seconds(time: Duration) -> Duration {
    Duration::from_secs(match time.as_secs() {
        0 => 1,
        seconds @ 1..=MAX_KEEPALIVE_SECONDS => seconds,
        _ => MAX_KEEPALIVE_SECONDS,
    })
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use futures_lite::future::block_on;
    use futures_lite::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    fn pair() -> (Tcp, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let ours = block_on(Tcp::connect(listener.local_addr().unwrap())).unwrap();
        (ours, listener.accept().unwrap().0)
    }

    #[test]
    fn close_sends_fin_and_still_reads() {
        let (mut ours, mut theirs) = pair();
        block_on(async {
            ours.write_all(b"last").await.unwrap();
            ours.close().await.unwrap();
            let mut got = Vec::new();
            theirs.read_to_end(&mut got).unwrap();
            assert_eq!(got, b"last");
            theirs.write_all(b"answer").unwrap();
            drop(theirs);
            let mut got = Vec::new();
            ours.read_to_end(&mut got).await.unwrap();
            assert_eq!(got, b"answer");
        });
    }

    #[test]
    fn closing_twice_or_after_the_peer_is_no_error() {
        let (mut ours, theirs) = pair();
        block_on(async {
            theirs.shutdown(Shutdown::Both).unwrap();
            drop(theirs);
            ours.close().await.unwrap();
            ours.close().await.unwrap();
        });
    }

    #[test]
    fn a_connection_has_nodelay_set() {
        assert!(pair().0.get_ref().nodelay().unwrap());
    }

    #[cfg(unix)]
    #[test]
    fn every_keepalive_is_taken_by_the_system() {
        use rustix::net::sockopt;

        let (ours, _theirs) = pair();
        assert!(!sockopt::socket_keepalive(ours.get_ref()).unwrap());
        for time in [Duration::ZERO, Duration::from_millis(1500), Duration::MAX] {
            for probes in [0, 3, u32::MAX] {
                let keepalive = KeepAlive::new().with_idle(time).with_interval(time).with_probes(probes);
                keepalive.apply(ours.get_ref()).unwrap();
                assert!(sockopt::socket_keepalive(ours.get_ref()).unwrap());
                assert_eq!(sockopt::tcp_keepidle(ours.get_ref()).unwrap(), keepalive.idle);
            }
        }
    }

    #[cfg(any(target_os = "android", target_os = "linux"))]
    #[test]
    fn data_on_its_way_may_take_as_long_as_all_probes() {
        use rustix::net::sockopt;

        let (ours, _theirs) = pair();
        KeepAlive::new().apply(ours.get_ref()).unwrap();
        assert_eq!(sockopt::tcp_user_timeout(ours.get_ref()).unwrap(), 120_000);
    }
}
