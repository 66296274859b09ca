//! The byte stream over pipes in memory, pleasant and hostile, against frames written by hand.

mod common;
#[path = "common/manners.rs"]
mod manners;

use std::io::{self, IoSlice, IoSliceMut};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use common::pipe::{End, Manner, pipe};
use common::wire::{self, Sent, frame, other};
use common::{Woken, pattern};
use futures_lite::future::{block_on, zip};
use futures_lite::io::split;
use futures_lite::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use manners::any_manner;
use proptest::prelude::*;
use ws_transport::proto::{CloseCode, Event, OpCode, Role, Violation};
use ws_transport::{Closed, Initiator, StreamConfig, TextFrames, WsStream};

const ROLES: [Role; 2] = [Role::Client, Role::Server];

/// A stream of this role, and the other end of its pipe.
fn stream(role: Role, manner: Manner, config: StreamConfig) -> (WsStream<End>, End) {
    let (ours, theirs) = pipe(manner, Manner::GOOD);
    (WsStream::new(ours, role, Vec::new(), config), theirs)
}

fn good(role: Role) -> (WsStream<End>, End) {
    stream(role, Manner::GOOD, StreamConfig::new())
}

/// One that puts flushes off.
fn putting_off(role: Role) -> (WsStream<End>, End) {
    stream(role, Manner::GOOD, StreamConfig::new().with_flushes_put_off(true))
}

fn poll_read(stream: &mut WsStream<End>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
    Pin::new(stream).poll_read(cx, buf)
}

fn poll_write(stream: &mut WsStream<End>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
    Pin::new(stream).poll_write(cx, buf)
}

fn poll_flush(stream: &mut WsStream<End>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
    Pin::new(stream).poll_flush(cx)
}

/// Writes without waiting until the stream takes no more, and says how much it took.
fn fill(stream: &mut WsStream<End>, cx: &mut Context<'_>) -> usize {
    let mut taken = 0;
    while let Poll::Ready(len) = poll_write(stream, cx, &[b'x'; 1000]) {
        taken += len.unwrap();
        assert!(taken < 100 << 20, "the buffer grows without bound");
    }
    taken
}

fn kind<T: std::fmt::Debug>(result: io::Result<T>) -> io::ErrorKind {
    result.unwrap_err().kind()
}

// ---- Properties -----------------------------------------------------------------------------------------------------

fn any_config() -> impl Strategy<Value = StreamConfig> {
    let size = prop_oneof![512usize..5000, Just(16 * 1024)];
    (size.clone(), size, any::<bool>(), any::<bool>()).prop_map(|(read, write, coalesce, put_off)| {
        let config = StreamConfig::new().with_read_buffer(read).with_write_buffer(write);
        config.with_coalescing(coalesce).with_flushes_put_off(put_off)
    })
}

/// Sends `data` in pieces of these sizes, flushing after those that are even and at the end.
async fn send(mut to: impl AsyncWrite + Unpin, data: &[u8], sizes: &[usize]) -> io::Result<()> {
    let (mut rest, mut sizes) = (data, sizes.iter().copied().cycle());
    while !rest.is_empty() {
        let size = sizes.next().unwrap_or(1).clamp(1, rest.len());
        let (now, later) = rest.split_at(size);
        to.write_all(now).await?;
        if size % 2 == 0 {
            to.flush().await?;
        }
        rest = later;
    }
    to.flush().await
}

/// Reads so many bytes in pieces of these sizes.
async fn receive_exactly(mut from: impl AsyncRead + Unpin, len: usize, sizes: &[usize]) -> io::Result<Vec<u8>> {
    let (mut data, mut sizes) = (Vec::new(), sizes.iter().copied().cycle());
    while data.len() < len {
        let mut buf = vec![0; sizes.next().unwrap_or(1).max(1)];
        match from.read(&mut buf).await? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => data.extend_from_slice(&buf[..read]),
        }
    }
    Ok(data)
}

/// Reads to the end in pieces of these sizes.
async fn receive(mut from: impl AsyncRead + Unpin, sizes: &[usize]) -> io::Result<Vec<u8>> {
    let (mut data, mut sizes) = (Vec::new(), sizes.iter().copied().cycle());
    loop {
        let mut buf = vec![0; sizes.next().unwrap_or(1).max(1)];
        match from.read(&mut buf).await? {
            0 => return Ok(data),
            len => data.extend_from_slice(&buf[..len]),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 80, ..ProptestConfig::default() })]

    #[test]
    fn bytes_arrive_both_ways_over_any_pipe(
        manners in (any_manner(), any_manner()),
        configs in (any_config(), any_config()),
        lens in (0usize..20_000, 0usize..20_000),
        writes in proptest::collection::vec(1usize..20_000, 1..6),
        reads in proptest::collection::vec(1usize..30_000, 1..6),
    ) {
        let (a, b) = pipe(manners.0, manners.1);
        let client = WsStream::new(a, Role::Client, Vec::new(), configs.0);
        let server = WsStream::new(b, Role::Server, Vec::new(), configs.1);
        let (there, back) = (pattern(lens.0), pattern(lens.1));
        let ((mut client_read, mut client_write), (mut server_read, mut server_write)) = (split(client), split(server));
        let sent = zip(send(&mut client_write, &there, &writes), send(&mut server_write, &back, &writes));
        let received = zip(
            receive_exactly(&mut server_read, there.len(), &reads),
            receive_exactly(&mut client_read, back.len(), &reads),
        );
        let ((sent_there, sent_back), (got_there, got_back)) = block_on(zip(sent, received));
        prop_assert!(sent_there.is_ok() && sent_back.is_ok(), "{sent_there:?} {sent_back:?}");
        prop_assert!(got_there.unwrap() == there);
        prop_assert!(got_back.unwrap() == back);

        let server_end = async {
            let end = receive(&mut server_read, &reads).await;
            server_write.close().await.and(end)
        };
        let ends = zip(server_end, receive(&mut client_read, &reads));
        let (closed, (server_end, client_end)) = block_on(zip(client_write.close(), ends));
        closed.unwrap();
        prop_assert!(server_end.unwrap().is_empty() && client_end.unwrap().is_empty());
    }

    #[test]
    fn any_split_into_frames_and_reads_gives_the_same_bytes(
        server: bool,
        parts in proptest::collection::vec((0usize..700, any::<bool>(), 0u8..8), 1..30),
        reads in proptest::collection::vec(1usize..40_000, 1..6),
        manner in any_manner(),
        early in 0usize..200,
    ) {
        let role = if server { Role::Server } else { Role::Client };
        let (mut wire, mut expected, mut in_message) = (Vec::new(), Vec::new(), false);
        for (i, (len, fin, between)) in parts.iter().enumerate() {
            if *between == 0 {
                wire.extend(frame(other(role), OpCode::Ping, &pattern(i)));
            } else if *between == 1 {
                wire.extend(frame(other(role), OpCode::Pong, b"unasked"));
            }
            let payload = pattern(*len);
            let opcode = if in_message { OpCode::Continuation } else { OpCode::Binary };
            wire.extend(wire::fragment(other(role), *fin, opcode, &payload));
            in_message = !fin;
            expected.extend(payload);
        }
        wire.extend(wire::close(other(role), 1000));

        let (ours, mut theirs) = pipe(manner, Manner::GOOD);
        let early = early.min(wire.len());
        theirs.put(&wire[early..]);
        let stream = WsStream::new(ours, role, wire[..early].to_vec(), StreamConfig::new().with_read_buffer(700));
        // The peer reads, or our Pongs might not find room in the pipe.
        let reader = async {
            let (mut sent, mut buf) = (Vec::new(), [0; 512]);
            while let Ok(len @ 1..) = theirs.read(&mut buf).await {
                sent.extend_from_slice(&buf[..len]);
            }
            sent
        };
        let ours = async {
            let mut stream = stream;
            let got = receive(&mut stream, &reads).await;
            let closed = stream.close().await;
            drop(stream);
            (got, closed)
        };
        let ((got, closed), sent) = block_on(zip(ours, reader));
        prop_assert!(got.unwrap() == expected);
        closed.unwrap();
        prop_assert_eq!(Sent::parse(role, &sent).close_code(), Some(Some(1000)));
    }
}

