//! How to speak TLS: whom to trust, and who one is.

use std::fmt;
use std::fs;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use rustls::client::ClientConfig;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ConfigBuilder, RootCertStore, WantsVerifier};

use super::parameters::invalid;
use crate::error::{ParametersError, TlsError};

/// How to speak TLS (pika's `SSLOptions`): see
/// [`set_tls`](crate::ConnectionParameters::set_tls). TLS 1.2 and 1.3, no ALPN.
///
/// A server's certificate must have been issued by a root that is trusted, be of this time, and
/// for the server's name. Trusted are the roots of the platform, or those given:
///
/// ```no_run
/// use haypile::{ConnectionParameters, TlsOptions};
///
/// let mut tls = TlsOptions::with_ca_file("ca.pem")?;
/// tls.set_client_certificate_files("client.pem", "client.key")?;
/// let mut parameters: ConnectionParameters = "amqps://broker.example".parse()?;
/// parameters.set_tls(Some(tls));
/// # Ok::<(), haypile::Error>(())
/// ```
///
/// Clones share what is expensive, and the sessions that later connections resume.
#[derive(Clone)]
pub struct TlsOptions {
    config: Config,
    server_name: Option<ServerName<'static>>,
}

#[derive(Clone)]
enum Config {
    /// What the platform trusts, read when it is first needed.
    Platform,
    Made(Arc<ClientConfig>),
}

impl TlsOptions {
    /// Trusts the roots of the platform: on Linux and the BSDs the certificates that its OpenSSL
    /// would find, or those that the variables `SSL_CERT_FILE` and `SSL_CERT_DIR` name; on macOS
    /// those of the keychains.
    ///
    /// They are read once for the process, when the first connection that needs them has its
    /// socket: the loop waits for the disk then, some tens of milliseconds for the hundreds of
    /// roots that a system has. If there are none, that is the connection's error,
    /// [`TlsError::NoRoots`]. A connection is never held up by the network for them: revocation is
    /// not asked for.
    pub fn new() -> Self {
        Self { config: Config::Platform, server_name: None }
    }

    /// Trusts the certificates of a PEM file, and no others.
    ///
    /// # Errors
    /// If it cannot be read, or has no certificate, or one that cannot be a root.
    pub fn with_ca_file(path: impl AsRef<Path>) -> Result<Self, ParametersError> {
        Self::with_ca_pem(read("ca_file", path.as_ref())?)
    }

    /// Trusts the certificates of this PEM text, and no others.
    ///
    /// # Errors
    /// If there is no certificate in it, or one that cannot be a root.
    pub fn with_ca_pem(pem: impl AsRef<[u8]>) -> Result<Self, ParametersError> {
        let mut roots = RootCertStore::empty();
        for certificate in certificates("ca", pem.as_ref())? {
            roots.add(certificate).map_err(|error| invalid("ca", error.to_string()))?;
        }
        let config = builder().with_root_certificates(roots).with_no_client_auth();
        Ok(Self::with_config(config))
    }

    /// For those who want everything: a configuration of rustls, of the version that
    /// [`haypile::rustls`](crate::rustls) is.
    pub fn with_config(config: impl Into<Arc<ClientConfig>>) -> Self {
        Self { config: Config::Made(config.into()), server_name: None }
    }

    /// Shows servers that ask for it this certificate, as a PEM file that begins with it and goes
    /// on with what leads from it to a root. Its private key, as a PEM file in the form of
    /// PKCS #8, PKCS #1 or SEC 1, must not be encrypted.
    ///
    /// # Errors
    /// If a file cannot be read, or certificate and key do not belong together. With the
    /// platform's roots, those are read now, and may be missing.
    pub fn set_client_certificate_files(
        &mut self,
        certificate: impl AsRef<Path>,
        private_key: impl AsRef<Path>,
    ) -> Result<&mut Self, ParametersError> {
        let certificate = read("client_certificate", certificate.as_ref())?;
        self.set_client_certificate(certificate, read("private_key", private_key.as_ref())?)
    }

    /// The same, of PEM texts.
    ///
    /// # Errors
    /// If there is no certificate or no key in them, or they do not belong together. With the
    /// platform's roots, those are read now, and may be missing.
    pub fn set_client_certificate(
        &mut self,
        certificate_pem: impl AsRef<[u8]>,
        private_key_pem: impl AsRef<[u8]>,
    ) -> Result<&mut Self, ParametersError> {
        let chain = certificates("client_certificate", certificate_pem.as_ref())?;
        let key = private_key(private_key_pem.as_ref())?;
        let config = self.config().map_err(|error| invalid("tls", error.to_string()))?;
        let identity = CertifiedKey::from_der(chain, key, config.crypto_provider())
            .map_err(|error| invalid("client_certificate", error.to_string()))?;
        let mut config = Arc::unwrap_or_clone(config);
        config.client_auth_cert_resolver = Arc::new(SingleCertAndKey::from(identity));
        self.config = Config::Made(Arc::new(config));
        Ok(self)
    }

