//! What a peer can do wrong.

use std::fmt;

use super::CloseCode;

/// A breach of RFC 6455 by the peer, or of a limit of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Violation {
    /// Reserved bits are set although no extension was negotiated (§5.2).
    ReservedBits(u8),
    /// The opcode is reserved (§5.2).
    ReservedOpCode(u8),
    /// A frame from the client is not masked (§5.1).
    Unmasked,
    /// A frame from the server is masked (§5.1).
    Masked,
    /// A control frame is fragmented (§5.5).
    FragmentedControl,
    /// A control frame has more than 125 bytes of payload (§5.5).
    LongControl,
    /// The payload length is not in its shortest form (§5.2).
    LengthNotMinimal,
    /// The payload length has its top bit set (§5.2).
    LengthTopBit,
    /// A continuation frame without a message to continue (§5.4).
    UnexpectedContinuation,
    /// A new message inside a fragmented one (§5.4).
    UnfinishedMessage,
    /// A Close frame with a body of one byte (§5.5.1).
    CloseBody,
    /// A close code that must not be on the wire (§7.4).
    CloseCode(u16),
    /// A close reason that is not UTF-8 (§5.5.1).
    CloseReason,
    /// A text frame on a stream of bytes.
    Text,
    /// Too many data frames in a row without a byte of data.
    EmptyFrames,
}

impl Violation {
    /// The code to close the connection with (RFC 6455 §7.4.1).
    pub const fn close_code(self) -> CloseCode {
        match self {
            Violation::Text => CloseCode::UNSUPPORTED,
            Violation::CloseReason => CloseCode::INVALID_PAYLOAD,
            Violation::EmptyFrames => CloseCode::POLICY,
            _ => CloseCode::PROTOCOL,
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Violation::ReservedBits(bits) => write!(f, "peer set reserved bits {bits:03b} without an extension"),
            Violation::ReservedOpCode(code) => write!(f, "peer sent reserved opcode {code:#x}"),
            Violation::Unmasked => f.write_str("client sent an unmasked frame"),
            Violation::Masked => f.write_str("server sent a masked frame"),
            Violation::FragmentedControl => f.write_str("peer sent a fragmented control frame"),
            Violation::LongControl => f.write_str("peer sent a control frame of more than 125 bytes"),
            Violation::LengthNotMinimal => f.write_str("peer sent a frame length that is not in its shortest form"),
            Violation::LengthTopBit => f.write_str("peer sent a frame length of 2^63 or more"),
            Violation::UnexpectedContinuation => f.write_str("peer continued a message that was not begun"),
            Violation::UnfinishedMessage => f.write_str("peer began a message inside another"),
            Violation::CloseBody => f.write_str("peer sent a close frame with a body of one byte"),
            Violation::CloseCode(code) => write!(f, "peer sent close code {code}, which must not be sent"),
            Violation::CloseReason => f.write_str("peer sent a close reason that is not utf-8"),
            Violation::Text => f.write_str("peer sent a text frame"),
            Violation::EmptyFrames => f.write_str("peer sent too many empty frames in a row"),
        }
    }
}

impl std::error::Error for Violation {}
