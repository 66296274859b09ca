//! Listens, prints the address, and gives one connection back what it sends. For trying the dialers.

use std::error::Error;

use futures_lite::future::block_on;
use futures_lite::{AsyncReadExt, AsyncWriteExt};
use ws_transport::Listener;

fn main() -> Result<(), Box<dyn Error>> {
    block_on(async {
        let listener = Listener::bind("/ip4/127.0.0.1/tcp/0/ws").await?;
        println!("{}", listener.addresses()?[0]);
        let mut connection = listener.accept().await?.await?;
        let mut line = [0; 6];
        connection.read_exact(&mut line).await?;
        connection.write_all(&line).await?;
        connection.close().await?;
        // Until the dialer's Close: a socket dropped before may be reset.
        connection.read_to_end(&mut Vec::new()).await?;
        Ok(())
    })
}
