//! A node of rust-libp2p with the command line of the example `peer`, for the interop matrix and the benchmarks:
//!
//! ```text
//! rust-libp2p-peer listen <multiaddr>... [--tls CHAIN.pem KEY.pem]
//! rust-libp2p-peer dial <multiaddr> [--ca CA.pem] [--mib N] [--streams N] [--pings N] [--timeout S] [--late-close]
//!     [--perf UP_MIB,DOWN_MIB] [--first-byte] [--lazy]
//! ```
//!
//! It also speaks plain `/ip4/.../tcp/...` addresses. `--first-byte` tells how long it took from the start of dialing
//! until the first byte of `/echo/1.0.0` was back, before anything else is done. `--lazy` negotiates the protocols of
//! streams lazily, which is not rust-libp2p's default. `--yamux-streams N`, for both commands, is libp2p-yamux's
//! `set_max_num_streams`; 4096 keeps yamux's windows at 256 KiB.

use std::process::ExitCode;

use arguments::Arguments;
use futures::StreamExt;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::SwarmEvent;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

mod arguments;
mod dial;
mod node;
mod pattern;
mod serve;
mod streams;

type Error = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = match Arguments::parse(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(2);
        }
    };
    if !arguments.listen {
        let told = dial::dial(arguments).await;
        println!("{told}");
        return if told["ok"] == true { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    match listen(&arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn listen(arguments: &Arguments) -> Result<(), Error> {
    let mut terminated = signal(SignalKind::terminate())?;
    let (mut swarm, _opener, mut inbound) = node::swarm(arguments)?;
    for address in &arguments.addresses {
        swarm.listen_on(address.clone())?;
    }
    tokio::spawn(async move {
        while let Some(stream) = inbound.next().await {
            tokio::spawn(serve::serve(stream));
        }
    });
    loop {
        tokio::select! {
            _ = terminated.recv() => return Ok(()),
            event = swarm.select_next_some() => match event {
                SwarmEvent::NewListenAddr { address, .. } => {
                    println!("{}", json!({"addr": address.with(Protocol::P2p(*swarm.local_peer_id()))}));
                }
                SwarmEvent::ListenerClosed { reason, .. } => return reason.map_err(Into::into),
                SwarmEvent::IncomingConnectionError { error, .. } => eprintln!("{}", dial::chain(&error)),
                _ => {}
            },
        }
    }
}
