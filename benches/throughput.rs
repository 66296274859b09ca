//! Bytes per second, both ends on one thread, beside raw TCP and raw TLS in the same run: through one connection by size of
//! the writes, there and back in turns, and through many connections at once.

mod common;

use std::slice;
use std::time::Instant;

use common::{Direction, Pair};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

/// Bytes per write.
const SIZES: [usize; 6] = [128, 1024, 4 * 1024, 16 * 1024, 64 * 1024, 1024 * 1024];

/// Bytes per message that goes there and back.
const PING: [usize; 3] = [64, 1024, 16 * 1024];

/// Connections at a time.
const MANY: [usize; 3] = [1, 100, 1000];

/// Bytes per iteration: one write of the largest size, or one of this size over each of the most connections.
const TOTAL: u64 = 1024 * 1024;
const MANY_WRITE: usize = 16 * 1024;
const MANY_TOTAL: u64 = 1000 * MANY_WRITE as u64;

fn bulk(c: &mut Criterion) {
    for (name, rows) in common::groups() {
        for direction in Direction::BOTH {
            let mut group = c.benchmark_group(format!("{name}/{}", direction.name()));
            group.throughput(Throughput::Bytes(TOTAL));
            for size in SIZES {
                for (row, connect) in &rows {
                    let mut pair = None;
                    group.bench_function(BenchmarkId::new(*row, size), |b| {
                        let pair = pair.get_or_insert_with(connect);
                        b.iter_custom(|iterations| {
                            let start = Instant::now();
                            let moved = transfer(slice::from_mut(pair), direction, size, iterations * TOTAL);
                            let took = start.elapsed();
                            assert_eq!(moved, iterations * TOTAL);
                            took
                        });
                    });
                }
            }
            group.finish();
        }
    }
}

fn ping_pong(c: &mut Criterion) {
    for (name, rows) in common::groups() {
        let mut group = c.benchmark_group(format!("{name}/ping"));
        for size in PING {
            for (row, connect) in &rows {
                // Nothing to gain: what is written is flushed at once.
                if row.ends_with("-buffered") {
                    continue;
                }
                let mut pair = None;
                group.bench_function(BenchmarkId::new(*row, size), |b| {
                    let pair = pair.get_or_insert_with(connect);
                    b.iter_custom(|iterations| {
                        let start = Instant::now();
                        smol::block_on(common::ping_pong(pair, size, iterations));
                        start.elapsed()
                    });
                });
            }
        }
        group.finish();
    }
}

fn many(c: &mut Criterion) {
    common::allow_descriptors();
    for (name, rows) in common::groups() {
        let mut group = c.benchmark_group(format!("{name}/many"));
        group.sample_size(20).throughput(Throughput::Bytes(MANY_TOTAL));
        for connections in MANY {
            for (row, connect) in &rows {
                if row.ends_with("-buffered") {
                    continue;
                }
                let mut pairs = Vec::new();
                group.bench_function(BenchmarkId::new(*row, connections), |b| {
                    pairs.resize_with(connections, connect);
                    b.iter_custom(|iterations| {
                        let each = iterations * MANY_TOTAL / connections as u64;
                        let start = Instant::now();
                        let moved = transfer(&mut pairs, Direction::ClientToServer, MANY_WRITE, each);
                        let took = start.elapsed();
                        assert_eq!(moved, iterations * MANY_TOTAL);
                        took
                    });
                });
            }
        }
        group.finish();
    }
}

fn transfer(pairs: &mut [Pair], direction: Direction, size: usize, each: u64) -> u64 {
    smol::block_on(common::transfer(pairs, direction, size, each))
}

criterion_group!(benches, bulk, ping_pong, many);
criterion_main!(benches);
