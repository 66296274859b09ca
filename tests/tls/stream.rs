//! The established stream: ends, errors, back pressure, flushing, closing.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use futures_lite::future::{block_on, zip};
use futures_lite::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use ws_transport::tls::MaybeTls;

use crate::common::Woken;
use crate::common::pipe::{End, Manner};
use crate::{GOOD, HOLDING, combinations, connected, noise, pipe};

fn poll_write(stream: &mut MaybeTls<End>, waker: &Waker, buf: &[u8]) -> Poll<io::Result<usize>> {
    Pin::new(stream).poll_write(&mut Context::from_waker(waker), buf)
}

/// As `poll_write`, a second time if need be: rustls makes room for what it is given before it looks at it.
fn poll_write_after_room_was_made(stream: &mut MaybeTls<End>, waker: &Waker, buf: &[u8]) -> Poll<io::Result<usize>> {
    match poll_write(stream, waker, buf) {
        Poll::Pending => poll_write(stream, waker, buf),
        ready => ready,
    }
}

fn poll_read(stream: &mut MaybeTls<End>, waker: &Waker, buf: &mut [u8]) -> Poll<io::Result<usize>> {
    Pin::new(stream).poll_read(&mut Context::from_waker(waker), buf)
}

/// Runs `check` on both ends' views: (the end to look at, the other one).
pub fn for_each_end(check: impl AsyncFn(MaybeTls<End>, MaybeTls<End>)) {
    for (client, server) in combinations() {
        block_on(async {
            let (client, server) = connected(client, server, GOOD).await;
            check(client, server).await;
        });
        block_on(async {
            let (client, server) = connected(client, server, GOOD).await;
            check(server, client).await;
        });
    }
}

#[test]
fn a_cut_is_an_unexpected_eof_and_stays_one() {
    for_each_end(async |mut ours, mut theirs| {
        theirs.write_all(b"last words").await.unwrap();
        theirs.flush().await.unwrap();
        drop(theirs);
        let mut buf = [0; 10];
        ours.read_exact(&mut buf).await.unwrap();
        for _ in 0..3 {
            let error = ours.read(&mut buf).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        }
    });
}

#[test]
fn dropping_sends_nothing() {
    for_each_end(async |ours, theirs| {
        let before = theirs.get_ref().readable();
        drop(ours);
        assert_eq!(theirs.get_ref().readable(), before);
    });
}

