//! The transport for rust-libp2p.
