//! The scenarios: what is done to the network, and what has to be seen then.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::sync::atomic::Ordering::SeqCst;
use std::thread;
use std::time::{Duration, Instant};

use smol::io::{AsyncReadExt, AsyncWriteExt};
use smol::{Timer, future};
use ws_transport::{Connection, Dialer, StreamConfig};

use super::bytes::{Cut, Mangle};
use super::peer::{DEAD, Stack};
use super::relay::Faults;
use super::transfer::Outcome;
use super::{Ended, Load, Net, USERS_DEADLINE};
use crate::park::park;
use crate::{Claim, Why, ensure};

pub(super) struct Scenario {
    pub(super) name: &'static str,
    pub(super) claim: &'static str,
    /// Says what was seen.
    pub(super) run: fn(&mut Net) -> Result<String, Why>,
}

const MIB: u64 = 1 << 20;

/// Within this a transfer that the network lets through has to be done.
const DONE: Duration = Duration::from_secs(60);

/// By so much an end may come after its time: this machine has other things to do.
const SLACK: Duration = Duration::from_secs(5);

const CORRECT: &str = "all transfers are correct";
const DEAD_IN_TIME: &str = "keepalive ends both ends within 6 s, whether data is under way or not";

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario { name: "delay", claim: CORRECT, run: |net| lossy(net, Faults { delay: ms(50), ..Faults::default() }) },
    Scenario { name: "loss", claim: CORRECT, run: |net| lossy(net, Faults { lose: 0.03, ..Faults::default() }) },
    Scenario {
        name: "reordering",
        claim: CORRECT,
        run: |net| lossy(net, Faults { jitter: ms(20), ..Faults::default() }),
    },
    Scenario {
        name: "duplicates",
        claim: CORRECT,
        run: |net| lossy(net, Faults { duplicate: 0.2, ..Faults::default() }),
    },
    Scenario {
        name: "corruption",
        claim: "TCP drops corrupted segments: all transfers are correct",
        run: |net| lossy(net, Faults { corrupt: 0.03, ..Faults::default() }),
    },
    Scenario {
        name: "everything",
        claim: CORRECT,
        run: |net| {
            lossy(
                net,
                Faults {
                    delay: ms(20),
                    jitter: ms(10),
                    lose: 0.01,
                    duplicate: 0.02,
                    corrupt: 0.01,
                    ..Faults::default()
                },
            )
        },
    },
    Scenario {
        name: "swapped-words",
        claim: "corruption that TCP's checksum passes: wss and upgrade end in an error, ws may hand on wrong payload",
        run: swapped_words,
    },
    Scenario { name: "outage", claim: "after 2 s without the network all transfers are correct", run: outage },
    Scenario {
        name: "link-down-up",
        claim: "after 2 s with the link down all transfers are correct",
        run: link_down_up,
    },
    Scenario { name: "link-down", claim: DEAD_IN_TIME, run: link_down },
    Scenario { name: "blackhole", claim: DEAD_IN_TIME, run: |net| blackhole(net, [true, true], 256 * MIB) },
    Scenario { name: "blackhole-idle", claim: DEAD_IN_TIME, run: |net| blackhole(net, [true, true], 0) },
    Scenario { name: "blackhole-one-way", claim: DEAD_IN_TIME, run: |net| blackhole(net, [true, false], 256 * MIB) },
    Scenario { name: "blackhole-other-way", claim: DEAD_IN_TIME, run: |net| blackhole(net, [false, true], 256 * MIB) },
    Scenario {
        name: "blackhole-dial",
        claim: "a dial ends at its deadline of 5 s",
        run: |net| {
            net.relay.set(Faults { cut: [true, true], ..Faults::default() });
            let ended = net.transfers(load(2, MIB), |_| Ok(()))?;
            all_failed_within(&ended, Duration::ZERO, ms(5000))?;
            Ok(seen(net, &ended))
        },
    },
    Scenario {
        name: "blackhole-anywhere",
        claim: "cut after any packet of dialing, TLS, upgrading and closing: an error within 11 s (handshakes 5 s, then 6 s)",
        run: blackhole_anywhere,
    },
    Scenario {
        name: "blackhole-close",
        claim: "closing towards a dead peer ends at the close timeout of 1 s",
        run: |net| {
            let closed = net.near.enter(|| {
                smol::block_on(park_and_close(net, |net| {
                    net.relay.set(Faults { cut: [true, true], ..Faults::default() });
                    Ok(())
                }))
            })?;
            net.settle()?;
            closed
        },
    },
    Scenario {
        name: "frozen-thawed",
        claim: "writers park; after the thaw all transfers are correct",
        run: frozen_thawed,
    },
    Scenario {
        name: "frozen",
        claim: "a writer parks after a bounded amount, and closing ends at the close timeout of 1 s",
        run: |net| frozen(net, |net| smol::block_on(park_and_close(net, |net| net.peer.freeze()))),
    },
    Scenario {
        name: "frozen-keepalive",
        claim: "keepalive ends a writer within 6 s; a reader waits on, for the peer's kernel answers",
        run: |net| frozen(net, |net| smol::block_on(frozen_keepalive(net))),
    },
    Scenario {
        name: "bytes-drip",
        claim: "one to seven bytes at a time: all transfers are correct",
        run: |net| {
            let mangle = Mangle { drip: Some(7), ..Mangle::default() };
            let ended = net.mangled_transfers(load(2, 64 * 1024), mangle)?;
            all_done(&ended)?;
            there(net, all_done)?;
            Ok(summary(&ended))
        },
    },
    Scenario {
        name: "bytes-slow",
        claim: CORRECT,
        run: |net| {
            let mangle = Mangle { drip: Some(4096), delay: ms(5), ..Mangle::default() };
            let ended = net.mangled_transfers(load(2, MIB), mangle)?;
            all_done(&ended)?;
            there(net, all_done)?;
            Ok(summary(&ended))
        },
    },
    Scenario {
        name: "bytes-corrupt",
        claim: "corruption in the stream of bytes: wss and upgrade end in an error, ws may hand on wrong payload",
        run: |net| {
            let mangle = Mangle { corrupt: Some(200_000), ..Mangle::default() };
            let ended = net.mangled_transfers(load(4, 4 * MIB).within(10), mangle)?;
            no_wrong_data(&ended, &net.settle()?.outcomes)?;
            Ok(summary(&ended))
        },
    },
    Scenario { name: "bytes-end", claim: "FIN in the middle is an error, never an end", run: |net| cut(net, Cut::End) },
    Scenario { name: "bytes-reset", claim: "RST in the middle is an error", run: |net| cut(net, Cut::Reset) },
];

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn load(times: u64, len: u64) -> Load {
    Load { times, len, deadline: DONE }
}