#[test]
fn a_close_is_a_clean_end_and_stays_one() {
    for_each_end(async |mut ours, mut theirs| {
        theirs.write_all(b"last words").await.unwrap();
        theirs.close().await.unwrap();
        theirs.close().await.unwrap();
        assert!(ours.get_ref().is_shut(), "the IO below was not closed");
        assert_eq!(theirs.write(b"more").await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        theirs.flush().await.unwrap();
        let mut got = Vec::new();
        ours.read_to_end(&mut got).await.unwrap();
        assert_eq!(got, b"last words");
        assert_eq!(ours.read(&mut [0; 1]).await.unwrap(), 0);
        drop(theirs);
        assert_eq!(ours.read(&mut [0; 1]).await.unwrap(), 0);
    });
}

#[test]
fn each_direction_is_closed_on_its_own() {
    for_each_end(async |mut ours, mut theirs| {
        ours.close().await.unwrap();
        assert_eq!(theirs.read(&mut [0; 1]).await.unwrap(), 0);
        let (send, mut got) = (noise(200_000, 3), Vec::new());
        let write = async {
            theirs.write_all(&send).await.unwrap();
            theirs.close().await.unwrap();
        };
        zip(write, async { ours.read_to_end(&mut got).await.unwrap() }).await;
        assert!(got == send);
    });
}

#[test]
fn an_empty_read_or_write_means_nothing() {
    for_each_end(async |mut ours, mut theirs| {
        assert_eq!(ours.read(&mut []).await.unwrap(), 0);
        assert_eq!(ours.read_vectored(&mut []).await.unwrap(), 0);
        assert_eq!(theirs.write(&[]).await.unwrap(), 0);
        assert_eq!(theirs.write_vectored(&[IoSlice::new(&[]), IoSlice::new(&[])]).await.unwrap(), 0);
        theirs.write_all(b"x").await.unwrap();
        theirs.flush().await.unwrap();
        let mut buf = [0; 1];
        ours.read_exact(&mut buf).await.unwrap();
        assert_eq!(&buf, b"x");
    });
}

#[test]
fn a_violation_is_invalid_data_and_ends_both_directions() {
    for_each_end(async |mut ours, mut theirs| {
        // An application data record that no key has made.
        theirs.get_mut().write_all(b"\x17\x03\x03\x00\x20................................").await.unwrap();
        for attempt in 0..3 {
            let error = ours.read(&mut [0; 1]).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
            assert!(attempt > 0 || error.get_ref().is_some(), "the backend's error is not inside");
        }
        assert_eq!(ours.write(b"x").await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        ours.close().await.unwrap();
        ours.close().await.unwrap();
        // The alert arrives.
        let error = theirs.read(&mut [0; 1]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    });
}

#[test]
fn a_writer_under_a_stuck_io_is_parked_and_woken() {
    for_each_end(async |mut ours, mut theirs| {
        let (count, waker) = Woken::new();
        let mut sent = 0;
        while let Poll::Ready(n) = poll_write(&mut ours, &waker, &[7; 10_000]) {
            sent += n.unwrap();
            assert!(sent < 1 << 20, "it takes more than it may keep");
        }
        assert!(sent >= 64 << 10);
        count.take();
        assert!(poll_write(&mut ours, &waker, &[7; 10_000]).is_pending());
        assert!(Pin::new(&mut ours).poll_flush(&mut Context::from_waker(&waker)).is_pending());
        assert_eq!(count.take(), 0);
        theirs.read_exact(&mut [0; 20_000]).await.unwrap();
        assert!(count.take() > 0, "the writer was not woken");
        assert!(poll_write_after_room_was_made(&mut ours, &waker, &[7; 10_000]).is_ready());
    });
}

#[test]
fn a_parked_write_may_be_given_up_for_another() {
    for_each_end(async |mut ours, mut theirs| {
        let mut expect = Vec::new();
        let mut write = |ours: &mut MaybeTls<End>, byte: u8, len: usize| {
            match poll_write_after_room_was_made(ours, Waker::noop(), &vec![byte; len]) {
                Poll::Ready(n) => expect.extend(vec![byte; n.unwrap()]),
                Poll::Pending => return false,
            }
            true
        };
        while write(&mut ours, 1, 5_000) {}
        // Another buffer, other bytes, shorter: OpenSSL by itself would send what it was given first, or fail.
        assert!(!write(&mut ours, 2, 100));
        theirs.read_exact(&mut [0; 10_000]).await.unwrap();
        assert!(write(&mut ours, 3, 100));
        while write(&mut ours, 4, 3_000) {}
        let mut got = Vec::new();
        let (closed, read) = zip(ours.close(), theirs.read_to_end(&mut got)).await;
        closed.unwrap();
        read.unwrap();
        assert!(got == expect[10_000..]);
    });
}

#[test]
fn reader_and_writer_are_woken_each_on_their_own() {
    for_each_end(async |mut ours, mut theirs| {
        let ((reads, reader), (writes, writer)) = (Woken::new(), Woken::new());
        while poll_write(&mut ours, &writer, &[7; 10_000]).is_ready() {}
        // What TLS sends after the handshake (session tickets) may wake the reader for nothing.
        while poll_read(&mut ours, &reader, &mut [0; 10]).is_ready() {}
        assert!(poll_write(&mut ours, &writer, &[7; 10_000]).is_pending());
        reads.take();
        writes.take();

        theirs.write_all(b"x").await.unwrap();
        theirs.flush().await.unwrap();
        assert!(reads.take() > 0, "the reader was not woken");
        assert_eq!(writes.take(), 0);
        assert!(matches!(poll_read(&mut ours, &reader, &mut [0; 10]), Poll::Ready(Ok(1))));
        assert!(poll_read(&mut ours, &reader, &mut [0; 10]).is_pending());
        reads.take();

        theirs.read_exact(&mut [0; 20_000]).await.unwrap();
        assert!(writes.take() > 0, "the writer was not woken");
        assert_eq!(reads.take(), 0);
    });
}

#[test]
fn a_flush_pushes_everything_out() {
    for (client, server) in combinations() {
        block_on(async {
            let (mut client, mut server) = connected(client, server, HOLDING).await;
            for (from, to) in [(&mut client, &mut server)] {
                for len in [1, 100, 16_384, 40_000] {
                    let send = noise(len, 5);
                    from.write_all(&send).await.unwrap();
                    from.flush().await.unwrap();
                    let mut got = vec![0; len];
                    to.read_exact(&mut got).await.unwrap();
                    assert!(got == send);
                }
            }
        });
    }
}

#[test]
fn slices_travel_together() {
    for_each_end(async |mut ours, mut theirs| {
        let (header, body) = (noise(14, 6), noise(5_000, 7));
        let before = theirs.get_ref().readable();
        let slices = [IoSlice::new(&[]), IoSlice::new(&header), IoSlice::new(&body)];
        assert_eq!(ours.write_vectored(&slices).await.unwrap(), header.len() + body.len());
        ours.flush().await.unwrap();
        let record = theirs.get_ref().readable() - before;
        assert!(record < header.len() + body.len() + 64, "more than one record: {record} bytes");
        let mut got = vec![0; header.len() + body.len()];
        theirs.read_exact(&mut got).await.unwrap();
        assert_eq!(got, [header, body].concat());

        let large = noise(100_000, 8);
        let slices = [IoSlice::new(&large[..9_000]), IoSlice::new(&large[9_000..])];
        let taken = ours.write_vectored(&slices).await.unwrap();
        assert!(taken >= 9_000);
        let mut got = vec![0; taken];
        let (flushed, read) = zip(ours.flush(), theirs.read_exact(&mut got)).await;
        flushed.unwrap();
        read.unwrap();
        assert_eq!(got, large[..taken]);
    });
}

#[test]
fn what_fills_the_write_buffer_leaves_in_one_piece() {
    // As much as a frame over TLS has by default; TCP hands on 64 KiB less its headers.
    let (bytes, most) = (noise(62 * 1024, 9), 63_768);
    for vectored in [false, true] {
        for_each_end(async |mut ours, mut theirs| {
            ours.get_mut().set_manner(Manner::GOOD);
            ours.flush().await.unwrap();
            let (written, writes) = (ours.get_ref().written, ours.get_ref().writes);
            let taken = match vectored {
                true => {
                    let (header, payload) = bytes.split_at(4);
                    ours.write_vectored(&[IoSlice::new(header), IoSlice::new(payload)]).await
                }
                false => ours.write(&bytes).await,
            };
            assert_eq!(taken.unwrap(), bytes.len());
            let mut got = vec![0; bytes.len()];
            let (flushed, read) = zip(ours.flush(), theirs.read_exact(&mut got)).await;
            flushed.and(read).unwrap();
            assert!(got == bytes, "the bytes are not those that were written");
            assert_eq!(ours.get_ref().writes - writes, 1, "{:?}, vectored: {vectored}", ours.backend());
            assert!(ours.get_ref().written - written <= most);
        });
    }
}

#[test]
fn a_plain_stream_passes_everything_on() {
    block_on(async {
        let (ours, theirs) = pipe(GOOD);
        let (mut ours, mut theirs) = (MaybeTls::plain(ours), MaybeTls::plain(theirs));
        assert!(!ours.is_tls());
        assert_eq!((ours.backend(), ours.alpn(), ours.peer_certificates()), (None, None, None));
        assert!(format!("{ours:?}").contains("backend: None"));
        ours.write_all(b"plain").await.unwrap();
        assert_eq!(theirs.get_mut().readable(), 5);
        ours.close().await.unwrap();
        let mut got = Vec::new();
        theirs.read_to_end(&mut got).await.unwrap();
        assert_eq!(got, b"plain");
    });
}

/// An IO that fails from some call on, counted over reads, writes, flushes and closes.
struct Failing {
    io: End,
    calls_left: usize,
}

impl Failing {
    fn check(&mut self) -> io::Result<()> {
        self.calls_left = self.calls_left.checked_sub(1).ok_or(io::ErrorKind::ConnectionReset)?;
        Ok(())
    }
}

impl AsyncRead for Failing {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        self.check()?;
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl AsyncWrite for Failing {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.check()?;
        Pin::new(&mut self.io).poll_write(cx, buf)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check()?;
        Pin::new(&mut self.io).poll_flush(cx)
    }
    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check()?;
        Pin::new(&mut self.io).poll_close(cx)
    }
}

#[test]
fn an_io_error_at_any_call_is_an_error_and_never_a_panic() {
    use crate::{acceptor, certs::Authority, connector};
    use ws_transport::tls::TlsError;

    /// More than a record, so that there are writes of several.
    const LEN: usize = 17_000;

    let authority = Authority::new("authority");
    let leaf = authority.issue("localhost");
    for (client, server) in combinations() {
        let (connector, acceptor) = (connector(client, &authority), acceptor(server, &leaf));
        for calls_left in 0.. {
            let (ours, theirs) = pipe(Manner { chunk: 400, ..GOOD });
            let ours = Failing { io: ours, calls_left };
            let dial = async {
                let mut stream = connector.connect("localhost", ours).await?;
                let result = async {
                    stream.write_all(&[7; LEN]).await?;
                    stream.flush().await?;
                    stream.read_exact(&mut [0; LEN]).await?;
                    stream.close().await
                };
                let result = result.await;
                // Whatever happened: polled again it neither panics nor hangs.
                _ = (stream.write(b"x").await, stream.flush().await, stream.close().await);
                result.map_err(TlsError::Handshake)
            };
            let serve = async {
                let mut stream = acceptor.accept(theirs).await.ok()?;
                let mut buf = [0; LEN];
                if stream.read_exact(&mut buf).await.is_ok() && stream.write_all(&buf).await.is_ok() {
                    _ = stream.close().await;
                    return Some(stream);
                }
                None
            };
            match block_on(zip(dial, serve)).0 {
                Ok(()) => break,
                Err(TlsError::Handshake(error)) => {
                    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset, "{client}, call {calls_left}: {error:?}");
                }
                Err(error) => panic!("{client}, call {calls_left}: {error:?}"),
            }
            assert!(calls_left < 1000, "it never succeeds");
        }
    }
}
