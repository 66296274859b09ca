//! Noise by itself: against libp2p-noise, over hostile pipes, and with somebody in the middle.

use std::error::Error;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use futures_lite::future::{block_on, zip};
use futures_lite::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use libp2p_core::upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade};
use libp2p_identity::{Keypair, PeerId};
use proptest::prelude::*;
use ws_transport::proto::Role;
use ws_transport::upgrade::{Noise, NoiseError, NoiseStream};
use ws_transport::{StreamConfig, WsStream};

use crate::common::pipe::{End, Manner, pipe};
use crate::common::wire::Sent;
use crate::common::{Woken, pattern};

/// Both directions of this are slower than noise by far.
const SMALL: usize = 3_000;

fn ours() -> (PeerId, Noise) {
    let keypair = Keypair::generate_ed25519();
    (keypair.public().to_peer_id(), Noise::new(&keypair).unwrap())
}

fn reference() -> (PeerId, libp2p_noise::Config) {
    let keypair = Keypair::generate_ed25519();
    (keypair.public().to_peer_id(), libp2p_noise::Config::new(&keypair).unwrap())
}

/// Two ends of ours over a pipe.
fn pair(a: Manner, b: Manner) -> (NoiseStream<End>, NoiseStream<End>) {
    secured(pipe(a, b))
}

/// Two ends of ours over those.
fn secured<IO>((a, b): (IO, IO)) -> (NoiseStream<IO>, NoiseStream<IO>)
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let ((_, alice), (_, bob)) = (ours(), ours());
    let (dialed, accepted) = block_on(zip(alice.upgrade_outbound(a, "/noise"), bob.upgrade_inbound(b, "/noise")));
    (dialed.unwrap().1, accepted.unwrap().1)
}

/// Writes in pieces of these sizes, flushing after each, and reads into slices of those; either way all of it.
async fn exchange(
    mut io: impl AsyncRead + AsyncWrite + Unpin,
    data: &[u8],
    writes: &[usize],
    reads: &[usize],
) -> Vec<u8> {
    let (mut got, mut sent) = (Vec::new(), 0);
    let (mut writes, mut reads) = (writes.iter().cycle(), reads.iter().cycle());
    // What was begun to be written, and whether it was flushed.
    let (mut piece, mut flushed) = (data.len().min(*writes.next().unwrap()), true);
    let mut slice = vec![0; *reads.next().unwrap()];
    poll_fn(|cx| {
        loop {
            let mut moved = false;
            if sent < piece {
                if let Poll::Ready(len) = Pin::new(&mut io).poll_write(cx, &data[sent..piece]) {
                    sent += len.unwrap();
                    (flushed, moved) = (false, true);
                }
            } else if !flushed {
                if let Poll::Ready(result) = Pin::new(&mut io).poll_flush(cx) {
                    result.unwrap();
                    (flushed, moved) = (true, true);
                }
            } else if sent < data.len() {
                piece = data.len().min(sent + writes.next().unwrap());
                moved = true;
            }
            if got.len() < data.len()
                && let Poll::Ready(len) = Pin::new(&mut io).poll_read(cx, &mut slice)
            {
                let len = len.unwrap();
                assert!(len > 0, "the end, after {} of {} bytes", got.len(), data.len());
                got.extend_from_slice(&slice[..len]);
                slice = vec![0; *reads.next().unwrap()];
                moved = true;
            }
            if got.len() == data.len() && sent == data.len() && flushed {
                return Poll::Ready(());
            }
            if !moved {
                return Poll::Pending;
            }
        }
    })
    .await;
    got
}

