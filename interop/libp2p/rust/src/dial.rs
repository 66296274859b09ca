//! The command `dial`: identify, pings, echoes, perf.

use std::io;
use std::time::{Duration, Instant, SystemTime};

use futures::channel::mpsc;
use futures::future::try_join;
use futures::{AsyncReadExt, AsyncWriteExt, StreamExt};
use libp2p::PeerId;
use libp2p::identify;
use libp2p::swarm::{DialError, SwarmEvent};
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::Error;
use crate::arguments::Arguments;
use crate::node::{self, BehaviourEvent};
use crate::pattern::Pattern;
use crate::serve::{self, CHUNK, ECHO, PERF, PING};
use crate::streams::Opener;

const MIB: usize = 1 << 20;

type Events = mpsc::UnboundedReceiver<SwarmEvent<BehaviourEvent>>;

/// What there is to print.
pub async fn dial(arguments: Arguments) -> Value {
    let mut told = json!({"ok": false, "rtt_ms": null, "bytes": 0, "error": null});
    match timeout(arguments.timeout, talk(&arguments, &mut told)).await {
        Ok(Ok(())) => told["ok"] = json!(true),
        Ok(Err(error)) => told["error"] = json!(chain(&*error)),
        Err(_) => told["error"] = json!(format!("not done after {} s", arguments.timeout.as_secs())),
    }
    told
}

/// The error and its causes.
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let cause = error.to_string();
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
        source = error.source();
    }
    text
}

async fn talk(arguments: &Arguments, told: &mut Value) -> Result<(), Error> {
    let (mut swarm, opener, mut inbound) = node::swarm(arguments)?;
    let began = Instant::now();
    swarm.dial(arguments.addresses[0].clone())?;
    let (sender, mut events) = mpsc::unbounded();
    tokio::spawn(async move {
        while let Some(event) = swarm.next().await {
            let _ = sender.unbounded_send(event);
        }
    });
    tokio::spawn(async move {
        while let Some(stream) = inbound.next().await {
            tokio::spawn(serve::serve(stream));
        }
    });

    let peer = connected(&mut events).await?;
    told["peer"] = json!(peer.to_string());
    if arguments.first_byte {
        first_byte(&opener, peer).await.map_err(|error| format!("first byte: {error}"))?;
        told["first_byte_ms"] = json!(ms(began.elapsed()));
    }
    told["agent"] = json!(agent(&mut events).await.map_err(|error| format!("identify: {error}"))?);
    if arguments.pings > 0 {
        let rtt = ping(&opener, peer, arguments.pings).await.map_err(|error| format!("ping: {error}"))?;
        told["rtt_ms"] = json!(ms(rtt));
    }

    let mut echoes = JoinSet::new();
    for index in 0..arguments.streams {
        let (opener, mib, late_close) = (opener.clone(), arguments.mib, arguments.late_close);
        echoes.spawn(async move {
            echo(&opener, peer, index as u64, mib * MIB, late_close)
                .await
                .map_err(|error| format!("echo stream {index}: {error}"))
        });
    }
    let mut bytes = 0;
    while let Some(echoed) = echoes.join_next().await {
        echoed??;
        bytes += arguments.mib * MIB;
        told["bytes"] = json!(bytes);
    }
    if let Some((up, down)) = arguments.perf {
        perf(&opener, peer, up * MIB, down * MIB, told).await.map_err(|error| format!("perf: {error}"))?;
    }
    Ok(())
}

async fn connected(events: &mut Events) -> Result<PeerId, Error> {
    loop {
        match events.next().await {
            Some(SwarmEvent::ConnectionEstablished { peer_id, .. }) => return Ok(peer_id),
            // Its own text has each of the causes on lines of its own.
            Some(SwarmEvent::OutgoingConnectionError { error: DialError::Transport(attempts), .. }) => {
                let errors: Vec<_> =
                    attempts.iter().map(|(address, error)| format!("{address}: {}", chain(error))).collect();
                return Err(errors.join("; ").into());
            }
            Some(SwarmEvent::OutgoingConnectionError { error, .. }) => return Err(error.into()),
            Some(_) => {}
            None => return Err("the swarm ended".into()),
        }
    }
}

