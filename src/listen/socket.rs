//! Listening sockets: how they are made, and what their errors mean.

use std::io;
#[cfg(any(target_os = "linux", target_os = "android"))]
use std::net::TcpStream;
use std::net::{SocketAddr, TcpListener};

use async_io::Async;

use crate::tcp::Tcp;

/// Ports tried when the system's choice for one address of a name is taken on another.
const PORT_ATTEMPTS: usize = 16;

/// Binds every one of `addrs` that is an address of this machine, all on one port; at least one, or the last error.
///
/// Where the port is 0, the system chooses it for the first address.
pub(super) fn bind_all(addrs: &[SocketAddr], backlog: u32) -> io::Result<Vec<TcpListener>> {
    let chosen = addrs.len() > 1 && addrs.iter().all(|addr| addr.port() == 0);
    for _ in 1..PORT_ATTEMPTS {
        match bind_once(addrs, backlog) {
            Err(error) if chosen && error.kind() == io::ErrorKind::AddrInUse => continue,
            bound => return bound,
        }
    }
    bind_once(addrs, backlog)
}

fn bind_once(addrs: &[SocketAddr], backlog: u32) -> io::Result<Vec<TcpListener>> {
    let mut sockets = Vec::new();
    let mut port = None;
    let mut foreign = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for &(mut addr) in addrs {
        addr.set_port(port.unwrap_or(addr.port()));
        match bind(addr, backlog) {
            Ok(socket) => {
                port = Some(socket.local_addr()?.port());
                sockets.push(socket);
            }
            Err(error) if is_foreign(&error) => {
                log::debug!("{addr} is no address of this machine: {error}");
                foreign = error;
            }
            Err(error) => return Err(error),
        }
    }
    if sockets.is_empty() { Err(foreign) } else { Ok(sockets) }
}

/// A listening socket: not inherited by child processes, SO_REUSEADDR, and for IPv6 addresses IPv6 alone.
///
/// SO_REUSEADDR lets a listener return to its port while connections of its predecessor linger in TIME_WAIT.
/// IPV6_V6ONLY lets an IPv4 and an IPv6 listener share a port, whatever the system's default (RFC 3493 §5.3).
#[cfg(unix)]
fn bind(addr: SocketAddr, backlog: u32) -> io::Result<TcpListener> {
    use rustix::net::{self, AddressFamily, SocketType, ipproto, sockopt};

    let family = if addr.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    #[cfg(not(any(target_vendor = "apple", target_os = "aix", target_os = "espidf", target_os = "haiku")))]
    let socket = net::socket_with(family, SocketType::STREAM, net::SocketFlags::CLOEXEC, Some(ipproto::TCP))?;
    #[cfg(any(target_vendor = "apple", target_os = "aix", target_os = "espidf", target_os = "haiku"))]
    let socket = {
        let socket = net::socket(family, SocketType::STREAM, Some(ipproto::TCP))?;
        rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::CLOEXEC)?;
        socket
    };
    sockopt::set_socket_reuseaddr(&socket, true)?;
    if addr.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    net::bind(&socket, &addr)?;
    net::listen(&socket, i32::try_from(backlog).unwrap_or(i32::MAX))?;
    Ok(TcpListener::from(socket))
}

/// What std makes of it: on Windows, IPv6 alone, no SO_REUSEADDR (which means stealing the port there), backlog 128.
#[cfg(not(unix))]
fn bind(addr: SocketAddr, _backlog: u32) -> io::Result<TcpListener> {
    TcpListener::bind(addr)
}

/// Makes a listening socket ready for [`accept`].
///
/// On Linux connections inherit TCP_NODELAY from it, which spares a system call for each. A socket from elsewhere that
/// does not have it (MPTCP of old kernels) does without.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) fn prepare(listener: &TcpListener) {
    if let Err(error) = rustix::net::sockopt::set_tcp_nodelay(listener, true) {
        log::debug!("{listener:?}: TCP_NODELAY: {error}");
    }
}

/// Takes a connection out of the queue: in non-blocking mode, not inherited by child processes, TCP_NODELAY set.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) fn accept(listener: &Async<TcpListener>) -> io::Result<(Tcp, SocketAddr)> {
    use rustix::net::{SocketFlags, acceptfrom_with};

    let (socket, remote) = acceptfrom_with(listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC)?;
    let remote = remote.ok_or(io::ErrorKind::ConnectionAborted)?.try_into()?;
    Ok((Async::new_nonblocking(TcpStream::from(socket))?.into(), remote))
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(super) fn prepare(_listener: &TcpListener) {}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(super) fn accept(listener: &Async<TcpListener>) -> io::Result<(Tcp, SocketAddr)> {
    let (socket, remote) = listener.get_ref().accept()?;
    // It fails on a connection that is gone already only, and reading will tell.
    if let Err(error) = socket.set_nodelay(true) {
        log::debug!("{remote}: TCP_NODELAY: {error}");
    }
    Ok((Tcp::new(socket)?, remote))
}

/// Whether a socket bound to `::` takes IPv4 connections as well; those bound here do not.
#[cfg(unix)]
pub(super) fn is_dual_stack(socket: &TcpListener) -> bool {
    rustix::net::sockopt::ipv6_v6only(socket).is_ok_and(|v6_only| !v6_only)
}

#[cfg(not(unix))]
pub(super) fn is_dual_stack(_socket: &TcpListener) -> bool {
    false
}

