//! What is done with a connection under fault: so many bytes both ways at once, each of which is looked at.

use std::fmt;
use std::io;
use std::mem;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use fastrand::Rng;
use smol::future;
use smol::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::Why;

/// Bytes of a write and of a read.
const PIECE: usize = 16 * 1024;

/// Most bytes that a client may ask for; if there is more in its request, that was mangled on the way.
const MOST: u64 = 1 << 30;

/// How far transfers have come, all together.
#[derive(Default)]
pub(super) struct Progress {
    /// Transfers of which something has been received.
    pub(super) begun: AtomicU64,
    pub(super) bytes: AtomicU64,
}

/// How a transfer ended at one of its ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// All was there, all was right, and the end was in order.
    Done,
    /// What came was not what was sent.
    Wrong,
    /// By this error.
    Failed(String),
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outcome::Done => f.write_str("done"),
            Outcome::Wrong => f.write_str("wrong data"),
            Outcome::Failed(error) => f.write_str(error),
        }
    }
}

impl From<Result<(), Fault>> for Outcome {
    fn from(ended: Result<(), Fault>) -> Self {
        match ended {
            Ok(()) => Outcome::Done,
            Err(Fault::Wrong) => Outcome::Wrong,
            Err(Fault::Failed(error)) => Outcome::Failed(crate::chain(&*error)),
        }
    }
}

/// Why a transfer was not done.
pub(super) enum Fault {
    Wrong,
    Failed(Why),
}

impl<E: Into<Why>> From<E> for Fault {
    fn from(error: E) -> Self {
        Fault::Failed(error.into())
    }
}

/// The dialing end: asks for `len` bytes, sends as many, and closes. With no bytes it waits for the other end's.
pub(super) async fn ask<S>(mut stream: S, seed: u64, len: u64, progress: &Progress) -> Result<(), Fault>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    stream.write_all(&[seed.to_be_bytes(), len.to_be_bytes()].concat()).await?;
    stream.flush().await?;
    both_ways(&mut stream, [seed, !seed], len, progress).await?;
    if len == 0 {
        return at_end(&mut stream).await;
    }
    stream.close().await?;
    match at_end(&mut stream).await {
        // TLS says goodbye after the Close. Where that meets a socket that is closed already, it is answered with a reset,
        // which on a network that reorders outruns the other end's Close.
        Err(Fault::Failed(error)) if is_reset(&error) => Ok(()),
        ended => ended,
    }
}

fn is_reset(error: &Why) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::ConnectionReset)
}

/// The listening end.
pub(super) async fn answer<S>(mut stream: S) -> Result<(), Fault>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut request = [[0; 8]; 2];
    stream.read_exact(request.as_flattened_mut()).await?;
    let [seed, len] = request.map(u64::from_be_bytes);
    if len > MOST {
        return Err(Fault::Wrong);
    }
    both_ways(&mut stream, [!seed, seed], len, &Progress::default()).await?;
    at_end(&mut stream).await?;
    Ok(stream.close().await?)
}

async fn at_end(stream: &mut (impl AsyncRead + Unpin)) -> Result<(), Fault> {
    match stream.read(&mut [0]).await? {
        0 => Ok(()),
        _ => Err(Fault::Wrong),
    }
}

async fn both_ways<S>(stream: &mut S, [out, back]: [u64; 2], len: u64, progress: &Progress) -> Result<(), Fault>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (mut reader, mut writer) = smol::io::split(stream);
    let write = async {
        let (mut dice, mut piece, mut left) = (Rng::with_seed(out), vec![0; PIECE], len);
        while left > 0 {
            dice.fill(&mut piece);
            let now = left.min(PIECE as u64);
            writer.write_all(&piece[..now as usize]).await?;
            left -= now;
        }
        writer.flush().await.map_err(Fault::from)
    };
    let read = async {
        let (mut dice, mut expected, mut piece, mut left) = (Rng::with_seed(back), vec![0; PIECE], vec![0; PIECE], len);
        let mut begun = false;
        while left > 0 {
            dice.fill(&mut expected);
            let now = left.min(PIECE as u64) as usize;
            let mut at = 0;
            while at < now {
                let got = reader.read(&mut piece[at..now]).await?;
                if got == 0 {
                    return Err(
                        io::Error::new(io::ErrorKind::UnexpectedEof, "an end in order before all was there").into()
                    );
                }
                if piece[at..at + got] != expected[at..at + got] {
                    return Err(Fault::Wrong);
                }
                at += got;
                progress.bytes.fetch_add(got as u64, SeqCst);
                if !mem::replace(&mut begun, true) {
                    progress.begun.fetch_add(1, SeqCst);
                }
            }
            left -= now as u64;
        }
        Ok(())
    };
    future::try_zip(write, read).await.map(drop)
}
