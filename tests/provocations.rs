//! Provocations by hand: what a client must not send, and what it may send that nobody expects, over a raw socket.
//!
//! Every claim in the tables has the one answer that RFC 6455, 9110 and 9112 leave, and that answer has to arrive
//! although the client goes on sending. Afterwards a good client is served and no descriptor is left open.

#[path = "tls/certs.rs"]
#[allow(dead_code, unreachable_pub)]
mod certs;
mod common;

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use common::wire::{Sent, close, fragment, frame};
use futures_lite::{AsyncReadExt, AsyncWriteExt, StreamExt, future};
use ws_transport::proto::{Event, OpCode, Role};
use ws_transport::tls::{Acceptor, Backend};
use ws_transport::{Connection, ListenOptions};

/// Time after which a test is considered to hang.
const LONG: Duration = Duration::from_secs(60);

/// Sent behind what is refused: an answer must not be lost to what is still on the way.
const ON_THE_WAY: usize = 64 * 1024;

const GOOD: &str = "GET /chat HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

/// The accept value for that key (RFC 6455 §1.3).
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// The tests of this file count descriptors, so they run one after the other.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    let guard = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    // The reactor opens its own descriptors now, for a timer that is not over at once.
    future::block_on(future::poll_once(async_io::Timer::after(LONG)));
    guard
}

/// A listener in a thread of its own, whose connections send back what they read and close when that ends.
struct Server {
    addr: SocketAddr,
    quit: smol::channel::Sender<()>,
    thread: Option<JoinHandle<()>>,
    /// With the listener open and nobody connected.
    descriptors: usize,
}

impl Server {
    fn new(options: ListenOptions, addr: &str) -> Self {
        let listener = future::block_on(options.bind(addr)).unwrap();
        let addr = listener.local_addrs().unwrap()[0];
        let (quit, quitting) = smol::channel::bounded(1);
        let descriptors = descriptors();
        let thread = std::thread::spawn(move || {
            let executor = smol::LocalExecutor::new();
            let mut connections = listener.connections();
            let serve = async {
                while let Some(connection) = connections.next().await {
                    if let Ok(connection) = connection {
                        executor.spawn(echo(connection)).detach();
                    }
                }
            };
            let quitting = async { quitting.recv().await.unwrap_or(()) };
            future::block_on(executor.run(future::or(quitting, serve)));
        });
        Server { addr, quit, thread: Some(thread), descriptors }
    }

    fn connect(&self) -> TcpStream {
        let client = TcpStream::connect(self.addr).unwrap();
        client.set_nodelay(true).unwrap();
        client.set_read_timeout(Some(LONG)).unwrap();
        client.set_write_timeout(Some(LONG)).unwrap();
        client
    }

    fn upgraded(&self) -> TcpStream {
        let mut client = self.connect();
        client.write_all(GOOD.as_bytes()).unwrap();
        assert!(is_granted(&read_head(&mut client)));
        client
    }

    /// A good client is served, and what the others left behind is gone.
    fn check_well(self) {
        serves(self.upgraded());
        let start = Instant::now();
        while descriptors() != self.descriptors {
            assert!(start.elapsed() < LONG, "{} descriptors, not {}", descriptors(), self.descriptors);
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.quit.try_send(());
        let ended = self.thread.take().unwrap().join();
        assert!(std::thread::panicking() || ended.is_ok(), "the server panicked");
    }
}

async fn echo(mut connection: Connection) {
    let mut buf = [0; 8192];
    while let Ok(len @ 1..) = connection.read(&mut buf).await {
        // A violation that came right behind forbids to answer.
        if connection.write_all(&buf[..len]).await.is_err() || connection.flush().await.is_err() {
            break;
        }
    }
    let _ = connection.close().await;
}

/// Only where they can be counted.
fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)
}

