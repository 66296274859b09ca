//! CPU time of both ends together, ours against raw TCP, raw TLS and peers, in interleaved rounds on one CPU.
//!
//! ```console
//! $ cd bench-peers && cargo run --release -- --rounds 15 --mib 128
//! ```
//!
//! Everything is measured in every round, one row after the other, and a row's figure in a round is divided by its
//! limit's figure in the same round; the median of these ratios is what is printed. So other work on the machine, which
//! comes and goes, cancels out. A Markdown table goes to standard output, one JSON line per point to `--json FILE`.
//!
//! Options: `--rounds N` (7), `--mib N` moved per point (64), `--cpu N` to be pinned to (0), `--json FILE`, `--only TEXT`
//! (points whose name contains it, such as `ws/c2s/65536`), `--rows TEXT` (rows whose name contains it; limits stay).

#[path = "../../benches/common/mod.rs"]
mod common;
mod peers;

use std::fmt::Write as _;
use std::fs;
use std::process::ExitCode;
use std::time::Instant;

use common::{Certificate, Direction, Ours, Pair, RawNative, RawRustls, buffered};
use rustix::thread::{CpuSet, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};
use ws_transport::tls::Backend;

/// Bytes per write, or per message of a ping-pong.
const BULK: [usize; 6] = [128, 1024, 4 * 1024, 16 * 1024, 64 * 1024, 1024 * 1024];
const PING: [usize; 3] = [64, 1024, 16 * 1024];

/// Bytes sent each way before a sample, for TCP's windows to open.
const WARM_UP: u64 = 2 << 20;

const GIB: f64 = (1u64 << 30) as f64;

struct Options {
    rounds: usize,
    bytes: u64,
    cpu: usize,
    json: Option<String>,
    only: String,
    rows: String,
}

/// A way to get two connected ends.
struct Row {
    name: &'static str,
    connect: Box<dyn Fn() -> Pair>,
}

/// Rows that are held against the same limits.
struct Group {
    name: &'static str,
    /// The limits come first: raw, and raw with buffered writes.
    rows: Vec<Row>,
}

#[derive(Clone, Copy)]
enum Work {
    Bulk(Direction, usize),
    Ping(usize),
    Handshake,
}

impl Work {
    fn name(self) -> String {
        match self {
            Work::Bulk(direction, size) => format!("{}/{size}", direction.name()),
            Work::Ping(size) => format!("ping/{size}"),
            Work::Handshake => "handshake".to_owned(),
        }
    }

    fn unit(self) -> &'static str {
        match self {
            Work::Bulk(..) => "s/GiB",
            Work::Ping(_) | Work::Handshake => "us",
        }
    }
}

/// What one row took in one round: CPU time and wall time, per GiB or per round trip.
#[derive(Clone, Copy)]
struct Sample {
    cpu: f64,
    wall: f64,
}

