//! Certificates for tests, made on the spot.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose, PKCS_RSA_SHA256,
};

/// A certificate chain and its key, PEM.
#[derive(Clone)]
pub(crate) struct Leaf {
    pub(crate) chain: String,
    pub(crate) key: String,
    pub(crate) der: Vec<u8>,
}

pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        Authority(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    pub(crate) fn der(&self) -> Vec<u8> {
        self.0.der().to_vec()
    }

    pub(crate) fn issue(&self, name: &str) -> Leaf {
        self.issue_with(name, |_| {})
    }

    pub(crate) fn issue_with(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Leaf {
        self.issue_for(&KeyPair::generate().unwrap(), name, change)
    }

    fn issue_for(&self, key: &KeyPair, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Leaf {
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, "leaf");
        change(&mut params);
        let certificate = params.signed_by(key, &self.0).unwrap();
        Leaf { chain: certificate.pem(), key: key.serialize_pem(), der: certificate.der().to_vec() }
    }

    /// Leaves for the keys of `tests/data`, with the key in each format it is there in.
    pub(crate) fn issue_in_all_key_formats(&self, name: &str) -> Vec<(&'static str, Leaf)> {
        let rsa = KeyPair::from_pkcs8_pem_and_sign_algo(include_str!("../data/rsa.pkcs8.pem"), &PKCS_RSA_SHA256);
        let rsa = self.issue_for(&rsa.unwrap(), name, |_| {});
        let ec = KeyPair::from_pem(include_str!("../data/ec.pkcs8.pem"));
        let ec = self.issue_for(&ec.unwrap(), name, |_| {});
        let with = |leaf: &Leaf, key: &str| Leaf { key: key.to_owned(), ..leaf.clone() };
        vec![
            ("RSA, PKCS#8", with(&rsa, include_str!("../data/rsa.pkcs8.pem"))),
            ("RSA, PKCS#1", with(&rsa, include_str!("../data/rsa.pkcs1.pem"))),
            ("EC, PKCS#8", with(&ec, include_str!("../data/ec.pkcs8.pem"))),
            ("EC, SEC1", with(&ec, include_str!("../data/ec.sec1.pem"))),
        ]
    }
}
