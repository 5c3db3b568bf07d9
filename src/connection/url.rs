//! `amqp://user:password@host:port/vhost?key=value`, by RabbitMQ's URI rules.

use std::str::FromStr;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use url::Url;

use super::credentials::{AmqPlainCredentials, ExternalCredentials, PlainCredentials};
use super::heartbeat::Heartbeat;
use super::parameters::ConnectionParameters;
#[cfg(feature = "tls")]
use super::tls_options::TlsOptions;
use crate::error::ParametersError;

impl FromStr for ConnectionParameters {
    type Err = crate::Error;

    /// Reads `amqp://user:password@host:port/vhost?key=value`. Everything but the scheme may be
    /// left out; user, password, host and virtual host are percent-decoded. No path means the
    /// virtual host `/`, a path of `/` alone the virtual host with the empty name, as RabbitMQ's
    /// URI specification says. Keys, each at most once:
    ///
    /// - `auth_mechanism`: `plain` (the default), `amqplain`, or `external` with no user name;
    /// - `connection_attempts`, `retry_delay` (seconds), `socket_timeout` (seconds),
    ///   `stack_timeout` (seconds), `blocked_connection_timeout` (seconds);
    /// - `channel_max`, `frame_max`, `heartbeat` (seconds, to negotiate; 0 for none);
    /// - `connection_name`, `locale`;
    /// - of the TCP socket: `keepalive_time` (seconds), `keepalive_interval` (seconds),
    ///   `keepalive_retries`, `user_timeout` (seconds); see [`TcpOptions`](crate::TcpOptions);
    /// - with `amqps`: `cacertfile`, `certfile` and `keyfile` (paths, which are read now) and
    ///   `server_name_indication`; see `TlsOptions`.
    ///
    /// # Errors
    /// [`Error::Parameters`](crate::Error::Parameters) for what cannot be read, for an unknown or
    /// repeated key, and for a value outside its range. The text names the place, and never holds
    /// the password.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(parse(text)?)
    }
}

fn parse(text: &str) -> Result<ConnectionParameters, ParametersError> {
    if text.trim() != text || text.contains(|char: char| char.is_ascii_control()) {
        return Err(unreadable("there is white space at an end, or a control character in it"));
    }
    if text.contains('#') {
        // Before anything else: of what follows it, nothing would be read.
        return Err(unreadable("it has a fragment (a # in the password is written %23)"));
    }
    let url = Url::parse(text).map_err(|error| unreadable(error.to_string()))?;
    read(&url, text).map_err(|error| match url.query() {
        // What cannot be read may then be of the password.
        Some(query)
            if query.contains('@') && url.username().is_empty() && url.password().is_none() =>
        {
            unreadable("there is an @ behind a ? (a ? in the password is written %3F)")
        }
        _ => error,
    })
}

fn read(url: &Url, text: &str) -> Result<ConnectionParameters, ParametersError> {
    let mut parameters = ConnectionParameters::default();
    let mut keys = Keys::of(url)?;
    match url.scheme() {
        "amqp" => {}
        "amqps" => set_tls(&mut parameters, &mut keys)?,
        other => return Err(unreadable(format!("the scheme is {other:?}, not amqp or amqps"))),
    }
    if !text[url.scheme().len()..].starts_with("://") {
        // Otherwise the host would be part of the path.
        return Err(unreadable("// is missing behind the scheme"));
    }
    if let Some(host) = url.host_str().filter(|host| !host.is_empty()) {
        let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
        parameters.set_host(decode("host", host)?);
    }
    if let Some(port) = url.port() {
        parameters.set_port(port);
    }
    if let Some(virtual_host) = url.path().strip_prefix('/') {
        if virtual_host.contains('/') {
            return Err(unreadable(
                "its path has two parts (a / in the virtual host is written %2F)",
            ));
        }
        parameters.set_virtual_host(decode("virtual host", virtual_host)?)?;
    }
    set_credentials(&mut parameters, url, keys.take("auth_mechanism"))?;
    keys.set(&mut parameters)?;
    Ok(parameters)
}

fn set_credentials(
    parameters: &mut ConnectionParameters,
    url: &Url,
    mechanism: Option<String>,
) -> Result<(), ParametersError> {
    let userinfo = match (url.username(), url.password()) {
        ("", None) => None,
        (username, password) => Some((
            decode("user name", username)?,
            decode("password", password.unwrap_or_default())?,
        )),
    };
    let guest = || ("guest".to_owned(), "guest".to_owned());
    let mechanism = mechanism.unwrap_or_else(|| "PLAIN".to_owned());
    match &*mechanism.to_ascii_uppercase() {
        "PLAIN" => {
            let (username, password) = userinfo.unwrap_or_else(guest);
            parameters.set_credentials(PlainCredentials::new(username, password));
        }
        "AMQPLAIN" => {
            let (username, password) = userinfo.unwrap_or_else(guest);
            parameters.set_credentials(AmqPlainCredentials::new(username, password));
        }
        "EXTERNAL" if userinfo.is_some() => {
            return Err(unreadable("EXTERNAL has no use for its user name and password"));
        }
        "EXTERNAL" => drop(parameters.set_credentials(ExternalCredentials)),
        _ => return Err(unreadable(format!("unknown auth_mechanism {mechanism:?}"))),
    }
    Ok(())
}

