//! rust-libp2p's node: TCP or its WebSocket transport over TCP, noise, yamux; identify, ping and plain streams.

use std::fs;
use std::time::Duration;

use futures::channel::mpsc;
use libp2p::core::upgrade::Version;
use libp2p::identity::Keypair;
use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::swarm::{self, NetworkBehaviour};
use libp2p::{Swarm, Transport, dns, identify, noise, ping, tcp, websocket, yamux};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::arguments::Arguments;
use crate::serve::{ECHO, PERF, PING};
use crate::streams::{self, Inbound, Opener};

type Error = Box<dyn std::error::Error + Send + Sync>;

/// What `SwarmBuilder` has.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(NetworkBehaviour)]
pub struct Behaviour {
    identify: identify::Behaviour,
    ping: Toggle<ping::Behaviour>,
    streams: streams::Behaviour,
}

/// A swarm, what opens its streams, and the streams that peers open.
pub fn swarm(arguments: &Arguments) -> Result<(Swarm<Behaviour>, Opener, mpsc::UnboundedReceiver<Inbound>), Error> {
    let keys = Keypair::generate_ed25519();
    let tcp = || dns::tokio::Transport::system(tcp::tokio::Transport::new(tcp::Config::default()));
    let mut ws = websocket::Config::new(tcp()?);
    ws.set_tls_config(tls(arguments)?);
    let mut muxer = yamux::Config::default();
    if let Some(streams) = arguments.yamux_streams {
        muxer.set_max_num_streams(streams);
    }
    let transport = ws
        .or_transport(tcp()?)
        .upgrade(Version::V1Lazy)
        .authenticate(noise::Config::new(&keys)?)
        .multiplex(muxer)
        .timeout(CONNECTION_TIMEOUT)
        .boxed();

    // Dialing, we ping when we are told to; the answers to the peer's are ours then too.
    let (served, ping): (&[_], _) =
        if arguments.listen { (&[ECHO, PERF], Some(ping::Behaviour::default())) } else { (&[PING], None) };
    let (streams, opener, inbound) = streams::Behaviour::new(served);
    let identify = identify::Behaviour::new(identify::Config::new("ipfs/0.1.0".into(), keys.public()));
    let behaviour = Behaviour { identify, ping: ping.into(), streams };
    let mut config = swarm::Config::with_tokio_executor();
    if arguments.lazy {
        config = config.with_substream_upgrade_protocol_override(Version::V1Lazy);
    }
    Ok((Swarm::new(transport, behaviour, keys.public().to_peer_id(), config), opener, inbound))
}

fn tls(arguments: &Arguments) -> Result<websocket::tls::Config, Error> {
    let mut tls = websocket::tls::Config::builder();
    if let Some((chain, key)) = &arguments.tls {
        let key = PrivateKeyDer::from_pem_file(key)?;
        tls.server(websocket::tls::PrivateKey::new(key.secret_der().to_vec()), certificates(chain)?)?;
    }
    if let Some(ca) = &arguments.ca {
        for certificate in certificates(ca)? {
            tls.add_trust(&certificate)?;
        }
    }
    Ok(tls.finish())
}

fn certificates(file: &str) -> Result<Vec<websocket::tls::Certificate>, Error> {
    let pem = fs::read(file)?;
    CertificateDer::pem_slice_iter(&pem)
        .map(|certificate| Ok(websocket::tls::Certificate::new(certificate?.as_ref().to_vec())))
        .collect()
}
