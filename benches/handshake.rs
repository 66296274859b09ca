//! Time for a dial and the accept that meets it, beside a bare connection and bare TLS in the same run.
//!
//! The bare ones send one byte each way, as the upgrade sends a request and a response. All connections of a sample are
//! made one after the other in one `block_on`: with one for each, async-io's own thread would take over the reactor between
//! two, and have to be waited for; which falls on whoever waits more often.

mod common;

use std::hint::black_box;
use std::time::{Duration, Instant};

use common::{Certificate, Ours, RawNative, RawRustls};
use criterion::{Criterion, criterion_group, criterion_main};
use ws_transport::tls::Backend;

/// Connects so many times, and says how long that took.
async fn time<T>(iterations: u64, mut connect: impl AsyncFnMut() -> T) -> Duration {
    let start = Instant::now();
    for _ in 0..iterations {
        black_box(connect().await);
    }
    start.elapsed()
}

fn ws(c: &mut Criterion) {
    let mut group = c.benchmark_group("handshake/ws");
    let listener = common::tcp_listener().unwrap();
    let tcp = async || {
        let mut pair = common::tcp_pair(&listener).await.unwrap();
        common::greet(&mut pair).await;
        pair
    };
    group.bench_function("tcp", |b| b.iter_custom(|iterations| smol::block_on(time(iterations, tcp))));
    let ours = Ours::ws();
    let ours = async || ours.connections().await;
    group.bench_function("ours", |b| b.iter_custom(|iterations| smol::block_on(time(iterations, ours))));
    group.finish();
}

fn wss(c: &mut Criterion) {
    let certificate = Certificate::generate();
    for &backend in Backend::compiled_in() {
        let mut group = c.benchmark_group(format!("handshake/wss-{backend}"));
        let ours = Ours::wss(&certificate, backend);
        group.bench_function("ours", |b| {
            b.iter_custom(|iterations| {
                // Made before and dropped after.
                let fresh = (0..iterations).map(|_| common::dialer(&certificate, backend)).collect::<Vec<_>>();
                let mut fresh = fresh.iter();
                let connect = async || {
                    let pair = ours.dialed_by(fresh.next().unwrap()).await;
                    assert!(pair.0.get_ref().is_tls());
                    pair
                };
                smol::block_on(time(iterations, connect))
            });
        });
        match backend {
            Backend::Rustls => {
                for (name, resume) in [("rustls", false), ("rustls-resumed", true)] {
                    let raw = RawRustls::new(&certificate, resume).unwrap();
                    let connect = async || {
                        let mut pair = raw.pair().await.unwrap();
                        common::greet(&mut pair).await;
                        pair
                    };
                    group.bench_function(name, |b| b.iter_custom(|times| smol::block_on(time(times, connect))));
                }
                let connect = async || ours.connections().await;
                group.bench_function("ours-resumed", |b| b.iter_custom(|times| smol::block_on(time(times, connect))));
            }
            _ => {
                let raw = RawNative::new(&certificate);
                let connect = async || {
                    let mut pair = raw.pair().await;
                    common::greet(&mut pair).await;
                    pair
                };
                group.bench_function("native-tls", |b| b.iter_custom(|times| smol::block_on(time(times, connect))));
            }
        }
        group.finish();
    }
}

criterion_group!(benches, ws, wss);
criterion_main!(benches);
