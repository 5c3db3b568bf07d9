//! What is refused before anything is sent.

use haypile::{ConnectionParameters, ParametersError, TlsOptions};

use super::support::tls::Authority;

// Made by openssl, self-signed, for a hundred years.
const RSA: &str = include_str!("keys/rsa.pem");
const PKCS8: &str = include_str!("keys/pkcs8.key");
const PKCS1: &str = include_str!("keys/pkcs1.key");
const EC: &str = include_str!("keys/ec.pem");
const SEC1: &str = include_str!("keys/sec1.key");
const ENCRYPTED: &str = include_str!("keys/encrypted.key");

fn options() -> TlsOptions {
    Authority::new().trusted()
}

/// Gives the name of what is refused, and why. The old options stay.
fn refused(set: impl FnOnce(&mut TlsOptions) -> Result<(), ParametersError>) -> (String, String) {
    let mut options = options();
    let before = options.clone();
    let error = set(&mut options).expect_err("it is refused");
    assert_eq!(options, before);
    let ParametersError::Invalid { name, reason } = error else { panic!("{error}") };
    for key in [PKCS8, PKCS1, SEC1, ENCRYPTED] {
        let secret = key.lines().nth(1).expect("a line of the key");
        assert!(!reason.contains(secret), "{reason}");
    }
    (name.to_owned(), reason)
}

#[test]
fn keys_of_each_form_are_read() {
    for (certificate, key) in [(RSA, PKCS8), (RSA, PKCS1), (EC, SEC1)] {
        options().set_client_certificate(certificate, key).expect(key);
    }
}

#[test]
fn certificates_and_keys_that_cannot_work_are_refused() {
    let given = |certificate: &'static str, key: &'static str| {
        refused(move |options| options.set_client_certificate(certificate, key).map(drop)).0
    };
    assert_eq!(given(RSA, SEC1), "client_certificate", "another's key");
    assert_eq!(given("", SEC1), "client_certificate");
    assert_eq!(given(SEC1, SEC1), "client_certificate", "no certificate");
    assert_eq!(given(EC, EC), "private_key", "no key");
    assert_eq!(given(EC, ""), "private_key");
    assert_eq!(given(EC, ENCRYPTED), "private_key");
    let broken = "-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n";
    assert_eq!(given(broken, SEC1), "client_certificate");
    let (name, reason) = refused(|options| {
        options.set_client_certificate_files("/no/such/client.pem", "client.key").map(drop)
    });
    assert_eq!(name, "client_certificate");
    assert!(reason.contains("/no/such/client.pem"), "{reason}");
}

#[test]
fn authorities_that_cannot_be_are_refused() {
    for pem in ["", "text", SEC1, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
    {
        let error = TlsOptions::with_ca_pem(pem).expect_err(pem);
        assert!(matches!(error, ParametersError::Invalid { name: "ca", .. }), "{error}");
    }
    let error = TlsOptions::with_ca_file("/no/such/ca.pem").expect_err("no file");
    assert!(error.to_string().contains("/no/such/ca.pem"), "{error}");
}

#[test]
fn server_names_that_cannot_be_are_refused() {
    for name in ["", "a b", "host:5671", "-", "*.example", "[::1]"] {
        let refused = refused(|options| options.set_server_name(name).map(drop));
        assert_eq!(refused.0, "server_name", "{name:?}");
    }
    for name in ["localhost", "broker.example", "10.0.0.1", "::1"] {
        options().set_server_name(name).expect(name);
    }
}

#[test]
fn options_are_equal_if_they_share_all() {
    let (one, other) = (options(), options());
    assert_eq!(one, one.clone());
    assert_ne!(one, other, "other roots");
    let mut named = one.clone();
    named.set_server_name("broker.example").expect("a name");
    assert_ne!(one, named);
    assert_eq!(TlsOptions::new(), TlsOptions::default());
}

#[test]
fn no_key_is_printed() {
    let mut options = options();
    options.set_client_certificate(EC, SEC1).expect("they belong together");
    let mut parameters = ConnectionParameters::default();
    parameters.set_tls(Some(options));
    let text = format!("{parameters:?}");
    assert!(text.contains("[redacted]") && text.len() < 2_000, "{text}");
}
