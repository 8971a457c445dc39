//! HTTP proxies: which one an address is reached through. Plain requests go through it in absolute form, TLS through a
//! `CONNECT` tunnel, which is dug here.

use std::{env, future::poll_fn, io, net::IpAddr};

use crate::{Endpoint, WireError, transport::Transport};

/// The longest answer to `CONNECT` that is read.
const MOST_HEAD: usize = 16 * 1024;
/// Bytes of a refusal that are shown.
const MOST_SHOWN: usize = 200;

/// A proxy without credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proxy {
    at: Endpoint,
}

impl Proxy {
    /// A proxy at `http://host:port`.
    ///
    /// # Errors
    /// [`WireError::Address`]; also for a proxy behind TLS or with credentials, which are not supported.
    pub fn parse(address: &str) -> Result<Self, WireError> {
        let at = Endpoint::parse(address, 8080)?;
        if at.is_secure() {
            let reason = "a proxy that is itself behind TLS is not supported".to_owned();
            return Err(WireError::Address { address: address.to_owned(), reason });
        }
        Ok(Self { at })
    }

    /// The proxy that the environment names for an endpoint: `https_proxy` or `http_proxy`, then `all_proxy`, unless
    /// `no_proxy` lists the host; upper case counts too, except `HTTP_PROXY` inside a CGI program, where a request can set
    /// it. This machine is always reached without one.
    ///
    /// # Errors
    /// [`WireError::Address`] for a proxy that cannot be used: going around it in silence would be worse.
    pub fn from_env(endpoint: &Endpoint) -> Result<Option<Self>, WireError> {
        chosen(endpoint, |name| {
            let cgi = name == "HTTP_PROXY" && env::var_os("REQUEST_METHOD").is_some();
            if cgi { None } else { env::var(name).ok() }
        })
        .map(|address| Self::parse(&address))
        .transpose()
    }

    /// Where it listens.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        &self.at
    }
}

fn chosen(endpoint: &Endpoint, get: impl Fn(&str) -> Option<String>) -> Option<String> {
    if endpoint.is_loopback() {
        return None;
    }
    let set = |names: [&str; 2]| names.into_iter().find_map(&get).filter(|value| !value.trim().is_empty());
    let excepted = set(["no_proxy", "NO_PROXY"]).is_some_and(|list| {
        list.split(',').map(str::trim).any(|entry| excepts(entry, endpoint.bare_host(), endpoint.port()))
    });
    if excepted {
        return None;
    }
    let own =
        if endpoint.is_secure() { ["https_proxy", "HTTPS_PROXY"] } else { ["http_proxy", "HTTP_PROXY"] };
    set(own).or_else(|| set(["all_proxy", "ALL_PROXY"]))
}

/// Whether an entry of `no_proxy` names a host: itself, a domain that it lies in, a range of addresses (`10.0.0.0/8`), `*`,
/// each with or without a port.
fn excepts(entry: &str, host: &str, port: u16) -> bool {
    if entry == "*" {
        return true;
    }
    // The colons of an address of IPv6 without brackets are no port's.
    let entry = match entry.rsplit_once(':') {
        Some((name, digits))
            if (!name.contains(':') || name.ends_with(']')) && digits.parse::<u16>().is_ok() =>
        {
            if digits != port.to_string() {
                return false;
            }
            name
        }
        _ => entry,
    };
    let entry = entry.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(entry);
    if let Some((network, bits)) = entry.split_once('/') {
        return in_range(network, bits, host);
    }
    let entry = entry.trim_start_matches("*.").trim_start_matches('.').to_ascii_lowercase();
    let host = host.to_ascii_lowercase();
    !entry.is_empty()
        && (host == entry || host.strip_suffix(&entry).is_some_and(|front| front.ends_with('.')))
}

/// Whether an address begins with the same bits as a network.
fn in_range(network: &str, bits: &str, host: &str) -> bool {
    let (Ok(network), Ok(host), Ok(bits)) = (network.parse(), host.parse(), bits.parse::<u32>()) else {
        return false;
    };
    let (a, b, length) = match (network, host) {
        (IpAddr::V4(a), IpAddr::V4(b)) => (u128::from(a.to_bits()), u128::from(b.to_bits()), 32),
        (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits(), b.to_bits(), 128),
        _ => return false,
    };
    let Some(rest) = u32::checked_sub(length, bits) else { return false };
    // Shifted by all of its bits, everything is equal.
    (a ^ b).checked_shr(rest).unwrap_or(0) == 0
}

/// Digs a tunnel to `target` through a connection to `proxy`.
pub(crate) async fn tunnel(
    transport: &mut dyn Transport,
    proxy: &Endpoint,
    target: &Endpoint,
) -> io::Result<()> {
    let authority = target.authority();
    let request = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n");
    let mut rest = request.as_bytes();
    while !rest.is_empty() {
        let sent = poll_fn(|cx| transport.poll_send(cx, rest)).await?;
        if sent == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        rest = rest.get(sent..).unwrap_or_default();
    }
    let mut head = Vec::new();
    // One byte at a time: what follows the head belongs to the tunnel.
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        let received = poll_fn(|cx| transport.poll_receive(cx, &mut byte)).await?;
        if received.bytes == 0 || head.len() > MOST_HEAD {
            let what = if received.bytes == 0 { "broke off" } else { "never ends" };
            return Err(io::Error::other(format!(
                "the proxy {} {what} its answer to CONNECT",
                proxy.authority()
            )));
        }
        head.push(byte[0]);
    }
    let line = head.split(|byte| matches!(byte, b'\r' | b'\n')).next().unwrap_or_default();
    let status = line.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
    // Whatever else says something with a 2 in it has not connected us to anybody.
    if line.starts_with(b"HTTP/1.") && matches!(status, [b'2', _, _]) {
        return Ok(());
    }
    let line = String::from_utf8_lossy(line.get(..MOST_SHOWN).unwrap_or(line)).replace(char::is_control, " ");
    Err(io::Error::other(format!("the proxy {} refuses a tunnel to {authority}: {line}", proxy.authority())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choice(address: &str, vars: &[(&str, &str)]) -> Option<String> {
        let endpoint = Endpoint::parse(address, 80).unwrap();
        chosen(&endpoint, |name| {
            vars.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn the_environment_is_read_as_by_other_tools() {
        let vars = [
            ("http_proxy", "http://p:1"),
            ("HTTPS_PROXY", "http://s:2"),
            ("no_proxy", "intern, .corp:80 ,10.0.0.1"),
        ];
        assert_eq!(choice("http://far", &vars).as_deref(), Some("http://p:1"));
        assert_eq!(choice("https://far", &vars).as_deref(), Some("http://s:2"));
        for direct in
            ["http://intern", "http://a.intern", "http://x.corp", "http://10.0.0.1", "http://127.0.0.1:9"]
        {
            assert_eq!(choice(direct, &vars), None, "{direct}");
        }
        assert!(choice("http://x.corp:81", &vars).is_some());
        assert!(choice("http://notintern", &vars).is_some());
        assert_eq!(choice("http://far", &[("ALL_PROXY", "p:3")]).as_deref(), Some("p:3"));
        assert_eq!(choice("http://far", &[("ALL_PROXY", "p:3"), ("NO_PROXY", "*")]), None);
        assert!(Proxy::parse("https://p").is_err());
        assert!(Proxy::parse("http://u:p@p").is_err());
    }
}
