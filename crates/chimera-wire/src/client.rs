//! A client of one server: connections that are used again, limits, and requests. What is asked and what the answer means
//! is not known here.

use std::{
    fmt,
    fs::File,
    future::{Future, poll_fn},
    io,
    path::PathBuf,
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
    task::Poll,
    time::Duration,
};

use bytes::Bytes;
use chimera_core::Clock;
use futures_util::future::{Either, select};
use http::{HeaderName, HeaderValue, Method, Request, header};
use rustls::{ClientConfig, RootCertStore};

use crate::{
    Answer, AsyncIo, Body, Connector, Endpoint, Lag, LagMeter, Proxy, WireError, link::Link,
    outgoing::Outgoing, proxy, stamped::Stamped, tls,
};

/// Idle connections kept.
const MOST_IDLE: usize = 256;

/// How long and how much is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Until a connection stands, TLS included.
    pub connect: Duration,
    /// Until the head of an answer is there. A server may load a model first.
    pub head: Duration,
    /// Until the next part of a body is there.
    pub stall: Duration,
    /// Bytes of one body.
    pub body: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            head: Duration::from_secs(600),
            stall: Duration::from_secs(300),
            body: 1 << 30,
        }
    }
}

/// One request.
#[derive(Debug, Clone)]
pub struct Call {
    method: Method,
    path: String,
    body: Bytes,
    /// A file and how many bytes of it are sent instead of `body`.
    file: Option<(PathBuf, u64)>,
    accept: &'static str,
}

impl Call {
    /// Asks for something.
    pub fn get(path: impl Into<String>) -> Self {
        Self {
            method: Method::GET,
            path: path.into(),
            body: Bytes::new(),
            file: None,
            accept: "application/json",
        }
    }

    /// Sends JSON.
    pub fn post(path: impl Into<String>, json: impl Into<Bytes>) -> Self {
        Self {
            method: Method::POST,
            path: path.into(),
            body: json.into(),
            file: None,
            accept: "application/json",
        }
    }

    /// Sends the first `length` bytes of a file, which is opened when the request is sent and read while it goes out: memory
    /// does not grow with it.
    pub fn upload(path: impl Into<String>, file: impl Into<PathBuf>, length: u64) -> Self {
        Self { file: Some((file.into(), length)), ..Self::post(path, Bytes::new()) }
    }

    /// Another method.
    #[must_use]
    pub fn method(mut self, method: Method) -> Self {
        self.method = method;
        self
    }

    /// What kind of answer is wanted, `text/event-stream` for instance.
    #[must_use]
    pub fn accept(mut self, accept: &'static str) -> Self {
        self.accept = accept;
        self
    }
}

/// What clients of one server share.
pub(crate) struct Pool {
    pub(crate) endpoint: Endpoint,
    /// The endpoint in errors.
    pub(crate) name: String,
    pub(crate) limits: Limits,
    pub(crate) clock: Arc<dyn Clock>,
    connector: Arc<dyn Connector>,
    proxy: Option<Proxy>,
    trust: Option<Arc<ClientConfig>>,
    headers: Vec<(HeaderName, HeaderValue)>,
    meter: Arc<LagMeter>,
    idle: Mutex<Vec<Link>>,
}

impl Pool {
    pub(crate) fn give_back(&self, mut link: Link) {
        link.used = true;
        if !link.is_usable() {
            return;
        }
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < MOST_IDLE {
            idle.push(link);
        }
    }

    fn idle(&self) -> Option<Link> {
        loop {
            let mut link = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()?;
            if link.is_usable() {
                return Some(link);
            }
        }
    }

