//! Control frames at every place, also those where they are none: against a model written apart from the crate.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use futures_lite::{AsyncRead, AsyncWrite};
use ws_transport::proto::{Event, OpCode, Role};
use ws_transport::{StreamConfig, WsStream};

use crate::common::pattern;
use crate::common::pipe::{Manner, pipe};
use crate::common::wire::{Sent, close, fragment, frame, other};

/// What the bytes of a peer mean.
#[derive(Debug, Default, PartialEq)]
struct Meaning {
    data: Vec<u8>,
    pings: Vec<Vec<u8>>,
    end: Ended,
}

#[derive(Debug, Default, PartialEq)]
enum Ended {
    /// After a whole frame, or within the payload of one.
    #[default]
    Open,
    /// Within a header: whether it is refused at once or when it is whole is not for a model to say.
    WithinHeader,
    Closed(Option<u16>),
    /// With the code that the peer is told.
    Violated(u16),
}

/// RFC 6455 §5.2 to §5.5 and §7.4, as slow and plain as can be.
fn meaning(sender: Role, wire: &[u8]) -> Meaning {
    let mut meaning = Meaning::default();
    let (mut at, mut in_message) = (0, false);
    while at < wire.len() {
        let rest = &wire[at..];
        let byte = |i: usize| rest.get(i).copied();
        let (Some(first), Some(second)) = (byte(0), byte(1)) else {
            meaning.end = Ended::WithinHeader;
            return meaning;
        };
        let (fin, opcode, masked) = (first & 0x80 != 0, first & 0x0f, second & 0x80 != 0);
        let extended = match second & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let header = 2 + extended + if masked { 4 } else { 0 };
        let control = opcode >= 8;
        let wrong_at_once =
            first & 0x70 != 0 || !matches!(opcode, 0 | 1 | 2 | 8 | 9 | 10) || control && (!fin || extended > 0);
        if wrong_at_once {
            meaning.end = Ended::Violated(1002);
            return meaning;
        }
        if rest.len() < header {
            meaning.end = Ended::WithinHeader;
            return meaning;
        }
        let number = rest[2..2 + extended].iter().fold(0u64, |sum, byte| sum << 8 | u64::from(*byte));
        let len = if extended == 0 { u64::from(second & 0x7f) } else { number };
        let shortest = match extended {
            0 => true,
            2 => len >= 126,
            _ => len >= 65_536 && len >> 63 == 0,
        };
        if masked != (sender == Role::Client) || !shortest || !control && (opcode == 0) != in_message {
            meaning.end = Ended::Violated(1002);
            return meaning;
        }
        if opcode == 1 {
            meaning.end = Ended::Violated(1003);
            return meaning;
        }
        let there = usize::try_from(len).unwrap_or(usize::MAX).min(rest.len() - header);
        let key: &[u8] = if masked { &rest[header - 4..header] } else { &[0; 4] };
        let payload: Vec<u8> =
            rest[header..header + there].iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key).collect();
        let whole = there as u64 == len;
        match opcode {
            9 if whole => meaning.pings.push(payload),
            8 if whole => {
                meaning.end = close_of(&payload);
                return meaning;
            }
            0 | 2 => {
                meaning.data.extend(payload);
                in_message = !fin;
            }
            _ => {}
        }
        at += header + there;
    }
    meaning
}

fn close_of(payload: &[u8]) -> Ended {
    match payload {
        [] => Ended::Closed(None),
        [_] => Ended::Violated(1002),
        [high, low, reason @ ..] => match u16::from_be_bytes([*high, *low]) {
            code @ (1000..=1003 | 1007..=1014 | 3000..=4999) if std::str::from_utf8(reason).is_ok() => {
                Ended::Closed(Some(code))
            }
            1000..=1003 | 1007..=1014 | 3000..=4999 => Ended::Violated(1007),
            _ => Ended::Violated(1002),
        },
    }
}