impl Load {
    fn within(self, seconds: u64) -> Self {
        Load { deadline: Duration::from_secs(seconds), ..self }
    }
}

// ---- What was seen --------------------------------------------------------------------------------------------------

/// All were done.
pub(super) fn all_done(ended: &[Ended]) -> Claim {
    match ended.iter().find(|ended| ended.outcome != Outcome::Done) {
        None => Ok(()),
        Some(other) => Err(format!("{} after {:?}: {}", other.stack.name(), other.after, other.outcome).into()),
    }
}

/// All failed, so long after the beginning and with some slack, by something else than the user's deadline.
fn all_failed_within(ended: &[Ended], begin: Duration, limit: Duration) -> Claim {
    for Ended { stack, outcome, after } in ended {
        let failed = matches!(outcome, Outcome::Failed(error) if error != USERS_DEADLINE);
        if !failed || *after > begin + limit + SLACK {
            return Err(format!("{} after {after:?}: {outcome}", stack.name()).into());
        }
    }
    Ok(())
}

/// What is claimed of the ends at the dialing side, claimed of those at the listening side.
fn there(net: &mut Net, claim: fn(&[Ended]) -> Claim) -> Claim {
    let outcomes = net.settle()?.outcomes;
    let ended = outcomes.into_iter().map(|(stack, outcome)| Ended { stack, outcome, after: Duration::ZERO });
    claim(&ended.collect::<Vec<_>>()).map_err(|why| format!("at the listening end: {why}").into())
}

