//! Where the broker is, for those that do not take a URL.

use percent_encoding::percent_decode_str;
use url::Url;

use crate::Result;

pub struct Endpoint {
    pub host: String,
    pub port: u16,
    pub user: String,
    pub password: String,
    pub virtual_host: String,
}

impl Endpoint {
    pub fn parse(url: &str) -> Result<Self> {
        let url = Url::parse(url)?;
        if url.scheme() != "amqp" {
            return Err(
                "the clients are compared without TLS: the URL is to begin with amqp:".into()
            );
        }
        let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let or = |text: &str, default: &str| decoded(if text.is_empty() { default } else { text });
        let path = url.path().trim_start_matches('/');
        Ok(Self {
            host: url.host_str().ok_or("a URL without a host")?.to_owned(),
            port: url.port().unwrap_or(5672),
            user: or(url.username(), "guest"),
            password: or(url.password().unwrap_or_default(), "guest"),
            virtual_host: or(path, "/"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_url_leaves_out_is_usual() {
        let at = Endpoint::parse("amqp://broker").unwrap();
        assert_eq!((at.host.as_str(), at.port), ("broker", 5672));
        assert_eq!((at.user.as_str(), at.password.as_str()), ("guest", "guest"));
        assert_eq!(at.virtual_host, "/");
    }

    #[test]
    fn tls_is_not_compared() {
        assert!(Endpoint::parse("amqps://broker").is_err());
    }

    #[test]
    fn what_is_in_it_is_decoded() {
        let at = Endpoint::parse("amqp://a%40b:c%2Fd@broker:1/%2f").unwrap();
        assert_eq!((at.user.as_str(), at.password.as_str(), at.port), ("a@b", "c/d", 1));
        assert_eq!(at.virtual_host, "/");
    }
}
