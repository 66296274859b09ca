//! What happens to file descriptors: none leaks, and running out of them is survived.
//!
//! A test binary of its own, because descriptors are counted and limited for the whole process.
#![cfg(target_os = "linux")]

#[path = "common/patience.rs"]
mod patience;

use std::fs::File;
use std::future::Future;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use futures_lite::StreamExt;
use futures_lite::future::{self, block_on};
use patience::patient;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use ws_transport::tls::{Acceptor, Backend, Connector};
use ws_transport::{Connection, Dialer, Error, ListenOptions, Listener, Phase};

/// Time after which a test is considered to hang.
const LONG: Duration = Duration::from_secs(60);

/// The tests of this file run one after the other, with the reactor's own descriptors open already.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    let guard = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    // For a timer that is over at once, as a short one is on a slow machine, it would not open them.
    block_on(future::poll_once(async_io::Timer::after(LONG)));
    guard
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Look-ups and the kernel finish on their own time.
fn wait_for_descriptors(expected: usize) {
    let start = Instant::now();
    while descriptors() != expected {
        assert!(start.elapsed() < LONG, "{} descriptors, not {expected}", descriptors());
        thread::sleep(Duration::from_millis(5));
    }
}

fn has_tls() -> bool {
    !Backend::compiled_in().is_empty()
}

/// A dialer that trusts everybody, where a backend is compiled in.
fn tls_dialer() -> Dialer {
    if !has_tls() {
        return Dialer::new();
    }
    Dialer::new().with_tls(Connector::builder().dangerously_skip_verification().build().unwrap())
}

fn listen_v4(options: &ListenOptions) -> (Listener, SocketAddr) {
    let listener = block_on(options.bind("/ip4/127.0.0.1/tcp/0/ws")).unwrap();
    let addr = listener.local_addrs().unwrap()[0];
    (listener, addr)
}

/// A socket whose queue is full, so that connecting to it neither succeeds nor fails.
fn black_hole() -> (TcpListener, TcpStream) {
    use rustix::net;

    let socket = net::socket(net::AddressFamily::INET, net::SocketType::STREAM, None).unwrap();
    net::bind(&socket, &"127.0.0.1:0".parse::<SocketAddr>().unwrap()).unwrap();
    net::listen(&socket, 0).unwrap();
    let hole = TcpListener::from(socket);
    let queued = TcpStream::connect(hole.local_addr().unwrap()).unwrap();
    (hole, queued)
}

/// Polls until `reached`, which the dial must not outlive, and drops it there.
fn drop_when(
    mut dial: Pin<Box<dyn Future<Output = Result<Connection, Error>> + '_>>,
    mut reached: impl FnMut() -> bool,
) {
    let start = Instant::now();
    while !reached() {
        assert!(block_on(future::poll_once(&mut dial)).is_none(), "the dial is done too early");
        assert!(start.elapsed() < LONG);
    }
}

#[test]
fn dials_dropped_in_any_phase_leak_no_descriptor() {
    let _alone = alone();
    let dialer = tls_dialer();
    let (hole, _queued) = black_hole();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    silent.set_nonblocking(true).unwrap();
    let dark = format!("/ip4/127.0.0.1/tcp/{}/ws", hole.local_addr().unwrap().port());
    let ws = format!("/ip4/127.0.0.1/tcp/{}/ws", silent.local_addr().unwrap().port());
    let wss = ws.replace("/ws", "/tls/ws");
    let baseline = descriptors();

    for _ in 0..20 {
        // Not begun.
        drop(dialer.dial(&ws));
        // In the look-up.
        let name = ws.replace("/ip4/127.0.0.1", "/dns4/localhost");
        drop(pin!(dialer.dial(&name)).poll(&mut Context::from_waker(Waker::noop())));
        wait_for_descriptors(baseline);
        // In the connection.
        drop_when(Box::pin(dialer.dial(&dark)), || descriptors() > baseline);
        wait_for_descriptors(baseline);
        // In the upgrade, and in TLS.
        for addr in [&ws, &wss].into_iter().take(if has_tls() { 2 } else { 1 }) {
            let mut peer = None;
            let asked = || {
                peer = peer.take().or_else(|| silent.accept().ok());
                let Some((socket, _)) = &mut peer else { return false };
                socket.set_nonblocking(true).unwrap();
                socket.read(&mut [0; 4]).is_ok()
            };
            drop_when(Box::pin(dialer.dial(addr)), asked);
            drop(peer);
            wait_for_descriptors(baseline);
        }
    }
}

#[test]
fn dials_that_run_out_of_time_leak_no_descriptor() {
    let _alone = alone();
    let (hole, _queued) = black_hole();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let baseline = descriptors();
    let dialer = tls_dialer().with_timeout(patient(Duration::from_secs(1)));
    let mut phases = vec![(&hole, "ws", Phase::Connect), (&silent, "ws", Phase::Handshake)];
    if has_tls() {
        phases.push((&silent, "tls/ws", Phase::Tls));
    }
    for (listener, rest, phase) in phases {
        let addr = format!("/ip4/127.0.0.1/tcp/{}/{rest}", listener.local_addr().unwrap().port());
        let error = block_on(dialer.dial(&addr)).unwrap_err();
        assert_eq!(error.phase(), phase, "{error}");
        wait_for_descriptors(baseline);
    }
}

