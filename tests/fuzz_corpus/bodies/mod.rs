//! What is fuzzed: each body takes any bytes and panics where a promise is broken.
//!
//! `fuzz/` drives them by libFuzzer, `tests/fuzz_corpus` by the seeds and by random bytes.
#![allow(dead_code)]

pub mod address;
pub mod client;
pub mod frames;
mod script;
pub mod server;
pub mod stream;
#[cfg(feature = "upgrade")]
pub mod tampered;
#[cfg(feature = "upgrade")]
pub mod upgrade;

#[path = "../../common/mod.rs"]
mod common;
