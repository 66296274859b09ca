//! Two network namespaces, a relay between them, and what connections do when the network fails.

mod bytes;
mod namespace;
mod peer;
mod relay;
mod scenarios;
mod transfer;

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use smol::{Async, LocalExecutor, Timer, future};
use ws_transport::Dialer;
use ws_transport::multiaddr::Multiaddr;
use ws_transport::tls::Connector;
use ws_transport::upgrade::Upgrader;
use ws_transport::upgrade::identity::Keypair;

use crate::certs::Authority;
use crate::heap::used;
use crate::{Claim, Why, ensure, seed};
use bytes::Mangle;
use namespace::Namespace;
use peer::{ADDRESS, HANDSHAKE, KEEPALIVE, PROTOCOL, Peer, Settled, Stack};
use relay::{Faults, Relay};
use scenarios::SCENARIOS;
use transfer::{Fault, Outcome, Progress, ask};

pub(crate) use peer::run as run_peer;

/// Address of the dialing side.
const NEAR: &str = "10.77.0.1";

/// Most bytes by which the heap of either process may grow in a scenario: drained buffers that each of two threads keeps,
/// 256 KiB at most, and as much for all else.
const HEAP_GROWTH: usize = 768 * 1024;

/// Time for both ends to notice that a scenario is over: connections are dead after 6 s, handshakes after 5 s.
const AFTERMATH: Duration = Duration::from_secs(20);

/// Times that a scenario is run at most, if this process stood still meanwhile.
const ATTEMPTS: usize = 3;

/// Longest time between two looks at the clock that is no pause, of a look every 100 ms.
const PAUSE: Duration = Duration::from_secs(1);

/// How often this process stood still, stopped by somebody or without a CPU.
static STOOD_STILL: AtomicU64 = AtomicU64::new(0);

fn watch_for_pauses() {
    loop {
        let before = Instant::now();
        thread::sleep(Duration::from_millis(100));
        if before.elapsed() > PAUSE {
            STOOD_STILL.fetch_add(1, SeqCst);
        }
    }
}

/// The network and both ends, for all scenarios.
struct Net {
    near: Namespace,
    far: Namespace,
    relay: Relay,
    peer: Peer,
    dialer: Dialer,
    /// Without keepalive.
    plain_dialer: Dialer,
    upgrader: Upgrader,
    seed: u64,
    /// Of the transfers that run.
    progress: Progress,
}

/// How a transfer ended at the dialing end, and when, from its beginning.
#[derive(Clone, Debug)]
struct Ended {
    stack: Stack,
    outcome: Outcome,
    after: Duration,
}

/// A number of transfers at once, the same number over every stack.
#[derive(Clone, Copy, Debug)]
struct Load {
    /// Over each stack.
    times: u64,
    /// Bytes each way; with none, both ends wait for the other to end.
    len: u64,
    /// The user's own deadline.
    deadline: Duration,
}

/// Prints the scenarios.
pub(crate) fn list() {
    for scenario in SCENARIOS {
        println!("{}: {}", scenario.name, scenario.claim);
    }
}