fn any_manner() -> impl Strategy<Value = Manner> {
    let hostile = (1usize..5_000, 1usize..3_000, any::<bool>(), any::<bool>()).prop_map(
        |(capacity, chunk, stutter, until_flush)| {
            // A pipe that shows nothing before a flush has to hold all that comes before one.
            let capacity = if until_flush { 1 << 20 } else { capacity };
            Manner { capacity, chunk, stutter, until_flush, ..Manner::GOOD }
        },
    );
    prop_oneof![Just(Manner::GOOD), hostile]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn the_bytes_are_the_same_whatever_they_are_cut_into_with_the_reference_at_the_other_end(
        len in 0usize..150_000,
        manners in (any_manner(), any_manner()),
        writes in proptest::collection::vec(1usize..70_000, 1..6),
        reads in proptest::collection::vec(1usize..70_000, 1..6),
        dial: bool,
    ) {
        let len = if manners.0.chunk.min(manners.1.chunk) < 100 { len % SMALL } else { len };
        let data = pattern(len);
        let (a, b) = pipe(manners.0, manners.1);
        let ((our_id, our), (their_id, their)) = (ours(), reference());
        block_on(async {
            // The two streams are of different types, as is what dials and what is dialed.
            let (got, answer) = if dial {
                let (ours, theirs) = zip(our.upgrade_outbound(a, "/noise"), their.upgrade_inbound(b, "/noise")).await;
                let ((theirs_seen, ours), (ours_seen, theirs)) = (ours.unwrap(), theirs.unwrap());
                assert_eq!((ours_seen, theirs_seen), (our_id, their_id));
                zip(exchange(ours, &data, &writes, &reads), exchange(theirs, &data, &reads, &writes)).await
            } else {
                let (ours, theirs) = zip(our.upgrade_inbound(a, "/noise"), their.upgrade_outbound(b, "/noise")).await;
                let ((theirs_seen, ours), (ours_seen, theirs)) = (ours.unwrap(), theirs.unwrap());
                assert_eq!((ours_seen, theirs_seen), (our_id, their_id));
                zip(exchange(ours, &data, &writes, &reads), exchange(theirs, &data, &reads, &writes)).await
            };
            assert!(got == data && answer == data);
        });
    }

    #[test]
    fn a_bit_that_is_turned_is_found_and_ends_the_stream(len in 1usize..80_000, at: prop::sample::Index, bit in 0u8..8) {
        let (mut a, mut b) = pair(Manner::GOOD, Manner::GOOD);
        let data = pattern(len);
        block_on(async {
            a.write_all(&data).await.unwrap();
            a.close().await.unwrap();
        });
        // Whoever is in the middle takes the bytes from the pipe, and puts others in their place.
        let (mut spy, lane) = pipe(Manner::GOOD, Manner::GOOD);
        let mut wire = b.get_mut().take_all();
        let at = at.index(wire.len());
        wire[at] ^= 1 << bit;
        spy.put(&wire);
        drop(spy);
        *b.get_mut() = lane;

        let mut got = Vec::new();
        let error = block_on(b.read_to_end(&mut got)).expect_err("it was tampered with");
        prop_assert!(matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof), "{error}");
        prop_assert!(data.starts_with(&got), "nothing is read that was not written");
        prop_assert!(got.len() < data.len());
        prop_assert_eq!(block_on(b.read(&mut [0])).unwrap_err().kind(), error.kind());
        if error.kind() == io::ErrorKind::InvalidData {
            let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<NoiseError>());
            prop_assert!(matches!(cause, Some(NoiseError::Message(cause)) if cause.is::<snow::Error>()));
            prop_assert_eq!(block_on(b.write(b"x")).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        }
    }
}

/// How long each message is that waits to be read, its length not counted.
fn messages(wire: &[u8]) -> Vec<usize> {
    let mut lens = Vec::new();
    let mut rest = wire;
    while let [a, b, after @ ..] = rest {
        let len = usize::from(u16::from_be_bytes([*a, *b]));
        lens.push(len);
        rest = &after[len..];
    }
    lens
}

