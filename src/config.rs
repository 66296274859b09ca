//! Buffers and limits of a byte stream: every number with its unit and its reason.

use std::time::Duration;

/// Default size of the read buffer, in bytes: 64 KiB.
///
/// It serves reads that are smaller than [`DIRECT_READ`], such as noise's 8 KiB ones, so that they do not cost a
/// system call each. It is held only while it contains data.
pub(crate) const READ_BUFFER: usize = 64 * 1024;

/// Default size of the write buffer, in bytes: 60 KiB.
///
/// The largest part of what TCP hands to the network in one piece, which is 64 KiB at most with its headers: a send of a
/// few bytes more costs a second one.
pub(crate) const WRITE_BUFFER: usize = 60 * 1024;

/// Default size of the write buffer over TLS, in bytes: 62 KiB; and the most that a session is given at a time.
///
/// Sealed, in four records of some 29 bytes more each, they are what TCP hands to the network in one piece: of the 64 KiB that
/// this has at most with its headers, whole segments. These are 63,768 bytes or more, as long as a segment has 1,448 or fewer.
/// (For segments that are larger, 60 KiB would be as good.)
pub(crate) const TLS_WRITE_BUFFER: usize = 62 * 1024;

/// The most that one TLS record carries, in bytes (RFC 8446 §5.1).
pub(crate) const MAX_RECORD: usize = 16 * 1024;

/// Slices of at least this many bytes are read into directly, without a buffer in between: 32 KiB.
///
/// Into a smaller one a message of the same size would come in two reads, the second for as few bytes as its header has.
pub(crate) const DIRECT_READ: usize = 32 * 1024;

/// Smallest buffer of either direction, in bytes: room for the largest control frame and more.
const MIN_BUFFER: usize = 512;

/// Largest write buffer, in bytes: a frame of as much payload has a two-byte length still (RFC 6455 §5.2).
const MAX_WRITE_BUFFER: usize = 0xffff;

/// Most bytes read and thrown away before a connection is closed on which the peer has got its last answer: 256 KiB.
///
/// Closing with unread input resets a TCP connection, and takes a refusal or a Close away from the peer (RFC 9112 §9.6).
pub(crate) const DRAIN_BYTES: usize = 256 * 1024;

/// Longest time spent on that: 1 s.
pub(crate) const DRAIN_TIME: Duration = Duration::from_secs(1);

/// Most bytes written before a flush is not put off any more: 96 KiB.
///
/// Six of a muxer's frames of 16 KiB. What the layers below cannot hold of them they have sent by then.
pub(crate) const MAX_UNFLUSHED: usize = 96 * 1024;

/// Default time that closing may take when the peer neither reads nor answers.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// What to do with text frames, which libp2p never sends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum TextFrames {
    /// Fail the connection with Close 1003 (RFC 6455 §7.4.1). The default.
    #[default]
    Refuse,
    /// Take their payload as bytes, without looking at its UTF-8.
    Bytes,
}

/// Buffers, limits and behaviour of a [`WsStream`](crate::WsStream).
///
/// ```
/// use ws_transport::StreamConfig;
///
/// let small = StreamConfig::new().with_read_buffer(4 * 1024).with_write_buffer(2 * 1024);
/// assert_eq!(small.read_buffer(), 4096);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamConfig {
    read_buffer: usize,
    /// `None`: the default, which depends on what the stream runs over.
    write_buffer: Option<usize>,
    coalesce: bool,
    /// `None`: the default, which depends on what the stream is for.
    flushes_put_off: Option<bool>,
    text: TextFrames,
    close_timeout: Duration,
}

impl StreamConfig {
    /// The defaults: 64 KiB to read, 60 KiB to write (62 over TLS), small writes coalesced, 5 s to close, no text.
    pub const fn new() -> Self {
        StreamConfig {
            read_buffer: READ_BUFFER,
            write_buffer: None,
            coalesce: true,
            flushes_put_off: None,
            text: TextFrames::Refuse,
            close_timeout: CLOSE_TIMEOUT,
        }
    }

    /// Most received bytes held for the reader; at least 512.
    pub const fn with_read_buffer(mut self, bytes: usize) -> Self {
        self.read_buffer = if bytes < MIN_BUFFER { MIN_BUFFER } else { bytes };
        self
    }

    /// Most bytes taken from the writer and not yet sent, headers but one included; 512 to 65,535.
    ///
    /// The default is what TCP sends in one piece: 60 KiB, and 62 over TLS ([`WsStream::borrow_from_tls`]).
    ///
    /// [`WsStream::borrow_from_tls`]: crate::WsStream::borrow_from_tls
    pub const fn with_write_buffer(mut self, bytes: usize) -> Self {
        self.write_buffer = Some(match bytes {
            0..MIN_BUFFER => MIN_BUFFER,
            MIN_BUFFER..=MAX_WRITE_BUFFER => bytes,
            _ => MAX_WRITE_BUFFER,
        });
        self
    }

    /// Whether adjacent small writes share a frame until a flush, a full buffer or a read that waits (the default).
    ///
    /// With `false` every write is sent at once, for those who pipe with `copy` and never flush.
    pub const fn with_coalescing(mut self, coalesce: bool) -> Self {
        self.coalesce = coalesce;
        self
    }

    /// Whether a flush is put off, for layers above that flush after every message of theirs: noise and muxers do.
    ///
    /// The first flush after a write is then `Pending`, wakes its task, and is done when it is asked for again with nothing
    /// written in between, when 96 KiB were written, or by a read that waits. What is written until then leaves in the same
    /// frame and the same send. `flush().await` costs its task one more poll. The default is `false`, but for the
    /// connections of `libp2p::WsTransport`, whose muxer is polled again and again.
    pub const fn with_flushes_put_off(mut self, put_off: bool) -> Self {
        self.flushes_put_off = Some(put_off);
        self
    }

    /// What to do with text frames.
    pub const fn with_text_frames(mut self, text: TextFrames) -> Self {
        self.text = text;
        self
    }

    /// Longest time that `poll_close` waits for a peer that does not read; then it gives up with `TimedOut`.
    pub const fn with_close_timeout(mut self, timeout: Duration) -> Self {
        self.close_timeout = timeout;
        self
    }

    /// Size of the read buffer, in bytes.
    pub const fn read_buffer(&self) -> usize {
        self.read_buffer
    }

    /// Size of the write buffer, in bytes; where none was set, 60 KiB.
    pub const fn write_buffer(&self) -> usize {
        match self.write_buffer {
            Some(bytes) => bytes,
            None => WRITE_BUFFER,
        }
    }

    /// Whether the size of the write buffer was left to us.
    pub(crate) const fn has_default_write_buffer(&self) -> bool {
        self.write_buffer.is_none()
    }

    /// Whether adjacent small writes share a frame.
    pub const fn coalescing(&self) -> bool {
        self.coalesce
    }

    /// Whether flushes are put off; `None` where nothing was set.
    pub const fn flushes_put_off(&self) -> Option<bool> {
        self.flushes_put_off
    }

    /// What happens to text frames.
    pub const fn text_frames(&self) -> TextFrames {
        self.text
    }

    /// Longest time that closing takes.
    pub const fn close_timeout(&self) -> Duration {
        self.close_timeout
    }
}

impl Default for StreamConfig {
    fn default() -> Self {
        Self::new()
    }
}
