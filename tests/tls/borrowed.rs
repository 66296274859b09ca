//! A WebSocket stream that reads from the TLS session's own memory behaves as one that copies.

use std::io;

use futures_lite::future::{block_on, zip};
use futures_lite::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
use ws_transport::proto::{OpCode, Role};
use ws_transport::tls::{Backend, MaybeTls};
use ws_transport::{StreamConfig, WsStream};

use super::stream::for_each_end;
use crate::common::pipe::End;
use crate::{GOOD, connected, noise};

fn over(io: MaybeTls<End>, role: Role, borrow: bool) -> WsStream<MaybeTls<End>> {
    let stream = WsStream::new(io, role, Vec::new(), StreamConfig::new());
    if borrow { stream.borrow_from_tls() } else { stream }
}

/// A frame as a client sends it, masked with nothing.
fn frame(opcode: OpCode, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; ws_transport::proto::Header::MAX_LEN];
    let header = ws_transport::proto::Header { fin: true, opcode, mask: Some([0; 4]), len: payload.len() as u64 };
    let len = header.encode(bytes.as_mut_slice().try_into().unwrap());
    bytes.truncate(len);
    bytes.extend_from_slice(payload);
    bytes
}

/// What a server's stream reads when these bytes come inside TLS and then the connection is cut: payload, then the kind.
async fn reading(
    ours: MaybeTls<End>,
    mut theirs: MaybeTls<End>,
    wire: &[u8],
    cut: bool,
    size: usize,
    borrow: bool,
) -> (Vec<u8>, [Result<usize, io::ErrorKind>; 2]) {
    let mut stream = over(ours, Role::Server, borrow);
    let send = async {
        theirs.write_all(wire).await.unwrap();
        theirs.flush().await.unwrap();
        if !cut {
            theirs.close().await.unwrap();
        }
        theirs
    };
    let receive = async {
        let (mut got, mut buf) = (Vec::new(), vec![0; size]);
        loop {
            match stream.read(&mut buf).await {
                Ok(len) if len > 0 => got.extend_from_slice(&buf[..len]),
                first => {
                    let second = stream.read(&mut buf).await;
                    break (got, [first, second].map(|result| result.map_err(|error| error.kind())));
                }
            }
        }
    };
    if cut {
        drop(send.await);
        receive.await
    } else {
        zip(send, receive).await.1
    }
}

#[test]
fn all_ends_and_errors_are_those_of_a_stream_that_copies() {
    let data = frame(OpCode::Binary, b"some data");
    let cases: [(&str, Vec<u8>, Result<usize, io::ErrorKind>); 5] = [
        ("nothing more", data.clone(), Err(io::ErrorKind::UnexpectedEof)),
        ("half a frame", frame(OpCode::Binary, &[7; 900])[..500].to_vec(), Err(io::ErrorKind::UnexpectedEof)),
        ("a Close", [&data[..], &frame(OpCode::Close, &[3, 232])].concat(), Ok(0)),
        ("trouble", [&data[..], &frame(OpCode::Close, &[3, 243])].concat(), Err(io::ErrorKind::ConnectionAborted)),
        ("a violation", [&data[..], &[0xff; 20]].concat(), Err(io::ErrorKind::InvalidData)),
    ];
    for (name, wire, expected) in &cases {
        for cut in [true, false] {
            for size in [1, 100_000] {
                let [borrowed, copied] = [true, false].map(|borrow| {
                    block_on(async {
                        let (theirs, ours) = connected(Backend::Rustls, Backend::Rustls, GOOD).await;
                        reading(ours, theirs, wire, cut, size, borrow).await
                    })
                });
                assert_eq!(borrowed, copied, "{name}, cut: {cut}, reads of {size}");
                assert_eq!(borrowed.1, [*expected; 2], "{name}");
            }
        }
    }
}

#[test]
fn a_violation_of_tls_is_invalid_data() {
    for borrow in [true, false] {
        for_each_end(async |ours, mut theirs| {
            theirs.get_mut().write_all(b"\x17\x03\x03\x00\x20................................").await.unwrap();
            let mut stream = over(ours, Role::Server, borrow);
            for _ in 0..2 {
                assert_eq!(stream.read(&mut [0; 10]).await.unwrap_err().kind(), io::ErrorKind::InvalidData);
            }
            // The alert has left.
            assert_eq!(theirs.read(&mut [0; 1]).await.unwrap_err().kind(), io::ErrorKind::InvalidData);
        });
    }
}

#[test]
fn reads_of_all_sizes_and_lines_can_be_mixed() {
    for_each_end(async |ours, theirs| {
        let (mut ours, mut theirs) = (over(ours, Role::Client, true), over(theirs, Role::Server, true));
        let data: Vec<u8> = noise(300_000, 9);
        let send = async {
            for part in data.chunks(30_011) {
                theirs.write_all(part).await.unwrap();
            }
            theirs.close().await.unwrap();
        };
        let receive = async {
            let mut got = Vec::new();
            for size in [1, 3, 70_000, 2, 8_192, 16_384, 5].into_iter().cycle() {
                // By the buffer of the stream, then past it.
                let held = ours.fill_buf().await.unwrap();
                let len = held.len().min(size);
                got.extend_from_slice(&held[..len]);
                ours.consume(len);
                let mut buf = vec![0; size];
                let len = ours.read(&mut buf).await.unwrap();
                got.extend_from_slice(&buf[..len]);
                if len == 0 {
                    break;
                }
            }
            got
        };
        let ((), got) = zip(send, receive).await;
        assert!(got == data, "{} of {}", got.len(), data.len());
    });
}
