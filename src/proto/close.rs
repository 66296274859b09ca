//! The body of a Close frame (RFC 6455 §5.5.1, §7.4).

use std::fmt;

use super::{Header, Violation};

/// Why a connection is closed: a code that may be sent (RFC 6455 §7.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CloseCode(u16);

impl CloseCode {
    /// 1000: the purpose is fulfilled.
    pub const NORMAL: CloseCode = CloseCode(1000);
    /// 1001: the end is going away, such as a server that shuts down.
    pub const GOING_AWAY: CloseCode = CloseCode(1001);
    /// 1002: the peer broke the protocol.
    pub const PROTOCOL: CloseCode = CloseCode(1002);
    /// 1003: the peer sent a type of data that is not understood here, such as text.
    pub const UNSUPPORTED: CloseCode = CloseCode(1003);
    /// 1007: data does not fit its type, such as text that is not UTF-8.
    pub const INVALID_PAYLOAD: CloseCode = CloseCode(1007);
    /// 1008: the peer broke a policy of this end.
    pub const POLICY: CloseCode = CloseCode(1008);
    /// 1009: a message is too big for this end.
    pub const TOO_BIG: CloseCode = CloseCode(1009);
    /// 1011: this end met an unexpected condition.
    pub const INTERNAL: CloseCode = CloseCode(1011);

    /// The code of this number; `None` for those that must not be sent, such as 1005 and 1006.
    ///
    /// Those that may are 1000 to 1003, 1007 to 1014 and 3000 to 4999 (RFC 6455 §7.4 and its registry).
    pub const fn new(code: u16) -> Option<Self> {
        match code {
            1000..=1003 | 1007..=1014 | 3000..=4999 => Some(CloseCode(code)),
            _ => None,
        }
    }

    /// The number on the wire.
    pub const fn get(self) -> u16 {
        self.0
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The body of a Close frame: code and reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloseFrame {
    code: CloseCode,
    /// At most [`CloseFrame::MAX_REASON`] bytes.
    reason: String,
}

impl CloseFrame {
    /// Longest reason, in bytes: a control frame's payload less the code.
    pub const MAX_REASON: usize = Header::MAX_CONTROL - 2;

    /// A code with a reason of at most 123 bytes.
    pub fn new(code: CloseCode, reason: impl Into<String>) -> Result<Self, InvalidClose> {
        let reason = reason.into();
        match reason.len() {
            0..=Self::MAX_REASON => Ok(CloseFrame { code, reason }),
            len => Err(InvalidClose::Reason(len)),
        }
    }

    /// The code.
    pub fn code(&self) -> CloseCode {
        self.code
    }

    /// The reason, for people to read; often empty.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// Reads a Close frame's payload; an empty one has neither code nor reason.
    pub(super) fn decode(payload: &[u8]) -> Result<Option<Self>, Violation> {
        let (code, reason) = match payload {
            [] => return Ok(None),
            [_] => return Err(Violation::CloseBody),
            [high, low, reason @ ..] => (u16::from_be_bytes([*high, *low]), reason),
        };
        let code = CloseCode::new(code).ok_or(Violation::CloseCode(code))?;
        let reason = std::str::from_utf8(reason).map_err(|_| Violation::CloseReason)?;
        Ok(Some(CloseFrame { code, reason: reason.to_owned() }))
    }

    /// The payload of a Close frame.
    pub fn to_payload(&self) -> Vec<u8> {
        let mut payload = self.code.get().to_be_bytes().to_vec();
        payload.extend_from_slice(self.reason.as_bytes());
        payload
    }
}

impl From<CloseCode> for CloseFrame {
    fn from(code: CloseCode) -> Self {
        CloseFrame { code, reason: String::new() }
    }
}

/// Why a Close frame cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidClose {
    /// The code must not be on the wire (RFC 6455 §7.4).
    Code(u16),
    /// The reason has this many bytes, which is more than 123.
    Reason(usize),
}

impl fmt::Display for InvalidClose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            InvalidClose::Code(code) => write!(f, "close code {code} must not be sent"),
            InvalidClose::Reason(len) => {
                write!(f, "close reason is too long ({len} > {} bytes)", CloseFrame::MAX_REASON)
            }
        }
    }
}

impl std::error::Error for InvalidClose {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_codes_meant_for_the_wire_are_taken() {
        let allowed = |code: u16| CloseCode::new(code).is_some();
        for code in [1000, 1003, 1007, 1014, 3000, 3999, 4000, 4999] {
            assert!(allowed(code), "{code}");
        }
        for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535] {
            assert!(!allowed(code), "{code}");
            assert_eq!(CloseFrame::decode(&code.to_be_bytes()), Err(Violation::CloseCode(code)));
        }
    }

    #[test]
    fn bodies_are_read_and_written() {
        assert_eq!(CloseFrame::decode(b""), Ok(None));
        assert_eq!(CloseFrame::decode(b"\x03"), Err(Violation::CloseBody));
        assert_eq!(CloseFrame::decode(b"\x03\xe8\xff"), Err(Violation::CloseReason));
        let frame = CloseFrame::new(CloseCode::GOING_AWAY, "bye").unwrap();
        assert_eq!(CloseFrame::decode(&frame.to_payload()), Ok(Some(frame)));
    }

    #[test]
    fn a_reason_has_at_most_123_bytes() {
        assert!(CloseFrame::new(CloseCode::NORMAL, "r".repeat(123)).is_ok());
        assert_eq!(CloseFrame::new(CloseCode::NORMAL, "r".repeat(124)), Err(InvalidClose::Reason(124)));
    }
}
