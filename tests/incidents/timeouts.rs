//! Every duration of the configuration, at zero and at the most there is: `Instant + Duration` must not overflow.

use std::fs;
use std::path::Path;
use std::time::Duration;

use futures_lite::future::{block_on, zip};
use futures_lite::{AsyncReadExt, AsyncWriteExt};
use ws_transport::handshake::{self, ClientRequest, ServerOptions};
use ws_transport::{Connection, Dialer, Error, ListenOptions, StreamConfig};

use crate::common::pipe::{Manner, pipe};
use crate::transports;

/// Nothing, next to nothing, and what lies beyond the end of any clock.
const EXTREMES: [Duration; 6] = [
    Duration::ZERO,
    Duration::from_nanos(1),
    Duration::from_secs(u32::MAX as u64),
    Duration::from_secs(i64::MAX as u64),
    Duration::from_secs(u64::MAX),
    Duration::MAX,
];

fn is_long(time: Duration) -> bool {
    time > Duration::from_secs(3600)
}

#[test]
fn dialing_and_listening_and_closing_take_any_time() {
    for time in EXTREMES {
        let config = StreamConfig::new().with_close_timeout(time);
        let options = ListenOptions::new().with_handshake_timeout(time).with_stream_config(config);
        let dialer = Dialer::new().with_timeout(time).with_stream_config(config);
        for (options, dialer, rest) in transports(&options, &dialer) {
            block_on(async {
                let listener = options.bind(format!("/ip4/127.0.0.1/tcp/0/{rest}")).await.unwrap();
                let port = listener.local_addrs().unwrap()[0].port();
                let serve = async {
                    // Who has no time to dial may never come.
                    if is_long(time) { Some(listener.accept().await.unwrap().await) } else { None }
                };
                let (dialed, served) = zip(dialer.dial(format!("/ip4/127.0.0.1/tcp/{port}/{rest}")), serve).await;
                match (dialed, served) {
                    (Ok(dialed), Some(served)) => {
                        zip(say_goodbye(dialed), say_goodbye(served.unwrap())).await;
                    }
                    (dialed, served) => {
                        assert!(!is_long(time), "{time:?}, {rest}: {dialed:?}, {served:?}");
                        assert!(dialed.as_ref().err().is_none_or(Error::is_timeout), "{time:?}, {rest}: {dialed:?}");
                    }
                }
            });
        }
    }
}

async fn say_goodbye(mut connection: Connection) {
    connection.write_all(b"goodbye").await.unwrap();
    connection.close().await.unwrap();
    let mut heard = Vec::new();
    connection.read_to_end(&mut heard).await.unwrap();
    assert_eq!(heard, b"goodbye");
}

#[test]
fn a_listener_with_no_time_refuses_and_goes_on() {
    for time in EXTREMES.into_iter().filter(|time| !is_long(*time)) {
        let options = ListenOptions::new().with_handshake_timeout(time);
        for (options, dialer, rest) in transports(&options, &Dialer::new()) {
            block_on(async {
                let listener = options.bind(format!("/ip4/127.0.0.1/tcp/0/{rest}")).await.unwrap();
                let port = listener.local_addrs().unwrap()[0].port();
                for _ in 0..3 {
                    let serve = async { listener.accept().await.unwrap().await };
                    let dial = dialer.dial(format!("/ip4/127.0.0.1/tcp/{port}/{rest}"));
                    let (_, served) = zip(dial, serve).await;
                    assert!(served.as_ref().err().is_none_or(Error::is_timeout), "{time:?}, {rest}: {served:?}");
                }
            });
        }
    }
}

#[test]
fn handshakes_over_an_io_of_ones_own_take_any_time() {
    for time in EXTREMES {
        let config = StreamConfig::new().with_close_timeout(time);
        let request = ClientRequest::new("localhost", "/").unwrap().with_timeout(time);
        let options = ServerOptions::new().with_timeout(time).with_stream(config);
        let (near, far) = pipe(Manner::GOOD, Manner::GOOD);
        let client = handshake::client(near, &request, config);
        let (client, server) = block_on(zip(client, handshake::server(far, &options)));
        if is_long(time) {
            client.unwrap();
            server.unwrap();
        }
    }
}

