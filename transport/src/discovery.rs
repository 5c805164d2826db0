//! From `HOST:PORT` to where packets go. When to look again is the membership core's matter.

use std::net::SocketAddr;
use std::time::Duration;

use crate::core::Addr;
use crate::core::membership::ADDR_BYTES_MAX;

/// How long a look-up may take.
const LOOKUP_MAX: Duration = Duration::from_secs(2);
/// How many addresses of one host are tried.
const CANDIDATES_MAX: usize = 4;

/// Why a text is no address to dial.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not HOST:PORT: {reason}")]
pub struct InvalidAddr {
    /// The text.
    pub text: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

/// Checks that a text can be dialled: a host name or an IP address (IPv6 in brackets), a colon, a port above 0.
pub(crate) fn parse_addr(text: &str) -> Result<Addr, InvalidAddr> {
    let invalid = |reason| InvalidAddr { text: text.to_owned(), reason };
    if text.len() > ADDR_BYTES_MAX {
        return Err(invalid("it is too long"));
    }
    let (host, port) = text.rsplit_once(':').ok_or(invalid("it has no port"))?;
    if !port.parse::<u16>().is_ok_and(|port| port > 0) {
        return Err(invalid("its port is not a number from 1 to 65535"));
    }
    let bracketed = host.starts_with('[') && host.ends_with(']');
    if host.is_empty() || host.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(invalid("its host is empty or has blanks"));
    }
    if host.contains(':') && !bracketed {
        return Err(invalid("an IPv6 address goes in brackets"));
    }
    if text.parse::<SocketAddr>().is_ok_and(|addr| addr.ip().is_unspecified()) {
        return Err(invalid("it is the address of no host"));
    }
    Ok(text.into())
}

/// Looks an address up, anew each time. Only those that a socket bound to `local` can reach, in the resolver's order;
/// none if it cannot be looked up now.
pub(crate) async fn resolve(addr: &Addr, local: SocketAddr) -> Vec<SocketAddr> {
    match tokio::time::timeout(LOOKUP_MAX, tokio::net::lookup_host(addr.as_ref())).await {
        Ok(Ok(found)) => found.filter(|found| found.is_ipv4() == local.is_ipv4()).take(CANDIDATES_MAX).collect(),
        Ok(Err(error)) => {
            tracing::debug!(%addr, %error, "cannot look up");
            Vec::new()
        }
        Err(_) => {
            tracing::debug!(%addr, "looking up takes too long");
            Vec::new()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for good in ["127.0.0.1:7600", "localhost:1", "[::1]:7600", "n1.example.org:65535"] {
            assert_eq!(parse_addr(good).as_deref(), Ok(good));
        }
        for bad in ["", "7600", "host:", "host:0", "host:65536", ":7600", "::1:7600", "a b:1", "0.0.0.0:7600", "[::]:1"]
        {
            assert!(parse_addr(bad).is_err(), "{bad}");
        }
        assert!(parse_addr(&format!("{}:1", "h".repeat(300))).is_err());
    }
}
