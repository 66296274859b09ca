//! Response heads: the same outcome however the bytes are cut, and nothing accepted that tungstenite cannot read.

use async_tungstenite::tungstenite::handshake::client::Response;
use async_tungstenite::tungstenite::handshake::derive_accept_key;
use async_tungstenite::tungstenite::handshake::machine::TryParse;
use futures_lite::future::block_on;
use ws_transport::handshake::{self, ClientRequest, HandshakeError};

use super::script::{Pieces, Script};

/// Stands for the right `Sec-WebSocket-Accept`, which depends on a random key.
const ACCEPT: &[u8] = b"{accept}";

/// One byte for how to cut the rest, which is what the server sends, `{accept}` replaced.
pub fn run(data: &[u8]) {
    let [seed, wire @ ..] = data else { return };
    // What an unfinished status line is taken for may depend on the key, which is another each time.
    let line = wire.split(|byte| *byte == b'\n').next().unwrap_or_default();
    if line.windows(ACCEPT.len()).any(|bytes| bytes == ACCEPT) {
        return;
    }
    let whole = dial(wire, Pieces::WHOLE);
    for pieces in [Pieces::new(1), Pieces::new(*seed)] {
        assert_eq!(dial(wire, pieces), whole, "cut in pieces");
    }
}

#[derive(Debug, PartialEq)]
enum Outcome {
    Accepted,
    Refused(u16),
    Invalid,
    /// The server left within its head.
    Left,
}

fn dial(wire: &[u8], pieces: Pieces) -> Outcome {
    let request = ClientRequest::new("example.com", "/chat").expect("good");
    let template = wire.to_vec();
    let mut io = Script::responding(move |request| fill_in(&template, &accept(request)), pieces);
    let outcome = block_on(handshake::request(&mut io, &request));
    let accept = accept(&io.output);
    let sent = fill_in(wire, &accept);
    match outcome {
        Ok(early) => {
            let end = io.read - early.len();
            assert_eq!(early, sent[end..io.read], "what comes after the head is kept");
            check_accepted(&sent[..end], &accept);
            Outcome::Accepted
        }
        Err(HandshakeError::Refused(refusal)) => {
            assert!(refusal.status != 101 && !refusal.status.is_informational());
            Outcome::Refused(refusal.status.as_u16())
        }
        // Why may depend on the key, which is another each time.
        Err(HandshakeError::InvalidResponse(_)) => Outcome::Invalid,
        Err(HandshakeError::Io(_)) => {
            assert_eq!(io.read, sent.len());
            Outcome::Left
        }
        Err(error) => panic!("{error}"),
    }
}

/// What a server has to answer to this request.
fn accept(request: &[u8]) -> String {
    let request = std::str::from_utf8(request).expect("requests are text");
    let key = request.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).expect("a key");
    derive_accept_key(key.as_bytes())
}

fn fill_in(template: &[u8], accept: &str) -> Vec<u8> {
    let (mut filled, mut rest) = (Vec::new(), template);
    while let Some(at) = rest.windows(ACCEPT.len()).position(|bytes| bytes == ACCEPT) {
        filled.extend_from_slice(&rest[..at]);
        filled.extend_from_slice(accept.as_bytes());
        rest = &rest[at + ACCEPT.len()..];
    }
    filled.extend_from_slice(rest);
    filled
}

/// Interim responses, and then a 101 with the right key.
fn check_accepted(mut heads: &[u8], accept: &str) {
    loop {
        let end = heads.windows(4).position(|bytes| bytes == b"\r\n\r\n").expect("a complete head") + 4;
        let (head, rest) = heads.split_at(end);
        heads = rest;
        // Tungstenite knows HTTP/1.1 only.
        let known = head.starts_with(b"HTTP/1.1 ");
        let response = known.then(|| Response::try_parse(head).expect("is parsed").expect("is complete").1);
        if heads.is_empty() {
            if let Some(response) = response {
                assert_eq!(response.status(), 101);
                assert_eq!(response.headers()["sec-websocket-accept"], accept);
            }
            return;
        }
        assert!(response.is_none_or(|response| response.status().is_informational()));
    }
}
