//! Heads of the opening handshake: long lists, extensions that nobody asked for, redirects, other people's pages.

use std::time::{Duration, Instant};

use futures_lite::future::{self, block_on, zip};
use futures_lite::{AsyncReadExt, AsyncWriteExt, StreamExt};
use smol::net::TcpListener;
use ws_transport::handshake::http::StatusCode;
use ws_transport::handshake::{self, ClientRequest, HandshakeError, RequestError, ServerOptions};
use ws_transport::{Dialer, ListenOptions, StreamConfig};

use crate::LONG;
use crate::common::pipe::{End, Manner, pipe};

const GOOD: &str = "GET /chat HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

/// The status that a request is answered with.
fn answer_to(request: &str, options: &ServerOptions) -> String {
    let (mut client, server) = pipe(Manner { capacity: 4 << 20, ..Manner::GOOD }, Manner::GOOD);
    client.put(request.as_bytes());
    let serve = async { drop(handshake::server(server, options).await) };
    let ask = async {
        let mut status = [0; 12];
        client.read_exact(&mut status).await.unwrap();
        client.close().await.unwrap();
        String::from_utf8(status.to_vec()).unwrap()
    };
    block_on(zip(ask, serve)).0
}

/// What comes of a request that is answered by this head, in which `{accept}` is the right key.
fn dial(head: &str) -> Result<(), HandshakeError> {
    let (near, mut far) = pipe(Manner::GOOD, Manner::GOOD);
    let request = ClientRequest::new("localhost", "/chat").unwrap();
    let answer = async {
        let asked = read_head(&mut far).await;
        let key = asked.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).unwrap();
        let accept = async_tungstenite::tungstenite::handshake::derive_accept_key(key.as_bytes());
        far.write_all(head.replace("{accept}", &accept).as_bytes()).await.unwrap();
    };
    let dial = handshake::client(near, &request, StreamConfig::new());
    block_on(zip(answer, dial)).1.map(drop)
}

async fn read_head(io: &mut End) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        io.read_exact(&mut byte).await.unwrap();
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

#[test]
fn lists_of_32_kib_of_nothing_cost_no_more_than_their_length() {
    // A mebibyte, so that what is worse than linear would go on for hours.
    for len in [32 << 10, 1 << 20] {
        let options = ServerOptions::new().with_max_head(len + 1000);
        for filler in [",", " ", ", ", " ,", "\t", ";", "a,", "a;"] {
            let filler = filler.repeat(len / filler.len());
            for (field, status) in [
                ("Sec-WebSocket-Protocol: chat", "101"),
                ("Sec-WebSocket-Extensions: permessage-deflate", "101"),
                ("Sec-WebSocket-Extensions: x; y=\"", "101"),
                ("Connection: keep-alive", "101"),
                ("X-Anything: at all", "101"),
            ] {
                let start = Instant::now();
                let request = GOOD.replace("Host:", &format!("{field},{filler}\r\nHost:"));
                let answer = answer_to(&request, &options);
                // The list with which one asks to upgrade has to be one; of the others we only know that they are there.
                let refused = field.starts_with("Connection") && filler.contains(';');
                let status = if refused { "400" } else { status };
                assert_eq!(answer, format!("HTTP/1.1 {status}"), "{field}");
                assert!(start.elapsed() < LONG, "{field} took {:?}", start.elapsed());
            }
        }
    }
    // With the usual limit nobody gets to send so much.
    let request = GOOD.replace("Host:", &format!("Sec-WebSocket-Protocol: {}\r\nHost:", ", ".repeat(16 << 10)));
    assert_eq!(answer_to(&request, &ServerOptions::new()), "HTTP/1.1 431");
}

#[test]
fn a_server_that_answers_with_any_extension_is_refused() {
    let good = "HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n";
    dial(good).unwrap();
    for extension in [
        "permessage-deflate",
        "permessage-deflate; server_max_window_bits=8; client_max_window_bits=99",
        "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
        "x-webkit-deflate-frame",
        "x",
        "",
        ",",
    ] {
        let head = good.replace("Upgrade:", &format!("Sec-WebSocket-Extensions: {extension}\r\nUpgrade:"));
        let error = dial(&head).expect_err(extension);
        let HandshakeError::InvalidResponse(cause) = &error else { panic!("{extension}: {error}") };
        assert_eq!(cause.to_string(), "header field sec-websocket-extensions was not asked for", "{extension}");
    }
}

