//! Lost wake-ups and lost bytes: tasks that share a stream over tiny buffers, and futures dropped wherever they wait.
//!
//! Plain and inside TLS with every pair of backends compiled in. `STRESS=n` does n times as much.

#[path = "tls/certs.rs"]
#[allow(dead_code, unreachable_pub)]
mod certs;
mod common;

use std::future::Future;
use std::io;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use common::patience::patient;
use common::pattern;
use common::pipe::{End, Manner, pipe};
use common::wire::{Sent, close, fragment, frame, other};
use futures_lite::io::split;
use futures_lite::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, future};
use ws_transport::proto::{Event, OpCode, Role};
use ws_transport::tls::{Acceptor, Backend, Connector, MaybeTls};
use ws_transport::{StreamConfig, WsStream};

/// Time after which a wake-up is considered lost.
const LONG: Duration = Duration::from_secs(20);

const ROLES: [Role; 2] = [Role::Client, Role::Server];

fn times() -> u64 {
    std::env::var("STRESS").ok().and_then(|times| times.parse().ok()).unwrap_or(1)
}

/// Small and repeatable (Marsaglia's xorshift).
struct Dice(u64);

impl Dice {
    fn new(seed: u64) -> Self {
        Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }
}

/// No TLS, then client and server in every pair of backends.
fn combinations() -> Vec<Option<(Connector, Acceptor)>> {
    let authority = certs::Authority::new("stress");
    let leaf = authority.issue("localhost");
    let all = Backend::compiled_in();
    let pairs = all.iter().flat_map(|client| all.iter().map(move |server| (client, server)));
    let tls = pairs.map(|(client, server)| {
        let connector = Connector::builder().pem_roots(authority.pem()).build_with(*client).unwrap();
        let acceptor = Acceptor::builder(leaf.chain.as_str(), leaf.key.as_str()).build_with(*server).unwrap();
        Some((connector, acceptor))
    });
    std::iter::once(None).chain(tls).collect()
}

async fn secured<IO: AsyncRead + AsyncWrite + Unpin>(
    tls: &Option<(Connector, Acceptor)>,
    client: IO,
    server: IO,
) -> (MaybeTls<IO>, MaybeTls<IO>) {
    match tls {
        None => (MaybeTls::plain(client), MaybeTls::plain(server)),
        Some((connector, acceptor)) => {
            let both = future::zip(connector.connect("localhost", client), acceptor.accept(server)).await;
            (both.0.unwrap(), both.1.unwrap())
        }
    }
}

async fn in_time<T>(claim: &str, work: impl Future<Output = T>) -> T {
    let late = async {
        async_io::Timer::after(patient(LONG)).await;
        panic!("{claim}: a wake-up was lost");
    };
    future::or(work, late).await
}

/// Polls at most so many times, then drops the future; `None` if it was not done.
async fn dropped_after<T>(polls: usize, work: impl Future<Output = T>) -> Option<T> {
    let mut work = pin!(work);
    let mut left = polls;
    future::poll_fn(|cx| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        // The next poll needs no event: an impatient caller.
        cx.waker().wake_by_ref();
        work.as_mut().poll(cx).map(Some)
    })
    .await
}