#[test]
fn a_flush_waits_for_the_next_poll_and_what_is_written_meanwhile_leaves_with_it() {
    let (mut a, mut b) = pair(Manner::GOOD, Manner::GOOD);
    let (woken, waker) = Woken::new();
    let mut cx = Context::from_waker(&waker);
    for frame in 1..=3 {
        assert!(Pin::new(&mut a).poll_write(&mut cx, &[7; 1_000]).is_ready());
        assert!(Pin::new(&mut a).poll_flush(&mut cx).is_pending());
        assert_eq!(woken.count(), frame, "the poll that flushes is asked for");
    }
    assert_eq!(b.get_ref().readable(), 0);
    assert!(Pin::new(&mut a).poll_flush(&mut cx).is_ready());
    assert_eq!(messages(&b.get_mut().take_all()), [3 * 1_000 + 16]);
    assert!(Pin::new(&mut a).poll_flush(&mut cx).is_ready(), "nothing is put off where nothing was written");
}

#[test]
fn a_bounded_number_of_bytes_waits_for_a_flush_and_closing_does_not() {
    let (mut a, b) = pair(Manner::GOOD, Manner::GOOD);
    let mut cx = Context::from_waker(Waker::noop());
    for frame in 1..=60 {
        block_on(a.write_all(&[7; 16 * 1024])).unwrap();
        assert_eq!(Pin::new(&mut a).poll_flush(&mut cx).is_ready(), frame % 6 == 0, "the {frame}th");
    }
    let arrived = b.get_ref().readable();
    assert!(arrived >= 60 * 16 * 1024);

    block_on(a.write_all(b"last words")).unwrap();
    assert!(Pin::new(&mut a).poll_close(&mut cx).is_ready());
    assert_eq!(b.get_ref().readable(), arrived + 2 + 10 + 16);
}

/// Two ends of a WebSocket that puts flushes off, over a pipe.
fn putting_off() -> (WsStream<End>, WsStream<End>) {
    let (a, b) = pipe(Manner::GOOD, Manner::GOOD);
    let config = StreamConfig::new().with_flushes_put_off(true);
    (WsStream::new(a, Role::Client, Vec::new(), config), WsStream::new(b, Role::Server, Vec::new(), config))
}

#[test]
fn a_stream_below_does_not_put_a_flush_off_again() {
    let (mut a, mut b) = secured(putting_off());
    let (woken, waker) = Woken::new();
    let mut cx = Context::from_waker(&waker);
    for message in 1..=3 {
        assert!(Pin::new(&mut a).poll_write(&mut cx, &[7; 1_000]).is_ready());
        assert!(Pin::new(&mut a).poll_flush(&mut cx).is_pending());
        assert_eq!(woken.count(), message);
        assert!(Pin::new(&mut a).poll_flush(&mut cx).is_ready());
        assert_eq!(woken.count(), message, "nobody is woken for the stream below");
        let sent = Sent::parse(Role::Client, &b.get_mut().get_mut().take_all());
        assert_eq!(sent.frames, [2 + 1_000 + 16]);
    }
}

#[test]
fn messages_of_libp2p_noise_leave_together_where_flushes_are_put_off() {
    let (a, b) = putting_off();
    let ((_, alice), (_, bob)) = (reference(), reference());
    let (dialed, accepted) = block_on(zip(alice.upgrade_outbound(a, "/noise"), bob.upgrade_inbound(b, "/noise")));
    let (mut a, mut b) = (dialed.unwrap().1, accepted.unwrap().1);
    let mut cx = Context::from_waker(Waker::noop());
    for _ in 0..3 {
        assert!(Pin::new(&mut a).poll_write(&mut cx, &pattern(1_000)).is_ready());
        assert!(Pin::new(&mut a).poll_flush(&mut cx).is_pending());
        assert!(Pin::new(&mut b).poll_read(&mut cx, &mut [0]).is_pending(), "nothing has left");
    }
    assert!(Pin::new(&mut a).poll_flush(&mut cx).is_ready());
    block_on(async {
        let mut received = vec![0; 3_000];
        b.read_exact(&mut received).await.unwrap();
        assert_eq!(received, pattern(1_000).repeat(3));
    });
}

