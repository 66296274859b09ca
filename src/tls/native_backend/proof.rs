//! A handshake of a server's certificate with itself, in memory.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use native_tls::{HandshakeError, MidHandshakeTlsStream, TlsAcceptor, TlsConnector, TlsStream};

use super::super::TlsError;
use super::setup;

/// Turns each end gets at most; a handshake of TLS 1.2 needs two, one of TLS 1.3 as many.
const MAX_TURNS: usize = 16;

/// Fails with [`TlsError::KeyMismatch`] unless the acceptor can prove that it holds its certificate's key.
pub(super) fn shake_hands_with_itself(acceptor: &TlsAcceptor) -> Result<(), TlsError> {
    let connector = connector()?;
    let (client_io, server_io) = Memory::pair();
    let mut client = Turn::after(connector.connect("localhost", client_io))?;
    let mut server = Turn::after(acceptor.accept(server_io))?;
    for _ in 0..MAX_TURNS {
        if let (Turn::Done, Turn::Done) = (&client, &server) {
            return Ok(());
        }
        client = client.next()?;
        server = server.next()?;
    }
    Err(TlsError::KeyMismatch(Box::new(io::Error::from(io::ErrorKind::TimedOut))))
}

/// A connector that looks at the key only: who signed the certificate, and for whom, is for the real clients to judge.
///
/// Kept, for making one reads the system's roots (some 50 ms), even if it is told not to use them.
fn connector() -> Result<TlsConnector, TlsError> {
    static MADE: OnceLock<TlsConnector> = OnceLock::new();
    if let Some(made) = MADE.get() {
        return Ok(made.clone());
    }
    let connector = TlsConnector::builder()
        .disable_built_in_roots(true)
        .danger_accept_invalid_certs(true)
        .danger_accept_invalid_hostnames(true)
        .use_sni(false)
        .build()
        .map_err(setup)?;
    Ok(MADE.get_or_init(|| connector).clone())
}

enum Turn {
    Waiting(MidHandshakeTlsStream<Memory>),
    Done,
}

impl Turn {
    fn after(step: Result<TlsStream<Memory>, HandshakeError<Memory>>) -> Result<Self, TlsError> {
        match step {
            Ok(_) => Ok(Turn::Done),
            Err(HandshakeError::WouldBlock(handshake)) => Ok(Turn::Waiting(handshake)),
            Err(HandshakeError::Failure(error)) => Err(TlsError::KeyMismatch(Box::new(error))),
        }
    }

    fn next(self) -> Result<Self, TlsError> {
        match self {
            Turn::Waiting(handshake) => Turn::after(handshake.handshake()),
            Turn::Done => Ok(Turn::Done),
        }
    }
}

type Queue = Arc<Mutex<VecDeque<u8>>>;

/// One end of a pipe without a limit: a handshake is some kilobytes.
#[derive(Debug)]
struct Memory {
    incoming: Queue,
    outgoing: Queue,
}

impl Memory {
    fn pair() -> (Self, Self) {
        let (there, back) = (Queue::default(), Queue::default());
        (Memory { incoming: back.clone(), outgoing: there.clone() }, Memory { incoming: there, outgoing: back })
    }
}

impl Read for Memory {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self.incoming.lock().unwrap_or_else(PoisonError::into_inner).read(buf)? {
            0 if !buf.is_empty() => Err(io::ErrorKind::WouldBlock.into()),
            read => Ok(read),
        }
    }
}

impl Write for Memory {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.outgoing.lock().unwrap_or_else(PoisonError::into_inner).write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
