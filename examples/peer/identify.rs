//! `/ipfs/id/1.0.0`: each end tells the other who it is and what it speaks (libp2p's identify specification).

use futures_lite::{AsyncRead, AsyncReadExt, AsyncWriteExt, io};
use ws_transport::multiaddr::{Multiaddr, Protocol};
use ws_transport::upgrade::identity::PublicKey;
use ws_transport::upgrade::{Session, Stream};

use crate::failure::Result;

pub(crate) const PROTOCOL: &str = "/ipfs/id/1.0.0";

/// Longest message that is read, in bytes: 8 KiB, as in go-libp2p.
const MAX_MESSAGE: usize = 8 * 1024;

/// Most addresses that are told: a machine may have any number, and others read no more than 4 KiB.
const MAX_ADDRESSES: usize = 32;

/// What a node tells about itself; what it does not tell is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Info {
    /// As libp2p encodes it.
    pub(crate) public_key: Vec<u8>,
    /// Binary multiaddrs.
    pub(crate) listen_addrs: Vec<Vec<u8>>,
    pub(crate) protocols: Vec<String>,
    /// The address that the other end has from here, a binary multiaddr.
    pub(crate) observed_addr: Vec<u8>,
    pub(crate) protocol_version: String,
    pub(crate) agent_version: String,
}

impl Info {
    pub(crate) fn new(key: &PublicKey, listen_addrs: &[Multiaddr], protocols: &[String]) -> Self {
        Info {
            public_key: key.encode_protobuf(),
            listen_addrs: listen_addrs.iter().take(MAX_ADDRESSES).map(Multiaddr::to_vec).collect(),
            protocols: protocols.to_vec(),
            observed_addr: Vec::new(),
            protocol_version: "ipfs/0.1.0".into(),
            agent_version: concat!("ws-transport/", env!("CARGO_PKG_VERSION")).into(),
        }
    }

    /// The same for a peer at this address, unless that is only a name.
    pub(crate) fn observing(&self, address: &Multiaddr) -> Self {
        let is_ip = matches!(address.iter().next(), Some(Protocol::Ip4(_) | Protocol::Ip6(_)));
        let observed_addr = if is_ip { address.to_vec() } else { Vec::new() };
        Info { observed_addr, ..self.clone() }
    }

    fn encode(&self) -> Vec<u8> {
        let mut fields = vec![(PUBLIC_KEY, self.public_key.as_slice())];
        fields.extend(self.listen_addrs.iter().map(|addr| (LISTEN_ADDRS, addr.as_slice())));
        fields.extend(self.protocols.iter().map(|protocol| (PROTOCOLS, protocol.as_bytes())));
        fields.extend([
            (OBSERVED_ADDR, self.observed_addr.as_slice()),
            (PROTOCOL_VERSION, self.protocol_version.as_bytes()),
            (AGENT_VERSION, self.agent_version.as_bytes()),
        ]);
        let mut message = Vec::new();
        for (field, value) in fields {
            put_varint(&mut message, field << 3 | LENGTH_DELIMITED);
            put_varint(&mut message, value.len() as u64);
            message.extend_from_slice(value);
        }
        message
    }

    fn decode(mut message: &[u8]) -> Result<Self> {
        let mut info = Info::default();
        let message = &mut message;
        while !message.is_empty() {
            let tag = varint(message)?;
            let value = match tag & 7 {
                VARINT => {
                    varint(message)?;
                    continue;
                }
                FIXED_64 => {
                    bytes(message, 8)?;
                    continue;
                }
                FIXED_32 => {
                    bytes(message, 4)?;
                    continue;
                }
                LENGTH_DELIMITED => {
                    let length = varint(message)?;
                    bytes(message, length)?
                }
                other => return Err(format!("fields of type {other} are unknown").into()),
            };
            let text = || String::from_utf8_lossy(value).into_owned();
            match tag >> 3 {
                PUBLIC_KEY => info.public_key = value.to_vec(),
                LISTEN_ADDRS => info.listen_addrs.push(value.to_vec()),
                PROTOCOLS => info.protocols.push(text()),
                OBSERVED_ADDR => info.observed_addr = value.to_vec(),
                PROTOCOL_VERSION => info.protocol_version = text(),
                AGENT_VERSION => info.agent_version = text(),
                // A signed record of the addresses, and whatever else comes to be.
                _ => {}
            }
        }
        Ok(info)
    }
}

/// Tells a peer who asks.
pub(crate) async fn serve(mut stream: Stream, info: &Info) -> io::Result<()> {
    let message = info.encode();
    let mut prefixed = Vec::new();
    put_varint(&mut prefixed, message.len() as u64);
    prefixed.extend_from_slice(&message);
    stream.write_all(&prefixed).await?;
    stream.close().await
}