// ---- Coalescing and flushing ----------------------------------------------------------------------------------------

#[test]
fn adjacent_small_writes_share_a_frame_until_flush() {
    for role in ROLES {
        let (mut stream, mut peer) = good(role);
        block_on(async {
            for _ in 0..100 {
                stream.write_all(b"0123456789").await.unwrap();
            }
            assert_eq!(peer.readable(), 0);
            stream.flush().await.unwrap();
            stream.write_all(b"more").await.unwrap();
            stream.flush().await.unwrap();
        });
        let sent = Sent::parse(role, &peer.take_all());
        assert_eq!((sent.frames, sent.data.len()), (vec![1000, 4], 1004));
    }
}

#[test]
fn a_vectored_write_shares_a_frame() {
    for role in ROLES {
        let (mut stream, mut peer) = good(role);
        let bufs = [IoSlice::new(b"one "), IoSlice::new(b""), IoSlice::new(b"two "), IoSlice::new(b"three")];
        block_on(async {
            assert_eq!(stream.write_vectored(&bufs).await.unwrap(), 13);
            stream.flush().await.unwrap();
        });
        let sent = Sent::parse(role, &peer.take_all());
        assert_eq!((sent.frames, &sent.data[..]), (vec![13], &b"one two three"[..]));
    }
}

#[test]
fn a_task_that_has_read_is_let_go() {
    for role in ROLES {
        let (mut stream, mut peer) = good(role);
        let (woken, waker) = Woken::new();
        let mut cx = Context::from_waker(&waker);
        assert!(poll_read(&mut stream, &mut cx, &mut [0; 8]).is_pending());
        assert!(Arc::strong_count(&woken) > 2, "it waits");
        peer.put(&frame(other(role), OpCode::Binary, b"x"));
        assert!(poll_read(&mut stream, &mut cx, &mut [0; 8]).is_ready());
        assert_eq!(Arc::strong_count(&woken), 2, "ours and the context's");
    }
}

#[test]
fn a_read_that_waits_sends_what_was_written() {
    for (role, buf) in ROLES.into_iter().flat_map(|role| [(role, 10), (role, 100_000)]) {
        let (mut stream, mut peer) = good(role);
        let (_, waker) = Woken::new();
        let mut cx = Context::from_waker(&waker);
        assert!(poll_write(&mut stream, &mut cx, b"request").is_ready());
        assert_eq!(peer.readable(), 0);
        assert!(poll_read(&mut stream, &mut cx, &mut vec![0; buf]).is_pending());
        assert_eq!(Sent::parse(role, &peer.take_all()).data, b"request");
    }
}

#[test]
fn a_read_that_waits_finishes_sending_when_the_pipe_has_room_again() {
    let (mut stream, mut peer) = stream(Role::Client, Manner { capacity: 10, ..Manner::GOOD }, StreamConfig::new());
    let (woken, waker) = Woken::new();
    let mut cx = Context::from_waker(&waker);
    assert!(poll_write(&mut stream, &mut cx, &[b'r'; 30]).is_ready());
    let mut sent = Vec::new();
    for round in 0..4 {
        assert!(poll_read(&mut stream, &mut cx, &mut [0; 8]).is_pending());
        assert_eq!(woken.count(), round);
        sent.extend(peer.take_all());
    }
    assert_eq!(Sent::parse(Role::Client, &sent).data, [b'r'; 30]);
}

#[test]
fn flushes_that_are_put_off_share_a_frame_and_a_send() {
    for role in ROLES {
        let (mut stream, mut peer) = putting_off(role);
        let (woken, waker) = Woken::new();
        let mut cx = Context::from_waker(&waker);
        for message in 1..=3 {
            assert!(poll_write(&mut stream, &mut cx, b"message").is_ready());
            assert!(poll_flush(&mut stream, &mut cx).is_pending());
            assert_eq!(woken.count(), message, "the poll that flushes is asked for");
        }
        assert_eq!(peer.readable(), 0);
        assert!(poll_flush(&mut stream, &mut cx).is_ready());
        assert_eq!(Sent::parse(role, &peer.take_all()).frames, [3 * 7]);
        assert!(poll_flush(&mut stream, &mut cx).is_ready(), "nothing is put off where nothing was written");
        assert_eq!(woken.count(), 3);
        block_on(async {
            stream.write_all(b"message").await.unwrap();
            stream.flush().await.unwrap();
        });
        assert_eq!(Sent::parse(role, &peer.take_all()).frames, [7], "who waits for a flush gets it");
    }
}

#[test]
fn a_read_that_waits_and_a_close_send_what_a_flush_was_put_off_for() {
    for role in ROLES {
        let (mut stream, mut peer) = putting_off(role);
        let (_, waker) = Woken::new();
        let mut cx = Context::from_waker(&waker);
        assert!(poll_write(&mut stream, &mut cx, b"request").is_ready());
        assert!(poll_flush(&mut stream, &mut cx).is_pending());
        assert!(poll_read(&mut stream, &mut cx, &mut [0; 8]).is_pending());
        assert_eq!(Sent::parse(role, &peer.take_all()).data, b"request");
        assert!(poll_flush(&mut stream, &mut cx).is_ready(), "it was done");

        assert!(poll_write(&mut stream, &mut cx, b"last words").is_ready());
        assert!(poll_flush(&mut stream, &mut cx).is_pending());
        assert!(Pin::new(&mut stream).poll_close(&mut cx).is_ready());
        let sent = Sent::parse(role, &peer.take_all());
        assert_eq!((&sent.data[..], sent.close_code()), (&b"last words"[..], Some(Some(1000))));
    }
}