/// Runs the scenarios of these names, or all.
pub(crate) fn run(names: &[&str]) -> Claim {
    if let Some(name) = names.iter().find(|name| SCENARIOS.iter().all(|scenario| scenario.name != **name)) {
        return Err(format!("no such scenario: {name}; `faults/run list` has them").into());
    }
    if !Path::new("/dev/net/tun").exists() {
        return Err("there is no /dev/net/tun: the relay cannot see IP packets here".into());
    }
    let seed = seed();
    println!("SEED={seed}\n");
    thread::spawn(watch_for_pauses);
    let mut net = Net::new(seed)?;
    // What there is once and not for each connection.
    let load = Load { times: 2, len: 1 << 20, deadline: Duration::from_secs(60) };
    scenarios::all_done(&net.transfers(load, |_| Ok(()))?)?;
    net.settle()?;

    println!("| scenario | claim | seen | took |");
    println!("|---|---|---|---|");
    let mut broken = Vec::new();
    for scenario in SCENARIOS.iter().filter(|scenario| names.is_empty() || names.contains(&scenario.name)) {
        let before = match net.held() {
            Ok(before) => before,
            Err(why) => {
                broken.push(format!("what comes after is left out: {why}"));
                break;
            }
        };
        let mut attempts = 0;
        let (begin, seen) = loop {
            let (begin, stood_still) = (Instant::now(), STOOD_STILL.load(SeqCst));
            let seen = (scenario.run)(&mut net).and_then(|seen| net.leaves_nothing(&before).map(|()| seen));
            attempts += 1;
            // The clock went on while nobody could: that says nothing.
            match &seen {
                Err(why) if STOOD_STILL.load(SeqCst) != stood_still && attempts < ATTEMPTS => {
                    eprintln!("{} is run again, for this process stood still: {}", scenario.name, crate::chain(&**why));
                }
                _ => break (begin, seen),
            }
            net.settle()?;
        };
        let mut seen = seen.unwrap_or_else(|why| {
            broken.push(format!("{}: {}", scenario.name, crate::chain(&*why)));
            format!("**FAILED**: {why}")
        });
        if attempts > 1 {
            seen += &format!(" (run {attempts} times: this process stood still)");
        }
        println!("| {} | {} | {seen} | {:.1} s |", scenario.name, scenario.claim, begin.elapsed().as_secs_f32());
    }
    match broken.is_empty() {
        true => Ok(()),
        false => Err(broken.join("\n").into()),
    }
}

/// What both processes hold between scenarios: descriptors and heap, here and there.
#[derive(Debug)]
struct Held {
    descriptors: [usize; 2],
    heap: [usize; 2],
}

impl Net {
    fn new(seed: u64) -> Result<Self, Why> {
        let (near, far) = (Namespace::new()?, Namespace::new()?);
        let devices = [near.tun(NEAR)?, far.tun(ADDRESS)?];
        let authority = Authority::new("faults");
        let peer = Peer::start(&far, &authority.issue("localhost"))?;
        let tls = Connector::builder().pem_roots(authority.pem()).build()?;
        let dialer = Dialer::new().with_tls(tls).with_timeout(HANDSHAKE);
        Ok(Net {
            relay: Relay::new(devices, seed),
            near,
            far,
            peer,
            dialer: dialer.clone().with_keepalive(KEEPALIVE),
            plain_dialer: dialer,
            upgrader: Upgrader::new(&Keypair::generate_ed25519())?.with_timeout(HANDSHAKE),
            seed,
            progress: Progress::default(),
        })
    }

    fn address(&self, stack: Stack) -> Result<Multiaddr, Why> {
        Ok(format!("/ip4/{ADDRESS}/tcp/{}/{}", self.peer.port(stack), stack.rest()).parse()?)
    }

    /// Transfers over all stacks at once, while `meanwhile` does something to the network.
    fn transfers(&self, load: Load, meanwhile: impl FnOnce(&Self) -> Claim) -> Result<Vec<Ended>, Why> {
        let addresses = Stack::ALL.map(|stack| self.address(stack));
        let transfers = async || {
            let executor = LocalExecutor::new();
            let mut tasks = Vec::new();
            for (stack, address) in Stack::ALL.into_iter().zip(addresses) {
                let address = address?;
                for i in 0..load.times {
                    tasks.push(executor.spawn(self.timed(stack, address.clone(), load, self.seed ^ i)));
                }
            }
            executor.run(join(tasks)).await
        };
        for count in [&self.progress.begun, &self.progress.bytes] {
            count.store(0, SeqCst);
        }
        thread::scope(|scope| {
            let running = scope.spawn(|| self.near.enter(|| smol::block_on(transfers())));
            let done = meanwhile(self);
            let ended = running.join().map_err(|_| "a thread panicked")???;
            done.map(|()| ended)
        })
    }