/// Reads up to the empty line and not beyond.
fn read_head(client: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        client.read_exact(&mut byte).unwrap_or_else(|error| panic!("{error} after {head:?}"));
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

fn is_granted(head: &str) -> bool {
    head.starts_with("HTTP/1.1 101 ") && head.contains(ACCEPT)
}

/// Sends as far as the server goes on reading: it may have said all it has to say.
fn send(client: &mut TcpStream, bytes: &[u8]) {
    let _ = client.write_all(bytes);
}

/// What the server sends up to its end.
fn read_to_end(client: &mut TcpStream, claim: &str) -> Vec<u8> {
    let mut got = Vec::new();
    client.read_to_end(&mut got).unwrap_or_else(|error| panic!("{claim}: {error} after {got:?}"));
    got
}

/// Sends data after the upgrade, gets it back, and closes.
fn serves(mut client: TcpStream) {
    client.write_all(&frame(Role::Client, OpCode::Binary, b"still here?")).unwrap();
    let mut answer = [0; 13];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"\x82\x0bstill here?");
    client.write_all(&close(Role::Client, 1000)).unwrap();
    assert_eq!(Sent::parse(Role::Server, &read_to_end(&mut client, "a good close")).close_code(), Some(Some(1000)));
}

/// The good request with one text in place of another.
fn with(old: &str, new: &str) -> Vec<u8> {
    assert!(GOOD.contains(old), "{old}");
    GOOD.replacen(old, new, 1).into_bytes()
}

/// The good request with further lines.
fn and(lines: &str) -> Vec<u8> {
    with("Host: localhost", &format!("Host: localhost\r\n{lines}"))
}

const HOST: &str = "Host: localhost\r\n";
const UPGRADE: &str = "Upgrade: websocket\r\n";
const CONNECTION: &str = "Connection: Upgrade\r\n";
const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
const VERSION: &str = "Sec-WebSocket-Version: 13\r\n";

