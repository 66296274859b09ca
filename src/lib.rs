//! The libp2p WebSocket transport for smol, async-std and any other futures executor.
#![forbid(unsafe_code)]
#![warn(missing_docs, unreachable_pub)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod addr;
mod config;
mod deadline;
mod dial;
mod error;
pub mod handshake;
mod listen;
pub mod proto;
mod stream;
mod tcp;
pub mod tls;
mod to_ws_addr;

pub use addr::{AddrError, DnsFamily, Host, WsAddr};
pub use config::{StreamConfig, TextFrames};
pub use deadline::TimedOut;
pub use dial::{ConnectError, Dialer};
pub use error::{Error, Phase};
pub use listen::{Connections, Incoming, ListenOptions, Listener};
pub use stream::{Closed, Initiator, WsStream};
#[cfg(unix)]
pub use tcp::KeepAlive;
pub use tcp::Tcp;
pub use to_ws_addr::ToWsAddr;

/// The address type of this crate's public interface.
pub use multiaddr;

/// A connection over TCP, plain or inside TLS, as [`Dialer`] and [`Listener`] yield it.
pub type Connection = WsStream<tls::MaybeTls<Tcp>>;
