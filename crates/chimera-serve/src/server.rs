//! The server's life: listening, connections with their limits, and the end. What is answered is in `app`.

use std::{
    convert::Infallible,
    fmt,
    io::ErrorKind,
    net::{SocketAddr, TcpListener},
    sync::{Arc, atomic::Ordering, mpsc},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use axum::body::Body;
use chimera_core::{BackendError, Capabilities, InferenceBackend};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::{Semaphore, oneshot, watch};

use crate::{
    ServeError, ServeOptions, ServedModel,
    app::{self, App},
    work::{metrics::Metrics, residents::Residents},
};

/// Connections at once; more wait in the system's line.
const CONNECTIONS: usize = 1024;
/// Headers of one request, and bytes of its head.
const HEADERS: usize = 100;
const HEAD_BYTES: usize = 64 << 10;
/// How long the backend may take to say what it can do.
const PROBE: Duration = Duration::from_secs(30);
/// What the last lines get to reach their clients once the drain is over.
const FAREWELL: Duration = Duration::from_secs(1);

/// A running server. It has threads and a runtime of its own, so any program or test can hold one. Dropping it ends it
/// at once; [`Server::stop`] lets running generations finish.
pub struct Server {
    addr: SocketAddr,
    stop: Option<oneshot::Sender<Duration>>,
    drain: Duration,
    thread: Option<JoinHandle<()>>,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("addr", &self.addr).finish_non_exhaustive()
    }
}

impl Server {
    /// Starts a server that offers `models` of `backend`, and returns when it listens.
    ///
    /// # Errors
    /// [`ServeError`] says what is wrong and what mends it: an open address without a token, an address in use, options
    /// that do not go together, a backend that is not ready.
    pub fn start(
        backend: Arc<dyn InferenceBackend>,
        models: Vec<ServedModel>,
        options: ServeOptions,
    ) -> Result<Self, ServeError> {
        check(&options)?;
        let listener = listen(options.bind)?;
        let addr = listener.local_addr().map_err(|source| ServeError::Bind { addr: options.bind, source })?;
        let drain = options.drain;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("chimera-serve")
            .enable_all()
            .build()
            .map_err(ServeError::Threads)?;
        let (ready, started) = mpsc::channel();
        let (stop, stopped) = oneshot::channel();
        let main = async move {
            let app = match prepare(backend, models, options).await {
                Ok(app) => app,
                Err(error) => {
                    let _ = ready.send(Err(error));
                    return;
                }
            };
            let listener = match tokio::net::TcpListener::from_std(listener) {
                Ok(listener) => listener,
                Err(source) => {
                    let _ = ready.send(Err(ServeError::Bind { addr, source }));
                    return;
                }
            };
            let _ = ready.send(Ok(()));
            serve(app, listener, stopped).await;
        };
        let thread = std::thread::Builder::new()
            .name("chimera-serve".into())
            .spawn(move || {
                runtime.block_on(main);
                runtime.shutdown_timeout(FAREWELL);
            })
            .map_err(ServeError::Threads)?;
        let lost =
            || ServeError::Threads(std::io::Error::other("the server's thread ended while it started"));
        started.recv().unwrap_or_else(|_| Err(lost()))?;
        Ok(Self { addr, stop: Some(stop), drain, thread: Some(thread) })
    }

    /// The address that it listens on.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The address as clients write it, without a slash at the end.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Ends the server: new requests are refused, running generations go on for [`ServeOptions::drain`] and are cut
    /// with an error line then, models are unloaded. It blocks until all that is done.
    pub fn stop(mut self) {
        self.end(self.drain);
    }

    fn end(&mut self, drain: Duration) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(drain);
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end(Duration::ZERO);
    }
}

fn check(options: &ServeOptions) -> Result<(), ServeError> {
    match &options.token {
        None if !options.bind.ip().is_loopback() => Err(ServeError::TokenNeeded { addr: options.bind }),
        Some(token) if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) => {
            Err(ServeError::Options {
                reason: "the token is empty or holds blanks or signs beyond ASCII".into(),
                remedy: "choose one of letters, digits and ASCII signs".into(),
            })
        }
        _ => Ok(()),
    }
}

