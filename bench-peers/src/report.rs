//! Rounds, and what is told of them.

use std::fmt::Write as _;

use bench_peers::rows::Row;
use bench_peers::work::{Sample, Work};

/// Measures the rows in turn, so many times, and returns each row's samples.
pub fn measure(work: Work, rows: &[&Row], rounds: usize, bytes: u64) -> Vec<Vec<Sample>> {
    let mut samples = vec![Vec::new(); rows.len()];
    // The first round warms up and is not counted.
    for round in 0..=rounds {
        // In another order each time: what ran before leaves its traces in the caches.
        let mut order: Vec<usize> = (0..rows.len()).collect();
        fastrand::shuffle(&mut order);
        for at in order {
            let sample = work.run(rows[at], bytes);
            if round > 0 {
                samples[at].push(sample);
            }
        }
    }
    samples
}

/// Prints a table of medians, and returns a line of JSON for each row.
pub fn tell(point: &str, unit: &str, limits: [&str; 2], rows: &[&Row], samples: &[Vec<Sample>]) -> String {
    let mut json = String::new();
    println!("\n{point}\n\n| row | CPU {unit} | wall {unit} | x {} | spread | x {} |", limits[0], limits[1]);
    println!("|---|---|---|---|---|---|");
    for (row, own) in rows.iter().zip(samples) {
        let cpu = median(own.iter().map(|sample| sample.cpu));
        let wall = median(own.iter().map(|sample| sample.wall));
        let ratios = |at: usize| {
            let limit = rows.iter().position(|limit| limit.name == row.limits[at]).map_or(own, |at| &samples[at]);
            own.iter().zip(limit).map(|(own, limit)| own.cpu / limit.cpu)
        };
        let (first, second) = (median(ratios(0)), median(ratios(1)));
        let (low, high) = (part(ratios(0), 0.25), part(ratios(0), 0.75));
        println!("| {} | {cpu:.3} | {wall:.3} | {first:.3} | {low:.3}-{high:.3} | {second:.3} |", row.name);
        let list = own.iter().map(|sample| format!("{:.4}", sample.cpu)).collect::<Vec<_>>().join(",");
        let _ = writeln!(
            json,
            r#"{{"point":"{point}","row":"{}","unit":"{unit}","cpu":{cpu:.4},"wall":{wall:.4},"limits":["{}","{}"],"x":[{first:.4},{second:.4}],"samples":[{list}]}}"#,
            row.name, row.limits[0], row.limits[1],
        );
    }
    json
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    part(values, 0.5)
}

/// The value below which such a part of them lies.
fn part(values: impl Iterator<Item = f64>, part: f64) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let last = values.len().saturating_sub(1) as f64;
    let (low, high) = ((last * part).floor() as usize, (last * part).ceil() as usize);
    (values[low] + values[high]) / 2.0
}
