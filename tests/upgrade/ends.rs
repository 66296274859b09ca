//! Two upgraded ends of a pipe, and an executor for their drivers.

use std::sync::Arc;
use std::time::Duration;

use async_io::Timer;
use futures_lite::future::{self, block_on, zip};
use libp2p_identity::{Keypair, PeerId};
use smol::{Executor, Task};
use ws_transport::upgrade::{Io, Session, SessionError, UpgradeError, Upgrader};

use crate::common::patience::patient;
use crate::common::pipe::{Manner, pipe};

/// How a driver ended.
pub type Ended = Result<(), SessionError>;

/// Runs a test, which must not take longer than anybody would wait for it.
pub fn run<T>(test: impl AsyncFnOnce(Arc<Executor<'static>>) -> T) -> T {
    let executor = Arc::new(Executor::new());
    let test = executor.run(test(Arc::clone(&executor)));
    block_on(future::or(test, async {
        Timer::after(patient(Duration::from_secs(60))).await;
        panic!("the test hangs");
    }))
}

/// A session at each end of a pipe.
pub struct Ends {
    pub dialer: Session,
    pub listener: Session,
    pub dialer_driver: Task<Ended>,
    pub listener_driver: Task<Ended>,
}

impl Ends {
    pub async fn new(executor: &Executor<'static>, manner: Manner) -> Ends {
        Ends::with(executor, manner, upgrader().1, upgrader().1).await
    }

    pub async fn with(executor: &Executor<'static>, manner: Manner, dialer: Upgrader, listener: Upgrader) -> Ends {
        let (a, b) = pipe(manner, manner);
        let (dialed, accepted) = upgrade(executor, dialer, a, None, listener, b).await;
        let ((dialer, dialer_driver), (listener, listener_driver)) = (dialed.unwrap(), accepted.unwrap());
        Ends { dialer, listener, dialer_driver, listener_driver }
    }

    /// Closes the dialer's session and looks that both end in order.
    pub async fn close(self) {
        self.dialer.close().await.unwrap();
        self.dialer_driver.await.unwrap();
        self.listener_driver.await.unwrap();
    }
}

pub type Upgraded = Result<(Session, Task<Ended>), UpgradeError>;

/// Upgrades both ends, and spawns the drivers.
pub async fn upgrade<A: Io + 'static, B: Io + 'static>(
    executor: &Executor<'static>,
    dialer: Upgrader,
    a: A,
    expected: Option<PeerId>,
    listener: Upgrader,
    b: B,
) -> (Upgraded, Upgraded) {
    let dial = async {
        let (session, driver) = dialer.dial(a, expected).await?;
        Ok((session, executor.spawn(driver)))
    };
    let accept = async {
        let (session, driver) = listener.accept(b).await?;
        Ok((session, executor.spawn(driver)))
    };
    zip(dial, accept).await
}

/// Who it is, and an upgrader that serves `/echo/1` and `/other/1`.
pub fn upgrader() -> (PeerId, Upgrader) {
    let keypair = Keypair::generate_ed25519();
    let upgrader = Upgrader::new(&keypair).unwrap().with_protocols(["/echo/1", "/other/1"]);
    (keypair.public().to_peer_id(), upgrader)
}