    /// Transfers over all stacks at once by way of a relay of bytes.
    fn mangled_transfers(&self, load: Load, mangle: Mangle) -> Result<Vec<Ended>, Why> {
        let transfers = async || {
            let executor = LocalExecutor::new();
            let (mut relays, mut tasks) = (Vec::new(), Vec::new());
            for stack in Stack::ALL {
                let listener = Async::<TcpListener>::bind(([127, 0, 0, 1], 0))?;
                let port = listener.get_ref().local_addr()?.port();
                let target = SocketAddr::new(ADDRESS.parse()?, self.peer.port(stack));
                relays.push(executor.spawn(bytes::relay(listener, target, mangle, self.seed)));
                let address: Multiaddr = format!("/ip4/127.0.0.1/tcp/{port}/{}", stack.rest()).parse()?;
                for i in 0..load.times {
                    tasks.push(executor.spawn(self.timed(stack, address.clone(), load, self.seed ^ i)));
                }
            }
            executor.run(join(tasks)).await
        };
        self.near.enter(|| smol::block_on(transfers()))?
    }

    async fn timed(&self, stack: Stack, address: Multiaddr, load: Load, seed: u64) -> Ended {
        let begin = Instant::now();
        let late = async {
            Timer::after(load.deadline).await;
            Err(Fault::Failed(USERS_DEADLINE.into()))
        };
        let outcome = future::or(self.transfer(stack, &address, seed, load.len), late).await.into();
        Ended { stack, outcome, after: begin.elapsed() }
    }

    async fn transfer(&self, stack: Stack, address: &Multiaddr, seed: u64, len: u64) -> Result<(), Fault> {
        if stack != Stack::Upgrade {
            return ask(self.dialer.dial(address).await?, seed, len, &self.progress).await;
        }
        let (session, driver) = self.upgrader.dial_address(&self.dialer, address).await?;
        let asking = async {
            let stream = session.open([PROTOCOL]).await?;
            ask(stream, seed, len, &self.progress).await?;
            // The other end may have ended it already.
            session.close().await.map_err(Fault::from)
        };
        let (ended, asked) = future::zip(driver, asking).await;
        asked?;
        Ok(ended?)
    }

    /// Waits until the transfers of this load have received so many bytes together, and each of them some: a handshake has
    /// less time than a transfer.
    fn received(&self, load: Load, bytes: u64) -> Claim {
        let (begin, transfers) = (Instant::now(), load.times * Stack::ALL.len() as u64);
        while self.progress.begun.load(SeqCst) < transfers || self.progress.bytes.load(SeqCst) < bytes {
            ensure(begin.elapsed() < Duration::from_secs(30), "the transfers get that far")?;
            thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// Ends all faults and waits until the listening end has nothing to do.
    fn settle(&mut self) -> Result<Settled, Why> {
        self.relay.set(Faults::default());
        let settled = self.peer.settle(AFTERMATH)?;
        ensure(settled.tasks == 0, "nothing hangs at the listening end")?;
        Ok(settled)
    }

    fn held(&mut self) -> Result<Held, Why> {
        let there = self.settle()?;
        let descriptors = fs::read_dir("/proc/self/fd")?.count();
        Ok(Held { descriptors: [descriptors, there.descriptors], heap: [used().0, there.heap] })
    }

    fn leaves_nothing(&mut self, before: &Held) -> Claim {
        let begin = Instant::now();
        loop {
            let now = self.held()?;
            let flat = (0..2).all(|i| now.heap[i] <= before.heap[i] + HEAP_GROWTH);
            if flat && now.descriptors == before.descriptors {
                return Ok(());
            }
            if begin.elapsed() > AFTERMATH {
                return Err(format!("left over: {now:?}, where it was {before:?}").into());
            }
            thread::sleep(Duration::from_millis(100));
        }
    }
}

/// How a transfer ends that nothing below has ended.
const USERS_DEADLINE: &str = "the user's deadline has passed";

async fn join(tasks: Vec<smol::Task<Ended>>) -> Result<Vec<Ended>, Why> {
    let mut ended = Vec::new();
    for task in tasks {
        ended.push(task.await);
    }
    Ok(ended)
}
