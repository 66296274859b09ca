//! What this process is told and what it has used, by the system.

use std::time::Duration;

use async_signal::{Signal, Signals};
use futures_lite::StreamExt;

use crate::failure::Result;

/// What tells that the process should end: SIGTERM or Ctrl-C.
pub(crate) fn signals() -> Result<Signals> {
    #[cfg(unix)]
    let signals = [Signal::Term, Signal::Int];
    #[cfg(not(unix))]
    let signals = [Signal::Int];
    Ok(Signals::new(signals)?)
}

/// Waits until one of the signals is there.
pub(crate) async fn terminated(mut signals: Signals) -> Result<()> {
    match signals.next().await {
        Some(Err(error)) => Err(error.into()),
        Some(Ok(_)) | None => Ok(()),
    }
}

/// The processor time that this process has used; zero where we do not know how to ask.
#[cfg(not(unix))]
pub(crate) fn cpu() -> Duration {
    Duration::ZERO
}

/// The processor time that this process has used.
#[cfg(unix)]
pub(crate) fn cpu() -> Duration {
    let used = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    used.try_into().unwrap_or_default()
}
