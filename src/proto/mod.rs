//! The WebSocket protocol apart from IO: bytes into events, events into bytes (RFC 6455 §5 to §7).
//!
//! Nothing here waits, reads, writes or looks at a clock. [`Decoder`] is fed received bytes in pieces of any size and
//! says what they mean; [`Encoder`] puts frames into a buffer of fixed size. [`WsStream`](crate::WsStream) is a thin
//! shell around the two; a program that needs messages rather than a byte stream can use them directly, as the example
//! `autobahn` does, behind [`handshake::request`](crate::handshake::request) or
//! [`handshake::respond`](crate::handshake::respond).
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::cast_possible_truncation,
        clippy::arithmetic_side_effects
    )
)]

mod close;
mod decoder;
mod encoder;
mod frame;
pub(crate) mod http;
mod mask;
mod violation;

pub use close::{CloseCode, CloseFrame, InvalidClose};
pub use decoder::{Decoder, Event};
pub use encoder::Encoder;
pub use frame::{Header, OpCode};
pub use mask::Mask;
pub use violation::Violation;

/// Which end of the connection we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// The end that dialed: it masks every frame it sends (RFC 6455 §5.1).
    Client,
    /// The end that listened: it never masks.
    Server,
}
