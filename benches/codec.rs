//! The protocol apart from IO: frames into bytes, bytes into frames, and the mask, beside a copy of the same bytes.

use std::hint::black_box;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ws_transport::proto::{Decoder, Encoder, Event, Mask, Role};

/// Bytes per message; the largest takes two frames.
const SIZES: [usize; 5] = [128, 1024, 4 * 1024, 16 * 1024, 64 * 1024];

/// Most bytes of a message in a frame.
const FRAME: usize = 65_535;

/// Bytes per iteration.
const TOTAL: usize = 1024 * 1024;

const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

const ROLES: [(&str, Role); 2] = [("client", Role::Client), ("server", Role::Server)];

/// Hands the frames of a message to `sink`, as many as it takes, and says how many bytes of the message they carry.
fn encode(encoder: &mut Encoder, message: &[u8], mut sink: impl FnMut(&[u8])) -> usize {
    let mut at = 0;
    while at < message.len() {
        at += encoder.write(&message[at..], || KEY);
        encoder.seal();
        sink(encoder.output());
        encoder.advance(encoder.output().len());
    }
    at
}

fn encoder(role: Role) -> Encoder {
    let mut encoder = Encoder::new(role);
    encoder.attach(vec![0; 128 * 1024].into());
    encoder
}

/// Takes the payload out of received frames and says how long it was.
fn decode(decoder: &mut Decoder, wire: &[u8], to: &mut [u8]) -> usize {
    let (mut at, mut payload) = (0, 0);
    loop {
        let (used, event) = decoder.decode(&wire[at..]).unwrap();
        at += used;
        match event {
            Some(Event::Payload(len)) => {
                let len = decoder.unmask_into(&wire[at..at + len], to);
                at += len;
                payload += len;
            }
            Some(_) => {}
            None => return payload,
        }
    }
}

/// The limit: as many bytes copied, a message at a time.
fn copying(group: &mut BenchmarkGroup<'_, WallTime>, size: usize) {
    let (from, mut to) = (vec![0x5a; TOTAL], vec![0; size]);
    group.bench_function(BenchmarkId::new("copy", size), |b| {
        b.iter(|| {
            for message in black_box(&from).chunks_exact(size) {
                black_box(&mut to).copy_from_slice(message);
            }
        });
    });
}

fn encoding(c: &mut Criterion) {
    let mut group = c.benchmark_group("codec/encode");
    group.throughput(Throughput::Bytes(TOTAL as u64));
    for size in SIZES {
        let message = vec![0x5a; size];
        copying(&mut group, size);
        for (name, role) in ROLES {
            let mut encoder = encoder(role);
            group.bench_function(BenchmarkId::new(name, size), |b| {
                b.iter(|| {
                    let mut taken = 0;
                    for _ in 0..TOTAL / size {
                        taken += encode(&mut encoder, black_box(&message), |frames| {
                            black_box(frames);
                        });
                    }
                    assert_eq!(taken, TOTAL);
                });
            });
        }
    }
    group.finish();
}

fn decoding(c: &mut Criterion) {
    let mut group = c.benchmark_group("codec/decode");
    group.throughput(Throughput::Bytes(TOTAL as u64));
    for size in SIZES {
        let (message, mut to) = (vec![0x5a; size], vec![0; size]);
        copying(&mut group, size);
        for ((name, role), (_, peer)) in ROLES.into_iter().zip(ROLES.into_iter().rev()) {
            let (mut wire, mut encoder) = (Vec::new(), encoder(peer));
            for _ in 0..TOTAL / size {
                encode(&mut encoder, &message, |frames| wire.extend_from_slice(frames));
            }
            let mut decoder = Decoder::new(role);
            group.bench_function(BenchmarkId::new(name, size), |b| {
                b.iter(|| assert_eq!(decode(&mut decoder, black_box(&wire), &mut to), TOTAL));
                assert!(to.starts_with(&message[..size.min(FRAME)]));
            });
        }
    }
    group.finish();
}

fn masking(c: &mut Criterion) {
    let mut group = c.benchmark_group("codec/mask");
    for size in SIZES {
        group.throughput(Throughput::Bytes(size as u64));
        let from = vec![0x5a; size];
        let mut to = vec![0; size];
        group.bench_function(BenchmarkId::new("memcpy", size), |b| {
            b.iter(|| black_box(&mut to).copy_from_slice(black_box(&from)));
        });
        group.bench_function(BenchmarkId::new("copy", size), |b| {
            b.iter(|| Mask::new(KEY).copy(black_box(&from), black_box(&mut to)));
            assert!(to.iter().zip(KEY.iter().cycle()).all(|(byte, key)| byte ^ key == 0x5a));
        });
        group.bench_function(BenchmarkId::new("in-place", size), |b| {
            b.iter(|| Mask::new(KEY).apply(black_box(&mut to)));
        });
    }
    group.finish();
}

criterion_group!(benches, encoding, decoding, masking);
criterion_main!(benches);
