//! The ways in which a connection can come and go, each with what has to be seen then.

use std::future::Future;
use std::io::{self, ErrorKind};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::pin::Pin;
use std::time::Duration;

use fastrand::Rng;
use smol::io::{AsyncReadExt, AsyncWriteExt};
use smol::stream::StreamExt;
use smol::{Async, Timer, future};
use ws_transport::multiaddr::{Multiaddr, Protocol};
use ws_transport::upgrade::identity::Keypair;
use ws_transport::upgrade::{Driver, Session, Stage, UpgradeError};
use ws_transport::{Closed, Connection, Dialer, ListenOptions, Listener, Phase, StreamConfig};

use super::site::{Ask, Site, reset_on_drop};
use crate::park::park;
use crate::{Claim, Why, ensure};

type Way = for<'a> fn(&'a Site, Rng) -> Pin<Box<dyn Future<Output = Claim> + Send + 'a>>;

macro_rules! ways {
    ($($name:literal => $way:ident,)*) => {
        [$(($name, (|site, dice| Box::pin($way(site, dice))) as Way),)*]
    };
}

pub(super) const WAYS: [(&str, Way); 34] = ways! {
    "echo, closed by the client" => echo,
    "closed by the listener" => closed_by_listener,
    "closed by the listener with a code" => closed_with_code,
    "dropped by the client" => dropped_by_client,
    "dropped by the listener" => dropped_by_listener,
    "reset by the client" => reset_by_client,
    "reset by the listener" => reset_by_listener,
    "half-closed by the client" => half_closed_by_client,
    "half-closed by the listener" => half_closed_by_listener,
    "flooded and left" => flooded,
    "closed while the peer does not read" => close_to_silence,
    "dialed by name" => by_name,
    "refused by the listener" => refused,
    "refused by the policy" => refused_by_policy,
    "nobody listens" => nobody_listens,
    "garbage" => garbage,
    "silence to the listener" => silence,
    "ended within the hello or the head" => cut_head,
    "protocol violated" => violation,
    "dial cancelled" => dial_cancelled,
    "dial out of time" => dial_out_of_time,
    "dial with no time" => dial_without_time,
    "certificate not trusted" => not_trusted,
    "certificate of another name" => other_name,
    "TLS to a plain port" => tls_to_plain,
    "plain to a TLS port" => plain_to_tls,
    "certificate exchanged" => certificate_exchanged,
    "listener dropped with handshakes under way" => listener_dropped,
    "session, closed" => session_closed,
    "session, dropped with open streams" => session_dropped,
    "session, driver dropped" => driver_dropped,
    "upgrade cancelled" => upgrade_cancelled,
    "upgrade out of time" => upgrade_out_of_time,
    "upgrade with another peer" => other_peer,
};

// ---- Good connections -----------------------------------------------------------------------------------------------

/// A connection to one of the good listeners, which was asked for something.
async fn open(site: &Site, dice: &mut Rng, ask: Ask) -> Result<Connection, Why> {
    open_by(site, dice, ask, Clone::clone).await
}

async fn open_by(site: &Site, dice: &mut Rng, ask: Ask, with: impl Fn(&Dialer) -> Dialer) -> Result<Connection, Why> {
    let which = dice.usize(..site.good.len());
    let mut connection = with(&site.dialer[which]).dial(&site.good[which]).await?;
    connection.write_all(&[ask as u8]).await?;
    connection.flush().await?;
    Ok(connection)
}

/// Sends so many bytes and gets them back.
async fn exchange<S>(mut stream: S, len: usize, dice: &mut Rng) -> Result<S, Why>
where
    S: smol::io::AsyncRead + smol::io::AsyncWrite + Unpin,
{
    let mut data = vec![0; len];
    dice.fill(&mut data);
    let mut back = vec![0; len];
    let (mut reader, mut writer) = smol::io::split(&mut stream);
    let write = async {
        writer.write_all(&data).await?;
        writer.flush().await
    };
    future::try_zip(write, reader.read_exact(&mut back)).await?;
    ensure(data == back, "what came back is not what was sent")?;
    drop((reader, writer));
    Ok(stream)
}

