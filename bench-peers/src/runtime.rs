//! What waits for the sockets, and runs both ends.

use tokio::runtime::Builder;
use tokio::task::coop::unconstrained;

/// smol's reactor (async-io), or a current-thread runtime of Tokio.
pub enum Runtime {
    Smol,
    Tokio(tokio::runtime::Runtime),
}

impl Runtime {
    pub fn tokio() -> Self {
        Runtime::Tokio(Builder::new_current_thread().enable_io().build().unwrap())
    }

    /// Runs `work`, whose tasks are those of a `LocalExecutor` in it.
    ///
    /// Tokio cannot see these tasks, so all of them would share one budget; once it is used up, each would be polled in
    /// vain until the executor yields. As a task of Tokio's own each would have a budget.
    pub fn block_on<T>(&self, work: impl Future<Output = T>) -> T {
        match self {
            Runtime::Smol => smol::block_on(work),
            Runtime::Tokio(runtime) => runtime.block_on(unconstrained(work)),
        }
    }
}
