//! What a stream costs in allocations and in memory, counted by the allocator itself.

mod common;
#[path = "common/heap.rs"]
mod heap;

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use common::pattern;
use common::pipe::{End, Manner, pipe};
use common::wire::{self, frame, other};
use futures_lite::future::{block_on, zip};
use futures_lite::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use heap::{Since, apart};
use ws_transport::proto::{Header, OpCode, Role};
use ws_transport::{StreamConfig, WsStream};

const ROLES: [Role; 2] = [Role::Client, Role::Server];

/// Room that no test here fills in one direction of a pipe.
const PIPE: usize = 1 << 20;

// ---- Streams --------------------------------------------------------------------------------------------------------

/// A stream of this role and the other end of its pipe, which has room for [`PIPE`] bytes each way.
fn stream(role: Role, capacity: usize, config: StreamConfig) -> (WsStream<End>, End) {
    let (mut ours, theirs) = pipe(Manner { capacity, ..Manner::GOOD }, Manner::GOOD);
    ours.reserve(PIPE);
    (WsStream::new(ours, role, Vec::new(), config), theirs)
}

/// Two streams connected by a pipe of this capacity: of this role and of the other.
fn pair(role: Role, capacity: usize) -> (WsStream<End>, WsStream<End>) {
    let manner = Manner { capacity, ..Manner::GOOD };
    let (mut a, mut b) = pipe(manner, manner);
    a.reserve(PIPE);
    b.reserve(PIPE);
    let stream = |io, role| WsStream::new(io, role, Vec::new(), StreamConfig::new());
    (stream(a, role), stream(b, other(role)))
}

fn nobody() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

fn poll_read(stream: &mut WsStream<End>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
    Pin::new(stream).poll_read(&mut nobody(), buf)
}

fn poll_write(stream: &mut WsStream<End>, buf: &[u8]) -> Poll<io::Result<usize>> {
    Pin::new(stream).poll_write(&mut nobody(), buf)
}

fn poll_flush(stream: &mut WsStream<End>) -> Poll<io::Result<()>> {
    Pin::new(stream).poll_flush(&mut nobody())
}

/// Reads all there is, 1,000 bytes at a time, until the stream would wait; says how much it was.
fn read_dry(stream: &mut WsStream<End>) -> usize {
    let (mut buf, mut sum, mut rests) = ([0; 1000], 0, 0);
    while rests < 2 {
        // A poll that has handled its share of frames rests; the next one goes on.
        match poll_read(stream, &mut buf) {
            Poll::Ready(len) => (sum, rests) = (sum + len.unwrap(), 0),
            Poll::Pending => rests += 1,
        }
    }
    sum
}

/// A header that declares so much payload.
fn header(sender: Role, len: u64) -> Vec<u8> {
    let mask = (sender == Role::Client).then_some([0; 4]);
    let mut bytes = [0; Header::MAX_LEN];
    let used = Header { fin: true, opcode: OpCode::Binary, mask, len }.encode(&mut bytes);
    bytes[..used].to_vec()
}

// ---- Allocations ----------------------------------------------------------------------------------------------------

/// Runs it a few times to warm up, and then so many times: the heap is not asked for anything.
fn allocates_nothing(what: &str, times: usize, mut work: impl AsyncFnMut()) {
    let mut run = async |times| {
        for _ in 0..times {
            work().await;
        }
    };
    block_on(run(8));
    let since = Since::now();
    block_on(run(times));
    assert_eq!(since.allocations(), 0, "{what}");
}

#[test]
fn a_flushed_kibibyte_costs_no_allocation() {
    apart(|| {
        for role in ROLES {
            let (mut ours, mut theirs) = pair(role, PIPE);
            let (data, mut buf) = ([7; 1024], [0; 1024]);
            allocates_nothing("written and read", 10_000, async || {
                ours.write_all(&data).await.unwrap();
                ours.flush().await.unwrap();
                theirs.read_exact(&mut buf).await.unwrap();
            });
            // Many in the pipe before the other end comes to read them.
            allocates_nothing("written, then read", 100, async || {
                for _ in 0..100 {
                    ours.write_all(&data).await.unwrap();
                    ours.flush().await.unwrap();
                }
                for _ in 0..100 {
                    theirs.read_exact(&mut buf).await.unwrap();
                }
            });
        }
    });
}

