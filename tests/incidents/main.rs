//! What has gone wrong elsewhere in this field, tried here: `README.md` beside these tests names the test of each incident.
//!
//! Many of them stood before this file, with the part they concern; here is what concerns several, or none of them alone.

#[path = "../tls/certs.rs"]
#[allow(dead_code, unreachable_pub)]
mod certs;
#[path = "../common/mod.rs"]
mod common;
#[cfg(feature = "upgrade")]
#[path = "../upgrade/ends.rs"]
#[allow(dead_code)]
mod ends;
#[path = "../common/heap.rs"]
mod heap;
#[cfg(feature = "upgrade")]
#[path = "../upgrade/scripted.rs"]
#[allow(dead_code)]
mod scripted;

mod control_frames;
mod failing_io;
mod frame_lengths;
mod heads;
mod hellos;
#[cfg(feature = "upgrade")]
mod identity;
mod memory;
mod named;
#[cfg(feature = "upgrade")]
mod noise;
mod timeouts;

use certs::Authority;
use ws_transport::tls::{Acceptor, Backend, Connector};
use ws_transport::{Dialer, ListenOptions};

/// Time after which a test is considered to hang.
const LONG: std::time::Duration = std::time::Duration::from_secs(60);

/// An acceptor for `localhost` and a connector that trusts it, of each backend that is compiled in.
fn backends() -> Vec<(Connector, Acceptor)> {
    let authority = Authority::new("incidents");
    let leaf = authority.issue("localhost");
    let both = Backend::compiled_in().iter().map(|&backend| {
        let connector = Connector::builder().pem_roots(authority.pem()).build_with(backend).unwrap();
        let acceptor = Acceptor::builder(leaf.chain.as_str(), leaf.key.as_str()).build_with(backend).unwrap();
        (connector, acceptor)
    });
    both.collect()
}

/// What listens and what dials it, plain and over TLS by each backend, and the protocols behind the port.
fn transports(options: &ListenOptions, dialer: &Dialer) -> Vec<(ListenOptions, Dialer, &'static str)> {
    let tls = backends().into_iter().map(|(connector, acceptor)| {
        (options.clone().with_tls(acceptor), dialer.clone().with_tls(connector), "tls/sni/localhost/ws")
    });
    std::iter::once((options.clone(), dialer.clone(), "ws")).chain(tls).collect()
}
