//! The client through proxies: requests in absolute form, tunnels, and what goes around them.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    process::Command,
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use chimera_core::SystemClock;
use chimera_wire::{Call, Client, Endpoint, Limits, Proxy, WireError};
use rustls::{ServerConfig, ServerConnection, StreamOwned, pki_types::PrivateKeyDer};

const CERT: &[u8] = include_bytes!("tls/test-cert.der");
const KEY: &[u8] = include_bytes!("tls/test-key.der");
const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// Reads a head, or what comes of it.
fn head(stream: &mut impl Read) -> String {
    let mut all = Vec::new();
    let mut byte = [0];
    while !all.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|n| n == 1) {
        all.push(byte[0]);
    }
    String::from_utf8_lossy(&all).into_owned()
}

/// Listens; the heads that came are kept.
fn listen(
    talk: impl Fn(&str, &mut TcpStream) + Send + Sync + 'static,
) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let heads = Arc::new(Mutex::new(Vec::new()));
    let (seen, talk) = (Arc::clone(&heads), Arc::new(talk));
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let (seen, talk) = (Arc::clone(&seen), Arc::clone(&talk));
            thread::spawn(move || {
                loop {
                    let asked = head(&mut stream);
                    if asked.is_empty() {
                        return;
                    }
                    seen.lock().unwrap().push(asked.clone());
                    talk(&asked, &mut stream);
                }
            });
        }
    });
    (address, heads)
}

fn client(endpoint: &str, proxy: SocketAddr) -> Client {
    let limits = Limits { connect: Duration::from_secs(20), ..Limits::default() };
    let endpoint = Endpoint::parse(endpoint, 80).unwrap();
    let proxy = Proxy::parse(&proxy.to_string()).unwrap();
    let builder = Client::builder(endpoint, Arc::new(SystemClock::new())).limits(limits);
    builder.proxy(Some(proxy)).trust(CERT).unwrap().bearer("a-key").unwrap().build().unwrap()
}

fn ask(client: &Client) -> Result<String, WireError> {
    async_io::block_on(async {
        let bytes = client.send(&Call::get("/path")).await?.bytes(1000).await?;
        Ok(String::from_utf8(bytes.to_vec()).unwrap())
    })
}

#[test]
fn a_plain_request_is_told_to_the_proxy_in_full() {
    let (proxy, heads) = listen(|_, stream| drop(stream.write_all(OK)));
    let client = client("http://models.invalid:9/base", proxy);
    for _ in 0..2 {
        assert_eq!(ask(&client).unwrap(), "ok");
    }
    let heads = heads.lock().unwrap();
    assert_eq!(heads.len(), 2);
    for asked in &*heads {
        let lower = asked.to_ascii_lowercase();
        assert!(lower.starts_with("get http://models.invalid:9/base/path http/1.1\r\n"), "{asked}");
        assert!(lower.contains("\r\nhost: models.invalid:9\r\n"), "{asked}");
    }
}

/// A proxy that tunnels to one server whatever it is asked for, and counts no bytes.
fn tunnelling(to: SocketAddr, greeting: &'static [u8]) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    listen(move |_, stream| {
        let mut far = TcpStream::connect(to).unwrap();
        stream.write_all(greeting).ok();
        let (mut back, mut from) = (stream.try_clone().unwrap(), far.try_clone().unwrap());
        let other = thread::spawn(move || drop(std::io::copy(&mut from, &mut back)));
        std::io::copy(stream, &mut far).ok();
        far.shutdown(std::net::Shutdown::Both).ok();
        other.join().unwrap();
    })
}

/// A secure server.
fn secure() -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let config = ServerConfig::builder_with_provider(Arc::new(rustls_graviola::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![CERT.into()], PrivateKeyDer::Pkcs8(KEY.into()))
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let heads = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&heads);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (config, seen) = (Arc::clone(&config), Arc::clone(&seen));
            thread::spawn(move || {
                let mut secure = StreamOwned::new(ServerConnection::new(config).unwrap(), stream.unwrap());
                loop {
                    let asked = head(&mut secure);
                    if asked.is_empty() {
                        return;
                    }
                    seen.lock().unwrap().push(asked);
                    secure.write_all(OK).ok();
                }
            });
        }
    });
    (address, heads)
}