#[test]
fn ping_pong_costs_no_allocation() {
    apart(|| {
        for role in ROLES {
            for len in [1, 64, 1024, 16 * 1024, 100_000] {
                let (mut ours, mut theirs) = pair(role, PIPE);
                let (data, mut there, mut back) = (pattern(len), vec![0; len], vec![0; len]);
                // Fewer rounds of the long ones, which take an emulator minutes.
                allocates_nothing("ping-pong", if len > 1024 { 100 } else { 1000 }, async || {
                    // The read that waits sends what was written.
                    let ask = async {
                        ours.write_all(&data).await.unwrap();
                        ours.read_exact(&mut back).await.unwrap();
                    };
                    let answer = async {
                        theirs.read_exact(&mut there).await.unwrap();
                        theirs.write_all(&there).await.unwrap();
                        theirs.flush().await.unwrap();
                    };
                    zip(ask, answer).await;
                });
                assert_eq!(data, back);
            }
        }
    });
}

#[test]
fn bulk_costs_no_allocation() {
    apart(|| {
        for role in ROLES {
            // Reads through the buffer and into the slice; writes that find room and that wait.
            for (read, capacity) in [(8 * 1024, PIPE), (64 * 1024, PIPE), (8 * 1024, 10_000), (64 * 1024, 10_000)] {
                let (mut ours, mut theirs) = pair(role, capacity);
                let (data, mut buf) = (pattern(16 * 1024), vec![0; read]);
                allocates_nothing("bulk", 20, async || {
                    let write = async {
                        for _ in 0..16 {
                            ours.write_all(&data).await.unwrap();
                        }
                        ours.flush().await.unwrap();
                    };
                    let read = async {
                        let mut left = 16 * data.len();
                        while left > 0 {
                            left -= theirs.read(&mut buf).await.unwrap();
                        }
                    };
                    zip(write, read).await;
                });
            }
        }
    });
}

#[test]
fn bulk_both_ways_at_once_costs_no_allocation() {
    apart(|| {
        for role in ROLES {
            let (ours, theirs) = pair(role, 10_000);
            let (mut our_read, mut our_write) = futures_lite::io::split(ours);
            let (mut their_read, mut their_write) = futures_lite::io::split(theirs);
            let (data, mut here, mut there) = (pattern(100_000), vec![0; 100_000], vec![0; 100_000]);
            allocates_nothing("both ways", 50, async || {
                let write_ours = async {
                    our_write.write_all(&data).await.unwrap();
                    our_write.flush().await.unwrap();
                };
                let write_theirs = async {
                    their_write.write_all(&data).await.unwrap();
                    their_write.flush().await.unwrap();
                };
                let writes = zip(write_ours, write_theirs);
                let reads = zip(our_read.read_exact(&mut here), their_read.read_exact(&mut there));
                let (_, (here, there)) = zip(writes, reads).await;
                here.and(there).unwrap();
            });
            assert!(here == data && there == data);
        }
    });
}

// ---- Memory against a hostile peer ----------------------------------------------------------------------------------

#[test]
fn a_header_that_declares_2_to_the_62_bytes_costs_nothing() {
    apart(|| {
        for role in ROLES {
            let mut wire = header(other(role), 1 << 62);
            wire.extend([0; 300]);
            let mut streams: Vec<_> = (0..101).map(|_| stream(role, PIPE, StreamConfig::new())).collect();
            for (_, theirs) in &mut streams {
                theirs.put(&wire);
            }
            let (first, rest) = streams.split_first_mut().unwrap();
            // The first one leaves a buffer to the thread's pool.
            assert_eq!(read_dry(&mut first.0), 300);
            let since = Since::now();
            for (ours, _) in &mut *rest {
                assert_eq!(read_dry(ours), 300, "what has come is read, whatever is still to come");
            }
            assert!(since.growth() <= 100 * 64, "{} bytes for 100 streams", since.growth());
            assert!(since.peak() <= 100 * 64, "{} bytes at most", since.peak());

            // And it goes on like that.
            let chunk = vec![0; 64 * 1024];
            for _ in 0..64 {
                first.1.put(&chunk);
                assert_eq!(read_dry(&mut first.0), chunk.len());
            }
            assert!(since.growth() <= 101 * 64 + chunk.len() as isize);
        }
    });
}

