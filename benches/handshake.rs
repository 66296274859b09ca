//! Time for a dial and the accept that meets it, beside a bare connection and bare TLS in the same run.
//!
//! The bare ones send one byte each way, as the upgrade sends a request and a response.

mod common;

use std::time::{Duration, Instant};

use common::{Certificate, Ours, RawRustls};
use criterion::{Criterion, criterion_group, criterion_main};
use ws_transport::tls::Backend;

fn ws(c: &mut Criterion) {
    let mut group = c.benchmark_group("handshake/ws");
    let listener = common::tcp_listener().unwrap();
    group.bench_function("tcp", |b| {
        b.iter(|| {
            smol::block_on(async {
                let mut pair = common::tcp_pair(&listener).await.unwrap();
                common::greet(&mut pair).await;
                pair
            })
        });
    });
    let ours = Ours::ws();
    group.bench_function("ws", |b| b.iter(|| smol::block_on(ours.connections())));
    group.finish();
}

fn wss(c: &mut Criterion) {
    let certificate = Certificate::new();
    for &backend in Backend::compiled_in() {
        let mut group = c.benchmark_group(format!("handshake/wss-{backend}"));
        let mut ours = Ours::wss(&certificate, backend);
        group.bench_function("wss", |b| {
            b.iter_custom(|iterations| {
                let mut took = Duration::ZERO;
                for _ in 0..iterations {
                    ours.forget_sessions(&certificate, backend);
                    let start = Instant::now();
                    let pair = smol::block_on(ours.connections());
                    took += start.elapsed();
                    assert!(pair.0.get_ref().is_tls());
                }
                took
            });
        });
        if backend == Backend::Rustls {
            for (name, resume) in [("rustls", false), ("rustls-resumed", true)] {
                let raw = RawRustls::new(&certificate, resume).unwrap();
                group.bench_function(name, |b| {
                    b.iter(|| {
                        smol::block_on(async {
                            let mut pair = raw.pair().await.unwrap();
                            common::greet(&mut pair).await;
                            pair
                        })
                    });
                });
            }
            group.bench_function("wss-resumed", |b| b.iter(|| smol::block_on(ours.connections())));
        }
        group.finish();
    }
}

criterion_group!(benches, ws, wss);
criterion_main!(benches);
