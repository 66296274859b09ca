//! The keys of one side, and the cryptography that snow asks for.

use libp2p_identity::Keypair;
use snow::params::{CipherChoice, DHChoice, HashChoice, NoiseParams};
use snow::resolvers::{BoxedCryptoResolver, CryptoResolver, RingResolver};
use snow::types::{Cipher, Dh, Hash, Random};
use snow::{Builder, Error};
use x25519_dalek::{PublicKey, StaticSecret};

use super::error::NoiseError;
use super::payload;

const PARAMS: &str = "Noise_XX_25519_ChaChaPoly_SHA256";

/// What one side needs for any number of handshakes.
pub(super) struct Keys {
    pub(super) params: NoiseParams,
    pub(super) pair: Pair,
    /// The payload that proves our identity: the same in every handshake, as the static key is.
    pub(super) payload: Vec<u8>,
}

impl Keys {
    /// Makes a static key for this identity, and signs it.
    pub(super) fn new(identity: &Keypair) -> Result<Self, NoiseError> {
        let pair = Pair::new(StaticSecret::from(rand::random::<[u8; 32]>()));
        let payload = payload::signed(identity, pair.public.as_bytes()).map_err(NoiseError::Signing)?;
        Ok(Keys { params: PARAMS.parse()?, pair, payload })
    }

    /// Begins a handshake: of the side that dialed, or of the other.
    pub(super) fn begin(&self, initiator: bool) -> Result<snow::HandshakeState, Error> {
        let resolver: BoxedCryptoResolver = Box::new(Resolver(self.pair.clone()));
        let builder =
            Builder::with_resolver(self.params.clone(), resolver).local_private_key(self.pair.secret.as_bytes())?;
        if initiator { builder.build_initiator() } else { builder.build_responder() }
    }
}

/// A Diffie-Hellman key and its public half.
#[derive(Clone)]
pub(super) struct Pair {
    secret: StaticSecret,
    public: PublicKey,
}

impl Pair {
    fn new(secret: StaticSecret) -> Self {
        // By tables of the base point: a third of what a Diffie-Hellman with it costs.
        Pair { public: PublicKey::from(&secret), secret }
    }
}

/// ring for ciphers, hashes and random numbers, and X25519.
struct Resolver(Pair);

impl CryptoResolver for Resolver {
    fn resolve_rng(&self) -> Option<Box<dyn Random>> {
        RingResolver.resolve_rng()
    }

    fn resolve_dh(&self, choice: &DHChoice) -> Option<Box<dyn Dh>> {
        matches!(choice, DHChoice::Curve25519).then(|| Box::new(X25519(self.0.clone())) as Box<dyn Dh>)
    }

    fn resolve_hash(&self, choice: &HashChoice) -> Option<Box<dyn Hash>> {
        RingResolver.resolve_hash(choice)
    }

    fn resolve_cipher(&self, choice: &CipherChoice) -> Option<Box<dyn Cipher>> {
        RingResolver.resolve_cipher(choice)
    }
}

/// X25519 for snow, which has one for the static key and another for the ephemeral key.
///
/// Both begin as our static key, so that snow setting that one does not compute its public half again.
struct X25519(Pair);

impl Dh for X25519 {
    fn name(&self) -> &'static str {
        "25519"
    }

    fn pub_len(&self) -> usize {
        32
    }

    fn priv_len(&self) -> usize {
        32
    }

    fn set(&mut self, secret: &[u8]) {
        if let Ok(secret) = <[u8; 32]>::try_from(secret)
            && secret != *self.0.secret.as_bytes()
        {
            self.0 = Pair::new(StaticSecret::from(secret));
        }
    }

    fn generate(&mut self, random: &mut dyn Random) -> Result<(), Error> {
        let mut secret = [0; 32];
        random.try_fill_bytes(&mut secret)?;
        self.0 = Pair::new(StaticSecret::from(secret));
        Ok(())
    }

    fn pubkey(&self) -> &[u8] {
        self.0.public.as_bytes()
    }

    fn privkey(&self) -> &[u8] {
        self.0.secret.as_bytes()
    }

    fn dh(&self, public: &[u8], out: &mut [u8]) -> Result<(), Error> {
        let (Some(public), Some(out)) = (public.first_chunk::<32>(), out.first_chunk_mut::<32>()) else {
            return Err(Error::Dh);
        };
        let shared = self.0.secret.diffie_hellman(&PublicKey::from(*public));
        // A point of low order: whatever our key is, the secret would be known to all.
        if !shared.was_contributory() {
            return Err(Error::Dh);
        }
        *out = shared.to_bytes();
        Ok(())
    }
}