#[test]
fn a_bounded_number_of_bytes_waits_for_a_flush_that_is_put_off() {
    // In pieces that share the buffer, and in one that a server sends from where it is.
    for (role, size, every) in [(Role::Client, 16, 6), (Role::Server, 16, 6), (Role::Server, 64, 2)] {
        let (mut stream, mut peer) = putting_off(role);
        let (_, waker) = Woken::new();
        let mut cx = Context::from_waker(&waker);
        for write in 1..=5 * every {
            block_on(stream.write_all(&pattern(size * 1024))).unwrap();
            let done = poll_flush(&mut stream, &mut cx).is_ready();
            assert_eq!(done, write % every == 0, "{role:?}: {size} KiB, the {write}th");
        }
        let sent = Sent::parse(role, &peer.take_all());
        assert_eq!(sent.data.len(), 5 * every * size * 1024);
    }
}

#[test]
fn without_coalescing_every_write_leaves_at_once() {
    for role in ROLES {
        let (mut stream, mut peer) = stream(role, Manner::GOOD, StreamConfig::new().with_coalescing(false));
        let (_, waker) = Woken::new();
        let mut cx = Context::from_waker(&waker);
        for line in [&b"one\n"[..], b"two\n", &[b'3'; 20_000]] {
            assert!(poll_write(&mut stream, &mut cx, line).is_ready());
            assert_eq!(Sent::parse(role, &peer.take_all()).data, line);
        }
    }
}

#[test]
fn without_coalescing_a_waiting_reader_sends_what_the_pipe_did_not_take() {
    let config = StreamConfig::new().with_coalescing(false);
    let (mut stream, mut peer) = stream(Role::Client, Manner { capacity: 6, ..Manner::GOOD }, config);
    let (reader, reader_waker) = Woken::new();
    let (_, writer_waker) = Woken::new();
    let (mut reader_cx, mut writer_cx) = (Context::from_waker(&reader_waker), Context::from_waker(&writer_waker));
    assert!(poll_read(&mut stream, &mut reader_cx, &mut [0; 8]).is_pending());
    assert!(poll_write(&mut stream, &mut writer_cx, b"typed\n").is_ready(), "the writer never comes back");
    let mut sent = peer.take_all();
    assert_eq!(reader.count(), 1, "room in the pipe wakes the reader");
    assert!(poll_read(&mut stream, &mut reader_cx, &mut [0; 8]).is_pending());
    sent.extend(peer.take_all());
    assert_eq!(Sent::parse(Role::Client, &sent).data, b"typed\n");
}

#[test]
fn large_writes_of_a_server_arrive_whole_however_little_the_pipe_takes() {
    for vectored in [true, false] {
        for chunk in [1, 2, 3, 4, 5, 7, 100, 16_383, 16_384, 16_385, 50_000, usize::MAX] {
            let manner = Manner { chunk, vectored, ..Manner::GOOD };
            let (mut stream, mut peer) = stream(Role::Server, manner, StreamConfig::new());
            let data = pattern(100_000);
            block_on(async {
                stream.write_all(&data).await.unwrap();
                stream.flush().await.unwrap();
            });
            let sent = Sent::parse(Role::Server, &peer.take_all());
            assert!(sent.data == data, "chunk {chunk}");
            assert!(sent.frames.iter().all(|len| *len <= 65_535));
        }
    }
}

#[test]
fn an_io_without_vectored_writes_is_given_headers_and_payload_together() {
    let manner = Manner { vectored: false, ..Manner::GOOD };
    let (mut stream, mut peer) = stream(Role::Server, manner, StreamConfig::new());
    block_on(async {
        stream.write_all(&pattern(131_000)).await.unwrap();
        stream.flush().await.unwrap();
        peer.take_all();
        stream.write_all(&pattern(131_000)).await.unwrap();
        stream.flush().await.unwrap();
        let sent = Sent::parse(Role::Server, &peer.take_all());
        assert_eq!(sent.data, pattern(131_000));
        assert_eq!(sent.frames.len(), 3, "full buffers, header included");
    });
}

#[test]
fn what_is_left_of_a_large_write_leaves_together_with_the_next() {
    let mut wire = Vec::new();
    // 64 KiB at a time, as a TLS session does.
    let io = Taker { takes: 65_536, taken: Vec::new(), see: |bytes: &[u8]| wire.extend_from_slice(bytes) };
    let mut stream = WsStream::new(io, Role::Server, Vec::new(), StreamConfig::new().with_write_buffer(32 * 1024));
    let data = pattern(65_536);
    block_on(async {
        for _ in 0..10 {
            stream.write_all(&data).await.unwrap();
        }
        stream.flush().await.unwrap();
    });
    let taken = stream.get_ref().taken.clone();
    drop(stream);
    assert_eq!(taken.len(), 11, "one for each write, and what was left at last: {taken:?}");
    assert!(taken[..10].iter().all(|taken| *taken == 65_536), "{taken:?}");
    assert!(Sent::parse(Role::Server, &wire).data == data.repeat(10));
}

/// Takes so many bytes at a time, keeps account, and shows them where they lie.
struct Taker<F> {
    takes: usize,
    taken: Vec<usize>,
    see: F,
}

impl<F: Unpin> AsyncRead for Taker<F> {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut [u8]) -> Poll<io::Result<usize>> {
        Poll::Pending
    }
}

impl<F: FnMut(&[u8]) + Unpin> AsyncWrite for Taker<F> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut left = self.takes;
        for buf in bufs {
            let taken = buf.len().min(left);
            (self.see)(&buf[..taken]);
            left -= taken;
        }
        let taken = self.takes - left;
        self.taken.push(taken);
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// How many bytes of these writes are sent from where they are, by a server to an IO that takes so many at a time.
fn direct(takes: usize, config: StreamConfig, data: &[u8], writes: usize) -> usize {
    let mut direct = 0;
    let own = data.as_ptr_range();
    let see = |bytes: &[u8]| direct += if own.contains(&bytes.as_ptr()) { bytes.len() } else { 0 };
    let mut stream = WsStream::new(Taker { takes, taken: Vec::new(), see }, Role::Server, Vec::new(), config);
    block_on(async {
        stream.write_all(b"a frame that is open when the first of them comes").await.unwrap();
        for _ in 0..writes {
            stream.write_all(data).await.unwrap();
        }
    });
    drop(stream);
    direct
}

