//! A relay of IP packets between two TUN devices, which does to them what a bad network does.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use fastrand::Rng;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// What happens to the packets, in either direction; shares are of 1. By default nothing.
#[derive(Clone, Debug, Default)]
pub(super) struct Faults {
    pub(super) delay: Duration,
    /// At most so much more delay, which reorders.
    pub(super) jitter: Duration,
    pub(super) lose: f64,
    pub(super) duplicate: f64,
    /// One bit of a segment is turned: TCP's checksum tells.
    pub(super) corrupt: f64,
    /// Two words of a segment's payload change places, which TCP's checksum does not see.
    pub(super) swap: f64,
    /// Nothing passes any more: towards the listening side, and towards the dialing side.
    pub(super) cut: [bool; 2],
    /// Of the first flow no packet passes, of the second one, and so on, and beyond so many it begins again.
    pub(super) cut_flows: Option<u32>,
}

/// What has happened to packets.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) passed: u64,
    pub(super) lost: u64,
    pub(super) duplicated: u64,
    pub(super) corrupted: u64,
    pub(super) swapped: u64,
}

#[derive(Default)]
struct State {
    faults: Faults,
    counts: Counts,
    /// By the two ports, how many packets may still pass.
    flows: HashMap<[u8; 4], u32>,
}

/// The relay, on a thread of its own; it ends when this is dropped.
pub(super) struct Relay {
    state: Arc<Mutex<State>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Relay {
    /// Between the device of the dialing side and that of the listening side.
    pub(super) fn new(devices: [File; 2], seed: u64) -> Self {
        let (state, stop) = (Arc::<Mutex<State>>::default(), Arc::<AtomicBool>::default());
        let work = Work {
            devices,
            state: Arc::clone(&state),
            dice: Rng::with_seed(seed),
            waiting: BinaryHeap::new(),
            count: 0,
        };
        let stopped = Arc::clone(&stop);
        let thread = Some(thread::spawn(move || work.run(&stopped)));
        Relay { state, stop, thread }
    }

    /// From now on; all is counted from here.
    pub(super) fn set(&self, faults: Faults) {
        *lock(&self.state) = State { faults, ..State::default() };
    }

    pub(super) fn counts(&self) -> Counts {
        lock(&self.state).counts
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.stop.store(true, SeqCst);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Longest that the relay waits for a packet before it looks whether it has to stop.
const LOOK: Duration = Duration::from_millis(50);

/// Longest packet, in bytes: the devices have an MTU of 1,500.
const PACKET: usize = 2048;

/// A packet that waits: until when, its number, to which device it goes, and what it is.
type Waiting = (Instant, u64, usize, Vec<u8>);

struct Work {
    devices: [File; 2],
    state: Arc<Mutex<State>>,
    dice: Rng,
    waiting: BinaryHeap<Reverse<Waiting>>,
    count: u64,
}

impl Work {
    fn run(mut self, stop: &AtomicBool) {
        while !stop.load(SeqCst) {
            let due =
                self.waiting.peek().map_or(LOOK, |Reverse(next)| next.0.saturating_duration_since(Instant::now()));
            let due = due.min(LOOK);
            let timeout = Timespec { tv_sec: 0, tv_nsec: due.subsec_nanos().into() };
            let mut readable = [0, 1].map(|i| PollFd::from_borrowed_fd(self.devices[i].as_fd(), PollFlags::IN));
            let _ = poll(&mut readable, Some(&timeout));
            let readable = readable.map(|device| device.revents().contains(PollFlags::IN));
            for from in [0, 1].into_iter().filter(|&i| readable[i]) {
                self.receive(from);
            }
            self.deliver();
        }
    }

    /// Takes some packets from a device.
    fn receive(&mut self, from: usize) {
        let mut buf = [0; PACKET];
        for _ in 0..64 {
            // A device that is down has none.
            let Ok(len) = (&self.devices[from]).read(&mut buf) else { return };
            self.judge(from, &buf[..len]);
        }
    }

    fn judge(&mut self, from: usize, packet: &[u8]) {
        let mut state = lock(&self.state);
        let State { faults, counts, flows } = &mut *state;
        let mut packet = packet.to_vec();
        let segment = Segment::of(&packet);
        let ended = match (faults.cut_flows, &segment) {
            (Some(most), Some(segment)) => {
                let limit = u32::try_from(flows.len()).unwrap_or(0) % most.max(1);
                let left = flows.entry(segment.ports).or_insert(limit);
                let ended = *left == 0;
                *left = left.saturating_sub(1);
                ended
            }
            _ => false,
        };
        if faults.cut[from] || ended || self.dice.f64() < faults.lose {
            counts.lost += 1;
            return;
        }
        if let Some(segment) = &segment {
            if self.dice.f64() < faults.corrupt {
                let at = self.dice.usize(segment.begin..packet.len());
                packet[at] ^= 1 << self.dice.u8(..8);
                counts.corrupted += 1;
            }
            if self.dice.f64() < faults.swap && segment.swap(&mut packet, &mut self.dice) {
                counts.swapped += 1;
            }
        }
        let copies = if self.dice.f64() < faults.duplicate { 2 } else { 1 };
        counts.duplicated += copies - 1;
        counts.passed += 1;
        for _ in 0..copies {
            let due = Instant::now() + faults.delay + faults.jitter.mul_f64(self.dice.f64());
            self.count += 1;
            self.waiting.push(Reverse((due, self.count, 1 - from, packet.clone())));
        }
    }

    /// Hands on what is due.
    fn deliver(&mut self) {
        let now = Instant::now();
        while self.waiting.peek().is_some_and(|Reverse(next)| next.0 <= now) {
            let Some(Reverse((_, _, to, packet))) = self.waiting.pop() else { return };
            // A device that is down takes none.
            let _ = (&self.devices[to]).write(&packet);
        }
    }
}

/// Where a TCP segment begins in an IPv4 packet, and its payload.
struct Segment {
    begin: usize,
    payload: usize,
    /// The smaller one first, so that they are the same in both directions.
    ports: [u8; 4],
}

impl Segment {
    fn of(packet: &[u8]) -> Option<Self> {
        let tcp = packet.first()? >> 4 == 4 && *packet.get(9)? == 6;
        let begin = usize::from(packet.first()? & 0xf) * 4;
        let payload = begin + usize::from(packet.get(begin + 12)? >> 4) * 4;
        let mut ports = *packet.get(begin..)?.first_chunk::<4>()?;
        if ports[..2] > ports[2..] {
            ports.rotate_left(2);
        }
        tcp.then_some(Segment { begin, payload, ports })
    }

    /// Exchanges two words of the payload that differ; `false` if chance finds none.
    fn swap(&self, packet: &mut [u8], dice: &mut Rng) -> bool {
        let Some(payload) = packet.get_mut(self.payload..) else { return false };
        let words = payload.len() / 2;
        if words < 2 {
            return false;
        }
        let [a, b] = [0; 2].map(|_| 2 * dice.usize(..words));
        if payload[a..a + 2] == payload[b..b + 2] {
            return false;
        }
        // The sum of 16-bit words stays the same, whatever their order (RFC 1071 §2).
        payload.swap(a, b);
        payload.swap(a + 1, b + 1);
        true
    }
}
