use std::task::Waker;

use libp2p_identity::PeerId;
use proptest::prelude::*;

use super::super::frames::{DATA, FIN, GO_AWAY, Header, RST, SYN, WINDOW_UPDATE};
use super::super::limits::Limits;
use super::*;
use crate::woken::Woken;

/// What the link does to the stream below.
#[derive(Default)]
struct Below {
    written: Vec<u8>,
    /// How many bytes were written at each flush.
    flushes: Vec<usize>,
    /// Bytes that can be written still, and most that one write takes.
    room: usize,
    chunk: usize,
    /// Flushes wait.
    stuck: bool,
    broken: bool,
    readable: Vec<u8>,
}

impl AsyncRead for Below {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        if self.readable.is_empty() {
            return Poll::Pending;
        }
        let len = buf.len().min(self.readable.len());
        let rest = self.readable.split_off(len);
        buf[..len].copy_from_slice(&self.readable);
        self.readable = rest;
        Poll::Ready(Ok(len))
    }
}

impl AsyncWrite for Below {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.broken {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let len = buf.len().min(self.room).min(self.chunk);
        if len == 0 {
            return Poll::Pending;
        }
        self.room -= len;
        self.written.extend_from_slice(&buf[..len]);
        Poll::Ready(Ok(len))
    }

    fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.stuck {
            return Poll::Pending;
        }
        let written = self.written.len();
        self.flushes.push(written);
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// A link, and the task of a driver that polls it.
struct Bench {
    link: Link<Below>,
    shared: Arc<Shared>,
    woken: Arc<Woken>,
    waker: Waker,
}

impl Bench {
    fn new() -> Self {
        let shared = Arc::new(Shared::new(PeerId::random(), Limits::new()));
        shared.confirm();
        let below = Below { room: usize::MAX, chunk: usize::MAX, ..Below::default() };
        let (woken, waker) = Woken::new();
        let mut bench = Bench { link: Link::new(below, Arc::clone(&shared)), shared, waker, woken };
        bench.begin_poll();
        bench
    }

    /// The driver is polled again.
    fn begin_poll(&mut self) {
        self.shared.begin_poll(&self.waker);
    }

    /// Whether the driver was woken since it was last asked.
    fn woken(&self) -> bool {
        self.woken.take() > 0
    }

    /// Writes a frame as the muxer does; `false` if not all of it was taken.
    fn write(&mut self, header: Header) -> bool {
        let body = vec![0xaa; if header.kind == DATA { header.length as usize } else { 0 }];
        self.write_all(&header.encode()) && self.write_all(&body)
    }

    fn write_all(&mut self, mut bytes: &[u8]) -> bool {
        let mut cx = Context::from_waker(&self.waker);
        while !bytes.is_empty() {
            match Pin::new(&mut self.link).poll_write(&mut cx, bytes) {
                Poll::Ready(written) => bytes = &bytes[written.unwrap()..],
                Poll::Pending => return false,
            }
        }
        true
    }

    fn flush(&mut self) -> bool {
        Pin::new(&mut self.link).poll_flush(&mut Context::from_waker(&self.waker)).map(Result::unwrap).is_ready()
    }

    fn read(&mut self, len: usize) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.link).poll_read(&mut Context::from_waker(&self.waker), &mut vec![0; len])
    }
}

fn data(length: u32) -> Header {
    Header { kind: DATA, flags: 0, stream: 1, length }
}

#[test]
fn a_flush_waits_for_the_next_poll_which_is_asked_for() {
    let mut bench = Bench::new();
    assert!(bench.flush(), "there is nothing to flush");
    assert!(!bench.woken());

    assert!(bench.write(data(5)));
    assert!(!bench.flush());
    assert!(!bench.flush(), "however often it is tried in one poll");
    assert!(bench.woken());
    assert_eq!(bench.link.io.flushes, []);

    bench.begin_poll();
    assert!(bench.flush());
    assert_eq!(bench.link.io.flushes, [HEADER + 5]);
    assert!(bench.flush());
    assert!(!bench.woken(), "an idle link asks for nothing");
    assert_eq!(bench.link.io.flushes.len(), 1, "and flushes nothing");
}

