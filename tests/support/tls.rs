//! Authorities and certificates of the test's own, and servers that have them.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use haypile::{ConnectionParameters, TlsOptions};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, date_time_ymd,
};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ALL_VERSIONS, RootCertStore, ServerConfig, SupportedProtocolVersion};

/// The broker that `scripts/with-broker` has started, by TLS, whose authority is trusted.
pub fn broker() -> ConnectionParameters {
    let url = std::env::var("AMQPS_URL")
        .expect("AMQPS_URL names no broker: run the tests by scripts/with-broker");
    let mut parameters: ConnectionParameters = url.parse().expect("AMQPS_URL is a URL");
    parameters.set_tls(Some(trusting("ca.pem")));
    parameters
}

/// A file of the certificates that the broker was started with.
pub fn file(name: &str) -> PathBuf {
    let folder = std::env::var("AMQP_TLS_DIR").expect("AMQP_TLS_DIR is set with AMQPS_URL");
    PathBuf::from(folder).join(name)
}

/// Trusts what the authority of that file has signed.
pub fn trusting(authority: &str) -> TlsOptions {
    TlsOptions::with_ca_file(file(authority)).expect("an authority's certificate")
}

/// An authority that signs certificates.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key.
pub struct Certificate {
    pub chain: Vec<CertificateDer<'static>>,
    pub pem: String,
    pub key_pem: String,
    key: Vec<u8>,
}

impl Authority {
    pub fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let mut parameters = CertificateParams::default();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let name = format!("authority {}", COUNT.fetch_add(1, Ordering::Relaxed));
        parameters.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key");
        Self(CertifiedIssuer::self_signed(parameters, key).expect("a certificate"))
    }

    /// Trusts what it has signed.
    pub fn trusted(&self) -> TlsOptions {
        TlsOptions::with_ca_pem(self.0.pem()).expect("an authority's certificate")
    }

    /// A certificate of a server on this machine.
    pub fn server(&self) -> Certificate {
        self.sign(&["localhost", "127.0.0.1"], |_| ())
    }

    pub fn expired(&self) -> Certificate {
        self.sign(&["localhost", "127.0.0.1"], |parameters| {
            parameters.not_after = date_time_ymd(2020, 1, 1);
        })
    }

    pub fn not_valid_yet(&self) -> Certificate {
        self.sign(&["localhost", "127.0.0.1"], |parameters| {
            parameters.not_before = date_time_ymd(3000, 1, 1);
        })
    }

    pub fn client(&self) -> Certificate {
        self.for_clients_at(&[])
    }

    /// One that names servers, and is not for them.
    pub fn for_clients_at(&self, names: &[&str]) -> Certificate {
        self.sign(names, |parameters| {
            parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        })
    }

    fn sign(&self, names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Certificate {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut parameters = CertificateParams::new(names).expect("names");
        change(&mut parameters);
        let key = KeyPair::generate().expect("a key");
        let certificate = parameters.signed_by(&key, &self.0).expect("a certificate");
        Certificate {
            chain: vec![certificate.der().clone()],
            pem: certificate.pem(),
            key_pem: key.serialize_pem(),
            key: key.serialize_der(),
        }
    }
}

impl Certificate {
    pub fn key(&self) -> PrivateKeyDer<'static> {
        self.key.clone().try_into().expect("a key")
    }

    /// A server that shows it, and asks for none.
    pub fn serves(&self) -> Arc<ServerConfig> {
        self.serves_by(ALL_VERSIONS)
    }

    pub fn serves_by(&self, versions: &[&'static SupportedProtocolVersion]) -> Arc<ServerConfig> {
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(versions)
            .expect("versions that ring knows")
            .with_no_client_auth()
            .with_single_cert(self.chain.clone(), self.key())
            .expect("a certificate and its key");
        Arc::new(config)
    }

    /// A server that shows it, and wants one of that authority.
    pub fn serves_clients_of(
        &self,
        authority: &Authority,
        versions: &[&'static SupportedProtocolVersion],
    ) -> Arc<ServerConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(authority.0.der().clone()).expect("a root");
        let provider = Arc::new(ring::default_provider());
        let roots = Arc::new(roots);
        let verifier = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(&provider));
        let config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .expect("versions that ring knows")
            .with_client_cert_verifier(verifier.build().expect("a verifier"))
            .with_single_cert(self.chain.clone(), self.key())
            .expect("a certificate and its key");
        Arc::new(config)
    }
}
