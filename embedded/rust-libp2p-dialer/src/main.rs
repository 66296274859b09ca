//! Dials a multiaddr, sends a line and prints the line that comes back, as `../dialer` does.

use std::error::Error;
use std::io::Write;

use futures_util::{AsyncReadExt, AsyncWriteExt};
use libp2p_core::transport::{DialOpts, PortUse};
use libp2p_core::{Endpoint, Transport};

fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).ok_or("usage: rust-libp2p-dialer MULTIADDR")?.parse()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let tcp = libp2p_tcp::tokio::Transport::new(libp2p_tcp::Config::default());
        let mut transport = libp2p_websocket::Config::new(libp2p_dns::tokio::Transport::system(tcp)?);
        let options = DialOpts { role: Endpoint::Dialer, port_use: PortUse::New };
        let mut connection = transport.dial(address, options)?.await?;
        connection.write_all(b"hello\n").await?;
        connection.flush().await?;
        let mut answer = [0; 6];
        connection.read_exact(&mut answer).await?;
        connection.close().await?;
        std::io::stdout().write_all(&answer)?;
        Ok(())
    })
}
