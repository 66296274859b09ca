//! A small libp2p node for the shell, on `Upgrader` alone: identify, ping, echo and libp2p's benchmark protocol.
//!
//! ```text
//! cargo run --release --example peer --features upgrade -- listen /ip4/0.0.0.0/tcp/4001/ws
//! cargo run --release --example peer --features upgrade -- dial /ip4/127.0.0.1/tcp/4001/ws/p2p/12D3KooW... --mib 64
//! ```
//!
//! * `peer listen <multiaddr>... [--tls CHAIN.pem KEY.pem]` prints a line of JSON, `{"addr": "<multiaddr>"}`, for each of
//!   its addresses, and serves `/ipfs/id/1.0.0`, `/ipfs/ping/1.0.0`, `/echo/1.0.0` (bytes come back until the writer
//!   half-closes) and `/perf/1.0.0` until SIGTERM. Its identity is a new one at every start.
//! * `peer dial <multiaddr> [--ca CA.pem] [--mib N] [--streams N] [--pings N] [--timeout S] [--late-close]
//!   [--perf UP_MIB,DOWN_MIB] [--first-byte]` identifies the peer, pings it 3 times, and sends 1 MiB on each of 1 parallel
//!   echo streams, comparing what comes back, all within 60 s (or as told). It prints a line of JSON with `ok`, `peer`,
//!   `agent`, `rtt_ms` (the median), `bytes` (that came back) and `error`, and ends with 0 or 1.
//!
//!   With `--late-close` streams are half-closed only after everything is back. `--perf` then measures `/perf/1.0.0`, in
//!   writes of 64 KiB: `perf_up_s`, until the answer begins, `perf_down_s`, and `cpu_s`, the processor time of this
//!   process in both. `--first-byte` first of all tells as `first_byte_ms` how long it took from the start of the dial
//!   until a first byte was echoed, and with `--pings 0 --streams 0` nothing else is done.

mod arguments;
mod dial;
mod echo;
mod failure;
mod identify;
mod listen;
mod perf;
mod ping;
mod process;
mod progress;
mod report;
mod serve;

use std::io::{self, Write};
use std::process::ExitCode;

use smol::LocalExecutor;

use arguments::{Arguments, Command};
use failure::{Result, chain};

/// One thread runs everything, for as long as the program.
type Executor = &'static LocalExecutor<'static>;

fn main() -> ExitCode {
    let arguments = match Arguments::parse(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(error) => {
            note(&chain(&*error));
            return ExitCode::from(2);
        }
    };
    let executor: Executor = Box::leak(Box::default());
    let done = smol::block_on(executor.run(async {
        match arguments.command {
            Command::Listen => listen::listen(executor, &arguments).await.map(|()| true),
            Command::Dial => {
                let report = dial::dial(executor, &arguments).await;
                say(&report.to_string()).map(|()| report.ok)
            }
        }
    }));
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            note(&chain(&*error));
            ExitCode::FAILURE
        }
    }
}

/// Prints a line that is a result.
fn say(line: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}

/// Prints a line that is none; nothing is lost if nobody can read it.
fn note(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use futures_lite::{AsyncReadExt, AsyncWriteExt};
    use ws_transport::Dialer;
    use ws_transport::multiaddr::Protocol;
    use ws_transport::upgrade::Upgrader;
    use ws_transport::upgrade::identity::Keypair;

    use super::*;
    use listen::Server;
    use report::Report;

    /// Runs a test beside a node that listens.
    fn with_server(test: impl AsyncFnOnce(Executor, &Server)) {
        let executor: Executor = Box::leak(Box::default());
        smol::block_on(executor.run(async {
            let listen = Arguments::parse(["listen", "/ip4/127.0.0.1/tcp/0/ws"]).unwrap();
            let server = Server::start(executor, &listen).await.unwrap();
            test(executor, &server).await;
            server.close().await;
        }));
    }

    async fn dial(executor: Executor, server: &Server, options: &str) -> Report {
        let line = format!("dial {} {options}", server.addresses[0]);
        dial::dial(executor, &Arguments::parse(line.split_whitespace()).unwrap()).await
    }

    #[test]
    fn everything_is_served_and_comes_back_whole() {
        with_server(async |executor, server| {
            for late_close in ["", "--late-close"] {
                let options = format!("--streams 3 --mib 2 --perf 1,2 --first-byte {late_close}");
                let report = dial(executor, server, &options).await;
                assert!(report.ok, "{report}");
                assert_eq!(report.bytes, 6 << 20);
                assert!(
                    report.agent.is_some() && report.rtt_ms.is_some() && report.first_byte_ms.is_some(),
                    "{report}"
                );
                assert!(report.perf_up_s.is_some() && report.perf_down_s.is_some(), "{report}");
            }
        });
    }

    #[test]
    fn the_first_byte_may_be_all() {
        with_server(async |executor, server| {
            let report = dial(executor, server, "--first-byte --streams 0 --pings 0").await;
            assert!(report.ok && report.first_byte_ms.is_some(), "{report}");
            assert_eq!(report.agent, None);
        });
    }

    #[test]
    fn nobody_else_is_talked_to() {
        with_server(async |executor, server| {
            let stranger = Keypair::generate_ed25519().public().to_peer_id().to_string();
            let address = server.addresses[0].to_string();
            let (address, _) = address.rsplit_once('/').unwrap();
            let arguments = Arguments::parse(["dial", &format!("{address}/{stranger}")]).unwrap();
            let report = dial::dial(executor, &arguments).await;
            assert!(!report.ok && report.error.as_ref().is_some_and(|error| error.contains(&stranger)), "{report}");
        });
    }

    #[test]
    fn a_dial_that_takes_too_long_is_ended() {
        with_server(async |executor, server| {
            let report = dial(executor, server, "--mib 4000 --timeout 0").await;
            assert_eq!(report.error.as_deref(), Some("not done after 0 s"));
        });
    }

    #[test]
    fn what_fails_ends_nothing_else() {
        with_server(async |executor, server| {
            let address = &server.addresses[0];
            let port = address.iter().find_map(|part| match part {
                Protocol::Tcp(port) => Some(port),
                _ => None,
            });
            let mut garbage = TcpStream::connect(("127.0.0.1", port.unwrap())).unwrap();
            garbage.write_all(b"\x16\x03\x01 this is nobody's protocol\r\n\r\n").unwrap();

            let upgrader = Upgrader::new(&Keypair::generate_ed25519()).unwrap();
            let (session, driver) = upgrader.dial_address(&Dialer::new(), address).await.unwrap();
            let driver = executor.spawn(driver);
            let mut cut_off = session.open([perf::PROTOCOL]).await.unwrap();
            cut_off.write_all(&[0; 3]).await.unwrap();
            cut_off.flush().await.unwrap();
            cut_off.reset();
            let mut greedy = session.open([perf::PROTOCOL]).await.unwrap();
            greedy.write_all(&[0xff; 100]).await.unwrap();
            assert!(greedy.read(&mut [0]).await.is_err());
            // The session has outlived its streams, and the node outlives the session.
            assert_eq!(ping::ask(&session, 1).await.unwrap().len(), 1);
            drop(driver);

            let report = dial(executor, server, "").await;
            assert!(report.ok, "{report}");
        });
    }
}