#[cfg(feature = "tls")]
fn set_tls(parameters: &mut ConnectionParameters, keys: &mut Keys) -> Result<(), ParametersError> {
    let mut options = match keys.take("cacertfile") {
        Some(path) => TlsOptions::with_ca_file(path)?,
        None => TlsOptions::new(),
    };
    match (keys.take("certfile"), keys.take("keyfile")) {
        (Some(certificate), Some(key)) => {
            options.set_client_certificate_files(certificate, key)?;
        }
        (None, None) => {}
        _ => return Err(unreadable("of certfile and keyfile each needs the other")),
    }
    if let Some(name) = keys.take("server_name_indication") {
        options.set_server_name(&name)?;
    }
    parameters.set_tls(Some(options));
    Ok(())
}

#[cfg(not(feature = "tls"))]
fn set_tls(_: &mut ConnectionParameters, _: &mut Keys) -> Result<(), ParametersError> {
    Err(unreadable("amqps needs TLS, which this program is built without"))
}

/// The keys of the query and their values, none of which comes twice.
struct Keys(Vec<(String, String)>);

impl Keys {
    fn of(url: &Url) -> Result<Self, ParametersError> {
        let mut keys: Vec<(String, String)> = Vec::new();
        for (key, value) in url.query_pairs() {
            if keys.iter().any(|(known, _)| *known == key) {
                return Err(unreadable(format!("the key {key:?} is there twice")));
            }
            keys.push((key.into_owned(), value.into_owned()));
        }
        Ok(Self(keys))
    }

    fn take(&mut self, key: &str) -> Option<String> {
        let index = self.0.iter().position(|(known, _)| known == key)?;
        Some(self.0.remove(index).1)
    }

    /// Sets what is left.
    fn set(self, parameters: &mut ConnectionParameters) -> Result<(), ParametersError> {
        let mut tcp = parameters.tcp_options().clone();
        for (key, value) in self.0 {
            match &*key {
                "keepalive_interval" => drop(tcp.set_keepalive_interval(seconds(&key, &value)?)?),
                "keepalive_retries" => drop(tcp.set_keepalive_retries(number(&key, &value)?)?),
                "keepalive_time" => drop(tcp.set_keepalive_time(seconds(&key, &value)?)?),
                "user_timeout" => drop(tcp.set_user_timeout(seconds(&key, &value)?)?),
                _ => set(parameters, &key, value)?,
            }
        }
        parameters.set_tcp_options(tcp);
        Ok(())
    }
}

/// Sets what a key says that is of the connection alone.
fn set(
    parameters: &mut ConnectionParameters,
    key: &str,
    value: String,
) -> Result<(), ParametersError> {
    match key {
        "blocked_connection_timeout" => {
            parameters.set_blocked_connection_timeout(Some(seconds(key, &value)?))
        }
        "channel_max" => parameters.set_channel_max(number(key, &value)?)?,
        "connection_attempts" => parameters.set_connection_attempts(number(key, &value)?)?,
        "connection_name" => parameters.set_connection_name(value),
        "frame_max" => parameters.set_frame_max(number(key, &value)?)?,
        "heartbeat" => parameters.set_heartbeat(match number(key, &value)? {
            0 => Heartbeat::Exactly(0),
            seconds => Heartbeat::Negotiate(seconds),
        }),
        "locale" => parameters.set_locale(value)?,
        "retry_delay" => parameters.set_retry_delay(seconds(key, &value)?),
        "socket_timeout" => parameters.set_socket_timeout(Some(seconds(key, &value)?))?,
        "stack_timeout" => parameters.set_stack_timeout(Some(seconds(key, &value)?))?,
        _ => return Err(unreadable(format!("unknown key {key:?}"))),
    };
    Ok(())
}

fn unreadable(reason: impl Into<String>) -> ParametersError {
    ParametersError::Url(reason.into())
}

fn decode(what: &str, text: &str) -> Result<String, ParametersError> {
    match percent_decode_str(text).decode_utf8() {
        Ok(text) => Ok(text.into_owned()),
        Err(_) => Err(unreadable(format!("the {what} is not UTF-8"))),
    }
}

