//! What goes out: coalesced writes, Pongs and the Close, in one bounded buffer.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_lite::AsyncWrite;

use super::fault::Failure;
use super::trial::Trial;
use crate::config::{MAX_RECORD, StreamConfig, TLS_WRITE_BUFFER};
use crate::pool;
use crate::proto::{CloseFrame, Encoder, Header, OpCode, Role};
use crate::put_off::PutOff;

/// Unmasked writes of at least this many bytes go out from the caller's slice, without a copy; of two buffers full, where that
/// is less, and of one and a third, where that is more.
///
/// Below, a frame and a send of their own cost more than the copy that lets them share one, and so does the little that a
/// write has beyond a buffer full; over TLS each would end in a record of a few bytes besides.
const DIRECT_WRITE: usize = 64 * 1024;

/// What is in the buffer leaves before a direct write from so many bytes on, and together with it below: 16 KiB.
///
/// It makes a send, and a TLS record, of its own then. And what an IO leaves of a direct write waits in the buffer for the
/// next one: with an IO that takes as much each time, as TLS does, that becomes more with every write, and has to be copied.
const LEAVES_FIRST: usize = 16 * 1024;

/// Longest header of a frame in a direct write, in bytes: no mask, and a length of two bytes (RFC 6455 §5.2).
const DIRECT_HEADER: usize = 4;

/// Most frames in one vectored write.
const MAX_DIRECT_FRAMES: usize = 8;

/// The sending half of a stream.
#[derive(Debug)]
pub(super) struct Output {
    encoder: Encoder,
    role: Role,
    size: usize,
    /// Whether nobody asked for that size.
    default_size: bool,
    over_tls: bool,
    /// Whether the IO was given bytes since it was last flushed.
    unflushed: bool,
    put_off: PutOff,
    /// Whether direct writes pay with this IO.
    ///
    /// They do where it takes much of one at a time, as a socket and our TLS do. It may take the first slice alone, which is a
    /// header, or no more than a record of TLS: then it is better given full buffers.
    direct: Trial,
    /// Payload of the one Pong that is owed.
    pong: Option<Box<[u8]>>,
    /// Payload of the Close that is owed, to be sent after what is buffered.
    close: Option<Box<[u8]>>,
    /// Whether a Close is owed or was sent: no data may follow (RFC 6455 §5.5.1).
    closing: bool,
    /// Set once: the IO failed.
    failure: Option<Failure>,
    /// Whether data was taken since all was last sent and flushed; after a failure, whether some is lost.
    holds_data: bool,
}

impl Output {
    pub(super) fn new(role: Role, config: &StreamConfig) -> Self {
        Output {
            encoder: Encoder::new(role),
            role,
            size: config.write_buffer(),
            default_size: config.has_default_write_buffer(),
            over_tls: false,
            unflushed: false,
            put_off: PutOff::new(config.flushes_put_off().unwrap_or(false)),
            direct: Trial::Untried,
            pong: None,
            close: None,
            closing: false,
            failure: None,
            holds_data: false,
        }
    }

    /// Gives the IO what a TLS session sends at once.
    pub(super) fn suit_tls(&mut self) {
        if self.default_size {
            self.size = TLS_WRITE_BUFFER;
        }
        self.over_tls = true;
    }

    /// Whether data may be written: an IO that failed and a stream that is closed take none.
    pub(super) fn check_open(&self) -> io::Result<()> {
        self.check_io()?;
        match self.closing {
            false => Ok(()),
            true => Err(io::Error::new(io::ErrorKind::BrokenPipe, "the stream is closed for writing")),
        }
    }

    /// Whether the IO is still usable.
    pub(super) fn check_io(&self) -> io::Result<()> {
        self.failure.as_ref().map_or(Ok(()), |failure| Err(failure.to_error()))
    }

    /// Whether a flush that is asked for now is put off; its task is woken if it is.
    pub(super) fn puts_flush_off(&mut self, cx: &Context<'_>) -> bool {
        self.put_off.puts_off(self.encoder.len(), cx)
    }