#[test]
fn frames_written_meanwhile_leave_together() {
    let mut bench = Bench::new();
    for _ in 0..4 {
        assert!(bench.write(data(4096)));
        assert!(!bench.flush());
    }
    bench.begin_poll();
    assert!(bench.flush());
    assert_eq!(bench.link.io.flushes, [4 * (HEADER + 4096)]);
}

#[test]
fn a_bounded_number_of_bytes_waits() {
    let mut bench = Bench::new();
    for i in 1..=30 {
        assert!(bench.write(data(16 * 1024)));
        assert_eq!(bench.flush(), i % 6 == 0);
    }
    assert_eq!(bench.link.io.flushes.len(), 5);
    assert_eq!(bench.link.unflushed, 0);
}

#[test]
fn nothing_is_taken_while_a_flush_is_under_way() {
    let mut bench = Bench::new();
    assert!(bench.write(data(100)));
    bench.begin_poll();
    bench.link.io.stuck = true;
    assert!(!bench.flush());
    assert!(!bench.write(data(100)));
    assert_eq!(bench.link.io.written.len(), HEADER + 100);

    bench.link.io.stuck = false;
    assert!(bench.write(data(100)));
    assert_eq!(bench.link.io.flushes, [HEADER + 100]);
}

#[test]
fn reading_is_left_to_the_poll_that_flushes_but_never_twice() {
    let mut bench = Bench::new();
    bench.link.io.readable = vec![0; 100];
    for _ in 0..5 {
        bench.begin_poll();
        assert!(bench.write(data(5)));
        assert!(!bench.flush() && bench.woken());
        assert!(bench.read(1).is_pending());
        assert!(bench.read(1).is_pending());

        bench.begin_poll();
        assert!(bench.flush());
        assert!(bench.write(data(5)));
        assert!(!bench.flush() && bench.woken());
        assert!(bench.read(1).is_ready());
        bench.begin_poll();
        assert!(bench.flush() && bench.read(1).is_ready());
    }
}

#[test]
fn closing_flushes_what_waits() {
    let mut bench = Bench::new();
    bench.link.io.chunk = 5;
    assert!(bench.write(data(7)));
    let mut cx = Context::from_waker(&bench.waker);
    assert!(matches!(Pin::new(&mut bench.link).poll_close(&mut cx), Poll::Ready(Ok(()))));
    assert_eq!(bench.link.io.written.len(), HEADER + 7);
}

#[test]
fn a_failed_write_is_told_when_all_is_read() {
    let mut bench = Bench::new();
    bench.link.io.readable = Header { kind: GO_AWAY, flags: 0, stream: 0, length: 2 }.encode().to_vec();
    bench.link.io.broken = true;
    assert!(bench.write(data(100)) && bench.write(data(100)));
    bench.begin_poll();
    assert!(matches!(bench.read(HEADER), Poll::Ready(Ok(HEADER))));
    assert_eq!(bench.shared.gone(), Some(2));
    for _ in 0..2 {
        let Poll::Ready(Err(error)) = bench.read(HEADER) else { panic!("no error") };
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }
}

#[test]
fn a_peer_that_sends_without_end_does_not_hold_up_other_tasks() {
    let mut bench = Bench::new();
    for _ in 0..3 {
        bench.link.io.readable = data(0).encode().repeat(2 * READS_PER_POLL);
        for _ in 0..READS_PER_POLL {
            assert!(bench.read(HEADER).is_ready());
        }
        assert!(!bench.woken());
        assert!(bench.read(HEADER).is_pending());
        assert!(bench.woken());
        bench.begin_poll();
    }
}