fn listen(addr: SocketAddr) -> Result<TcpListener, ServeError> {
    let listener = TcpListener::bind(addr).map_err(|source| match source.kind() {
        ErrorKind::AddrInUse => ServeError::AddressInUse { addr },
        _ => ServeError::Bind { addr, source },
    })?;
    listener.set_nonblocking(true).map_err(|source| ServeError::Bind { addr, source })?;
    Ok(listener)
}

async fn prepare(
    backend: Arc<dyn InferenceBackend>,
    models: Vec<ServedModel>,
    options: ServeOptions,
) -> Result<Arc<App>, ServeError> {
    let id = backend.id().clone();
    let probe = tokio::time::timeout(PROBE, backend.probe()).await;
    let probe =
        probe.map_err(|_| BackendError::Timeout { backend: id.clone(), seconds: PROBE.as_secs_f64() })??;
    if !probe.availability.is_ready() {
        let reason = probe.availability.to_string();
        return Err(BackendError::Unavailable { backend: id, reason }.into());
    }
    at_once(&probe.capabilities, &options)?;
    let metrics = Arc::new(Metrics::default());
    let residents = Arc::new(Residents::new(
        backend,
        options.resident,
        options.keep_alive,
        options.request_timeout,
        Arc::clone(&metrics),
    ));
    Ok(Arc::new(App::new(options, models, probe.capabilities, residents, metrics)))
}

/// A session promises so many generations at once and no more.
fn at_once(capabilities: &Capabilities, options: &ServeOptions) -> Result<(), ServeError> {
    let most = capabilities.max_in_flight.unwrap_or(1).max(1) as usize;
    if options.slots.get() > most {
        return Err(ServeError::Options {
            reason: format!("{} slots, and the backend generates {most} at once", options.slots),
            remedy: format!("set slots to {most} or fewer"),
        });
    }
    Ok(())
}

async fn serve(app: Arc<App>, listener: tokio::net::TcpListener, stopped: oneshot::Receiver<Duration>) {
    let router = app::router(Arc::clone(&app));
    let reaper = tokio::spawn({
        let residents = Arc::clone(&app.residents);
        async move { residents.reap().await }
    });
    let (close, closed) = watch::channel(false);
    let connections = Arc::new(Semaphore::new(CONNECTIONS));
    let accept = accept(Arc::clone(&app), router, listener, Arc::clone(&connections), closed);
    let end = async {
        // The handle that is gone without a word was dropped: no drain.
        let drain = stopped.await.unwrap_or_default();
        app.draining.store(true, Ordering::SeqCst);
        wait(drain, || app.busy()).await;
        app.cut.send_replace(true);
        // Whoever is told that the server stops gets to read it.
        wait(FAREWELL, || app.busy()).await;
        let _ = close.send(true);
        wait(FAREWELL, || connections.available_permits() < CONNECTIONS).await;
    };
    tokio::select! {
        () = accept => {}
        () = end => {}
    }
    reaper.abort();
    app.residents.clear().await;
}

/// Waits at most so long for something to end.
async fn wait(limit: Duration, busy: impl Fn() -> bool) {
    let until = Instant::now() + limit;
    while busy() && Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Takes connections for ever, also while the server drains: then the answer is that it drains.
async fn accept(
    app: Arc<App>,
    router: axum::Router,
    listener: tokio::net::TcpListener,
    connections: Arc<Semaphore>,
    closed: watch::Receiver<bool>,
) {
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(_) => {
                // Out of file handles, or the client is gone already: the next may work.
                tokio::time::sleep(Duration::from_millis(10)).await;
                continue;
            }
        };
        let Ok(permit) = Arc::clone(&connections).acquire_owned().await else { return };
        // A chunk leaves when it is written.
        let _ = stream.set_nodelay(true);
        let (app, router, mut closed) = (Arc::clone(&app), router.clone(), closed.clone());
        tokio::spawn(async move {
            let timeout = app.options.header_timeout;
            let service = service_fn(move |request: hyper::Request<Incoming>| {
                let (app, router) = (Arc::clone(&app), router.clone());
                async move { Ok::<_, Infallible>(app::answer(app, router, request.map(Body::new)).await) }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(timeout)
                .max_headers(HEADERS)
                .max_buf_size(HEAD_BYTES)
                .serve_connection(TokioIo::new(stream), service);
            tokio::pin!(connection);
            // An error here is the client's: malformed, too slow or gone.
            let _ = tokio::select! {
                end = connection.as_mut() => end,
                () = app::raised(&mut closed) => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            drop(permit);
        });
    }
}
