//! A server on plain sockets that is healthy until it is told to say something else, and that can die and come back.

use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use socket2::SockRef;

use crate::adapter::Adapter;

/// What becomes of a connection after a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum After {
    Keep,
    /// An orderly end.
    Close,
    /// A reset.
    Reset,
}

/// What is said instead of a healthy answer.
pub(crate) type Play = Arc<dyn Fn(&mut TcpStream) -> After + Send + Sync>;

struct Shared {
    adapter: Adapter,
    fault: Mutex<Option<Play>>,
    /// The same for whatever is not a generation.
    management: Mutex<Option<Play>>,
    dead: AtomicBool,
    open: Mutex<Vec<TcpStream>>,
    generations: AtomicUsize,
}

/// The server.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    listening: Option<JoinHandle<()>>,
}

impl Server {
    pub(crate) fn start(adapter: Adapter) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            adapter,
            fault: Mutex::new(None),
            management: Mutex::new(None),
            dead: AtomicBool::new(false),
            open: Mutex::new(Vec::new()),
            generations: AtomicUsize::new(0),
        });
        let mut server = Self { address, shared, listening: None };
        server.listen(listener);
        server
    }

    fn listen(&mut self, listener: TcpListener) {
        let shared = Arc::clone(&self.shared);
        self.listening = Some(thread::spawn(move || {
            for stream in listener.incoming() {
                if shared.dead.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                stream.set_nodelay(true).unwrap();
                let mut open = shared.open.lock().unwrap();
                open.retain(|stream| stream.peer_addr().is_ok());
                open.extend(stream.try_clone().ok());
                drop(open);
                let shared = Arc::clone(&shared);
                thread::spawn(move || serve(stream, &shared));
            }
        }));
    }

    /// From now on every generation is answered by this, until [`Self::heal`].
    pub(crate) fn break_with(&self, play: Play) {
        *self.shared.fault.lock().unwrap() = Some(play);
    }

    /// From now on everything that is no generation is answered by this.
    pub(crate) fn break_management_with(&self, play: Play) {
        *self.shared.management.lock().unwrap() = Some(play);
    }

    pub(crate) fn heal(&self) {
        *self.shared.fault.lock().unwrap() = None;
        *self.shared.management.lock().unwrap() = None;
    }

    /// Generations that were asked for so far.
    pub(crate) fn generations(&self) -> usize {
        self.shared.generations.load(Ordering::SeqCst)
    }

    /// Closes everything, the port too.
    pub(crate) fn die(&mut self) {
        self.shared.dead.store(true, Ordering::SeqCst);
        // The listener is woken by a last visitor.
        TcpStream::connect(self.address).ok();
        if let Some(listening) = self.listening.take() {
            listening.join().unwrap();
        }
        for stream in self.shared.open.lock().unwrap().drain(..) {
            stream.shutdown(Shutdown::Both).ok();
        }
    }

    /// Listens on the same port again.
    pub(crate) fn come_back(&mut self) {
        self.shared.dead.store(false, Ordering::SeqCst);
        let listener = (0..200)
            .find_map(|_| {
                let bound = TcpListener::bind(self.address).ok();
                if bound.is_none() {
                    thread::sleep(Duration::from_millis(50));
                }
                bound
            })
            .expect("the port was taken meanwhile");
        self.listen(listener);
    }
}

fn serve(mut stream: TcpStream, shared: &Shared) {
    while let Some((line, body)) = read_request(&mut stream) {
        if shared.dead.load(Ordering::SeqCst) {
            return;
        }
        let generation = body.windows(13).any(|part| part == b"\"stream\":true");
        let after = if generation {
            shared.generations.fetch_add(1, Ordering::SeqCst);
            let fault = shared.fault.lock().unwrap().clone();
            match fault {
                Some(play) => play(&mut stream),
                None => {
                    let adapter = shared.adapter;
                    chunked(&mut stream, adapter.content_type(), &adapter.within(budget(&body)));
                    After::Keep
                }
            }
        } else if let Some(play) = shared.management.lock().unwrap().clone() {
            play(&mut stream)
        } else {
            let answer = shared.adapter.manages(&line);
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
                answer.len()
            );
            stream.write_all((head + &answer).as_bytes()).ok();
            After::Keep
        };
        match after {
            After::Keep => {}
            After::Close => {
                stream.shutdown(Shutdown::Both).ok();
                return;
            }
            After::Reset => {
                // What is closed with no time to linger is reset. Its clone must go first.
                let own = stream.peer_addr().ok();
                shared.open.lock().unwrap().retain(|stream| stream.peer_addr().ok() != own);
                SockRef::from(&stream).set_linger(Some(Duration::ZERO)).ok();
                return;
            }
        }
    }
}

/// A healthy head and a chunk for each part.
pub(crate) fn chunked(stream: &mut TcpStream, content_type: &str, parts: &[Vec<u8>]) {
    stream.write_all(&chunked_bytes(content_type, parts)).ok();
}

pub(crate) fn chunked_bytes(content_type: &str, parts: &[Vec<u8>]) -> Vec<u8> {
    let mut all = chunked_head(content_type);
    for part in parts {
        all.extend_from_slice(&chunk(part));
    }
    all.extend_from_slice(b"0\r\n\r\n");
    all
}

pub(crate) fn chunked_head(content_type: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nTransfer-Encoding: chunked\r\n\r\n")
        .into_bytes()
}

pub(crate) fn chunk(part: &[u8]) -> Vec<u8> {
    [format!("{:x}\r\n", part.len()).as_bytes(), part, b"\r\n"].concat()
}

/// Waits until the other side has gone, half a minute at most.
pub(crate) fn until_left(stream: &mut TcpStream) {
    stream.set_read_timeout(Some(Duration::from_secs(30))).ok();
    let mut byte = [0; 64];
    while stream.read(&mut byte).is_ok_and(|n| n > 0) {}
}

/// Tokens that a request asks for.
fn budget(body: &[u8]) -> usize {
    let json: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let told = json.get("max_tokens").or_else(|| json.pointer("/options/num_predict"));
    told.and_then(serde_json::Value::as_u64).and_then(|n| n.try_into().ok()).unwrap_or(usize::MAX)
}

/// The line and the body of a request.
fn read_request(stream: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let mut all = Vec::new();
    let mut part = [0; 4096];
    loop {
        let end = all.windows(4).position(|four| four == b"\r\n\r\n");
        if let Some(end) = end {
            let head = String::from_utf8_lossy(&all[..end]).into_owned();
            let length = head.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
            });
            let (length, from) = (length.unwrap_or(0), end + 4);
            while all.len() < from + length {
                match stream.read(&mut part).ok()? {
                    0 => return None,
                    n => all.extend_from_slice(&part[..n]),
                }
            }
            let line = head.lines().next().unwrap_or_default().to_owned();
            return Some((line, all[from..from + length].to_vec()));
        }
        match stream.read(&mut part).ok()? {
            0 => return None,
            n => all.extend_from_slice(&part[..n]),
        }
    }
}
