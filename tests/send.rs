//! What may be moved to, shared with and awaited on any thread, asserted by the compiler.

use std::marker::PhantomPinned;

use futures_lite::{AsyncBufRead, AsyncRead, AsyncWrite};
use multiaddr::Multiaddr;
use ws_transport::handshake::{
    self, ClientRequest, FieldError, HandshakeError, HeadError, InvalidRequest, Policy, Refusal, RequestError,
    ResponseError, ServerOptions, UpgradeRequest,
};
use ws_transport::proto::{
    CloseCode, CloseFrame, Decoder, Encoder, Event, Header, InvalidClose, Mask, OpCode, Role, Violation,
};
use ws_transport::tls::{Acceptor, Backend, ClientBuilder, Connector, MaybeTls, ServerBuilder, TlsError};
use ws_transport::{
    AddrError, Closed, ConnectError, Connection, Connections, Dialer, DnsFamily, Error, Host, Incoming, Initiator,
    ListenOptions, Listener, Phase, StreamConfig, Tcp, TextFrames, TimedOut, WsAddr, WsStream, multiaddr,
};

fn send<T: Send>() {}
fn send_value(_: &impl Send) {}
fn send_sync<T: Send + Sync>() {}
fn unpin<T: Unpin>() {}
fn error<T: std::error::Error + Send + Sync + 'static>() {}
fn stream<T: AsyncRead + AsyncBufRead + AsyncWrite + Unpin + Send + Sync + 'static>() {}

#[test]
fn everything_public_may_cross_threads() {
    send_sync::<(AddrError, DnsFamily, Host, WsAddr, Phase, Initiator, Closed, StreamConfig, TextFrames)>();
    send_sync::<(Dialer, Listener, ListenOptions, Incoming, Tcp, Connection)>();
    send::<Connections>();
    send_sync::<(ClientRequest, ServerOptions, Policy, Refusal, UpgradeRequest<'static>)>();
    send_sync::<(CloseCode, CloseFrame, Decoder, Encoder, Event, Header, Mask, OpCode, Role)>();
    send_sync::<(Acceptor, Backend, ClientBuilder, Connector, ServerBuilder, MaybeTls<Tcp>)>();
    #[cfg(unix)]
    send_sync::<ws_transport::KeepAlive>();

    error::<AddrError>();
    error::<Closed>();
    error::<ConnectError>();
    error::<Error>();
    error::<FieldError>();
    error::<HandshakeError>();
    error::<HeadError>();
    error::<InvalidClose>();
    error::<InvalidRequest>();
    error::<RequestError>();
    error::<ResponseError>();
    error::<TimedOut>();
    error::<TlsError>();
    error::<Violation>();
}

#[test]
fn a_stream_is_what_its_io_is() {
    stream::<Connection>();
    // Of an IO that may be moved to another thread but not shared with it.
    send::<WsStream<std::cell::Cell<u8>>>();
    send::<MaybeTls<std::cell::Cell<u8>>>();
    unpin::<Connection>();
    unpin::<WsStream<Box<PhantomPinned>>>();
    unpin::<MaybeTls<Box<PhantomPinned>>>();
    unpin::<Connections>();
}

/// Never called: compiling it is the proof.
#[allow(dead_code)]
async fn futures_may_cross_threads(listener: Listener, incoming: Incoming, dialer: Dialer, io: [Tcp; 4]) {
    let [a, b, c, d] = io;
    send_value(&dialer.dial("/dns/localhost/tcp/80/ws"));
    send_value(&dialer.dial(Multiaddr::empty()));
    send_value(&Listener::bind("/ip4/127.0.0.1/tcp/0/ws"));
    send_value(&ListenOptions::new().bind("/ip4/127.0.0.1/tcp/0/ws"));
    send_value(&listener.accept());
    send_value(&std::future::IntoFuture::into_future(incoming));
    send_value(&async move { listener.accept().await?.handshake().await });

    let request = ClientRequest::new("localhost", "/").expect("good");
    let options = ServerOptions::new();
    send_value(&handshake::client(a, &request, StreamConfig::new()));
    send_value(&handshake::server(b, &options));

    let connector = Connector::system().expect("roots");
    let acceptor = Acceptor::builder("", "").build().expect("a certificate");
    send_value(&connector.connect("localhost", c));
    send_value(&acceptor.accept(d));

    let mut connection = dialer.dial("/dns/localhost/tcp/80/ws").await.expect("a connection");
    send_value(&connection.close_with(1000, ""));
}
