//! CPU time of both ends together, ours against raw TCP, raw TLS and peers, in interleaved rounds on one CPU; and the
//! full stack, noise and yamux on top, against rust-libp2p's.
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
//! (points whose name contains it, such as `ws/c2s/65536` or `stack/`), `--rows TEXT` (rows whose name contains it; limits
//! stay), `--alone NAME` (this row by itself, for profilers: its ratios mean nothing).

#[path = "../../benches/common/mod.rs"]
mod common;
mod peers;
mod smol_tcp;
mod stack;

use std::fmt::Write as _;
use std::fs;
use std::process::ExitCode;
use std::time::Instant;

use common::{Certificate, Direction, Ours, Pair, RawNative, RawRustls, buffered};
use rustix::thread::{CpuSet, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};
use stack::Ends;
use ws_transport::tls::Backend;

/// Bytes per write, or per message of a ping-pong.
const BULK: [usize; 6] = [128, 1024, 4 * 1024, 16 * 1024, 64 * 1024, 1024 * 1024];
const PING: [usize; 3] = [64, 1024, 16 * 1024];

/// Bytes per write through the full stack.
const STACK_BULK: [usize; 3] = [4 * 1024, 64 * 1024, 1024 * 1024];

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
    alone: Option<String>,
}

/// Two connected ends.
enum Connected {
    /// Byte streams.
    Pair(Pair),
    /// Streams of the full stack.
    Ends(Ends),
}

impl Connected {
    fn transfer(&mut self, direction: Direction, size: usize, total: u64) -> u64 {
        match self {
            Connected::Pair(pair) => common::transfer(pair, direction, size, total),
            Connected::Ends(ends) => ends.transfer(direction, size, total),
        }
    }

    fn ping_pong(&mut self, size: usize, times: u64) {
        match self {
            Connected::Pair(pair) => common::ping_pong(pair, size, times),
            Connected::Ends(ends) => ends.ping_pong(size, times),
        }
    }
}

/// A way to get two connected ends.
struct Row {
    name: &'static str,
    connect: Box<dyn Fn() -> Connected>,
    /// Connects so many times; without it, that is left to `connect`.
    set_up: Option<Box<dyn Fn(u64)>>,
}

/// Rows that are held against the same limits.
struct Group {
    name: &'static str,
    /// What the rows are divided by, the first two of them: raw and raw with buffered writes, or rust-libp2p's.
    limits: [&'static str; 2],
    works: Vec<Work>,
    rows: Vec<Row>,
}

/// The limits of a byte stream.
const RAW: [&str; 2] = ["raw", "buffered"];

#[derive(Clone, Copy)]
enum Work {
    Bulk(Direction, usize),
    Ping(usize),
    Handshake,
    /// From the dial to the first byte that has come back through the full stack.
    Setup,
}

impl Work {
    fn name(self) -> String {
        match self {
            Work::Bulk(direction, size) => format!("{}/{size}", direction.name()),
            Work::Ping(size) => format!("ping/{size}"),
            Work::Handshake => "handshake".to_owned(),
            Work::Setup => "setup".to_owned(),
        }
    }