fn all_failed(ended: &[Ended]) -> Claim {
    all_failed_within(ended, Duration::ZERO, Duration::MAX / 2)
}

/// Every transfer that is encrypted failed at one end at least, and none was taken for something else.
fn no_wrong_data(ended: &[Ended], there: &[(Stack, Outcome)]) -> Claim {
    let here = ended.iter().map(|ended| (ended.stack, &ended.outcome));
    let both = here.clone().chain(there.iter().map(|(stack, outcome)| (*stack, outcome)));
    for (stack, outcome) in both {
        ensure(stack == Stack::Ws || *outcome != Outcome::Wrong, "wss and upgrade never hand on wrong data")?;
    }
    for (stack, outcome) in here {
        ensure(stack == Stack::Ws || *outcome != Outcome::Done, "wss and upgrade notice")?;
    }
    Ok(())
}

/// How many ended how, over each stack.
fn summary(ended: &[Ended]) -> String {
    let mut kinds = BTreeMap::<String, (usize, Duration)>::new();
    for Ended { stack, outcome, after } in ended {
        // The innermost cause says most, but for the links that some have.
        let text = outcome.to_string();
        let text = text.rsplit(": ").find(|part| !part.starts_with("http")).unwrap_or_default();
        let (times, longest) = kinds.entry(format!("{} {text}", stack.name())).or_default();
        *times += 1;
        *longest = (*longest).max(*after);
    }
    let kinds =
        kinds.into_iter().map(|(kind, (times, longest))| format!("{times} {kind} ({:.1} s)", longest.as_secs_f32()));
    kinds.collect::<Vec<_>>().join(", ")
}

/// The same, with what happened to the packets.
fn seen(net: &Net, ended: &[Ended]) -> String {
    let counts = net.relay.counts();
    let named = [
        (counts.passed, "passed"),
        (counts.lost, "lost"),
        (counts.duplicated, "doubled"),
        (counts.corrupted, "corrupted"),
        (counts.swapped, "with words swapped"),
    ];
    let named = named.iter().filter(|(count, _)| *count > 0).map(|(count, name)| format!("{count} {name}"));
    format!("{}; packets: {}", summary(ended), named.collect::<Vec<_>>().join(", "))
}

// ---- Faults that heal -----------------------------------------------------------------------------------------------

fn lossy(net: &mut Net, faults: Faults) -> Result<String, Why> {
    let (faulty, len) = (faults.delay + faults.jitter > Duration::ZERO || faults.lose + faults.corrupt > 0.0, MIB);
    net.relay.set(faults);
    let ended = net.transfers(load(2, if faulty { len } else { 4 * len }), |_| Ok(()))?;
    all_done(&ended)?;
    let seen = seen(net, &ended);
    there(net, all_done)?;
    Ok(seen)
}

fn outage(net: &mut Net) -> Result<String, Why> {
    let load = load(2, 8 * MIB);
    let ended = net.transfers(load, |net| {
        net.received(load, MIB)?;
        net.relay.set(Faults { cut: [true, true], ..Faults::default() });
        thread::sleep(ms(2000));
        net.relay.set(Faults::default());
        Ok(())
    })?;
    all_done(&ended)?;
    ensure(ended.iter().all(|ended| ended.after > ms(2000)), "the outage came in the middle")?;
    there(net, all_done)?;
    Ok(summary(&ended))
}

fn link_down_up(net: &mut Net) -> Result<String, Why> {
    let load = load(2, 8 * MIB);
    let ended = net.transfers(load, |net| {
        net.received(load, MIB)?;
        net.near.ip("link set tun0 down")?;
        thread::sleep(ms(2000));
        net.near.ip("link set tun0 up")
    })?;
    all_done(&ended)?;
    ensure(ended.iter().all(|ended| ended.after > ms(2000)), "the link was down in the middle")?;
    there(net, all_done)?;
    Ok(summary(&ended))
}

