//! What comes in the place of a TLS handshake, or on top of it: cut, in drops, at random, closed right after its hello.
//!
//! Handshakes are polled by hand, and only when they were woken, so that one that spins is seen to.

use std::future::Future;
use std::net::TcpStream;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use std::cell::Cell;
use std::io::Write;

use futures_lite::{AsyncWrite, future};
use ws_transport::tls::{Acceptor, Connector, MaybeTls, TlsError};
use ws_transport::{Dialer, ListenOptions};

use crate::common::Woken;
use crate::common::pipe::{End, Manner, pipe};
use crate::{backends, transports};

type Shaken = Result<MaybeTls<End>, TlsError>;

/// A handshake at one end of a pipe, and the other end.
struct Shaking<'a> {
    handshake: Pin<Box<dyn Future<Output = Shaken> + 'a>>,
    peer: End,
    woken: Arc<Woken>,
    waker: Waker,
    polls: usize,
    done: Option<bool>,
}

impl<'a> Shaking<'a> {
    fn accept(acceptor: &'a Acceptor) -> Self {
        Self::new(|io| Box::pin(acceptor.accept(io)))
    }

    fn connect(connector: &'a Connector) -> Self {
        Self::new(|io| Box::pin(connector.connect("localhost", io)))
    }

    fn new(shake: impl FnOnce(End) -> Pin<Box<dyn Future<Output = Shaken> + 'a>>) -> Self {
        let (ours, peer) = pipe(Manner::GOOD, Manner::GOOD);
        let (woken, waker) = Woken::new();
        let mut shaking = Shaking { handshake: shake(ours), peer, woken, waker, polls: 0, done: None };
        shaking.poll();
        shaking
    }

    /// Polls as long as it was woken, and for a start.
    fn poll(&mut self) {
        while self.done.is_none() {
            let before = self.woken.count();
            self.polls += 1;
            assert!(self.polls < 10_000, "it spins");
            if let Poll::Ready(shaken) = self.handshake.as_mut().poll(&mut Context::from_waker(&self.waker)) {
                self.done = Some(shaken.is_ok());
            } else if self.woken.count() == before {
                return;
            }
        }
    }

    /// Brings it something, and polls it if that woke it.
    fn put(&mut self, bytes: &[u8]) {
        let before = self.woken.count();
        self.peer.put(bytes);
        if self.woken.count() > before {
            self.poll();
        }
    }

    /// The end of the input, with which everything has to end: whether it ended well.
    fn shut(&mut self) -> bool {
        let _ = Pin::new(&mut self.peer).poll_close(&mut Context::from_waker(Waker::noop()));
        self.poll();
        self.done.expect("the end of the input ends a handshake")
    }
}

/// What each backend's client says first.
fn hellos() -> Vec<Vec<u8>> {
    backends().iter().map(|(connector, _)| Shaking::connect(connector).peer.take_all()).collect()
}

/// All acceptors with all hellos.
fn greeted(check: impl Fn(&Acceptor, &[u8])) {
    let hellos = hellos();
    for (_, acceptor) in backends() {
        for hello in &hellos {
            check(&acceptor, hello);
        }
    }
}

#[test]
fn a_client_hello_that_is_cut_anywhere_waits_idle_and_ends_with_the_connection() {
    greeted(|acceptor, hello| {
        for at in 0..hello.len() {
            let mut server = Shaking::accept(acceptor);
            server.put(&hello[..at]);
            assert_eq!(server.done, None, "{} at byte {at}", acceptor.backend());
            assert!(server.polls <= 3, "{} polls at byte {at}", server.polls);
            assert!(!server.shut());
        }
    });
}

#[test]
fn a_client_hello_in_drops_of_a_byte_is_polled_once_for_each_and_answered() {
    greeted(|acceptor, hello| {
        let mut server = Shaking::accept(acceptor);
        for byte in hello {
            server.put(&[*byte]);
            assert_eq!(server.done, None);
        }
        assert!(server.polls <= 2 * hello.len() + 3, "{} polls for {} bytes", server.polls, hello.len());
        assert_eq!(server.peer.take_all().first(), Some(&0x16), "a handshake record");
        assert!(!server.shut());
    });
}

#[test]
fn a_client_hello_with_any_byte_changed_is_refused_or_waited_for_and_never_a_panic() {
    greeted(|acceptor, hello| {
        for at in 0..hello.len() {
            for flip in [0x01, 0x80, 0xff] {
                let mut wrong = hello.to_vec();
                wrong[at] ^= flip;
                let mut server = Shaking::accept(acceptor);
                server.put(&wrong);
                assert!(server.polls < 10, "{} polls, byte {at}", server.polls);
                assert!(!server.shut());
            }
        }
    });
}

