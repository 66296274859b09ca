//! The upgrade against itself, against rust-libp2p's own, and against peers that break the rules.

mod common;
#[path = "upgrade/ends.rs"]
mod ends;
#[path = "upgrade/sessions.rs"]
mod sessions;
