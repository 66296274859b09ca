//! Request heads: the same answer however the bytes are cut, and nothing granted that tungstenite would not.

use async_tungstenite::tungstenite::handshake::derive_accept_key;
use async_tungstenite::tungstenite::handshake::machine::TryParse;
use async_tungstenite::tungstenite::handshake::server::{Request, create_response};
use futures_lite::future::block_on;
use std::time::Duration;
use ws_transport::handshake::{self, HandshakeError, ServerOptions};

use super::script::{Pieces, Script};

/// Longest head that is taken, in bytes: less than the default, so that a fuzzer gets there.
const MAX_HEAD: usize = 4096;

/// One byte for how to cut the rest, which is what the client sends.
pub fn run(data: &[u8]) {
    let [seed, wire @ ..] = data else { return };
    let whole = serve(wire, Pieces::WHOLE);
    for pieces in [Pieces::new(1), Pieces::new(*seed)] {
        assert_eq!(serve(wire, pieces), whole, "cut in pieces");
    }
    if let Outcome::Granted { answer } = whole {
        check_grant(wire, &answer);
    }
}

#[derive(Debug, PartialEq)]
enum Outcome {
    Granted {
        answer: String,
    },
    Rejected {
        answer: String,
    },
    /// The client left within its head.
    Left,
}

fn serve(wire: &[u8], pieces: Pieces) -> Outcome {
    let mut io = Script::new(wire, pieces);
    let options = ServerOptions::new().with_max_head(MAX_HEAD).with_timeout(Duration::MAX);
    let outcome = block_on(handshake::respond(&mut io, &options));
    let answer = String::from_utf8(io.output).expect("answers are text");
    match outcome {
        Ok(early) => {
            let end = head_len(wire).expect("a complete head");
            assert!(end <= MAX_HEAD);
            assert_eq!(early, wire[end..io.read], "what comes after the head is kept");
            assert!(answer.starts_with("HTTP/1.1 101 ") && answer.ends_with("\r\n\r\n"), "{answer}");
            Outcome::Granted { answer }
        }
        Err(HandshakeError::Rejected { refusal, .. }) => {
            let line = format!("HTTP/1.1 {} ", refusal.status.as_u16());
            assert!(answer.starts_with(&line) && refusal.status.as_u16() >= 400, "{answer}");
            check_refusal(&answer, wire.starts_with(b"HEAD "));
            Outcome::Rejected { answer }
        }
        Err(HandshakeError::Io(_)) => {
            assert_eq!((answer.as_str(), io.read), ("", wire.len()));
            Outcome::Left
        }
        Err(error) => panic!("{error}"),
    }
}

/// Where the head ends.
fn head_len(wire: &[u8]) -> Option<usize> {
    wire.windows(4).position(|bytes| bytes == b"\r\n\r\n").map(|at| at + 4)
}

fn check_refusal(answer: &str, is_head: bool) {
    let (head, body) = answer.split_once("\r\n\r\n").expect("a complete answer");
    let field = |name: &str| {
        let line = head.lines().find(|line| line.to_ascii_lowercase().starts_with(name)).expect("the field");
        line[name.len()..].trim().to_owned()
    };
    assert!(field("connection:").split(", ").any(|token| token == "close"), "{answer}");
    let length: usize = field("content-length:").parse().expect("a length");
    assert!(body.len() == length || is_head && body.is_empty(), "{answer}");
}

/// Whether tungstenite would grant it too. It is stricter in some points: it knows HTTP/1.1 only, looks for a single
/// `Connection` and a single protocol in `Upgrade`, and decodes the key, whose padding bits have to be zero for that.
fn check_grant(wire: &[u8], answer: &str) {
    let head = &wire[..head_len(wire).expect("a complete head")];
    let line_end = head.iter().position(|byte| *byte == b'\r').expect("a line");
    if !head[..line_end].ends_with(b" HTTP/1.1") {
        return;
    }
    let (_, request) = Request::try_parse(head).expect("is parsed").expect("is complete");
    let key = request.headers().get("sec-websocket-key").expect("a key");
    assert!(answer.contains(&derive_accept_key(key.as_bytes())), "{answer}");
    let upgrade = request.headers().get("upgrade").expect("an upgrade");
    let plain = request.headers().get_all("connection").iter().count() == 1
        && request.headers().get("connection").is_some_and(|connection| !connection.as_bytes().contains(&b'\t'))
        && upgrade.as_bytes().eq_ignore_ascii_case(b"websocket")
        && matches!(key.as_bytes(), [.., b'A' | b'Q' | b'g' | b'w', b'=', b'=']);
    if plain {
        create_response(&request).expect("tungstenite grants it too");
    }
}
