//! Lengths at every boundary, as a table, through the whole stream. On a 32-bit target a length that is cut off shows here.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use futures_lite::AsyncRead;
use ws_transport::proto::{OpCode, Role};
use ws_transport::{StreamConfig, WsStream};

use crate::common::pipe::{Manner, pipe};
use crate::common::wire::{Sent, frame, other};

/// Longest payload that is sent whole.
const WHOLE: u64 = 70_000;

/// What follows a header whose payload is never sent whole.
const BEGINNING: usize = 1000;

fn header(sender: Role, second: u8, length: &[u8]) -> Vec<u8> {
    let (mask, key): (u8, &[u8]) = if sender == Role::Client { (0x80, &[0; 4]) } else { (0, &[]) };
    [&[0x82, second | mask], length, key].concat()
}

/// Everything there is to read, and the error behind it.
fn read(sender: Role, wire: &[u8]) -> (Vec<u8>, Option<io::ErrorKind>, Vec<u8>) {
    let (ours, mut peer) = pipe(Manner::GOOD, Manner::GOOD);
    let mut stream = WsStream::new(ours, other(sender), Vec::new(), StreamConfig::new());
    peer.put(wire);
    let (mut data, mut buf) = (Vec::new(), [0; 4096]);
    loop {
        match Pin::new(&mut stream).poll_read(&mut Context::from_waker(Waker::noop()), &mut buf) {
            Poll::Ready(Ok(len @ 1..)) => data.extend_from_slice(&buf[..len]),
            Poll::Ready(Ok(_)) => panic!("no end was sent"),
            Poll::Ready(Err(error)) => return (data, Some(error.kind()), peer.take_all()),
            Poll::Pending => return (data, None, peer.take_all()),
        }
    }
}

#[test]
fn a_length_is_taken_for_what_it_says_or_refused() {
    let in_two = |len: u16| (126, len.to_be_bytes().to_vec());
    let in_eight = |len: u64| (127, len.to_be_bytes().to_vec());
    let taken: [(u64, (u8, Vec<u8>)); 15] = [
        (0, (0, vec![])),
        (1, (1, vec![])),
        (125, (125, vec![])),
        (126, in_two(126)),
        (127, in_two(127)),
        (65_535, in_two(65_535)),
        (65_536, in_eight(65_536)),
        ((1 << 31) - 1, in_eight((1 << 31) - 1)),
        (1 << 31, in_eight(1 << 31)),
        ((1 << 32) - 1, in_eight((1 << 32) - 1)),
        // Cut to 32 bits these would be 0, 1 and 5, and the payload would be taken for frames.
        (1 << 32, in_eight(1 << 32)),
        ((1 << 32) + 1, in_eight((1 << 32) + 1)),
        ((1 << 32) + 5, in_eight((1 << 32) + 5)),
        (1 << 62, in_eight(1 << 62)),
        ((1 << 63) - 1, in_eight((1 << 63) - 1)),
    ];
    let refused = [
        in_two(0),
        in_two(125),
        in_eight(0),
        in_eight(126),
        in_eight(65_535),
        in_eight(1 << 63),
        in_eight((1 << 63) + 5),
        in_eight(u64::MAX),
    ];
    for sender in [Role::Client, Role::Server] {
        for (len, (second, length)) in &taken {
            let mut wire = header(sender, *second, length);
            if *len <= WHOLE {
                let payload = vec![b'x'; *len as usize];
                wire.extend(&payload);
                wire.extend(frame(sender, OpCode::Binary, b"next"));
                assert_eq!(read(sender, &wire), ([&payload[..], b"next"].concat(), None, vec![]), "{len}");
            } else {
                // As payload it looks like frames: whoever has cut the length takes it for those.
                let payload = frame(sender, OpCode::Close, &[3, 232]).repeat(BEGINNING / 4);
                wire.extend(&payload);
                assert_eq!(read(sender, &wire), (payload, None, vec![]), "{len}");
            }
        }
        for (second, length) in &refused {
            let mut wire = frame(sender, OpCode::Binary, b"before");
            wire.extend(header(sender, *second, length));
            wire.extend([b'x'; BEGINNING]);
            let (data, error, answer) = read(sender, &wire);
            assert_eq!((&data[..], error), (&b"before"[..], Some(io::ErrorKind::InvalidData)), "{length:?}");
            assert_eq!(Sent::parse(other(sender), &answer).close_code(), Some(Some(1002)), "{length:?}");
        }
    }
}
