//! The libp2p upgrade: security and a stream muxer on a byte stream.
