//! A relay of bytes between TCP connections: what a middlebox on the way may do, and no checksum below tells.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use fastrand::Rng;
use rustix::net::sockopt::set_socket_linger;
use smol::io::{AsyncReadExt, AsyncWriteExt};
use smol::{Async, LocalExecutor, Timer, future};

/// What happens to the bytes, in each direction. By default nothing.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Mangle {
    /// Most bytes that are passed on at a time.
    pub(super) drip: Option<usize>,
    /// Time that each such piece takes.
    pub(super) delay: Duration,
    /// One bit is turned in about one of so many bytes.
    pub(super) corrupt: Option<u64>,
    /// After so many bytes of either direction both connections end.
    pub(super) cut: Option<(u64, Cut)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    /// By FIN, as if either end had done so.
    End,
    /// By RST.
    Reset,
}

/// Relays whoever connects to `listener` to `target`, until it is dropped.
pub(super) async fn relay(listener: Async<TcpListener>, target: SocketAddr, mangle: Mangle, seed: u64) {
    let (pairs, mut dice) = (LocalExecutor::new(), Rng::with_seed(seed));
    let accepting = async {
        while let Ok((near, _)) = listener.accept().await {
            let dice = [dice.fork(), dice.fork()];
            pairs.spawn(async move { drop(pair(near, target, mangle, dice).await) }).detach();
        }
    };
    pairs.run(accepting).await;
}

async fn pair(near: Async<TcpStream>, target: SocketAddr, mangle: Mangle, [a, b]: [Rng; 2]) -> io::Result<()> {
    let far = Async::<TcpStream>::connect(target).await?;
    for socket in [&near, &far] {
        socket.get_ref().set_nodelay(true)?;
    }
    let there = pump(&near, &far, mangle, a);
    let back = pump(&far, &near, mangle, b);
    // A direction that was cut takes the other with it; one that ended leaves it alone.
    let ends = future::try_zip(there, back).await.map(drop);
    if let Some((_, Cut::Reset)) = mangle.cut {
        for socket in [&near, &far] {
            set_socket_linger(socket, Some(Duration::ZERO))?;
        }
    }
    ends
}

async fn pump(from: &Async<TcpStream>, to: &Async<TcpStream>, mangle: Mangle, mut dice: Rng) -> io::Result<()> {
    let (mut from, mut to, mut passed) = (from, to, 0);
    let mut buf = vec![0; mangle.drip.unwrap_or(16 * 1024)];
    loop {
        let len = from.read(&mut buf).await?;
        if len == 0 {
            return to.get_ref().shutdown(std::net::Shutdown::Write);
        }
        let piece = &mut buf[..len];
        if let Some(every) = mangle.corrupt {
            for byte in &mut *piece {
                if dice.u64(..every) == 0 {
                    *byte ^= 1 << dice.u8(..8);
                }
            }
        }
        if !mangle.delay.is_zero() {
            Timer::after(mangle.delay).await;
        }
        to.write_all(piece).await?;
        passed += len as u64;
        if mangle.cut.is_some_and(|(after, _)| passed >= after) {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
    }
}
