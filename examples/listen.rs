//! Listens on a multiaddr: standard input and output through one connection after the other, or an echo for many.
//!
//! ```text
//! cargo run --example listen -- /ip4/127.0.0.1/tcp/8080/ws
//! cargo run --example listen -- /ip4/0.0.0.0/tcp/0/tls/ws --tls chain.pem key.pem --echo
//! ```
//!
//! The addresses to dial are printed to standard error, one a line.

mod pipe;

use std::error::Error;
use std::process::ExitCode;

use futures_lite::{AsyncReadExt, AsyncWriteExt, StreamExt, io};
use smol::{Executor, Unblock};
use ws_transport::tls::Acceptor;
use ws_transport::{Incoming, ListenOptions, Listener};

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
    let (mut address, mut echoes) = (None, false);
    let mut options = ListenOptions::new().with_stream_config(pipe::STREAM);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--echo" => echoes = true,
            "--tls" => {
                let mut file =
                    || std::fs::read(args.next().ok_or("--tls needs two files")?).map_err(Box::<dyn Error>::from);
                options = options.with_tls(Acceptor::builder(file()?, file()?).build()?);
            }
            _ => address = Some(arg),
        }
    }
    let address = address.ok_or("usage: listen MULTIADDR [--tls CHAIN KEY] [--echo]")?;
    smol::block_on(async {
        let listener = options.bind(&address).await?;
        for address in listener.addresses()? {
            eprintln!("{address}");
        }
        match echoes {
            true => echo_all(listener).await,
            false => pipe_each(listener).await,
        }
    })
}

/// One connection after the other; those who come meanwhile wait.
async fn pipe_each(listener: Listener) -> Result<(), Box<dyn Error>> {
    let mut input = Unblock::new(std::io::stdin());
    let mut connections = listener.connections();
    while let Some(connection) = connections.next().await {
        let piped = async { pipe::pipe(connection?, &mut input).await };
        if let Err(error) = piped.await {
            eprintln!("{error}");
        }
    }
    Ok(())
}

/// Every connection, from its handshake on, in a task of its own.
async fn echo_all(listener: Listener) -> Result<(), Box<dyn Error>> {
    let executor = Executor::new();
    let accept = async {
        loop {
            let incoming = listener.accept().await?;
            let remote = incoming.remote_addr();
            let task = async move {
                match echo(incoming).await {
                    Ok(end) => eprintln!("{remote}: {end}"),
                    Err(error) => eprintln!("{remote}: {error}"),
                }
            };
            executor.spawn(task).detach();
        }
    };
    executor.run(accept).await
}

/// Sends back what comes until the client closes; returns who closed and why.
async fn echo(incoming: Incoming) -> io::Result<String> {
    let mut connection = incoming.await?;
    let mut buf = vec![0; 64 * 1024];
    loop {
        match connection.read(&mut buf).await {
            Ok(0) => break,
            Ok(len) => connection.write_all(&buf[..len]).await?,
            Err(error) => {
                // Tells the peer what was wrong, if it was the one to do wrong.
                let _ = connection.close().await;
                return Err(error);
            }
        }
    }
    connection.close().await?;
    Ok(connection.closed().map_or_else(String::new, ToString::to_string))
}