fn frozen_thawed(net: &mut Net) -> Result<String, Why> {
    let (load, mut parked) = (load(2, 8 * MIB), 0);
    let ended = net.transfers(load, |net| {
        net.received(load, MIB)?;
        net.peer.freeze()?;
        thread::sleep(ms(1000));
        let before = net.progress.bytes.load(SeqCst);
        thread::sleep(ms(1000));
        parked = net.progress.bytes.load(SeqCst) - before;
        net.peer.thaw()
    })?;
    all_done(&ended)?;
    ensure(parked == 0, "nothing moves while the peer is frozen")?;
    there(net, all_done)?;
    Ok(summary(&ended))
}

// ---- Corruption -----------------------------------------------------------------------------------------------------

fn swapped_words(net: &mut Net) -> Result<String, Why> {
    net.relay.set(Faults { swap: 0.01, ..Faults::default() });
    let ended = net.transfers(load(4, 4 * MIB).within(10), |_| Ok(()))?;
    let seen = seen(net, &ended);
    no_wrong_data(&ended, &net.settle()?.outcomes)?;
    Ok(seen)
}

fn cut(net: &mut Net, by: Cut) -> Result<String, Why> {
    let mut all = Vec::new();
    for after in [1, 100, 700, 5_000, 100_000] {
        let ended = net.mangled_transfers(load(1, MIB), Mangle { cut: Some((after, by)), ..Mangle::default() })?;
        all_failed_within(&ended, Duration::ZERO, Duration::ZERO)?;
        all.extend(ended);
    }
    there(net, all_failed)?;
    Ok(summary(&all))
}

// ---- Networks that are gone -----------------------------------------------------------------------------------------

fn gone(net: &mut Net, len: u64, fault: impl FnOnce(&Net) -> Claim) -> Result<String, Why> {
    let (load, begin) = (load(2, len), Instant::now());
    let mut at = Duration::ZERO;
    let ended = net.transfers(load, |net| {
        match len {
            // Long enough to be open at both ends.
            0 => thread::sleep(ms(1500)),
            _ => net.received(load, 4 * MIB)?,
        }
        at = begin.elapsed();
        fault(net)
    })?;
    all_failed_within(&ended, at, DEAD)?;
    let seen = summary(&ended);
    // At the listening end too, while the network is still gone.
    let there = net.peer.settle(DEAD + SLACK)?;
    ensure(there.tasks == 0, "both ends notice")?;
    Ok(format!("{seen}; cut at {:.1} s", at.as_secs_f32()))
}

fn blackhole(net: &mut Net, cut: [bool; 2], len: u64) -> Result<String, Why> {
    gone(net, len, |net| {
        net.relay.set(Faults { cut, ..Faults::default() });
        Ok(())
    })
}

fn link_down(net: &mut Net) -> Result<String, Why> {
    let seen = gone(net, 256 * MIB, |net| net.far.ip("link set tun0 down"));
    net.far.ip("link set tun0 up")?;
    seen
}

fn blackhole_anywhere(net: &mut Net) -> Result<String, Why> {
    const PACKETS: u64 = 60;
    net.relay.set(Faults { cut_flows: Some(PACKETS as u32), delay: ms(1), ..Faults::default() });
    let ended = net.transfers(load(PACKETS / 3, 10_000), |_| Ok(()))?;
    let limit = ms(5000) + DEAD + SLACK;
    for Ended { stack, outcome, after } in &ended {
        let late = *after > limit || matches!(outcome, Outcome::Failed(error) if error == USERS_DEADLINE);
        if late || *outcome == Outcome::Wrong {
            return Err(format!("{} after {after:?}: {outcome}", stack.name()).into());
        }
    }
    let there = net.peer.settle(limit)?;
    ensure(there.tasks == 0, "both ends notice")?;
    let done = ended.iter().filter(|ended| ended.outcome == Outcome::Done).count();
    let longest = ended.iter().map(|ended| ended.after).max().unwrap_or_default();
    Ok(format!("{done} of {} done, the others failed; the longest took {:.1} s", ended.len(), longest.as_secs_f32()))
}