/// Sends `data` and receives as much, by reads, writes and flushes that are dropped after a few polls.
async fn impatient<IO: AsyncRead + AsyncWrite + Unpin>(mut stream: WsStream<IO>, data: &[u8], dice: &mut Dice) {
    let (mut sent, mut got) = (0, Vec::new());
    let mut buf = vec![0; 40_000];
    while sent < data.len() || got.len() < data.len() {
        let polls = dice.below(4);
        match dice.below(8) {
            0..=3 if sent < data.len() => {
                let len = [1, 100, 5_000, 40_000][dice.below(4)].min(data.len() - sent);
                let part = &data[sent..sent + len];
                let written = match dice.below(2) {
                    0 => dropped_after(polls, stream.write(part)).await,
                    _ => {
                        let (first, second) = part.split_at(len / 3);
                        let slices = [io::IoSlice::new(first), io::IoSlice::new(second)];
                        dropped_after(polls, stream.write_vectored(&slices)).await
                    }
                };
                sent += written.transpose().unwrap().unwrap_or(0);
            }
            0..=4 => drop(dropped_after(polls, stream.flush()).await.transpose().unwrap()),
            _ if got.len() < data.len() => {
                let len = [1, 100, 8_192, 40_000][dice.below(4)];
                let read = dropped_after(polls, stream.read(&mut buf[..len])).await.transpose().unwrap();
                assert_ne!(read, Some(0), "an end too early");
                got.extend_from_slice(&buf[..read.unwrap_or(0)]);
            }
            _ => {}
        }
        future::yield_now().await;
    }
    assert!(got == data, "bytes were lost, repeated or swapped");

    // Closing goes on where it was dropped.
    // The peer, who looks at its data itself, may have seen our Close and gone before our close_notify left.
    loop {
        match dropped_after(dice.below(3), stream.close()).await {
            None => future::yield_now().await,
            Some(Err(error)) if error.kind() == io::ErrorKind::BrokenPipe => break,
            Some(closed) => break closed.unwrap(),
        }
    }
    assert_eq!(stream.read(&mut buf).await.unwrap(), 0);
}

#[test]
fn futures_dropped_wherever_they_wait_lose_and_repeat_nothing() {
    let combinations = combinations();
    for seed in 0..3 * times() {
        for tls in &combinations {
            let mut dice = Dice::new(seed + 1);
            let any_manner = |dice: &mut Dice| Manner {
                // Nobody reads the server's session tickets while its handshake waits to send them.
                capacity: if tls.is_some() { [2_000, 5_000, 20_000] } else { [100, 700, 20_000] }[dice.below(3)],
                chunk: [13, 1000, usize::MAX][dice.below(3)],
                // A TLS handshake that writes and reads once a poll would always be refused the same one of the two.
                stutter: tls.is_none() && dice.below(2) == 0,
                until_flush: dice.below(2) == 0,
                vectored: dice.below(2) == 0,
                ..Manner::GOOD
            };
            let any_config = |dice: &mut Dice| {
                let config = StreamConfig::new().with_coalescing(dice.below(3) > 0).with_close_timeout(patient(LONG));
                config
                    .with_read_buffer([512, 5_000, 65_536][dice.below(3)])
                    .with_write_buffer([512, 16_384][dice.below(2)])
                    .with_flushes_put_off(dice.below(2) == 0)
            };
            let (a, b) = pipe(any_manner(&mut dice), any_manner(&mut dice));
            let (to_client, to_server) = (any_config(&mut dice), any_config(&mut dice));
            let data = pattern(6_000);
            let claim = format!("seed {seed}, {:?}", tls.as_ref().map(|(c, s)| (c.backend(), s.backend())));
            future::block_on(in_time(&claim, async {
                let (client, server) = secured(tls, a, b).await;
                let client = over(client, Role::Client, to_client, seed % 2 == 0);
                let server = over(server, Role::Server, to_server, seed % 3 == 0);
                let (mut one, mut two) = (Dice::new(seed + 1000), Dice::new(seed + 2000));
                future::zip(impatient(client, &data, &mut one), impatient(server, &data, &mut two)).await;
            }));
        }
    }
}

/// Writes frames of all sizes, fragments and Pings by hand, then a Close, and gives the number of the last Ping.
async fn hand_write(mut to: impl AsyncWrite + Unpin, role: Role, data: &[u8], mut dice: Dice) -> u32 {
    let (mut rest, mut pings, mut opcode) = (data, 0u32, OpCode::Binary);
    while !rest.is_empty() {
        let (part, later) = rest.split_at([0, 1, 125, 126, 3_000, 70_000][dice.below(6)].min(rest.len()));
        let fin = dice.below(2) == 0;
        let mut bytes = fragment(role, fin, opcode, part);
        opcode = if fin { OpCode::Binary } else { OpCode::Continuation };
        for _ in 0..dice.below(3) {
            pings += 1;
            bytes.extend(frame(role, OpCode::Ping, &pings.to_be_bytes()));
        }
        to.write_all(&bytes).await.unwrap();
        to.flush().await.unwrap();
        rest = later;
    }
    pings += 1;
    to.write_all(&frame(role, OpCode::Ping, &pings.to_be_bytes())).await.unwrap();
    to.flush().await.unwrap();
    pings
}