#[test]
fn the_end_of_an_abandoned_stream_is_a_reset_however_the_header_is_cut() {
    for chunk in [1, 5, HEADER] {
        let mut bench = Bench::new();
        bench.link.io.chunk = chunk;
        let (kept, abandoned) = (bench.shared.watch(1), bench.shared.watch(3));
        bench.shared.forget(3, &abandoned, false);
        for stream in [1, 3, 3] {
            assert!(bench.write(Header { kind: DATA, flags: FIN, stream, length: 0 }));
        }
        bench.begin_poll();
        assert!(bench.flush());
        let flags: Vec<u16> = bench.link.io.written.chunks(HEADER).map(|head| head[3].into()).collect();
        assert_eq!(flags, [FIN, RST, FIN], "a stream is reset once");
        drop(kept);
    }
}

#[test]
fn a_stream_is_finished_with_its_last_byte_and_not_before() {
    let mut bench = Bench::new();
    let fate = bench.shared.watch(1);
    let header = Header { kind: DATA, flags: FIN, stream: 1, length: 3 };
    bench.link.io.readable = [&header.encode()[..], &[1, 2, 3]].concat();
    assert!(bench.read(HEADER).is_ready());
    assert!(bench.read(2).is_ready());
    assert!(!fate.is_finished());
    assert!(bench.read(1).is_ready());
    assert!(fate.is_finished() && !fate.is_reset());

    // One that begins with its end, before anybody knows of it.
    let header = Header { kind: WINDOW_UPDATE, flags: SYN | FIN, stream: 5, length: 0 };
    bench.link.io.readable = header.encode().to_vec();
    assert!(bench.read(HEADER).is_ready());
    assert!(!bench.shared.watch(7).is_finished());
    assert!(bench.shared.watch(5).is_finished());

    let reset = bench.shared.watch(9);
    bench.link.io.readable = Header { kind: DATA, flags: RST, stream: 9, length: 0 }.encode().to_vec();
    assert!(bench.read(HEADER).is_ready());
    assert!(reset.is_reset() && !reset.is_finished());
}

/// What happens to a link.
#[derive(Clone, Debug)]
enum Step {
    Write(u32),
    Flush,
    Poll,
    Read,
    Stick(bool),
    Chunk(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..40_000u32).prop_map(Step::Write),
        4 => Just(Step::Flush),
        2 => Just(Step::Poll),
        1 => Just(Step::Read),
        1 => any::<bool>().prop_map(Step::Stick),
        1 => (1..20_000usize).prop_map(Step::Chunk),
    ];
    prop::collection::vec(step, 0..60)
}

proptest! {
    /// The muxer flushes at every poll. Whoever polls when it is woken, and only then, gets everything out.
    #[test]
    fn nothing_stays_behind(steps in steps()) {
        let mut bench = Bench::new();
        let mut expected = Vec::new();
        for step in steps {
            match step {
                Step::Write(length) if !bench.link.io.stuck => {
                    expected.extend(data(length).encode());
                    expected.extend(vec![0xaa; length as usize]);
                    prop_assert!(bench.write(data(length)));
                    bench.flush();
                }
                Step::Write(_) => {}
                Step::Flush => drop(bench.flush()),
                Step::Poll => {
                    bench.begin_poll();
                    bench.flush();
                }
                Step::Read => drop(bench.read(12)),
                Step::Stick(stuck) => bench.link.io.stuck = stuck,
                Step::Chunk(chunk) => bench.link.io.chunk = chunk,
            }
            prop_assert!(bench.link.unflushed < MAX_UNFLUSHED + HEADER + 40_000);
        }
        // The stream below goes on, and wakes whoever has waited for that.
        let mut woken = bench.woken() || bench.link.io.stuck;
        bench.link.io.stuck = false;
        while woken {
            bench.begin_poll();
            bench.flush();
            woken = bench.woken();
        }
        prop_assert_eq!(bench.link.unflushed, 0);
        prop_assert_eq!(bench.link.io.flushes.last().copied().unwrap_or(0), expected.len());
        prop_assert!(bench.link.io.written == expected);
    }
}
