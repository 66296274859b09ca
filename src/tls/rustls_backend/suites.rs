//! Which cipher suites come first: those the processor is fast at.
//!
//! rustls begins with AES-256 and SHA-384, wherever it runs. Without AES instructions, as on many boards, ring's AES is
//! slower than its ChaCha20-Poly1305; with them AES-128 is faster than AES-256, and so is the handshake, as processors
//! compute SHA-256 themselves, but not SHA-384. All suites are offered and taken still. Go and browsers go by this order.

use futures_rustls::rustls::crypto::{CryptoProvider, ring};
use futures_rustls::rustls::{CipherSuite, SupportedCipherSuite};

const AES_128: [CipherSuite; 3] = [
    CipherSuite::TLS13_AES_128_GCM_SHA256,
    CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
];

const CHACHA20: [CipherSuite; 3] = [
    CipherSuite::TLS13_CHACHA20_POLY1305_SHA256,
    CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
];

/// ring, with its cipher suites in the order that suits the processor.
pub(super) fn provider() -> CryptoProvider {
    let mut provider = ring::default_provider();
    arrange(&mut provider.cipher_suites, has_aes());
    provider
}

/// Whether the processor has instructions for AES and GCM; `false` where that cannot be asked.
pub(super) fn has_aes() -> bool {
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    let has = std::arch::is_x86_feature_detected!("aes") && std::arch::is_x86_feature_detected!("pclmulqdq");
    #[cfg(target_arch = "aarch64")]
    let has = std::arch::is_aarch64_feature_detected!("aes");
    #[cfg(not(any(target_arch = "x86", target_arch = "x86_64", target_arch = "aarch64")))]
    let has = false;
    has
}

/// TLS 1.3 before 1.2, as they were, and within each the fastest first.
fn arrange(suites: &mut [SupportedCipherSuite], has_aes: bool) {
    suites.sort_by_key(|suite| {
        let place = match suite.suite() {
            suite if CHACHA20.contains(&suite) => 2 * u8::from(has_aes),
            suite if AES_128.contains(&suite) => u8::from(!has_aes),
            _ => 2 - u8::from(has_aes),
        };
        (suite.tls13().is_none(), place)
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_rustls::rustls::CipherSuite as S;

    fn arranged(has_aes: bool) -> Vec<S> {
        let mut suites = ring::default_provider().cipher_suites;
        arrange(&mut suites, has_aes);
        suites.iter().map(SupportedCipherSuite::suite).collect()
    }

    #[test]
    fn with_aes_instructions_the_smaller_aes_comes_first_and_chacha20_last() {
        let expected = [
            S::TLS13_AES_128_GCM_SHA256,
            S::TLS13_AES_256_GCM_SHA384,
            S::TLS13_CHACHA20_POLY1305_SHA256,
            S::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
            S::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
            S::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
            S::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
            S::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
            S::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
        ];
        assert_eq!(arranged(true), expected);
    }

    #[test]
    fn without_them_chacha20_comes_first_and_the_larger_aes_last() {
        let expected = [
            S::TLS13_CHACHA20_POLY1305_SHA256,
            S::TLS13_AES_128_GCM_SHA256,
            S::TLS13_AES_256_GCM_SHA384,
            S::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
            S::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
            S::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
            S::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
            S::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
            S::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        ];
        assert_eq!(arranged(false), expected);
    }
}
