//! Frames as bytes, and bytes as frames, for tests that hold the other end of the wire themselves.

use ws_transport::proto::{Decoder, Event, Header, Mask, OpCode, Role};

/// A final frame as the end of this role sends it.
pub fn frame(role: Role, opcode: OpCode, payload: &[u8]) -> Vec<u8> {
    fragment(role, true, opcode, payload)
}

pub fn fragment(role: Role, fin: bool, opcode: OpCode, payload: &[u8]) -> Vec<u8> {
    let mask = (role == Role::Client).then_some([0x37, 0xfa, 0x21, 0x3d]);
    let mut head = [0; Header::MAX_LEN];
    let len = Header { fin, opcode, mask, len: payload.len() as u64 }.encode(&mut head);
    let mut bytes = head[..len].to_vec();
    let mut payload = payload.to_vec();
    if let Some(key) = mask {
        Mask::new(key).apply(&mut payload);
    }
    bytes.extend_from_slice(&payload);
    bytes
}

/// A Close with this code.
pub fn close(role: Role, code: u16) -> Vec<u8> {
    frame(role, OpCode::Close, &code.to_be_bytes())
}

/// What the end of role `sender` has sent.
#[derive(Debug, Default, PartialEq)]
pub struct Sent {
    pub data: Vec<u8>,
    /// Payload lengths of the data frames.
    pub frames: Vec<u64>,
    pub control: Vec<Event>,
}

impl Sent {
    pub fn parse(sender: Role, bytes: &[u8]) -> Sent {
        let mut decoder = Decoder::new(other(sender));
        let (mut bytes, mut at, mut sent) = (bytes.to_vec(), 0, Sent::default());
        loop {
            let (used, event) = decoder.decode(&bytes[at..]).expect("what we send is valid");
            at += used;
            match event {
                None => return sent,
                Some(Event::Frame(header)) => sent.frames.push(header.len),
                Some(Event::Payload(len)) => {
                    decoder.unmask(&mut bytes[at..at + len]);
                    sent.data.extend_from_slice(&bytes[at..at + len]);
                    at += len;
                }
                Some(Event::Close(frame)) => {
                    assert_eq!(at, bytes.len(), "nothing follows a close");
                    sent.control.push(Event::Close(frame));
                }
                Some(event) => sent.control.push(event),
            }
        }
    }

    /// The code of the Close at the end, if there is one: `Some(None)` is a Close without a code.
    pub fn close_code(&self) -> Option<Option<u16>> {
        match self.control.last() {
            Some(Event::Close(frame)) => Some(frame.as_ref().map(|frame| frame.code().get())),
            _ => None,
        }
    }
}

pub fn other(role: Role) -> Role {
    match role {
        Role::Client => Role::Server,
        Role::Server => Role::Client,
    }
}