async fn end(connection: &mut Connection) -> io::Result<usize> {
    let (mut buf, mut sum) = (vec![0; 16 * 1024], 0);
    loop {
        match connection.read(&mut buf).await? {
            0 => return Ok(sum),
            len => sum += len,
        }
    }
}

/// Closes and sees the other end close.
async fn finish(mut connection: Connection) -> Claim {
    connection.close().await?;
    ensure(end(&mut connection).await? == 0, "data came after the end")
}

async fn echo(site: &Site, mut dice: Rng) -> Claim {
    let connection = open(site, &mut dice, Ask::Echo).await?;
    let len = dice.usize(..100_000);
    finish(exchange(connection, len, &mut dice).await?).await
}

async fn by_name(site: &Site, mut dice: Rng) -> Claim {
    let which = dice.usize(..site.good.len());
    let named = site.good[which].iter().map(|part| match part {
        Protocol::Ip4(_) => Protocol::Dns4("localhost".into()),
        other => other,
    });
    let mut connection = site.dialer[which].dial(&named.collect::<Multiaddr>()).await?;
    connection.write_all(&[Ask::Echo as u8]).await?;
    finish(exchange(connection, 1000, &mut dice).await?).await
}

async fn certificate_exchanged(site: &Site, mut dice: Rng) -> Claim {
    let stands = open(site, &mut dice, Ask::Echo).await?;
    site.exchange_certificates(dice.usize(..))?;
    let new = open(site, &mut dice, Ask::Echo).await?;
    for connection in [stands, new] {
        finish(exchange(connection, 1000, &mut dice).await?).await?;
    }
    Ok(())
}

// ---- Ends -----------------------------------------------------------------------------------------------------------

async fn closed_by_listener(site: &Site, mut dice: Rng) -> Claim {
    let mut connection = open(site, &mut dice, Ask::Close).await?;
    ensure(end(&mut connection).await? == 0, "data came")?;
    let written = connection.write(b"too late").await;
    ensure(written.is_err_and(|error| error.kind() == ErrorKind::BrokenPipe), "a write after the end")?;
    Ok(connection.close().await?)
}

async fn closed_with_code(site: &Site, mut dice: Rng) -> Claim {
    let mut connection = open(site, &mut dice, Ask::CloseWithCode).await?;
    let error = end(&mut connection).await.err().ok_or("a code that is not clean is no end in order")?;
    let code = error.get_ref().and_then(|error| error.downcast_ref::<Closed>()).and_then(Closed::code);
    ensure(code.is_some_and(|code| code.get() == 4000), "the code that was sent")
}

async fn dropped_by_client(site: &Site, mut dice: Rng) -> Claim {
    let mut connection = open(site, &mut dice, Ask::Echo).await?;
    let data = vec![7; dice.usize(..200_000)];
    let a_while = async {
        Timer::after(Duration::from_millis(dice.u64(..20))).await;
        Ok(())
    };
    Ok(future::or(connection.write_all(&data), a_while).await?)
}

async fn dropped_by_listener(site: &Site, mut dice: Rng) -> Claim {
    let mut connection = open(site, &mut dice, Ask::Drop).await?;
    ensure(end(&mut connection).await.is_err(), "a connection that was cut reads like one that was closed")
}

async fn reset_by_client(site: &Site, mut dice: Rng) -> Claim {
    let connection = open(site, &mut dice, Ask::Echo).await?;
    let connection = exchange(connection, 1000, &mut dice).await?;
    Ok(reset_on_drop(connection.get_ref().get_ref().get_ref())?)
}

async fn reset_by_listener(site: &Site, mut dice: Rng) -> Claim {
    let mut connection = open(site, &mut dice, Ask::Reset).await?;
    ensure(end(&mut connection).await.is_err(), "a reset reads like an end")
}

async fn half_closed_by_client(site: &Site, mut dice: Rng) -> Claim {
    let mut connection = open(site, &mut dice, Ask::Echo).await?;
    connection.get_ref().get_ref().get_ref().shutdown(Shutdown::Write)?;
    ensure(end(&mut connection).await.is_err(), "the listener answers a cut with an end in order")
}

async fn half_closed_by_listener(site: &Site, mut dice: Rng) -> Claim {
    let mut connection = open(site, &mut dice, Ask::HalfClose).await?;
    ensure(end(&mut connection).await.is_err(), "an end without a Close is no end in order")?;
    // The other half still works.
    connection.close().await.or_else(|error| match error.kind() {
        ErrorKind::BrokenPipe | ErrorKind::ConnectionReset | ErrorKind::UnexpectedEof => Ok(()),
        _ => Err(error.into()),
    })
}

