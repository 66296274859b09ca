//! A peer of which the frames are written by hand, above noise by the reference libraries.

use futures_lite::{AsyncReadExt, AsyncWriteExt};
use libp2p_core::upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade};
use libp2p_identity::{Keypair, PeerId};
use libp2p_noise::Output;
use multistream_select::{Negotiated, Version, dialer_select_proto, listener_select_proto};

use crate::common::pipe::End;

pub const DATA: u8 = 0;
pub const WINDOW_UPDATE: u8 = 1;
pub const PING: u8 = 2;
pub const GO_AWAY: u8 = 3;

pub const SYN: u16 = 1;
pub const ACK: u16 = 2;
pub const FIN: u16 = 4;
pub const RST: u16 = 8;

type Secured = Output<Negotiated<End>>;

/// A peer whose muxer is the test.
pub struct Peer {
    pub id: PeerId,
    pub io: Negotiated<Secured>,
}

/// A frame of yamux.
#[derive(Debug, PartialEq)]
pub struct Frame {
    pub kind: u8,
    pub flags: u16,
    pub stream: u32,
    pub length: u32,
    pub body: Vec<u8>,
}

impl Peer {
    /// Waits to be dialed.
    pub async fn accept(io: End, muxers: &[&'static str]) -> Peer {
        let (id, io) = Peer::accept_security(io).await;
        let (_, io) = listener_select_proto(io, muxers.to_vec()).await.unwrap();
        Peer { id, io }
    }

    /// Waits to be dialed, and goes no further than noise.
    pub async fn accept_security(io: End) -> (PeerId, Secured) {
        let (_, io) = listener_select_proto(io, ["/noise"]).await.unwrap();
        noise().upgrade_inbound(io, "/noise").await.unwrap()
    }

    pub async fn dial(io: End) -> Peer {
        let (_, io) = dialer_select_proto(io, ["/noise"], Version::V1Lazy).await.unwrap();
        let (id, io) = noise().upgrade_outbound(io, "/noise").await.unwrap();
        let (_, mut io) = dialer_select_proto(io, ["/yamux/1.0.0"], Version::V1Lazy).await.unwrap();
        io.flush().await.unwrap();
        Peer { id, io }
    }

    pub async fn try_send(
        &mut self,
        kind: u8,
        flags: u16,
        stream: u32,
        length: u32,
        body: &[u8],
    ) -> std::io::Result<()> {
        let mut frame = vec![0, kind];
        frame.extend(flags.to_be_bytes());
        frame.extend(stream.to_be_bytes());
        frame.extend(length.to_be_bytes());
        frame.extend(body);
        self.io.write_all(&frame).await?;
        self.io.flush().await
    }

    pub async fn send(&mut self, kind: u8, flags: u16, stream: u32, length: u32) {
        self.try_send(kind, flags, stream, length, &[]).await.unwrap();
    }

    pub async fn data(&mut self, flags: u16, stream: u32, body: &[u8]) {
        self.try_send(DATA, flags, stream, body.len() as u32, body).await.unwrap();
    }

    /// The next frame.
    pub async fn recv(&mut self) -> std::io::Result<Frame> {
        let mut head = [0; 12];
        self.io.read_exact(&mut head).await?;
        let [0, kind, f0, f1, s0, s1, s2, s3, l0, l1, l2, l3] = head else { panic!("version {}", head[0]) };
        let length = u32::from_be_bytes([l0, l1, l2, l3]);
        let mut body = vec![0; if kind == DATA { length as usize } else { 0 }];
        self.io.read_exact(&mut body).await?;
        let stream = u32::from_be_bytes([s0, s1, s2, s3]);
        Ok(Frame { kind, flags: u16::from_be_bytes([f0, f1]), stream, length, body })
    }

    /// The next frame that is no ping; pings are answered.
    pub async fn next(&mut self) -> std::io::Result<Frame> {
        loop {
            let frame = self.recv().await?;
            match frame.kind {
                // That may fail with a session that has ended, of which there is more to read.
                PING if frame.flags & SYN != 0 => drop(self.try_send(PING, ACK, 0, frame.length, &[]).await),
                PING => {}
                _ => return Ok(frame),
            }
        }
    }

    /// Reads until the peer says why it goes away.
    pub async fn go_away(&mut self) -> u32 {
        loop {
            let frame = self.next().await.unwrap();
            if frame.kind == GO_AWAY {
                return frame.length;
            }
        }
    }
}

fn noise() -> libp2p_noise::Config {
    libp2p_noise::Config::new(&Keypair::generate_ed25519()).unwrap()
}

/// What a dialer says on a stream to speak this protocol.
pub fn proposal(protocol: &str) -> Vec<u8> {
    let mut bytes = b"\x13/multistream/1.0.0\n".to_vec();
    bytes.push(protocol.len() as u8 + 1);
    bytes.extend(protocol.as_bytes());
    bytes.push(b'\n');
    bytes
}