/// Waits for identify.
async fn agent(events: &mut Events) -> Result<String, Error> {
    loop {
        match events.next().await {
            Some(SwarmEvent::Behaviour(BehaviourEvent::Identify(event))) => match event {
                identify::Event::Received { info, .. } => return Ok(info.agent_version),
                identify::Event::Error { error, .. } => return Err(error.into()),
                _ => {}
            },
            Some(SwarmEvent::ConnectionClosed { cause, .. }) => {
                return Err(cause.map_or("the connection was closed".into(), Into::into));
            }
            Some(_) => {}
            None => return Err("the swarm ended".into()),
        }
    }
}

/// Opens the stream, sends one byte, and waits until it is back.
async fn first_byte(opener: &Opener, peer: PeerId) -> io::Result<()> {
    let mut stream = opener.open(peer, ECHO).await?;
    stream.write_all(&[1]).await?;
    stream.flush().await?;
    stream.read_exact(&mut [0]).await?;
    stream.close().await
}

/// The median of so many pings.
async fn ping(opener: &Opener, peer: PeerId, pings: usize) -> io::Result<Duration> {
    let mut stream = opener.open(peer, PING).await?;
    let mut source = Pattern::new(u64::from(SystemTime::UNIX_EPOCH.elapsed().map_or(0, |now| now.subsec_nanos())));
    let mut times = Vec::new();
    for _ in 0..pings {
        let (mut sent, mut got) = ([0; 32], [0; 32]);
        source.fill(&mut sent);
        let began = Instant::now();
        stream.write_all(&sent).await?;
        stream.flush().await?;
        stream.read_exact(&mut got).await?;
        times.push(began.elapsed());
        if sent != got {
            return Err(io::Error::other("other bytes came back"));
        }
    }
    stream.close().await?;
    times.sort();
    Ok(times[times.len() / 2])
}

async fn echo(opener: &Opener, peer: PeerId, index: u64, length: usize, late_close: bool) -> io::Result<()> {
    let (mut reader, mut writer) = opener.open(peer, ECHO).await?.split();
    let write = async {
        let mut source = Pattern::new(index);
        let mut buf = vec![0; CHUNK];
        for _ in 0..length / CHUNK {
            source.fill(&mut buf);
            writer.write_all(&buf).await?;
        }
        writer.flush().await?;
        if !late_close {
            writer.close().await?;
        }
        Ok(())
    };
    let read = async {
        let mut source = Pattern::new(index);
        let (mut wanted, mut got) = (vec![0; CHUNK], vec![0; CHUNK]);
        for at in (0..length).step_by(CHUNK) {
            reader
                .read_exact(&mut got)
                .await
                .map_err(|error| io::Error::new(error.kind(), format!("read after {at} bytes: {error}")))?;
            source.fill(&mut wanted);
            if wanted != got {
                return Err(io::Error::other(format!("other bytes came back, between {at} and {}", at + CHUNK)));
            }
        }
        Ok(())
    };
    try_join(write, read).await?;
    if late_close {
        writer.close().await?;
    }
    match reader.read(&mut [0]).await? {
        0 => Ok(()),
        _ => Err(io::Error::other("more came back than was sent")),
    }
}

async fn perf(opener: &Opener, peer: PeerId, up: usize, down: usize, told: &mut Value) -> Result<(), Error> {
    let mut stream = opener.open(peer, PERF).await?;
    let (spent, began) = (cpu(), Instant::now());
    stream.write_all(&(down as u64).to_be_bytes()).await?;
    serve::send(&mut stream, up as u64).await?;
    stream.close().await?;
    // Everything has arrived when the answer begins, or ends without a byte.
    let mut buf = vec![0; CHUNK];
    let mut len = stream.read(&mut buf).await?;
    let (up_s, answered) = (began.elapsed(), Instant::now());
    let mut got = len;
    while len > 0 {
        len = stream.read(&mut buf).await?;
        got += len;
    }
    if got != down {
        return Err(format!("{got} bytes came instead of {down}").into());
    }
    told["perf_up_s"] = json!(up_s.as_secs_f64());
    told["perf_down_s"] = json!(answered.elapsed().as_secs_f64());
    told["cpu_s"] = json!((cpu() - spent).as_secs_f64());
    Ok(())
}

/// The processor time that this process has used.
fn cpu() -> Duration {
    clock_gettime(ClockId::ProcessCPUTime).try_into().unwrap_or_default()
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
