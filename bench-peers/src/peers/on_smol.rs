//! Libraries over futures-io: on smol's reactor.

use std::io;

use async_tungstenite::{accept_async, client_async};
use async_tungstenite_0_29 as older;
use futures_util::{TryStreamExt as _, sink, stream};
use libp2p_core::Transport;
use libp2p_core::transport::Boxed;
use libp2p_websocket::tls;
use soketto::handshake::server::Response;
use soketto::handshake::{Client, Server};
use ws_stream_tungstenite::WsStream;
use ws_transport::StreamConfig;
use ws_transport::handshake::{self, ClientRequest, ServerOptions};
use ws_transport::multiaddr::Protocol;

use super::calls::{Call, Calls};
use super::messages::Messages;
use crate::common::{Certificate, NAME, Pair, Stream, both, try_both};
use crate::runtime::Runtime;
use crate::transports::Transports;

const URL: &str = "ws://localhost/";

/// Ours over an IO from elsewhere, as the peers are.
pub async fn ours<S: Stream + 'static>((client, server): (S, S)) -> Pair {
    let request = ClientRequest::new(NAME, "/").unwrap();
    let options = ServerOptions::new();
    let connect = handshake::client(client, &request, StreamConfig::new());
    let (client, server) = both(connect, handshake::server(server, &options)).await;
    (Box::new(client.unwrap()), Box::new(server.unwrap()))
}

pub async fn async_tungstenite<S: Stream + 'static>((client, server): (S, S)) -> Pair {
    let connect = async { client_async(URL, client).await };
    let ((client, _), server) = try_both(connect, accept_async(server)).await.unwrap();
    (Box::new(Messages::new(client)), Box::new(Messages::new(server)))
}

pub async fn ws_stream_tungstenite<S: Stream + Send + 'static>((client, server): (S, S)) -> Pair {
    let connect = async { older::client_async(URL, client).await };
    let ((client, _), server) = try_both(connect, older::accept_async(server)).await.unwrap();
    (Box::new(WsStream::new(client)), Box::new(WsStream::new(server)))
}

pub async fn soketto<S: Stream + 'static>((client, server): (S, S)) -> Pair {
    let connect = async {
        let mut client = Client::new(client, NAME, "/");
        client.handshake().await?;
        Ok::<_, soketto::handshake::Error>(client.into_builder().finish())
    };
    let accept = async {
        let mut server = Server::new(server);
        let key = server.receive_request().await?.key();
        server.send_response(&Response::Accept { key, protocol: None }).await?;
        Ok(server.into_builder().finish())
    };
    let (client, server) = try_both(connect, accept).await.unwrap();
    (soketto_calls(client), soketto_calls(server))
}

fn soketto_calls<S: Stream + 'static>(
    (sender, receiver): (soketto::Sender<S>, soketto::Receiver<S>),
) -> Box<dyn Stream> {
    let reader = stream::try_unfold(receiver, |mut receiver| async {
        let mut message = Vec::new();
        receiver.receive_data(&mut message).await.map_err(io::Error::other)?;
        Ok(Some((message, receiver)))
    });
    let writer = sink::unfold(sender, |mut sender, call| async {
        match call {
            Call::Send(mut bytes) => sender.send_binary_mut(&mut bytes).await,
            Call::Flush => sender.flush().await,
        }
        .map_err(io::Error::other)?;
        Ok(sender)
    });
    Box::new(Calls::new(Box::pin(reader).into_async_read(), Box::pin(writer)))
}

/// rust-libp2p's `libp2p-websocket` without noise and yamux: what it hands to them.
pub struct Libp2p {
    transports: Transports<Box<dyn SendStream>>,
    client: Box<dyn Fn() -> Boxed<Box<dyn SendStream>>>,
}

pub trait SendStream: Stream + Send {}

impl<T: Stream + Send> SendStream for T {}

impl Libp2p {
    /// Over a TCP transport, inside TLS with a certificate.
    pub fn new<T>(runtime: &Runtime, tcp: fn() -> T, certificate: Option<&Certificate>) -> Self
    where
        T: Transport<Output: Stream + Send, Error: Send + Sync, Dial: Send, ListenerUpgrade: Send>,
        T: Send + Unpin + 'static,
    {
        let tls = certificate.map(|certificate| {
            let (chain, key) = certificate.der().unwrap();
            let (chain, key) =
                (tls::Certificate::new(chain[0].to_vec()), tls::PrivateKey::new(key.secret_der().to_vec()));
            let mut builder = tls::Config::builder();
            builder.server(key, [chain.clone()]).unwrap().add_trust(&chain).unwrap();
            (builder, chain)
        });
        let (server_tls, trusted) = tls.map(|(builder, chain)| (builder.finish(), chain)).unzip();
        let transport = move |tls: Option<tls::Config>| {
            let mut transport = libp2p_websocket::Config::new(tcp());
            if let Some(tls) = tls {
                transport.set_tls_config(tls);
            }
            transport.map(|stream, _| Box::new(stream) as Box<dyn SendStream>).boxed()
        };
        let client = move || {
            transport(trusted.as_ref().map(|certificate| {
                let mut builder = tls::Config::builder();
                builder.add_trust(certificate).unwrap();
                builder.finish()
            }))
        };
        let addr = if server_tls.is_some() { "/ip4/127.0.0.1/tcp/0/tls/ws" } else { "/ip4/127.0.0.1/tcp/0/ws" };
        let mut transports = runtime.block_on(Transports::listen(transport(server_tls), client(), addr));
        if certificate.is_some() {
            let is_tcp = |part: &Protocol<'_>| !matches!(part, Protocol::Tls | Protocol::Ws(_));
            let tcp = transports.addr.iter().take_while(is_tcp).collect::<libp2p_core::Multiaddr>();
            transports.addr = tcp.with(Protocol::Tls).with(Protocol::Sni(NAME.into())).with(Protocol::Ws("/".into()));
        }
        Libp2p { transports, client: Box::new(client) }
    }

    /// Dials so many times without a TLS session to resume.
    pub fn add_fresh_clients(&self, times: usize) {
        self.transports.add_fresh((0..times).map(|_| (self.client)()));
    }

    pub async fn pair(&self) -> Pair {
        let (client, server) = both(self.transports.dial(), self.transports.accept()).await;
        (Box::new(client), Box::new(server))
    }
}