#[test]
fn large_writes_of_a_server_are_not_copied_however_long_it_sends_and_whatever_the_io_takes() {
    // 64 KiB is what a TLS session takes, and what it leaves becomes 8 bytes more with each write. Of the fifth, the second
    // of two frames is never taken, and half is the most there can be.
    const BUFFER: usize = 32 * 1024;
    let usual = StreamConfig::new().write_buffer();
    for (takes, buffer, len, least) in [
        (65_536, BUFFER, 65_536, 80),
        (usize::MAX, BUFFER, 65_536, 99),
        (100_000, BUFFER, 65_536, 99),
        (48_000, BUFFER, 65_536, 70),
        (32_772, BUFFER, 65_536, 49),
        (usize::MAX, usual, 81_920, 99),
        // Of a MiB the last 64 KiB wait in the buffer.
        (usize::MAX, usual, 1 << 20, 93),
        (300_000, usual, 1 << 20, 85),
        // Eight frames of so little are less than a record, and all that a write can offer.
        (usize::MAX, 1024, 65_536, 90),
    ] {
        let data = pattern(len);
        let config = StreamConfig::new().with_write_buffer(buffer);
        let writes = (640 << 20) / len;
        let percent = direct(takes, config, &data, writes) / (data.len() * writes / 100);
        assert!(percent >= least, "{percent} % of {len} bytes each, where the IO takes {takes} at a time");
    }
    let data = pattern(65_536);
    assert_eq!(direct(usize::MAX, StreamConfig::new(), &data, 10), 0, "little more than a buffer full is copied");
}

#[test]
fn an_io_that_takes_no_more_than_a_record_at_a_time_is_given_full_buffers() {
    let data = pattern(1 << 20);
    // Of the first bytes taken the open frame's are some, or all.
    for (takes, least) in [(4, 0), (1000, 1), (16_384, 16_384)] {
        let direct = direct(takes, StreamConfig::new(), &data, 10);
        let expected = least..=2 * takes;
        assert!(expected.contains(&direct), "{direct} bytes from where they are, where the IO takes {takes} at a time");
    }
}

/// Gives frames of so much payload each, behind a header of their own, and keeps account of the reads and of where payload
/// was put.
struct Giver {
    head: Vec<u8>,
    frame: usize,
    vectored: bool,
    /// Wire bytes given, and reads.
    given: usize,
    reads: usize,
    /// Address and place in the payload of what the last read put anywhere.
    put: Vec<(usize, usize)>,
}

impl Giver {
    fn new(frame: usize, vectored: bool) -> Self {
        let mut head = wire::fragment(Role::Server, true, OpCode::Binary, &vec![0; frame]);
        head.truncate(head.len() - frame);
        Giver { head, frame, vectored, given: 0, reads: 0, put: Vec::new() }
    }

    fn fill(&mut self, buf: &mut [u8]) {
        let each = self.head.len() + self.frame;
        for byte in buf {
            let (frames, at) = (self.given / each, self.given % each);
            *byte = match at.checked_sub(self.head.len()) {
                None => self.head[at],
                Some(at) => {
                    let place = frames * self.frame + at;
                    self.put.push((&raw const *byte as usize, place));
                    place as u8
                }
            };
            self.given += 1;
        }
    }
}

impl AsyncRead for Giver {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        self.put.clear();
        self.reads += 1;
        self.fill(buf);
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_read_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        if !self.vectored {
            return self.poll_read(cx, &mut bufs[0]);
        }
        self.put.clear();
        self.reads += 1;
        bufs.iter_mut().for_each(|buf| self.fill(buf));
        Poll::Ready(Ok(bufs.iter().map(|buf| buf.len()).sum()))
    }
}

