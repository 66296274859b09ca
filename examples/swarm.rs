//! Two rust-libp2p nodes on smol over WebSockets: identify, ping, and a record put into and got out of Kademlia.
//!
//! ```text
//! cargo run --example swarm --features libp2p
//! ```
//!
//! It ends by itself, and its status tells whether all went well. With the crate `libp2p` instead of its parts write
//! `libp2p::swarm` for `libp2p_swarm` and so on, and leave out the line with the prelude.

use std::collections::BTreeSet;
use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use libp2p_core::{Transport, upgrade::Version};
use libp2p_identify as identify;
use libp2p_identity::Keypair;
use libp2p_kad::{self as kad, GetRecordOk, QueryResult, Quorum, Record, store::MemoryStore};
use libp2p_ping as ping;
use libp2p_swarm::{self as swarm, NetworkBehaviour, StreamProtocol, Swarm, SwarmEvent};
use smol::Timer;
use smol::future::{or, race};
use smol::stream::StreamExt;
use ws_transport::libp2p::WsTransport;

const KAD: StreamProtocol = StreamProtocol::new("/example/kad/1.0.0");
const KEY: &[u8] = b"greeting";
const VALUE: &[u8] = b"hello over WebSockets";

#[derive(NetworkBehaviour)]
#[behaviour(prelude = "libp2p_swarm::derive_prelude")]
struct Node {
    identify: identify::Behaviour,
    ping: ping::Behaviour,
    kad: kad::Behaviour<MemoryStore>,
}

fn main() -> ExitCode {
    let deadline = async {
        Timer::after(Duration::from_secs(30)).await;
        Err("not done after 30 s".into())
    };
    match smol::block_on(race(run(), deadline)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("failed: {error}");
            ExitCode::FAILURE
        }
    }
}

/// A node with an identity of its own; its connections run on smol's global executor.
fn node() -> Result<Swarm<Node>, Box<dyn Error>> {
    let key = Keypair::generate_ed25519();
    let id = key.public().to_peer_id();

    // Keeps the windows at 256 KiB: js-libp2p fills larger ones with frames that rust-libp2p's yamux refuses.
    let mut yamux = libp2p_yamux::Config::default();
    yamux.set_max_num_streams(4096);

    let transport = WsTransport::default()
        .upgrade(Version::V1Lazy)
        .authenticate(libp2p_noise::Config::new(&key)?)
        .multiplex(yamux)
        .timeout(Duration::from_secs(20))
        .boxed();

    let mut kad = kad::Behaviour::with_config(id, MemoryStore::new(id), kad::Config::new(KAD));
    kad.set_mode(Some(kad::Mode::Server));
    let identify = identify::Behaviour::new(identify::Config::new("/example/1.0.0".into(), key.public()));
    let node = Node { identify, ping: ping::Behaviour::default(), kad };

    let config = swarm::Config::with_executor(|task| smol::spawn(task).detach());
    Ok(Swarm::new(transport, node, id, config.with_idle_connection_timeout(Duration::from_secs(60))))
}

async fn run() -> Result<(), Box<dyn Error>> {
    let (mut a, mut b) = (node()?, node()?);
    a.listen_on("/ip4/127.0.0.1/tcp/0/ws".parse()?)?;
    b.listen_on("/ip4/127.0.0.1/tcp/0/ws".parse()?)?;
    println!("A is {}\nB is {}", a.local_peer_id(), b.local_peer_id());

    let mut left = BTreeSet::from(["A identify", "A ping", "B identify", "B ping", "B put", "B get"]);
    while !left.is_empty() {
        let (name, event) = or(async { ("A", a.next().await) }, async { ("B", b.next().await) }).await;
        let done = match event.ok_or("a swarm has ended")? {
            SwarmEvent::NewListenAddr { address, .. } => {
                println!("{name} listens on {address}");
                if name == "A" {
                    b.dial(address.with_p2p(*a.local_peer_id()).map_err(|address| format!("dialing {address}"))?)?;
                }
                continue;
            }
            SwarmEvent::ConnectionEstablished { endpoint, .. } => {
                println!("{name} is connected with {}", endpoint.get_remote_address());
                continue;
            }
            SwarmEvent::OutgoingConnectionError { error, .. } => return Err(error.into()),
            SwarmEvent::IncomingConnectionError { error, .. } => return Err(error.into()),
            SwarmEvent::Behaviour(event) => handle(name, event, if name == "A" { &mut a } else { &mut b })?,
            _ => continue,
        };
        left.remove(format!("{name} {done}").as_str());
    }
    Ok(())
}

/// Prints the event, and goes on where it is B's turn; returns what is done by it.
fn handle(name: &str, event: NodeEvent, swarm: &mut Swarm<Node>) -> Result<&'static str, Box<dyn Error>> {
    let kad = &mut swarm.behaviour_mut().kad;
    match event {
        NodeEvent::Identify(identify::Event::Received { peer_id, info, .. }) => {
            let identify::Info { agent_version, protocols, listen_addrs, observed_addr, .. } = info;
            println!("{name} identified {peer_id}: {agent_version}, {protocols:?}, and is seen as {observed_addr}");
            for addr in listen_addrs {
                kad.add_address(&peer_id, addr);
            }
            if name == "B" {
                kad.put_record(Record::new(KEY.to_vec(), VALUE.to_vec()), Quorum::One)?;
            }
            Ok("identify")
        }
        NodeEvent::Ping(ping::Event { result, .. }) => {
            println!("{name} pinged in {:?}", result?);
            Ok("ping")
        }
        NodeEvent::Kad(kad::Event::OutboundQueryProgressed { result: QueryResult::PutRecord(put), .. }) => {
            let key = put?.key;
            println!("{name} put {key:?}");
            // From here on, only A has it.
            kad.remove_record(&key);
            kad.get_record(key);
            Ok("put")
        }
        NodeEvent::Kad(kad::Event::OutboundQueryProgressed { result: QueryResult::GetRecord(got), .. }) => match got? {
            GetRecordOk::FoundRecord(found) if found.record.value == VALUE => {
                println!("{name} got {:?} from {:?}", String::from_utf8_lossy(VALUE), found.peer);
                Ok("get")
            }
            GetRecordOk::FoundRecord(found) => Err(format!("got another record: {found:?}").into()),
            _ => Ok("the query"),
        },
        _ => Ok("nothing"),
    }
}