/// Asks the peer. If it tells another key than the one that it has proven to have, that is an error.
pub(crate) async fn ask(session: &Session) -> Result<Info> {
    let mut stream = session.open([PROTOCOL]).await?;
    // There is nothing to say.
    stream.close().await?;
    let info = Info::decode(&read_message(&mut stream).await?)?;
    if !info.public_key.is_empty() {
        let told = PublicKey::try_decode_protobuf(&info.public_key)?.to_peer_id();
        if told != session.peer() {
            return Err(format!("{} tells the key of {told}", session.peer()).into());
        }
    }
    Ok(info)
}

async fn read_message(stream: &mut (impl AsyncRead + Unpin)) -> Result<Vec<u8>> {
    let mut prefix = Vec::new();
    let length = loop {
        let mut byte = [0];
        stream.read_exact(&mut byte).await?;
        prefix.extend_from_slice(&byte);
        if byte[0] & 0x80 == 0 || prefix.len() == MAX_VARINT {
            break varint(&mut prefix.as_slice())?;
        }
    };
    match usize::try_from(length) {
        Ok(length @ ..=MAX_MESSAGE) => {
            let mut message = vec![0; length];
            stream.read_exact(&mut message).await?;
            Ok(message)
        }
        _ => Err(format!("message is too large ({length} > {MAX_MESSAGE})").into()),
    }
}

// Numbers of the fields (identify specification, "The Identify Message").
const PUBLIC_KEY: u64 = 1;
const LISTEN_ADDRS: u64 = 2;
const PROTOCOLS: u64 = 3;
const OBSERVED_ADDR: u64 = 4;
const PROTOCOL_VERSION: u64 = 5;
const AGENT_VERSION: u64 = 6;

// How values are laid out (Protocol Buffers' encoding, "Message Structure").
const VARINT: u64 = 0;
const FIXED_64: u64 = 1;
const LENGTH_DELIMITED: u64 = 2;
const FIXED_32: u64 = 5;

/// Most bytes of a varint of 64 bits.
const MAX_VARINT: usize = 10;

fn put_varint(buf: &mut Vec<u8>, mut value: u64) {
    while let low @ 0x80.. = value {
        buf.push(low as u8 | 0x80);
        value >>= 7;
    }
    buf.push(value as u8);
}

/// Takes a number, seven bits a byte, the lowest first.
fn varint(input: &mut &[u8]) -> Result<u64> {
    let mut value = 0;
    for shift in (0..u64::BITS).step_by(7) {
        let (&byte, rest) = input.split_first().ok_or("message is cut off")?;
        *input = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err("a number is too long".into())
}

fn bytes<'a>(input: &mut &'a [u8], length: u64) -> Result<&'a [u8]> {
    let split = usize::try_from(length).ok().and_then(|length| input.split_at_checked(length));
    let (value, rest) = split.ok_or("message is cut off")?;
    *input = rest;
    Ok(value)
}

#[cfg(test)]
mod tests {
    use futures_lite::future::block_on;
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// Lengths of one byte and of two.
    fn any_bytes() -> impl Strategy<Value = Vec<u8>> {
        vec(any::<u8>(), 0..200)
    }

    proptest! {
        #[test]
        fn what_is_told_is_what_is_understood(
            public_key in any_bytes(), listen_addrs in vec(any_bytes(), 0..4), protocols in vec(".{0,8}", 0..4),
            observed_addr in any_bytes(), protocol_version in ".{0,8}", agent_version in ".{0,200}",
        ) {
            let info = Info { public_key, listen_addrs, protocols, observed_addr, protocol_version, agent_version };
            prop_assert_eq!(Info::decode(&info.encode()).unwrap(), info);
        }

        #[test]
        fn no_message_is_too_much(message: Vec<u8>) {
            let _ = Info::decode(&message);
        }

        #[test]
        fn numbers_are_read_as_they_are_written(number: u64) {
            let mut buf = Vec::new();
            put_varint(&mut buf, number);
            prop_assert!(buf.len() <= MAX_VARINT);
            prop_assert_eq!(varint(&mut buf.as_slice()).unwrap(), number);
        }
    }

    #[test]
    fn fields_of_other_protocols_are_passed_over() {
        let message = b"\x48\x96\x01\x51\0\0\0\0\0\0\0\0\x5d\0\0\0\0\x42\x02xy\x32\x02us";
        assert_eq!(Info::decode(message).unwrap(), Info { agent_version: "us".into(), ..Info::default() });
    }

    #[test]
    fn a_message_that_is_too_large_is_not_read() {
        let error = block_on(read_message(&mut [0x81, 0x40].as_slice())).unwrap_err();
        assert_eq!(error.to_string(), "message is too large (8193 > 8192)");
        block_on(read_message(&mut [0xff; 20].as_slice())).unwrap_err();
    }
}