/// Reads by hand until there is so much data and the Pong of this number at the latest.
async fn hand_read(mut from: impl AsyncRead + Unpin, role: Role, data: &[u8], last: impl Future<Output = u32>) {
    let (mut wire, mut buf) = (Vec::new(), vec![0; 3_000]);
    let mut last = pin!(last);
    let (mut expected, mut at) = (None, 0);
    loop {
        let number = async {
            match expected {
                None => Err(last.as_mut().await),
                Some(_) => future::pending().await,
            }
        };
        match future::or(async { Ok(from.read(&mut buf).await.unwrap()) }, number).await {
            Ok(len) => {
                assert_ne!(len, 0, "an end too early");
                wire.extend_from_slice(&buf[..len]);
            }
            Err(number) => {
                expected = Some(number);
                at = 0;
            }
        }
        // Parsing all again and again would be quadratic.
        if wire.len() < at + 50_000 && wire.len() < data.len() {
            continue;
        }
        at = wire.len();
        let sent = Sent::parse(other(role), &wire);
        let pong = sent.control.iter().rev().find_map(|event| match event {
            Event::Pong(payload) => Some(u32::from_be_bytes(payload.as_slice().try_into().unwrap())),
            _ => None,
        });
        if sent.data.len() == data.len() && expected.is_some() && pong == expected {
            assert!(sent.data == data);
            return;
        }
    }
}

/// A stream over TLS or none, that reads from the session's own memory or does not.
fn over<IO>(io: MaybeTls<IO>, role: Role, config: StreamConfig, borrow: bool) -> WsStream<MaybeTls<IO>>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let stream = WsStream::new(io, role, Vec::new(), config);
    if borrow { stream.borrow_from_tls() } else { stream }
}

/// One end split between two tasks, the other by hand in two more, on four threads.
fn on_four_threads<IO>(claim: &str, ours: WsStream<IO>, theirs: IO, role: Role, len: usize, seed: u64)
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let executor = std::sync::Arc::new(smol::Executor::new());
    let (stop, stopped) = smol::channel::bounded::<()>(1);
    let threads: Vec<_> = (0..3)
        .map(|_| {
            let (executor, stopped) = (executor.clone(), stopped.clone());
            std::thread::spawn(move || future::block_on(executor.run(async { stopped.recv().await.unwrap_or(()) })))
        })
        .collect();

    let data = std::sync::Arc::new(pattern(len));
    let (mut reader, mut writer) = split(ours);
    let (their_reader, their_writer) = split(theirs);
    let (tell, told) = smol::channel::bounded(1);
    let mut tasks = Vec::new();
    let sent = data.clone();
    let writing = executor.spawn(async move {
        let mut dice = Dice::new(seed);
        let mut rest = &sent[..];
        while !rest.is_empty() {
            let len = [1, 300, 9_000, 100_000][dice.below(4)].min(rest.len());
            // The peer may have got all of it by the time this write has been sent, closed and gone; it looks at the data.
            if let Err(error) = writer.write_all(&rest[..len]).await {
                assert_eq!((error.kind(), len), (io::ErrorKind::BrokenPipe, rest.len()));
                return writer;
            }
            rest = &rest[len..];
            if dice.below(3) == 0 && !rest.is_empty() {
                writer.flush().await.unwrap();
            }
        }
        // The peer may have got all of it by the waiting reader, closed and gone.
        let _ = writer.flush().await;
        writer
    });
    let expected = data.clone();
    let reading = executor.spawn(async move {
        let mut dice = Dice::new(seed + 7);
        let (mut got, mut buf) = (Vec::new(), vec![0; 40_000]);
        while got.len() < expected.len() {
            let len = reader.read(&mut buf[..[1, 500, 8_192, 40_000][dice.below(4)]]).await.unwrap();
            assert_ne!(len, 0, "an end too early");
            got.extend_from_slice(&buf[..len]);
        }
        assert!(got == *expected);
        // Goes on waiting, and so answering, until the peer closes.
        assert_eq!(reader.read(&mut buf).await.unwrap(), 0);
        reader
    });
    let sent = data.clone();
    let (closing, close_now) = smol::channel::bounded::<()>(1);
    tasks.push(executor.spawn(async move {
        let mut their_writer = their_writer;
        let last = hand_write(&mut their_writer, other(role), &sent, Dice::new(seed + 13)).await;
        tell.send(last).await.unwrap();
        close_now.recv().await.unwrap();
        their_writer.write_all(&close(other(role), 1000)).await.unwrap();
        their_writer.flush().await.unwrap();
    }));
    tasks.push(executor.spawn(async move {
        hand_read(their_reader, other(role), &data, async { told.recv().await.unwrap() }).await;
        closing.send(()).await.unwrap();
    }));
    future::block_on(executor.run(in_time(claim, async {
        let writer = writing.await;
        for task in tasks {
            task.await;
        }
        drop((reading.await, writer));
    })));
    drop(stop);
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

