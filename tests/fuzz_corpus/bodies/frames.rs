//! The frame decoder: the same however the bytes are cut, and in accord with tungstenite about what is a message.

use std::io::{self, Cursor, Read, Write};

use async_tungstenite::tungstenite::protocol::{self, WebSocket, WebSocketConfig};
use async_tungstenite::tungstenite::{Error, Message, error::ProtocolError};
use ws_transport::proto::{Decoder, Event, OpCode, Role, Violation};

use super::script::Pieces;

/// Longest frame of which tungstenite is asked, in bytes: it allocates what a header declares.
const MAX_FRAME: usize = 1 << 20;

/// One byte for the role, one for how to cut the rest, which is the wire.
pub fn run(data: &[u8]) {
    let [role, seed, wire @ ..] = data else { return };
    let role = if role & 1 == 0 { Role::Server } else { Role::Client };
    let whole = ours(role, wire, Pieces::WHOLE);
    for pieces in [Pieces::new(1), Pieces::new(*seed)] {
        assert_eq!(ours(role, wire, pieces), whole, "cut in pieces");
    }
    let (messages, end, _) = whole;
    compare(&messages, end, theirs(role, wire));
}

#[derive(Clone, Debug, PartialEq)]
enum Item {
    Message { text: bool, bytes: Vec<u8> },
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<(u16, String)>),
}

/// How a stream of frames ends.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    /// Without a Close or a mistake.
    Open,
    Closed,
    Failed(Violation),
}

/// What tungstenite ends with.
#[derive(Clone, Copy, Debug, PartialEq)]
enum TheirEnd {
    Open,
    Closed,
    Refused,
    /// A text that is not UTF-8, which is no business of frames, or a reason.
    NotUtf8,
    /// Longer than it was allowed to allocate.
    TooLong,
}

/// The messages, the end, and what there is of a message that was not finished.
fn ours(role: Role, wire: &[u8], mut pieces: Pieces) -> (Vec<Item>, End, Vec<u8>) {
    let mut decoder = Decoder::new(role);
    let (mut items, mut partial, mut text, mut fin) = (Vec::new(), Vec::new(), false, false);
    let mut rest = wire;
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(pieces.next_len().min(rest.len()));
        rest = after;
        // A gap in front, so that payload has somewhere to move down to.
        let gap = usize::from(rest.len().is_multiple_of(3)) * 5;
        let mut piece = [&[0xEE; 5][..gap], piece].concat();
        let mut at = gap;
        loop {
            let (used, event) = match decoder.decode(&piece[at..]) {
                Ok(next) => next,
                Err(violation) => {
                    assert_eq!(decoder.decode(&piece[at..]), Err(violation), "a violation stays");
                    return (items, End::Failed(violation), partial);
                }
            };
            at += used;
            match event {
                None => {
                    assert_eq!(at, piece.len(), "all is used up when more is needed");
                    break;
                }
                Some(Event::Frame(header)) => {
                    fin = header.fin;
                    if header.opcode != OpCode::Continuation {
                        text = header.opcode == OpCode::Text;
                    }
                }
                Some(Event::Payload(len)) => {
                    assert!(len > 0);
                    let to = at - gap;
                    decoder.unmask_down(&mut piece, at, to, len);
                    partial.extend_from_slice(&piece[to..to + len]);
                    at += len;
                }
                Some(Event::Ping(payload)) => items.push(Item::Ping(payload)),
                Some(Event::Pong(payload)) => items.push(Item::Pong(payload)),
                Some(Event::Close(frame)) => {
                    let frame = frame.map(|frame| (frame.code().get(), frame.reason().to_owned()));
                    items.push(Item::Close(frame));
                    return (items, End::Closed, partial);
                }
            }
            if fin && decoder.is_between_frames() {
                fin = false;
                items.push(Item::Message { text, bytes: std::mem::take(&mut partial) });
            }
        }
    }
    (items, End::Open, partial)
}

/// Reads the wire, and throws away what is written.
struct Wire<'a>(Cursor<&'a [u8]>);

impl Read for Wire<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read(buf)
    }
}

impl Write for Wire<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn theirs(role: Role, wire: &[u8]) -> (Vec<Item>, TheirEnd) {
    let role = match role {
        Role::Client => protocol::Role::Client,
        Role::Server => protocol::Role::Server,
    };
    let config = WebSocketConfig::default().max_frame_size(Some(MAX_FRAME)).read_buffer_size(4096);
    let mut socket = WebSocket::from_raw_socket(Wire(Cursor::new(wire)), role, Some(config));
    let mut items = Vec::new();
    let end = loop {
        items.push(match socket.read() {
            Ok(Message::Text(text)) => Item::Message { text: true, bytes: text.as_bytes().to_vec() },
            Ok(Message::Binary(bytes)) => Item::Message { text: false, bytes: bytes.to_vec() },
            Ok(Message::Ping(payload)) => Item::Ping(payload.to_vec()),
            Ok(Message::Pong(payload)) => Item::Pong(payload.to_vec()),
            Ok(Message::Close(frame)) => {
                items.push(Item::Close(frame.map(|frame| (frame.code.into(), frame.reason.as_str().to_owned()))));
                break TheirEnd::Closed;
            }
            Ok(Message::Frame(_)) => unreachable!("not given by reads"),
            Err(Error::Protocol(ProtocolError::ResetWithoutClosingHandshake)) => break TheirEnd::Open,
            Err(Error::Utf8(_)) => break TheirEnd::NotUtf8,
            Err(Error::Capacity(_)) => break TheirEnd::TooLong,
            Err(_) => break TheirEnd::Refused,
        });
    };
    (items, end)
}

fn compare(ours: &[Item], end: End, (theirs, their_end): (Vec<Item>, TheirEnd)) {
    let in_common = ours.len().min(theirs.len());
    // Tungstenite does not know 1014, which was registered later (RFC 6455 §11.7).
    let is_1014 = matches!(ours.last(), Some(Item::Close(Some((1014, _)))));
    let compared = if is_1014 { in_common.min(ours.len() - 1) } else { in_common };
    assert_eq!(ours[..compared], theirs[..compared]);

    // It takes lengths that are not the shortest, of control frames too, and codes that must not be sent.
    let lenient =
        matches!(end, End::Failed(Violation::LengthNotMinimal | Violation::LongControl | Violation::CloseCode(_)));
    assert!(theirs.len() == in_common || lenient, "tungstenite takes what we refused: {end:?}, {theirs:?}");
    // It stops at texts that are not UTF-8, and at frames that it may not allocate.
    let strict = matches!(their_end, TheirEnd::NotUtf8 | TheirEnd::TooLong);
    assert!(ours.len() == in_common || strict, "we take what tungstenite refused: {their_end:?}, {ours:?}");

    let accord = match end {
        End::Open => their_end == TheirEnd::Open,
        End::Closed => their_end == TheirEnd::Closed,
        // It waits for the whole of a frame before it looks.
        End::Failed(_) => matches!(their_end, TheirEnd::Refused | TheirEnd::Open),
    };
    assert!(accord || lenient || strict, "{end:?}, but {their_end:?}");
}
