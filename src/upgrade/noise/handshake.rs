//! The XX handshake: `→ e`, `← e, ee, s, es`, `→ s, se`, each message behind its length in two bytes.

use futures_lite::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use libp2p_identity::PeerId;
use snow::HandshakeState;

use super::error::NoiseError;
use super::keys::Keys;
use super::payload::{self, Remote};
use super::stream::NoiseStream;

/// Most that a message of the handshake has besides its payload: two keys and two tags.
const OVERHEAD: usize = 32 + 32 + 16 + 16;

/// Shakes hands as the side that dialed. The last message is written and not flushed.
///
/// It offers no muxer: ours is proposed along with the first bytes, which takes no round trip either, and is answered.
pub(super) async fn initiate<IO>(mut io: IO, keys: &Keys) -> Result<(PeerId, NoiseStream<IO>), NoiseError>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let mut noise = keys.begin(true).map_err(NoiseError::message)?;
    send(&mut io, &mut noise, &[]).await?;
    io.flush().await?;
    let Remote { peer, .. } = receive_identity(&mut io, &mut noise).await?;
    send(&mut io, &mut noise, &keys.payload).await?;
    let noise = noise.into_transport_mode().map_err(NoiseError::message)?;
    Ok((peer, NoiseStream::new(io, noise)))
}

/// Shakes hands as the side that was dialed, which offers these muxers; gives the one that is agreed on, if there is one.
pub(super) async fn respond<'a, IO>(
    mut io: IO,
    keys: &Keys,
    muxers: &[&'a str],
) -> Result<(PeerId, Option<&'a str>, NoiseStream<IO>), NoiseError>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let mut noise = keys.begin(false).map_err(NoiseError::message)?;
    // Nothing is encrypted yet: what it says is nothing to go by.
    if !receive(&mut io, &mut noise).await?.is_empty() {
        return Err(NoiseError::Payload("the first message is not empty".into()));
    }
    match muxers {
        [] => send(&mut io, &mut noise, &keys.payload).await?,
        muxers => send(&mut io, &mut noise, &payload::offering(&keys.payload, muxers)).await?,
    }
    io.flush().await?;
    let remote = receive_identity(&mut io, &mut noise).await?;
    // It is for the side that dialed to prefer one (libp2p's specification of inlined muxer negotiation).
    let agreed = remote.muxers.iter().find_map(|theirs| muxers.iter().find(|ours| ours.as_bytes() == theirs));
    let noise = noise.into_transport_mode().map_err(NoiseError::message)?;
    Ok((remote.peer, agreed.copied(), NoiseStream::new(io, noise)))
}

async fn send(
    io: &mut (impl AsyncWrite + Unpin),
    noise: &mut HandshakeState,
    payload: &[u8],
) -> Result<(), NoiseError> {
    let mut bytes = vec![0; 2 + OVERHEAD + payload.len()];
    let Some((head, message)) = bytes.split_first_chunk_mut::<2>() else { return Ok(()) };
    let len = noise.write_message(payload, message).map_err(NoiseError::message)?;
    *head = u16::try_from(len).map_err(|_| NoiseError::message(snow::Error::Input))?.to_be_bytes();
    bytes.truncate(2 + len);
    io.write_all(&bytes).await?;
    Ok(())
}

async fn receive(io: &mut (impl AsyncRead + Unpin), noise: &mut HandshakeState) -> Result<Vec<u8>, NoiseError> {
    let mut head = [0; 2];
    io.read_exact(&mut head).await?;
    let mut message = vec![0; u16::from_be_bytes(head).into()];
    io.read_exact(&mut message).await?;
    let mut payload = vec![0; message.len()];
    let len = noise.read_message(&message, &mut payload).map_err(NoiseError::message)?;
    payload.truncate(len);
    Ok(payload)
}

/// Receives the message by which the other side proves who it is.
async fn receive_identity(io: &mut (impl AsyncRead + Unpin), noise: &mut HandshakeState) -> Result<Remote, NoiseError> {
    let payload = receive(io, noise).await?;
    payload::verified(&payload, noise.get_remote_static().unwrap_or_default())
}
