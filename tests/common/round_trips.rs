//! A link that makes round trips countable.

#[path = "../tls/certs.rs"]
#[allow(dead_code, unreachable_pub)]
mod certs;

use std::future::pending;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use async_io::{Async, Timer};
use futures_lite::future::{block_on, or};
use futures_lite::{AsyncReadExt, AsyncWriteExt};
use ws_transport::tls::{Acceptor, Backend, Connector};
use ws_transport::{Dialer, ListenOptions};

/// How long both ends have to be silent until what they have sent is delivered.
///
/// An end that takes longer to answer is waited for all the same, as there is nothing else to deliver.
const QUIET: Duration = Duration::from_millis(250);

/// Both ends of `/tls/sni/localhost/ws` by rustls; `None` without: the listeners of native-tls speak TLS 1.2 only, which
/// takes one round trip more.
pub fn wss() -> Option<(ListenOptions, Dialer)> {
    if !Backend::compiled_in().contains(&Backend::Rustls) {
        return None;
    }
    let authority = certs::Authority::new("test");
    let leaf = authority.issue("localhost");
    let acceptor = Acceptor::builder(leaf.chain, leaf.key).build_with(Backend::Rustls).unwrap();
    let connector = Connector::builder().pem_roots(authority.pem()).build_with(Backend::Rustls).unwrap();
    Some((ListenOptions::new().with_tls(acceptor), Dialer::new().with_tls(connector)))
}

/// A relay for one TCP connection over which bytes travel as over a very long link.
///
/// What both ends have sent is held until neither has anything more to say to what it has heard; then all of it arrives
/// at once, half a round trip later. So nothing depends on how fast the machine is.
pub struct LongLink {
    address: SocketAddr,
    deliveries: Arc<AtomicUsize>,
}

impl LongLink {
    /// A link to this address; it ends when both ends have closed.
    pub fn to(target: SocketAddr) -> LongLink {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let deliveries = Arc::<AtomicUsize>::default();
        let counter = Arc::clone(&deliveries);
        thread::spawn(move || {
            let ends = [listener.accept().unwrap().0, TcpStream::connect(target).unwrap()];
            let ends = ends.map(|end| {
                end.set_nodelay(true).unwrap();
                Async::new(end).unwrap()
            });
            block_on(relay(ends, &counter));
        });
        LongLink { address, deliveries }
    }

    /// The near end, to dial in the place of the target.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Round trips that were complete when the dialer sent what the listener hears now, TCP's included.
    ///
    /// To be asked by the listener, as soon as it hears it.
    pub fn round_trips(&self) -> usize {
        let before = self.deliveries.load(Ordering::SeqCst) - 1;
        assert_eq!(before % 2, 0, "the dialer and the listener speak in turn");
        1 + before / 2
    }
}

async fn relay(ends: [Async<TcpStream>; 2], deliveries: &AtomicUsize) {
    let (mut held, mut open) = ([Vec::new(), Vec::new()], [true; 2]);
    let mut buf = [[0; 16 * 1024]; 2];
    while open != [false; 2] {
        let [first, second] = &mut buf;
        let hear = async |i: usize, buf: &mut [u8]| match open[i] {
            true => Some((i, (&ends[i]).read(buf).await)),
            false => pending().await,
        };
        let quiet = async {
            Timer::after(QUIET).await;
            None
        };
        match or(or(hear(0, first), hear(1, second)), quiet).await {
            Some((i, Ok(len @ 1..))) => held[i].extend(&buf[i][..len]),
            Some((i, Ok(_) | Err(_))) => open[i] = false,
            None => {
                if held.iter().any(|held| !held.is_empty()) {
                    deliveries.fetch_add(1, Ordering::SeqCst);
                }
                for (i, held) in held.iter_mut().enumerate() {
                    let mut to = &ends[1 - i];
                    // Who has gone hears nothing more.
                    let _ = to.write_all(held).await;
                    held.clear();
                    if !open[i] {
                        let _ = to.get_ref().shutdown(Shutdown::Write);
                    }
                }
            }
        }
    }
}