    pub(crate) fn lost(&self, error: &hyper::Error) -> WireError {
        let mut reason = error.to_string();
        let mut source = std::error::Error::source(error);
        let mut hostile = error.is_parse() || error.is_parse_too_large();
        while let Some(cause) = source {
            // What our own I/O refuses to pass on, and chunks that are none.
            hostile |= cause.downcast_ref::<io::Error>().is_some_and(|error| {
                matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput)
            });
            let text = cause.to_string();
            if !reason.contains(&text) {
                reason = format!("{reason}: {text}");
            }
            source = cause.source();
        }
        let endpoint = self.name.clone();
        if hostile {
            WireError::Protocol { endpoint, detail: reason }
        } else {
            WireError::Lost { endpoint, reason }
        }
    }

    async fn open(&self) -> Result<Link, WireError> {
        let connecting = pin!(self.connect());
        let late = self.clock.sleep_until(self.clock.now().after(self.limits.connect));
        match select(connecting, late).await {
            Either::Left((link, _)) => link,
            Either::Right(_) => Err(WireError::Timeout {
                endpoint: self.name.clone(),
                what: "connecting",
                limit: self.limits.connect,
            }),
        }
    }

    async fn connect(&self) -> Result<Link, WireError> {
        let failed = |source| WireError::Connect { endpoint: self.name.clone(), source };
        let first = self.proxy.as_ref().map_or(&self.endpoint, Proxy::endpoint);
        let mut transport =
            self.connector.connect(first.bare_host(), first.port()).await.map_err(|error| {
                match &self.proxy {
                    // The one that does not answer is not the one that was asked.
                    Some(proxy) => failed(io::Error::new(
                        error.kind(),
                        format!("the proxy {}: {error}", proxy.endpoint().authority()),
                    )),
                    None => failed(error),
                }
            })?;
        if self.endpoint.is_secure() {
            if let Some(proxy) = &self.proxy {
                proxy::tunnel(&mut *transport, proxy.endpoint(), &self.endpoint).await.map_err(failed)?;
            }
            let refused = |reason: String| WireError::Tls { endpoint: self.name.clone(), reason };
            let trust = match &self.trust {
                Some(trust) => Arc::clone(trust),
                None => tls::system_trust().map_err(refused)?,
            };
            transport = tls::connect(transport, self.endpoint.bare_host(), trust)
                .await
                .map_err(|error| refused(error.to_string()))?;
        }
        let stamped = Stamped::new(transport, Arc::clone(&self.clock), Arc::clone(&self.meter));
        Link::open(stamped).await.map_err(|error| self.lost(&error))
    }

    fn request(&self, call: &Call) -> Result<Request<Outgoing>, WireError> {
        let path = self.endpoint.path(&call.path);
        // A proxy that does not tunnel is told the whole address.
        let target = if self.proxy.is_some() && !self.endpoint.is_secure() {
            format!("http://{}{path}", self.endpoint.authority())
        } else {
            path
        };
        let mut request = Request::builder()
            .method(call.method.clone())
            .uri(target)
            .header(header::HOST, self.endpoint.authority())
            .header(header::USER_AGENT, concat!("chimeraforge/", env!("CARGO_PKG_VERSION")))
            .header(header::ACCEPT, call.accept)
            // What is compressed is not stamped token by token, and it can grow without end.
            .header(header::ACCEPT_ENCODING, "identity");
        let body = match &call.file {
            Some((path, length)) => {
                request = request.header(header::CONTENT_TYPE, "application/octet-stream");
                let file = File::open(path).map_err(|error| WireError::Lost {
                    endpoint: self.name.clone(),
                    reason: format!("{} cannot be sent: {error}", path.display()),
                })?;
                Outgoing::file(file, *length)
            }
            None => Outgoing::Whole(call.body.clone()),
        };
        if !call.body.is_empty() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        request.body(body).map_err(|error| WireError::Address {
            address: format!("{}{}", self.name, call.path),
            reason: error.to_string(),
        })
    }
}

/// A client of one server. Clones share connections.
#[derive(Clone)]
pub struct Client {
    pool: Arc<Pool>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Headers may hold a key.
        f.debug_struct("Client").field("endpoint", &self.pool.name).finish_non_exhaustive()
    }
}

