//! The byte stream against an independent end, async-tungstenite, over hostile pipes in memory.

mod common;
#[path = "common/manners.rs"]
mod manners;

use std::io;
use std::pin::Pin;
use std::task::Poll;

use async_tungstenite::tungstenite::Message;
use async_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use async_tungstenite::tungstenite::protocol::{self, CloseFrame, WebSocketConfig};
use async_tungstenite::{WebSocketReceiver, WebSocketSender, WebSocketStream, accept_async, client_async};
use common::pattern;
use common::pipe::{End, Manner, pipe};
use futures_lite::future::{block_on, zip};
use futures_lite::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, StreamExt};
use manners::any_manner;
use proptest::prelude::*;
use ws_transport::handshake::{self, ClientRequest, ServerOptions};
use ws_transport::proto::Role;
use ws_transport::{Initiator, StreamConfig, WsStream};

const ROLES: [Role; 2] = [Role::Client, Role::Server];
const MIB: usize = 1024 * 1024;

type Ours = WsStream<End>;
type Theirs = WebSocketStream<End>;

/// Our stream in this role and theirs in the other, as after a handshake.
fn connected(role: Role, manners: (Manner, Manner)) -> (Ours, Theirs) {
    let (a, b) = pipe(manners.0, manners.1);
    let their_role = match role {
        Role::Client => protocol::Role::Server,
        Role::Server => protocol::Role::Client,
    };
    // It fills its whole read buffer with zeros before every read.
    let config = WebSocketConfig::default().read_buffer_size(4096);
    let theirs = block_on(WebSocketStream::from_raw_socket(b, their_role, Some(config)));
    (WsStream::new(a, role, Vec::new(), StreamConfig::new()), theirs)
}

/// Our stream in this role and theirs in the other, after the handshake.
async fn shaken(role: Role, manner: Manner) -> (Ours, Theirs) {
    // Their handshake takes many small reads for an attack.
    let (a, b) = pipe(manner, Manner { chunk: usize::MAX, ..manner });
    match role {
        Role::Client => {
            let request = ClientRequest::new("localhost", "/").unwrap();
            let (ours, theirs) = zip(handshake::client(a, &request, StreamConfig::new()), accept_async(b)).await;
            (ours.unwrap(), theirs.unwrap())
        }
        Role::Server => {
            let options = ServerOptions::new();
            let (ours, theirs) = zip(handshake::server(a, &options), client_async("ws://localhost/", b)).await;
            (ours.unwrap(), theirs.unwrap().0)
        }
    }
}

/// Writes these pieces, each flushed, and meanwhile reads until it has got so many bytes.
async fn exchange(stream: &mut Ours, pieces: &[Vec<u8>], want: usize, got: &mut Vec<u8>) -> io::Result<()> {
    let mut buf = vec![0; 20_000];
    let (mut pieces, mut piece, mut flushed) = (pieces.iter(), &[][..], true);
    std::future::poll_fn(|cx| {
        let written = loop {
            if !piece.is_empty() {
                match Pin::new(&mut *stream).poll_write(cx, piece)? {
                    Poll::Ready(len) => piece = &piece[len..],
                    Poll::Pending => break false,
                }
            } else if !flushed {
                match Pin::new(&mut *stream).poll_flush(cx)? {
                    Poll::Ready(()) => flushed = true,
                    Poll::Pending => break false,
                }
            } else if let Some(next) = pieces.next() {
                (piece, flushed) = (next, false);
            } else {
                break true;
            }
        };
        while got.len() < want {
            match Pin::new(&mut *stream).poll_read(cx, &mut buf)? {
                Poll::Ready(0) => return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
                Poll::Ready(len) => got.extend_from_slice(&buf[..len]),
                Poll::Pending => return Poll::Pending,
            }
        }
        if written { Poll::Ready(Ok(())) } else { Poll::Pending }
    })
    .await
}

/// What they received, joined; only binary messages and Pongs may come.
#[derive(Default)]
struct Received {
    data: Vec<u8>,
    pongs: Vec<Vec<u8>>,
}

impl Received {
    async fn next(&mut self, from: &mut WebSocketReceiver<End>) {
        match from.next().await.expect("not the end").expect("no error") {
            Message::Binary(bytes) => {
                assert!(!bytes.is_empty(), "we send no empty frames");
                assert!(bytes.len() <= 65_535, "nor large ones");
                self.data.extend_from_slice(&bytes);
            }
            Message::Pong(payload) => self.pongs.push(payload.to_vec()),
            message => panic!("{message:?} is nothing we send"),
        }
    }
}

async fn send(to: &mut WebSocketSender<End>, messages: &[(Vec<u8>, bool)]) {
    for (i, (message, ping)) in messages.iter().enumerate() {
        if *ping {
            to.send(Message::Ping(vec![i as u8; i].into())).await.unwrap();
        }
        to.send(Message::binary(message.clone())).await.unwrap();
    }
}