impl AsyncWrite for Giver {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[test]
fn what_a_client_reads_is_put_where_it_belongs_if_the_io_has_vectored_reads() {
    for vectored in [true, false] {
        let io = Giver::new(20_000, vectored);
        let mut stream = WsStream::new(io, Role::Client, Vec::new(), StreamConfig::new());
        let (mut buf, mut got, mut in_place) = (vec![0; 32 * 1024], 0, 0);
        const READS: usize = 100;
        for _ in 0..READS {
            let len = block_on(stream.read(&mut buf)).unwrap();
            assert!(buf[..len].iter().zip(got..).all(|(byte, place)| *byte == place as u8), "at {got}");
            let base = buf.as_ptr() as usize;
            let put = &stream.get_ref().put;
            in_place +=
                put.iter().filter(|(address, place)| place.checked_sub(got) == address.checked_sub(base)).count();
            got += len;
        }
        assert!(stream.get_ref().reads <= READS + 2, "the IO is not read header by header: {}", stream.get_ref().reads);
        assert!(got > READS * 32_000, "the slices are filled: {got}");
        let percent = in_place * 100 / got;
        // Of the second frame that ends in a read the header is not aside.
        assert_eq!(percent >= 80, vectored, "{percent} % in place");
    }
}

// ---- Backpressure and wake-ups --------------------------------------------------------------------------------------

#[test]
fn a_full_pipe_parks_the_writer_and_room_wakes_it() {
    for role in ROLES {
        let config = StreamConfig::new().with_write_buffer(4096);
        let (mut stream, mut peer) = stream(role, Manner { capacity: 5000, ..Manner::GOOD }, config);
        let (woken, waker) = Woken::new();
        let mut cx = Context::from_waker(&waker);
        let taken = fill(&mut stream, &mut cx);
        assert!(taken > 5000 && taken < 5000 + 4096, "{taken}");
        assert_eq!(woken.count(), 0);
        let mut received = peer.take_all();
        assert_eq!(woken.count(), 1);
        assert!(poll_write(&mut stream, &mut cx, b"y").is_ready());
        assert!(poll_flush(&mut stream, &mut cx).is_ready());
        received.extend(peer.take_all());
        assert_eq!(Sent::parse(role, &received).data.len(), taken + 1);
    }
}

#[test]
fn a_reader_that_has_to_send_does_not_steal_the_writers_wake_up() {
    for role in ROLES {
        let (mut stream, mut peer) = stream(role, Manner { capacity: 5000, ..Manner::GOOD }, StreamConfig::new());
        let (reader, reader_waker) = Woken::new();
        let (writer, writer_waker) = Woken::new();
        let (mut reader_cx, mut writer_cx) = (Context::from_waker(&reader_waker), Context::from_waker(&writer_waker));
        fill(&mut stream, &mut writer_cx);
        peer.put(&frame(other(role), OpCode::Ping, b"now"));
        assert!(poll_read(&mut stream, &mut reader_cx, &mut [0; 10]).is_pending());
        let before = (reader.count(), writer.count());
        let mut received = peer.take_all();
        assert!(writer.count() > before.1, "the writer is woken by room");
        assert!(reader.count() > before.0, "and so is the reader, who has a Pong to send");
        while poll_flush(&mut stream, &mut writer_cx).is_pending() {
            received.extend(peer.take_all());
        }
        received.extend(peer.take_all());
        assert_eq!(Sent::parse(role, &received).control, [Event::Pong(b"now".to_vec())]);
    }
}

#[test]
fn a_reader_that_empties_the_buffer_wakes_the_writer() {
    let (mut stream, mut peer) = stream(
        Role::Client,
        Manner { capacity: 20_000, ..Manner::GOOD },
        StreamConfig::new().with_write_buffer(16 * 1024),
    );
    let (_, reader_waker) = Woken::new();
    let (writer, writer_waker) = Woken::new();
    let (mut reader_cx, mut writer_cx) = (Context::from_waker(&reader_waker), Context::from_waker(&writer_waker));
    assert!(poll_read(&mut stream, &mut reader_cx, &mut [0; 10]).is_pending());
    fill(&mut stream, &mut writer_cx);
    peer.take_all();
    let woken = writer.count();
    assert!(woken > 0);
    // The writer is slow to come; the reader, polled in between, sends everything.
    assert!(poll_write(&mut stream, &mut writer_cx, &[b'x'; 40_000]).is_ready());
    assert!(poll_write(&mut stream, &mut writer_cx, b"x").is_pending());
    let before = writer.count();
    let _ = peer.take_all();
    assert!(poll_read(&mut stream, &mut reader_cx, &mut [0; 10]).is_pending());
    assert!(writer.count() > before);
    assert!(poll_write(&mut stream, &mut writer_cx, b"x").is_ready());
}

#[test]
fn two_tasks_on_a_split_stream_move_data_both_ways_through_small_pipes() {
    let executor = smol::Executor::new();
    block_on(executor.run(async {
        let (a, b) = pipe(Manner { capacity: 700, ..Manner::GOOD }, Manner { capacity: 300, ..Manner::GOOD });
        let data = pattern(300_000);
        let mut tasks = Vec::new();
        for (io, role) in [(a, Role::Client), (b, Role::Server)] {
            let (reader, writer) = split(WsStream::new(io, role, Vec::new(), StreamConfig::new()));
            let expected = data.clone();
            tasks.push(executor.spawn({
                let data = data.clone();
                async move {
                    let mut writer = writer;
                    send(&mut writer, &data, &[1000, 77, 9001]).await.unwrap();
                }
            }));
            tasks.push(executor.spawn(async move {
                let got = receive_exactly(reader, expected.len(), &[500, 8192, 30_000]).await.unwrap();
                assert!(got == expected);
            }));
        }
        for task in tasks {
            task.await;
        }
    }));
}

// ---- Pings ----------------------------------------------------------------------------------------------------------

#[test]
fn ping_is_answered_while_only_reading() {
    for role in ROLES {
        let (mut stream, mut peer) = good(role);
        let (_, waker) = Woken::new();
        let mut cx = Context::from_waker(&waker);
        peer.put(&frame(other(role), OpCode::Ping, b"are you there"));
        assert!(poll_read(&mut stream, &mut cx, &mut [0; 10]).is_pending());
        assert_eq!(Sent::parse(role, &peer.take_all()).control, [Event::Pong(b"are you there".to_vec())]);
    }
}

#[test]
fn ping_is_answered_while_only_writing() {
    for role in ROLES {
        let (mut stream, mut peer) = good(role);
        let (_, waker) = Woken::new();
        let mut cx = Context::from_waker(&waker);
        let mut sent = Vec::new();
        let mut pongs = 0;
        for round in 0..20 {
            if round % 5 == 0 {
                peer.put(&frame(other(role), OpCode::Binary, b"unread"));
                peer.put(&frame(other(role), OpCode::Ping, &[round]));
                pongs += 1;
            }
            assert!(poll_write(&mut stream, &mut cx, b"data").is_ready());
            assert!(poll_flush(&mut stream, &mut cx).is_ready());
            sent.extend(peer.take_all());
        }
        let sent = Sent::parse(role, &sent);
        assert_eq!(sent.control.len(), pongs, "{:?}", sent.control);
        assert_eq!(sent.data.len(), 80);
        // What was received meanwhile is still there for the reader.
        let mut buf = [0; 100];
        assert!(matches!(poll_read(&mut stream, &mut cx, &mut buf), Poll::Ready(Ok(24))));
    }
}

#[test]
fn ping_is_answered_while_only_writing_much_at_a_time_and_never_flushing() {
    for role in ROLES {
        let (mut stream, mut peer) = good(role);
        let (_, waker) = Woken::new();
        let mut cx = Context::from_waker(&waker);
        let data = pattern(70_000);
        let mut sent = Vec::new();
        peer.put(&frame(other(role), OpCode::Ping, b"?"));
        for _ in 0..20 {
            let Poll::Ready(Ok(_)) = poll_write(&mut stream, &mut cx, &data) else { panic!("the pipe has room") };
            sent.extend(peer.take_all());
        }
        assert_eq!(Sent::parse(role, &sent).control, [Event::Pong(b"?".to_vec())]);
    }
}

#[test]
fn ping_is_answered_while_a_write_is_parked() {
    for role in ROLES {
        let (mut stream, mut peer) = stream(role, Manner { capacity: 5000, ..Manner::GOOD }, StreamConfig::new());
        let (woken, waker) = Woken::new();
        let mut cx = Context::from_waker(&waker);
        fill(&mut stream, &mut cx);
        peer.put(&frame(other(role), OpCode::Ping, b"parked"));
        assert_eq!(woken.count(), 1, "a parked writer is woken by input");
        assert!(poll_write(&mut stream, &mut cx, b"x").is_pending());
        let mut received = peer.take_all();
        while poll_flush(&mut stream, &mut cx).is_pending() {
            received.extend(peer.take_all());
        }
        received.extend(peer.take_all());
        assert_eq!(Sent::parse(role, &received).control, [Event::Pong(b"parked".to_vec())]);
    }
}

#[test]
fn a_parked_writer_learns_of_a_close_or_a_violation_although_the_peer_does_not_read() {
    for role in ROLES {
        for end in [wire::close(other(role), 1000), b"\xff\xff".to_vec()] {
            let (mut stream, mut peer) = stream(role, Manner { capacity: 100, ..Manner::GOOD }, StreamConfig::new());
            let (woken, waker) = Woken::new();
            let mut cx = Context::from_waker(&waker);
            fill(&mut stream, &mut cx);
            let before = woken.count();
            peer.put(&end);
            assert!(woken.count() > before);
            let Poll::Ready(result) = poll_write(&mut stream, &mut cx, b"more") else { panic!("still parked") };
            assert_eq!(kind(result), io::ErrorKind::BrokenPipe);
        }
    }
}

#[test]
fn of_many_pings_from_a_peer_that_does_not_read_one_pong_is_owed() {
    let (mut stream, mut peer) = stream(Role::Server, Manner { capacity: 3, ..Manner::GOOD }, StreamConfig::new());
    let (_, waker) = Woken::new();
    let mut cx = Context::from_waker(&waker);
    let mut received = Vec::new();
    for round in 0..1000u16 {
        for i in 0..100u16 {
            peer.put(&frame(Role::Client, OpCode::Ping, &[round.to_be_bytes(), i.to_be_bytes()].concat()));
        }
        let mut polls = 0;
        while stream.get_ref().readable() > 0 {
            assert!(poll_read(&mut stream, &mut cx, &mut [0; 10]).is_pending());
            polls += 1;
            assert!(polls < 10);
        }
    }
    for _ in 0..100_000 {
        received.extend(peer.take_all());
        if poll_flush(&mut stream, &mut cx).is_ready() {
            break;
        }
    }
    received.extend(peer.take_all());
    let pongs = Sent::parse(Role::Server, &received).control;
    assert_eq!(pongs.last(), Some(&Event::Pong(vec![3, 231, 0, 99])), "the last one is answered");
    assert!(pongs.len() < 3000, "what fits the buffer and one: {}", pongs.len());
}

// ---- Ends -----------------------------------------------------------------------------------------------------------

#[test]
fn a_clean_close_is_the_end_and_is_echoed() {
    for role in ROLES {
        for (payload, code) in [(&b""[..], None), (b"\x03\xe8bye", Some(1000)), (b"\x03\xe9", Some(1001))] {
            let (mut stream, mut peer) = good(role);
            peer.put(&frame(other(role), OpCode::Binary, b"last words"));
            peer.put(&frame(other(role), OpCode::Close, payload));
            peer.put(b"what follows is thrown away");
            block_on(async {
                let mut data = Vec::new();
                stream.read_to_end(&mut data).await.unwrap();
                assert_eq!(data, b"last words");
                assert_eq!(stream.read(&mut data).await.unwrap(), 0);
                assert_eq!(kind(stream.write(b"x").await), io::ErrorKind::BrokenPipe);
                let closed = stream.closed().unwrap();
                assert_eq!(closed.initiator(), Initiator::Remote);
                assert_eq!(closed.code().map(CloseCode::get), code);
                assert_eq!(closed.reason(), if code == Some(1000) { "bye" } else { "" });
                assert_eq!(Sent::parse(role, &peer.take_all()).close_code(), Some(code));
                stream.close().await.unwrap();
                stream.close().await.unwrap();
                assert!(peer.is_shut() && peer.readable() == 0, "one close, then the end");
            });
        }
    }
}

#[test]
fn a_close_that_speaks_of_trouble_is_connection_aborted() {
    let (mut stream, mut peer) = good(Role::Client);
    peer.put(&frame(Role::Server, OpCode::Binary, b"data"));
    peer.put(&frame(Role::Server, OpCode::Close, b"\x03\xf3out of memory"));
    block_on(async {
        let mut data = Vec::new();
        for _ in 0..2 {
            let error = stream.read_to_end(&mut data).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::ConnectionAborted);
            let closed = error.get_ref().unwrap().downcast_ref::<Closed>().unwrap();
            assert_eq!(closed.code(), Some(CloseCode::INTERNAL));
            assert_eq!(closed.reason(), "out of memory");
        }
        assert_eq!(data, b"data");
    });
    assert_eq!(Sent::parse(Role::Client, &peer.take_all()).close_code(), Some(Some(1011)));
}