    /// Sets the name that the server's certificate must be for, and that the server is asked for
    /// (SNI): a DNS name or an IP address. By default it is the host that is connected to.
    ///
    /// # Errors
    /// If it is neither.
    pub fn set_server_name(
        &mut self,
        name: impl Into<String>,
    ) -> Result<&mut Self, ParametersError> {
        let name = server_name(name.into());
        self.server_name = Some(name.map_err(|error| invalid("server_name", error.to_string()))?);
        Ok(self)
    }

    /// What a session with this host begins with.
    pub(crate) fn for_host(
        &self,
        host: &str,
    ) -> Result<(Arc<ClientConfig>, ServerName<'static>), TlsError> {
        let name = match &self.server_name {
            Some(name) => name.clone(),
            None => server_name(host.to_owned())?,
        };
        Ok((self.config()?, name))
    }

    fn config(&self) -> Result<Arc<ClientConfig>, TlsError> {
        match &self.config {
            Config::Platform => platform(),
            Config::Made(config) => Ok(Arc::clone(config)),
        }
    }
}

impl Default for TlsOptions {
    fn default() -> Self {
        Self::new()
    }
}

/// Equal if they share their configuration, and have the same server name.
impl PartialEq for TlsOptions {
    fn eq(&self, other: &Self) -> bool {
        let same_config = match (&self.config, &other.config) {
            (Config::Platform, Config::Platform) => true,
            (Config::Made(one), Config::Made(other)) => Arc::ptr_eq(one, other),
            _ => false,
        };
        same_config && self.server_name == other.server_name
    }
}

impl Eq for TlsOptions {}

impl fmt::Debug for TlsOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let config = match &self.config {
            Config::Platform => "the platform's roots",
            // It may hold a private key.
            Config::Made(_) => "[redacted]",
        };
        f.debug_struct("TlsOptions")
            .field("config", &config)
            .field("server_name", &self.server_name)
            .finish()
    }
}

/// rustls' default provider may be another, or none: that is the program's, and does not matter.
fn builder() -> ConfigBuilder<ClientConfig, WantsVerifier> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    let provider = PROVIDER.get_or_init(|| Arc::new(ring::default_provider()));
    ClientConfig::builder_with_provider(Arc::clone(provider))
        .with_safe_default_protocol_versions()
        .unwrap_or_else(|error| unreachable!("ring has ciphers for TLS 1.2 and 1.3: {error}"))
}

/// The configuration with the platform's roots, which all connections share.
fn platform() -> Result<Arc<ClientConfig>, TlsError> {
    static PLATFORM: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    if let Some(config) = PLATFORM.get() {
        return Ok(Arc::clone(config));
    }
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (usable, unusable) = roots.add_parsable_certificates(found.certs);
    if usable == 0 {
        let mut reasons: Vec<_> = found.errors.iter().map(ToString::to_string).collect();
        reasons.push(format!("{unusable} that cannot be used"));
        return Err(TlsError::NoRoots(reasons.join("; ")));
    }
    let config = Arc::new(builder().with_root_certificates(roots).with_no_client_auth());
    Ok(Arc::clone(PLATFORM.get_or_init(|| config)))
}

fn read(name: &'static str, path: &Path) -> Result<Vec<u8>, ParametersError> {
    fs::read(path).map_err(|error| invalid(name, format!("cannot read {path:?}: {error}")))
}

fn certificates(
    name: &'static str,
    text: &[u8],
) -> Result<Vec<CertificateDer<'static>>, ParametersError> {
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(text)
        .collect::<Result<_, _>>()
        .map_err(|error| invalid(name, error.to_string()))?;
    if certificates.is_empty() {
        return Err(invalid(name, "there is no certificate in PEM form"));
    }
    Ok(certificates)
}

fn private_key(text: &[u8]) -> Result<PrivateKeyDer<'static>, ParametersError> {
    PrivateKeyDer::from_pem_slice(text).map_err(|error| match error {
        pem::Error::NoItemsFound => {
            invalid("private_key", "there is no private key in PEM form, or it is encrypted")
        }
        other => invalid("private_key", other.to_string()),
    })
}

fn server_name(name: String) -> Result<ServerName<'static>, TlsError> {
    ServerName::try_from(name.clone()).map_err(|_| TlsError::ServerName(name))
}