/// Reads to the end, which has to come without data.
async fn read_end(ours: &mut Ours) -> io::Result<()> {
    assert_eq!(ours.read(&mut [0; 10]).await?, 0);
    Ok(())
}

async fn we_close(ours: &mut Ours, theirs: &mut Theirs, code: u16, reason: &str) {
    // If it finds the end of the IO before it could send its answer to a Close, it never does.
    theirs.get_mut().set_manner(Manner::GOOD);
    let close = async {
        ours.close_with(code, reason).await.unwrap();
        read_end(ours).await
    };
    let watch = async {
        let last = theirs.next().await.unwrap().unwrap();
        let frame = CloseFrame { code: CloseCode::from(code), reason: reason.into() };
        assert_eq!(last, Message::Close(Some(frame)));
        assert!(theirs.next().await.is_none_or(|after| after.is_err()), "nothing follows a Close");
    };
    let (end, ()) = zip(close, watch).await;
    end.unwrap();
    let closed = ours.closed().unwrap();
    assert_eq!((closed.initiator(), closed.code().map(|code| code.get())), (Initiator::Local, Some(code)));
}

async fn they_close(ours: &mut Ours, theirs: &mut Theirs, code: u16, reason: &str) {
    let watch = async {
        let end = read_end(ours).await;
        ours.close().await.unwrap();
        end
    };
    let close = async {
        let frame = CloseFrame { code: CloseCode::from(code), reason: reason.into() };
        theirs.close(Some(frame)).await.unwrap();
        match theirs.next().await.unwrap().unwrap() {
            Message::Close(Some(frame)) => assert_eq!(u16::from(frame.code), code, "the answer has the same code"),
            message => panic!("{message:?} is no answer to a Close"),
        }
        assert!(theirs.next().await.is_none(), "nothing follows a Close");
    };
    let (end, ()) = zip(watch, close).await;
    match code {
        1000 | 1001 => end.unwrap(),
        _ => assert_eq!(end.unwrap_err().kind(), io::ErrorKind::ConnectionAborted),
    }
    let closed = ours.closed().unwrap();
    assert_eq!((closed.initiator(), closed.code().map(|code| code.get())), (Initiator::Remote, Some(code)));
    assert_eq!(closed.reason(), reason);
}

fn any_len() -> impl Strategy<Value = usize> {
    prop_oneof![Just(0), 1usize..130, 1usize..5000, 1usize..100_000]
}

/// Codes that may be sent (RFC 6455 §7.4).
fn any_code() -> impl Strategy<Value = u16> {
    prop_oneof![1000u16..=1003, 1007u16..=1011, 3000u16..5000]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn messages_of_any_size_cross_both_ways_and_a_close_ends_them(
        client: bool,
        manners in (any_manner(), any_manner()),
        ours_out in proptest::collection::vec(any_len(), 0..6),
        theirs_out in proptest::collection::vec((any_len(), any::<bool>()), 0..6),
        we_begin: bool,
        code in any_code(),
        reason in "[ -~]{0,123}",
    ) {
        let role = if client { Role::Client } else { Role::Server };
        // A byte at a time is for small messages.
        let narrow = manners.0.chunk.min(manners.1.chunk).min(manners.0.capacity).min(manners.1.capacity) < 30;
        let len = |len: usize| if narrow { len / 30 } else { len };
        let pieces: Vec<Vec<u8>> = ours_out.iter().map(|l| pattern(len(*l))).collect();
        let messages: Vec<_> = theirs_out.iter().map(|(l, ping)| (pattern(len(*l)), *ping)).collect();
        let expected_there = pieces.concat();
        let expected_here = messages.iter().flat_map(|(message, _)| message.iter().copied()).collect::<Vec<u8>>();

        let (mut ours, theirs) = connected(role, manners);
        let (mut sender, mut receiver) = theirs.split();
        block_on(async {
            let mut got = Vec::new();
            let (mut received, mut one) = (Received::default(), [0]);
            let exchange = async {
                exchange(&mut ours, &pieces, expected_here.len(), &mut got).await.unwrap();
                // Pings and empty messages may lie behind the last byte.
                let read = ours.read(&mut one).await;
                unreachable!("nothing more was sent: {read:?}")
            };
            let talk = async {
                let send = async {
                    send(&mut sender, &messages).await;
                    sender.send(Message::Ping("last".into())).await.unwrap();
                };
                // Of Pings that come close together only the last is sure to be answered (RFC 6455 §5.5.3).
                let receive = async {
                    while received.data.len() < expected_there.len() || received.pongs.last().is_none_or(|p| p != b"last") {
                        received.next(&mut receiver).await;
                    }
                };
                zip(send, receive).await;
            };
            futures_lite::future::or(talk, exchange).await;
            assert!(received.data == expected_there);
            // A writer may have answered, with data before the Ping that was not read yet.
            self::exchange(&mut ours, &[], expected_here.len(), &mut got).await.unwrap();
            assert!(got == expected_here);

            let mut theirs = WebSocketStream::reunite(sender, receiver).expect("of one stream");
            match we_begin {
                true => we_close(&mut ours, &mut theirs, code, &reason).await,
                false => they_close(&mut ours, &mut theirs, code, &reason).await,
            }
        });
    }
}