#[test]
fn a_cut_is_unexpected_eof_wherever_it_happens() {
    let wire = [frame(Role::Server, OpCode::Binary, &pattern(300)), frame(Role::Server, OpCode::Ping, b"p")].concat();
    for (cut, size) in (0..=wire.len()).flat_map(|cut| [(cut, 7), (cut, 100_000)]) {
        let (mut stream, mut peer) = good(Role::Client);
        peer.put(&wire[..cut]);
        drop(peer);
        block_on(async {
            let mut data = Vec::new();
            let mut buf = vec![0; size];
            let error = loop {
                match stream.read(&mut buf).await {
                    Ok(len) => data.extend_from_slice(&buf[..len]),
                    Err(error) => break error,
                }
                assert!(data.len() <= 300);
            };
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
            assert_eq!(data, pattern(300)[..cut.saturating_sub(4).min(300)]);
            assert_eq!(kind(stream.read(&mut buf).await), io::ErrorKind::UnexpectedEof);
            // Nothing but the Close is lost on a peer that has gone.
            stream.close().await.unwrap();
        });
    }
}

#[test]
fn a_violation_is_invalid_data_and_the_peer_is_told_at_once() {
    let empties = [b"\x02\x80abcd".to_vec(), b"\x00\x80abcd".repeat(1024)].concat();
    let cases: Vec<(&[u8], Violation, u16)> = vec![
        (b"\x82\x01a", Violation::Unmasked, 1002),
        (b"\xc2\x81abcda", Violation::ReservedBits(4), 1002),
        (b"\x83\x81abcda", Violation::ReservedOpCode(3), 1002),
        (b"\x8b\x80abcd", Violation::ReservedOpCode(11), 1002),
        (b"\x09\x80abcd", Violation::FragmentedControl, 1002),
        (b"\x89\xfe\x01\x00", Violation::LongControl, 1002),
        (b"\x80\x80abcd", Violation::UnexpectedContinuation, 1002),
        (b"\x02\x81abcda\x82\x81abcda", Violation::UnfinishedMessage, 1002),
        (b"\x82\xfe\x00\x05abcd", Violation::LengthNotMinimal, 1002),
        (b"\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff", Violation::LengthTopBit, 1002),
        (b"\x88\x81\0\0\0\0a", Violation::CloseBody, 1002),
        (b"\x88\x82\0\0\0\0\x03\xed", Violation::CloseCode(1005), 1002),
        (b"\x88\x82\0\0\0\0\x03\xe7", Violation::CloseCode(999), 1002),
        (b"\x88\x83\0\0\0\0\x03\xe8\xff", Violation::CloseReason, 1007),
        (b"\x81\x81abcda", Violation::Text, 1003),
        (&empties, Violation::EmptyFrames, 1008),
    ];
    for (wire, violation, code) in cases {
        let (mut stream, mut peer) = good(Role::Server);
        peer.put(&frame(Role::Client, OpCode::Binary, b"before"));
        peer.put(wire);
        block_on(async {
            let mut data = Vec::new();
            for _ in 0..2 {
                let error = stream.read_to_end(&mut data).await.unwrap_err();
                assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{violation:?}");
                assert_eq!(error.get_ref().unwrap().downcast_ref::<Violation>(), Some(&violation));
            }
            assert!(data.starts_with(b"before"));
            assert_eq!(Sent::parse(Role::Server, &peer.take_all()).close_code(), Some(Some(code)), "{violation:?}");
            assert_eq!(kind(stream.write(b"x").await), io::ErrorKind::BrokenPipe);
            let closed = stream.closed().unwrap();
            assert_eq!((closed.initiator(), closed.code().map(CloseCode::get)), (Initiator::Local, Some(code)));

            // More input than a socket would survive unread: close throws a bounded amount of it away.
            peer.put(&[b'x'; 300 * 1024]);
            stream.close().await.unwrap();
            assert!(peer.is_shut());
            assert_eq!(stream.get_ref().readable(), 300 * 1024 - 256 * 1024);
        });
    }
}

