//! What is told to a logger: every phase, and neither payload nor header values nor keys.

use std::sync::Mutex;

use futures_lite::future::{block_on, try_zip};
use futures_lite::{AsyncReadExt, AsyncWriteExt};
use log::{Level, LevelFilter, Log, Metadata, Record};
use ws_transport::tls::{Acceptor, Backend, Connector};
use ws_transport::{Dialer, ListenOptions};

const SECRET: &str = "Open-Sesame";

struct Lines(Mutex<Vec<(Level, String)>>);

static LINES: Lines = Lines(Mutex::new(Vec::new()));

impl Log for Lines {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        if record.target().starts_with("ws_transport") {
            self.0.lock().unwrap().push((record.level(), record.args().to_string()));
        }
    }

    fn flush(&self) {}
}

/// Dials, says the secret there and back, and closes; gives what was logged meanwhile.
fn lines_of(options: ListenOptions, dialer: Dialer, address: &str) -> Vec<(Level, String)> {
    LINES.0.lock().unwrap().clear();
    block_on(async {
        let listener = options.bind(address).await.unwrap();
        let address = listener.addresses().unwrap().remove(0);
        let server = async {
            let mut connection = listener.accept().await?.await?;
            let mut said = [0; SECRET.len()];
            connection.read_exact(&mut said).await.unwrap();
            connection.write_all(&said).await.unwrap();
            connection.close().await.unwrap();
            Ok::<_, ws_transport::Error>(())
        };
        let client = async {
            let mut connection = dialer.dial(&address).await?;
            connection.write_all(SECRET.as_bytes()).await.unwrap();
            let mut said = String::new();
            connection.read_to_string(&mut said).await.unwrap();
            assert_eq!(said, SECRET);
            Ok(())
        };
        try_zip(server, client).await.unwrap();
        let other = address.with(multiaddr::Protocol::HttpPath("refused".into()));
        let (refused, _) =
            futures_lite::future::zip(dialer.dial(other), async { listener.accept().await?.await }).await;
        assert!(refused.is_err());
    });
    std::mem::take(&mut LINES.0.lock().unwrap())
}

#[test]
fn every_phase_is_logged_at_debug_and_no_payload_header_value_or_key() {
    log::set_logger(&LINES).unwrap();
    log::set_max_level(LevelFilter::Trace);
    let dialer = || Dialer::new().with_header("Authorization", SECRET).unwrap();
    let policy = |request: &ws_transport::handshake::UpgradeRequest<'_>| match request.path() {
        "/" => Ok(()),
        _ => Err(ws_transport::handshake::http::StatusCode::FORBIDDEN),
    };
    let plain = lines_of(ListenOptions::new().with_policy(policy), dialer(), "/ip4/127.0.0.1/tcp/0/ws");
    let mut phases = vec!["listening", "resolving", "connecting", "accepted", "upgrade", "open", "failed"];
    check(&plain, &phases);

    let made = rcgen::generate_simple_self_signed(["127.0.0.1".into()]).unwrap();
    let (chain, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    phases.push("TLS");
    for &backend in Backend::compiled_in() {
        let acceptor = Acceptor::builder(chain.as_str(), key.as_str()).build_with(backend).unwrap();
        let connector = Connector::builder().pem_roots(chain.as_str()).build_with(backend).unwrap();
        let options = ListenOptions::new().with_policy(policy).with_tls(acceptor);
        let secret_of_the_key = key.lines().nth(1).unwrap();
        let lines = lines_of(options, dialer().with_tls(connector), "/ip4/127.0.0.1/tcp/0/tls/ws");
        check(&lines, &phases);
        assert!(!lines.iter().any(|(_, line)| line.contains(secret_of_the_key)));
    }
}

fn check(lines: &[(Level, String)], phases: &[&str]) {
    for phase in phases {
        assert!(lines.iter().any(|(_, line)| line.contains(phase)), "{phase} is missing in {lines:#?}");
    }
    for (level, line) in lines {
        assert!(*level >= Level::Debug, "{line}");
        assert!(!line.contains(SECRET) && !line.to_lowercase().contains("sec-websocket-key:"), "{line}");
    }
}
