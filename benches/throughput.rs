//! Bytes per second through one connection, both ends on one thread, beside raw TCP and raw TLS in the same run.

mod common;

use std::time::Instant;

use common::{Certificate, Direction, Ours, Pair, RawNative, RawRustls, buffered};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ws_transport::tls::Backend;

/// Bytes per write.
const SIZES: [usize; 6] = [64, 1024, 4 * 1024, 16 * 1024, 64 * 1024, 1024 * 1024];

/// Bytes per iteration: one write of the largest size.
const TOTAL: u64 = 1024 * 1024;

/// Makes a fresh pair of connected ends.
type Connect<'a> = Box<dyn Fn() -> Pair + 'a>;

fn ws(c: &mut Criterion) {
    let listener = common::tcp_listener().unwrap();
    let ours = Ours::ws();
    let rows: [(&str, Connect<'_>); 3] = [
        ("tcp", Box::new(|| smol::block_on(common::tcp_pair(&listener)).unwrap())),
        ("tcp-buffered", Box::new(|| buffered(smol::block_on(common::tcp_pair(&listener)).unwrap()))),
        ("ws", Box::new(|| smol::block_on(ours.pair()))),
    ];
    bench(c, "ws", &rows);
}

fn wss_rustls(c: &mut Criterion) {
    if !Backend::compiled_in().contains(&Backend::Rustls) {
        return;
    }
    let certificate = Certificate::new();
    let raw = RawRustls::new(&certificate, false).unwrap();
    let ours = Ours::wss(&certificate, Backend::Rustls);
    let rows: [(&str, Connect<'_>); 3] = [
        ("rustls", Box::new(|| smol::block_on(raw.pair()).unwrap())),
        ("rustls-buffered", Box::new(|| buffered(smol::block_on(raw.pair()).unwrap()))),
        ("wss", Box::new(|| smol::block_on(ours.pair()))),
    ];
    bench(c, "wss-rustls", &rows);
}

fn wss_native(c: &mut Criterion) {
    if !Backend::compiled_in().contains(&Backend::NativeTls) {
        return;
    }
    let certificate = Certificate::new();
    let raw = RawNative::new(&certificate);
    let ours = Ours::wss(&certificate, Backend::NativeTls);
    let rows: [(&str, Connect<'_>); 3] = [
        ("native-tls", Box::new(|| smol::block_on(raw.pair()))),
        ("native-tls-buffered", Box::new(|| buffered(smol::block_on(raw.pair())))),
        ("wss", Box::new(|| smol::block_on(ours.pair()))),
    ];
    bench(c, "wss-native-tls", &rows);
}

fn bench(c: &mut Criterion, name: &str, rows: &[(&str, Connect<'_>)]) {
    for direction in Direction::BOTH {
        let mut group = c.benchmark_group(format!("{name}/{}", direction.name()));
        group.throughput(Throughput::Bytes(TOTAL));
        for size in SIZES {
            for (row, connect) in rows {
                let mut pair = connect();
                group.bench_function(BenchmarkId::new(*row, size), |b| {
                    b.iter_custom(|iterations| {
                        let total = iterations * TOTAL;
                        let start = Instant::now();
                        let moved = common::transfer(&mut pair, direction, size, total);
                        let took = start.elapsed();
                        assert_eq!(moved, total);
                        took
                    });
                });
            }
        }
        group.finish();
    }
}

criterion_group!(benches, ws, wss_rustls, wss_native);
criterion_main!(benches);