fn main() -> ExitCode {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(wrong) => {
            eprintln!("{wrong}; the options are on top of src/main.rs");
            return ExitCode::FAILURE;
        }
    };
    let mut cpus = CpuSet::new();
    cpus.set(options.cpu);
    if let Err(error) = sched_setaffinity(None, &cpus) {
        eprintln!("cannot be pinned to CPU {}: {error}", options.cpu);
        return ExitCode::FAILURE;
    }

    let mut json = String::new();
    for group in groups() {
        let rows: Vec<&Row> = group
            .rows
            .iter()
            .enumerate()
            .filter(|(at, row)| *at < 2 || row.name.contains(&options.rows))
            .map(|(_, row)| row)
            .collect();
        for work in works() {
            let point = format!("{}/{}", group.name, work.name());
            if point.contains(&options.only) {
                measure(&point, work, &rows, &options, &mut json);
            }
        }
    }
    if let Some(file) = &options.json
        && let Err(error) = fs::write(file, json)
    {
        eprintln!("{file}: {error}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn works() -> impl Iterator<Item = Work> {
    let bulk = Direction::BOTH.into_iter().flat_map(|way| BULK.map(|size| Work::Bulk(way, size)));
    bulk.chain(PING.map(Work::Ping)).chain([Work::Handshake])
}

fn groups() -> Vec<Group> {
    let certificate: &'static Certificate = Box::leak(Box::new(Certificate::new()));
    let row = |name, connect: Box<dyn Fn() -> Pair>| Row { name, connect };

    let tcp: &'static _ = Box::leak(Box::new(common::tcp_listener().unwrap()));
    let connect = move || smol::block_on(common::tcp_pair(tcp)).unwrap();
    let ws = Ours::ws();
    let plain = vec![
        row("tcp", Box::new(connect)),
        row("tcp-buffered", Box::new(move || buffered(connect()))),
        row("ours", Box::new(move || smol::block_on(ws.pair()))),
        row("async-tungstenite", Box::new(move || smol::block_on(peers::async_tungstenite(connect())))),
    ];

    // Ours resumes sessions, so the limit has to.
    let raw: &'static _ = Box::leak(Box::new(RawRustls::new(certificate, true).unwrap()));
    let connect = move || smol::block_on(raw.pair()).unwrap();
    let wss = Ours::wss(certificate, Backend::Rustls);
    let rustls = vec![
        row("rustls", Box::new(connect)),
        row("rustls-buffered", Box::new(move || buffered(connect()))),
        row("ours", Box::new(move || smol::block_on(wss.pair()))),
        row("async-tungstenite", Box::new(move || smol::block_on(peers::async_tungstenite(connect())))),
    ];

    let raw: &'static _ = Box::leak(Box::new(RawNative::new(certificate)));
    let connect = move || smol::block_on(raw.pair());
    let wss = Ours::wss(certificate, Backend::NativeTls);
    let native = vec![
        row("native-tls", Box::new(connect)),
        row("native-tls-buffered", Box::new(move || buffered(connect()))),
        row("ours", Box::new(move || smol::block_on(wss.pair()))),
    ];
    vec![
        Group { name: "ws", rows: plain },
        Group { name: "wss-rustls", rows: rustls },
        Group { name: "wss-native", rows: native },
    ]
}

/// Measures the rows in turn, prints a table of their medians, and appends their samples to `json`.
fn measure(point: &str, work: Work, rows: &[&Row], options: &Options, json: &mut String) {
    let mut samples = vec![Vec::new(); rows.len()];
    // The first round warms up and is not counted.
    for round in 0..=options.rounds {
        // In another order each time: what ran before leaves its traces in the caches.
        let mut order: Vec<usize> = (0..rows.len()).collect();
        fastrand::shuffle(&mut order);
        for at in order {
            let sample = run(work, rows[at], options.bytes);
            if round > 0 {
                samples[at].push(sample);
            }
        }
    }

    println!(
        "\n{point}\n\n| row | CPU {0} | wall {0} | x raw | spread | x buffered |\n|---|---|---|---|---|---|",
        work.unit()
    );
    for (row, own) in rows.iter().zip(&samples) {
        let cpu = median(own.iter().map(|sample| sample.cpu));
        let wall = median(own.iter().map(|sample| sample.wall));
        let ratios = |limit: usize| own.iter().zip(&samples[limit]).map(|(own, limit)| own.cpu / limit.cpu);
        let (raw, buffered) = (median(ratios(0)), median(ratios(1)));
        let spread = quartiles(ratios(0));
        println!(
            "| {} | {cpu:.3} | {wall:.3} | {raw:.3} | {:.3}-{:.3} | {buffered:.3} |",
            row.name, spread.0, spread.1
        );
        let list = own.iter().map(|sample| format!("{:.4}", sample.cpu)).collect::<Vec<_>>().join(",");
        let _ = writeln!(
            json,
            r#"{{"point":"{point}","row":"{}","unit":"{}","cpu":{cpu:.4},"wall":{wall:.4},"x_raw":{raw:.4},"x_buffered":{buffered:.4},"samples":[{list}]}}"#,
            row.name,
            work.unit(),
        );
    }
}

/// On a connection of its own: one may be luckier than another in how TCP's windows and the two ends' turns fall.
fn run(work: Work, row: &Row, bytes: u64) -> Sample {
    let pair = &mut (row.connect)();
    common::ping_pong(pair, 1024, 16);
    common::transfer(pair, Direction::ClientToServer, 16 * 1024, WARM_UP);
    common::transfer(pair, Direction::ServerToClient, 16 * 1024, WARM_UP);
    let (cpu, wall) = (cpu_seconds(), Instant::now());
    let units = match work {
        Work::Bulk(direction, size) => {
            // Small raw writes take ten times as long each byte.
            let bytes = if size < 1024 { bytes / 4 } else { bytes };
            assert_eq!(common::transfer(pair, direction, size, bytes), bytes);
            bytes as f64 / GIB
        }
        Work::Ping(size) => {
            let times = bytes / (64 * 1024);
            common::ping_pong(pair, size, times);
            times as f64 / 1e6
        }
        Work::Handshake => {
            let times = (bytes >> 20).max(1);
            for _ in 0..times {
                let mut pair = (row.connect)();
                // Ours have exchanged a request and a response by now.
                if row.name != "ours" && row.name != "async-tungstenite" {
                    smol::block_on(common::greet(&mut pair));
                }
            }
            times as f64 / 1e6
        }
    };
    Sample { cpu: (cpu_seconds() - cpu) / units, wall: wall.elapsed().as_secs_f64() / units }
}

/// User and system time of all threads of this process.
fn cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    at(values, 0.5)
}

fn quartiles(values: impl Iterator<Item = f64> + Clone) -> (f64, f64) {
    (at(values.clone(), 0.25), at(values, 0.75))
}

fn at(values: impl Iterator<Item = f64>, part: f64) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let last = values.len().saturating_sub(1) as f64;
    let (low, high) = ((last * part).floor() as usize, (last * part).ceil() as usize);
    (values[low] + values[high]) / 2.0
}

impl Options {
    fn parse(mut args: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options =
            Options { rounds: 7, bytes: 64 << 20, cpu: 0, json: None, only: String::new(), rows: String::new() };
        while let Some(name) = args.next() {
            let value = args.next().ok_or_else(|| format!("{name} wants a value"))?;
            let number = || value.parse::<usize>().map_err(|error| format!("{name} {value}: {error}"));
            match name.as_str() {
                "--rounds" => options.rounds = number()?.max(1),
                "--mib" => options.bytes = (number()?.max(1) as u64) << 20,
                "--cpu" => options.cpu = number()?,
                "--json" => options.json = Some(value),
                "--only" => options.only = value,
                "--rows" => options.rows = value,
                _ => return Err(format!("{name} is unknown")),
            }
        }
        Ok(options)
    }
}