/// A peer that does not read: there is no time to wait for it, or there is no end of it.
#[test]
fn closing_takes_any_time() {
    for time in EXTREMES {
        let config = StreamConfig::new().with_close_timeout(time);
        let (near, mut far) = pipe(Manner { capacity: 10, ..Manner::GOOD }, Manner::GOOD);
        let mut stream = ws_transport::WsStream::new(near, ws_transport::proto::Role::Client, Vec::new(), config);
        block_on(async {
            stream.write_all(&[7; 1000]).await.unwrap();
            if is_long(time) {
                let (closed, _) = zip(stream.close(), far.read_to_end(&mut Vec::new())).await;
                closed.unwrap();
            } else {
                let error = stream.close().await.unwrap_err();
                assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
            }
        });
    }
}

#[cfg(feature = "upgrade")]
#[test]
fn upgrades_and_their_streams_take_any_time() {
    use crate::ends::{run, upgrade, upgrader};

    for time in EXTREMES {
        for (whole, stream) in [(time, Duration::MAX), (Duration::MAX, time), (time, time)] {
            run(async |executor| {
                let (a, b) = pipe(Manner::GOOD, Manner::GOOD);
                let ours = || upgrader().1.with_timeout(whole).with_stream_timeout(stream);
                let (dialed, accepted) = upgrade(&executor, ours(), a, None, ours(), b).await;
                let (Ok((dialer, _a)), Ok((listener, _b))) = (dialed, accepted) else {
                    assert!(!is_long(whole), "{whole:?}");
                    return;
                };
                let open = async {
                    let mut stream = dialer.open(["/echo/1"]).await?;
                    stream.write_all(b"x").await?;
                    stream.flush().await?;
                    std::io::Result::Ok(stream)
                };
                if is_long(whole) && is_long(stream) {
                    let (opened, accepted) = zip(open, listener.accept()).await;
                    let (mut opened, mut accepted) = (opened.unwrap(), accepted.unwrap());
                    accepted.read_exact(&mut [0]).await.unwrap();
                    zip(opened.close(), accepted.close()).await.0.unwrap();
                    dialer.close().await.unwrap();
                } else {
                    // The listener has no time to hear what is proposed: nothing comes, or the session is over.
                    let _ = open.await;
                }
            });
        }
    }
}

#[cfg(unix)]
#[test]
fn keepalive_takes_any_time() {
    use ws_transport::KeepAlive;

    for time in EXTREMES {
        let keepalive = KeepAlive::new().with_idle(time).with_interval(time);
        let (options, dialer) =
            (ListenOptions::new().with_keepalive(keepalive), Dialer::new().with_keepalive(keepalive));
        block_on(async {
            let listener = options.bind("/ip4/127.0.0.1/tcp/0/ws").await.unwrap();
            let address = listener.addresses().unwrap().remove(0);
            let serve = async { listener.accept().await.unwrap().await };
            let (dialed, served) = zip(dialer.dial(&address), serve).await;
            zip(say_goodbye(dialed.unwrap()), say_goodbye(served.unwrap())).await;
        });
    }
}

/// The list that the tests above go through. A duration that is new has to be given its extremes there.
#[test]
fn no_duration_of_the_configuration_is_left_out() {
    let tried = [
        "config.rs: with_close_timeout",
        "dial.rs: with_timeout",
        "handshake/client.rs: with_timeout",
        "handshake/server.rs: with_timeout",
        "listen/options.rs: with_handshake_timeout",
        "tcp.rs: with_idle",
        "tcp.rs: with_interval",
        "upgrade/mod.rs: with_stream_timeout",
        "upgrade/mod.rs: with_timeout",
    ];
    let mut found = Vec::new();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut folders = vec![source.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            let file = path.strip_prefix(&source).unwrap().display().to_string().replace('\\', "/");
            // A signature may take several lines.
            for function in text.split("pub ").filter_map(|rest| rest.trim_start_matches("const ").strip_prefix("fn "))
            {
                let signature = function.split('{').next().unwrap();
                let (name, arguments) = signature.split_once('(').unwrap();
                if arguments.contains(": Duration") {
                    found.push(format!("{file}: {name}"));
                }
            }
        }
    }
    found.sort();
    assert_eq!(found, tried);
}
