//! Memory of an idle end of the full stack, ours and rust-libp2p's: its heap, counted, and what becomes resident.
//!
//! ```console
//! $ cd bench-peers && cargo run --release --bin idle
//! ```
//!
//! Many connections, both ends in this process, divided by the ends; each with an open stream, its muxers' tasks and
//! their executor. Each row has a process of its own, for what is freed stays resident. Sockets' buffers are the
//! kernel's and not in it.

#[path = "../../../benches/common/mod.rs"]
mod common;
#[path = "../heap.rs"]
mod heap;
#[path = "../smol_tcp.rs"]
mod smol_tcp;
#[path = "../stack.rs"]
mod stack;

use std::env;
use std::process::{Command, ExitCode};

use common::Direction;
use heap::used;
use stack::{Ends, ROWS, Stack};

/// Connections at a time: few enough for the 1,024 descriptors that many systems give a process.
const CONNECTIONS: usize = 200;

const MIB: u64 = 1 << 20;

fn main() -> ExitCode {
    match env::args().nth(1) {
        Some(name) => match ROWS.iter().find(|row| row.0 == name) {
            Some((name, stack)) => row(name, &stack()),
            None => return ExitCode::FAILURE,
        },
        None => {
            println!("| bytes of an idle end | heap, fresh | resident | heap, after 1 MiB each way | resident |");
            println!("|---|---|---|---|---|");
            for (name, _) in ROWS {
                let status = Command::new(env::current_exe().unwrap()).arg(name).status().unwrap();
                assert!(status.success(), "{name}: {status}");
            }
        }
    }
    ExitCode::SUCCESS
}

fn row(name: &str, stack: &Stack) {
    // What there is once and not for each connection.
    let mut first = stack.connect();
    fill(&mut first);
    let begin = used();
    let mut ends: Vec<Ends> = (0..CONNECTIONS).map(|_| stack.connect()).collect();
    ends.iter_mut().for_each(settle);
    let fresh = used();
    ends.iter_mut().for_each(fill);
    let filled = used();
    let each = |now: usize, then: usize| now.saturating_sub(then) / (2 * CONNECTIONS);
    println!(
        "| {name} | {} | {} | {} | {} |",
        each(fresh.0, begin.0),
        each(fresh.1, begin.1),
        each(filled.0, begin.0),
        each(filled.1, begin.1)
    );
}

fn fill(ends: &mut Ends) {
    for direction in Direction::BOTH {
        assert_eq!(ends.transfer(direction, 64 * 1024, MIB), MIB);
    }
    settle(ends);
}

/// Lets what is under way arrive.
fn settle(ends: &mut Ends) {
    ends.ping_pong(1, 4);
}