async fn flooded(site: &Site, mut dice: Rng) -> Claim {
    let mut connection = open(site, &mut dice, Ask::Flood).await?;
    let mut buf = vec![0; dice.usize(1..100_000)];
    connection.read_exact(&mut buf).await?;
    if dice.bool() {
        connection.close().await?;
    }
    Ok(())
}

async fn close_to_silence(site: &Site, mut dice: Rng) -> Claim {
    let config = StreamConfig::new().with_close_timeout(Duration::from_millis(100));
    let with = |dialer: &Dialer| dialer.clone().with_stream_config(config);
    let mut connection = open_by(site, &mut dice, Ask::Silence, with).await?;
    park(&mut connection, Duration::from_millis(100)).await?;
    let late = async {
        Timer::after(Duration::from_secs(30)).await;
        Err(ErrorKind::Other.into())
    };
    match future::or(connection.close(), late).await {
        Err(error) if error.kind() == ErrorKind::TimedOut => Ok(()),
        // The system found room for the rest after all.
        Ok(()) => Ok(()),
        Err(error) => Err(format!("closing ends by itself, not with {error}").into()),
    }
}

// ---- Dials that fail ------------------------------------------------------------------------------------------------

async fn fails(dialer: &Dialer, addr: &Multiaddr, phase: Phase) -> Result<ws_transport::Error, Why> {
    match dialer.dial(addr).await {
        Ok(_) => Err(format!("{addr} was reached").into()),
        Err(error) if error.phase() == phase => Ok(error),
        Err(error) => Err(format!("not in the phase {phase}: {error}").into()),
    }
}

async fn refused(site: &Site, _: Rng) -> Claim {
    fails(&site.dialer[0], &site.refusing, Phase::Handshake).await.map(drop)
}

async fn refused_by_policy(site: &Site, _: Rng) -> Claim {
    for (path, status) in [("/forbidden", 403), ("/elsewhere", 404)] {
        let dialer = site.dialer[0].clone().with_path(path)?;
        let error = fails(&dialer, &site.choosy, Phase::Handshake).await?;
        ensure(error.refusal().is_some_and(|refusal| refusal.status == status), "the status of the policy")?;
    }
    let mut connection = site.dialer[0].clone().with_path("/here")?.dial(&site.choosy).await?;
    Ok(connection.close().await?)
}

async fn nobody_listens(site: &Site, _: Rng) -> Claim {
    fails(&site.dialer[0], &site.closed, Phase::Connect).await.map(drop)
}

async fn dial_cancelled(site: &Site, mut dice: Rng) -> Claim {
    let which = dice.usize(..3);
    let addr = [&site.good[which], &site.silent, &site.refusing][dice.usize(..3)];
    let dial = async { drop(site.dialer[which].dial(addr).await) };
    let cancel = async {
        Timer::after(Duration::from_micros(dice.u64(..4000))).await;
    };
    future::or(dial, cancel).await;
    Ok(())
}

async fn dial_out_of_time(site: &Site, mut dice: Rng) -> Claim {
    let dialer = site.dialer[0].clone().with_timeout(Duration::from_millis(200));
    let (addr, phase) = match dice.bool() {
        true => (site.silent.clone(), Phase::Handshake),
        false => (over_tls(&site.silent), Phase::Tls),
    };
    ensure(fails(&dialer, &addr, phase).await?.is_timeout(), "it is the time that ran out")
}

async fn dial_without_time(site: &Site, mut dice: Rng) -> Claim {
    let which = dice.usize(..3);
    let dialer = site.dialer[which].clone().with_timeout(Duration::ZERO);
    let dialed = dialer.dial(&site.good[which]).await;
    ensure(dialed.is_err_and(|error| error.is_timeout()), "no time is not enough")
}

async fn not_trusted(site: &Site, mut dice: Rng) -> Claim {
    let which = 1 + dice.usize(..2);
    fails(&site.untrusting[which], &site.good[which], Phase::Tls).await.map(drop)
}

