//! The command `dial`: identify, pings, echoes, perf.

use std::time::{Duration, Instant};

use futures_lite::AsyncWriteExt;
use futures_lite::future::or;
use smol::Timer;
use ws_transport::Dialer;
use ws_transport::multiaddr::{Multiaddr, Protocol};
use ws_transport::tls::Connector;
use ws_transport::upgrade::Session;
use ws_transport::upgrade::identity::Keypair;

use crate::arguments::Arguments;
use crate::echo::{self, Echo};
use crate::failure::{Context, Result, chain};
use crate::progress::Bar;
use crate::report::Report;
use crate::serve::{BASIC, Node};
use crate::{Executor, identify, perf, ping};

/// How long the peer may take to see the session out, when all is done.
const FAREWELL: Duration = Duration::from_secs(1);

/// Does all that is asked for, or tells what went wrong.
pub(crate) async fn dial(executor: Executor, arguments: &Arguments) -> Report {
    let mut report = Report::default();
    let work = talk(executor, arguments, &mut report);
    let late = async {
        Timer::after(arguments.timeout).await;
        Err(format!("not done after {} s", arguments.timeout.as_secs()).into())
    };
    match or(work, late).await {
        Ok(()) => report.ok = true,
        Err(error) => report.error = Some(chain(&*error)),
    }
    report
}

async fn talk(executor: Executor, arguments: &Arguments, report: &mut Report) -> Result<()> {
    let address = arguments.addresses.first().ok_or("no address")?;
    let mut dialer = Dialer::new();
    if let Some(ca) = &arguments.ca {
        let roots = std::fs::read(ca).during(ca)?;
        dialer = dialer.with_tls(Connector::builder().pem_roots(roots).build()?);
    }
    let node = Node::new(executor, &Keypair::generate_ed25519(), &BASIC, &[])?;

    let start = Instant::now();
    let (session, driver) = node.upgrader.dial_address(&dialer, address).await?;
    executor.spawn(driver).detach();
    report.peer = Some(session.peer().to_string());
    let served = (session.clone(), without_peer(address));
    executor.spawn(async move { node.serve(&served.0, &served.1).await }).detach();

    let done = ask(executor, &session, start, arguments, report).await;
    // A peer that does not take its leave has done all the same.
    let close = async { _ = session.close().await };
    or(close, async { _ = Timer::after(FAREWELL).await }).await;
    done
}

async fn ask(
    executor: Executor,
    session: &Session,
    start: Instant,
    arguments: &Arguments,
    report: &mut Report,
) -> Result<()> {
    if arguments.first_byte {
        let mut stream = echo::first_byte(session).await.during("first byte")?;
        report.first_byte_ms = Some(milliseconds(start.elapsed()));
        stream.close().await.during("first byte")?;
        if arguments.only_first_byte() {
            return Ok(());
        }
    }
    report.agent = Some(identify::ask(session).await.during("identify")?.agent_version);
    if arguments.pings > 0 {
        let mut times = ping::ask(session, arguments.pings).await.during("ping")?;
        times.sort();
        report.rtt_ms = times.get(times.len() / 2).copied().map(milliseconds);
    }
    echoes(executor, session, arguments, report).await?;
    if let Some((up, down)) = arguments.perf {
        let (up, down) = (u64::from(up) << 20, u64::from(down) << 20);
        let bar = Bar::new("perf", up + down);
        let measured = perf::ask(session, up, down, &bar.progress()).await.during("perf")?;
        report.perf_up_s = Some(measured.up.as_secs_f64());
        report.perf_down_s = Some(measured.down.as_secs_f64());
        report.cpu_s = Some(measured.cpu.as_secs_f64());
    }
    Ok(())
}

/// All streams at a time; the first that fails ends the others.
async fn echoes(executor: Executor, session: &Session, arguments: &Arguments, report: &mut Report) -> Result<()> {
    let length = u64::from(arguments.mib) << 20;
    let bar = Bar::new("echo", length.saturating_mul(arguments.streams.into()));
    let tasks: Vec<_> = (0..arguments.streams)
        .map(|index| {
            let echo = Echo { seed: index.into(), mib: arguments.mib, late_close: arguments.late_close };
            let (session, progress) = (session.clone(), bar.progress());
            executor.spawn(async move { echo.run(&session, &progress).await.during(format!("echo stream {index}")) })
        })
        .collect();
    for task in tasks {
        task.await?;
        report.bytes += length;
    }
    Ok(())
}

fn without_peer(address: &Multiaddr) -> Multiaddr {
    address.iter().filter(|part| !matches!(part, Protocol::P2p(_))).collect()
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