#[test]
fn an_end_between_messages_is_the_end_and_one_within_is_an_error() {
    let data = pattern(5_000);
    let whole = {
        let (mut a, mut b) = pair(Manner::GOOD, Manner::GOOD);
        block_on(a.write_all(&data)).unwrap();
        block_on(a.close()).unwrap();
        b.get_mut().take_all().len()
    };
    for len in (0..40).chain(whole - 40..=whole) {
        let (mut a, mut b) = pair(Manner::GOOD, Manner::GOOD);
        block_on(a.write_all(&data)).unwrap();
        block_on(a.close()).unwrap();
        let wire = b.get_mut().take_all();
        let (mut cut, lane) = pipe(Manner::GOOD, Manner::GOOD);
        cut.put(&wire[..len]);
        drop(cut);
        *b.get_mut() = lane;
        let mut got = Vec::new();
        match block_on(b.read_to_end(&mut got)) {
            Ok(_) => assert!(len == 0 && got.is_empty() || len == whole && got == data, "cut at {len}"),
            Err(error) => {
                assert!(len > 0 && len < whole, "cut at {len}: {error}");
                assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
            }
        }
    }
}

#[test]
fn a_message_that_is_empty_or_none_at_all_does_not_hold_up_or_end_anything_it_should_not() {
    // 10,000 messages that say nothing, as only somebody with the keys can write them.
    let (mut a, mut b) = pair(Manner::GOOD, Manner::GOOD);
    let mut cx = Context::from_waker(Waker::noop());
    for _ in 0..10_000 {
        assert!(Pin::new(&mut a).poll_flush(&mut cx).is_ready());
    }
    assert_eq!(b.get_ref().readable(), 0, "nothing to say is not said");
    block_on(a.write_all(b"x")).unwrap();
    block_on(a.flush()).unwrap();
    assert_eq!(block_on(b.read(&mut [0; 2])).unwrap(), 1);

    // One that is too short to be one.
    for message in [&b"\0\0"[..], b"\0\x01x", b"\0\x0f123456789012345"] {
        let (mut a, mut b) = pair(Manner::GOOD, Manner::GOOD);
        a.get_mut().put(message);
        assert_eq!(block_on(b.read(&mut [0; 2])).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}

#[test]
fn errors_of_the_stream_below_are_passed_on_and_stay() {
    for at in [0, 1, 17, 18, 5_000, 32_768, 40_000] {
        let (mut a, mut b) = pair(Manner::GOOD, Manner::GOOD);
        let (written, read) = (a.get_ref().written, b.get_ref().read);
        let fails = |at| Manner { fail_write_at: Some(at), fail_read_at: Some(at), ..Manner::GOOD };
        b.get_mut().set_manner(fails(read + at));
        block_on(a.write_all(&pattern(100_000))).unwrap();
        block_on(a.flush()).unwrap();
        let mut got = Vec::new();
        let error = block_on(b.read_to_end(&mut got)).unwrap_err();
        assert!(pattern(100_000).starts_with(&got));
        assert_eq!(block_on(b.read(&mut [0])).unwrap_err().kind(), error.kind());

        a.get_mut().set_manner(fails(written + at));
        let error = block_on(async {
            a.write_all(&pattern(100_000)).await?;
            a.flush().await
        })
        .unwrap_err();
        assert_eq!(block_on(a.write(b"x")).unwrap_err().kind(), error.kind());
        assert_eq!(block_on(a.flush()).unwrap_err().kind(), error.kind());
        assert_eq!(block_on(a.close()).unwrap_err().kind(), error.kind());
    }
}

#[test]
fn a_stranger_who_speaks_something_else_is_refused_with_the_cause() {
    for hello in [&b"\0\0"[..], b"\0\x05hello", b"GET / HTTP/1.1\r\n\r\n", &[0; 34], &[0xff; 70_000]] {
        let (mut a, b) = pipe(Manner::GOOD, Manner::GOOD);
        a.put(hello);
        drop(a);
        let error = block_on(ours().1.upgrade_inbound(b, "/noise")).map(drop).unwrap_err();
        assert!(matches!(error, NoiseError::Io(_) | NoiseError::Message(_) | NoiseError::Payload(_)), "{error:?}");
        assert!(error.source().is_some_and(|cause| !cause.to_string().is_empty()), "{error:?}");
    }
}
