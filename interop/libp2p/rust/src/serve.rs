//! What peers may open: echo, perf and, while dialing, ping.

use std::io;

use futures::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use libp2p::swarm::Stream;

use crate::streams::Inbound;

pub const ECHO: &str = "/echo/1.0.0";
pub const PERF: &str = "/perf/1.0.0";
pub const PING: &str = "/ipfs/ping/1.0.0";
pub const CHUNK: usize = 64 * 1024;

/// A stream that fails is dropped, and so reset.
pub async fn serve((protocol, stream): Inbound) -> io::Result<()> {
    match protocol.as_ref() {
        PERF => perf(stream).await,
        _ => echo(stream).await,
    }
}

async fn echo(mut stream: Stream) -> io::Result<()> {
    let mut buf = vec![0; CHUNK];
    loop {
        match stream.read(&mut buf).await? {
            0 => return stream.close().await,
            len => stream.write_all(&buf[..len]).await?,
        }
        stream.flush().await?;
    }
}

async fn perf(mut stream: Stream) -> io::Result<()> {
    let mut wanted = [0; 8];
    stream.read_exact(&mut wanted).await?;
    let mut buf = vec![0; CHUNK];
    while stream.read(&mut buf).await? > 0 {}
    send(&mut stream, u64::from_be_bytes(wanted)).await?;
    stream.close().await
}

/// Writes that many bytes of nothing in particular, 64 KiB at a time.
pub async fn send(stream: &mut (impl AsyncWrite + Unpin), length: u64) -> io::Result<()> {
    let buf = vec![0; CHUNK];
    let mut left = length;
    while left > 0 {
        let len = usize::try_from(left).map_or(CHUNK, |left| left.min(CHUNK));
        stream.write_all(&buf[..len]).await?;
        left -= len as u64;
    }
    Ok(())
}
