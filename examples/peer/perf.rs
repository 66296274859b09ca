//! `/perf/1.0.0`: so many bytes up, so many down, in 64 KiB writes (libp2p's perf specification).

use std::time::{Duration, Instant};

use futures_lite::{AsyncReadExt, AsyncWriteExt, io};
use ws_transport::upgrade::{Session, Stream};

use crate::echo::CHUNK;
use crate::failure::{Context, Result};
use crate::process;
use crate::progress::Progress;

pub(crate) const PROTOCOL: &str = "/perf/1.0.0";

/// Most bytes in each direction that a client is served: 64 GiB, so that none keeps us busy for ever.
const MAX_TRANSFER: u64 = 64 << 30;

/// Reads how much the client wants and what it sends, to its end, and then sends it that much.
pub(crate) async fn serve(mut stream: Stream) -> io::Result<()> {
    let mut wanted = [0; 8];
    stream.read_exact(&mut wanted).await?;
    let wanted = u64::from_be_bytes(wanted);
    let mut buf = vec![0; CHUNK];
    let mut received = 0;
    loop {
        match stream.read(&mut buf).await? {
            0 => break,
            len => received += len as u64,
        }
        if wanted.max(received) > MAX_TRANSFER {
            return Err(io::Error::other("client wants to move more than 64 GiB"));
        }
    }
    send(&mut stream, wanted.min(MAX_TRANSFER), &Progress::default()).await?;
    stream.close().await
}

/// How long it took, and how much processor time of this process.
pub(crate) struct Measured {
    /// Until the answer began.
    pub(crate) up: Duration,
    pub(crate) down: Duration,
    pub(crate) cpu: Duration,
}

/// Moves so many bytes up, and then so many down.
pub(crate) async fn ask(session: &Session, up: u64, down: u64, progress: &Progress) -> Result<Measured> {
    let mut stream = session.open([PROTOCOL]).await?;
    let (used, start) = (process::cpu(), Instant::now());
    stream.write_all(&down.to_be_bytes()).await.during("write")?;
    send(&mut stream, up, progress).await.during("write")?;
    stream.close().await.during("close")?;

    // Everything has arrived when the answer begins, or ends without a byte.
    let mut buf = vec![0; CHUNK];
    let mut len = stream.read(&mut buf).await.during("read")?;
    let (up, answered) = (start.elapsed(), Instant::now());
    let mut received = 0;
    while len > 0 {
        received += len as u64;
        progress.add(len as u64);
        len = stream.read(&mut buf).await.during(format!("read after {received} bytes"))?;
    }
    if received != down {
        return Err(format!("{received} bytes came instead of {down}").into());
    }
    Ok(Measured { up, down: answered.elapsed(), cpu: process::cpu().saturating_sub(used) })
}

/// Sends so many bytes of nothing in particular.
async fn send(stream: &mut Stream, mut left: u64, progress: &Progress) -> io::Result<()> {
    let chunk = vec![0; CHUNK];
    while left > 0 {
        let len = left.min(CHUNK as u64);
        stream.write_all(&chunk[..len as usize]).await?;
        progress.add(len);
        left -= len;
    }
    Ok(())
}