#[test]
fn every_request_gets_its_status_although_more_is_on_the_way() {
    let _alone = alone();
    let doubled = |field: &str| with(field, &field.repeat(2));
    let cases: Vec<(&str, Vec<u8>, u16)> = vec![
        ("a good request is granted", GOOD.into(), 101),
        ("no Host is a bad request", with(HOST, ""), 400),
        ("two Hosts are a bad request", doubled(HOST), 400),
        ("an empty Host is a bad request", with("localhost", ""), 400),
        ("no Upgrade is asked to upgrade", with(UPGRADE, ""), 426),
        ("two Upgrades are a bad request", doubled(UPGRADE), 400),
        ("an Upgrade to h2c is asked to upgrade to websocket", with("websocket", "h2c"), 426),
        ("no Connection is a bad request", with(CONNECTION, ""), 400),
        ("two Connections are one list (RFC 9110 §5.3)", doubled(CONNECTION), 101),
        ("the token may come in the second Connection", and("Connection: keep-alive"), 101),
        ("a Connection without the token is a bad request", with("n: Upgrade", "n: keep-alive"), 400),
        ("no key is a bad request", with(KEY, ""), 400),
        ("two keys are a bad request", doubled(KEY), 400),
        ("a key of 15 bytes is a bad request", with("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25j"), 400),
        ("an empty key is a bad request", with("dGhlIHNhbXBsZSBub25jZQ==", ""), 400),
        ("no version is a bad request", with(VERSION, ""), 400),
        ("two versions are a bad request", doubled(VERSION), 400),
        ("version 8 is told of 13", with(": 13", ": 8"), 426),
        ("version 014 is told of 13", with(": 13", ": 014"), 426),
        ("HTTP/1.0 cannot upgrade", with("HTTP/1.1", "HTTP/1.0"), 426),
        ("HTTP/2.0 in text is a version not supported", with("HTTP/1.1", "HTTP/2.0"), 505),
        ("HTTP/1.9 is processed as HTTP/1.1 (RFC 9110 §6.2)", with("HTTP/1.1", "HTTP/1.9"), 101),
        ("no HTTP version is a bad request", with(" HTTP/1.1", ""), 400),
        ("POST is not allowed", with("GET", "POST"), 405),
        ("get in lower case is another method", with("GET", "get"), 405),
        ("CONNECT is not allowed", with("GET /chat", "CONNECT localhost:1"), 405),
        ("content on the upgrade is a bad request", [and("Content-Length: 5"), b"hello".to_vec()].concat(), 400),
        ("chunks on the upgrade are a bad request", and("Transfer-Encoding: chunked"), 400),
        ("a head of 100 KiB is too large", and(&format!("X: {}", "x".repeat(100 * 1024))), 431),
        ("a target of 100 KiB is too large", with("/chat", &format!("/{}", "x".repeat(100 * 1024))), 431),
        ("5,000 fields are too large", and(&"X: y\r\n".repeat(5_000)), 431),
        ("a NUL is a bad request", and("X: a\0b"), 400),
        ("a space before the colon is a bad request", with("Host:", "Host :"), 400),
        ("a field without a name is a bad request", and(": x"), 400),
        ("a line without a colon is a bad request", and("nonsense"), 400),
        ("a bare LF is a bad request", with("\r\n", "\n"), 400),
        ("a bare CR is a bad request", and("X: a\rY: b"), 400),
        ("a folded line is a bad request", and("X: a\r\n b"), 400),
        ("a target without a slash is a bad request", with("/chat", "chat"), 400),
        ("the preface of HTTP/2 is a version not supported", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".into(), 505),
        ("TLS on the plain port is a bad request", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".into(), 400),
        ("multistream on the plain port is a bad request", b"\x13/multistream/1.0.0\n".into(), 400),
        ("noise is a bad request", (0..=255).rev().collect(), 400),
    ];
    let server = Server::new(ListenOptions::new(), "/ip4/127.0.0.1/tcp/0/ws");
    for (claim, request, status) in cases {
        let mut client = server.connect();
        send(&mut client, &request);
        if status == 101 {
            let head = read_head(&mut client);
            assert!(is_granted(&head), "{claim}: {head}");
            serves(client);
            continue;
        }
        send(&mut client, &[b'x'; ON_THE_WAY]);
        let answer = String::from_utf8(read_to_end(&mut client, claim)).unwrap();
        let (head, content) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{claim}: {answer}"));
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{claim}: {head}");
        assert!(head.contains(&format!("\r\nContent-Length: {}", content.len())), "{claim}: {head}");
        assert!(head.contains("\r\nConnection: ") && head.contains("close"), "{claim}: {head}");
        assert_eq!(head.contains("\r\nSec-WebSocket-Version: 13"), status == 426, "{claim}: {head}");
        assert_eq!(head.contains("\r\nAllow: GET"), status == 405, "{claim}: {head}");
    }
    server.check_well();
}

#[test]
fn a_good_request_is_granted_byte_by_byte() {
    let _alone = alone();
    let server = Server::new(ListenOptions::new(), "/ip4/127.0.0.1/tcp/0/ws");
    let mut client = server.connect();
    for byte in GOOD.as_bytes() {
        client.write_all(&[*byte]).unwrap();
    }
    assert!(is_granted(&read_head(&mut client)));
    serves(client);
    server.check_well();
}

/// Ends of silence that a deadline has to cut short, on listeners of every kind.
#[test]
fn the_deadline_ends_who_is_silent_or_drips_and_a_leaver_costs_nothing() {
    let _alone = alone();
    let options = ListenOptions::new().with_handshake_timeout(Duration::from_millis(300));
    for (options, addr) in listeners(options) {
        let server = Server::new(options, addr);
        let hello: &[u8] = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
        let start = if addr.contains("tls") { hello } else { GOOD.get(..100).unwrap().as_bytes() };

        // More of them than handshakes run at a time.
        let silent: Vec<_> = (0..40).map(|_| server.connect()).collect();
        let half: Vec<_> =
            (0..40).map(|_| server.connect()).inspect(|client| (&*client).write_all(start).unwrap()).collect();
        let left: Vec<_> = (0..40).map(|_| server.connect()).collect();
        left.iter().for_each(|client| client.shutdown(Shutdown::Write).unwrap());
        for mut client in silent.into_iter().chain(half).chain(left) {
            let mut got = Vec::new();
            let _ = client.read_to_end(&mut got);
            assert!(!got.starts_with(b"HTTP/1.1 101"), "{got:?}");
        }

        // Drips until the server has had enough: well before the cap of the head.
        let mut client = server.connect();
        client.write_all(start).unwrap();
        client.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
        let mut dripped = 0;
        loop {
            match client.read(&mut [0; 512]) {
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
                // A TLS alert may come before the end.
                Ok(1..) => {}
                Ok(0) | Err(_) => break,
            }
            dripped += 1;
            assert!(dripped < 10_000, "the server takes all day");
            send(&mut client, b"x");
        }
        drop(client);
        if !addr.contains("tls") {
            server.check_well();
        }
    }
}

#[test]
fn who_speaks_no_tls_is_shut_out_of_a_tls_port() {
    let _alone = alone();
    let cases: &[(&str, &[u8])] = &[
        ("plain HTTP", GOOD.as_bytes()),
        ("multistream", b"\x13/multistream/1.0.0\n"),
        ("a record of nonsense", b"\x16\x03\x01\x00\x05hello"),
        ("a record that is too long", b"\x16\x03\x01\xff\xff\x01"),
        ("an alert", b"\x15\x03\x03\x00\x02\x02\x28"),
        ("application data", b"\x17\x03\x03\x00\x05hello"),
        ("zeros", &[0; 1000]),
    ];
    let options = ListenOptions::new();
    for (options, addr) in listeners(options).into_iter().filter(|(_, addr)| addr.contains("tls")) {
        let server = Server::new(options, addr);
        let before = server.descriptors;
        for (claim, bytes) in cases {
            let mut client = server.connect();
            send(&mut client, bytes);
            let mut got = Vec::new();
            let _ = client.read_to_end(&mut got);
            // Nothing, or an alert (RFC 8446 §6).
            assert!(got.is_empty() || got.first() == Some(&0x15), "{claim}: {got:?}");
        }
        let start = Instant::now();
        while descriptors() != before {
            assert!(start.elapsed() < LONG, "{} descriptors, not {before}", descriptors());
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Options and address of a plain listener, and of one with TLS by each backend that is compiled in.
fn listeners(options: ListenOptions) -> Vec<(ListenOptions, &'static str)> {
    let leaf = certs::Authority::new("provoked").issue("localhost");
    let mut all = vec![(options.clone(), "/ip4/127.0.0.1/tcp/0/ws")];
    for backend in Backend::compiled_in() {
        let acceptor = Acceptor::builder(leaf.chain.as_str(), leaf.key.as_str()).build_with(*backend).unwrap();
        all.push((options.clone().with_tls(acceptor), "/ip4/127.0.0.1/tcp/0/tls/ws"));
    }
    all
}

/// A frame's first bytes as they are, a mask and some payload.
fn raw(head: &[u8]) -> Vec<u8> {
    [head, &[1, 2, 3, 4], &[0; 8]].concat()
}

fn control(opcode: OpCode, payload: &[u8]) -> Vec<u8> {
    frame(Role::Client, opcode, payload)
}

#[test]
fn every_violation_gets_its_close_code_although_more_is_on_the_way() {
    let _alone = alone();
    let part = |fin, opcode, payload: &[u8]| fragment(Role::Client, fin, opcode, payload);
    let reason = |code: u16, reason: &[u8]| control(OpCode::Close, &[&code.to_be_bytes(), reason].concat());
    let cases: Vec<(&str, Vec<u8>, Option<u16>)> = vec![
        ("an unmasked frame is 1002", frame(Role::Server, OpCode::Binary, b"abc"), Some(1002)),
        ("an unmasked Ping is 1002", frame(Role::Server, OpCode::Ping, b""), Some(1002)),
        ("an unmasked Close is 1002", close(Role::Server, 1000), Some(1002)),
        ("RSV1 is 1002", raw(b"\xc2\x88"), Some(1002)),
        ("RSV2 is 1002", raw(b"\xa2\x88"), Some(1002)),
        ("RSV3 is 1002", raw(b"\x92\x88"), Some(1002)),
        ("RSV1 on a Ping is 1002", raw(b"\xc9\x88"), Some(1002)),
        ("opcode 3 is 1002", raw(b"\x83\x88"), Some(1002)),
        ("opcode 7 is 1002", raw(b"\x87\x88"), Some(1002)),
        ("opcode 11 is 1002", raw(b"\x8b\x88"), Some(1002)),
        ("opcode 15 is 1002", raw(b"\x8f\x88"), Some(1002)),
        ("a Ping of 126 bytes is 1002", raw(b"\x89\xfe\x00\x7e"), Some(1002)),
        ("a Close of 126 bytes is 1002", raw(b"\x88\xfe\x00\x7e"), Some(1002)),
        ("a Ping of 2^62 bytes is 1002", raw(b"\x89\xff\x40\0\0\0\0\0\0\0"), Some(1002)),
        ("a Ping in fragments is 1002", part(false, OpCode::Ping, b"abc"), Some(1002)),
        ("a Close in fragments is 1002", part(false, OpCode::Close, b""), Some(1002)),
        ("a continuation of nothing is 1002", part(true, OpCode::Continuation, b"abc"), Some(1002)),
        (
            "a message inside another is 1002",
            [part(false, OpCode::Binary, b"abc"), part(true, OpCode::Binary, b"def")].concat(),
            Some(1002),
        ),
        (
            "a continuation after the last is 1002",
            [
                part(false, OpCode::Binary, b"a"),
                part(true, OpCode::Continuation, b"b"),
                part(true, OpCode::Continuation, b"c"),
            ]
            .concat(),
            Some(1002),
        ),
        ("a length of 2^63 is 1002", raw(b"\x82\xff\x80\0\0\0\0\0\0\0"), Some(1002)),
        ("a length of 2^64-1 is 1002", raw(b"\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff"), Some(1002)),
        ("125 in two bytes is 1002", raw(b"\x82\xfe\x00\x7d"), Some(1002)),
        ("0 in eight bytes is 1002", raw(b"\x82\xff\0\0\0\0\0\0\0\0"), Some(1002)),
        ("65,535 in eight bytes is 1002", raw(b"\x82\xff\0\0\0\0\0\0\xff\xff"), Some(1002)),
        ("Close 0 is 1002", reason(0, b""), Some(1002)),
        ("Close 999 is 1002", reason(999, b""), Some(1002)),
        ("Close 1004 is 1002", reason(1004, b""), Some(1002)),
        ("Close 1005 is 1002", reason(1005, b""), Some(1002)),
        ("Close 1006 is 1002", reason(1006, b""), Some(1002)),
        ("Close 1015 is 1002", reason(1015, b""), Some(1002)),
        ("Close 2999 is 1002", reason(2999, b""), Some(1002)),
        ("Close 5000 is 1002", reason(5000, b""), Some(1002)),
        ("Close 65535 is 1002", reason(65535, b""), Some(1002)),
        ("a Close of one byte is 1002", control(OpCode::Close, b"\x03"), Some(1002)),
        ("a reason that is not UTF-8 is 1007", reason(1000, b"\xc3\x28"), Some(1007)),
        ("a reason that ends within a character is 1007", reason(1000, b"\xe2\x82"), Some(1007)),
        ("text is 1003", part(true, OpCode::Text, b"hello"), Some(1003)),
        ("the beginning of text is 1003", part(false, OpCode::Text, b"hello"), Some(1003)),
        ("empty text is 1003", part(true, OpCode::Text, b""), Some(1003)),
        ("1,025 empty frames in a row are 1008", part(true, OpCode::Binary, b"").repeat(1025), Some(1008)),
        ("Close 1000 is echoed whatever follows", reason(1000, b"bye"), Some(1000)),
        ("Close 1001 is echoed whatever follows", reason(1001, b""), Some(1001)),
        ("Close 4999 is echoed whatever follows", reason(4999, b"mine"), Some(4999)),
        ("Close without a code is echoed without one", control(OpCode::Close, b""), None),
    ];
    let server = Server::new(ListenOptions::new(), "/ip4/127.0.0.1/tcp/0/ws");
    for (claim, bytes, code) in cases {
        let mut client = server.upgraded();
        send(&mut client, &bytes);
        send(&mut client, &frame(Role::Client, OpCode::Binary, &[b'x'; 1000]).repeat(ON_THE_WAY / 1000));
        let sent = Sent::parse(Role::Server, &read_to_end(&mut client, claim));
        assert_eq!(sent.close_code(), Some(code), "{claim}: {sent:?}");
    }
    server.check_well();
}

#[test]
fn what_is_odd_but_allowed_is_served() {
    let _alone = alone();
    let part = |fin, opcode, payload: &[u8]| fragment(Role::Client, fin, opcode, payload);
    let ping = control(OpCode::Ping, b"are you there?");
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        (
            "fragments with control frames between them are one stream",
            [
                part(false, OpCode::Binary, b"a"),
                ping.clone(),
                part(false, OpCode::Continuation, b""),
                control(OpCode::Pong, b"unasked"),
                part(true, OpCode::Continuation, b"b"),
            ]
            .concat(),
            "ab",
        ),
        ("1,024 empty frames are no end", part(true, OpCode::Binary, b"").repeat(1024), ""),
        ("10,000 Pings and nothing else are no end", control(OpCode::Ping, b"").repeat(10_000), ""),
        ("a Pong of 125 bytes that nobody asked for is passed over", control(OpCode::Pong, &[7; 125]), ""),
        ("a mask of zeros is a mask", b"\x82\x83\0\0\0\0abc".to_vec(), "abc"),
    ];
    let server = Server::new(ListenOptions::new(), "/ip4/127.0.0.1/tcp/0/ws");
    for (claim, bytes, data) in cases {
        let mut client = server.upgraded();
        send(&mut client, &bytes);
        send(&mut client, &frame(Role::Client, OpCode::Binary, b"!"));
        send(&mut client, &close(Role::Client, 1000));
        let sent = Sent::parse(Role::Server, &read_to_end(&mut client, claim));
        assert_eq!(sent.close_code(), Some(Some(1000)), "{claim}: {sent:?}");
        assert!(format!("{data}!").as_bytes().starts_with(&sent.data), "{claim}: {sent:?}");
    }

    // A frame of a length that no machine holds is a stream like any other, as long as it lasts.
    for head in [&b"\x82\xff\0\0\0\x01\0\0\0\x05"[..], b"\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff"] {
        let mut client = server.upgraded();
        send(&mut client, &[head, &[0; 4], b"endless"].concat());
        let mut answer = [0; 9];
        client.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"\x82\x07endless");
    }
    server.check_well();
}

#[test]
fn of_2000_pings_at_once_the_last_is_answered_and_none_twice() {
    let _alone = alone();
    let server = Server::new(ListenOptions::new(), "/ip4/127.0.0.1/tcp/0/ws");
    let mut client = server.upgraded();
    let pings: Vec<u8> = (0..2000u32).flat_map(|i| control(OpCode::Ping, &i.to_be_bytes())).collect();
    send(&mut client, &pings);
    send(&mut client, &close(Role::Client, 1000));
    let sent = Sent::parse(Role::Server, &read_to_end(&mut client, "2,000 Pings"));
    assert_eq!(sent.close_code(), Some(Some(1000)));
    let pongs = sent.control.iter().filter_map(|event| match event {
        Event::Pong(payload) => Some(u32::from_be_bytes(payload.as_slice().try_into().unwrap())),
        _ => None,
    });
    let pongs: Vec<_> = pongs.collect();
    assert!(pongs.is_sorted_by(|a, b| a < b), "{pongs:?}");
    assert_eq!(pongs.last(), Some(&1999));
    drop(client);
    server.check_well();
}

#[test]
fn an_end_within_a_frame_ends_the_connection_wherever_it_falls() {
    let _alone = alone();
    let server = Server::new(ListenOptions::new(), "/ip4/127.0.0.1/tcp/0/ws");
    let whole = frame(Role::Client, OpCode::Binary, &[1; 200]);
    for end in 0..whole.len() {
        let mut client = server.upgraded();
        client.write_all(&whole[..end]).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let sent = Sent::parse(Role::Server, &read_to_end(&mut client, "a cut frame"));
        assert_eq!(sent.data.len(), end.saturating_sub(8), "{end}");
    }
    // And so does a client that is gone without a word, with answers unread.
    for _ in 0..50 {
        let mut client = server.upgraded();
        client.write_all(&whole.repeat(100)).unwrap();
    }
    server.check_well();
}
