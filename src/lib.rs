//! The libp2p WebSocket transport for smol, async-std and any other futures executor.
//!
//! A multiaddr such as `/dns/example.com/tcp/443/tls/ws` names the peer, an HTTP/1.1 upgrade opens the connection
//! (RFC 6455 §4), and what follows is a plain byte stream, as the libp2p WebSockets specification (r0, 2024-10-23) asks.
//!
//! * [`Dialer`] resolves, connects, runs TLS and asks for the upgrade, under one deadline.
//! * [`Listener`] accepts; every connection shakes hands apart from the others.
//! * [`WsStream`] is the byte stream, over any `AsyncRead + AsyncWrite`; [`handshake`] opens one over an IO of your own.
//! * `upgrade`, with the feature of that name, makes a libp2p session of it: noise, yamux, streams.
//! * [`WsAddr`] is an address understood; [`tls`] chooses the backend by a value; [`proto`] is the protocol without IO.
//!
//! Nothing is spawned and no executor is named: sockets and timers are those of `async-io`, which runs one thread of its
//! own where no executor drives its reactor. Dropping a future aborts what it did.
//!
//! ```
//! use futures_lite::future::{block_on, try_zip};
//! use futures_lite::{AsyncReadExt, AsyncWriteExt};
//! use ws_transport::{Dialer, Listener};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! block_on(async {
//!     let listener = Listener::bind("/ip4/127.0.0.1/tcp/0/ws").await?;
//!     let address = listener.addresses()?.remove(0);
//!
//!     let server = async {
//!         let mut connection = listener.accept().await?.await?;
//!         let mut name = [0; 5];
//!         connection.read_exact(&mut name).await?;
//!         connection.write_all(b"hello, ").await?;
//!         connection.write_all(&name).await?;
//!         connection.close().await?;
//!         Ok::<_, Box<dyn std::error::Error>>(())
//!     };
//!     let client = async {
//!         let mut connection = Dialer::new().dial(&address).await?;
//!         connection.write_all(b"world").await?;
//!         let mut greeting = String::new();
//!         connection.read_to_string(&mut greeting).await?;
//!         Ok(greeting)
//!     };
//!     let (greeting, ()) = try_zip(client, server).await?;
//!     assert_eq!(greeting, "hello, world");
//!     Ok(())
//! })
//! # }
//! ```
//!
//! # Features
//!
//! | feature | what it adds |
//! |---|---|
//! | `rustls` (default) | TLS 1.3 and 1.2 by rustls with ring |
//! | `native-tls` | TLS by the system's library, OpenSSL on Linux |
//! | `native-tls-vendored` | the same with OpenSSL built from source |
//! | `upgrade` | the libp2p upgrade over any byte stream: multistream-select, noise and yamux |
//! | `libp2p` | `libp2p::WsTransport`, for a rust-libp2p `Swarm` without Tokio |
//!
//! Features only add. With both backends compiled in a [`tls::Connector`] or [`tls::Acceptor`] decides; with none, `/ws`
//! works and `/tls/ws` is an error that says so.
#![forbid(unsafe_code)]
#![warn(missing_docs, unreachable_pub)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod addr;
// Noise needs all of it, native-tls a part.
#[cfg(any(feature = "native-tls", feature = "upgrade"))]
#[cfg_attr(not(feature = "upgrade"), allow(dead_code))]
mod buffer;
mod config;
mod crowd;
mod deadline;
mod dial;
mod error;
pub mod handshake;
#[cfg(any(feature = "upgrade", feature = "libp2p"))]
mod heap;
mod lend;
#[cfg(feature = "libp2p")]
pub mod libp2p;
mod listen;
mod pool;
pub mod proto;
mod put_off;
mod sleep;
mod stream;
mod tcp;
pub mod tls;
mod to_ws_addr;
#[cfg(feature = "upgrade")]
pub mod upgrade;
mod wide;
#[cfg(test)]
#[path = "../tests/common/woken.rs"]
mod woken;

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

/// Runs the programs in the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
