//! The opening handshake over loopback TCP, against ends that are not ours and against rude ones.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

use async_tungstenite::tungstenite::Message;
use async_tungstenite::tungstenite::handshake::derive_accept_key;
use async_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use futures_lite::{AsyncReadExt, AsyncWriteExt, StreamExt, future};
use smol::net::{TcpListener, TcpStream};
use ws_transport::handshake::http::{HeaderMap, StatusCode};
use ws_transport::handshake::{self, ClientRequest, HandshakeError, RequestError, ServerOptions};
use ws_transport::{StreamConfig, WsStream};

const GOOD: &str = "GET /chat HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("its address");
    (listener, address)
}

async fn connected() -> (TcpStream, TcpStream) {
    let (listener, address) = listen().await;
    let (accepted, connected) =
        future::try_zip(listener.accept(), TcpStream::connect(address)).await.expect("loopback");
    (connected, accepted.0)
}

fn request() -> ClientRequest {
    ClientRequest::new("localhost", "/chat").expect("good")
}

async fn client(io: TcpStream) -> Result<WsStream<TcpStream>, HandshakeError> {
    handshake::client(io, &request(), StreamConfig::new()).await
}

/// Sends each other's greeting both ways.
async fn exchange(stream: &mut WsStream<TcpStream>, ours: &[u8], theirs: &[u8]) {
    stream.write_all(ours).await.expect("written");
    stream.flush().await.expect("flushed");
    let mut read = vec![0; theirs.len()];
    stream.read_exact(&mut read).await.expect("read");
    assert_eq!(read, theirs);
}

#[test]
fn a_foreign_client_gets_its_upgrade() {
    smol::block_on(async {
        let (near, far) = connected().await;
        let options = ServerOptions::new().with_path("/chat");
        let serve = async {
            let mut stream = handshake::server(far, &options).await.expect("granted");
            exchange(&mut stream, b"from us", b"from them").await;
        };
        let dial = async {
            let (mut stream, _) = async_tungstenite::client_async("ws://localhost/chat", near).await.expect("granted");
            stream.send(Message::binary(&b"from them"[..])).await.expect("sent");
            assert_eq!(stream.next().await.expect("a message").expect("good"), Message::binary(&b"from us"[..]));
        };
        future::zip(serve, dial).await;
    });
}

#[test]
fn a_foreign_server_grants_our_upgrade() {
    #[allow(clippy::result_large_err)] // The foreign interface is like this.
    fn inspect(request: &Request, response: Response) -> Result<Response, ErrorResponse> {
        assert_eq!(request.uri().path(), "/chat");
        assert_eq!(request.headers()["x-token"], "abc");
        Ok(response)
    }
    smol::block_on(async {
        let (near, far) = connected().await;
        let serve = async {
            let mut stream = async_tungstenite::accept_hdr_async(far, inspect).await.expect("granted");
            stream.send(Message::binary(&b"from them"[..])).await.expect("sent");
            assert_eq!(stream.next().await.expect("a message").expect("good"), Message::binary(&b"from us"[..]));
        };
        let dial = async {
            let request = request().with_header("X-Token", "abc").expect("good");
            let mut stream = handshake::client(near, &request, StreamConfig::new()).await.expect("granted");
            exchange(&mut stream, b"from us", b"from them").await;
        };
        future::zip(serve, dial).await;
    });
}

#[test]
fn a_frame_in_the_segment_of_the_101_is_read() {
    smol::block_on(async {
        let (near, mut far) = connected().await;
        let serve = async {
            let request = read_head(&mut far).await;
            let key =
                request.split("Sec-WebSocket-Key: ").nth(1).and_then(|rest| rest.split('\r').next()).expect("a key");
            let accept = derive_accept_key(key.as_bytes());
            let head = format!(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Accept: {accept}\r\n\r\n"
            );
            far.write_all(&[head.as_bytes(), b"\x82\x05early"].concat()).await.expect("sent");
        };
        let dial = async {
            let mut read = [0; 5];
            client(near).await.expect("granted").read_exact(&mut read).await.expect("read");
            assert_eq!(&read, b"early");
        };
        future::zip(serve, dial).await;
    });
}

#[test]
fn a_frame_right_behind_the_request_is_read() {
    smol::block_on(async {
        let (mut near, far) = connected().await;
        near.write_all(&[GOOD.as_bytes(), b"\x82\x85\0\0\0\0early"].concat()).await.expect("sent");
        let mut read = [0; 5];
        let mut stream = handshake::server(far, &ServerOptions::new()).await.expect("granted");
        stream.read_exact(&mut read).await.expect("read");
        assert_eq!(&read, b"early");
    });
}

/// Reads up to the empty line, byte by byte.
async fn read_head(io: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        io.read_exact(&mut byte).await.expect("a head");
        head.extend(byte);
    }
    String::from_utf8(head).expect("text")
}