/// Makes a [`Client`].
pub struct ClientBuilder {
    endpoint: Endpoint,
    clock: Arc<dyn Clock>,
    connector: Arc<dyn Connector>,
    proxy: Option<Proxy>,
    trust: Option<RootCertStore>,
    limits: Limits,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl fmt::Debug for ClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientBuilder").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

impl ClientBuilder {
    /// Sockets of another reactor.
    #[must_use]
    pub fn connector(mut self, connector: Arc<dyn Connector>) -> Self {
        self.connector = connector;
        self
    }

    /// Goes through a proxy. Without this call no proxy is used; see [`Proxy::from_env`].
    #[must_use]
    pub fn proxy(mut self, proxy: Option<Proxy>) -> Self {
        self.proxy = proxy;
        self
    }

    /// Trusts these certificates instead of the system's (DER). For servers with a certificate of their own.
    ///
    /// # Errors
    /// [`WireError::Tls`] for bytes that are no certificate.
    pub fn trust(mut self, der: &[u8]) -> Result<Self, WireError> {
        let mut roots = self.trust.take().unwrap_or_else(RootCertStore::empty);
        roots.add(rustls::pki_types::CertificateDer::from(der.to_vec())).map_err(|error| WireError::Tls {
            endpoint: self.endpoint.to_string(),
            reason: error.to_string(),
        })?;
        self.trust = Some(roots);
        Ok(self)
    }

    /// Sets the limits.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Sends `Authorization: Bearer TOKEN` with every request. The token is never shown.
    ///
    /// # Errors
    /// [`WireError::Address`] for a token that no header can hold.
    pub fn bearer(self, token: &str) -> Result<Self, WireError> {
        self.header("authorization", &format!("Bearer {token}"))
    }

    /// Sends a header with every request. Its value is never shown.
    ///
    /// # Errors
    /// [`WireError::Address`] for a name or a value that no header can have.
    pub fn header(mut self, name: &str, value: &str) -> Result<Self, WireError> {
        let wrong = |reason: &str| WireError::Address {
            address: self.endpoint.to_string(),
            reason: format!("the header `{name}` {reason}"),
        };
        let key: HeaderName = name.parse().map_err(|_| wrong("has a name that no header can have"))?;
        let mut value =
            HeaderValue::from_str(value).map_err(|_| wrong("has a value that no header can have"))?;
        value.set_sensitive(true);
        self.headers.push((key, value));
        Ok(self)
    }

    /// The client. Nothing is connected yet.
    ///
    /// # Errors
    /// [`WireError::Tls`] when the given certificates make no configuration.
    pub fn build(self) -> Result<Client, WireError> {
        let name = self.endpoint.to_string();
        let trust = self
            .trust
            .map(tls::config)
            .transpose()
            .map_err(|reason| WireError::Tls { endpoint: name.clone(), reason })?;
        let meter = Arc::new(LagMeter::new(&*self.clock));
        Ok(Client {
            pool: Arc::new(Pool {
                name,
                endpoint: self.endpoint,
                limits: self.limits,
                clock: self.clock,
                connector: self.connector,
                proxy: self.proxy,
                trust,
                headers: self.headers,
                meter,
                idle: Mutex::new(Vec::new()),
            }),
        })
    }
}

impl Client {
    /// A client whose stamps are those of `clock`, on [`AsyncIo`] sockets, without a proxy.
    #[must_use]
    pub fn builder(endpoint: Endpoint, clock: Arc<dyn Clock>) -> ClientBuilder {
        ClientBuilder {
            endpoint,
            clock,
            connector: Arc::new(AsyncIo::new()),
            proxy: None,
            trust: None,
            limits: Limits::default(),
            headers: Vec::new(),
        }
    }

    /// The server.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        &self.pool.endpoint
    }

    /// How late this client was so far.
    #[must_use]
    pub fn lag(&self) -> Lag {
        self.pool.meter.lag()
    }

    /// The meter itself, for whoever reports it when the client is gone.
    #[must_use]
    pub fn lag_meter(&self) -> Arc<LagMeter> {
        Arc::clone(&self.pool.meter)
    }

