//! Messages (RFC 6455 §5.4, §5.6) on the crate's frames.

use std::io;

use futures_lite::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use ws_transport::proto::{CloseCode, CloseFrame, Decoder, Encoder, Event, Header, Mask, OpCode, Role, Violation};

/// Longest message, in bytes: 64 MiB, four times the largest of the cases.
const MAX_MESSAGE: usize = 64 * 1024 * 1024;

/// Size of the read and of the write buffer, in bytes.
const BUFFER: usize = 64 * 1024;

/// A complete message: its first frame's opcode, [`OpCode::Text`] or [`OpCode::Binary`], and all of its payload.
pub struct Message {
    opcode: OpCode,
    payload: Vec<u8>,
}

impl Message {
    /// The text, if it is one.
    pub fn into_text(self) -> Result<String, std::string::FromUtf8Error> {
        String::from_utf8(self.payload)
    }
}

/// A connection of messages.
pub struct Messages<IO> {
    io: IO,
    role: Role,
    decoder: Decoder,
    encoder: Encoder,
    /// Received and not decoded: `start..end`.
    bytes: Vec<u8>,
    start: usize,
    end: usize,
    /// The message that is being received.
    partial: Option<Partial>,
}

/// A message of which the last frame has not come.
struct Partial {
    message: Message,
    /// How much of a text is known to be UTF-8.
    valid: usize,
    /// Whether the current frame is the last one.
    fin: bool,
}

/// What a peer can do wrong to messages, and the code to close with.
struct Fault(CloseCode);

impl From<Violation> for Fault {
    fn from(violation: Violation) -> Self {
        Fault(violation.close_code())
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Messages<IO> {
    /// Messages over an `io` on which the opening handshake is done, with the bytes received behind it.
    pub fn new(io: IO, role: Role, early: Vec<u8>) -> Self {
        let mut encoder = Encoder::new(role);
        encoder.attach(vec![0; BUFFER].into());
        let (end, mut bytes) = (early.len(), early);
        bytes.resize(BUFFER.max(end), 0);
        Messages { io, role, decoder: Decoder::new(role), encoder, bytes, start: 0, end, partial: None }
    }

    /// Sends back every message until either end closes.
    pub async fn echo(mut self) -> io::Result<()> {
        while let Some(message) = self.next().await? {
            self.send(&message).await?;
        }
        Ok(())
    }

    /// The next message; `None` after the peer's Close, or after its mistake, of which it is told.
    pub async fn next(&mut self) -> io::Result<Option<Message>> {
        loop {
            match self.decode() {
                Ok(None) => {
                    (self.start, self.end) = (0, self.io.read(&mut self.bytes).await?);
                    if self.end == 0 {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                }
                Ok(Some(Received::Message(message))) => return Ok(Some(message)),
                Ok(Some(Received::Ping(payload))) => self.control(OpCode::Pong, &payload).await?,
                Ok(Some(Received::Close(frame))) => {
                    // RFC 6455 §5.5.1: the answer to a Close has the same code.
                    self.close(frame.map(|frame| CloseFrame::from(frame.code()))).await?;
                    return Ok(None);
                }
                Err(Fault(code)) => {
                    self.close(Some(code.into())).await?;
                    return Ok(None);
                }
            }
        }
    }

    /// Sends a message in one frame.
    pub async fn send(&mut self, message: &Message) -> io::Result<()> {
        let mask = self.key();
        let mut head = [0; Header::MAX_LEN];
        let len =
            Header { fin: true, opcode: message.opcode, mask, len: message.payload.len() as u64 }.encode(&mut head);
        self.append(&head[..len]).await?;
        match mask {
            Some(key) => {
                let mut masked = message.payload.clone();
                Mask::new(key).apply(&mut masked);
                self.append(&masked).await?;
            }
            None => self.append(&message.payload).await?,
        }
        self.flush().await
    }

    /// What comes next in the bytes at hand; `None` if more are needed.
    fn decode(&mut self) -> Result<Option<Received>, Fault> {
        loop {
            let (used, event) = self.decoder.decode(&self.bytes[self.start..self.end])?;
            self.start += used;
            match event {
                None => return Ok(None),
                Some(Event::Ping(payload)) => return Ok(Some(Received::Ping(payload))),
                Some(Event::Pong(_)) => continue,
                Some(Event::Close(frame)) => return Ok(Some(Received::Close(frame))),
                Some(Event::Frame(Header { fin, opcode, .. })) => {
                    let message = Message { opcode, payload: Vec::new() };
                    // The decoder gives no continuation without a message to continue, and no message inside another.
                    self.partial.get_or_insert(Partial { message, valid: 0, fin }).fin = fin;
                }
                Some(Event::Payload(len)) => {
                    let payload = &mut self.bytes[self.start..self.start + len];
                    self.decoder.unmask(payload);
                    self.start += len;
                    if let Some(partial) = &mut self.partial {
                        partial.append(payload)?;
                    }
                }
            }
            if self.decoder.is_between_frames()
                && let Some(partial) = self.partial.take_if(|partial| partial.fin)
            {
                return partial.complete().map(|message| Some(Received::Message(message)));
            }
        }
    }

    /// Sends a Close, and reads and throws away what comes until the peer ends the connection.
    ///
    /// A server ends it by shutting its half down, which a client waits for (RFC 6455 §7.1.1).
    async fn close(&mut self, frame: Option<CloseFrame>) -> io::Result<()> {
        self.control(OpCode::Close, &frame.map(|frame| frame.to_payload()).unwrap_or_default()).await?;
        if self.role == Role::Server {
            self.io.close().await?;
        }
        while self.io.read(&mut self.bytes).await? > 0 {}
        Ok(())
    }

    async fn control(&mut self, opcode: OpCode, payload: &[u8]) -> io::Result<()> {
        // All that was written before was flushed, so there is room.
        self.encoder.control(opcode, payload, rand::random);
        self.flush().await
    }

    async fn append(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            bytes = &bytes[self.encoder.append(bytes)..];
            if !bytes.is_empty() {
                self.flush().await?;
            }
        }
        Ok(())
    }

    async fn flush(&mut self) -> io::Result<()> {
        while !self.encoder.output().is_empty() {
            let len = self.io.write(self.encoder.output()).await?;
            self.encoder.advance(len);
        }
        self.io.flush().await
    }

    /// A key for the next frame, where this role masks.
    fn key(&self) -> Option<[u8; 4]> {
        (self.role == Role::Client).then(rand::random)
    }
}

/// What a peer sent.
enum Received {
    Message(Message),
    Ping(Vec<u8>),
    Close(Option<CloseFrame>),
}

impl Partial {
    fn append(&mut self, payload: &[u8]) -> Result<(), Fault> {
        let message = &mut self.message;
        if message.payload.len() + payload.len() > MAX_MESSAGE {
            return Err(Fault(CloseCode::TOO_BIG));
        }
        message.payload.extend_from_slice(payload);
        if message.opcode == OpCode::Text {
            self.valid += match std::str::from_utf8(&message.payload[self.valid..]) {
                Ok(text) => text.len(),
                // A character that is cut off may be completed by what comes next.
                Err(error) if error.error_len().is_none() => error.valid_up_to(),
                Err(_) => return Err(Fault(CloseCode::INVALID_PAYLOAD)),
            };
        }
        Ok(())
    }

    fn complete(self) -> Result<Message, Fault> {
        match self.message.opcode == OpCode::Text && self.valid < self.message.payload.len() {
            true => Err(Fault(CloseCode::INVALID_PAYLOAD)),
            false => Ok(self.message),
        }
    }
}
