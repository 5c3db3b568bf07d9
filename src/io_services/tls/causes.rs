//! rustls' errors as this crate's.

use rustls::CertificateError as Bad;
use rustls::Error;

use crate::error::{CertificateError, TlsError};

/// What an error means. `first` are the first bytes that came, if no record had come before them.
pub(super) fn tls_error(error: Error, first: &[u8]) -> TlsError {
    match error {
        Error::InvalidMessage(_) | Error::PeerSentOversizedRecord if !first.is_empty() => {
            let received = first[..first.len().min(16)].escape_ascii().to_string();
            TlsError::NotTls { received }
        }
        Error::InvalidCertificate(bad) => TlsError::Certificate(certificate_error(bad)),
        Error::AlertReceived(alert) => {
            TlsError::Alert { code: alert.into(), name: format!("{alert:?}") }
        }
        Error::NoCertificatesPresented => {
            TlsError::Certificate(CertificateError::Other("there is none".into()))
        }
        Error::PeerIncompatible(why) => TlsError::Incompatible(format!("{why:?}")),
        other => TlsError::Protocol(other.to_string()),
    }
}

fn certificate_error(bad: Bad) -> CertificateError {
    match bad {
        Bad::BadSignature => CertificateError::BadSignature,
        Bad::Expired | Bad::ExpiredContext { .. } => CertificateError::Expired,
        Bad::NotValidYet | Bad::NotValidYetContext { .. } => CertificateError::NotValidYet,
        Bad::Revoked => CertificateError::Revoked,
        Bad::UnknownIssuer => CertificateError::UnknownIssuer,
        Bad::NotValidForNameContext { expected, presented } => {
            CertificateError::WrongName { expected: expected.to_str().into_owned(), presented }
        }
        Bad::InvalidPurpose | Bad::InvalidPurposeContext { .. } => CertificateError::WrongPurpose,
        other => CertificateError::Other(other.to_string()),
    }
}