    /// Whether anything waits to be sent or flushed.
    pub(super) fn is_idle(&self) -> bool {
        self.encoder.is_empty() && !self.unflushed && !self.owes_control()
    }

    /// Whether nothing is in the buffer, and nothing waits for room in it.
    pub(super) fn is_drained(&self) -> bool {
        self.encoder.is_empty() && !self.owes_control()
    }

    /// Whether there may be data that the peer has not got: buffered, held back by the IO, or lost with it.
    pub(super) fn holds_data(&self) -> bool {
        self.holds_data
    }

    /// Whether a control frame waits for room in the buffer.
    pub(super) fn owes_control(&self) -> bool {
        self.pong.is_some() || self.close.is_some()
    }

    /// Owes a Pong, in place of the one that was owed before; none after a Close.
    pub(super) fn owe_pong(&mut self, payload: Box<[u8]>) {
        if !self.closing {
            self.pong = Some(payload);
        }
    }

    /// Owes a Close; `false` if one was owed or sent before.
    pub(super) fn owe_close(&mut self, frame: Option<&CloseFrame>) -> bool {
        if self.closing {
            return false;
        }
        self.close = Some(frame.map(CloseFrame::to_payload).unwrap_or_default().into());
        self.closing = true;
        true
    }

    /// Takes as many bytes as the buffer has room for.
    pub(super) fn write(&mut self, bytes: &[u8]) -> usize {
        self.attach();
        self.holds_data = true;
        self.encoder.write(bytes, masking_key)
    }

    /// Takes all of the bytes if a frame is open that has room for them, or none.
    pub(super) fn extend(&mut self, bytes: &[u8]) -> bool {
        !self.closing && self.encoder.extend(bytes)
    }

    /// Whether so many bytes are better sent from where they are.
    pub(super) fn prefers_direct(&self, len: usize) -> bool {
        self.role == Role::Server
            && len >= DIRECT_WRITE.min(self.size.saturating_mul(2))
            && len.saturating_sub(self.size) >= self.size / 3
            && self.direct != Trial::DoesNotPay
    }

    /// Whether what is in the buffer has to leave before a direct write; below that it leaves together with it.
    pub(super) fn leaves_first(&mut self) -> bool {
        self.encoder.seal();
        self.owes_control() || self.encoder.output().len() >= LEAVES_FIRST
    }

    /// Most payload of a frame in a direct write, and most frames at once.
    ///
    /// A payload fits the buffer, which has room for the header besides. Over TLS all frames together are what a session takes
    /// and TCP sends in one piece, for what is left of one has to be copied.
    fn direct_frames(&self) -> (usize, usize) {
        if !self.over_tls {
            return (self.size, MAX_DIRECT_FRAMES);
        }
        let frame = self.size.min(TLS_WRITE_BUFFER);
        (frame.saturating_sub(DIRECT_HEADER), TLS_WRITE_BUFFER / frame.max(1))
    }

