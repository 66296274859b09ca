//! An echo for the Autobahn cases, as server or as client, of messages or of bytes.
//!
//! `messages` is made of the crate's `proto` alone and echoes every message as it came, text checked for UTF-8. `bytes` is
//! the crate's byte stream, which knows no messages. `interop/autobahn/run` drives both.
//!
//! ```text
//! cargo run --example autobahn -- messages server 127.0.0.1:9001
//! cargo run --example autobahn -- bytes client 127.0.0.1:9001
//! ```

mod messages;

use std::error::Error;
use std::io;

use futures_lite::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, StreamExt};
use smol::net::{TcpListener, TcpStream};
use ws_transport::handshake::{self, ClientRequest, ServerOptions};
use ws_transport::proto::Role;
use ws_transport::{StreamConfig, WsStream};

use messages::Messages;

/// What the fuzzing server calls this client in its report.
const AGENT: &str = "ws-transport";

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    smol::block_on(async {
        match arguments[..] {
            [layer @ ("messages" | "bytes"), "server", address] => serve(layer == "messages", address).await,
            [layer @ ("messages" | "bytes"), "client", address] => run_cases(layer == "messages", address).await,
            _ => Err("usage: autobahn messages|bytes server|client HOST:PORT".into()),
        }
    })
}

/// Echoes to every client that comes.
async fn serve(messages: bool, address: &str) -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind(address).await?;
    println!("listening on {}", listener.local_addr()?);
    let mut incoming = listener.incoming();
    while let Some(io) = incoming.next().await {
        let mut io = io?;
        smol::spawn(async move {
            io.set_nodelay(true)?;
            let options = ServerOptions::new();
            if messages {
                let early = handshake::respond(&mut io, &options).await?;
                Messages::new(io, Role::Server, early).echo().await
            } else {
                echo_bytes(handshake::server(io, &options).await?).await
            }
        })
        .detach();
    }
    Ok(())
}

/// Asks the fuzzing server for its cases, runs them all, and asks for the report.
async fn run_cases(messages: bool, address: &str) -> Result<(), Box<dyn Error>> {
    let (mut io, early) = ask(address, "/getCaseCount").await?;
    let count = Messages::new(&mut io, Role::Client, early).next().await?.ok_or("no case count")?.into_text()?;
    for case in 1..=count.parse::<u32>()? {
        let target = format!("/runCase?case={case}&agent={AGENT}");
        // Most cases end in an error of the peer's making: the fuzzing server judges, not this end.
        let _ = if messages {
            let (io, early) = ask(address, &target).await?;
            Messages::new(io, Role::Client, early).echo().await
        } else {
            let request = ClientRequest::new(address, &target)?;
            echo_bytes(handshake::client(connect(address).await?, &request, StreamConfig::new()).await?).await
        };
    }
    // The server may be gone before it has said good-bye.
    let _ = ask(address, &format!("/updateReports?agent={AGENT}")).await;
    Ok(())
}

async fn ask(address: &str, target: &str) -> Result<(TcpStream, Vec<u8>), Box<dyn Error>> {
    let mut io = connect(address).await?;
    let early = handshake::request(&mut io, &ClientRequest::new(address, target)?).await?;
    Ok((io, early))
}

async fn connect(address: &str) -> io::Result<TcpStream> {
    let io = TcpStream::connect(address).await?;
    io.set_nodelay(true)?;
    Ok(io)
}

/// Sends back what comes until the peer closes.
async fn echo_bytes<IO: AsyncRead + AsyncWrite + Unpin>(mut stream: WsStream<IO>) -> io::Result<()> {
    let mut bytes = vec![0; 64 * 1024];
    let echoed = loop {
        match stream.read(&mut bytes).await {
            Ok(0) => break Ok(()),
            Ok(len) => stream.write_all(&bytes[..len]).await?,
            Err(error) => break Err(error),
        }
    };
    // After a breach of the protocol too: closing sees to it that the Close arrives.
    stream.close().await?;
    echoed
}
