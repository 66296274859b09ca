//! Memory of an idle end: what it holds on the heap, its own size included, and what becomes resident.

use std::env;
use std::process::Command;
use std::slice;

use smol::future;
use smol::io::AsyncReadExt;
use ws_transport::tls::{Backend, MaybeTls};
use ws_transport::{Connection, Tcp, WsStream};

use crate::common::{self, Certificate, Direction, Ours, Pair, RawNative, RawRustls};
use crate::heap::used;
use crate::{Claim, raise_descriptors};

/// Ends that are asked for if nothing is said.
pub(crate) const ENDS: usize = 10_000;

/// Most that a stream may cost beyond what it runs on, object and heap, in bytes: half a KiB.
///
/// Inside TLS that includes the protocol agreed on, and a server's session in the room of a client's.
const LIMIT: isize = 512;

/// Descriptors of the process besides its connections.
const SPARE: u64 = 100;

/// Traffic of a connection, each way, in bytes.
const TRAFFIC: u64 = 100_000;

/// What runs on what: each row after the bare one that it is compared with.
const ROWS: [(&str, Option<&str>); 6] = [
    ("TCP", None),
    ("ws", Some("TCP")),
    ("TLS 1.3, rustls", None),
    ("wss, rustls", Some("TLS 1.3, rustls")),
    ("TLS 1.2, native-tls", None),
    ("wss, native-tls", Some("TLS 1.2, native-tls")),
];

/// Bytes per end.
#[derive(Clone, Copy)]
struct Cost {
    heap: usize,
    resident: usize,
}

/// Prints the table; each row has a process of its own, for what is freed stays resident.
pub(crate) fn table(ends: usize) -> Claim {
    println!("{ends} ends of {} connections, both in one process; bytes per end\n", ends / 2);
    println!(
        "`WsStream<()>` has {} bytes, `Tcp` {}, `MaybeTls<Tcp>` {}, `Connection` {}.\n",
        size_of::<WsStream<()>>(),
        size_of::<Tcp>(),
        size_of::<MaybeTls<Tcp>>(),
        size_of::<Connection>()
    );
    println!("| idle end | object and heap, fresh | resident | after {TRAFFIC} bytes each way | resident |");
    println!("|---|---|---|---|---|");
    let (mut bare, mut broken) = (None, Vec::new());
    for (name, on) in ROWS {
        let output = Command::new(env::current_exe()?).args(["idle-row", name, &ends.to_string()]).output()?;
        let text = String::from_utf8(output.stdout)?;
        let counts: Vec<usize> = text.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
        let [fresh_heap, fresh_resident, heap, resident] = counts[..] else {
            return Err(format!("{name}: {}", String::from_utf8_lossy(&output.stderr)).into());
        };
        let costs = [Cost { heap: fresh_heap, resident: fresh_resident }, Cost { heap, resident }];
        line(name, costs.map(|cost| [cost.heap, cost.resident].map(|bytes| bytes as isize)));
        let Some(below) = on.and(bare.replace(costs)) else { continue };
        let beyond = |i: usize| {
            let (of, on): (Cost, Cost) = (costs[i], below[i]);
            [of.heap as isize - on.heap as isize, of.resident as isize - on.resident as isize]
        };
        line(&format!("**{name}, beyond the bare one**"), [beyond(0), beyond(1)]);
        broken.extend(
            [beyond(0), beyond(1)]
                .into_iter()
                .filter(|beyond| beyond[0] > LIMIT)
                .map(|beyond| format!("an idle end of {name} costs {} bytes, over {LIMIT}", beyond[0])),
        );
    }
    match broken.is_empty() {
        true => Ok(()),
        false => Err(broken.join("; ").into()),
    }
}

fn line(name: &str, [fresh, used]: [[isize; 2]; 2]) {
    println!("| {name} | {} | {} | {} | {} |", fresh[0], fresh[1], used[0], used[1]);
}

/// Makes the connections of one row and prints what an end of them costs.
pub(crate) fn row(name: &str, ends: usize) -> Claim {
    raise_descriptors(ends as u64 + SPARE)?;
    let certificate = Certificate::generate();
    let make: Box<dyn Fn() -> Pair> = match name {
        "TCP" => {
            let listener = common::tcp_listener()?;
            Box::new(move || smol::block_on(common::tcp_pair(&listener)).unwrap())
        }
        "ws" => ours(Ours::ws()),
        "TLS 1.3, rustls" => {
            let raw = RawRustls::new(&certificate, true)?;
            Box::new(move || smol::block_on(raw.pair()).unwrap())
        }
        "wss, rustls" => ours(Ours::wss(&certificate, Backend::Rustls)),
        "TLS 1.2, native-tls" => {
            let raw = RawNative::new(&certificate);
            Box::new(move || smol::block_on(raw.pair()))
        }
        "wss, native-tls" => ours(Ours::wss(&certificate, Backend::NativeTls)),
        _ => return Err(format!("no such row: {name}").into()),
    };
    // What there is once and not for each connection: caches of sessions among it, which hold 256.
    for _ in 0..300 {
        fill(&mut make());
    }
    let mut pairs = Vec::with_capacity(ends / 2);
    let begin = used();
    for _ in 0..ends / 2 {
        let mut pair = make();
        // Both ends are there, and a TLS client has read its tickets.
        smol::block_on(common::greet(&mut pair));
        wait(&mut pair);
        pairs.push(pair);
    }
    let fresh = used();
    pairs.iter_mut().for_each(fill);
    let filled = used();
    for now in [fresh, filled] {
        println!("{} {}", now.0.saturating_sub(begin.0) / ends, now.1.saturating_sub(begin.1) / ends);
    }
    Ok(())
}

fn ours(ours: Ours) -> Box<dyn Fn() -> Pair> {
    Box::new(move || smol::block_on(ours.pair()))
}

fn fill(pair: &mut Pair) {
    for direction in Direction::BOTH {
        let moved = smol::block_on(common::transfer(slice::from_mut(pair), direction, 16 * 1024, TRAFFIC));
        assert_eq!(moved, TRAFFIC);
    }
    wait(pair);
}

/// Both ends look for data, as whoever reads an idle connection has done; TLS gives up what room it had for more.
fn wait((client, server): &mut Pair) {
    for end in [client, server] {
        let waits = smol::block_on(future::poll_once(end.read(&mut [0]))).is_none();
        assert!(waits, "nothing was sent");
    }
}
