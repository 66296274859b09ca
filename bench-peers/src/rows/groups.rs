//! All groups and their rows.

use std::net::Ipv4Addr;

use futures_rustls::pki_types::ServerName;
use tokio::net::TcpListener;
use tokio_util::compat::TokioAsyncReadCompatExt as _;
use ws_transport::Dialer;
use ws_transport::tls::Backend;

use super::{Group, Kind, Opening, Row};
use crate::common::{self, Certificate, NAME, Ours, Pair, RawNative, RawRustls, Stream, both, buffered};
use crate::peers::{self, Libp2p, OpenSsl, TokioStream};
use crate::runtime::Runtime;
use crate::stack;
use crate::tcp::{SmolTcp, tokio_tcp};
use crate::work::Work;

const RAW: [&str; 2] = ["raw", "buffered"];
const ON_SMOL: [&str; 2] = ["raw", "raw on smol"];

/// All groups; where two have a name in common, the works of the second are not for all rows of the first.
pub const GROUPS: [Group; 7] = [
    Group { name: "ws", limits: RAW, works: Work::on_streams, rows: ws },
    Group { name: "ws", limits: ON_SMOL, works: Work::connecting, rows: ws_connecting },
    Group { name: "wss-rustls", limits: RAW, works: Work::on_streams, rows: rustls },
    Group { name: "wss-rustls", limits: ["raw", "full raw on smol"], works: Work::connecting, rows: rustls_connecting },
    Group { name: "wss-native", limits: RAW, works: Work::on_streams, rows: native },
    Group { name: "wss-native", limits: ["OpenSSL", "our TLS"], works: Work::connecting, rows: native_connecting },
    Group { name: "stack", limits: ["websocket", "websocket-smol"], works: Work::on_stacks, rows: stacks },
];

const TCP: [&str; 2] = ["tcp", "tcp-buffered"];
const TOKIO_TCP: [&str; 2] = ["tokio-tcp", "tokio-tcp-buffered"];
const RUSTLS: [&str; 2] = ["rustls", "rustls-buffered"];
const TOKIO_RUSTLS: [&str; 2] = ["tokio-rustls", "tokio-rustls-buffered"];
const NATIVE: [&str; 2] = ["native-tls", "native-tls-buffered"];

static SMOL: Runtime = Runtime::Smol;

/// What rows keep, for as long as the program runs.
fn keep<T>(value: T) -> &'static T {
    Box::leak(Box::new(value))
}

fn boxed<S: Stream + 'static>((client, server): (S, S)) -> Pair {
    (Box::new(client), Box::new(server))
}

// ---- Moving bytes ---------------------------------------------------------------------------------------------------

fn ws() -> Vec<Row> {
    let listener = keep(common::tcp_listener().unwrap());
    let mut rows = on_smol(TCP, move || async { common::tcp(listener).await.unwrap() });
    let ours = keep(Ours::ws());
    rows.insert(2, Row::new("ours", TCP, &SMOL, move || ours.pair()));
    rows.push(libp2p("libp2p-websocket", TCP, &SMOL, SmolTcp::default, None));

    let tokio = keep(Runtime::tokio());
    let listener = keep(tokio_listener(tokio));
    rows.extend(on_tokio(TOKIO_TCP, tokio, move || async { peers::tcp(listener).await.unwrap() }));
    rows.push(libp2p("libp2p-websocket-tokio", TOKIO_TCP, tokio, tokio_tcp, None));
    rows
}

fn rustls() -> Vec<Row> {
    let certificate = Certificate::generate();
    let raw = keep(RawRustls::new(&certificate, true).unwrap());
    let mut rows = on_smol(RUSTLS, move || async { raw.ends().await.unwrap() });
    let ours = keep(Ours::wss(&certificate, Backend::Rustls));
    rows.insert(2, Row::new("ours", RUSTLS, &SMOL, move || ours.pair()));
    let default = keep(RawRustls::by_default(&certificate).unwrap());
    rows.push(Row::new("rustls-default", RUSTLS, &SMOL, move || async { default.pair().await.unwrap() }).raw());
    rows.push(libp2p("libp2p-websocket", RUSTLS, &SMOL, SmolTcp::default, Some(&certificate)));

    let tokio = keep(Runtime::tokio());
    let listener = keep(tokio_listener(tokio));
    rows.extend(on_tokio(TOKIO_RUSTLS, tokio, move || tokio_rustls(listener, raw)));
    rows.push(libp2p("libp2p-websocket-tokio", TOKIO_RUSTLS, tokio, tokio_tcp, Some(&certificate)));
    rows
}