#[test]
fn pings_from_a_peer_that_never_reads_cost_no_memory() {
    // A tenth of them in a debug build, which would take an emulator ten minutes for all.
    const PINGS: usize = if cfg!(debug_assertions) { 100_000 } else { 1_000_000 };
    const BATCH: usize = 1000;
    for role in ROLES {
        apart(move || {
            let config = StreamConfig::new();
            let pings = frame(other(role), OpCode::Ping, &[b'p'; 125]).repeat(BATCH);
            let (mut ours, mut theirs) = stream(role, 1000, config);
            let data = [b'x'; 1000];
            let since = Since::now();
            for batch in 0..PINGS / BATCH {
                theirs.put(&pings);
                // Reads answer them, and writes do, which take no more when their buffer is full.
                if batch % 2 == 0 {
                    assert_eq!(read_dry(&mut ours), 0);
                }
                while ours.get_ref().readable() > 0 {
                    if batch % 2 == 0 {
                        assert_eq!(read_dry(&mut ours), 0);
                    } else {
                        let _ = poll_write(&mut ours, &data);
                        let _ = poll_flush(&mut ours);
                    }
                }
            }
            let bound = config.read_buffer() + config.write_buffer() + 1024;
            assert!(since.peak() <= bound as isize, "{} bytes at most", since.peak());
        });
    }
}

#[test]
fn writes_to_a_peer_that_never_reads_end_at_the_write_buffer() {
    for role in ROLES {
        for len in [1, 1000, 10_000, 1_000_000] {
            apart(move || {
                let config = StreamConfig::new();
                let (mut ours, _theirs) = stream(role, 1000, config);
                let data = vec![b'x'; len];
                let (mut taken, mut refused) = (0, 0);
                let since = Since::now();
                while refused < 1000 {
                    match poll_write(&mut ours, &data) {
                        Poll::Ready(len) => taken += len.unwrap(),
                        Poll::Pending => refused += 1,
                    }
                    assert!(poll_flush(&mut ours).is_pending() || taken <= 1000);
                }
                assert!(taken <= 1000 + config.write_buffer(), "{taken} bytes taken");
                // The writer looks for Pings meanwhile, with a read buffer that it gives back.
                let bound = config.read_buffer() + config.write_buffer() + 1024;
                assert!(since.peak() <= bound as isize, "{} bytes at most", since.peak());
            });
        }
    }
}

#[test]
fn an_endless_message_of_tiny_fragments_costs_no_memory() {
    // 10^7 where that takes a second, and not a minute.
    const FRAGMENTS: usize = if cfg!(debug_assertions) { 1_000_000 } else { 10_000_000 };
    const BATCH: usize = 10_000;
    for role in ROLES {
        apart(move || {
            let config = StreamConfig::new();
            let (mut ours, mut theirs) = stream(role, PIPE, config);
            theirs.put(&wire::fragment(other(role), false, OpCode::Binary, b""));
            let two = [&b"x"[..], b""].map(|payload| wire::fragment(other(role), false, OpCode::Continuation, payload));
            let batch = two.concat().repeat(BATCH / 2);
            let since = Since::now();
            for _ in 0..FRAGMENTS / BATCH {
                theirs.put(&batch);
                let mut got = 0;
                while got < BATCH / 2 {
                    got += read_dry(&mut ours);
                }
                assert_eq!(got, BATCH / 2);
            }
            let bound = config.read_buffer() + 1024;
            assert!(since.peak() <= bound as isize, "{} bytes at most", since.peak());
        });
    }
}

// ---- Idle and waiting streams ---------------------------------------------------------------------------------------

#[test]
fn an_idle_stream_holds_next_to_nothing_after_traffic_too() {
    const STREAMS: usize = 100;
    /// What a stream may come to hold beside its state.
    const MORE: usize = 64;
    let size = size_of::<WsStream<()>>();
    println!("size_of::<WsStream<()>>() = {size}");
    apart(move || {
        let data = pattern(100_000);
        let mut there = vec![0; data.len()];
        let mut back = there.clone();
        // Both ends read, write, flush and answer a Ping.
        let mut talk = |(ours, theirs): &mut (WsStream<End>, WsStream<End>)| {
            let ping = frame(Role::Client, OpCode::Ping, b"are you there?");
            ours.get_mut().put(&ping);
            let ask = async {
                ours.write_all(&data).await.unwrap();
                ours.read_exact(&mut back).await.unwrap();
            };
            let answer = async {
                theirs.read_exact(&mut there).await.unwrap();
                theirs.write_all(&there).await.unwrap();
                theirs.flush().await.unwrap();
            };
            block_on(zip(ask, answer));
            assert!(back == data);
            // Writers that are not read for look at the input themselves.
            for _ in 0..10 {
                for stream in [&mut *ours, &mut *theirs] {
                    block_on(stream.write_all(&data[..100])).unwrap();
                    block_on(stream.flush()).unwrap();
                }
            }
            assert_eq!((read_dry(ours), read_dry(theirs)), (1000, 1000));
        };
        // What the thread keeps for all of them is counted apart.
        let mut first = pair(Role::Client, PIPE);
        talk(&mut first);

        let pipes: Vec<_> = (0..STREAMS)
            .map(|_| {
                let (mut a, mut b) = pipe(Manner::GOOD, Manner::GOOD);
                a.reserve(PIPE);
                b.reserve(PIPE);
                (a, b)
            })
            .collect();
        let mut streams = Vec::with_capacity(STREAMS);
        let since = Since::now();
        for (a, b) in pipes {
            let stream = |io, role| WsStream::new(io, role, Vec::new(), StreamConfig::new());
            streams.push((stream(a, Role::Client), stream(b, Role::Server)));
        }
        // The pipes were moved out of a vector that is gone now.
        let gone = (STREAMS * size_of::<(End, End)>()) as isize;
        let each = || (since.growth() + gone) as usize / (2 * STREAMS);
        let fresh = each();
        assert_eq!(since.allocations(), 2 * STREAMS as u64, "a new stream holds its state and nothing else");

        streams.iter_mut().for_each(&mut talk);
        let used = each();
        println!("heap of an idle stream, new and after traffic: {fresh}, {used}");
        assert!(used <= fresh + MORE, "{used} bytes after {fresh}");
        assert!(size + used <= 512, "{size} + {used} bytes");
    });
}

