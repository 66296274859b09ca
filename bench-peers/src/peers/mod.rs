//! Other WebSocket libraries as byte streams, with their defaults: a binary message per write.
//!
//! What they hold back until a flush is held back, and no adapter gathers writes for a library that does not.

mod calls;
mod messages;
mod on_smol;
mod on_tokio;
mod openssl;

pub use on_smol::{Libp2p, async_tungstenite, ours, soketto, ws_stream_tungstenite};
pub use on_tokio::{TokioStream, fastwebsockets, tcp, tokio_tungstenite, tokio_websockets, yawc};
pub use openssl::OpenSsl;
