//! Where a server listens: the parsed base address. Nothing is resolved or connected here.

use std::fmt;

use http::Uri;

use crate::WireError;

/// Scheme, host, port and base path of a server.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Endpoint {
    secure: bool,
    host: String,
    port: u16,
    base: String,
}

impl Endpoint {
    /// Reads `http://host:port/base`, `https://…`, or a bare `host`, `host:port` or `:port` as `OLLAMA_HOST` has it. Without
    /// a port `default_port` is taken for a bare host, and the scheme's own for a full address.
    ///
    /// # Errors
    /// [`WireError::Address`]: another scheme, user and password, a query, or no host.
    pub fn parse(address: &str, default_port: u16) -> Result<Self, WireError> {
        let wrong =
            |reason: &str| WireError::Address { address: redacted(address), reason: reason.to_owned() };
        let trimmed = address.trim();
        let (text, bare) = if trimmed.contains("://") {
            (trimmed.to_owned(), false)
        } else if let Some(port) = trimmed.strip_prefix(':') {
            (format!("http://127.0.0.1:{port}"), true)
        } else {
            (format!("http://{trimmed}"), true)
        };
        let uri: Uri = text.parse().map_err(|error: http::uri::InvalidUri| {
            wrong(&format!("{error} (expected http://HOST:PORT or https://HOST)"))
        })?;
        let secure = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(wrong("its scheme is neither http nor https")),
        };
        let authority = uri.authority().ok_or_else(|| wrong("it has no host"))?;
        if authority.as_str().contains('@') {
            return Err(wrong("a user and a password in an address end up in logs: give a token instead"));
        }
        if uri.query().is_some() {
            return Err(wrong("it has a query"));
        }
        let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(|| wrong("it has no host"))?;
        // A port that does not fit is no port for the parser; it must not become the default in silence.
        let port = match uri.port_u16() {
            Some(port) => port,
            None if authority.as_str().len() > host.len() => return Err(wrong("its port is no port")),
            None if bare => default_port,
            None if secure => 443,
            None => 80,
        };
        // A wildcard is where a server listens; a client reaches it on loopback.
        let host = match host {
            "0.0.0.0" => "127.0.0.1",
            "[::]" => "[::1]",
            other => other,
        };
        let base = uri.path().trim_end_matches('/').to_owned();
        Ok(Self { secure, host: host.to_owned(), port, base })
    }

    /// Whether TLS is spoken.
    #[must_use]
    pub fn is_secure(&self) -> bool {
        self.secure
    }

    /// Host as it stands in the address, IPv6 in brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Host without the brackets of IPv6.
    #[must_use]
    pub fn bare_host(&self) -> &str {
        self.host.trim_start_matches('[').trim_end_matches(']')
    }

    /// Port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// `host:port`.
    #[must_use]
    pub fn authority(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// The path of `path` (which begins with a slash) below the base path.
    #[must_use]
    pub fn path(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// Whether the server is on this machine.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        let host = self.bare_host();
        host.eq_ignore_ascii_case("localhost")
            || host.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback())
    }
}

/// An address, or a name that holds one, without what may be a user and a password.
#[must_use]
pub fn redacted(address: &str) -> String {
    match address.rsplit_once('@') {
        Some((before, host)) => match before.split_once("://") {
            Some((scheme, _)) => format!("{scheme}://…@{host}"),
            None => format!("…@{host}"),
        },
        None => address.to_owned(),
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.secure { "https" } else { "http" };
        write!(f, "{scheme}://{}:{}{}", self.host, self.port, self.base)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(address: &str) -> String {
        Endpoint::parse(address, 11434)
            .map_or_else(|error| error.to_string(), |endpoint| endpoint.to_string())
    }

    #[test]
    fn addresses_are_read_as_their_users_mean_them() {
        for (given, meant) in [
            ("http://127.0.0.1:8080/", "http://127.0.0.1:8080"),
            ("https://models.example/v1/", "https://models.example:443/v1"),
            ("http://models.example", "http://models.example:80"),
            ("localhost", "http://localhost:11434"),
            ("box:9", "http://box:9"),
            (":9999", "http://127.0.0.1:9999"),
            ("0.0.0.0:11434", "http://127.0.0.1:11434"),
            ("[::1]:80", "http://[::1]:80"),
        ] {
            assert_eq!(shown(given), meant);
        }
        assert!(Endpoint::parse("[::1]", 1).unwrap().is_loopback());
        assert!(!Endpoint::parse("10.0.0.1", 1).unwrap().is_loopback());
    }

    #[test]
    fn what_cannot_be_used_is_refused_and_no_password_is_shown() {
        for (given, why) in [
            ("ftp://x", "neither http nor https"),
            ("http://", "expected http"),
            ("http://x:99999", "port"),
            ("http://x/?a=1", "query"),
        ] {
            assert!(shown(given).contains(why), "{given}: {}", shown(given));
        }
        let told = shown("http://me:secret@host:1");
        assert!(told.contains("token") && !told.contains("secret"), "{told}");
    }
}
