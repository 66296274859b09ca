//! What the programs of this package share: ours, its limits and its peers as rows, and the work that they are given.

#[path = "../../benches/common/mod.rs"]
pub mod common;
pub mod peers;
pub mod rows;
pub mod runtime;
pub mod stack;
pub mod tcp;
pub mod transports;
pub mod work;