#[test]
fn text_can_be_taken_as_bytes() {
    let (mut stream, mut peer) =
        stream(Role::Client, Manner::GOOD, StreamConfig::new().with_text_frames(TextFrames::Bytes));
    peer.put(b"\x81\x05Hello\x01\x01,\x80\x01 \x88\0");
    let mut text = String::new();
    block_on(stream.read_to_string(&mut text)).unwrap();
    assert_eq!(text, "Hello, ");
}

#[test]
fn nothing_is_sent_after_a_close_that_comes_in_while_writing() {
    for role in ROLES {
        let (mut stream, mut peer) = good(role);
        let (_, waker) = Woken::new();
        let mut cx = Context::from_waker(&waker);
        peer.put(&wire::close(other(role), 1001));
        let mut refused = None;
        for _ in 0..20 {
            if let Poll::Ready(Err(error)) = poll_write(&mut stream, &mut cx, b"data") {
                refused = Some(error.kind());
            }
            assert!(poll_flush(&mut stream, &mut cx).is_ready());
        }
        assert_eq!(refused, Some(io::ErrorKind::BrokenPipe), "a writer alone comes to see the close");
        assert_eq!(Sent::parse(role, &peer.take_all()).close_code(), Some(Some(1001)));
        assert_eq!(stream.closed().unwrap().initiator(), Initiator::Remote);
    }
}

#[test]
fn after_closing_one_can_read_until_the_peer_closes() {
    for role in ROLES {
        let (mut stream, mut peer) = good(role);
        block_on(async {
            stream.write_all(b"request").await.unwrap();
            stream.close().await.unwrap();
            assert_eq!(kind(stream.write(b"x").await), io::ErrorKind::BrokenPipe);
            let sent = Sent::parse(role, &peer.take_all());
            assert_eq!((&sent.data[..], sent.close_code()), (&b"request"[..], Some(Some(1000))));
            peer.put(&frame(other(role), OpCode::Ping, b"too late"));
            peer.put(&frame(other(role), OpCode::Binary, b"response"));
            peer.put(&wire::close(other(role), 1000));
            let mut data = Vec::new();
            stream.read_to_end(&mut data).await.unwrap();
            assert_eq!(data, b"response");
            assert_eq!(peer.readable(), 0, "no Pong and no second Close after a Close");
            assert_eq!(stream.closed().unwrap().initiator(), Initiator::Local);
        });
    }
}

#[test]
fn a_close_has_the_code_and_reason_asked_for() {
    let (mut stream, mut peer) = good(Role::Client);
    block_on(async {
        for (code, reason) in [(1005, ""), (1006, ""), (999, ""), (2000, ""), (1000, &*"r".repeat(124))] {
            assert_eq!(kind(stream.close_with(code, reason).await), io::ErrorKind::InvalidInput);
        }
        stream.write_all(b"still open").await.unwrap();
        stream.close_with(4001, "enough").await.unwrap();
        stream.close_with(1000, "later").await.unwrap();
        stream.close().await.unwrap();
    });
    let sent = Sent::parse(Role::Client, &peer.take_all());
    assert_eq!(sent.data, b"still open");
    let [Event::Close(Some(frame))] = &sent.control[..] else { panic!("{:?}", sent.control) };
    assert_eq!((frame.code().get(), frame.reason()), (4001, "enough"));
    assert_eq!(stream.closed().unwrap().code().map(CloseCode::get), Some(4001));
}

#[test]
fn closing_ends_although_the_peer_does_not_read() {
    for (timeout, role) in [(Duration::ZERO, Role::Client), (Duration::from_millis(20), Role::Server)] {
        let config = StreamConfig::new().with_close_timeout(timeout);
        let (mut stream, peer) = stream(role, Manner { capacity: 1000, ..Manner::GOOD }, config);
        let (_, waker) = Woken::new();
        fill(&mut stream, &mut Context::from_waker(&waker));
        block_on(async {
            for _ in 0..2 {
                assert_eq!(kind(stream.close().await), io::ErrorKind::TimedOut);
            }
            assert_eq!(kind(stream.write(b"x").await), io::ErrorKind::TimedOut);
            assert!(peer.is_shut());
        });
    }
}

#[test]
fn closing_with_endless_time_does_not_overflow() {
    let (mut stream, peer) =
        stream(Role::Client, Manner::HOSTILE, StreamConfig::new().with_close_timeout(Duration::MAX));
    block_on(stream.close()).unwrap();
    assert!(peer.is_shut());
}

// ---- Limits ---------------------------------------------------------------------------------------------------------

#[test]
fn a_poll_handles_at_most_64_frames_and_wakes_itself() {
    for size in [10, 100_000] {
        let (mut stream, mut peer) = good(Role::Client);
        let (woken, waker) = Woken::new();
        let mut cx = Context::from_waker(&waker);
        peer.put(&b"\x89\x00".repeat(200));
        peer.put(b"\x82\x01x");
        for round in 1..=3 {
            assert!(poll_read(&mut stream, &mut cx, &mut vec![0; size]).is_pending());
            assert_eq!(woken.count(), round);
        }
        assert!(matches!(poll_read(&mut stream, &mut cx, &mut vec![0; size]), Poll::Ready(Ok(1))));
    }
}

#[test]
fn pings_never_close_a_connection_and_1024_empty_frames_do_not_either() {
    let (mut stream, mut peer) = good(Role::Client);
    for _ in 0..3 {
        peer.put(&b"\x89\x00".repeat(5000));
        peer.put(&b"\x82\x00".repeat(1024));
        peer.put(b"\x82\x01x");
    }
    peer.put(b"\x88\x00");
    let mut data = Vec::new();
    block_on(stream.read_to_end(&mut data)).unwrap();
    assert_eq!(data, b"xxx");
}

#[test]
fn unread_data_is_bounded_although_the_writer_looks_for_pings() {
    let config = StreamConfig::new().with_read_buffer(4096);
    let (mut stream, mut peer) = stream(Role::Client, Manner::GOOD, config);
    let (_, waker) = Woken::new();
    let mut cx = Context::from_waker(&waker);
    peer.put(&frame(Role::Server, OpCode::Binary, &[7; 100_000]));
    for _ in 0..50 {
        assert!(poll_write(&mut stream, &mut cx, b"data").is_ready());
        assert!(poll_flush(&mut stream, &mut cx).is_ready());
    }
    assert!(stream.get_ref().read <= 4096 + 10);
    let mut data = vec![0; 100_000];
    block_on(stream.read_exact(&mut data)).unwrap();
    assert_eq!(data, [7; 100_000]);
}

