//! The same program on several executors, and on none: listen, dial, echo a mebibyte, close.

#[path = "tls/certs.rs"]
#[allow(dead_code, unreachable_pub)]
mod certs;
mod common;

use std::thread;
use std::time::Duration;

use certs::Authority;
use common::patience::patient;
use common::pattern;
use futures_lite::io::split;
use futures_lite::{AsyncReadExt, AsyncWriteExt, StreamExt, future};
use ws_transport::tls::{Acceptor, Backend, Connector};
use ws_transport::{Connection, Dialer, ListenOptions, Listener};

const MIB: usize = 1024 * 1024;

/// How to listen and to dial: by ws, and by wss with every backend compiled in.
fn ways() -> Vec<(ListenOptions, Dialer, &'static str)> {
    // Several ends shake hands at once.
    let long = patient(Duration::from_secs(15));
    let (listen, dial) = (ListenOptions::new().with_handshake_timeout(long), Dialer::new().with_timeout(long));
    let authority = Authority::new("authority");
    let leaf = authority.issue("localhost");
    let tls = Backend::compiled_in().iter().map(|&backend| {
        let acceptor = Acceptor::builder(leaf.chain.as_str(), leaf.key.as_str()).build_with(backend).unwrap();
        let connector = Connector::builder().pem_roots(authority.pem()).build_with(backend).unwrap();
        (listen.clone().with_tls(acceptor), dial.clone().with_tls(connector), "tls/ws")
    });
    std::iter::once((listen.clone(), dial.clone(), "ws")).chain(tls).collect()
}

/// Listens, and says where to dial.
async fn listen(options: &ListenOptions, scheme: &str) -> (Listener, String) {
    let listener = options.bind(format!("/ip4/127.0.0.1/tcp/0/{scheme}")).await.unwrap();
    let port = listener.local_addrs().unwrap()[0].port();
    (listener, format!("/dns4/localhost/tcp/{port}/{scheme}"))
}

async fn echo(mut connection: Connection) {
    let mut buf = vec![0; 10_000];
    loop {
        match connection.read(&mut buf).await.unwrap() {
            0 => break connection.close().await.unwrap(),
            len => connection.write_all(&buf[..len]).await.unwrap(),
        }
    }
}

async fn talk(connection: Connection) {
    let (data, mut back) = (pattern(MIB), vec![0; MIB]);
    let (mut reader, mut writer) = split(connection);
    let write = async {
        writer.write_all(&data).await?;
        writer.flush().await
    };
    future::try_zip(write, reader.read_exact(&mut back)).await.unwrap();
    assert!(back == data);
    writer.close().await.unwrap();
    assert_eq!(reader.read(&mut [0]).await.unwrap(), 0);
}

#[test]
fn it_runs_on_smol_with_several_threads() {
    static EXECUTOR: smol::Executor<'static> = smol::Executor::new();
    const DIALS: usize = 8;
    let (stop, stopped) = smol::channel::unbounded::<()>();
    let run = |stopped: smol::channel::Receiver<()>| move || future::block_on(EXECUTOR.run(stopped.recv()));
    let threads: Vec<_> = (0..4).map(|_| thread::spawn(run(stopped.clone()))).collect();
    for (options, dialer, scheme) in ways() {
        let (listener, addr) = future::block_on(listen(&options, scheme));
        let serve = EXECUTOR.spawn(async move {
            let mut connections = listener.connections();
            let mut echoes = Vec::new();
            for _ in 0..DIALS {
                echoes.push(EXECUTOR.spawn(echo(connections.next().await.unwrap().unwrap())));
            }
            for echo in echoes {
                echo.await;
            }
        });
        let dial = || {
            let (dialer, addr) = (dialer.clone(), addr.clone());
            EXECUTOR.spawn(async move { talk(dialer.dial(addr).await.unwrap()).await })
        };
        let dials: Vec<_> = (0..DIALS).map(|_| dial()).collect();
        for dial in dials {
            future::block_on(dial);
        }
        future::block_on(serve);
    }
    drop(stop);
    for thread in threads {
        assert!(thread.join().unwrap().is_err(), "stopped");
    }
}

#[test]
fn it_runs_on_async_std() {
    async_std::task::block_on(async {
        for (options, dialer, scheme) in ways() {
            let (listener, addr) = listen(&options, scheme).await;
            let serve = async_std::task::spawn(async move {
                let incoming = listener.accept().await.unwrap();
                echo(incoming.await.unwrap()).await;
            });
            let dial = async_std::task::spawn(async move { talk(dialer.dial(addr).await.unwrap()).await });
            dial.await;
            serve.await;
        }
    });
}

#[test]
fn it_runs_without_an_executor_on_two_threads() {
    for (options, dialer, scheme) in ways() {
        let (listener, addr) = future::block_on(listen(&options, scheme));
        let serve = thread::spawn(move || {
            future::block_on(async {
                let incoming = listener.accept().await.unwrap();
                echo(incoming.await.unwrap()).await;
            })
        });
        future::block_on(async { talk(dialer.dial(addr).await.unwrap()).await });
        serve.join().unwrap();
    }
}

#[test]
fn a_connection_moves_from_one_executor_to_another() {
    for (options, dialer, scheme) in ways() {
        let (listener, addr) = future::block_on(listen(&options, scheme));
        let accept = smol::spawn(async move { listener.accept().await.unwrap().await.unwrap() });
        let dialed = async_std::task::block_on(dialer.dial(addr)).unwrap();
        let accepted = smol::block_on(accept);
        let serve = async_std::task::spawn(echo(accepted));
        smol::block_on(smol::spawn(talk(dialed)));
        future::block_on(serve);
    }
}