#[test]
fn a_redirect_is_told_and_not_followed() {
    block_on(async {
        // Where it leads to: to a node of the inner network that trusts its neighbours.
        let inner = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let outer = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let location = format!("ws://{}/", inner.local_addr().unwrap());
        let (dialed, port) = (Dialer::new(), outer.local_addr().unwrap().port());
        for status in [301, 302, 303, 307, 308] {
            let answer = async {
                let (mut io, _) = outer.accept().await.unwrap();
                io.read_exact(&mut [0; 100]).await.unwrap();
                let head = format!("HTTP/1.1 {status} x\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n");
                io.write_all(head.as_bytes()).await.unwrap();
                io
            };
            let dial = dialed.dial(format!("/ip4/127.0.0.1/tcp/{port}/ws"));
            let (error, _io) = zip(dial, answer).await;
            let error = error.unwrap_err();
            let refusal = error.refusal().unwrap();
            assert_eq!(refusal.status.as_u16(), status);
            assert_eq!(refusal.headers["location"], location);
        }
        assert!(future::poll_once(inner.accept()).await.is_none(), "it was followed");
    });
}

#[test]
fn a_page_of_another_origin_gets_in_only_where_there_is_no_policy() {
    let own = ListenOptions::new().with_policy(|request| match request.origin() {
        // Programs send none; pages cannot help it.
        None | Some("https://example.com") => Ok(()),
        Some(_) => Err(StatusCode::FORBIDDEN),
    });
    let origins = [
        None,
        Some("https://example.com"),
        Some("https://evil.example"),
        Some("null"),
        Some("https://example.com.evil"),
    ];
    for (options, allowed) in [(own, &[true, true, false, false, false]), (ListenOptions::new(), &[true; 5])] {
        block_on(async {
            let listener = options.bind("/ip4/127.0.0.1/tcp/0/ws").await.unwrap();
            let address = listener.addresses().unwrap().remove(0);
            let mut connections = listener.connections();
            for (origin, allowed) in origins.iter().zip(allowed) {
                let dialer = match origin {
                    Some(origin) => Dialer::new().with_header("Origin", origin).unwrap(),
                    None => Dialer::new(),
                };
                let (dialed, served) = zip(dialer.dial(&address), connections.next()).await;
                assert_eq!((dialed.is_ok(), served.unwrap().is_ok()), (*allowed, *allowed), "{origin:?}");
                if let Err(error) = dialed {
                    assert_eq!(error.refusal().unwrap().status, StatusCode::FORBIDDEN);
                }
            }
        });
    }
}

#[test]
fn a_request_with_a_body_or_a_second_request_behind_it_is_no_second_request() {
    let serve = |wire: Vec<u8>| {
        let (mut client, mut server) = pipe(Manner::GOOD, Manner::GOOD);
        client.put(&wire);
        let options = ServerOptions::new().with_timeout(Duration::from_millis(200));
        (block_on(handshake::respond(&mut server, &options)), client.take_all())
    };
    let bodies =
        ["Content-Length: 5", "Transfer-Encoding: chunked", "Transfer-Encoding: identity", "Content-Length: x"];
    for field in bodies {
        let request = GOOD.replace("Host:", &format!("{field}\r\nHost:")) + "hello";
        let (refused, answer) = serve(request.into_bytes());
        assert!(
            matches!(refused, Err(HandshakeError::Rejected { cause: RequestError::Content, .. })),
            "{field}: {refused:?}"
        );
        assert!(answer.starts_with(b"HTTP/1.1 400 "), "{field}");
    }
    // What comes behind a good request belongs to its connection, as frames, whatever it looks like.
    let (early, answer) = serve([GOOD.as_bytes(), GOOD.as_bytes()].concat());
    assert_eq!(early.unwrap(), GOOD.as_bytes());
    let answer = String::from_utf8(answer).unwrap();
    assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
}