    /// Sends what is buffered and frames from the caller's slice, and says how many bytes of the slice were taken.
    ///
    /// A frame that the IO took in part is completed from the buffer, which it fits, together with the next direct write:
    /// by itself it would cost a segment, or a TLS record, of its own. A frame that the IO took nothing of was not promised
    /// to the peer and is not counted.
    pub(super) fn poll_direct<IO: AsyncWrite + Unpin>(
        &mut self,
        io: &mut IO,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check_io()?;
        let (most, frames) = self.direct_frames();
        let mut headers = [([0; Header::MAX_LEN], 0, &[][..]); MAX_DIRECT_FRAMES];
        let mut count = 0;
        for ((header, header_len, payload), chunk) in headers.iter_mut().zip(bytes.chunks(most)).take(frames) {
            *header_len =
                Header { fin: true, opcode: OpCode::Binary, mask: None, len: chunk.len() as u64 }.encode(header);
            *payload = chunk;
            count += 1;
        }
        let frames = headers.get(..count).unwrap_or_default();

        let mut sent = loop {
            let before = self.encoder.output();
            let mut slices = [IoSlice::new(before); 1 + 2 * MAX_DIRECT_FRAMES];
            for (pair, (header, header_len, payload)) in
                slices.get_mut(1..).unwrap_or_default().chunks_exact_mut(2).zip(frames)
            {
                if let [first, second] = pair {
                    *first = IoSlice::new(header.get(..*header_len).unwrap_or_default());
                    *second = IoSlice::new(payload);
                }
            }
            let first = usize::from(before.is_empty());
            let slices = slices.get(first..1 + 2 * count).unwrap_or_default();
            let sent = match ready!(Pin::new(&mut *io).poll_write_vectored(cx, slices)) {
                Ok(0) => return Poll::Ready(Err(self.fail(io::ErrorKind::WriteZero.into()))),
                Ok(sent) => sent,
                Err(error) => return Poll::Ready(Err(self.fail(error))),
            };
            self.unflushed = true;
            self.put_off.pass(sent);
            let offered = slices.iter().fold(0usize, |len, slice| len.saturating_add(slice.len()));
            self.direct = self.direct.after(sent > MAX_RECORD || sent == offered);
            let before = before.len();
            self.encoder.advance(sent);
            if sent > before {
                break sent.saturating_sub(before);
            }
        };
        self.holds_data = true;

        let mut taken = 0;
        for (header, header_len, payload) in frames {
            if sent == 0 {
                break;
            }
            let header = header.get(..*header_len).unwrap_or_default();
            let (header_rest, payload_rest) = match sent.checked_sub(header.len()) {
                None => (header.get(sent..).unwrap_or_default(), *payload),
                Some(sent) => (&[][..], payload.get(sent..).unwrap_or_default()),
            };
            if !(header_rest.is_empty() && payload_rest.is_empty()) {
                self.attach();
                self.encoder.append(header_rest);
                self.encoder.append(payload_rest);
            }
            taken += payload.len();
            sent = sent.saturating_sub(header.len() + payload.len());
        }
        self.give_back();
        Poll::Ready(Ok(taken))
    }

    /// Sends all that is buffered, and control frames that are owed; then the buffer is given back.
    pub(super) fn poll_drain<IO: AsyncWrite + Unpin>(
        &mut self,
        io: &mut IO,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        self.check_io()?;
        self.encoder.seal();
        loop {
            self.encode_control();
            let output = self.encoder.output();
            if output.is_empty() {
                break;
            }
            match ready!(Pin::new(&mut *io).poll_write(cx, output)) {
                Ok(0) => return Poll::Ready(Err(self.fail(io::ErrorKind::WriteZero.into()))),
                Ok(len) => {
                    self.encoder.advance(len);
                    self.put_off.pass(len);
                }
                Err(error) => return Poll::Ready(Err(self.fail(error))),
            }
            self.unflushed = true;
        }
        self.give_back();
        Poll::Ready(Ok(()))
    }

    /// As [`poll_drain`](Self::poll_drain), and flushes the IO, which may hold bytes back itself (TLS does).
    pub(super) fn poll_flush<IO: AsyncWrite + Unpin>(
        &mut self,
        io: &mut IO,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.poll_drain(io, cx))?;
        if self.unflushed {
            match ready!(Pin::new(io).poll_flush(cx)) {
                Ok(()) => self.unflushed = false,
                Err(error) => return Poll::Ready(Err(self.fail(error))),
            }
        }
        self.holds_data = false;
        self.put_off.done();
        Poll::Ready(Ok(()))
    }

    /// [`poll_flush`](Self::poll_flush), or [`poll_drain`](Self::poll_drain) only.
    pub(super) fn poll<IO: AsyncWrite + Unpin>(
        &mut self,
        io: &mut IO,
        cx: &mut Context<'_>,
        flush: bool,
    ) -> Poll<io::Result<()>> {
        if flush { self.poll_flush(io, cx) } else { self.poll_drain(io, cx) }
    }

    /// Notes that the IO failed: what is buffered will never be sent.
    pub(super) fn fail(&mut self, error: io::Error) -> io::Error {
        let failure = self.failure.insert(Failure::new(error));
        let error = failure.to_error();
        self.encoder.clear();
        self.pong = None;
        self.give_back();
        error
    }

    /// Whether the IO failed because the peer is gone.
    pub(super) fn is_disconnected(&self) -> bool {
        self.failure.as_ref().is_some_and(Failure::is_disconnect)
    }

    /// Moves control frames that are owed into the buffer, as far as there is room.
    fn encode_control(&mut self) {
        if !self.owes_control() {
            return;
        }
        self.attach();
        if let Some(payload) = &self.pong
            && self.encoder.control(OpCode::Pong, payload, masking_key)
        {
            self.pong = None;
        }
        if let Some(payload) = &self.close
            && self.pong.is_none()
            && self.encoder.control(OpCode::Close, payload, masking_key)
        {
            self.close = None;
        }
    }

    /// Gives the buffer back, if nothing is in it.
    fn give_back(&mut self) {
        if let Some(buf) = self.encoder.detach() {
            pool::give(buf);
        }
    }

    fn attach(&mut self) {
        if !self.encoder.is_attached() {
            self.encoder.attach(pool::take(self.size + Encoder::RESERVE));
        }
    }
}

