//! Two ways to a WebSocket in a Tokio program: over Tokio's own sockets, and by the dialer and listener of this crate.
//!
//! ```text
//! cargo run --example tokio
//! ```

use std::error::Error;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::compat::{FuturesAsyncReadCompatExt, TokioAsyncReadCompatExt};
use ws_transport::handshake::{self, ClientRequest, ServerOptions};
use ws_transport::{Dialer, Listener, StreamConfig};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    // Tokio's sockets: `compat` on the way in, and `compat` again to read and write the stream by Tokio's traits.
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let server = tokio::spawn(async move {
        let (tcp, _) = listener.accept().await?;
        echo(handshake::server(tcp.compat(), &ServerOptions::new()).await?.compat()).await
    });
    let tcp = TcpStream::connect(address).await?;
    tcp.set_nodelay(true)?;
    let request = ClientRequest::new(&address.to_string(), "/")?;
    greet(handshake::client(tcp.compat(), &request, StreamConfig::new()).await?.compat()).await?;
    server.await??;
    println!("over Tokio's sockets: done");

    // By multiaddr, with names, TLS and deadlines; these sockets are async-io's, whose reactor has a thread of its own.
    let listener = Listener::bind("/ip4/127.0.0.1/tcp/0/ws").await?;
    let address = listener.addresses()?.remove(0);
    let server = tokio::spawn(async move { echo(listener.accept().await?.await?.compat()).await });
    greet(Dialer::new().dial(&address).await?.compat()).await?;
    server.await??;
    println!("over {address}: done");
    Ok(())
}

/// Sends a greeting, waits for it to come back, and closes.
async fn greet(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> std::io::Result<()> {
    stream.write_all(b"hello from tokio").await?;
    let mut answer = [0; 16];
    stream.read_exact(&mut answer).await?;
    assert_eq!(&answer, b"hello from tokio");
    stream.shutdown().await?;
    assert_eq!(stream.read(&mut answer).await?, 0, "the server closes too");
    Ok(())
}

/// Sends back what comes until the client closes.
async fn echo(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> std::io::Result<()> {
    let mut buf = [0; 4096];
    loop {
        match stream.read(&mut buf).await? {
            0 => return stream.shutdown().await,
            len => stream.write_all(&buf[..len]).await?,
        }
    }
}
