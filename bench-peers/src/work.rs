//! What a row is given to do, and what it takes.

use std::time::Instant;

use rustix::time::{ClockId, clock_gettime};

use crate::common::Direction;
use crate::rows::{Connected, Row};

/// Bytes per write, or per message of a ping-pong.
const BULK: [usize; 6] = [128, 1024, 4 * 1024, 16 * 1024, 64 * 1024, 1024 * 1024];
const PING: [usize; 3] = [64, 1024, 16 * 1024];

/// Bytes per write through the full stack.
const STACK_BULK: [usize; 3] = [4 * 1024, 64 * 1024, 1024 * 1024];

/// Connections at a time.
const MANY: [usize; 3] = [1, 100, 1000];

/// Bytes per write where there are many connections, and the least that all of them together move: enough for what is
/// done once for each not to count.
const MANY_WRITE: usize = 16 * 1024;
const MANY_BYTES: u64 = 128 << 20;

/// Bytes sent each way before a sample, for TCP's windows to open; over many connections they share them.
const WARM_UP: u64 = 2 << 20;

const GIB: f64 = (1u64 << 30) as f64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    Bulk(Direction, usize),
    Ping(usize),
    /// So many connections that share the thread, from their dialing ends, all at once.
    Many(usize),
    Handshake,
    /// From the dial to the first byte that has come back through the full stack.
    Setup,
}

impl Work {
    /// Through byte streams.
    pub fn on_streams() -> Vec<Work> {
        let pings = PING.map(Work::Ping);
        bulk(&BULK).chain(pings).chain(MANY.map(Work::Many)).collect()
    }

    /// Connecting byte streams.
    pub fn connecting() -> Vec<Work> {
        vec![Work::Handshake]
    }

    /// Through the full stack.
    pub fn on_stacks() -> Vec<Work> {
        bulk(&STACK_BULK).chain([Work::Ping(PING[0]), Work::Setup]).collect()
    }

    pub fn name(self) -> String {
        match self {
            Work::Bulk(direction, size) => format!("{}/{size}", direction.name()),
            Work::Ping(size) => format!("ping/{size}"),
            Work::Many(connections) => format!("many/{connections}"),
            Work::Handshake => "handshake".to_owned(),
            Work::Setup => "setup".to_owned(),
        }
    }

    pub fn unit(self) -> &'static str {
        match self {
            Work::Bulk(..) | Work::Many(_) => "s/GiB",
            Work::Ping(_) | Work::Handshake | Work::Setup => "us",
        }
    }

    /// Has it done once, with so many bytes to move, on connections of its own: one may be luckier than another in how
    /// TCP's windows and the two ends' turns fall.
    pub fn run(self, row: &Row, bytes: u64) -> Sample {
        match self {
            Work::Bulk(direction, size) => {
                // Small raw writes take ten times as long each byte.
                let bytes = if size < 1024 { bytes / 4 } else { bytes };
                let mut connected = row.connect(1);
                connected.warm_up();
                let meter = Meter::start();
                assert_eq!(connected.transfer(direction, size, bytes), bytes);
                meter.stop(bytes as f64 / GIB)
            }
            Work::Ping(size) => {
                let times = (bytes / (64 * 1024)).max(1);
                let mut connected = row.connect(1);
                connected.warm_up();
                let meter = Meter::start();
                connected.ping_pong(size, times);
                meter.stop(times as f64 / 1e6)
            }
            Work::Many(connections) => {
                let each = bytes.max(MANY_BYTES) / connections as u64;
                let mut connected = row.connect(connections);
                connected.warm_up();
                let meter = Meter::start();
                let bytes = each * connections as u64;
                assert_eq!(connected.transfer(Direction::ClientToServer, MANY_WRITE, each), bytes);
                meter.stop(bytes as f64 / GIB)
            }
            Work::Handshake | Work::Setup => {
                let times = (bytes >> 18).max(1) as usize;
                row.prepare(times);
                let meter = Meter::start();
                row.set_up(times);
                meter.stop(times as f64 / 1e6)
            }
        }
    }
}

fn bulk(sizes: &[usize]) -> impl Iterator<Item = Work> {
    Direction::BOTH.into_iter().flat_map(move |way| sizes.iter().map(move |&size| Work::Bulk(way, size)))
}

impl Connected {
    fn warm_up(&mut self) {
        self.ping_pong(1024, 16);
        let each = WARM_UP / self.connections() as u64;
        for direction in Direction::BOTH {
            self.transfer(direction, 16 * 1024, each);
        }
    }
}

/// What one row took in one round: CPU time and wall time, per GiB or per round trip.
#[derive(Clone, Copy)]
pub struct Sample {
    pub cpu: f64,
    pub wall: f64,
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
