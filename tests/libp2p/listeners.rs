//! Listeners that come and go, and the clients of a listener before they are connections.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::pin::Pin;
use std::task::{Context, Waker};
use std::time::Duration;

use futures_lite::future::block_on;

use super::*;
use crate::common::patience::patient;

#[test]
fn a_removed_listener_says_so_and_frees_its_port() {
    let mut transport = WsTransport::default();
    let (woken, waker) = common::Woken::new();
    let (id, listen_addr) = listen(&mut transport, "/ip4/127.0.0.1/tcp/0/ws");
    assert!(Pin::new(&mut transport).poll(&mut Context::from_waker(&waker)).is_pending());

    assert!(!transport.remove_listener(ListenerId::next()));
    assert_eq!(woken.count(), 0);
    assert!(transport.remove_listener(id));
    assert_eq!(woken.count(), 1, "who polls has to learn of it");
    assert!(!transport.remove_listener(id), "it is removed already");
    TcpListener::bind(socket_addr(&listen_addr)).unwrap();
    assert!(matches!(
        poll(&mut transport),
        Some(TransportEvent::ListenerClosed { listener_id, reason: Ok(()) }) if listener_id == id
    ));
    assert!(poll(&mut transport).is_none());
}

#[test]
fn a_listener_removed_before_its_first_poll_announces_nothing() {
    let mut transport = WsTransport::default();
    for text in ["/ip4/127.0.0.1/tcp/0/ws", "/ip4/0.0.0.0/tcp/0/ws", "/dns/localhost/tcp/0/ws"] {
        let id = ListenerId::next();
        transport.listen_on(id, addr(text)).unwrap();
        assert!(transport.remove_listener(id));
        assert!(matches!(next(&mut transport), TransportEvent::ListenerClosed { reason: Ok(()), .. }), "{text}");
        assert!(poll(&mut transport).is_none());
    }
}

#[test]
fn a_handshake_under_way_survives_its_listener_and_the_transport() {
    let mut transport = WsTransport::default();
    let (id, listen_addr) = listen(&mut transport, "/ip4/127.0.0.1/tcp/0/ws");
    let mut client = connect(&listen_addr);
    let (mut upgrade, _) = next(&mut transport).into_incoming().unwrap();
    assert!(Pin::new(&mut upgrade).poll(&mut Context::from_waker(Waker::noop())).is_pending());
    assert!(transport.remove_listener(id));
    drop(transport);

    client.write_all(REQUEST).unwrap();
    let connection = block_on(upgrade).unwrap();
    assert_eq!(connection.get_ref().get_ref().local_addr().unwrap(), socket_addr(&listen_addr));
    let mut answer = [0; 12];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 101");
}

#[test]
fn a_client_whose_upgrade_is_dropped_unpolled_is_refused() {
    let mut transport = WsTransport::default();
    let (_, listen_addr) = listen(&mut transport, "/ip4/127.0.0.1/tcp/0/ws");
    let mut client = connect(&listen_addr);
    client.write_all(REQUEST).unwrap();
    drop(next(&mut transport));
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer:?}");
}

#[test]
fn a_client_whose_upgrade_is_dropped_later_is_closed() {
    let mut transport = WsTransport::default();
    let (_, listen_addr) = listen(&mut transport, "/ip4/127.0.0.1/tcp/0/ws");
    let mut client = connect(&listen_addr);
    let (mut upgrade, _) = next(&mut transport).into_incoming().unwrap();
    assert!(Pin::new(&mut upgrade).poll(&mut Context::from_waker(Waker::noop())).is_pending());
    drop(upgrade);
    assert_eq!(client.read(&mut [0]).unwrap(), 0);
}

#[test]
fn a_flood_of_silent_clients_takes_the_places_there_are_and_no_more() {
    const PLACES: usize = 4;
    let options = ListenOptions::new().with_handshake_timeout(patient(Duration::from_millis(200)));
    let mut transport = WsTransport::new(Dialer::new(), options).with_handshakes(PLACES);
    let (_, listen_addr) = listen(&mut transport, "/ip4/127.0.0.1/tcp/0/ws");
    let _silent: Vec<_> = (0..3 * PLACES).map(|_| connect(&listen_addr)).collect();
    let mut good = connect(&listen_addr);
    good.write_all(REQUEST).unwrap();

    let mut upgrades: Vec<_> = (0..PLACES).map(|_| next(&mut transport).into_incoming().unwrap().0).collect();
    assert!(poll(&mut transport).is_none(), "all places are taken");
    upgrades.pop();
    upgrades.push(next(&mut transport).into_incoming().unwrap().0);
    assert!(poll(&mut transport).is_none());

    // The silent run out of time, each gives its place to the next, and the good one has its turn.
    let executor = smol::LocalExecutor::new();
    for upgrade in upgrades {
        executor.spawn(async { assert!(upgrade.await.unwrap_err().is_timeout()) }).detach();
    }
    let served = block_on(executor.run(async {
        let mut tasks = Vec::new();
        for _ in PLACES + 1..3 * PLACES + 1 {
            let (upgrade, _) = next_event(&mut transport).await.into_incoming().unwrap();
            tasks.push(executor.spawn(upgrade));
        }
        let mut served = 0;
        for task in tasks {
            served += usize::from(task.await.is_ok());
        }
        served
    }));
    assert_eq!(served, 1);
}

#[test]
fn each_listener_of_many_has_its_own_events() {
    let mut transport = WsTransport::default();
    let listeners: Vec<_> = (0..5).map(|_| listen(&mut transport, "/ip4/127.0.0.1/tcp/0/ws")).collect();
    // Two clients each: a listener with much to do does not keep the others from their turn.
    let _clients: Vec<_> = (0..2).flat_map(|_| listeners.iter().map(|(_, addr)| connect(addr))).collect();
    for _ in 0..2 {
        let mut left: BTreeSet<_> = listeners.iter().map(|(id, addr)| (id.to_string(), addr.to_string())).collect();
        while !left.is_empty() {
            let TransportEvent::Incoming { listener_id, local_addr, .. } = next(&mut transport) else { panic!() };
            assert!(left.remove(&(listener_id.to_string(), local_addr.to_string())), "{local_addr} out of turn");
        }
    }
    drop(transport);
    for (_, addr) in listeners {
        TcpListener::bind(socket_addr(&addr)).unwrap();
    }
}