#[test]
fn a_secure_server_is_reached_through_a_tunnel_that_sees_no_request() {
    for greeting in [
        &b"HTTP/1.1 200 Connection established\r\n\r\n"[..],
        b"HTTP/1.0 200\r\nVia: us\r\n\r\n",
        b"HTTP/1.1 299 \r\nContent-Length: 0\r\n\r\n",
    ] {
        let (server, inside) = secure();
        let (proxy, outside) = tunnelling(server, greeting);
        let client = client(&format!("https://localhost:{}", server.port()), proxy);
        for _ in 0..2 {
            assert_eq!(ask(&client).unwrap(), "ok");
        }
        let outside = outside.lock().unwrap();
        assert_eq!(outside.len(), 1, "one tunnel serves both");
        let dug = format!("CONNECT localhost:{0} HTTP/1.1\r\nHost: localhost:{0}\r\n\r\n", server.port());
        assert_eq!(outside[0], dug, "the key stays inside");
        let inside = inside.lock().unwrap();
        assert!(inside.len() == 2 && inside[0].starts_with("GET /path HTTP/1.1\r\n"), "{inside:?}");
        assert!(inside[0].contains("Bearer a-key"));
    }
}

#[test]
fn a_tunnel_that_is_not_dug_is_an_error_that_names_the_proxy() {
    let cases: [(&'static [u8], &str); 8] = [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\n\r\n", "407"),
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", "403 Forbidden"),
        (b"HTTP/1.1 100 Continue\r\n\r\n", "100"),
        (b"HTTP/1.1 302 Found\r\nLocation: http://login/\r\n\r\n", "302"),
        (b"SSH 2 or so\r\n\r\n", "SSH"),
        (b"HTTP/1.1 2\r\n\r\n", "refuses"),
        (b"HTTP/1.1 200 Conn", "broke off"),
        (b"", "broke off"),
    ];
    for (said, why) in cases {
        let (proxy, _) = listen(move |_, stream| {
            stream.write_all(said).ok();
            stream.shutdown(std::net::Shutdown::Both).ok();
        });
        let error = ask(&client("https://models.invalid", proxy)).unwrap_err();
        assert_eq!(error.code(), "connect", "{error}");
        let told = error.to_string();
        assert!(told.contains(why) && told.contains(&proxy.to_string()), "{told}");
    }
}

#[test]
fn a_proxy_that_never_ends_its_answer_is_left() {
    let (endless, _) = listen(|_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nA: ").ok();
        while stream.write_all(&[b'x'; 4096]).is_ok() {}
    });
    let error = ask(&client("https://models.invalid", endless)).unwrap_err();
    assert!(error.code() == "connect" && error.to_string().contains("never ends"), "{error}");
    let (silent, _) = listen(|_, _| thread::sleep(Duration::from_secs(5)));
    let limits = Limits { connect: Duration::from_millis(300), ..Limits::default() };
    let endpoint = Endpoint::parse("https://models.invalid", 443).unwrap();
    let proxy = Proxy::parse(&silent.to_string()).unwrap();
    let builder = Client::builder(endpoint, Arc::new(SystemClock::new())).limits(limits);
    let error = ask(&builder.proxy(Some(proxy)).build().unwrap()).unwrap_err();
    assert_eq!(error.code(), "timeout", "{error}");
}

#[test]
fn a_proxy_that_is_not_there_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = listener.local_addr().unwrap();
    drop(listener);
    for endpoint in ["http://models.invalid", "https://models.invalid"] {
        let error = ask(&client(endpoint, nobody)).unwrap_err();
        assert_eq!(error.code(), "connect", "{error}");
        assert!(error.to_string().contains(&format!("the proxy {nobody}")), "{error}");
    }
}

