//! Connections opened, used and ended in all the ways there are, for minutes: nothing hangs, nothing is left over.

mod site;
mod ways;

use std::collections::BTreeMap;
use std::fs;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use fastrand::Rng;
use smol::{Executor, Timer, future};

use crate::heap::used;
use crate::{Claim, Why, raise_descriptors, seed};
use site::Site;
use ways::WAYS;

/// Seconds of a soak of which nothing else is said.
pub(crate) const SECONDS: u64 = 60;

/// Time after which something is considered to hang; a paused machine is not to blame.
const LONG: Duration = Duration::from_secs(90);

/// Connections at a time.
const LANES: u64 = 48;

/// Slices of the time, after each of which all is counted; before the first there is a slice to warm up.
const SLICES: u32 = 5;

/// Connections of each lane at least in the slice that warms up: enough to fill the caches of TLS sessions.
const WARM: usize = 2 * WAYS.len();

/// Most bytes by which the heap may be larger after a slice than after the first.
///
/// Each of the three threads that work keeps drained buffers of 256 KiB at most; the rest is bookkeeping of the reactor.
const HEAP_GROWTH: usize = 1024 * 1024;

/// Most bytes by which what is resident may grow: OpenSSL's heap is not counted, and allocators keep pieces.
const RESIDENT_GROWTH: usize = 8 * 1024 * 1024;

/// What has happened in one way.
#[derive(Default)]
struct Tally {
    times: usize,
    longest: Duration,
}

/// What the process holds while nothing is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Held {
    descriptors: usize,
    threads: usize,
    heap: usize,
    resident: usize,
}

impl Held {
    fn now() -> Self {
        let (heap, resident) = used();
        // The listing has a descriptor of its own, always.
        let descriptors = fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
        // Those that look names up stay in the pool of the crate `blocking`, as many as were ever needed at once.
        let is_ours = |task: &fs::DirEntry| {
            fs::read_to_string(task.path().join("comm")).is_ok_and(|name| !name.starts_with("blocking"))
        };
        let tasks = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
        Held { descriptors, threads: tasks.filter(is_ours).count(), heap, resident }
    }
}

struct Soak {
    site: Site,
    seed: u64,
    tallies: Mutex<BTreeMap<&'static str, Tally>>,
    broken: Mutex<Vec<String>>,
}

pub(crate) fn run(seconds: u64) -> Claim {
    raise_descriptors(8192)?;
    let seed = seed();
    println!("soak of {seconds} s, SEED={seed}\n");
    let executor = Arc::new(Executor::new());
    // They end with the process, as the listeners do.
    for _ in 0..2 {
        let executor = Arc::clone(&executor);
        thread::spawn(move || smol::block_on(executor.run(future::pending::<()>())));
    }
    let soak = Arc::new(Soak { site: Site::new(executor)?, seed, tallies: Mutex::default(), broken: Mutex::default() });

    println!("| after | connections | descriptors | threads | heap | resident |");
    println!("|---|---|---|---|---|---|");
    let mut begin = Instant::now();
    let mut first = None;
    for slice in 0..=SLICES {
        let end = begin + Duration::from_secs(seconds) * slice / SLICES;
        soak.slice(slice, end);
        let held = soak.settle(first)?;
        if slice == 0 {
            begin = Instant::now();
        }
        soak.line(begin, held);
        first.get_or_insert(held);
        if !soak.broken().is_empty() {
            break;
        }
        if let Some(first) = first
            && held.heap > first.heap + HEAP_GROWTH
        {
            soak.broken().push(format!("the heap has grown by {} bytes", held.heap - first.heap));
        }
        if let Some(first) = first
            && held.resident > first.resident + RESIDENT_GROWTH
        {
            soak.broken().push(format!("{} bytes more are resident", held.resident - first.resident));
        }
    }

    println!("\n| way | times | longest |");
    println!("|---|---|---|");
    for (way, tally) in &*soak.tallies.lock().unwrap_or_else(PoisonError::into_inner) {
        println!("| {way} | {} | {:.1} s |", tally.times, tally.longest.as_secs_f32());
    }
    let broken = soak.broken();
    match broken.is_empty() {
        true => Ok(()),
        false => Err(broken.join("\n").into()),
    }
}

impl Soak {
    fn broken(&self) -> std::sync::MutexGuard<'_, Vec<String>> {
        self.broken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs all lanes until then; the slice 0 warms up.
    fn slice(self: &Arc<Self>, slice: u32, end: Instant) {
        let lanes = (0..LANES).map(|lane| {
            let (soak, seed) = (Arc::clone(self), self.seed ^ (u64::from(slice) << 32 | lane));
            self.site.executor.spawn(async move {
                let mut dice = Rng::with_seed(seed);
                let mut left = if slice == 0 { WARM } else { 0 };
                while soak.broken().is_empty() && (left > 0 || Instant::now() < end) {
                    // Warming up, none is left to chance.
                    let way = if slice == 0 { left % WAYS.len() } else { dice.usize(..WAYS.len()) };
                    soak.go(way, dice.fork()).await;
                    left = left.saturating_sub(1);
                }
            })
        });
        let lanes: Vec<_> = lanes.collect();
        smol::block_on(async {
            for lane in lanes {
                lane.await;
            }
        });
    }

    /// One connection, in this way.
    async fn go(&self, way: usize, dice: Rng) {
        let (name, go) = WAYS[way];
        let begin = Instant::now();
        let hangs = async {
            Timer::after(LONG).await;
            Err(Why::from("it hangs"))
        };
        if let Err(why) = future::or(go(&self.site, dice), hangs).await {
            self.broken().push(format!("{name}: {}", crate::chain(&*why)));
        }
        let mut tallies = self.tallies.lock().unwrap_or_else(PoisonError::into_inner);
        let tally = tallies.entry(name).or_default();
        tally.times += 1;
        tally.longest = tally.longest.max(begin.elapsed());
    }

    /// Waits until the listeners' tasks are done and descriptors and threads are what they were before.
    fn settle(&self, before: Option<Held>) -> Result<Held, Why> {
        let begin = Instant::now();
        let mut last = None;
        loop {
            // What was cancelled ends by itself.
            thread::sleep(Duration::from_millis(700));
            let (held, tasks) = (Held::now(), self.site.tasks.load(SeqCst));
            let still = last.replace((held.descriptors, held.threads)) == Some((held.descriptors, held.threads));
            let back =
                before.is_none_or(|before| (held.descriptors, held.threads) == (before.descriptors, before.threads));
            if tasks == 0 && still && back {
                return Ok(held);
            }
            if begin.elapsed() > LONG {
                return Err(format!("left over: {tasks} tasks; {held:?}, where it was {before:?}").into());
            }
        }
    }

    fn line(&self, begin: Instant, held: Held) {
        let tallies = self.tallies.lock().unwrap_or_else(PoisonError::into_inner);
        let connections: usize = tallies.values().map(|tally| tally.times).sum();
        println!(
            "| {:.0} s | {connections} | {} | {} | {} KiB | {} KiB |",
            begin.elapsed().as_secs_f32(),
            held.descriptors,
            held.threads,
            held.heap / 1024,
            held.resident / 1024
        );
    }
}
