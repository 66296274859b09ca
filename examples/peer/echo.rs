//! `/echo/1.0.0`: bytes come back until the writer half-closes.

use futures_lite::future::try_zip;
use futures_lite::{AsyncReadExt, AsyncWriteExt, io};
use ws_transport::upgrade::{Session, Stream};

use crate::failure::{Context, Result};
use crate::progress::Progress;

pub(crate) const PROTOCOL: &str = "/echo/1.0.0";

/// Bytes that are written, read and compared at a time: 64 KiB.
pub(crate) const CHUNK: usize = 64 * 1024;

/// Sends back what comes until the peer half-closes. What it does not read is not read from it either.
pub(crate) async fn serve(mut stream: Stream) -> io::Result<()> {
    let mut buf = vec![0; CHUNK];
    loop {
        match stream.read(&mut buf).await? {
            0 => return stream.close().await,
            len => stream.write_all(&buf[..len]).await?,
        }
        stream.flush().await?;
    }
}

/// Has one byte echoed.
pub(crate) async fn first_byte(session: &Session) -> Result<Stream> {
    let mut stream = session.open([PROTOCOL]).await?;
    stream.write_all(&[1]).await?;
    stream.flush().await?;
    stream.read_exact(&mut [0]).await?;
    Ok(stream)
}

/// What is sent on one stream.
pub(crate) struct Echo {
    /// Streams of different seeds have different contents.
    pub(crate) seed: u64,
    pub(crate) mib: u32,
    /// Half-close only after everything is back.
    pub(crate) late_close: bool,
}

impl Echo {
    /// Sends it and compares what comes back, both at a time.
    pub(crate) async fn run(&self, session: &Session, progress: &Progress) -> Result<()> {
        let (mut reader, mut writer) = io::split(session.open([PROTOCOL]).await?);
        let chunks = u64::from(self.mib) * (1024 * 1024 / CHUNK as u64);
        let send = async {
            let (mut numbers, mut chunk) = (Numbers::new(self.seed), vec![0; CHUNK]);
            for _ in 0..chunks {
                numbers.fill(&mut chunk);
                writer.write_all(&chunk).await.during("write")?;
            }
            match self.late_close {
                true => writer.flush().await.during("flush"),
                false => writer.close().await.during("close"),
            }
        };
        let receive = async {
            let mut numbers = Numbers::new(self.seed);
            let (mut expected, mut received) = (vec![0; CHUNK], vec![0; CHUNK]);
            for done in 0..chunks {
                let at = done * CHUNK as u64;
                reader.read_exact(&mut received).await.during(format!("read after {at} bytes"))?;
                numbers.fill(&mut expected);
                if received != expected {
                    return Err(format!("other bytes came back, in the {CHUNK} after {at}").into());
                }
                progress.add(CHUNK as u64);
            }
            Ok(())
        };
        try_zip(send, receive).await?;
        if self.late_close {
            writer.close().await.during("close")?;
        }
        match reader.read(&mut [0]).await.during("read the end")? {
            0 => Ok(()),
            _ => Err("more came back than was sent".into()),
        }
    }
}

/// Numbers that look random and are the same for the same seed (Marsaglia's xorshift).
pub(crate) struct Numbers(u64);

impl Numbers {
    pub(crate) fn new(seed: u64) -> Self {
        // Its state must not be zero, and small seeds should not begin alike.
        Numbers((seed ^ 0x9e37_79b9_7f4a_7c15).max(1))
    }

    /// Fills whole eights of bytes.
    pub(crate) fn fill(&mut self, buf: &mut [u8]) {
        for bytes in buf.chunks_exact_mut(8) {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            bytes.copy_from_slice(&self.0.to_le_bytes());
        }
    }
}