#[test]
fn every_refusal_arrives_with_its_status_and_the_end_behind_it() {
    let options = ServerOptions::new().with_path("/chat").with_policy(|request| match request.origin() {
        Some("http://evil.example") => Err(StatusCode::FORBIDDEN),
        _ => Ok(()),
    });
    for (request, status) in [
        ("\x16\x03\x01".to_owned(), "400 Bad Request"),
        ("\x13/multistream/1.0.0\n".to_owned(), "400 Bad Request"),
        (GOOD.replace("\r\n", "\n"), "400 Bad Request"),
        (GOOD.replace("Host: localhost\r\n", ""), "400 Bad Request"),
        (GOOD.replace("localhost", "local\r\n host"), "400 Bad Request"),
        (GOOD.replace("/chat", "/other"), "404 Not Found"),
        (GOOD.replace("GET", "POST"), "405 Method Not Allowed"),
        (GOOD.replace("\r\n\r\n", "\r\nOrigin: http://evil.example\r\n\r\n"), "403 Forbidden"),
        ("GET /chat HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(), "426 Upgrade Required"),
        ("GET /chat HTTP/1.0\r\n\r\n".to_owned(), "426 Upgrade Required"),
        (GOOD.replace("Version: 13", "Version: 12"), "426 Upgrade Required"),
        (GOOD.replace("\r\n\r\n", &"\r\na: b".repeat(2_000)) + "\r\n\r\n", "431 Request Header Fields Too Large"),
        (GOOD.replace("\r\n\r\n", &"a".repeat(100_000)) + "\r\n\r\n", "431 Request Header Fields Too Large"),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(), "505 HTTP Version Not Supported"),
    ] {
        let answer = smol::block_on(async {
            let (mut near, far) = connected().await;
            let ask = async {
                near.write_all(request.as_bytes()).await.expect("sent");
                let mut answer = String::new();
                near.read_to_string(&mut answer).await.expect("the answer and the end");
                drop(near);
                answer
            };
            let (answer, served) = future::zip(ask, handshake::server(far, &options)).await;
            assert!(matches!(served, Err(HandshakeError::Rejected { .. })), "{request:?}: {served:?}");
            answer
        });
        let (head, content) = answer.split_once("\r\n\r\n").expect("a head");
        assert!(head.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{request:?}: {head}");
        assert!(head.contains(&format!("\r\nContent-Length: {}\r\n", content.len())), "{head}");
        assert!(head.contains("close"), "{head}");
    }
}

#[test]
fn a_refusal_arrives_although_the_client_goes_on_sending() {
    let (listener, address) = smol::block_on(listen());
    // A client of blocking calls, which looks for an answer only when it has sent everything.
    let client = std::thread::spawn(move || -> io::Result<String> {
        let mut io = std::net::TcpStream::connect(address)?;
        io.write_all(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 200000\r\n\r\n")?;
        for _ in 0..200 {
            io.write_all(&[b'x'; 1000])?;
        }
        let mut answer = String::new();
        io.read_to_string(&mut answer)?;
        Ok(answer)
    });
    let served = smol::block_on(async {
        let (io, _) = listener.accept().await.expect("a connection");
        handshake::server(io, &ServerOptions::new()).await
    });
    match served {
        Err(HandshakeError::Rejected { refusal, cause: RequestError::Method }) => assert_eq!(refusal.status, 405),
        other => panic!("not rejected: {other:?}"),
    }
    let answer = client.join().expect("no panic").expect("the answer, not a reset");
    assert!(answer.starts_with("HTTP/1.1 405 ") && answer.ends_with("method is not GET\n"), "{answer}");
}

#[test]
fn our_client_learns_status_and_fields_of_a_refusal() {
    smol::block_on(async {
        let (near, far) = connected().await;
        let options = ServerOptions::new().with_path("/other");
        let (refused, _) = future::zip(client(near), handshake::server(far, &options)).await;
        let HandshakeError::Refused(refusal) = refused.expect_err("refused") else { panic!("another error") };
        assert_eq!(refusal.status, StatusCode::NOT_FOUND);
        let length = |headers: &HeaderMap| headers["content-length"].to_str().is_ok_and(|length| length != "0");
        assert!(length(&refusal.headers));
    });
}

#[test]
fn a_request_that_drips_in_is_given_up_at_the_deadline() {
    smol::block_on(async {
        let (mut near, far) = connected().await;
        let allowed = Duration::from_millis(100);
        let options = ServerOptions::new().with_timeout(allowed);
        let drip = async {
            near.write_all(b"GET / HTTP/1.1\r\nA: ").await.expect("sent");
            loop {
                near.write_all(b"a").await.expect("sent");
                async_io::Timer::after(Duration::from_millis(2)).await;
            }
        };
        match future::or(handshake::server(far, &options), drip).await {
            Err(HandshakeError::TimedOut(late)) => assert_eq!(late.after, allowed),
            other => panic!("not timed out: {other:?}"),
        }
    });
}

#[test]
fn dropping_a_handshake_ends_its_connection() {
    smol::block_on(async {
        let (near, mut far) = connected().await;
        let dialing = client(near);
        let seen = future::or(async { Err(dialing.await.map(drop)) }, async { Ok(read_head(&mut far).await) }).await;
        assert!(seen.expect("the request").starts_with("GET /chat HTTP/1.1\r\n"));
        let mut rest = Vec::new();
        assert_eq!(far.read_to_end(&mut rest).await.expect("the end"), 0);
    });
}

#[test]
fn handshakes_can_be_sent_between_threads() {
    fn is_send(_: &impl Send) {}
    let (near, far) = smol::block_on(connected());
    let (request, options) = (request(), ServerOptions::new());
    is_send(&handshake::client(near, &request, StreamConfig::new()));
    is_send(&handshake::server(far, &options));
    is_send(&options);
}