async fn other_name(site: &Site, mut dice: Rng) -> Claim {
    let which = 1 + dice.usize(..2);
    let renamed = site.good[which].iter().map(|part| match part {
        Protocol::Sni(_) => Protocol::Sni("elsewhere".into()),
        other => other,
    });
    fails(&site.dialer[which], &renamed.collect(), Phase::Tls).await.map(drop)
}

/// The same place, by TLS.
fn over_tls(addr: &Multiaddr) -> Multiaddr {
    let tls = |part| match part {
        Protocol::Ws(_) => Protocol::Tls,
        other => other,
    };
    addr.iter().map(tls).collect::<Multiaddr>().with(Protocol::Ws("/".into()))
}

async fn tls_to_plain(site: &Site, _: Rng) -> Claim {
    fails(&site.dialer[1], &over_tls(&site.good[0]), Phase::Tls).await.map(drop)
}

async fn plain_to_tls(site: &Site, mut dice: Rng) -> Claim {
    let addr = &site.good[1 + dice.usize(..2)];
    let plain = addr.iter().filter(|part| !matches!(part, Protocol::Tls | Protocol::Sni(_))).collect();
    fails(&site.dialer[0], &plain, Phase::Handshake).await.map(drop)
}

// ---- Clients that are none ------------------------------------------------------------------------------------------

async fn raw(addr: &Multiaddr) -> Result<Async<TcpStream>, Why> {
    let port = addr.iter().find_map(|part| match part {
        Protocol::Tcp(port) => Some(port),
        _ => None,
    });
    Ok(Async::<TcpStream>::connect(SocketAddr::from(([127, 0, 0, 1], port.ok_or("no port")?))).await?)
}

/// Reads until the listener is done with this client, by an end or a reset.
async fn gone(client: &mut Async<TcpStream>) -> Vec<u8> {
    let (mut got, mut buf) = (Vec::new(), [0; 4096]);
    while let Ok(len @ 1..) = client.read(&mut buf).await {
        got.extend_from_slice(&buf[..len]);
    }
    got
}

async fn garbage(site: &Site, mut dice: Rng) -> Claim {
    let mut client = raw(&site.impatient[dice.usize(..3)]).await?;
    let mut bytes = vec![0; dice.usize(1..5000)];
    dice.fill(&mut bytes);
    // It may be turned away before all of it is sent.
    let _ = client.write_all(&bytes).await;
    gone(&mut client).await;
    Ok(())
}

async fn silence(site: &Site, mut dice: Rng) -> Claim {
    let mut client = raw(&site.impatient[dice.usize(..3)]).await?;
    gone(&mut client).await;
    Ok(())
}

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

