//! Happy eyeballs: several addresses of one host are tried, overlapping in time, and the first to answer wins.

use std::error::Error as StdError;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use crate::sleep::Sleep;

/// Time that an attempt is alone before the next one starts beside it: 250 ms.
///
/// RFC 8305 §5, "Connection Attempt Delay", whose recommended value it is. After a failure the next starts at once.
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// None of a host's socket addresses could be connected to: each with its own error, in the order they failed.
///
/// `source()` is the error of the address that failed last.
#[derive(Debug)]
pub struct ConnectError {
    /// Never empty, except for a host without addresses.
    attempts: Vec<(SocketAddr, io::Error)>,
}

impl ConnectError {
    /// The addresses tried and what became of each, in the order they failed.
    pub fn attempts(&self) -> &[(SocketAddr, io::Error)] {
        &self.attempts
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.attempts.is_empty() {
            return f.write_str("there is no address to connect to");
        }
        for (i, (addr, error)) in self.attempts.iter().enumerate() {
            let separator = if i == 0 { "" } else { "; " };
            write!(f, "{separator}{addr}: {error}")?;
        }
        Ok(())
    }
}

impl StdError for ConnectError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.attempts.last().map(|(_, error)| error as _)
    }
}

/// Connects to the first of `addrs` that answers, by RFC 8305 §4 and §5; the other attempts are dropped.
pub(crate) fn connect_any<T, F>(addrs: Vec<SocketAddr>, connect: fn(SocketAddr) -> F) -> Race<T>
where
    F: Future<Output = io::Result<T>> + Send + 'static,
{
    let attempts = interleave(addrs).into_iter().map(|addr| Attempt { addr, work: Box::pin(connect(addr)) }).collect();
    Race { attempts, running: 0, next: Sleep::never(), failed: Vec::new() }
}

/// Alternates the families, IPv6 first, each in the order it came (RFC 8305 §4).
fn interleave(addrs: Vec<SocketAddr>) -> Vec<SocketAddr> {
    if addrs.len() < 2 {
        return addrs;
    }
    let (v6, v4): (Vec<_>, Vec<_>) = addrs.into_iter().partition(SocketAddr::is_ipv6);
    let (mut v6, mut v4) = (v6.into_iter(), v4.into_iter());
    let mut order = Vec::new();
    loop {
        let pair = [v6.next(), v4.next()];
        if pair == [None, None] {
            return order;
        }
        order.extend(pair.into_iter().flatten());
    }
}

/// One address, and the future that connects to it.
struct Attempt<T> {
    addr: SocketAddr,
    work: Pin<Box<dyn Future<Output = io::Result<T>> + Send>>,
}

/// The future of [`connect_any`]. Dropping it closes every socket that it opened.
#[must_use = "futures do nothing unless polled"]
pub(crate) struct Race<T> {
    /// Those that run, and then those that have not begun: an attempt opens its socket when it is first polled.
    attempts: Vec<Attempt<T>>,
    running: usize,
    /// When to start the next one although nobody has failed.
    next: Sleep,
    failed: Vec<(SocketAddr, io::Error)>,
}

impl<T> Race<T> {
    /// Asks every running attempt; failed ones leave. A handful run at most, so whose wake-up it was is not asked.
    fn poll_running(&mut self, cx: &mut Context<'_>) -> Option<T> {
        let (mut winner, mut at) = (None, 0);
        while at < self.running
            && let Some(attempt) = self.attempts.get_mut(at)
        {
            match attempt.work.as_mut().poll(cx) {
                Poll::Pending => at += 1,
                Poll::Ready(done) => {
                    self.running -= 1;
                    let Attempt { addr, .. } = self.attempts.remove(at);
                    match done {
                        Ok(connection) => winner = winner.or(Some(connection)),
                        Err(error) => {
                            log::debug!("connecting to {addr} failed: {error}");
                            self.failed.push((addr, error));
                        }
                    }
                }
            }
        }
        winner
    }
}

