//! What the byte stream costs in allocations over TLS, beyond the TLS session's own.
//!
//! OpenSSL's memory does not pass through Rust's allocator, so over native-tls all that is counted is ours. rustls
//! allocates for each record, so there the same messages go over the bare session too.
#![cfg(any(feature = "rustls", feature = "native-tls"))]

mod common;
#[path = "common/heap.rs"]
mod heap;

use common::pipe::{End, Manner, pipe};
use futures_lite::future::{block_on, zip};
use futures_lite::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use heap::{Since, apart};
use ws_transport::proto::Role;
use ws_transport::tls::{Acceptor, Backend, Connector, MaybeTls};
use ws_transport::{StreamConfig, WsStream};

/// Messages that fill less than a record, one, some, and several frames; pipes that take all at once, and that do not.
const MESSAGES: [usize; 5] = [64, 1024, 16 * 1024, 64 * 1024, 300_000];
const CAPACITIES: [usize; 2] = [1 << 20, 10_000];
const TIMES: u32 = 20;

/// A client and a server, over a pipe of this capacity that allocates nothing.
fn connected(backend: Backend, capacity: usize) -> (MaybeTls<End>, MaybeTls<End>) {
    let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let connector = Connector::builder().pem_roots(own.cert.pem()).build_with(backend).unwrap();
    let acceptor = Acceptor::builder(own.cert.pem(), own.signing_key.serialize_pem()).build_with(backend).unwrap();
    let manner = Manner { capacity, ..Manner::GOOD };
    let (mut client, mut server) = pipe(manner, manner);
    client.reserve(1 << 20);
    server.reserve(1 << 20);
    let (client, server) = block_on(zip(connector.connect("localhost", client), acceptor.accept(server)));
    (client.unwrap(), server.unwrap())
}

fn streams((client, server): (MaybeTls<End>, MaybeTls<End>)) -> (WsStream<MaybeTls<End>>, WsStream<MaybeTls<End>>) {
    let stream = |io, role| WsStream::new(io, role, Vec::new(), StreamConfig::new()).borrow_from_tls();
    (stream(client, Role::Client), stream(server, Role::Server))
}

/// How often the heap is asked for something while so many bytes are written, flushed and read, [`TIMES`] times: on the
/// way there, and back.
fn allocations<IO>((mut client, mut server): (IO, IO), len: usize) -> [u64; 2]
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let (data, mut buf) = (vec![7; len], vec![0; len]);
    let mut one_way = |from: &mut IO, to: &mut IO| {
        let mut run = |times| {
            for _ in 0..times {
                let write = async {
                    from.write_all(&data).await.unwrap();
                    from.flush().await.unwrap();
                };
                block_on(zip(write, to.read_exact(&mut buf))).1.unwrap();
            }
        };
        run(8);
        let since = Since::now();
        run(TIMES);
        since.allocations()
    };
    [one_way(&mut client, &mut server), one_way(&mut server, &mut client)]
}

fn for_each_case(test: impl Fn(usize, usize) + Send + 'static) {
    apart(move || {
        for len in MESSAGES {
            CAPACITIES.into_iter().for_each(|capacity| test(len, capacity));
        }
    });
}

#[cfg(feature = "native-tls")]
#[test]
fn over_native_tls_data_costs_no_allocation() {
    for_each_case(|len, capacity| {
        let ours = allocations(streams(connected(Backend::NativeTls, capacity)), len);
        assert_eq!(ours, [0, 0], "{len} bytes, {capacity} at a time");
    });
}

#[cfg(feature = "rustls")]
#[test]
fn over_rustls_data_costs_no_allocation_but_those_of_its_records() {
    for_each_case(|len, capacity| {
        let bare = allocations(connected(Backend::Rustls, capacity), len);
        let ours = allocations(streams(connected(Backend::Rustls, capacity)), len);
        // A frame of up to 62 KiB may reach into a record more than its payload alone, by its header; one is sealed into a
        // buffer and opened into another.
        let frames = if len < 16 * 1024 { 0 } else { len.div_ceil(62 * 1024) as u64 };
        let most = bare.map(|bare| bare + u64::from(TIMES) * 2 * frames);
        assert!(ours[0] <= most[0] && ours[1] <= most[1], "{len} bytes: {ours:?}, bare {bare:?}");
    });
}
