//! Standard input and output through a connection: what `dial` and `listen` have in common.

use std::time::Duration;

use futures_lite::future::{or, pending};
use futures_lite::{AsyncReadExt, AsyncWriteExt, io};
use smol::{Timer, Unblock};
use ws_transport::{Connection, StreamConfig};

/// How long the peer may go on sending after we closed.
const PATIENCE: Duration = Duration::from_secs(10);

/// A typed line leaves at once: `io::copy` does not flush.
pub(crate) const STREAM: StreamConfig = StreamConfig::new().with_coalescing(false);

/// Sends `input` and prints what comes, until the peer closes.
///
/// At the end of the input we close. A WebSocket has no half-close: a peer that sees our Close answers with its own and
/// sends no more, so who expects an answer keeps the input open until it is here. An input that was empty from the
/// start (`< /dev/null`) does not close: it has nothing to say, but may want to listen.
pub(crate) async fn pipe(connection: Connection, input: &mut Unblock<std::io::Stdin>) -> io::Result<()> {
    let (mut reader, mut writer) = io::split(connection);
    let send = async {
        match io::copy(input, &mut writer).await {
            Ok(0) => pending().await,
            Ok(_) => writer.close().await?,
            // The connection is gone; the reader knows why.
            Err(_) => {}
        }
        Timer::after(PATIENCE).await;
        Err(io::Error::from(io::ErrorKind::TimedOut))
    };
    let receive = async {
        let mut output = Unblock::with_capacity(64 * 1024, std::io::stdout());
        let mut buf = vec![0; 64 * 1024];
        loop {
            match reader.read(&mut buf).await? {
                0 => return Ok(()),
                len => output.write_all(&buf[..len]).await?,
            }
            output.flush().await?;
        }
    };
    or(receive, send).await?;
    writer.close().await
}