impl<T> Future for Race<T> {
    type Output = Result<T, ConnectError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            let failed_before = self.failed.len();
            if let Some(connection) = self.poll_running(cx) {
                return Poll::Ready(Ok(connection));
            }
            let one_failed = self.failed.len() > failed_before;
            let waiting = self.attempts.len().saturating_sub(self.running);
            if !(self.running == 0 || waiting == 0 || one_failed) {
                ready!(Pin::new(&mut self.next).poll(cx));
            }
            match self.attempts.get(self.running) {
                Some(attempt) => {
                    log::debug!("connecting to {}", attempt.addr);
                    self.running += 1;
                    self.next = if waiting > 1 { Sleep::after(ATTEMPT_DELAY) } else { Sleep::never() };
                }
                None if self.running == 0 => {
                    return Poll::Ready(Err(ConnectError { attempts: std::mem::take(&mut self.failed) }));
                }
                // Every attempt has begun, and holds our waker.
                None => return Poll::Pending,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use futures_lite::future::{self, block_on};

    use super::*;
    use crate::tcp::Tcp;

    fn addr(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn families_alternate_and_ipv6_comes_first() {
        let given = ["10.0.0.1:1", "10.0.0.2:1", "[::1]:1", "10.0.0.3:1", "[::2]:1"].map(addr);
        let order = ["[::1]:1", "10.0.0.1:1", "[::2]:1", "10.0.0.2:1", "10.0.0.3:1"].map(addr);
        assert_eq!(interleave(given.to_vec()), order);
    }

    #[test]
    fn a_failure_starts_the_next_attempt_at_once() {
        let addrs = ["127.0.0.2:1", "127.0.0.3:1", "127.0.0.4:1"].map(addr).to_vec();
        let mut race = connect_any(addrs, |addr| async move {
            match addr.ip().to_string().as_str() {
                "127.0.0.4" => Ok(addr),
                _ => Err(io::ErrorKind::ConnectionRefused.into()),
            }
        });
        // One poll, so no timer has a part in it.
        assert_eq!(block_on(future::poll_once(&mut race)).unwrap().unwrap(), addr("127.0.0.4:1"));
    }

    #[test]
    fn silence_of_the_first_does_not_stop_the_second() {
        let addrs = ["127.0.0.2:1", "127.0.0.3:1"].map(addr).to_vec();
        let mut race = connect_any(addrs, |addr| async move {
            if addr.ip().to_string() == "127.0.0.2" {
                future::pending::<()>().await;
            }
            Ok(addr)
        });
        assert!(block_on(future::poll_once(&mut race)).is_none(), "the first attempt is alone for a while");
        assert_eq!(block_on(race).unwrap(), addr("127.0.0.3:1"));
    }

    #[test]
    fn the_first_may_still_win_after_the_second_began() {
        let addrs = ["127.0.0.2:1", "127.0.0.3:1"].map(addr).to_vec();
        let race = connect_any(addrs, |addr| async move {
            match addr.ip().to_string().as_str() {
                "127.0.0.2" => Sleep::after(2 * ATTEMPT_DELAY).await,
                _ => future::pending::<()>().await,
            }
            Ok(addr)
        });
        assert_eq!(block_on(race).unwrap(), addr("127.0.0.2:1"));
    }

    #[test]
    fn every_address_is_in_the_error_and_the_last_is_its_source() {
        let addrs = ["127.0.0.2:1", "127.0.0.3:1"].map(addr).to_vec();
        let race = connect_any(addrs.clone(), |addr| async move {
            Err::<(), _>(match addr.ip().to_string().as_str() {
                "127.0.0.2" => io::ErrorKind::ConnectionRefused.into(),
                _ => io::ErrorKind::HostUnreachable.into(),
            })
        });
        let error = block_on(race).unwrap_err();
        assert_eq!(error.attempts().iter().map(|(addr, _)| *addr).collect::<Vec<_>>(), addrs);
        let source = error.source().unwrap().downcast_ref::<io::Error>().unwrap();
        assert_eq!(source.kind(), io::ErrorKind::HostUnreachable);
        assert!(error.to_string().starts_with("127.0.0.2:1: "), "{error}");

        let none = block_on(connect_any(Vec::new(), |_| async { Ok(()) })).unwrap_err();
        assert!(none.source().is_none() && !none.to_string().is_empty());
    }

    #[test]
    fn a_closed_port_gives_way_to_an_open_one() {
        let open = TcpListener::bind("127.0.0.1:0").unwrap();
        let good = open.local_addr().unwrap();
        let closed = SocketAddr::new([127, 0, 0, 2].into(), good.port());
        let tcp = block_on(connect_any(vec![closed, good], Tcp::connect)).unwrap();
        assert_eq!(tcp.peer_addr().unwrap(), good);
    }

    /// A listener whose queue is full drops further SYNs, as a host that is not there does.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_black_hole_gives_way_to_an_open_port() {
        use rustix::net;

        let socket = net::socket(net::AddressFamily::INET, net::SocketType::STREAM, None).unwrap();
        net::bind(&socket, &addr("127.0.0.2:0")).unwrap();
        net::listen(&socket, 0).unwrap();
        let hole = TcpListener::from(socket);
        let dark = hole.local_addr().unwrap();
        // Fill the queue: with a backlog of 0 Linux keeps one connection.
        let _queued = std::net::TcpStream::connect(dark).unwrap();

        let open = TcpListener::bind("127.0.0.1:0").unwrap();
        let good = open.local_addr().unwrap();
        let tcp = block_on(connect_any(vec![dark, good], Tcp::connect)).unwrap();
        assert_eq!(tcp.peer_addr().unwrap(), good);
    }
}
