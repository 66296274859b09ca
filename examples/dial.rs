//! Standard input and output through a multiaddr: a netcat for WebSockets. A typed line leaves at once.
//!
//! ```text
//! cargo run --example dial -- /dns/example.com/tcp/443/tls/ws
//! cargo run --example dial -- /ip4/127.0.0.1/tcp/8443/tls/ws --ca ca.pem
//! cargo run --example dial -- /ip4/127.0.0.1/tcp/8443/tls/ws --insecure
//! ```
//!
//! The end of the input closes the connection, and a failure or a close code other than 1000 and 1001 is told on
//! standard error.

mod pipe;

use std::error::Error;
use std::process::ExitCode;

use smol::Unblock;
use ws_transport::Dialer;
use ws_transport::tls::Connector;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let mut address = None;
    let mut dialer = Dialer::new().with_stream_config(pipe::STREAM);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--ca" => {
                let roots = std::fs::read(args.next().ok_or("--ca needs a file")?)?;
                dialer = dialer.with_tls(Connector::builder().pem_roots(roots).build()?);
            }
            "--insecure" => {
                dialer = dialer.with_tls(Connector::builder().dangerously_skip_verification().build()?);
            }
            _ => address = Some(arg),
        }
    }
    let address = address.ok_or("usage: dial MULTIADDR [--ca FILE | --insecure]")?;
    smol::block_on(async {
        let connection = dialer.dial(&address).await?;
        eprintln!("connected to {address}");
        pipe::pipe(connection, &mut Unblock::new(std::io::stdin())).await?;
        Ok(())
    })
}
