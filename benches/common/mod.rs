//! Two connected ends over loopback TCP, ours and the limits that ours are held against, and loops that move bytes.
//!
//! TCP_NODELAY is set everywhere. Both ends are driven by one thread, as tasks of a `LocalExecutor`: what is measured is
//! the work of both together, and not how fast one CPU wakes another.
#![allow(dead_code, unreachable_pub, reason = "each bench uses its part")]

mod ends;

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use smol::LocalExecutor;
use smol::future;
use smol::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufWriter};

pub use ends::*;

/// Buffer of the limit for small writes, in bytes.
const WRITE: usize = 64 * 1024;

/// Bytes per read: enough for every row to take as much as it can at a time.
const READ: usize = 64 * 1024;

const PAGE: usize = 4096;

thread_local! {
    /// What bulk is written from and read into: the same memory for every row, for how a slice lies in its pages can make
    /// the kernel's copies a tenth dearer.
    static MEMORY: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// A byte stream of any kind; the indirect call costs every row the same.
pub trait Stream: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Stream for T {}

/// The dialing end and the listening end.
pub type Pair = (Box<dyn Stream>, Box<dyn Stream>);

/// Who writes and who reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    ClientToServer,
    ServerToClient,
}

impl Direction {
    pub const BOTH: [Direction; 2] = [Direction::ClientToServer, Direction::ServerToClient];

    pub fn name(self) -> &'static str {
        match self {
            Direction::ClientToServer => "c2s",
            Direction::ServerToClient => "s2c",
        }
    }
}

/// Both ends with a [`BufWriter`]: the limit for small writes.
pub fn buffered((client, server): Pair) -> Pair {
    let buffer = |stream| Box::new(Buffered(BufWriter::with_capacity(WRITE, stream)));
    (buffer(client), buffer(server))
}

/// A `BufWriter` that can be read from.
struct Buffered(BufWriter<Box<dyn Stream>>);

impl AsyncRead for Buffered {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        Pin::new(self.0.get_mut()).poll_read(cx, buf)
    }
}

impl AsyncWrite for Buffered {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_close(cx)
    }
}

/// Moves `total` bytes over each pair, all at once, in writes of `size` from one end to the other, and says how many bytes
/// arrived.
pub async fn transfer(pairs: &mut [Pair], direction: Direction, size: usize, total: u64) -> u64 {
    let mut memory = MEMORY.take();
    memory.resize(PAGE + READ + size.max(1 << 20), 0x5a);
    let aligned = memory.as_ptr().align_offset(PAGE).min(PAGE);
    let (buf, chunk) = memory[aligned..].split_at_mut(READ);
    let (buf, chunk) = (RefCell::new(buf), &chunk[..size]);
    let executor = LocalExecutor::new();
    let mut tasks = Vec::with_capacity(pairs.len());
    for (client, server) in pairs {
        let (writer, reader) = match direction {
            Direction::ClientToServer => (client, server),
            Direction::ServerToClient => (server, client),
        };
        let write = executor.spawn(write(writer, chunk, total));
        let read = executor.spawn(read(reader, &buf, total));
        tasks.push(future::zip(write, read));
    }
    let all = async {
        let mut got = 0;
        for task in tasks {
            got += task.await.1;
        }
        got
    };
    let got = executor.run(all).await;
    drop(executor);
    MEMORY.set(memory);
    got
}

/// Writes `total` bytes, so many at a time.
pub async fn write(writer: &mut Box<dyn Stream>, chunk: &[u8], total: u64) {
    let mut left = total;
    while left > 0 {
        let len = chunk.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        writer.write_all(&chunk[..len]).await.unwrap();
        left -= len as u64;
    }
    writer.flush().await.unwrap();
}

/// Reads until there are `total` bytes or the end; `buf` is every reader's, for no longer than a poll.
pub async fn read(reader: &mut Box<dyn Stream>, buf: &RefCell<&mut [u8]>, total: u64) -> u64 {
    let mut got = 0;
    while got < total {
        match poll_fn(|cx| Pin::new(&mut *reader).poll_read(cx, &mut buf.borrow_mut())).await.unwrap() {
            0 => break,
            n => got += n as u64,
        }
    }
    got
}

/// Sends `size` bytes there and back, `times` times.
pub async fn ping_pong(pair: &mut Pair, size: usize, times: u64) {
    let (client, server) = (&mut pair.0, &mut pair.1);
    let executor = LocalExecutor::new();
    let there = executor.spawn(async move {
        let (ping, mut pong) = (vec![0x5a; size], vec![0; size]);
        for _ in 0..times {
            client.write_all(&ping).await.unwrap();
            client.flush().await.unwrap();
            client.read_exact(&mut pong).await.unwrap();
        }
        assert_eq!(ping, pong);
    });
    let back = executor.spawn(async move {
        let mut buf = vec![0; size];
        for _ in 0..times {
            server.read_exact(&mut buf).await.unwrap();
            server.write_all(&buf).await.unwrap();
            server.flush().await.unwrap();
        }
    });
    executor.run(future::zip(there, back)).await;
}

/// Lets both ends wait for a byte, as idle ones do, without a task of theirs.
pub fn wait((client, server): &mut Pair) {
    let mut cx = Context::from_waker(Waker::noop());
    for end in [client, server] {
        // Under Tokio that has to be done inside of the runtime.
        assert!(Pin::new(end).poll_read(&mut cx, &mut [0]).is_pending());
    }
}

/// One byte each way: what shows that both ends of a raw connection are there.
pub async fn greet((client, server): &mut Pair) {
    let there = async {
        client.write_all(b"?").await?;
        client.flush().await?;
        client.read_exact(&mut [0]).await
    };
    let back = async {
        server.read_exact(&mut [0]).await?;
        server.write_all(b"!").await?;
        server.flush().await
    };
    try_both(there, back).await.unwrap();
}

/// Runs two ends as tasks of their own: what wakes the one does not poll the other.
pub async fn both<A, B>(one: impl Future<Output = A>, other: impl Future<Output = B>) -> (A, B) {
    let executor = LocalExecutor::new();
    let tasks = (executor.spawn(one), executor.spawn(other));
    executor.run(future::zip(tasks.0, tasks.1)).await
}

/// The same, until one fails.
pub async fn try_both<A, B, E>(
    one: impl Future<Output = Result<A, E>>,
    other: impl Future<Output = Result<B, E>>,
) -> Result<(A, B), E> {
    let executor = LocalExecutor::new();
    let tasks = (executor.spawn(one), executor.spawn(other));
    executor.run(future::try_zip(tasks.0, tasks.1)).await
}

/// Lets this process have as many descriptors as it may: a connection takes two.
pub fn allow_descriptors() {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
        let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    }
}