fn number<T: FromStr>(key: &str, value: &str) -> Result<T, ParametersError> {
    let out_of_range = |_| unreadable(format!("{key}={value:?} is not a number in its range"));
    value.parse().map_err(out_of_range)
}

fn seconds(key: &str, value: &str) -> Result<Duration, ParametersError> {
    let seconds: f64 = number(key, value)?;
    Duration::try_from_secs_f64(seconds)
        .map_err(|_| unreadable(format!("{key}={value:?} is not a number of seconds")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::TcpOptions;
    use crate::connection::sasl::answered_at_once;

    fn read(text: &str) -> ConnectionParameters {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    fn refusal(text: &str) -> String {
        text.parse::<ConnectionParameters>()
            .map(|p| panic!("{text}: {p:?}"))
            .unwrap_err()
            .to_string()
    }

    /// The mechanism, and what the broker is told.
    fn credentials(text: &str) -> (String, Vec<u8>) {
        let parameters = read(text);
        let credentials = parameters.credentials();
        let answered = answered_at_once(|answer| credentials.start(answer));
        (credentials.mechanism().to_owned(), answered.unwrap().unwrap().octets)
    }

    #[test]
    fn the_mechanism_is_a_key() {
        assert_eq!(credentials("amqp://?auth_mechanism=external"), ("EXTERNAL".into(), vec![]));
        let (mechanism, response) = credentials("amqp://me:it@h?auth_mechanism=AmqPlain");
        assert_eq!(mechanism, "AMQPLAIN");
        assert!(response.starts_with(b"\x05LOGINS\0\0\0\x02me"));
        assert_eq!(credentials("amqp://me:it@h?auth_mechanism=plain").0, "PLAIN");
        assert!(refusal("amqp://h?auth_mechanism=GSSAPI").contains("GSSAPI"));
        assert!(refusal("amqp://me:it@h?auth_mechanism=external").contains("EXTERNAL"));
    }

    #[test]
    fn every_part_may_be_left_out() {
        let default = format!("{:?}", ConnectionParameters::default());
        assert_eq!(format!("{:?}", read("amqp://")), default);
        assert_eq!(credentials("amqp://"), ("PLAIN".into(), b"\0guest\0guest".to_vec()));
        assert_eq!(read("amqp://h").host(), "h");
        assert_eq!((read("amqp://h").port(), read("amqp://h:1").port()), (5672, 1));
    }

    #[test]
    #[cfg(feature = "tls")]
    fn amqps_is_with_tls_and_on_its_port() {
        let parameters = read("amqps://h");
        assert_eq!((parameters.port(), parameters.tls()), (5671, Some(&TlsOptions::new())));
        assert_eq!(read("amqp://h").tls(), None);
    }

    #[test]
    fn virtual_host_forms() {
        assert_eq!(read("amqp://h").virtual_host(), "/");
        assert_eq!(read("amqp://h/").virtual_host(), "");
        assert_eq!(read("amqp://h/%2F").virtual_host(), "/");
        assert_eq!(read("amqp://h/a%2fb").virtual_host(), "a/b");
        assert_eq!(read("amqp://h/v").virtual_host(), "v");
        assert!(refusal("amqp://h/a/b").contains("%2F"));
    }

    #[test]
    fn parts_are_percent_decoded() {
        let parameters = read("amqp://us%65r:p%40ss%3A@%68ost:10000/v%68ost");
        let plain = |response: &[u8]| ("PLAIN".to_owned(), response.to_vec());
        let url = "amqp://us%65r:p%40ss%3A@h";
        assert_eq!(credentials(url), plain(b"\0user\0p@ss:"));
        assert_eq!(credentials("amqp://user@h"), plain(b"\0user\0"));
        assert_eq!(credentials("amqp://user:@h"), plain(b"\0user\0"));
        assert_eq!(credentials("amqp://:password@h"), plain(b"\0\0password"));
        assert_eq!(parameters.host(), "host");
        assert_eq!(parameters.virtual_host(), "vhost");
    }

    #[test]
    #[cfg(feature = "tls")]
    fn keys_of_tls() {
        assert_eq!(read("amqps://h?server_name_indication=other.example").port(), 5671);
        assert_eq!(read("amqps://h:1").port(), 1);
        assert!(refusal("amqps://h?server_name_indication=a%20b").contains("server_name"));
        assert!(refusal("amqps://h?cacertfile=/nowhere.pem").contains("/nowhere.pem"));
        assert!(refusal("amqps://h?certfile=/nowhere.pem").contains("keyfile"));
        assert!(refusal("amqps://h?keyfile=/nowhere.pem").contains("certfile"));
        assert!(refusal("amqps://h?verify=verify_none").contains("unknown key \"verify\""));
        // They are no keys without TLS.
        assert!(refusal("amqp://h?cacertfile=/nowhere.pem").contains("unknown key"));
    }

    #[test]
    #[cfg(not(feature = "tls"))]
    fn without_tls_there_is_no_amqps() {
        assert!(refusal("amqps://h").contains("TLS"));
    }

    #[test]
    fn ip_version_6_hosts_lose_their_brackets() {
        assert_eq!(read("amqp://[::1]:5/%2F").host(), "::1");
    }

    #[test]
    fn keys_set_parameters() {
        let parameters =
            read("amqp://h?channel_max=7&frame_max=8192&stack_timeout=0.5&socket_timeout=3");
        assert_eq!((parameters.channel_max(), parameters.frame_max()), (7, 8192));
        assert_eq!(parameters.stack_timeout(), Some(Duration::from_millis(500)));
        assert_eq!(parameters.socket_timeout(), Some(Duration::from_secs(3)));
        let parameters = read(
            "amqp://h?connection_attempts=3&retry_delay=0&connection_name=a%20b\
             &blocked_connection_timeout=1.5",
        );
        assert_eq!(
            (parameters.connection_attempts(), parameters.retry_delay()),
            (3, Duration::ZERO)
        );
        assert_eq!(parameters.connection_name(), Some("a b"));
        let blocked = parameters.blocked_connection_timeout();
        assert_eq!(blocked, Some(Duration::from_millis(1500)));
        assert_eq!(parameters.tcp_options(), &TcpOptions::default());
        assert_eq!(parameters.heartbeat(), Heartbeat::Negotiate(0));
        assert_eq!(read("amqp://h?heartbeat=9").heartbeat(), Heartbeat::Negotiate(9));
        assert_eq!(read("amqp://h?heartbeat=0").heartbeat(), Heartbeat::Exactly(0));
    }

    #[test]
    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn keys_set_options_of_the_socket() {
        let parameters = read(
            "amqp://h?keepalive_time=30&keepalive_interval=5&keepalive_retries=3&user_timeout=2.5",
        );
        let mut options = TcpOptions::default();
        options.set_keepalive_time(Duration::from_secs(30)).unwrap();
        options.set_keepalive_interval(Duration::from_secs(5)).unwrap();
        options.set_keepalive_retries(3).unwrap();
        options.set_user_timeout(Duration::from_millis(2500)).unwrap();
        assert_eq!(parameters.tcp_options(), &options);
        assert!(refusal("amqp://h?keepalive_time=0.5").contains("keepalive_time"));
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        assert!(refusal("amqp://h?hartbeat=1").contains("hartbeat"));
        assert!(refusal("amqp://h?locale=a&locale=b").contains("twice"));
        assert!(refusal("amqp://h?frame_max=1").contains("frame_max"));
        assert!(refusal("amqp://h?connection_attempts=0").contains("connection_attempts"));
        assert!(refusal("amqp://h?stack_timeout=-1").contains("stack_timeout"));
        assert!(refusal("http://h").contains("http"));
        assert!(refusal("h:5672/x").contains("not amqp"));
        assert_eq!(read("AMQP://h").host(), "h");
        assert!(refusal("amqp://h:99999").contains("port"));
        for misplaced in ["amqp:h", "amqp:/h", "amqp:", "amqp:h:5672/v"] {
            assert!(refusal(misplaced).contains("//"), "{misplaced}");
        }
        for blank in [" amqp://h", "amqp://h\n", "amqp://h/a\tb", "amqp://u:p\nw@h"] {
            assert!(refusal(blank).contains("control character"), "{blank:?}");
        }
        for fragment in ["amqp://u:p#w@h", "amqp://h#f", "amqp://h/v?heartbeat=1#"] {
            assert!(refusal(fragment).contains("%23"), "{fragment}");
        }
        for cut in
            ["amqp://u:12?s3cret@h", "amqp://u:12?heartbeat=s3cret@h", "amqp://u?s3cret&s3cret@h"]
        {
            let refusal = refusal(cut);
            assert!(refusal.contains("%3F") && !refusal.contains("s3cret"), "{refusal}");
        }
        assert!(read("amqp://h?connection_name=me@here").connection_name().is_some());
        assert!(refusal("amqp://u:p@h?key=me@here").contains("\"key\""));
        assert!(refusal("").contains("URL"));
        assert!(refusal(&format!("amqp://h/{}", "v".repeat(256))).contains("virtual_host"));
    }

    #[test]
    fn no_refusal_shows_the_password() {
        for rest in ["h:99999", "h?x=1", "h/a/b", "h?frame_max=1", "h#f"] {
            let text = refusal(&format!("amqp://user:geheim@{rest}"));
            assert!(!text.contains("geheim"), "{text}");
        }
        assert!(!format!("{:?}", read("amqp://user:geheim@h")).contains("geheim"));
    }
}
