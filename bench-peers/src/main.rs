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
//! (the point of this name, such as `ws/c2s/65536`, else those whose name contains it, such as `stack/`), `--rows TEXT`
//! (rows whose name contains it; limits stay), `--alone NAME` (this row by itself, for profilers: its ratios mean nothing).

mod report;

use std::fs::File;
use std::io::{self, Write};
use std::process::ExitCode;

use bench_peers::common::allow_descriptors;
use bench_peers::rows::{GROUPS, Group, Row};
use bench_peers::work::Work;
use rustix::thread::{CpuSet, sched_setaffinity};

struct Options {
    rounds: usize,
    bytes: u64,
    cpu: usize,
    json: Option<String>,
    only: String,
    rows: String,
    alone: Option<String>,
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

    allow_descriptors();
    match measure_all(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}: {error}", options.json.unwrap_or_default());
            ExitCode::FAILURE
        }
    }
}

/// Measures the points asked for, and writes each down as soon as it is known.
fn measure_all(options: &Options) -> io::Result<()> {
    let mut json: Box<dyn Write> = match &options.json {
        Some(file) => Box::new(File::create(file)?),
        None => Box::new(io::sink()),
    };
    let points = |group: &Group| -> Vec<(String, Work)> {
        (group.works)().into_iter().map(|work| (format!("{}/{}", group.name, work.name()), work)).collect()
    };
    let is_one = GROUPS.iter().flat_map(points).any(|(point, _)| point == options.only);
    for group in &GROUPS {
        let mut points = points(group);
        points.retain(|(point, _)| *point == options.only || !is_one && point.contains(&options.only));
        if points.is_empty() {
            continue;
        }
        let rows = (group.rows)();
        let rows = options.pick(&rows);
        if rows.is_empty() {
            continue;
        }
        for (point, work) in points {
            let samples = report::measure(work, &rows, options.rounds, options.bytes);
            json.write_all(report::tell(&point, work.unit(), group.limits, &rows, &samples).as_bytes())?;
        }
    }
    Ok(())
}

impl Options {
    /// The rows asked for, and their limits.
    fn pick<'a>(&self, rows: &'a [Row]) -> Vec<&'a Row> {
        if let Some(name) = &self.alone {
            return rows.iter().filter(|row| row.name == name).collect();
        }
        let is_asked_for = |row: &&Row| row.name.contains(&self.rows);
        let limits: Vec<&str> = rows.iter().filter(is_asked_for).flat_map(|row| row.limits).collect();
        rows.iter().filter(|row| is_asked_for(row) || limits.contains(&row.name)).collect()
    }

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
