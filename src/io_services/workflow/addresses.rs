//! The addresses of a host, in the order to try them.

use std::collections::VecDeque;
use std::net::SocketAddr;

/// Orders as RFC 8305 does (section 4): the resolver's order, which is that of RFC 6724, with the
/// two families taking turns. The family that the resolver prefers begins. No address comes twice.
pub(super) fn interleave(resolved: Vec<SocketAddr>) -> VecDeque<SocketAddr> {
    let mut unique = Vec::with_capacity(resolved.len());
    for address in resolved {
        if !unique.contains(&address) {
            unique.push(address);
        }
    }
    let first_is_v6 = unique.first().is_some_and(SocketAddr::is_ipv6);
    let (preferred, other): (Vec<_>, Vec<_>) =
        unique.into_iter().partition(|address| address.is_ipv6() == first_is_v6);
    let mut other = other.into_iter();
    let mut ordered = VecDeque::new();
    for address in preferred {
        ordered.push_back(address);
        ordered.extend(other.next());
    }
    ordered.extend(other);
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ordered(resolved: &[&str]) -> Vec<String> {
        let resolved = resolved.iter().map(|ip| SocketAddr::new(ip.parse().unwrap(), 1)).collect();
        interleave(resolved).iter().map(|address| address.ip().to_string()).collect()
    }

    #[test]
    fn families_take_turns_and_the_resolvers_first_begins() {
        assert_eq!(ordered(&["::1", "::2", "::3", "10.0.0.1"]), ["::1", "10.0.0.1", "::2", "::3"]);
        assert_eq!(
            ordered(&["10.0.0.1", "::1", "10.0.0.2", "10.0.0.3", "::2"]),
            ["10.0.0.1", "::1", "10.0.0.2", "::2", "10.0.0.3"]
        );
        assert_eq!(ordered(&["10.0.0.1", "10.0.0.2"]), ["10.0.0.1", "10.0.0.2"]);
        assert_eq!(ordered(&["10.0.0.1", "::1", "::2"]), ["10.0.0.1", "::1", "::2"]);
        assert_eq!(ordered(&[]), [""; 0]);
    }

    #[test]
    fn no_address_comes_twice() {
        assert_eq!(ordered(&["::1", "127.0.0.1", "::1", "127.0.0.1"]), ["::1", "127.0.0.1"]);
    }
}