    fn unit(self) -> &'static str {
        match self {
            Work::Bulk(..) => "s/GiB",
            Work::Ping(_) | Work::Handshake | Work::Setup => "us",
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
            .filter(|(at, row)| match &options.alone {
                Some(name) => row.name == name,
                None => *at < 2 || row.name.contains(&options.rows),
            })
            .map(|(_, row)| row)
            .collect();
        for &work in &group.works {
            let point = format!("{}/{}", group.name, work.name());
            if point.contains(&options.only) && !rows.is_empty() {
                measure(&point, work, &group.limits, &rows, &options, &mut json);
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

fn works(bulk: &[usize], ping: &[usize], connect: Work) -> Vec<Work> {
    let bulk = Direction::BOTH.into_iter().flat_map(|way| bulk.iter().map(move |&size| Work::Bulk(way, size)));
    bulk.chain(ping.iter().map(|&size| Work::Ping(size))).chain([connect]).collect()
}

fn groups() -> Vec<Group> {
    let certificate: &'static Certificate = Box::leak(Box::new(Certificate::new()));
    let row = |name, connect: Box<dyn Fn() -> Pair>| Row {
        name,
        connect: Box::new(move || Connected::Pair(connect())),
        set_up: None,
    };
    let stack = |(name, new): (&'static str, stack::New)| {
        let stack: &'static _ = Box::leak(Box::new(new()));
        Row {
            name,
            connect: Box::new(move || Connected::Ends(stack.connect())),
            set_up: Some(Box::new(move |times| stack.set_up(times))),
        }
    };
    let group = |name, rows| Group { name, limits: RAW, works: works(&BULK, &PING, Work::Handshake), rows };

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

    let stacks = Group {
        name: "stack",
        limits: ["websocket", "websocket-smol"],
        works: works(&STACK_BULK, &PING[..1], Work::Setup),
        rows: stack::ROWS.map(stack).into(),
    };
    vec![group("ws", plain), group("wss-rustls", rustls), group("wss-native", native), stacks]
}

/// Measures the rows in turn, prints a table of their medians, and appends their samples to `json`.
fn measure(point: &str, work: Work, limits: &[&str; 2], rows: &[&Row], options: &Options, json: &mut String) {
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
        "\n{point}\n\n| row | CPU {0} | wall {0} | x {1} | spread | x {2} |\n|---|---|---|---|---|---|",
        work.unit(),
        limits[0],
        limits[1],
    );
    for (row, own) in rows.iter().zip(&samples) {
        let cpu = median(own.iter().map(|sample| sample.cpu));
        let wall = median(own.iter().map(|sample| sample.wall));
        let ratios =
            |limit: usize| own.iter().zip(samples.get(limit).unwrap_or(own)).map(|(own, limit)| own.cpu / limit.cpu);
        let (raw, buffered) = (median(ratios(0)), median(ratios(1)));
        let spread = quartiles(ratios(0));
        println!(
            "| {} | {cpu:.3} | {wall:.3} | {raw:.3} | {:.3}-{:.3} | {buffered:.3} |",
            row.name, spread.0, spread.1
        );
        let list = own.iter().map(|sample| format!("{:.4}", sample.cpu)).collect::<Vec<_>>().join(",");
        let _ = writeln!(
            json,
            r#"{{"point":"{point}","row":"{}","unit":"{}","cpu":{cpu:.4},"wall":{wall:.4},"x_{}":{raw:.4},"x_{}":{buffered:.4},"samples":[{list}]}}"#,
            row.name,
            work.unit(),
            limits[0],
            limits[1],
        );
    }
}

/// On a connection of its own: one may be luckier than another in how TCP's windows and the two ends' turns fall.
fn run(work: Work, row: &Row, bytes: u64) -> Sample {
    let warm = || {
        let mut connected = (row.connect)();
        connected.ping_pong(1024, 16);
        connected.transfer(Direction::ClientToServer, 16 * 1024, WARM_UP);
        connected.transfer(Direction::ServerToClient, 16 * 1024, WARM_UP);
        connected
    };
    match work {
        Work::Bulk(direction, size) => {
            // Small raw writes take ten times as long each byte.
            let bytes = if size < 1024 { bytes / 4 } else { bytes };
            let mut connected = warm();
            let meter = Meter::start();
            assert_eq!(connected.transfer(direction, size, bytes), bytes);
            meter.stop(bytes as f64 / GIB)
        }
        Work::Ping(size) => {
            let times = bytes / (64 * 1024);
            let mut connected = warm();
            let meter = Meter::start();
            connected.ping_pong(size, times);
            meter.stop(times as f64 / 1e6)
        }
        Work::Handshake | Work::Setup => {
            let times = (bytes >> 20).max(1);
            let meter = Meter::start();
            if let Some(set_up) = &row.set_up {
                set_up(times);
                return meter.stop(times as f64 / 1e6);
            }
            for _ in 0..times {
                let mut connected = (row.connect)();
                // The others have exchanged a request and a response by now.
                if let Connected::Pair(pair) = &mut connected
                    && row.name != "ours"
                    && row.name != "async-tungstenite"
                {
                    smol::block_on(common::greet(pair));
                }
            }
            meter.stop(times as f64 / 1e6)
        }
    }
}

struct Meter {
    cpu: f64,
    wall: Instant,
}

impl Meter {
    fn start() -> Self {
        Meter { cpu: cpu_seconds(), wall: Instant::now() }
    }

    /// What has gone by, for each of so many units.
    fn stop(self, units: f64) -> Sample {
        Sample { cpu: (cpu_seconds() - self.cpu) / units, wall: self.wall.elapsed().as_secs_f64() / units }
    }
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
        let mut options = Options {
            rounds: 7,
            bytes: 64 << 20,
            cpu: 0,
            json: None,
            only: String::new(),
            rows: String::new(),
            alone: None,
        };
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
                "--alone" => options.alone = Some(value),
                _ => return Err(format!("{name} is unknown")),
            }
        }
        Ok(options)
    }
}
