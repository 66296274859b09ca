//! The full stack, noise and yamux on top: ours, through `Upgrader` and through the adapter, beside rust-libp2p's on TCP
//! and on its WebSocket, in the same run. Wall time of both ends on one thread; one stream.
//!
//! `setup` is the time to the first byte: from the dial until a byte has come back from the other end
//! (and the connection is dropped).

use std::time::{Duration, Instant};

use bench_peers::common::Direction;
use bench_peers::stack::ROWS;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

/// Bytes per iteration.
const TOTAL: u64 = 4 << 20;

const SIZES: [usize; 3] = [4 * 1024, 64 * 1024, 1024 * 1024];

fn throughput(c: &mut Criterion) {
    let stacks = ROWS.map(|(name, new)| (name, new()));
    for direction in Direction::BOTH {
        let mut group = c.benchmark_group(format!("stack/{}", direction.name()));
        group.sample_size(20).measurement_time(Duration::from_secs(3)).throughput(Throughput::Bytes(TOTAL));
        for size in SIZES {
            for (name, stack) in &stacks {
                let mut ends = None;
                group.bench_function(BenchmarkId::new(*name, size), |b| {
                    let ends = ends.get_or_insert_with(|| stack.connect());
                    b.iter_custom(|iterations| {
                        let total = iterations * TOTAL;
                        let start = Instant::now();
                        let moved = ends.transfer(direction, size, total);
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

fn setup(c: &mut Criterion) {
    let mut group = c.benchmark_group("stack/setup");
    for (name, new) in ROWS {
        let stack = new();
        group.bench_function(name, |b| {
            b.iter_custom(|iterations| {
                let start = Instant::now();
                stack.set_up(iterations);
                start.elapsed()
            });
        });
    }
    group.finish();
}

criterion_group!(benches, throughput, setup);
criterion_main!(benches);
