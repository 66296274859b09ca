//! What can go wrong in noise.

use std::error::Error as StdError;
use std::{fmt, io};

/// Why a noise handshake failed, or the stream that it made.
#[derive(Debug)]
#[non_exhaustive]
pub enum NoiseError {
    /// The byte stream below failed or ended.
    Io(io::Error),
    /// A message that is none, or that was not written by who was shaken hands with; or no more may be sent under these
    /// keys.
    Message(Box<dyn StdError + Send + Sync>),
    /// A handshake message says nothing of an identity, or nothing that can be understood.
    Payload(Box<dyn StdError + Send + Sync>),
    /// The remote's identity has not signed the key that it shakes hands with.
    Signature,
    /// The identity of this side cannot sign.
    Signing(libp2p_identity::SigningError),
}

impl fmt::Display for NoiseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoiseError::Io(error) => write!(f, "noise: {error}"),
            NoiseError::Message(error) => write!(f, "noise: invalid message: {error}"),
            NoiseError::Payload(error) => write!(f, "noise: invalid payload: {error}"),
            NoiseError::Signature => f.write_str("noise: the key is not signed by the identity that claims it"),
            NoiseError::Signing(error) => write!(f, "noise: the identity cannot sign: {error}"),
        }
    }
}

impl StdError for NoiseError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            NoiseError::Io(error) => Some(error),
            NoiseError::Message(error) | NoiseError::Payload(error) => Some(&**error),
            NoiseError::Signature => None,
            NoiseError::Signing(error) => Some(error),
        }
    }
}

impl From<io::Error> for NoiseError {
    fn from(error: io::Error) -> Self {
        NoiseError::Io(error)
    }
}

impl From<snow::Error> for NoiseError {
    fn from(error: snow::Error) -> Self {
        NoiseError::Message(Box::new(error))
    }
}

impl From<NoiseError> for io::Error {
    fn from(error: NoiseError) -> Self {
        match error {
            NoiseError::Io(error) => error,
            error => io::Error::new(io::ErrorKind::InvalidData, error),
        }
    }
}