async fn cut_head(site: &Site, mut dice: Rng) -> Claim {
    let mut client = raw(&site.impatient[dice.usize(..3)]).await?;
    // The beginning of a ClientHello that announces 512 bytes, for a TLS port or another.
    let hello = [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".as_slice(), &[7; 300]].concat();
    let bytes = if dice.bool() { REQUEST } else { &hello };
    let _ = client.write_all(&bytes[..dice.usize(1..bytes.len())]).await;
    match dice.u8(..4) {
        0 => Ok(()),
        1 => Ok(reset_on_drop(client.get_ref())?),
        2 => {
            // It may be turned away already.
            let _ = client.get_ref().shutdown(Shutdown::Write);
            gone(&mut client).await;
            Ok(())
        }
        _ => {
            gone(&mut client).await;
            Ok(())
        }
    }
}

async fn violation(site: &Site, mut dice: Rng) -> Claim {
    let mut client = raw(&site.good[0]).await?;
    client.write_all(REQUEST).await?;
    // A frame that is not masked, one with a reserved bit, an opcode that there is not.
    let frame: &[u8] = [b"\x82\x01e".as_slice(), b"\xc2\x81\0\0\0\0e", b"\x83\x81\0\0\0\0e"][dice.usize(..3)];
    client.write_all(frame).await?;
    let got = gone(&mut client).await;
    ensure(got.starts_with(b"HTTP/1.1 101"), "the upgrade is granted")?;
    ensure(got.ends_with(b"\x88\x02\x03\xea"), "Close 1002 arrives")
}

async fn listener_dropped(_: &Site, mut dice: Rng) -> Claim {
    let options = ListenOptions::new();
    let listener: Listener = options.bind("/ip4/127.0.0.1/tcp/0/ws").await?;
    let addr = listener.addresses()?.remove(0);
    let mut connections = listener.connections().with_handshakes(4);
    let mut clients = Vec::new();
    for _ in 0..dice.usize(1..8) {
        let mut client = raw(&addr).await?;
        client.write_all(&REQUEST[..dice.usize(..REQUEST.len())]).await?;
        clients.push(client);
    }
    let a_while = async {
        Timer::after(Duration::from_millis(dice.u64(..10))).await;
        None
    };
    drop(future::or(connections.next(), a_while).await);
    drop(connections);
    for mut client in clients {
        gone(&mut client).await;
    }
    Ok(())
}

// ---- Sessions -------------------------------------------------------------------------------------------------------

async fn session(site: &Site) -> Result<(Session, Driver), UpgradeError> {
    site.client.dial_address(&site.dialer[0], &site.upgraded).await
}

async fn session_closed(site: &Site, mut dice: Rng) -> Claim {
    let (session, driver) = session(site).await?;
    let work = async {
        for _ in 0..dice.usize(1..4) {
            let len = dice.usize(..50_000);
            let mut stream = exchange(session.open(["/echo/1"]).await?, len, &mut dice).await?;
            stream.close().await?;
            ensure(stream.read(&mut [0]).await? == 0, "data came after the end")?;
        }
        session.close().await?;
        Claim::Ok(())
    };
    let (ended, worked) = future::zip(driver, work).await;
    worked?;
    Ok(ended?)
}

async fn session_dropped(site: &Site, mut dice: Rng) -> Claim {
    let (session, driver) = session(site).await?;
    let work = async {
        let mut streams = Vec::new();
        for _ in 0..dice.usize(1..6) {
            let mut stream = session.open(["/echo/1"]).await?;
            stream.write_all(b"left lying about").await?;
            stream.flush().await?;
            streams.push(stream);
        }
        drop(streams);
        drop(session);
        Claim::Ok(())
    };
    let (ended, worked) = future::zip(driver, work).await;
    worked?;
    Ok(ended?)
}

async fn driver_dropped(site: &Site, mut dice: Rng) -> Claim {
    let (session, driver) = session(site).await?;
    let work = async {
        let mut stream = session.open(["/echo/1"]).await?;
        stream.write_all(&vec![7; dice.usize(..50_000)]).await?;
        Ok::<_, Why>(stream)
    };
    let driving = async { Err(driver.await.err().map_or("the session ended".into(), Why::from)) };
    let mut stream = future::or(driving, work).await?;
    ensure(stream.read_to_end(&mut Vec::new()).await.is_err(), "a stream outlives its driver")?;
    ensure(session.accept().await.is_err(), "a session outlives its driver")
}

async fn upgrade_cancelled(site: &Site, mut dice: Rng) -> Claim {
    let upgrade = async { drop(session(site).await) };
    let cancel = async {
        Timer::after(Duration::from_micros(dice.u64(..8000))).await;
    };
    future::or(upgrade, cancel).await;
    Ok(())
}

async fn upgrade_out_of_time(site: &Site, mut dice: Rng) -> Claim {
    // Both are silent: one after the upgrade to a WebSocket, one with nothing before it.
    let upgrader = site.client.clone().with_timeout(Duration::from_millis(100));
    let error = match dice.bool() {
        true => upgrader.dial_address(&site.dialer[0], &site.good[0]).await.map(drop),
        false => upgrader.dial(raw(&site.silent).await?, None).await.map(drop),
    };
    ensure(error.is_err_and(|error| error.is_timeout()), "it is the time that ran out")
}

async fn other_peer(site: &Site, _: Rng) -> Claim {
    let expected = Keypair::generate_ed25519().public().to_peer_id();
    let addr = site.upgraded.iter().map(|part| match part {
        Protocol::P2p(_) => Protocol::P2p(expected),
        other => other,
    });
    let error = site.client.dial_address(&site.dialer[0], &addr.collect::<Multiaddr>()).await.err();
    let error = error.ok_or("another peer is taken for the one that was dialed")?;
    ensure(error.stage() == Stage::Identity || error.wrong_peer().is_some(), "the error names both peers")
}
