//! The listening end: a process of its own, so that it can be frozen, in a namespace of its own.

use std::env;
use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};
use smol::{Executor, future};
use ws_transport::tls::Acceptor;
use ws_transport::upgrade::Upgrader;
use ws_transport::upgrade::identity::Keypair;
use ws_transport::{Incoming, KeepAlive, ListenOptions};

use super::namespace::Namespace;
use super::transfer::{Fault, Outcome, answer};
use crate::certs::Leaf;
use crate::heap::used;
use crate::{Claim, Why};

/// What is dialed: a byte stream, one inside TLS, a libp2p session on the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stack {
    Ws,
    Wss,
    Upgrade,
}

impl Stack {
    pub(super) const ALL: [Stack; 3] = [Stack::Ws, Stack::Wss, Stack::Upgrade];

    pub(super) fn name(self) -> &'static str {
        match self {
            Stack::Ws => "ws",
            Stack::Wss => "wss",
            Stack::Upgrade => "upgrade",
        }
    }

    /// What of an address comes after the port.
    pub(super) fn rest(self) -> &'static str {
        match self {
            Stack::Ws | Stack::Upgrade => "ws",
            Stack::Wss => "tls/sni/localhost/ws",
        }
    }
}

/// The protocol that transfers are, on a session.
pub(super) const PROTOCOL: &str = "/transfer/1";

/// Address of the listening side, in its namespace.
pub(super) const ADDRESS: &str = "10.77.0.2";

/// Time that the listeners, and the dialers, give to a handshake or an upgrade.
pub(super) const HANDSHAKE: Duration = Duration::from_secs(5);

/// Ends a dead connection after [`DEAD`].
pub(super) const KEEPALIVE: KeepAlive =
    KeepAlive::new().with_idle(Duration::from_secs(2)).with_interval(Duration::from_secs(1)).with_probes(4);

/// 2 s until the first probe, then 4 probes.
pub(super) const DEAD: Duration = Duration::from_secs(6);

// ---- In the process -------------------------------------------------------------------------------------------------

/// Listens until standard input ends; a line on it asks for a report.
pub(crate) fn run() -> Claim {
    let executor = Arc::new(Executor::new());
    for _ in 0..2 {
        let executor = Arc::clone(&executor);
        thread::spawn(move || smol::block_on(executor.run(future::pending::<()>())));
    }
    let acceptor = Acceptor::builder(env::var("FAULTS_CHAIN")?, env::var("FAULTS_KEY")?).build()?;
    let options = ListenOptions::new().with_tls(acceptor).with_keepalive(KEEPALIVE).with_handshake_timeout(HANDSHAKE);
    let upgrader = Upgrader::new(&Keypair::generate_ed25519())?.with_protocols([PROTOCOL]).with_timeout(HANDSHAKE);
    let reports = Arc::new(Mutex::new(Vec::new()));
    let mut ports = Vec::new();
    for stack in Stack::ALL {
        let bound = options.bind(format!("/ip4/{ADDRESS}/tcp/0/{}", stack.rest()));
        let listener = smol::block_on(bound)?;
        ports.push(listener.local_addrs()?[0].port().to_string());
        let (spawner, upgrader, reports) = (Arc::clone(&executor), upgrader.clone(), Arc::clone(&reports));
        let accepting = async move {
            while let Ok(incoming) = listener.accept().await {
                let (upgrader, reports) = (upgrader.clone(), Arc::clone(&reports));
                // A report without an outcome is a task that has not ended.
                let index = with(&reports, |reports| {
                    reports.push((stack, None));
                    reports.len() - 1
                });
                let serving = async move {
                    let outcome = Outcome::from(serve(stack, incoming, &upgrader).await);
                    with(&reports, |reports: &mut Reports| reports[index].1 = Some(outcome));
                };
                spawner.spawn(serving).detach();
            }
        };
        executor.spawn(accepting).detach();
    }
    println!("{}", ports.join(" "));
    for line in io::stdin().lock().lines() {
        let patience = Duration::from_millis(line?.parse()?);
        report(&reports, patience)?;
    }
    Ok(())
}

type Reports = Vec<(Stack, Option<Outcome>)>;

fn with<T>(reports: &Mutex<Reports>, work: impl FnOnce(&mut Reports) -> T) -> T {
    work(&mut reports.lock().unwrap_or_else(PoisonError::into_inner))
}

