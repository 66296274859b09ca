//! A bit that changes on the way, in every message of noise: the connection ends with it, and no byte of it is believed.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_lite::future::zip;
use futures_lite::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::common::pattern;
use crate::common::pipe::{End, Manner, pipe};
use crate::ends::{run, upgrade, upgrader};

/// What goes before the first message of noise: the header of multistream-select and the name of noise.
const NEGOTIATION: usize = b"\x13/multistream/1.0.0\n\x07/noise\n".len();

/// Where in a message the bit is.
#[derive(Clone, Copy, Debug)]
enum Place {
    First,
    Last,
}

/// A pipe's end that turns a bit over in one message of those that it sends.
struct Flipping {
    io: End,
    message: Option<(usize, Place)>,
    /// Messages begun.
    count: usize,
    state: State,
}

#[derive(Clone, Copy)]
enum State {
    Negotiation(usize),
    Length,
    SecondByteOfLength(u8),
    Body { at: usize, len: usize },
}

impl Flipping {
    fn new(io: End, message: Option<(usize, Place)>) -> Self {
        Flipping { io, message, count: 0, state: State::Negotiation(NEGOTIATION) }
    }

    /// The byte as it goes on, and what comes after it.
    fn pass(&mut self, byte: u8) -> u8 {
        let (state, flips) = match self.state {
            State::Negotiation(1) => (State::Length, false),
            State::Negotiation(left) => (State::Negotiation(left - 1), false),
            State::Length => (State::SecondByteOfLength(byte), false),
            State::SecondByteOfLength(first) => {
                self.count += 1;
                (State::Body { at: 0, len: usize::from(u16::from_be_bytes([first, byte])) }, false)
            }
            State::Body { at, len } => {
                let here = match self.message {
                    Some((message, Place::First)) => self.count == message && at == 0,
                    Some((message, Place::Last)) => self.count == message && at + 1 == len,
                    None => false,
                };
                (if at + 1 == len { State::Length } else { State::Body { at: at + 1, len } }, here)
            }
        };
        self.state = state;
        if flips { byte ^ 0x10 } else { byte }
    }
}

impl AsyncRead for Flipping {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl AsyncWrite for Flipping {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        // The pipe takes all of it: its capacity is never reached here.
        let bytes: Vec<u8> = buf.iter().map(|byte| self.pass(*byte)).collect();
        let written = Pin::new(&mut self.io).poll_write(cx, &bytes);
        assert!(matches!(written, Poll::Ready(Ok(len)) if len == buf.len()) || matches!(written, Poll::Ready(Err(_))));
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_close(cx)
    }
}

/// Whether a whole session went well at both ends: 3,000 bytes there and back.
fn life(dialer: Option<(usize, Place)>, listener: Option<(usize, Place)>) -> [bool; 2] {
    run(async |executor| {
        let (a, b) = pipe(Manner::GOOD, Manner::GOOD);
        let (a, b) = (Flipping::new(a, dialer), Flipping::new(b, listener));
        let (dialed, accepted) = upgrade(&executor, upgrader().1, a, None, upgrader().1, b).await;
        let data = pattern(3000);
        let dial = async {
            let (session, driver) = dialed?;
            let mut stream = session.open(["/echo/1"]).await?;
            stream.write_all(&data).await?;
            stream.close().await?;
            let mut back = Vec::new();
            let read = stream.read_to_end(&mut back).await;
            assert!(data.starts_with(&back), "the dialer believed a changed byte");
            read?;
            session.close().await?;
            driver.await?;
            Ok::<_, Box<dyn std::error::Error>>(())
        };
        let accept = async {
            let (session, driver) = accepted?;
            let mut stream = session.accept().await?;
            let mut there = Vec::new();
            let read = stream.read_to_end(&mut there).await;
            assert!(data.starts_with(&there), "the listener believed a changed byte");
            read?;
            stream.write_all(&there).await?;
            stream.close().await?;
            driver.await?;
            Ok::<_, Box<dyn std::error::Error>>(())
        };
        let (dialed, accepted) = zip(dial, accept).await;
        [dialed.is_ok(), accepted.is_ok()]
    })
}

#[test]
fn a_flipped_bit_in_any_message_of_noise_ends_the_connection_and_changes_no_data() {
    assert_eq!(life(None, None), [true, true]);
    for dialers in [true, false] {
        for place in [Place::First, Place::Last] {
            let mut message = 1;
            loop {
                let flip = Some((message, place));
                let fine = if dialers { life(flip, None) } else { life(None, flip) };
                if fine == [true, true] {
                    break;
                }
                // The receiver ends it. The sender may have had all it wanted by then.
                assert!(!fine[usize::from(dialers)], "message {message}, {place:?}, dialer's: {dialers}");
                message += 1;
            }
            // The handshake's, and some of the session.
            assert!(message > 4, "only {message} messages");
        }
    }
}
