//! Memory of an idle end, ours, its limits and its peers: its heap, the stream itself included, counted, and what becomes
//! resident.
//!
//! ```console
//! $ cd bench-peers && cargo run --release --bin idle -- --connections 1,100,1000
//! ```
//!
//! Many connections, both ends in this process, divided by the ends. Of the full stack each has an open stream, its muxers'
//! tasks and their executor. Each figure has a process of its own, for what is freed stays resident. Sockets' buffers are
//! the kernel's and not in it.
//!
//! Options: `--connections LIST` (200), `--only TEXT` (rows whose group and name contain it, such as `ws/ours`),
//! `--json FILE`.

#[path = "../heap.rs"]
mod heap;

use std::env;
use std::error::Error;
use std::fs::File;
use std::io::{self, Write};
use std::process::{Command, ExitCode};

use bench_peers::common::{Direction, allow_descriptors};
use bench_peers::rows::{Connected, GROUPS, Group, Row};
use heap::used;

/// Bytes that go each way before the second look, over the full stack and over byte streams.
const STACK_TRAFFIC: u64 = 1 << 20;
const TRAFFIC: u64 = 64 << 10;

/// The groups that are looked at.
const LOOKED_AT: [&str; 4] = ["ws", "wss-rustls", "wss-native", "stack"];

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    if let [group, row, connections] = args.iter().map(String::as_str).collect::<Vec<_>>()[..]
        && let (Some(group), Ok(connections)) = (group_named(group), connections.parse())
        && let Some(row) = (group.rows)().into_iter().find(|other| other.name == row)
    {
        allow_descriptors();
        println!("{}", look(&row, connections).map(|bytes| bytes.to_string()).join(" "));
        return ExitCode::SUCCESS;
    }
    match all(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(wrong) => {
            eprintln!("{wrong}; the options are on top of src/bin/idle.rs");
            ExitCode::FAILURE
        }
    }
}

fn group_named(name: &str) -> Option<&'static Group> {
    GROUPS.iter().find(|group| group.name == name)
}

/// Looks at every row asked for, in processes of their own.
fn all(args: &[String]) -> Result<(), Box<dyn Error>> {
    let (mut connections, mut only, mut file) = (vec!["200"], "", None);
    for option in args.chunks(2) {
        match option {
            [name, list] if name == "--connections" => connections = list.split(',').collect(),
            [name, text] if name == "--only" => only = text,
            [name, path] if name == "--json" => file = Some(path),
            _ => return Err(format!("{} is unknown, or wants a value", option[0]).into()),
        }
    }
    println!("| bytes of an idle end | connections | heap, fresh | resident | heap, after traffic | resident |");
    println!("|---|---|---|---|---|---|");
    let mut json: Box<dyn Write> = match file {
        Some(file) => Box::new(File::create(file)?),
        None => Box::new(io::sink()),
    };
    for group in LOOKED_AT.into_iter().filter_map(group_named) {
        for row in (group.rows)() {
            let name = format!("{}/{}", group.name, row.name);
            if !name.contains(only) || row.name.ends_with("-buffered") {
                continue;
            }
            for &connections in &connections {
                let output = Command::new(env::current_exe()?).args([group.name, row.name, connections]).output()?;
                if !output.status.success() {
                    return Err(format!("{name}: {}", String::from_utf8_lossy(&output.stderr)).into());
                }
                let text = String::from_utf8(output.stdout)?;
                let [fresh, fresh_resident, used, used_resident] = text.split_whitespace().collect::<Vec<_>>()[..]
                else {
                    return Err(format!("{name} says {text}").into());
                };
                println!("| {name} | {connections} | {fresh} | {fresh_resident} | {used} | {used_resident} |");
                writeln!(
                    json,
                    r#"{{"point":"idle/{}/{connections}","row":"{}","unit":"B","fresh":[{fresh},{fresh_resident}],"used":[{used},{used_resident}]}}"#,
                    group.name, row.name,
                )?;
            }
        }
    }
    Ok(())
}

/// Bytes for each end: heap and resident, fresh and after traffic.
fn look(row: &Row, connections: usize) -> [usize; 4] {
    // What there is once and not for each connection.
    let mut first = row.connect(1);
    fill(&mut first);
    let begin = used();
    let mut connected = match first {
        Connected::Pairs(..) => vec![row.connect(connections)],
        Connected::Ends(_) => (0..connections).map(|_| row.connect(1)).collect(),
    };
    connected.iter_mut().for_each(Connected::settle);
    let fresh = used();
    connected.iter_mut().for_each(fill);
    let filled = used();
    let each = |now: usize, then: usize| now.saturating_sub(then) / (2 * connections);
    [each(fresh.0, begin.0), each(fresh.1, begin.1), each(filled.0, begin.0), each(filled.1, begin.1)]
}

fn fill(connected: &mut Connected) {
    let each = match connected {
        Connected::Pairs(..) => TRAFFIC,
        Connected::Ends(_) => STACK_TRAFFIC,
    };
    for direction in Direction::BOTH {
        assert_eq!(connected.transfer(direction, 64 * 1024, each), each * connected.connections() as u64);
    }
    connected.settle();
}