// ---- Errors of the IO -----------------------------------------------------------------------------------------------

#[test]
fn an_error_at_any_byte_gives_errors_and_no_panic_afterwards() {
    let wire = [
        frame(Role::Server, OpCode::Binary, &pattern(200)),
        frame(Role::Server, OpCode::Ping, b"ping"),
        wire::close(Role::Server, 1000),
    ]
    .concat();
    for at in 0..=wire.len() {
        for manner in [
            Manner { fail_read_at: Some(at), ..Manner::GOOD },
            Manner { fail_write_at: Some(at), ..Manner::GOOD },
            Manner { fail_read_at: Some(at), fail_write_at: Some(at), ..Manner::HOSTILE },
        ] {
            let (mut stream, mut peer) = stream(Role::Client, manner, StreamConfig::new());
            peer.put(&wire);
            block_on(async {
                let mut buf = [0; 64];
                let wrote = async { stream.write_all(&pattern(90)).await.and(stream.flush().await) };
                let written = wrote.await;
                let mut got = 0;
                let read = loop {
                    match stream.read(&mut buf).await {
                        Ok(0) => break Ok(()),
                        Ok(len) => got += len,
                        Err(error) => break Err(error),
                    }
                };
                assert!(got <= 200);
                if manner.fail_read_at.is_some() && at < wire.len() {
                    assert_eq!(kind(read), io::ErrorKind::ConnectionReset);
                    let again = stream.read(&mut buf).await.unwrap_err();
                    assert_eq!((again.kind(), &*again.to_string()), (io::ErrorKind::ConnectionReset, "injected"));
                }
                if manner.fail_write_at.is_some() && at < 96 {
                    assert_eq!(kind(written), io::ErrorKind::ConnectionReset);
                }
                for _ in 0..3 {
                    let _ = stream.close().await;
                    let _ = stream.flush().await;
                    let _ = stream.read(&mut buf).await;
                    assert!(stream.write(b"x").await.is_err());
                    assert!(stream.close_with(1000, "").await.is_ok() || manner.fail_write_at.is_some());
                }
            });
        }
    }
}

#[test]
fn a_write_tells_how_much_it_took_before_the_io_failed_and_the_next_one_fails() {
    for (role, write_buffer) in [(Role::Client, 512), (Role::Client, 4096), (Role::Server, 512), (Role::Server, 32_768)]
    {
        let manner = Manner { fail_write_at: Some(40_000), ..Manner::GOOD };
        let (mut stream, _peer) = stream(role, manner, StreamConfig::new().with_write_buffer(write_buffer));
        let mut cx = Context::from_waker(Waker::noop());
        let (data, mut taken) = (pattern(200_000), 0);
        let error = loop {
            match poll_write(&mut stream, &mut cx, &data[taken..]) {
                Poll::Ready(Ok(len)) => taken += len,
                Poll::Ready(Err(error)) => break error,
                Poll::Pending => panic!("nothing is to be waited for"),
            }
        };
        // A frame that was begun is promised, and no more than a buffer waits behind it.
        let most = 40_000 + 2 * write_buffer;
        assert!((39_000..=most).contains(&taken), "{role:?}, {write_buffer}: {taken} bytes");
        assert_eq!((error.kind(), &*error.to_string()), (io::ErrorKind::ConnectionReset, "injected"));
    }
}

#[test]
fn closing_tells_of_data_that_a_waiting_read_could_not_send() {
    let (mut stream, _peer) =
        stream(Role::Client, Manner { fail_write_at: Some(0), ..Manner::GOOD }, StreamConfig::new());
    let (_, waker) = Woken::new();
    let mut cx = Context::from_waker(&waker);
    assert!(poll_write(&mut stream, &mut cx, b"request").is_ready());
    assert!(poll_read(&mut stream, &mut cx, &mut [0; 8]).is_pending());
    for _ in 0..2 {
        assert_eq!(kind(block_on(stream.close())), io::ErrorKind::ConnectionReset);
    }
}

#[test]
fn an_io_that_takes_nothing_is_write_zero() {
    struct Zero;
    impl AsyncRead for Zero {
        fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut [u8]) -> Poll<io::Result<usize>> {
            Poll::Pending
        }
    }
    impl AsyncWrite for Zero {
        fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
            Poll::Ready(Ok(0))
        }
        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }
    for role in ROLES {
        let mut stream = WsStream::new(Zero, role, Vec::new(), StreamConfig::new());
        block_on(async {
            assert_eq!(kind(stream.write_all(&[0; 100_000]).await), io::ErrorKind::WriteZero);
            assert_eq!(kind(stream.flush().await), io::ErrorKind::WriteZero);
        });
    }
}

// ---- Other faces ----------------------------------------------------------------------------------------------------

#[test]
fn lines_can_be_read_through_the_buffer() {
    let (mut stream, mut peer) = good(Role::Server);
    for part in [&b"first li"[..], b"ne\nsec", b"ond line\nthe", b" rest"] {
        peer.put(&frame(Role::Client, OpCode::Binary, part));
    }
    peer.put(&wire::close(Role::Client, 1000));
    block_on(async {
        let mut line = String::new();
        stream.read_line(&mut line).await.unwrap();
        assert_eq!(line, "first line\n");
        line.clear();
        stream.read_line(&mut line).await.unwrap();
        assert_eq!(line, "second line\n");
        line.clear();
        stream.read_to_string(&mut line).await.unwrap();
        assert_eq!(line, "the rest");
    });
}

#[test]
fn reads_and_writes_of_nothing_do_nothing() {
    let (mut stream, peer) = good(Role::Client);
    block_on(async {
        assert_eq!(stream.read(&mut []).await.unwrap(), 0);
        assert_eq!(stream.write(&[]).await.unwrap(), 0);
        stream.flush().await.unwrap();
    });
    assert_eq!(peer.readable(), 0, "not even an empty frame");
}

#[test]
fn debug_output_shows_no_payload() {
    let (mut stream, mut peer) = good(Role::Client);
    peer.put(&frame(Role::Server, OpCode::Binary, b"secret"));
    let (_, waker) = Woken::new();
    let mut cx = Context::from_waker(&waker);
    assert!(poll_read(&mut stream, &mut cx, &mut [0; 1]).is_ready());
    assert!(poll_write(&mut stream, &mut cx, b"secret").is_ready());
    let shown = format!("{stream:?}");
    assert!(shown.contains("capacity") && !shown.contains("secret") && !shown.contains("115"), "{shown}");
}
