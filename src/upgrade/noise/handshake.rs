//! The XX handshake: `→ e`, `← e, ee, s, es`, `→ s, se`, each message behind its length in two bytes.

use futures_lite::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use libp2p_identity::PeerId;
use snow::HandshakeState;

use super::error::NoiseError;
use super::keys::Keys;
use super::payload;
use super::stream::NoiseStream;

/// Most that a message of the handshake has besides its payload: two keys and two tags.
const OVERHEAD: usize = 32 + 32 + 16 + 16;

/// Shakes hands as the side that dialed. The last message is written and not flushed.
pub(super) async fn initiate<IO>(mut io: IO, keys: &Keys) -> Result<(PeerId, NoiseStream<IO>), NoiseError>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let mut noise = keys.begin(true)?;
    send(&mut io, &mut noise, &[]).await?;
    io.flush().await?;
    let peer = receive_identity(&mut io, &mut noise).await?;
    send(&mut io, &mut noise, &keys.payload).await?;
    Ok((peer, NoiseStream::new(io, noise.into_transport_mode()?)))
}

/// Shakes hands as the side that was dialed.
pub(super) async fn respond<IO>(mut io: IO, keys: &Keys) -> Result<(PeerId, NoiseStream<IO>), NoiseError>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let mut noise = keys.begin(false)?;
    // Nothing is encrypted yet: what it says is nothing to go by.
    if !receive(&mut io, &mut noise).await?.is_empty() {
        return Err(NoiseError::Payload("the first message is not empty".into()));
    }
    send(&mut io, &mut noise, &keys.payload).await?;
    io.flush().await?;
    let peer = receive_identity(&mut io, &mut noise).await?;
    Ok((peer, NoiseStream::new(io, noise.into_transport_mode()?)))
}

async fn send(
    io: &mut (impl AsyncWrite + Unpin),
    noise: &mut HandshakeState,
    payload: &[u8],
) -> Result<(), NoiseError> {
    let mut bytes = vec![0; 2 + OVERHEAD + payload.len()];
    let Some((head, message)) = bytes.split_first_chunk_mut::<2>() else { return Ok(()) };
    let len = noise.write_message(payload, message)?;
    *head = u16::try_from(len).map_err(|_| snow::Error::Input)?.to_be_bytes();
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
    let len = noise.read_message(&message, &mut payload)?;
    payload.truncate(len);
    Ok(payload)
}

/// Receives the message by which the other side proves who it is.
async fn receive_identity(io: &mut (impl AsyncRead + Unpin), noise: &mut HandshakeState) -> Result<PeerId, NoiseError> {
    let payload = receive(io, noise).await?;
    payload::verified(&payload, noise.get_remote_static().unwrap_or_default())
}
