//! Dials and listens on async-std: a line goes to the other task and comes back in capitals.
//!
//! ```text
//! cargo run --example async_std
//! ```

use std::error::Error;

use async_std::task;
use futures_lite::{AsyncBufReadExt, AsyncWriteExt};
use ws_transport::{Dialer, Incoming, Listener};

fn main() -> Result<(), Box<dyn Error>> {
    task::block_on(async {
        let listener = Listener::bind("/ip4/127.0.0.1/tcp/0/ws").await?;
        let address = listener.addresses()?.remove(0);
        println!("listening on {address}");
        let server = task::spawn(async move { serve(listener.accept().await?).await });

        let mut connection = Dialer::new().dial(&address).await?;
        connection.write_all(b"hello from async-std\n").await?;
        // A read that waits first sends what was written: no flush is needed to get an answer.
        let mut answer = String::new();
        connection.read_line(&mut answer).await?;
        print!("{answer}");
        assert_eq!(answer, "HELLO FROM ASYNC-STD\n");

        connection.close().await?;
        Ok(server.await?)
    })
}

/// Answers every line until the client closes.
async fn serve(incoming: Incoming) -> std::io::Result<()> {
    let mut connection = incoming.await?;
    let mut line = String::new();
    while connection.read_line(&mut line).await? > 0 {
        connection.write_all(line.to_uppercase().as_bytes()).await?;
        line.clear();
    }
    connection.close().await
}