/// What the environment of this process says, for [`the_environment_decides_as_for_other_tools`].
const SHOW: &str = "CHIMERA_WIRE_SHOW_PROXY_OF";

#[test]
fn the_environment_decides_as_for_other_tools() {
    if let Ok(address) = std::env::var(SHOW) {
        let chosen = Proxy::from_env(&Endpoint::parse(&address, 80).unwrap());
        let shown = match chosen {
            Ok(Some(proxy)) => proxy.endpoint().authority(),
            Ok(None) => "direct".to_owned(),
            Err(error) => format!("error {}", error.code()),
        };
        println!("chosen={shown};");
        return;
    }
    let both: &[(&str, &str)] = &[("http_proxy", "http://p.invalid:1"), ("HTTPS_PROXY", "s.invalid:2")];
    let with = |more: &[(&'static str, &'static str)]| [both, more].concat();
    for (address, vars, meant) in [
        ("http://far.invalid", with(&[]), "p.invalid:1"),
        ("https://far.invalid", with(&[]), "s.invalid:2"),
        ("http://127.0.0.1:11434", with(&[]), "direct"),
        ("http://127.9.9.9", with(&[]), "direct"),
        ("http://localhost:8080", with(&[]), "direct"),
        ("https://[::1]", with(&[]), "direct"),
        ("http://far.invalid", with(&[("no_proxy", "other, far.invalid")]), "direct"),
        ("http://a.far.invalid", with(&[("NO_PROXY", ".far.invalid")]), "direct"),
        ("http://far.invalid", with(&[("no_proxy", "ar.invalid")]), "p.invalid:1"),
        ("http://far.invalid:81", with(&[("no_proxy", "far.invalid:82")]), "p.invalid:1"),
        ("http://far.invalid:82", with(&[("no_proxy", "far.invalid:82")]), "direct"),
        ("http://10.1.2.3", with(&[("no_proxy", "10.0.0.0/8")]), "direct"),
        ("http://11.1.2.3", with(&[("no_proxy", "10.0.0.0/8")]), "p.invalid:1"),
        ("http://10.1.2.3", with(&[("no_proxy", "10.0.0.0/99")]), "p.invalid:1"),
        ("http://[fd00::5]:9", with(&[("no_proxy", "fd00::/8")]), "direct"),
        ("http://[fd00::5]:9", with(&[("no_proxy", "[fd00::5]")]), "direct"),
        ("http://[fd00::5]:9", with(&[("no_proxy", "[fd00::5]:9")]), "direct"),
        ("http://[fd00::5]:9", with(&[("no_proxy", "[fd00::5]:8")]), "p.invalid:1"),
        ("https://far.invalid", with(&[("no_proxy", "*")]), "direct"),
        ("http://far.invalid", vec![("all_proxy", "http://a.invalid:3")], "a.invalid:3"),
        ("http://far.invalid", vec![("https_proxy", "s.invalid:2")], "direct"),
        // What a request can set in a CGI program is not believed.
        ("http://far.invalid", vec![("HTTP_PROXY", "evil.invalid:1"), ("REQUEST_METHOD", "GET")], "direct"),
        // Going around a proxy in silence would be worse than an error.
        ("http://far.invalid", vec![("http_proxy", "http://me:secret@p.invalid:1")], "error address"),
        ("http://far.invalid", vec![("http_proxy", "socks5://p.invalid:1")], "error address"),
        ("https://far.invalid", vec![("https_proxy", "https://p.invalid")], "error address"),
    ] {
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", "the_environment_decides_as_for_other_tools", "--nocapture"]);
        for name in ["http_proxy", "https_proxy", "all_proxy", "no_proxy", "REQUEST_METHOD"] {
            child.env_remove(name).env_remove(name.to_ascii_uppercase());
        }
        let out = child.env(SHOW, address).envs(vars.iter().copied()).output().unwrap();
        let said = String::from_utf8_lossy(&out.stdout).into_owned();
        assert!(said.contains(&format!("chosen={meant};")), "{address} with {vars:?}: {said}");
    }
}