#[test]
fn hundreds_of_clients_that_never_finish_hold_up_nobody_and_are_closed_in_time() {
    let _alone = alone();
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum.or(Some(4096)), ..limit }).unwrap();

    let options = ListenOptions::new().with_handshake_timeout(patient(Duration::from_secs(3)));
    never_finish(&options, "ws");
    for &backend in Backend::compiled_in() {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let acceptor =
            Acceptor::builder(made.cert.pem(), made.signing_key.serialize_pem()).build_with(backend).unwrap();
        never_finish(&options.clone().with_tls(acceptor), "tls/ws");
    }
    setrlimit(Resource::Nofile, limit).unwrap();
}

/// Whether the other end has neither closed nor said anything.
fn is_open(mut client: &TcpStream) -> bool {
    client.set_nonblocking(true).unwrap();
    client.read(&mut [0]).is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
}

fn never_finish(options: &ListenOptions, rest: &str) {
    let listener = block_on(options.bind(format!("/ip4/127.0.0.1/tcp/0/{rest}"))).unwrap();
    let dialed = listener.addresses().unwrap().remove(0);
    let addr = listener.local_addrs().unwrap()[0];
    let mut connections = listener.connections().with_handshakes(1000);
    let baseline = descriptors();
    // Beginnings, of which more could come, and what is refused at once.
    let beginnings: [&[u8]; 3] = match rest {
        "ws" => [b"", b"G", b"GET / HTTP/1.1\r\nHos"],
        _ => [b"", b"\x16\x03\x01", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"],
    };
    let refused: [&[u8]; 2] = [b"\x16\xff\xff\xff\xff", b"\0garbage\r\n\r\n"];
    let connect = |text: &[u8]| {
        let mut client = TcpStream::connect(addr).unwrap();
        client.write_all(text).unwrap();
        client
    };
    let bad: Vec<_> = (0..100).map(|i| connect(refused[i % 2])).collect();
    let open: Vec<_> = (0..500).map(|i| connect(beginnings[i % 3])).collect();

    let (served, failed) = (std::cell::Cell::new(0), std::cell::Cell::new(0));
    let serve = async {
        for _ in 0..=bad.len() + open.len() {
            let count = if connections.next().await.unwrap().is_ok() { &served } else { &failed };
            count.set(count.get() + 1);
        }
    };
    let dial = async {
        let good = tls_dialer().dial(&dialed).await;
        let over = open.iter().filter(|client| !is_open(client)).count();
        assert_eq!(over, 0, "that many of the open ones were over by then");
        good
    };
    let (good, ()) = block_on(future::zip(dial, serve));
    good.unwrap();
    assert_eq!((served.get(), failed.get()), (1, bad.len() + open.len()));
    drop((bad, open));
    wait_for_descriptors(baseline);
}

/// Counts how often it is woken, and ends a thread's `park`.
struct Counter(AtomicUsize, Thread);

impl Wake for Counter {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
        self.1.unpark();
    }
}

#[test]
fn running_out_of_descriptors_neither_spins_nor_ends_the_listener() {
    let _alone = alone();
    let (mut listener, addr) = listen_v4(&ListenOptions::new());
    let clients = [TcpStream::connect(addr).unwrap(), TcpStream::connect(addr).unwrap()];

    let before = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(descriptors() as u64 + 32), ..before }).unwrap();
    let hog: Vec<_> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();

    // A caller that drops and repeats the future gets no further, and no error.
    for _ in 0..1000 {
        assert!(block_on(future::poll_once(listener.accept())).is_none());
        assert!(block_on(future::poll_once(future::poll_fn(|cx| listener.poll_accept(cx)))).is_none());
    }

    // One that waits is not woken all the time. Noise can only make the wake-ups fewer.
    let counter = Arc::new(Counter(AtomicUsize::new(0), thread::current()));
    let waker = Waker::from(counter.clone());
    let end = Instant::now() + Duration::from_millis(500);
    let mut accept = pin!(listener.accept());
    while let Some(left) = end.checked_duration_since(Instant::now()) {
        assert!(accept.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        thread::park_timeout(left);
    }
    assert!(counter.0.load(Ordering::Relaxed) < 20, "woken {} times", counter.0.load(Ordering::Relaxed));

    drop(hog);
    let first = block_on(accept).unwrap();
    let second = block_on(listener.accept()).unwrap();
    let remote = [first.remote_addr(), second.remote_addr()];
    assert_eq!(remote, clients.map(|client| client.local_addr().unwrap()));
    setrlimit(Resource::Nofile, before).unwrap();
}

#[test]
fn refused_and_dropped_clients_leak_no_descriptor() {
    let _alone = alone();
    let (listener, addr) = listen_v4(&ListenOptions::new());
    let baseline = descriptors();
    for i in 0..100 {
        let _client = TcpStream::connect(addr).unwrap();
        let incoming = block_on(listener.accept()).unwrap();
        match i % 3 {
            0 => incoming.refuse(),
            1 => drop(incoming),
            _ => {
                let mut handshake = Box::pin(incoming.handshake());
                assert!(matches!(handshake.as_mut().poll(&mut Context::from_waker(Waker::noop())), Poll::Pending));
            }
        }
    }
    wait_for_descriptors(baseline);
}