fn native() -> Vec<Row> {
    let certificate = Certificate::generate();
    let raw = keep(RawNative::new(&certificate));
    let mut rows = on_smol(NATIVE, move || raw.ends());
    let ours = keep(Ours::wss(&certificate, Backend::NativeTls));
    rows.insert(2, Row::new("ours", NATIVE, &SMOL, move || ours.pair()));
    let openssl = keep(OpenSsl::new(&certificate));
    rows.push(Row::new("openssl", NATIVE, &SMOL, move || openssl.pair()).raw());
    rows
}

fn stacks() -> Vec<Row> {
    let limits = ["libp2p-websocket", "libp2p-websocket-smol"];
    stack::ROWS
        .map(|(name, new)| Row { name, limits, kind: Kind::Stack(Box::new(new())), opening: Opening::Own })
        .into()
}

/// The limits and the peers over a stream on smol's reactor.
fn on_smol<S, F>(limits: [&'static str; 2], connect: impl Fn() -> F + Copy + 'static) -> Vec<Row>
where
    S: Stream + Send + 'static,
    F: Future<Output = (S, S)> + 'static,
{
    vec![
        Row::new(limits[0], limits, &SMOL, move || async move { boxed(connect().await) }).raw(),
        Row::new(limits[1], limits, &SMOL, move || async move { buffered(boxed(connect().await)) }).raw(),
        Row::new(
            "async-tungstenite",
            limits,
            &SMOL,
            move || async move { peers::async_tungstenite(connect().await).await },
        ),
        Row::new("ws_stream_tungstenite", limits, &SMOL, move || async move {
            peers::ws_stream_tungstenite(connect().await).await
        }),
        Row::new("soketto", limits, &SMOL, move || async move { peers::soketto(connect().await).await }),
    ]
}

/// The limits, ours and the peers over a stream of Tokio's.
fn on_tokio<S, F>(
    limits: [&'static str; 2],
    tokio: &'static Runtime,
    connect: impl Fn() -> F + Copy + 'static,
) -> Vec<Row>
where
    S: TokioStream,
    F: Future<Output = (S, S)> + 'static,
{
    let raw = move || async move {
        let (client, server) = connect().await;
        boxed((client.compat(), server.compat()))
    };
    vec![
        Row::new(limits[0], limits, tokio, raw).raw(),
        Row::new(limits[1], limits, tokio, move || async move { buffered(raw().await) }).raw(),
        Row::new("ours-tokio", limits, tokio, move || async move {
            let (client, server) = connect().await;
            peers::ours((client.compat(), server.compat())).await
        }),
        Row::new(
            "tokio-tungstenite",
            limits,
            tokio,
            move || async move { peers::tokio_tungstenite(connect().await).await },
        ),
        Row::new(
            "tokio-websockets",
            limits,
            tokio,
            move || async move { peers::tokio_websockets(connect().await).await },
        ),
        Row::new("fastwebsockets", limits, tokio, move || async move { peers::fastwebsockets(connect().await).await })
            .without_opening(),
        Row::new("yawc", limits, tokio, move || async move { peers::yawc(connect().await).await }).without_opening(),
    ]
}

fn libp2p<T>(
    name: &'static str,
    limits: [&'static str; 2],
    runtime: &'static Runtime,
    tcp: fn() -> T,
    certificate: Option<&Certificate>,
) -> Row
where
    T: libp2p_core::Transport<Output: Stream + Send, Error: Send + Sync, Dial: Send, ListenerUpgrade: Send>,
    T: Send + Unpin + 'static,
{
    let transports = keep(Libp2p::new(runtime, tcp, certificate));
    Row::new(name, limits, runtime, move || transports.pair())
}

fn tokio_listener(tokio: &Runtime) -> TcpListener {
    tokio.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).unwrap()
}

type TokioRustls = tokio_rustls::TlsStream<tokio::net::TcpStream>;

async fn tokio_rustls(listener: &TcpListener, raw: &RawRustls) -> (TokioRustls, TokioRustls) {
    let (client, server) = peers::tcp(listener).await.unwrap();
    let connector = tokio_rustls::TlsConnector::from(raw.client.clone());
    let acceptor = tokio_rustls::TlsAcceptor::from(raw.server.clone());
    let connect = connector.connect(ServerName::try_from(NAME).unwrap(), client);
    let (client, server) = both(connect, acceptor.accept(server)).await;
    (client.unwrap().into(), server.unwrap().into())
}

// ---- Connecting -----------------------------------------------------------------------------------------------------

fn ws_connecting() -> Vec<Row> {
    let mut rows = ws();
    // "ours" is dialed by multiaddr; most peers are given two sockets that are connected.
    let listener = keep(common::tcp_listener().unwrap());
    rows.push(Row::new("ours-on-sockets", TCP, &SMOL, move || async {
        peers::ours(common::tcp(listener).await.unwrap()).await
    }));
    rows.retain(Row::opens);
    for row in &mut rows {
        row.limits[1] = "tcp";
    }
    rows
}

fn rustls_connecting() -> Vec<Row> {
    let resumed = ["rustls-resumed", "rustls"];
    let certificate = keep(Certificate::generate());
    let raw = keep(RawRustls::new(certificate, false).unwrap());
    let mut rows = on_smol(RUSTLS, move || async { raw.ends().await.unwrap() });
    let raw_resumed = keep(RawRustls::new(certificate, true).unwrap());
    rows.push(Row::new(resumed[0], resumed, &SMOL, move || async { raw_resumed.pair().await.unwrap() }).raw());

    let wss = keep(Ours::wss(certificate, Backend::Rustls));
    rows.push(Row::new("ours-resumed", resumed, &SMOL, move || wss.pair()));
    let dialer = keep(Dialer::new().with_tls(raw.client.clone().into()));
    rows.push(Row::new("ours", RUSTLS, &SMOL, move || async { boxed(wss.dialed_by(dialer).await) }));

    // By a certificate such as most listeners on the internet have.
    let by_issued = ["rustls-issued", "rustls"];
    let issued = keep(Certificate::issued());
    let raw_issued = keep(RawRustls::new(issued, false).unwrap());
    rows.push(Row::new(by_issued[0], by_issued, &SMOL, move || async { raw_issued.pair().await.unwrap() }).raw());
    let wss = keep(Ours::wss(issued, Backend::Rustls));
    let dialer = keep(Dialer::new().with_tls(raw_issued.client.clone().into()));
    rows.push(Row::new("ours-issued", by_issued, &SMOL, move || async { boxed(wss.dialed_by(dialer).await) }));
    rows.push(Row::new("ours-issued-resumed", by_issued, &SMOL, move || wss.pair()));

    let libp2p_resumed = libp2p("libp2p-websocket-resumed", resumed, &SMOL, SmolTcp::default, Some(certificate));
    let transports = keep(Libp2p::new(&SMOL, SmolTcp::default, Some(certificate)));
    let libp2p = Row::new("libp2p-websocket", RUSTLS, &SMOL, || transports.pair());
    rows.extend([libp2p_resumed, libp2p.prepared_by(|times| transports.add_fresh_clients(times))]);

    let tokio = keep(Runtime::tokio());
    let listener = keep(tokio_listener(tokio));
    rows.extend(on_tokio(TOKIO_RUSTLS, tokio, move || tokio_rustls(listener, raw)));
    rows.retain(Row::opens);
    for row in &mut rows {
        row.limits[1] = "rustls";
    }
    rows
}

fn native_connecting() -> Vec<Row> {
    let mut rows = native();
    rows.retain(|row| ["openssl", "native-tls", "ours"].contains(&row.name));
    for row in &mut rows {
        row.limits = ["openssl", "native-tls"];
    }
    rows
}
