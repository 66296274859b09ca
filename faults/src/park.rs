//! Writing until the peer takes no more.

use std::io;
use std::time::Duration;

use smol::io::AsyncWriteExt;
use smol::{Timer, future};
use ws_transport::Connection;

/// Writes until nothing is taken for so long, twice; says how much was taken.
///
/// A socket that has a little room is not writable for the system until it has more, and takes it all the same when it is
/// asked again.
pub(crate) async fn park(connection: &mut Connection, patience: Duration) -> io::Result<usize> {
    let (data, mut taken, mut parked) = (vec![7; 64 * 1024], 0, 0);
    while parked < 2 {
        let waits = async {
            Timer::after(patience).await;
            Ok(0)
        };
        match future::or(connection.write(&data), waits).await? {
            0 => parked += 1,
            len => (taken, parked) = (taken + len, 0),
        }
    }
    Ok(taken)
}
