//! Connections under the faults of a real network, and under load; run by `faults/run`.

#[path = "../../tests/tls/certs.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod certs;
#[path = "../../benches/common/mod.rs"]
mod common;
#[path = "../../bench-peers/src/heap.rs"]
mod heap;
mod idle;
mod net;
mod park;
mod soak;

use std::env;
use std::error::Error;
use std::fmt::Write;
use std::iter;
use std::process::ExitCode;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Why a claim does not hold.
type Why = Box<dyn Error + Send + Sync>;

/// What was claimed, or why it does not hold.
type Claim = Result<(), Why>;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match run(&arguments.iter().map(String::as_str).collect::<Vec<_>>()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("FAILED: {}", chain(&*error));
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[&str]) -> Claim {
    match arguments {
        ["idle"] => idle::table(idle::ENDS),
        ["idle", ends] => idle::table(ends.parse()?),
        ["idle-row", name, ends] => idle::row(name, ends.parse()?),
        ["soak"] => soak::run(soak::SECONDS),
        ["soak", seconds] => soak::run(seconds.parse()?),
        ["list"] => {
            net::list();
            Ok(())
        }
        ["peer"] => net::run_peer(),
        names => net::run(names),
    }
}

fn ensure(holds: bool, claim: &str) -> Claim {
    match holds {
        true => Ok(()),
        false => Err(format!("does not hold: {claim}").into()),
    }
}

/// An error with all its causes.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    for cause in iter::successors(error.source(), |&cause| cause.source()) {
        let cause = cause.to_string();
        if !text.contains(&cause) {
            let _ = write!(text, ": {cause}");
        }
    }
    text
}

/// What chance begins with: the variable `SEED`, so that a run can be repeated, or another one each time.
fn seed() -> u64 {
    env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| fastrand::u64(..))
}

/// Lets this process have so many descriptors.
fn raise_descriptors(count: u64) -> Claim {
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < count) {
        let maximum = limit.maximum.map(|maximum| maximum.max(count));
        setrlimit(Resource::Nofile, Rlimit { current: Some(count), maximum })?;
    }
    Ok(())
}