// ---- A peer that is frozen ------------------------------------------------------------------------------------------

/// Does something with a frozen peer, then thaws it.
fn frozen(net: &mut Net, work: impl FnOnce(&Net) -> Result<String, Why> + Send) -> Result<String, Why> {
    let this = &*net;
    let seen = this.near.enter(|| work(this));
    net.peer.thaw()?;
    net.settle()?;
    seen?
}

const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// Connections over ws and wss that asked for so many bytes.
async fn open(net: &Net, dialer: &Dialer, len: u64) -> Result<[(Stack, Connection); 2], Why> {
    let connection = async |stack| {
        let mut connection = dialer.dial(&net.address(stack)?).await?;
        connection.write_all(&[net.seed.to_be_bytes(), len.to_be_bytes()].concat()).await?;
        connection.flush().await?;
        Ok::<_, Why>((stack, connection))
    };
    Ok([connection(Stack::Ws).await?, connection(Stack::Wss).await?])
}

/// Does the same with both at once, for the peer's keepalive goes on meanwhile; joins what was seen.
async fn with_both(
    [a, b]: [(Stack, Connection); 2],
    work: impl AsyncFn(Stack, Connection) -> Result<String, Why>,
) -> Result<String, Why> {
    let (a, b) = future::try_zip(work(a.0, a.1), work(b.0, b.1)).await?;
    Ok(format!("{a}, {b}"))
}

async fn park_and_close(net: &Net, fault: impl Fn(&Net) -> Claim) -> Result<String, Why> {
    let config = StreamConfig::new().with_close_timeout(CLOSE_TIMEOUT);
    let dialer = net.plain_dialer.clone().with_stream_config(config);
    let connections = open(net, &dialer, 256 * MIB).await?;
    fault(net)?;
    with_both(connections, async |stack, mut connection| {
        let taken = park(&mut connection, ms(500)).await?;
        let begin = Instant::now();
        let closed = connection.close().await;
        let took = begin.elapsed();
        ensure(closed.is_err_and(|error| error.kind() == ErrorKind::TimedOut), "closing says that data is lost")?;
        ensure(took < CLOSE_TIMEOUT + SLACK, "closing is bounded")?;
        ensure((taken as u64) < 64 * MIB, "a writer parks")?;
        Ok(format!("{} parked after {} KiB, closed in {:.1} s", stack.name(), taken / 1024, took.as_secs_f32()))
    })
    .await
}

async fn frozen_keepalive(net: &Net) -> Result<String, Why> {
    // They ask for nothing: with data under way the peer's keepalive would end them as well, by a reset.
    let writers = open(net, &net.dialer, 0).await?;
    let readers = open(net, &net.dialer, 0).await?;
    net.peer.freeze()?;
    let begin = Instant::now();
    let ended = with_both(writers, async |stack, mut connection| {
        let error = loop {
            // It parks now and then, and writes again.
            if let Err(error) = park(&mut connection, ms(500)).await {
                break error;
            }
            ensure(begin.elapsed() < DEAD + SLACK, "keepalive ends a writer")?;
        };
        ensure(error.kind() == ErrorKind::TimedOut, "it is our keepalive that ends a writer")?;
        Ok(format!("{} writer: {error} after {:.1} s", stack.name(), begin.elapsed().as_secs_f32()))
    });
    let ended = ended.await?;
    let left = (DEAD + SLACK).saturating_sub(begin.elapsed());
    Timer::after(left).await;
    let wait = with_both(readers, async |stack, mut connection| {
        let waits = future::or(async { Err(connection.read(&mut [0]).await) }, async {
            Timer::after(ms(500)).await;
            Ok(())
        });
        ensure(waits.await.is_ok(), "a reader waits on")?;
        Ok(format!("{} reader waits after {:.1} s", stack.name(), begin.elapsed().as_secs_f32()))
    });
    Ok(format!("{ended}, {}", wait.await?))
}
