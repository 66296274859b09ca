//! The upgrade against itself, against rust-libp2p's own, and against peers that break the rules.

mod common;
#[path = "upgrade/ends.rs"]
mod ends;
#[path = "upgrade/failures.rs"]
mod failures;
#[path = "upgrade/noise.rs"]
mod noise;
#[path = "upgrade/reference.rs"]
mod reference;
#[path = "upgrade/rules.rs"]
mod rules;
#[path = "upgrade/scripted.rs"]
mod scripted;
#[path = "upgrade/sessions.rs"]
mod sessions;
