//! How many times each end sends until the WebSocket is open.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use futures_lite::future::{block_on, zip};
use futures_lite::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::tls::{Acceptor, Connector};

/// What one end has sent: every write by itself, until the other end has read it.
#[derive(Default)]
struct Lane {
    bytes: VecDeque<u8>,
    writes: usize,
}

struct End {
    incoming: Rc<RefCell<Lane>>,
    outgoing: Rc<RefCell<Lane>>,
}

impl AsyncRead for End {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut lane = self.incoming.borrow_mut();
        if lane.bytes.is_empty() {
            // The two ends take turns in one task.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(io::Read::read(&mut lane.bytes, buf))
    }
}

impl AsyncWrite for End {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(self: Pin<&mut Self>, _: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let mut lane = self.outgoing.borrow_mut();
        lane.writes += 1;
        Poll::Ready(io::Write::write_vectored(&mut lane.bytes, bufs))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[test]
fn the_last_messages_of_a_handshake_share_a_packet_with_the_first_of_what_follows() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let chain = made.cert.pem();
    let acceptor = Acceptor::builder(chain.as_str(), made.signing_key.serialize_pem()).rustls().unwrap();
    let connector = Connector::builder().pem_roots(chain).rustls().unwrap();

    let (there, back) = <(Rc<RefCell<Lane>>, Rc<RefCell<Lane>>)>::default();
    let client = End { incoming: back.clone(), outgoing: there.clone() };
    let server = End { incoming: there.clone(), outgoing: back.clone() };
    let sends = || (there.borrow().writes, back.borrow().writes);
    block_on(async {
        let connect = connector.connect_unflushed("localhost", client);
        let accept = async {
            let mut server = acceptor.accept_unflushed(server).await.unwrap();
            server.read_exact(&mut [0; 7]).await.unwrap();
            server.write_all(b"answer").await.unwrap();
            server.flush().await.unwrap();
            // Its hello with all that follows it; the session ticket with the answer.
            assert_eq!(sends().1, 2);
        };
        let ask = async {
            let mut client = connect.await.unwrap();
            // Its hello.
            assert_eq!(sends().0, 1);
            client.write_all(b"request").await.unwrap();
            client.flush().await.unwrap();
            client.read_exact(&mut [0; 6]).await.unwrap();
            // What ends the handshake, with the request.
            assert_eq!(sends().0, 2);
        };
        zip(ask, accept).await;
    });
}