#[test]
fn random_bytes_are_refused_or_waited_for_and_never_a_panic() {
    greeted(|acceptor, hello| {
        let mut state = hello.len() as u32;
        let mut dice = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        for round in 0..300 {
            let mut bytes: Vec<u8> = (0..usize::from(dice()) * 3).map(|_| dice()).collect();
            match round % 3 {
                // A record's header before them, and a hello's.
                1 => drop(bytes.splice(0..0, [0x16, 3, 1, 1, 0])),
                2 => drop(bytes.splice(0..0, [0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3])),
                _ => {}
            }
            let mut server = Shaking::accept(acceptor);
            server.put(&bytes);
            assert!(server.polls < 10, "{} polls", server.polls);
            assert!(!server.shut());
        }
    });
}

/// close_notify and its like, as records that are not encrypted.
const BEHIND: [(&str, &[u8], usize); 6] = [
    ("close_notify", &[0x15, 3, 3, 0, 2, 1, 0], 1),
    ("a fatal close_notify", &[0x15, 3, 3, 0, 2, 2, 0], 1),
    ("user_canceled and close_notify", &[0x15, 3, 1, 0, 2, 1, 90, 0x15, 3, 1, 0, 2, 1, 0], 1),
    ("100 times close_notify", &[0x15, 3, 3, 0, 2, 1, 0], 100),
    ("1,000 changes of the cipher", &[0x14, 3, 3, 0, 1, 1], 1000),
    ("1,000 empty records", &[0x16, 3, 3, 0, 0], 1000),
];

#[test]
fn a_close_notify_right_behind_a_client_hello_leaves_nothing_spinning() {
    greeted(|acceptor, hello| {
        for (claim, record, times) in BEHIND {
            for drops in [false, true] {
                let mut server = Shaking::accept(acceptor);
                server.put(hello);
                let bytes = record.repeat(times);
                let before = server.polls;
                bytes.chunks(if drops { 1 } else { bytes.len() }).for_each(|bytes| server.put(bytes));
                let allowed = if drops { 2 * bytes.len() } else { 2 * times } + 3;
                let polls = server.polls - before;
                assert!(polls <= allowed, "{}, {claim}: {polls} polls", acceptor.backend());
                // It is over, or it waits for more: what does not wake it is not polled.
                assert!(!server.shut(), "{claim}");
            }
        }
    });
}

#[test]
fn what_a_server_answers_may_be_cut_changed_or_closed_anywhere() {
    for (connector, _) in backends() {
        for (_, acceptor) in backends() {
            let mut at = 0;
            loop {
                let mut ended = false;
                for change in 0..3 {
                    let (mut client, mut server) = (Shaking::connect(&connector), Shaking::accept(&acceptor));
                    server.put(&client.peer.take_all());
                    let mut answer = server.peer.take_all();
                    assert_eq!(answer.first(), Some(&0x16));
                    ended |= at >= answer.len();
                    match change {
                        _ if ended => break,
                        0 => answer.truncate(at),
                        1 => answer[at] ^= 0x41,
                        _ => drop(answer.splice(at.., BEHIND[0].1.iter().copied())),
                    }
                    let before = client.polls;
                    answer.chunks(500).for_each(|bytes| client.put(bytes));
                    assert!(client.polls - before < 20, "{} polls, byte {at}", client.polls - before);
                    // A byte that nobody looks at may change, as in the version of a record.
                    assert!(!client.shut() || change == 1, "change {change} at byte {at}");
                }
                if ended {
                    break;
                }
                at += 7;
            }
            assert!(at > 300, "{at} bytes");
        }
    }
}

#[test]
fn half_open_connections_are_not_polled_while_nothing_comes_and_end_in_time() {
    const CLIENTS: usize = 60;
    let hellos = hellos();
    let options = ListenOptions::new().with_handshake_timeout(Duration::from_millis(300));
    for (options, _, rest) in transports(&options, &Dialer::new()) {
        let start: &[u8] = if rest == "ws" { b"GET / HTTP/1.1\r\nHost: a" } else { &hellos[0][..100] };
        let close_notify = [hellos.first().map_or(&b"\x16"[..], |hello| hello), BEHIND[0].1].concat();
        future::block_on(async {
            let listener = options.bind(format!("/ip4/127.0.0.1/tcp/0/{rest}")).await.unwrap();
            let addr = listener.local_addrs().unwrap()[0];
            let clients: Vec<_> = (0..CLIENTS)
                .map(|i| {
                    let mut client = TcpStream::connect(addr).unwrap();
                    client.write_all([&b""[..], start, &close_notify][i % 3]).unwrap();
                    client
                })
                .collect();
            let (polls, executor) = (Rc::new(Cell::new(0)), smol::LocalExecutor::new());
            let mut handshakes = Vec::new();
            for _ in &clients {
                let mut handshake = Box::pin(listener.accept().await.unwrap().handshake());
                let polls = Rc::clone(&polls);
                handshakes.push(executor.spawn(future::poll_fn(move |cx| {
                    polls.set(polls.get() + 1);
                    handshake.as_mut().poll(cx)
                })));
            }
            executor
                .run(async {
                    for handshake in handshakes {
                        assert!(handshake.await.is_err());
                    }
                })
                .await;
            // Once for the start, for what has come, for the time, and as often again for what the system makes of it.
            assert!(polls.get() <= 8 * CLIENTS, "{} polls of {CLIENTS} handshakes over {rest}", polls.get());
        });
    }
}