/// Bytes that wait to be read and to be sent, in as many streams as there are.
fn fill(streams: &mut [(WsStream<End>, End)], role: Role) {
    let waiting = frame(other(role), OpCode::Binary, &[7; 20]);
    for (ours, theirs) in streams {
        theirs.put(&waiting);
        assert!(matches!(poll_read(ours, &mut [0]), Poll::Ready(Ok(1))));
        let _ = poll_write(ours, &[8; 20]);
    }
}

fn drain(streams: &mut [(WsStream<End>, End)]) {
    for (ours, theirs) in streams {
        assert_eq!(read_dry(ours), 19);
        assert!(poll_flush(ours).is_ready());
        assert!(theirs.readable() >= 20);
    }
}

#[test]
fn buffers_are_held_while_data_waits_and_given_back_to_a_bounded_pool() {
    const STREAMS: usize = 100;
    /// Most that a thread keeps of drained buffers.
    const POOL: isize = 384 * 1024;
    for role in ROLES {
        apart(move || {
            let config = StreamConfig::new();
            let mut streams: Vec<_> = (0..STREAMS).map(|_| stream(role, PIPE, config)).collect();
            let since = Since::now();
            for _ in 0..3 {
                fill(&mut streams, role);
                let held = (config.read_buffer() + config.write_buffer()) * STREAMS;
                assert!(since.growth() <= (held + 1024 * STREAMS) as isize, "{} bytes held", since.growth());
                drain(&mut streams);
                // And a little for the pool's own list.
                assert!(since.growth() <= POOL + 4096, "{} bytes kept", since.growth());
            }
            // Dropped with data in it, a stream keeps nothing either.
            fill(&mut streams, role);
            streams.clear();
            assert!(since.growth() <= POOL + 4096, "{} bytes kept", since.growth());
        });
    }
}

#[test]
fn a_stream_with_small_buffers_stays_small() {
    for role in ROLES {
        apart(move || {
            let config = StreamConfig::new().with_read_buffer(512).with_write_buffer(512);
            let (mut ours, mut theirs) = stream(role, 1000, config);
            // Far more than it holds, in frames of all sizes, comes in, is asked to go out, and is not taken.
            let sizes = [0, 1, 125, 126, 1000, 70_000];
            let wire: Vec<u8> =
                sizes.iter().flat_map(|len| frame(other(role), OpCode::Binary, &pattern(*len))).collect();
            let pings = frame(other(role), OpCode::Ping, &[b'p'; 125]).repeat(10);
            let (data, bound) = (vec![b'x'; 100_000], 512 + 512 + 1024);
            let since = Since::now();
            theirs.put(&pings);
            theirs.put(&wire);
            for _ in 0..100 {
                let _ = poll_write(&mut ours, &data);
                let _ = poll_flush(&mut ours);
            }
            assert!(since.peak() <= bound, "{} bytes at most while writing", since.peak());
            assert_eq!(read_dry(&mut ours), sizes.iter().sum::<usize>());
            // A slice larger than the buffer is read into directly.
            theirs.put(&wire);
            let (mut large, mut got) = (vec![0; 100_000], 0);
            let since = Since::now();
            while let Poll::Ready(len) = poll_read(&mut ours, &mut large) {
                got += len.unwrap();
            }
            assert_eq!(got, sizes.iter().sum::<usize>());
            assert!(since.peak() <= bound, "{} bytes at most while reading", since.peak());
        });
    }
}
