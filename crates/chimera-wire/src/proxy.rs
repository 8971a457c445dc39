//! HTTP proxies: which one an address is reached through. Plain requests go through it in absolute form, TLS through a
//! `CONNECT` tunnel, which is dug here.

use std::{env, future::poll_fn, io};

use crate::{Endpoint, WireError, transport::Transport};

/// The longest answer to `CONNECT` that is read.
const MOST_HEAD: usize = 16 * 1024;

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

/// Whether an entry of `no_proxy` names a host: itself, a domain that it lies in, `*`, each with or without a port.
fn excepts(entry: &str, host: &str, port: u16) -> bool {
    if entry == "*" {
        return true;
    }
    let entry = match entry.rsplit_once(':') {
        Some((name, digits)) if !name.contains(':') && digits.parse::<u16>().is_ok() => {
            if digits != port.to_string() {
                return false;
            }
            name
        }
        _ => entry,
    };
    let entry = entry.trim_start_matches("*.").trim_start_matches('.').to_ascii_lowercase();
    let host = host.to_ascii_lowercase();
    !entry.is_empty()
        && (host == entry || host.strip_suffix(&entry).is_some_and(|front| front.ends_with('.')))
}

/// Digs a tunnel to `target` through a connection to a proxy.
pub(crate) async fn tunnel(transport: &mut dyn Transport, target: &Endpoint) -> io::Result<()> {
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
            return Err(io::Error::other("the proxy ended or never ended its answer to CONNECT"));
        }
        head.push(byte[0]);
    }
    let status = head.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
    if status.first() == Some(&b'2') {
        return Ok(());
    }
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    Err(io::Error::other(format!("the proxy refuses the tunnel: {}", String::from_utf8_lossy(line))))
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