/// Puts all of it on the way to a stream, and looks at what the stream makes of it.
fn check(sender: Role, wire: &[u8], claim: &str) {
    let meant = meaning(sender, wire);
    let (ours, mut peer) = pipe(Manner::GOOD, Manner::GOOD);
    let mut stream = WsStream::new(ours, other(sender), Vec::new(), StreamConfig::new());
    let mut cx = Context::from_waker(Waker::noop());
    peer.put(wire);
    let (mut data, mut buf) = (Vec::new(), [0; 50]);
    let mut polls = 0;
    let mut read = |stream: &mut WsStream<_>, data: &mut Vec<u8>| loop {
        polls += 1;
        assert!(polls < 1000, "{claim}: it goes on for ever");
        match Pin::new(&mut *stream).poll_read(&mut cx, &mut buf) {
            Poll::Ready(Ok(0)) => break Some(None),
            Poll::Ready(Ok(len)) => data.extend_from_slice(&buf[..len]),
            Poll::Ready(Err(error)) => break Some(Some(error.kind())),
            Poll::Pending => break None,
        }
    };
    let end = read(&mut stream, &mut data);
    assert_eq!(data, meant.data, "{claim}");
    let sent = Sent::parse(other(sender), &peer.take_all());
    let pongs = sent.control.iter().filter_map(|event| match event {
        Event::Pong(payload) => Some(payload),
        _ => None,
    });
    let pongs: Vec<_> = pongs.collect();
    let mut pings = meant.pings.iter();
    assert!(pongs.iter().all(|pong| pings.any(|ping| ping == *pong)), "{claim}: {sent:?}");
    let told = sent.close_code();
    match meant.end {
        Ended::Closed(code) => {
            let clean = matches!(code, None | Some(1000 | 1001));
            let expected = if clean { None } else { Some(io::ErrorKind::ConnectionAborted) };
            assert_eq!((end, told), (Some(expected), Some(code)), "{claim}");
        }
        Ended::Violated(code) => {
            assert_eq!((end, told), (Some(Some(io::ErrorKind::InvalidData)), Some(Some(code))), "{claim}");
        }
        Ended::WithinHeader if end.is_some() => {
            assert_eq!((end, told), (Some(Some(io::ErrorKind::InvalidData)), Some(Some(1002))), "{claim}");
        }
        Ended::Open | Ended::WithinHeader => {
            assert_eq!((end, told), (None, None), "{claim}");
            assert_eq!(pongs.last().copied(), meant.pings.last(), "{claim}: the last Ping is answered");
            let _ = Pin::new(&mut peer).poll_close(&mut Context::from_waker(Waker::noop()));
            assert_eq!(read(&mut stream, &mut data), Some(Some(io::ErrorKind::UnexpectedEof)), "{claim}");
        }
    }
}

#[test]
fn a_control_frame_or_text_at_any_byte_means_what_a_model_says() {
    for sender in [Role::Client, Role::Server] {
        let wire = [
            fragment(sender, false, OpCode::Binary, b"abc"),
            fragment(sender, false, OpCode::Continuation, b""),
            fragment(sender, true, OpCode::Continuation, &pattern(130)),
            frame(sender, OpCode::Binary, b"z"),
        ]
        .concat();
        let inserted = [
            ("a Ping", frame(sender, OpCode::Ping, b"ping")),
            ("two Pings", [frame(sender, OpCode::Ping, b"1"), frame(sender, OpCode::Ping, b"2")].concat()),
            ("a Pong", frame(sender, OpCode::Pong, b"unasked")),
            ("a Close", close(sender, 1000)),
            ("a Close for trouble", close(sender, 1011)),
            ("a Close without a code", frame(sender, OpCode::Close, b"")),
            ("text", frame(sender, OpCode::Text, b"text")),
            ("a frame of the other role", frame(other(sender), OpCode::Ping, b"ping")),
        ];
        for (name, bytes) in &inserted {
            for at in 0..=wire.len() {
                let (before, after) = wire.split_at(at);
                check(sender, &[before, bytes, after].concat(), &format!("{name} from the {sender:?} at byte {at}"));
            }
        }
    }
}

#[test]
fn the_reserved_bit_of_compression_is_refused_in_either_role() {
    for sender in [Role::Client, Role::Server] {
        for opcode in [OpCode::Binary, OpCode::Continuation, OpCode::Text, OpCode::Ping, OpCode::Close] {
            let mut wire = frame(sender, OpCode::Binary, b"before");
            let at = wire.len();
            wire.extend(frame(sender, opcode, b""));
            wire[at] |= 0x40;
            assert_eq!(meaning(sender, &wire).end, Ended::Violated(1002));
            check(sender, &wire, &format!("RSV1 on {opcode:?} from the {sender:?}"));
        }
    }
}