/// Whether binding failed because the address, or its family, is not this machine's.
fn is_foreign(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AddrNotAvailable || errno::is_unknown_family(error)
}

/// What an error of `accept` means for the listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AcceptError {
    /// One connection is gone: its error, or that of its network path, is reported here. The next may be good.
    Connection,
    /// Out of descriptors or memory: the next accept fails the same way until something is released.
    Exhausted,
    /// The listening socket itself.
    Listener,
}

impl AcceptError {
    pub(super) fn of(error: &io::Error) -> Self {
        use io::ErrorKind::*;

        match error.kind() {
            // Linux hands out the pending network errors of the new connection: accept(2), "Error handling".
            ConnectionAborted | ConnectionReset | Interrupted | TimedOut | PermissionDenied | HostUnreachable
            | NetworkUnreachable | NetworkDown => AcceptError::Connection,
            OutOfMemory => AcceptError::Exhausted,
            _ if errno::is_exhausted(error) => AcceptError::Exhausted,
            _ if errno::is_of_connection(error) => AcceptError::Connection,
            _ => AcceptError::Listener,
        }
    }
}

/// Errors that have no `io::ErrorKind`.
#[cfg(unix)]
mod errno {
    use std::io;

    use rustix::io::Errno;

    pub(super) fn is_exhausted(error: &io::Error) -> bool {
        // ENOSPC: registering the new socket, `fs.epoll.max_user_watches` was reached.
        let exhausted = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM, Errno::NOSPC];
        Errno::from_io_error(error).is_some_and(|errno| exhausted.contains(&errno))
    }

    pub(super) fn is_of_connection(error: &io::Error) -> bool {
        let of_connection = [Errno::PROTO, Errno::NOPROTOOPT, Errno::HOSTDOWN];
        Errno::from_io_error(error).is_some_and(|errno| of_connection.contains(&errno))
    }

    pub(super) fn is_unknown_family(error: &io::Error) -> bool {
        Errno::from_io_error(error) == Some(Errno::AFNOSUPPORT)
    }
}

/// Errors that have no `io::ErrorKind`, by their Winsock numbers.
#[cfg(not(unix))]
mod errno {
    use std::io;

    const WSAEMFILE: i32 = 10024;
    const WSAENOBUFS: i32 = 10055;
    const WSAEAFNOSUPPORT: i32 = 10047;

    pub(super) fn is_exhausted(error: &io::Error) -> bool {
        matches!(error.raw_os_error(), Some(WSAEMFILE | WSAENOBUFS))
    }

    pub(super) fn is_of_connection(_error: &io::Error) -> bool {
        false
    }

    pub(super) fn is_unknown_family(error: &io::Error) -> bool {
        error.raw_os_error() == Some(WSAEAFNOSUPPORT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ipv4_and_ipv6_wildcards_share_a_port() {
        // The port that the system gives the first may be somebody else's in the other family.
        let pair = (0..20).find_map(|_| {
            let v6 = bind_all(&["[::]:0".parse().unwrap()], 8).unwrap();
            assert!(!is_dual_stack(&v6[0]));
            let port = v6[0].local_addr().unwrap().port();
            bind_all(&[([0, 0, 0, 0], port).into()], 8).ok()
        });
        assert!(pair.is_some());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn all_addresses_get_the_port_chosen_for_the_first() {
        let addrs = ["127.0.0.1:0", "127.0.0.2:0", "[::1]:0"].map(|addr| addr.parse().unwrap());
        let sockets = bind_all(&addrs, 8).unwrap();
        let port = sockets[0].local_addr().unwrap().port();
        assert_eq!(sockets.len(), 3);
        assert!(sockets.iter().all(|socket| socket.local_addr().unwrap().port() == port));
    }

    #[test]
    fn addresses_of_other_machines_are_left_out_unless_there_is_no_other() {
        // RFC 5737 and RFC 3849: addresses for documentation, nobody's.
        let foreign = ["198.51.100.7:0".parse().unwrap(), "[2001:db8::7]:0".parse().unwrap()];
        assert_eq!(bind_all(&foreign, 8).unwrap_err().kind(), io::ErrorKind::AddrNotAvailable);
        let mixed = [foreign[0], "127.0.0.1:0".parse().unwrap(), foreign[1]];
        assert_eq!(bind_all(&mixed, 8).unwrap().len(), 1);
        assert!(bind_all(&[], 8).is_err());
    }

    #[test]
    fn a_port_in_use_is_an_error_and_not_left_out() {
        let first = bind_all(&["127.0.0.1:0".parse().unwrap()], 8).unwrap();
        let taken = first[0].local_addr().unwrap();
        assert_eq!(bind_all(&[taken], 8).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }

    #[cfg(unix)]
    #[test]
    fn accept_errors_are_told_apart() {
        use rustix::io::Errno;

        let of = |errno: Errno| AcceptError::of(&io::Error::from(errno));
        for errno in [Errno::CONNABORTED, Errno::INTR, Errno::PROTO, Errno::HOSTUNREACH, Errno::PERM, Errno::NETDOWN] {
            assert_eq!(of(errno), AcceptError::Connection, "{errno}");
        }
        for errno in [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::NOBUFS, Errno::NOSPC] {
            assert_eq!(of(errno), AcceptError::Exhausted, "{errno}");
        }
        for errno in [Errno::BADF, Errno::INVAL, Errno::NOTSOCK, Errno::OPNOTSUPP] {
            assert_eq!(of(errno), AcceptError::Listener, "{errno}");
        }
    }
}
