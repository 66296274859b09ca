//! Listens on ws and wss, dials both by multiaddr, sends data there and back, checks every byte, and tells the rates.
//!
//! Nothing to prepare: the certificate is made here. The number is how many MiB to send, 256 if it is left out.
//!
//! ```text
//! cargo run --release --example echo -- 512
//! ```

use std::error::Error;
use std::io::{IsTerminal, Write, stderr};
use std::thread;
use std::time::Instant;

use futures_lite::future::{block_on, try_zip};
use futures_lite::{AsyncReadExt, AsyncWriteExt, io};
use ws_transport::tls::{Acceptor, Backend, Connector};
use ws_transport::{Connection, Dialer, ListenOptions, Listener};

const MIB: usize = 1024 * 1024;

fn main() -> Result<(), Box<dyn Error>> {
    let mib = std::env::args().nth(1).map_or(Ok(256), |arg| arg.parse())?;
    let (mut options, mut dialer) = (ListenOptions::new(), Dialer::new());
    let mut addresses = vec!["/ip4/127.0.0.1/tcp/0/ws"];

    if !Backend::compiled_in().is_empty() {
        let made = rcgen::generate_simple_self_signed(["localhost".into(), "127.0.0.1".into()])?;
        let (chain, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        options = options.with_tls(Acceptor::builder(chain.as_str(), key).build()?);
        dialer = dialer.with_tls(Connector::builder().pem_roots(chain).build()?);
        addresses.push("/ip4/127.0.0.1/tcp/0/tls/ws");
    }

    for address in addresses {
        let listener = block_on(options.bind(address))?;
        let address = listener.addresses()?.remove(0);
        let server = thread::spawn(move || block_on(serve(listener)));

        let start = Instant::now();
        block_on(async { exchange(dialer.dial(&address).await?, &address.to_string(), mib).await })?;
        let rate = mib as f64 / start.elapsed().as_secs_f64();
        println!("{address}: {mib} MiB there and back, every byte checked, {rate:.0} MiB/s each way");

        server.join().expect("the server panicked")?;
    }
    Ok(())
}

/// Takes one connection and sends back what comes until the client closes.
async fn serve(listener: Listener) -> io::Result<()> {
    let mut connection = listener.accept().await?.await?;
    let mut buf = vec![0; 64 * 1024];
    loop {
        match connection.read(&mut buf).await? {
            0 => return connection.close().await,
            len => connection.write_all(&buf[..len]).await?,
        }
    }
}

/// Sends `mib` MiB and compares what comes back with them, both at a time; then closes and waits for the server's Close.
async fn exchange(connection: Connection, name: &str, mib: usize) -> io::Result<()> {
    let (mut reader, mut writer) = io::split(connection);
    let send = async {
        let mut numbers = Numbers(1);
        let mut block = vec![0; MIB];
        for _ in 0..mib {
            numbers.fill(&mut block);
            writer.write_all(&block).await?;
        }
        writer.flush().await
    };
    let receive = async {
        let mut numbers = Numbers(1);
        let (mut expected, mut received) = (vec![0; MIB], vec![0; MIB]);
        for done in 1..=mib {
            reader.read_exact(&mut received).await?;
            numbers.fill(&mut expected);
            assert!(received == expected, "MiB {done} is not what was sent");
            show_progress(name, done, mib);
        }
        Ok(())
    };
    try_zip(send, receive).await?;
    writer.close().await?;
    assert_eq!(reader.read(&mut [0]).await?, 0, "more came back than was sent");
    Ok(())
}

/// Numbers that look random and are the same on both ends (Marsaglia's xorshift).
struct Numbers(u64);

impl Numbers {
    fn fill(&mut self, block: &mut [u8]) {
        for bytes in block.chunks_exact_mut(8) {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            bytes.copy_from_slice(&self.0.to_le_bytes());
        }
    }
}

/// A bar on a terminal, which goes when all is done; nothing elsewhere.
fn show_progress(name: &str, done: usize, of: usize) {
    if !stderr().is_terminal() {
        return;
    }
    let _ = match done == of {
        true => write!(stderr(), "\r\x1b[K"),
        false => write!(stderr(), "\r{name} [{:<40}] {done}/{of} MiB", "#".repeat(done * 40 / of)),
    };
}