/// A masking key nobody can foresee (RFC 6455 §10.3): from a cryptographically strong generator, seeded by the system.
fn masking_key() -> [u8; 4] {
    rand::random()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_over_tls_is_what_leaves_in_one_piece_unless_asked_for_less() {
        let asked = StreamConfig::new().with_write_buffer(4096);
        for role in [Role::Client, Role::Server] {
            for (config, len) in [(StreamConfig::new(), 62 * 1024), (asked, 4096)] {
                let mut output = Output::new(role, &config);
                output.suit_tls();
                output.write(&[7; 100_000]);
                output.encoder.seal();
                let frame = output.encoder.output();
                assert_eq!(frame.len(), len, "{role:?}, {config:?}");
                assert_eq!(frame[1] & 0x7f, 126, "a length of two bytes: some peers refuse longer frames");
            }
        }
    }

    #[test]
    fn a_write_goes_out_from_where_it_is_if_it_is_well_over_a_buffer_full_and_not_masked() {
        let config = StreamConfig::new();
        for (role, over_tls, config, least) in [
            (Role::Server, false, config, Some(80 * 1024)),
            (Role::Server, true, config, Some(62 * 1024 * 4 / 3)),
            (Role::Server, false, config.with_write_buffer(32 * 1024), Some(64 * 1024)),
            (Role::Server, true, config.with_write_buffer(1024), Some(2048)),
            (Role::Client, false, config, None),
        ] {
            let mut output = Output::new(role, &config);
            if over_tls {
                output.suit_tls();
            }
            let found = (0..1 << 20).find(|len| output.prefers_direct(*len));
            assert_eq!(found, least, "{role:?}, {over_tls}, {config:?}");
        }
    }

    /// An IO that takes all and notes how much that was each time.
    #[derive(Default)]
    struct Noting(Vec<usize>);

    impl AsyncWrite for Noting {
        fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
            self.poll_write_vectored(cx, &[IoSlice::new(buf)])
        }

        fn poll_write_vectored(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bufs: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            let len = bufs.iter().map(|buf| buf.len()).sum();
            self.0.push(len);
            Poll::Ready(Ok(len))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[test]
    fn a_direct_write_over_tls_is_what_leaves_in_one_piece() {
        for (over_tls, config, sent) in [
            (false, StreamConfig::new(), 8 * (60 * 1024 + DIRECT_HEADER)),
            (true, StreamConfig::new(), 62 * 1024),
            (true, StreamConfig::new().with_write_buffer(0xffff), 62 * 1024),
            (true, StreamConfig::new().with_write_buffer(20 * 1024), 60 * 1024),
            (true, StreamConfig::new().with_write_buffer(1024), 8 * 1024),
        ] {
            let mut output = Output::new(Role::Server, &config);
            if over_tls {
                output.suit_tls();
            }
            let (mut io, mut cx) = (Noting::default(), Context::from_waker(std::task::Waker::noop()));
            assert!(output.poll_direct(&mut io, &mut cx, &[7; 1 << 20]).is_ready());
            assert_eq!(io.0, [sent], "{over_tls}, {config:?}");
        }
    }
}
