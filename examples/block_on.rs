//! Dials and listens without an executor: two threads, each with a bare `block_on`.
//!
//! ```text
//! cargo run --example block_on
//! ```

use std::error::Error;
use std::{io, thread};

use futures_lite::future::block_on;
use futures_lite::{AsyncReadExt, AsyncWriteExt};
use ws_transport::{Dialer, Listener};

fn main() -> Result<(), Box<dyn Error>> {
    let listener = block_on(Listener::bind("/ip4/127.0.0.1/tcp/0/ws"))?;
    let address = listener.addresses()?.remove(0);
    println!("listening on {address}");
    let server = thread::spawn(|| block_on(greet(listener)));

    block_on(async {
        let mut connection = Dialer::new().dial(&address).await?;
        let mut greeting = String::new();
        // Reads to the server's Close.
        connection.read_to_string(&mut greeting).await?;
        println!("{greeting}");
        assert_eq!(greeting, "hello from the other thread");
        connection.close().await
    })?;
    Ok(server.join().expect("the server panicked")?)
}

/// Greets one client and closes.
async fn greet(listener: Listener) -> io::Result<()> {
    let mut connection = listener.accept().await?.await?;
    connection.write_all(b"hello from the other thread").await?;
    connection.close().await?;
    // Whoever drops a socket before the peer is done may reset it: wait for the peer's Close.
    connection.read_to_end(&mut Vec::new()).await?;
    Ok(())
}