    /// Sends a request and waits for the head of the answer. A connection that the server closed while it was idle is
    /// replaced once, which is safe: nothing of an answer had come.
    ///
    /// Dropping the future closes the connection.
    ///
    /// # Errors
    /// See [`WireError`]. A redirect and a compressed answer are errors: the first would time another server than the one
    /// that was asked (and show it the key), the second hides when tokens come. Any other status is an answer.
    pub async fn send(&self, call: &Call) -> Result<Answer, WireError> {
        let pool = &self.pool;
        loop {
            let link = match pool.idle() {
                Some(link) => link,
                None => pool.open().await?,
            };
            let used = link.used;
            match self.ask(link, call).await {
                Ok(answer) => return checked(answer, pool),
                Err(Asked::Stale) if used => {}
                Err(Asked::Stale) => {
                    let reason = "it was closed before anything was answered".to_owned();
                    return Err(WireError::Lost { endpoint: pool.name.clone(), reason });
                }
                Err(Asked::Failed(error)) => return Err(error),
            }
        }
    }

    async fn ask(&self, mut link: Link, call: &Call) -> Result<Answer, Asked> {
        let pool = &self.pool;
        let request = pool.request(call).map_err(Asked::Failed)?;
        link.tape.lock().begin();
        let asked_at = pool.clock.now();
        let mut late = pool.clock.sleep_until(asked_at.after(pool.limits.head));
        let mut answer = pin!(link.sender.send_request(request));
        let tape = link.tape.clone();
        let outcome = {
            let link = &mut link;
            poll_fn(|cx| {
                // Driving moves the request out and the head in; the answer is looked at on both sides of it.
                if let Poll::Ready(done) = answer.as_mut().poll(cx) {
                    return Poll::Ready(Some(done));
                }
                link.drive(cx);
                if let Poll::Ready(done) = answer.as_mut().poll(cx) {
                    return Poll::Ready(Some(done));
                }
                late.as_mut().poll(cx).map(|()| None)
            })
            .await
        };
        let response = match outcome {
            Some(Ok(response)) => response,
            Some(Err(error)) => {
                let nothing = tape.lock().is_unanswered();
                let closed = error.is_canceled() || error.is_closed() || error.is_incomplete_message();
                return Err(if nothing && (closed || link.used) {
                    Asked::Stale
                } else {
                    Asked::Failed(pool.lost(&error))
                });
            }
            None => {
                let (what, limit) = ("the beginning of the answer", pool.limits.head);
                return Err(Asked::Failed(WireError::Timeout { endpoint: pool.name.clone(), what, limit }));
            }
        };
        let (head, incoming) = response.into_parts();
        let (sent, headers_at) = {
            let tape = tape.lock();
            (tape.sent().unwrap_or(asked_at), tape.head().unwrap_or_else(|| pool.clock.now()))
        };
        let body = Body::new(link, incoming, headers_at, Arc::clone(pool));
        Ok(Answer { sent, headers_at, status: head.status, headers: head.headers, body })
    }
}

/// Why nothing was answered.
enum Asked {
    /// The connection was closed before anything came.
    Stale,
    Failed(WireError),
}

fn checked(answer: Answer, pool: &Pool) -> Result<Answer, WireError> {
    let protocol = |detail: String| Err(WireError::Protocol { endpoint: pool.name.clone(), detail });
    if answer.status.is_redirection() {
        let to = answer.headers.get(header::LOCATION).and_then(|value| value.to_str().ok());
        return protocol(format!(
            "a redirect ({}) to {}, which is not followed: give the address of the server itself",
            answer.status,
            to.unwrap_or("nowhere")
        ));
    }
    let encoding = answer.headers.get(header::CONTENT_ENCODING).map(HeaderValue::as_bytes);
    if let Some(encoding) = encoding.filter(|encoding| !encoding.eq_ignore_ascii_case(b"identity")) {
        let encoding = String::from_utf8_lossy(encoding);
        return protocol(format!("an answer compressed with {encoding}, though none was asked for"));
    }
    Ok(answer)
}