#[test]
fn a_mebibyte_is_echoed_by_them() {
    for role in ROLES {
        let (mut ours, mut theirs) = connected(role, (Manner { capacity: 10_000, ..Manner::GOOD }, Manner::GOOD));
        let data = pattern(MIB);
        let echo = async {
            while let Some(message) = theirs.next().await {
                match message.unwrap() {
                    message @ Message::Binary(_) => theirs.send(message).await.unwrap(),
                    message => assert!(matches!(message, Message::Close(Some(_)))),
                }
            }
        };
        let talk = async {
            let mut got = Vec::new();
            exchange(&mut ours, std::slice::from_ref(&data), MIB, &mut got).await.unwrap();
            assert!(got == data);
            ours.close().await.unwrap();
            read_end(&mut ours).await.unwrap();
        };
        block_on(zip(echo, talk));
    }
}

#[test]
fn a_mebibyte_in_one_message_is_echoed_by_us() {
    for role in ROLES {
        let (mut ours, theirs) = connected(role, (Manner { capacity: 10_000, ..Manner::GOOD }, Manner::GOOD));
        let data = pattern(MIB);
        let echo = async {
            let mut buf = vec![0; 10_000];
            loop {
                match ours.read(&mut buf).await.unwrap() {
                    0 => break ours.close().await.unwrap(),
                    len => ours.write_all(&buf[..len]).await.unwrap(),
                }
            }
        };
        let (mut sender, mut receiver) = theirs.split();
        let talk = async {
            let mut received = Received::default();
            let receive = async {
                while received.data.len() < MIB {
                    received.next(&mut receiver).await;
                }
            };
            let message = [(data.clone(), false)];
            zip(send(&mut sender, &message), receive).await;
            assert!(received.data == data);
            sender.close(None).await.unwrap();
            assert_eq!(receiver.next().await.unwrap().unwrap(), Message::Close(None));
        };
        block_on(zip(echo, talk));
        assert_eq!(ours.closed().unwrap().code(), None);
    }
}

#[test]
fn handshakes_over_hostile_pipes_lead_to_streams() {
    for role in ROLES {
        for manner in [Manner::GOOD, Manner::HOSTILE, Manner { capacity: 7, ..Manner::HOSTILE }] {
            block_on(async {
                let (mut ours, mut theirs) = shaken(role, manner).await;
                let talk = async {
                    // Pieces that are not flushed between share a message, or are several: it is one stream.
                    for piece in pattern(1000).chunks(10) {
                        ours.write_all(piece).await.unwrap();
                    }
                    let mut buf = [0; 1000];
                    ours.read_exact(&mut buf).await.unwrap();
                    assert_eq!(buf[..], pattern(1000));
                };
                let echo = async {
                    let mut got = Vec::new();
                    while got.len() < 1000 {
                        match theirs.next().await.unwrap().unwrap() {
                            Message::Binary(bytes) => got.extend_from_slice(&bytes),
                            message => panic!("{message:?} is nothing we send"),
                        }
                    }
                    theirs.send(Message::binary(got)).await.unwrap();
                };
                zip(talk, echo).await;
                we_close(&mut ours, &mut theirs, 1001, "going away").await;
            });
        }
    }
}

#[test]
fn a_text_message_of_theirs_is_answered_with_1003() {
    for role in ROLES {
        let (mut ours, mut theirs) = connected(role, (Manner::HOSTILE, Manner::HOSTILE));
        let talk = async {
            theirs.send(Message::text("hello")).await.unwrap();
            match theirs.next().await.unwrap().unwrap() {
                Message::Close(Some(frame)) => assert_eq!(frame.code, CloseCode::Unsupported),
                message => panic!("{message:?} is no Close"),
            }
        };
        let read = async {
            let error = ours.read(&mut [0; 10]).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
            ours.close().await.unwrap();
        };
        block_on(zip(talk, read));
    }
}

#[test]
fn a_dropped_end_of_theirs_is_a_cut_and_not_an_end() {
    for role in ROLES {
        let (mut ours, mut theirs) = connected(role, (Manner::GOOD, Manner::GOOD));
        block_on(theirs.send(Message::binary(vec![1, 2, 3]))).unwrap();
        drop(theirs);
        let mut buf = [0; 10];
        assert_eq!(block_on(ours.read(&mut buf)).unwrap(), 3);
        assert_eq!(block_on(ours.read(&mut buf)).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
