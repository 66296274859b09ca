//! Dials a multiaddr, sends a line and prints the line that comes back.

use std::error::Error;
use std::io::Write;

use futures_lite::future::block_on;
use futures_lite::{AsyncReadExt, AsyncWriteExt};
use ws_transport::Dialer;

fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).ok_or("usage: dialer MULTIADDR")?;
    block_on(async {
        let mut connection = Dialer::new().dial(&address).await?;
        connection.write_all(b"hello\n").await?;
        let mut answer = [0; 6];
        connection.read_exact(&mut answer).await?;
        connection.close().await?;
        std::io::stdout().write_all(&answer)?;
        Ok(())
    })
}