async fn serve(stack: Stack, incoming: Incoming, upgrader: &Upgrader) -> Result<(), Fault> {
    let connection = incoming.await?;
    if stack != Stack::Upgrade {
        return answer(connection).await;
    }
    let (session, driver) = upgrader.accept(connection).await?;
    let answers = async {
        let stream = session.accept().await?;
        drop(session);
        answer(stream).await
    };
    let (ended, answered) = future::zip(driver, answers).await;
    answered?;
    Ok(ended?)
}

/// Waits until all tasks have ended, or for so long, and prints how they did and what the process holds.
fn report(reports: &Mutex<Reports>, patience: Duration) -> Claim {
    let begin = Instant::now();
    let ended = || with(reports, |reports| reports.iter().all(|(_, outcome)| outcome.is_some()));
    while !ended() && begin.elapsed() < patience {
        thread::sleep(Duration::from_millis(10));
    }
    // What a task holds is dropped after it has said how it ended.
    thread::sleep(Duration::from_millis(50));
    let mut out = io::stdout().lock();
    let mut tasks = 0;
    for (stack, outcome) in with(reports, std::mem::take) {
        match outcome {
            Some(outcome) => writeln!(out, "{} {outcome}", stack.name())?,
            None => tasks += 1,
        }
    }
    let descriptors = fs::read_dir("/proc/self/fd")?.count();
    writeln!(out, "settled {tasks} {descriptors} {}", used().0)?;
    Ok(out.flush()?)
}

// ---- From outside ---------------------------------------------------------------------------------------------------

pub(super) struct Peer {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    ports: [u16; 3],
}

/// What the process says of itself.
#[derive(Debug)]
pub(super) struct Settled {
    pub(super) outcomes: Vec<(Stack, Outcome)>,
    /// Tasks that have not ended.
    pub(super) tasks: usize,
    pub(super) descriptors: usize,
    pub(super) heap: usize,
}

impl Peer {
    pub(super) fn start(namespace: &Namespace, leaf: &Leaf) -> Result<Self, Why> {
        let mut command = Command::new(env::current_exe()?);
        command.arg("peer").env("FAULTS_CHAIN", &leaf.chain).env("FAULTS_KEY", &leaf.key);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = namespace.enter(|| command.spawn())??;
        let input = child.stdin.take().ok_or("no standard input")?;
        let mut output = BufReader::new(child.stdout.take().ok_or("no standard output")?);
        let mut line = String::new();
        output.read_line(&mut line)?;
        let ports: Vec<u16> = line.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
        let ports = ports.try_into().map_err(|_| "the listening process did not start")?;
        Ok(Peer { child, input, output, ports })
    }

    pub(super) fn port(&self, stack: Stack) -> u16 {
        self.ports[stack as usize]
    }

    /// Waits until its tasks have ended, but not longer than this.
    pub(super) fn settle(&mut self, patience: Duration) -> Result<Settled, Why> {
        writeln!(self.input, "{}", patience.as_millis())?;
        let mut outcomes = Vec::new();
        loop {
            let mut line = String::new();
            self.output.read_line(&mut line)?;
            let (first, rest) = line.trim_end().split_once(' ').ok_or("the listening process has ended")?;
            if first == "settled" {
                let counts: Vec<usize> = rest.split(' ').map(str::parse).collect::<Result<_, _>>()?;
                let [tasks, descriptors, heap] = counts[..] else { return Err("three counts".into()) };
                return Ok(Settled { outcomes, tasks, descriptors, heap });
            }
            let stack = Stack::ALL.into_iter().find(|stack| stack.name() == first).ok_or("an unknown stack")?;
            let outcome = match rest {
                "done" => Outcome::Done,
                "wrong data" => Outcome::Wrong,
                error => Outcome::Failed(error.into()),
            };
            outcomes.push((stack, outcome));
        }
    }

    /// Freezes the process: when this returns, all its threads stand still.
    pub(super) fn freeze(&self) -> Claim {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::STOP)?;
        // The signal has only been sent yet: until they have a CPU to take it, threads go on reading and answering.
        waitid(WaitId::Pid(pid), WaitIdOptions::STOPPED)?.ok_or("the listening process did not stop")?;
        Ok(())
    }

    pub(super) fn thaw(&self) -> Claim {
        Ok(kill_process(Pid::from_child(&self.child), Signal::CONT)?)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