/// A loopback connection whose sockets hold as little as the system lets them.
#[cfg(unix)]
async fn narrow_sockets() -> (ws_transport::Tcp, ws_transport::Tcp) {
    use rustix::net::sockopt::{set_socket_recv_buffer_size, set_socket_send_buffer_size};

    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let near = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (far, _) = listener.accept().unwrap();
    for socket in [&near, &far] {
        set_socket_send_buffer_size(socket, 4096).unwrap();
        set_socket_recv_buffer_size(socket, 4096).unwrap();
        socket.set_nodelay(true).unwrap();
    }
    (ws_transport::Tcp::new(near).unwrap(), ws_transport::Tcp::new(far).unwrap())
}

fn configs() -> [StreamConfig; 2] {
    let tiny = StreamConfig::new().with_read_buffer(512).with_write_buffer(512).with_coalescing(false);
    [StreamConfig::new(), tiny]
}

#[cfg(unix)]
#[test]
fn two_tasks_on_narrow_sockets_never_miss_a_wake_up_and_answer_the_last_ping() {
    let combinations = combinations();
    for seed in 0..times() {
        for (tls, role, config) in combinations.iter().flat_map(|tls| {
            ROLES.into_iter().flat_map(move |role| configs().into_iter().map(move |config| (tls, role, config)))
        }) {
            let claim = format!("seed {seed}, {role:?}, {:?}", tls.as_ref().map(|(c, s)| (c.backend(), s.backend())));
            let (client, server) = future::block_on(async {
                let (client, server) = narrow_sockets().await;
                secured(tls, client, server).await
            });
            let (ours, theirs) = if role == Role::Client { (client, server) } else { (server, client) };
            on_four_threads(&claim, over(ours, role, config, seed % 2 == 0), theirs, role, 30_000, seed * 31 + 5);
        }
    }
}

#[test]
fn two_tasks_on_narrow_pipes_never_miss_a_wake_up_and_answer_the_last_ping() {
    let combinations = combinations();
    for seed in 0..4 * times() {
        for (tls, role, config) in combinations.iter().flat_map(|tls| {
            ROLES.into_iter().flat_map(move |role| configs().into_iter().map(move |config| (tls, role, config)))
        }) {
            let claim = format!("seed {seed}, {role:?}, {:?}", tls.as_ref().map(|(c, s)| (c.backend(), s.backend())));
            let narrow = |capacity| Manner { capacity, until_flush: seed % 2 == 1, ..Manner::GOOD };
            let (client, server): (MaybeTls<End>, MaybeTls<End>) = future::block_on(async {
                let (client, server) = pipe(narrow(300 + seed as usize * 7), narrow(1_000));
                secured(tls, client, server).await
            });
            let (ours, theirs) = if role == Role::Client { (client, server) } else { (server, client) };
            on_four_threads(&claim, over(ours, role, config, seed % 2 == 0), theirs, role, 60_000, seed * 37 + 11);
        }
    }
}
